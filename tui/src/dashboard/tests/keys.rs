//! Keys and the mouse on all screens, and the help about them.

use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};

use super::super::screens::bindings;
use super::super::state::State;
use super::super::tab::Tab;
use super::super::update::update;
use super::super::{Effect, Msg};
use super::fixture::{busy, connected, letters, press};
use super::screens::picture;

#[test]
fn q_closes_an_overlay_first_and_help_scrolls() {
    let mut state = busy();
    letters(&mut state, "?");
    assert!(picture(&state, 80, 24).contains("j k scroll"));
    letters(&mut state, "G");
    assert!(picture(&state, 80, 24).contains("gives the mouse back"), "{}", picture(&state, 80, 24));
    assert!(press(&mut state, KeyCode::Char('q')).is_empty() && state.overlay.is_none());
    assert_eq!(press(&mut state, KeyCode::Char('q')), [Effect::Quit]);
    letters(&mut state, "f");
    assert!(picture(&state, 80, 24).contains("what stands out"));
}

#[test]
fn control_l_repaints_and_control_z_suspends() {
    let mut state = busy();
    let control = |state: &mut State, letter| {
        let key = KeyEvent::new(KeyCode::Char(letter), KeyModifiers::CONTROL);
        update(state, Msg::Input(Event::Key(key)))
    };
    assert_eq!(control(&mut state, 'l'), [Effect::Repaint]);
    assert_eq!(control(&mut state, 'z'), [Effect::Suspend]);
    assert_eq!(update(&mut state, Msg::Continued), [Effect::Repaint]);
    assert_eq!(press(&mut state, KeyCode::Char('M')), [Effect::Mouse(false)]);
}

#[test]
fn a_click_opens_the_tab_under_it() {
    let mut state = busy();
    let mut click = |column| {
        let kind = MouseEventKind::Down(MouseButton::Left);
        let mouse = MouseEvent { kind, column, row: 0, modifiers: KeyModifiers::NONE };
        update(&mut state, Msg::Input(Event::Mouse(mouse)));
        state.tab
    };
    assert_eq!([click(9), click(17), click(2), click(79)], [Tab::Ops, Tab::Timeline, Tab::Live, Tab::Live]);
}

#[test]
fn help_lists_the_keys_of_the_screen() {
    let mut state = connected();
    letters(&mut state, "2?");
    let help = picture(&state, 80, 30);
    assert!(help.contains("keys on Ops") && help.contains("sort") && help.contains("filter"));
    press(&mut state, KeyCode::Esc);
    assert!(!picture(&state, 80, 30).contains("keys on Ops"));
}

#[test]
fn help_shows_every_key_on_a_small_terminal() {
    for tab in Tab::ALL {
        let mut state = connected();
        state.tab = tab;
        letters(&mut state, "?");
        let help = picture(&state, 80, 24);
        for binding in bindings(tab, false) {
            assert!(help.contains(binding.help), "{} on {tab:?}:\n{help}", binding.help);
        }
    }
}
