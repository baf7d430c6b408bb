//! Keys: one table, from which keys are looked up and the help is made.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::state::Tab;

/// What a key does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
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
    Sort,
    Reverse,
    Open,
    Phase,
    Modules,
    /// Leaves what is open: the help, a filter.
    Escape,
}

/// Keys of one action.
pub(super) struct Binding {
    /// Any of these.
    pub(super) keys: &'static [KeyCode],
    /// As help spells them.
    pub(super) spelling: &'static str,
    /// What they do, for help and the last line.
    pub(super) help: &'static str,
    /// Where; empty for everywhere.
    pub(super) tabs: &'static [Tab],
    /// What they do.
    pub(super) action: Action,
    /// Whether the last line of the screen reminds of it.
    pub(super) in_footer: bool,
}

const LISTS: &[Tab] = &[Tab::Ops, Tab::Hardware];
const OPS: &[Tab] = &[Tab::Ops];

const fn bind(
    keys: &'static [KeyCode],
    spelling: &'static str,
    help: &'static str,
    tabs: &'static [Tab],
    action: Action,
) -> Binding {
    Binding { keys, spelling, help, tabs, action, in_footer: false }
}

/// A binding that the last line reminds of.
const fn shown(binding: Binding) -> Binding {
    Binding { in_footer: true, ..binding }
}

/// All keys, in the order in which help lists them.
pub(super) const BINDINGS: &[Binding] = &[
    shown(bind(&[KeyCode::Char('q')], "q", "quit", &[], Action::Quit)),
    shown(bind(&[KeyCode::Char('?'), KeyCode::F(1)], "?", "help", &[], Action::Help)),
    bind(&[KeyCode::Char('1')], "1", "live figures", &[], Action::Tab(Tab::Live)),
    bind(&[KeyCode::Char('2')], "2", "ops: where the time goes", &[], Action::Tab(Tab::Ops)),
    bind(&[KeyCode::Char('3')], "3", "hardware: all channels", &[], Action::Tab(Tab::Hardware)),
    bind(&[KeyCode::Tab, KeyCode::Right, KeyCode::Char('l')], "tab l →", "next screen", &[], Action::NextTab),
    bind(
        &[KeyCode::BackTab, KeyCode::Left, KeyCode::Char('h')],
        "h ←",
        "last screen",
        &[],
        Action::PreviousTab,
    ),
    shown(bind(&[KeyCode::Char(' ')], "space", "pause", &[], Action::Pause)),
    shown(bind(&[KeyCode::Char('r')], "r", "run", &[], Action::Run)),
    shown(bind(&[KeyCode::Char('c')], "c", "cancel", &[], Action::Cancel)),
    bind(&[KeyCode::Down, KeyCode::Char('j')], "j ↓", "next row", LISTS, Action::Down),
    bind(&[KeyCode::Up, KeyCode::Char('k')], "k ↑", "row before", LISTS, Action::Up),
    bind(&[KeyCode::PageDown, KeyCode::Char('f')], "f PgDn", "page down", LISTS, Action::PageDown),
    bind(&[KeyCode::PageUp, KeyCode::Char('b')], "b PgUp", "page up", LISTS, Action::PageUp),
    bind(&[KeyCode::Home, KeyCode::Char('g')], "g Home", "first row", LISTS, Action::Top),
    bind(&[KeyCode::End, KeyCode::Char('G')], "G End", "last row", LISTS, Action::Bottom),
    shown(bind(&[KeyCode::Char('/')], "/", "filter", LISTS, Action::Filter)),
    shown(bind(&[KeyCode::Char('s')], "s", "sort", OPS, Action::Sort)),
    bind(&[KeyCode::Char('S')], "S", "reverse", OPS, Action::Reverse),
    shown(bind(&[KeyCode::Enter], "enter", "open", OPS, Action::Open)),
    shown(bind(&[KeyCode::Char('p')], "p", "phase", OPS, Action::Phase)),
    shown(bind(&[KeyCode::Char('m')], "m", "modules", OPS, Action::Modules)),
    bind(&[KeyCode::Esc], "esc", "close help, clear filter", &[], Action::Escape),
];

/// The bindings that work on `tab`.
pub(super) fn on(tab: Tab) -> impl Iterator<Item = &'static Binding> {
    BINDINGS.iter().filter(move |binding| binding.tabs.is_empty() || binding.tabs.contains(&tab))
}

/// What `key` does on `tab`.
pub(super) fn action(key: KeyEvent, tab: Tab) -> Option<Action> {
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return matches!(key.code, KeyCode::Char('c')).then_some(Action::Quit);
    }
    if key.modifiers.contains(KeyModifiers::ALT) {
        return None;
    }
    on(tab).find(|binding| binding.keys.contains(&key.code)).map(|binding| binding.action)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_means_two_things_on_a_screen() {
        for tab in Tab::ALL {
            let mut seen = Vec::new();
            for binding in on(tab) {
                for key in binding.keys {
                    assert!(!seen.contains(key), "{key:?} on {tab:?}");
                    seen.push(*key);
                }
            }
        }
    }
}
