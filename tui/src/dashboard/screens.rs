//! The screens, one folder each with state, keys and view. Only this file chooses between them.

pub mod hardware;
pub mod live;
pub mod memory;
pub mod ops;
pub mod roofline;
pub mod sessions;
pub mod timeline;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::keys::{self, Action, Binding};
use super::list::{self, List};
use super::mark::Mark;
use super::palette::Palette;
use super::replay;
use super::state::State;
use super::tab::Tab;

/// Draws the open screen.
pub fn draw(state: &State, palette: Palette, area: Rect, buf: &mut Buffer) {
    match state.tab {
        Tab::Live => live::view::draw(state, palette, area, buf),
        Tab::Ops => ops::view::draw(state, palette, area, buf),
        Tab::Timeline => timeline::view::draw(state, palette, area, buf),
        Tab::Roofline => roofline::view::draw(state, palette, area, buf),
        Tab::Memory => memory::view::draw(state, palette, area, buf),
        Tab::Hardware => hardware::view::draw(state, palette, area, buf),
        Tab::Sessions => sessions::view::draw(state, palette, area, buf),
    }
}

/// The keys that work on `tab`: first its own, then those that work everywhere, some only while a recording is replayed
/// or while a daemon is watched.
pub fn bindings(tab: Tab, replays: bool) -> impl Iterator<Item = &'static Binding> + Clone {
    let own: &[&[Binding]] = match tab {
        Tab::Live => &[live::keys::KEYS],
        Tab::Ops => &[list::KEYS, list::HOME, list::FILTER_KEYS, ops::keys::KEYS, list::MARK],
        Tab::Timeline => &[timeline::keys::KEYS],
        Tab::Roofline => &[list::KEYS, list::TOP, list::MARK],
        Tab::Memory => &[],
        Tab::Hardware => &[list::KEYS, list::TOP, list::FILTER_KEYS, hardware::KEYS],
        Tab::Sessions => &[list::KEYS, list::TOP, list::FILTER_KEYS, sessions::keys::KEYS],
    };
    let further = if replays { replay::KEYS } else { keys::LIVE_KEYS };
    own.iter().copied().flatten().chain(keys::KEYS).chain(further)
}

/// What the words on a screen mean.
pub fn terms(tab: Tab) -> &'static [(&'static str, &'static str)] {
    match tab {
        Tab::Live => live::keys::TERMS,
        Tab::Ops => ops::keys::TERMS,
        Tab::Timeline => timeline::keys::TERMS,
        Tab::Roofline => roofline::keys::TERMS,
        Tab::Memory => memory::TERMS,
        Tab::Hardware => hardware::TERMS,
        Tab::Sessions => sessions::keys::TERMS,
    }
}

/// What `key` does on the open screen.
pub fn action(key: KeyEvent, state: &State) -> Option<Action> {
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return match key.code {
            KeyCode::Char('c') => Some(Action::Quit),
            KeyCode::Char('l') => Some(Action::Repaint),
            KeyCode::Char('z') => Some(Action::Suspend),
            _ => None,
        };
    }
    if key.modifiers.contains(KeyModifiers::ALT) {
        return None;
    }
    state.options.settings.keymap.action(key.code, bindings(state.tab, state.replay.is_some()))
}

/// Keys of the rows of the open screen's list, in order.
pub fn row_keys(state: &State) -> Vec<String> {
    match state.tab {
        Tab::Live | Tab::Timeline | Tab::Memory => Vec::new(),
        Tab::Roofline => roofline::view::ops(state).into_iter().map(|row| row.key).collect(),
        Tab::Ops => {
            let data = state.shown();
            let rows = ops::rows::rows(data, &state.ops);
            rows.into_iter().map(|row| row.key).collect()
        }
        Tab::Hardware => {
            let groups = hardware::view::groups(state);
            groups.into_iter().flat_map(|(_, tracks)| tracks).map(|track| track.channel.id.clone()).collect()
        }
        Tab::Sessions => sessions::rows::rows(state).into_iter().map(|row| row.number.to_string()).collect(),
    }
}

/// The list of the open screen.
pub fn list(state: &State) -> Option<&List> {
    match state.tab {
        Tab::Live | Tab::Timeline | Tab::Memory => None,
        Tab::Ops => Some(&state.ops.list),
        Tab::Roofline => Some(&state.roofline),
        Tab::Hardware => Some(&state.hardware.list),
        Tab::Sessions => Some(&state.sessions.list),
    }
}

/// The list of the open screen, to be changed.
pub fn list_mut(state: &mut State) -> Option<&mut List> {
    match state.tab {
        Tab::Live | Tab::Timeline | Tab::Memory => None,
        Tab::Ops => Some(&mut state.ops.list),
        Tab::Roofline => Some(&mut state.roofline),
        Tab::Hardware => Some(&mut state.hardware.list),
        Tab::Sessions => Some(&mut state.sessions.list),
    }
}

/// The op of the row with that key, on a screen whose rows are ops; `None` for a row of several.
pub fn marked_op(state: &State, key: Option<&str>) -> Option<Mark> {
    let rows = match state.tab {
        Tab::Ops => ops::rows::rows(state.shown(), &state.ops),
        Tab::Roofline => roofline::view::ops(state),
        _ => return None,
    };
    let row = rows.into_iter().find(|row| Some(row.key.as_str()) == key)?;
    let plan = state.shown().plan.as_ref()?;
    let mut sites = row.sites.iter().filter_map(|&site| plan.sites.get(usize::from(site)));
    let first = sites.next()?;
    let mark = Mark { module: first.module.as_str().to_owned(), name: first.name.clone() };
    sites.all(|site| mark.is(site)).then_some(mark)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_means_two_things_on_a_screen() {
        for (tab, replays) in Tab::ALL.into_iter().flat_map(|tab| [(tab, false), (tab, true)]) {
            let mut seen = Vec::new();
            for binding in bindings(tab, replays) {
                for key in binding.keys {
                    assert!(!seen.contains(key), "{key:?} on {tab:?}");
                    seen.push(*key);
                }
            }
        }
    }
}
