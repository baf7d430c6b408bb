//! A list with a filter and a selected row, which several screens have.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::keys::{Action, Binding, bind};

/// Longest filter.
const FILTER_LENGTH: usize = 64;

/// Keys of every screen that has a list.
pub const KEYS: &[Binding] = &[
    bind(&[KeyCode::Down, KeyCode::Char('j'), KeyCode::Char('n')], "j ↓ n", "next row", Action::Down),
    bind(&[KeyCode::Up, KeyCode::Char('k'), KeyCode::Char('N')], "k ↑ N", "previous row", Action::Up),
    bind(&[KeyCode::PageDown, KeyCode::Char('f')], "f PgDn", "page down", Action::PageDown),
    bind(&[KeyCode::PageUp, KeyCode::Char('b')], "b PgUp", "page up", Action::PageUp),
    bind(&[KeyCode::End, KeyCode::Char('G')], "G End", "last row", Action::Bottom),
];

/// The key of the first row, where `g` means something else.
pub const HOME: &[Binding] = &[bind(&[KeyCode::Home], "Home", "first row", Action::Top)];

/// The keys of the first row on other screens.
pub const TOP: &[Binding] = &[bind(&[KeyCode::Home, KeyCode::Char('g')], "g Home", "first row", Action::Top)];

/// Keys of the lists that can be filtered.
pub const FILTER_KEYS: &[Binding] = &[bind(&[KeyCode::Char('/')], "/", "filter", Action::Filter).in_footer()];

/// The key that marks the op of a row.
pub const MARK: &[Binding] = &[bind(&[KeyCode::Char('x')], "x", "mark on all screens", Action::Mark)];

/// Filter and selection of a list.
#[derive(Debug, Clone, Default)]
pub struct List {
    /// Only rows that contain it are shown.
    pub filter: String,
    /// Key of the selected row; `None` for the first.
    pub selected: Option<String>,
}

/// What a key did while the filter was being typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Typed {
    /// It went into the filter.
    Taken,
    /// It ended typing.
    Last,
    /// It does not edit the filter and ends typing.
    Other,
    /// It does not edit the filter, and typing goes on.
    Ignored,
}

impl List {
    /// Selects the row `by` places from the selected one, or the first or last row.
    pub fn step(&mut self, by: isize, rows: Vec<String>) {
        let selected = self.selected.as_ref();
        let at = selected.and_then(|key| rows.iter().position(|row| row == key)).unwrap_or(0);
        let to = at.saturating_add_signed(by).min(rows.len().saturating_sub(1));
        self.selected = rows.into_iter().nth(to);
    }

    /// Edits the filter.
    pub fn type_filter(&mut self, key: KeyEvent) -> Typed {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return Typed::Ignored;
        }
        match key.code {
            KeyCode::Char(letter) if self.filter.chars().count() < FILTER_LENGTH => self.filter.push(letter),
            KeyCode::Char(_) => {}
            KeyCode::Backspace => {
                self.filter.pop();
            }
            KeyCode::Enter => return Typed::Last,
            KeyCode::Esc => {
                self.filter.clear();
                return Typed::Last;
            }
            _ => return Typed::Other,
        }
        Typed::Taken
    }
}
