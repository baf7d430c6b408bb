//! Actions and key bindings, and the keys that work on every screen. Each screen lists its own keys; help and footer are
//! made from both lists.

use crossterm::event::KeyCode;

use super::overlay::Overlay;
use super::replay;
use super::screens::{hardware, ops, sessions, timeline};
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
    /// Marks the selected op, so that other screens follow it.
    Mark,
    /// Exports what is shown.
    Export,
    /// Closes the overlay, clears the filter, or leaves the recording.
    Escape,
    /// Changes what the Hardware screen shows.
    Hardware(hardware::state::Action),
    /// Does something with the selected session or job.
    Sessions(sessions::state::Action),
    /// Changes the table of ops.
    Ops(ops::state::Action),
    /// Changes which token is shown, and which part of it.
    Timeline(timeline::state::Action),
    /// Moves within the recording that is replayed, or within what is kept of the stream.
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
    bind(&[KeyCode::Char('7')], "7", "sessions: jobs, kept runs", Action::Tab(Tab::Sessions)),
    bind(&[KeyCode::Tab, KeyCode::Char('l')], "tab l", "next screen", Action::NextTab),
    bind(&[KeyCode::BackTab, KeyCode::Char('h')], "h", "previous screen", Action::PreviousTab),
    bind(&[KeyCode::Char('M')], "M", "mouse: ours, terminal's", Action::Mouse),
    bind(&[KeyCode::Char('e')], "e", "export what is shown", Action::Export),
    bind(&[KeyCode::Esc], "esc", "close, clear filter", Action::Escape),
];

/// Further keys that work everywhere while a daemon is watched; those that move are the same in a recording.
pub const LIVE_KEYS: &[Binding] = &[
    bind(&[KeyCode::Char(' ')], "space", "pause", Action::Pause).in_footer(),
    bind(&[KeyCode::Char('r')], "r", "run", Action::Run).in_footer(),
    bind(&[KeyCode::Char('c')], "c", "cancel", Action::Cancel).in_footer(),
    bind(&[KeyCode::Right], "→", "next token", Action::Replay(replay::Action::NextToken)),
    bind(&[KeyCode::Left], "←", "previous token", Action::Replay(replay::Action::PreviousToken)),
    bind(&[KeyCode::Char('.')], ".", "a 20th forward", Action::Replay(replay::Action::Forward)),
    bind(&[KeyCode::Char(',')], ",", "a 20th back", Action::Replay(replay::Action::Back)),
    bind(&[KeyCode::Char('0')], "0", "to the oldest kept", Action::Replay(replay::Action::Begin)),
    bind(&[KeyCode::Char('$')], "$", "follow the daemon", Action::Replay(replay::Action::End)),
];
