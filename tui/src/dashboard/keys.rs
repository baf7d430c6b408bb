//! Keys: what they do, and those that work on every screen. A screen lists its own beside its view; help and the
//! last line are made from both.

use crossterm::event::KeyCode;

use super::screens::ops;
use super::tab::Tab;

/// What a key does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Quit,
    Help,
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
    /// Leaves what is open: the help, a filter.
    Escape,
    /// Changes the table of ops.
    Ops(ops::state::Action),
}

/// Keys of one action.
pub struct Binding {
    /// Any of these.
    pub keys: &'static [KeyCode],
    /// How help spells them.
    pub spelling: &'static str,
    /// What they do, for help and the last line.
    pub help: &'static str,
    /// What they do.
    pub action: Action,
    /// Whether the last line of the screen reminds of it.
    pub is_in_footer: bool,
}

/// A binding that only help lists.
pub const fn bind(
    keys: &'static [KeyCode],
    spelling: &'static str,
    help: &'static str,
    action: Action,
) -> Binding {
    Binding { keys, spelling, help, action, is_in_footer: false }
}

impl Binding {
    /// The same, in the last line too.
    pub const fn in_footer(self) -> Self {
        Self { is_in_footer: true, ..self }
    }
}

/// Keys that work everywhere, in the order in which help lists them.
pub const KEYS: &[Binding] = &[
    bind(&[KeyCode::Char('q')], "q", "quit", Action::Quit).in_footer(),
    bind(&[KeyCode::Char('?'), KeyCode::F(1)], "?", "help", Action::Help).in_footer(),
    bind(&[KeyCode::Char('1')], "1", "live: speed, time, machine", Action::Tab(Tab::Live)),
    bind(&[KeyCode::Char('2')], "2", "ops: where the time goes", Action::Tab(Tab::Ops)),
    bind(&[KeyCode::Char('3')], "3", "hardware: all channels", Action::Tab(Tab::Hardware)),
    bind(&[KeyCode::Tab, KeyCode::Right, KeyCode::Char('l')], "tab l →", "next screen", Action::NextTab),
    bind(
        &[KeyCode::BackTab, KeyCode::Left, KeyCode::Char('h')],
        "h ←",
        "previous screen",
        Action::PreviousTab,
    ),
    bind(&[KeyCode::Char(' ')], "space", "pause", Action::Pause).in_footer(),
    bind(&[KeyCode::Char('r')], "r", "run", Action::Run).in_footer(),
    bind(&[KeyCode::Char('c')], "c", "cancel", Action::Cancel).in_footer(),
    bind(&[KeyCode::Esc], "esc", "close help, clear filter", Action::Escape),
];
