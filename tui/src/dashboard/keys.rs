//! Actions and key bindings, and the keys that work on every screen. Each screen lists its own keys; help and footer are
//! made from both lists.

use crossterm::event::KeyCode;

use super::overlay::Overlay;
use super::replay;
use super::screens::{ops, timeline};
use super::tab::Tab;

/// What a key does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Quit,
    /// Opens or closes an overlay.
    Open(Overlay),
    /// Draws every cell again.
    Repaint,
    /// Stops the process until the shell continues it.
    Suspend,
    /// Takes the mouse or leaves it to the terminal.
    Mouse,
    Tab(Tab),
    NextTab,
    PreviousTab,
    Pause,
    Run,
    Cancel,
    Up,
    Down,
    PageUp,
    PageDown,
    Top,
    Bottom,
    Filter,
    /// Shows or hides raw counters.
    RawCounters,
    /// Closes the overlay, or clears the filter.
    Escape,
    /// Changes the table of ops.
    Ops(ops::state::Action),
    /// Changes which token is shown, and which part of it.
    Timeline(timeline::state::Action),
    /// Moves within the recording that is replayed.
    Replay(replay::Action),
}

/// Keys of one action.
pub struct Binding {
    /// Any of these.
    pub keys: &'static [KeyCode],
    /// Their names in help and footer.
    pub spelling: &'static str,
    /// Description for help and footer.
    pub help: &'static str,
    /// What they do.
    pub action: Action,
    /// Whether the footer shows it.
    pub is_in_footer: bool,
}

/// A binding that help shows and the footer does not.
pub const fn bind(
    keys: &'static [KeyCode],
    spelling: &'static str,
    help: &'static str,
    action: Action,
) -> Binding {
    Binding { keys, spelling, help, action, is_in_footer: false }
}

impl Binding {
    /// The same binding, shown in the footer too.
    pub const fn in_footer(self) -> Self {
        Self { is_in_footer: true, ..self }
    }
}

/// Keys that work everywhere, in the order in which help lists them.
pub const KEYS: &[Binding] = &[
    bind(&[KeyCode::Char('q')], "q", "quit", Action::Quit).in_footer(),
    bind(&[KeyCode::Char('?'), KeyCode::F(1)], "?", "help", Action::Open(Overlay::Help)).in_footer(),
    bind(&[KeyCode::Char('1')], "1", "live: speed, time, machine", Action::Tab(Tab::Live)),
    bind(&[KeyCode::Char('2')], "2", "ops: where the time goes", Action::Tab(Tab::Ops)),
    bind(&[KeyCode::Char('3')], "3", "timeline: one token", Action::Tab(Tab::Timeline)),
    bind(&[KeyCode::Char('4')], "4", "roofline: ops, roofs", Action::Tab(Tab::Roofline)),
    bind(&[KeyCode::Char('5')], "5", "memory: parts, growth", Action::Tab(Tab::Memory)),
    bind(&[KeyCode::Char('6')], "6", "hardware: all channels", Action::Tab(Tab::Hardware)),
    bind(&[KeyCode::Tab, KeyCode::Char('l')], "tab l", "next screen", Action::NextTab),
    bind(&[KeyCode::BackTab, KeyCode::Char('h')], "h", "previous screen", Action::PreviousTab),
    bind(&[KeyCode::Char('M')], "M", "mouse: ours, terminal's", Action::Mouse),
    bind(&[KeyCode::Esc], "esc", "close, clear filter", Action::Escape),
];

/// Further keys that work everywhere while a daemon is watched.
pub const LIVE_KEYS: &[Binding] = &[
    bind(&[KeyCode::Char(' ')], "space", "pause", Action::Pause).in_footer(),
    bind(&[KeyCode::Char('r')], "r", "run", Action::Run).in_footer(),
    bind(&[KeyCode::Char('c')], "c", "cancel", Action::Cancel).in_footer(),
];
