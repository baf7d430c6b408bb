//! The boards that are watched: one, or several with an overview of a line for each.
//!
//! ```text
//! connection 0 ─▶ state 0 ─┐
//! connection 1 ─▶ state 1 ─┼─▶ overview ── enter ──▶ the screens of one state
//!      …                   ┘            ◀── q ──
//! ```

use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEventKind};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::palette::Palette;
use super::state::State;
use super::update::update;
use super::view::{overview, view};
use super::{Effect, Msg, Source, glyphs};

/// One or several boards.
#[derive(Debug)]
pub struct Boards {
    states: Vec<State>,
    /// The board whose screens are shown; `None` for the overview.
    opened: Option<usize>,
    /// The one that the overview has selected.
    selected: usize,
    /// Rows of the terminal.
    rows: u16,
    /// The overview has to be drawn.
    dirty: bool,
}

/// An effect with the board that it is of.
type OfBoard = (usize, Effect);

impl Boards {
    /// Boards in the order in which the overview lists them, at least one. A single one has no overview.
    pub fn new(states: Vec<State>) -> Self {
        let opened = (states.len() == 1).then_some(0);
        Self { states, opened, selected: 0, rows: 24, dirty: true }
    }

    /// The board whose screens are shown, or that the overview has selected.
    pub fn shown(&self) -> &State {
        &self.states[self.shown_number()]
    }

    /// Its number.
    pub fn shown_number(&self) -> usize {
        self.opened.unwrap_or(self.selected)
    }

    /// The same, to be changed.
    pub fn shown_mut(&mut self) -> &mut State {
        let number = self.shown_number();
        &mut self.states[number]
    }

    /// Applies a message; the effects that it asks for.
    pub fn update(&mut self, source: Source, msg: Msg) -> Vec<OfBoard> {
        match (source, self.opened) {
            (Source::Board(board), _) => self.update_one(board, msg),
            (Source::Terminal, Some(board)) => {
                if let Msg::Input(Event::Resize(width, height)) = msg {
                    return self.resize(width, height);
                }
                let insists = matches!(&msg, Msg::Input(Event::Key(key)) if is_control(*key, 'c'));
                let effects = self.update_one(board, msg);
                if insists { effects } else { self.or_close(effects) }
            }
            (Source::Terminal, None) => self.overview(msg),
        }
    }

    /// Lets time pass on every board.
    pub fn tick(&mut self, now_ns: u64) -> Vec<OfBoard> {
        (0..self.states.len()).flat_map(|board| self.update_one(board, Msg::Tick { now_ns })).collect()
    }

    fn update_one(&mut self, board: usize, msg: Msg) -> Vec<OfBoard> {
        let Some(state) = self.states.get_mut(board) else { return Vec::new() };
        update(state, msg).into_iter().map(|effect| (board, effect)).collect()
    }

    /// Leaving the screens of one of several boards leads to the overview.
    fn or_close(&mut self, effects: Vec<OfBoard>) -> Vec<OfBoard> {
        let leaves = effects.iter().any(|(_, effect)| *effect == Effect::Quit);
        if !leaves || self.states.len() == 1 {
            return effects;
        }
        (self.opened, self.dirty) = (None, true);
        Vec::new()
    }

    fn resize(&mut self, width: u16, height: u16) -> Vec<OfBoard> {
        (self.rows, self.dirty) = (height, true);
        let boards = 0..self.states.len();
        boards.flat_map(|board| self.update_one(board, Msg::Input(Event::Resize(width, height)))).collect()
    }

    /// A message of the terminal while the overview is shown.
    fn overview(&mut self, msg: Msg) -> Vec<OfBoard> {
        match msg {
            Msg::Input(Event::Resize(width, height)) => self.resize(width, height),
            Msg::Input(Event::Key(key)) => self.key(key),
            Msg::Input(Event::Mouse(mouse)) => {
                match mouse.kind {
                    MouseEventKind::ScrollDown => self.select(self.selected.saturating_add(1)),
                    MouseEventKind::ScrollUp => self.select(self.selected.saturating_sub(1)),
                    MouseEventKind::Down(MouseButton::Left) => {
                        let at = overview::board_at(mouse.row, self.selected, self.states.len(), self.rows);
                        match at {
                            Some(board) if board == self.selected => self.open(),
                            Some(board) => self.select(board),
                            None => {}
                        }
                    }
                    _ => {}
                }
                Vec::new()
            }
            // What concerns the whole program: any board knows it.
            msg => self.update_one(self.selected, msg),
        }
    }

    fn key(&mut self, key: KeyEvent) -> Vec<OfBoard> {
        let page = overview::rows(self.rows).max(1);
        match key.code {
            code if key.modifiers.contains(KeyModifiers::CONTROL) || code == KeyCode::Char('M') => {
                return self.update_one(self.selected, Msg::Input(Event::Key(key)));
            }
            KeyCode::Char('q') => return vec![(self.selected, Effect::Quit)],
            KeyCode::Enter | KeyCode::Right => self.open(),
            KeyCode::Char('j') | KeyCode::Down => self.select(self.selected.saturating_add(1)),
            KeyCode::Char('k') | KeyCode::Up => self.select(self.selected.saturating_sub(1)),
            KeyCode::PageDown => self.select(self.selected.saturating_add(page)),
            KeyCode::PageUp => self.select(self.selected.saturating_sub(page)),
            KeyCode::Char('g') | KeyCode::Home => self.select(0),
            KeyCode::Char('G') | KeyCode::End => self.select(usize::MAX),
            _ => {}
        }
        Vec::new()
    }

    fn select(&mut self, board: usize) {
        self.selected = board.min(self.states.len() - 1);
        self.dirty = true;
    }

    fn open(&mut self) {
        self.opened = Some(self.selected);
        self.dirty = true;
    }

    /// Whether something that is shown has changed since the last frame, or changes with time.
    pub fn is_dirty(&self) -> bool {
        self.dirty
            || match self.opened {
                Some(board) => self.states[board].is_dirty(),
                None => self.states.iter().any(State::is_dirty),
            }
    }

    /// The same, and resets it because a frame is drawn now.
    pub fn take_dirty(&mut self) -> bool {
        let is_dirty = std::mem::take(&mut self.dirty);
        match self.opened {
            Some(board) => self.states[board].take_dirty() || is_dirty,
            // Each has to be asked, whatever the others say.
            None => self.states.iter_mut().map(State::take_dirty).fold(is_dirty, |any, dirty| any || dirty),
        }
    }

    /// Draws the shown board's screen, or the overview.
    pub fn draw(&self, palette: Palette, area: Rect, buf: &mut Buffer) {
        match self.opened {
            Some(board) => view(&self.states[board], palette, area, buf),
            None => overview::draw(&self.states, self.selected, palette, area, buf),
        }
        glyphs::replace(buf, palette.glyphs());
    }
}

fn is_control(key: KeyEvent, letter: char) -> bool {
    key.code == KeyCode::Char(letter) && key.modifiers.contains(KeyModifiers::CONTROL)
}
