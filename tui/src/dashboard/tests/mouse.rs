//! What clicks on rows and headings do, and dragging over a token.

use crossterm::event::{Event, KeyCode, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use slmscope_profiles::record::Record;

use super::super::Msg;
use super::super::overlay::Overlay;
use super::super::screens::ops::columns::Column;
use super::super::state::State;
use super::super::update::update;
use super::fixture::{busy, frame, letters, press};
use super::replay::batch;
use super::screens::picture;

const SIZE: (u16, u16) = (120, 40);

fn at(state: &mut State, kind: MouseEventKind, column: u16, row: u16) {
    let mouse = MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE };
    update(state, Msg::Input(Event::Mouse(mouse)));
}

fn click(state: &mut State, column: u16, row: u16) {
    at(state, MouseEventKind::Down(MouseButton::Left), column, row);
    at(state, MouseEventKind::Up(MouseButton::Left), column, row);
}

/// The row of the terminal that has this text, after the tabs.
fn row_of(state: &State, text: &str) -> u16 {
    let picture = picture(state, SIZE.0, SIZE.1);
    let found = picture.lines().skip(1).position(|line| line.contains(text));
    found.unwrap_or_else(|| panic!("{text}:\n{picture}")) as u16 + 1
}

fn opened(keys: &str) -> State {
    let mut state = busy();
    update(&mut state, Msg::Input(Event::Resize(SIZE.0, SIZE.1)));
    letters(&mut state, keys);
    state
}

#[test]
fn a_click_selects_a_row_and_a_second_one_opens_it() {
    let mut state = opened("2");
    let row = row_of(&state, "lm_head");
    click(&mut state, 3, row);
    let key = state.ops.list.selected.clone().expect("a row is selected");
    assert!(key.contains("lm_head"), "{key}");
    let row = row_of(&state, "attn.attention");
    click(&mut state, 3, row);
    click(&mut state, 3, row);
    assert!(picture(&state, SIZE.0, SIZE.1).contains("layer 1"));
    // Neither the title nor the panel below the table is a row.
    let selected = state.ops.list.selected.clone();
    click(&mut state, 3, 1);
    click(&mut state, 3, SIZE.1 - 2);
    assert_eq!(state.ops.list.selected, selected);
    let mut state = opened("6");
    let row = row_of(&state, " fan.fan1");
    click(&mut state, 3, row);
    assert_eq!(state.hardware.list.selected.as_deref(), Some("fan.fan1"));
    let row = row_of(&state, " cpu.cpu1");
    click(&mut state, 3, row);
    assert_eq!(state.hardware.list.selected.as_deref(), Some("cpu.cpu1"));
    let mut state = opened("4");
    let row = row_of(&state, " attn.attention");
    click(&mut state, 90, row);
    assert!(state.roofline.selected.as_ref().is_some_and(|key| key.contains("attn.attention")));
}

#[test]
fn a_click_on_a_heading_sorts_by_it_and_another_one_the_other_way_round() {
    let mut state = opened("2");
    let row = row_of(&state, "share");
    let text = picture(&state, SIZE.0, SIZE.1);
    let line = text.lines().nth(usize::from(row)).expect("it is there");
    let column = line.find("count").expect("it has that column") as u16;
    click(&mut state, column, row);
    assert_eq!((state.ops.sort, state.ops.reversed), (Column::Count, false));
    click(&mut state, column, row);
    assert_eq!((state.ops.sort, state.ops.reversed), (Column::Count, true));
    click(&mut state, 1, row);
    assert_eq!((state.ops.sort, state.ops.reversed), (Column::Name, false));
}

#[test]
fn dragging_over_a_token_shows_that_part_of_it() {
    let mut state = opened("3");
    for token in 0..20 {
        frame(&mut state, Record::Ops((&batch(token)).into()));
    }
    let drag = |state: &mut State, from: u16, to: u16| {
        at(state, MouseEventKind::Down(MouseButton::Left), from, 10);
        at(state, MouseEventKind::Drag(MouseButton::Left), to, 11);
        at(state, MouseEventKind::Up(MouseButton::Left), to, 11);
    };
    drag(&mut state, 60, 80);
    let (begin, end) = state.timeline.part();
    assert!(begin <= 0.41 && end >= 0.6 && end - begin < 0.5, "{begin} {end}");
    let before = state.timeline.part();
    drag(&mut state, 60, 61);
    drag(&mut state, 3, 80);
    assert_eq!(state.timeline.part(), before, "neither a click nor the names are a part");
}

#[test]
fn no_place_panics_and_an_overlay_takes_no_clicks() {
    for (width, height) in [(0, 0), (1, 1), (2, 3), (40, 12), (80, 24)] {
        for keys in ["1", "2", "3", "4", "5", "6"] {
            let mut state = opened(keys);
            update(&mut state, Msg::Input(Event::Resize(width, height)));
            for row in 0..height.max(2) {
                for column in [0, 1, width / 2, width.saturating_sub(1), u16::MAX] {
                    click(&mut state, column, row);
                }
            }
            click(&mut state, 3, u16::MAX);
        }
    }
    let mut state = opened("2?");
    assert_eq!(state.overlay, Some(Overlay::Help));
    click(&mut state, 3, 5);
    assert_eq!((state.overlay, state.ops.list.selected.clone()), (Some(Overlay::Help), None));
    press(&mut state, KeyCode::Esc);
}
