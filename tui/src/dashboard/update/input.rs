//! What keys, the mouse and a new size change.

use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseButton, MouseEventKind};
use slmscope_profiles::display::printable;

use super::super::keys::Action;
use super::super::list::Typed;
use super::super::overlay::Overlay;
use super::super::pointer::{self, Hit};
use super::super::replay;
use super::super::screens::{self, ops, timeline};
use super::super::state::{Link, Mouse, State};
use super::super::tab::Tab;
use super::super::{Effect, view};
use super::{export, form, jobs, scrub, sessions, subscribe};

/// Applies an event of the terminal.
pub(super) fn input(state: &mut State, event: Event) -> Vec<Effect> {
    match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => {
            let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
            if let Some(confirm) = state.confirm.take_if(|_| !is_control) {
                return jobs::answer(state, confirm.deed, key);
            }
            if state.typing
                && let Some(list) = screens::list_mut(state)
            {
                match list.type_filter(key) {
                    Typed::Taken => return Vec::new(),
                    Typed::Last => {
                        state.typing = false;
                        return Vec::new();
                    }
                    Typed::Other => state.typing = false,
                    Typed::Ignored => {}
                }
            }
            state.notice = None;
            match state.overlay.filter(|overlay| overlay.takes_letters() && !is_control) {
                Some(Overlay::Picker) => return jobs::pick(state, key, page(state)),
                Some(Overlay::Form) => return form::key(state, key),
                Some(Overlay::Export) => return export::key(state, key),
                _ => {}
            }
            if state.overlay.is_some() && scroll(state, key) {
                return Vec::new();
            }
            screens::action(key, state).map_or_else(Vec::new, |action| act(state, action))
        }
        Event::Mouse(mouse) => match mouse.kind {
            MouseEventKind::ScrollDown if state.overlay.is_some() => {
                scroll_by(state, 3);
                Vec::new()
            }
            MouseEventKind::ScrollUp if state.overlay.is_some() => {
                scroll_by(state, -3);
                Vec::new()
            }
            MouseEventKind::ScrollDown => act(state, Action::Down),
            MouseEventKind::ScrollUp => act(state, Action::Up),
            MouseEventKind::Down(MouseButton::Left) if mouse.row == 0 => {
                view::tab_at(state, mouse.column).map_or_else(Vec::new, |tab| open_tab(state, tab))
            }
            MouseEventKind::Down(MouseButton::Left) if state.overlay.is_none() && !state.typing => {
                press(state, mouse.column, mouse.row)
            }
            MouseEventKind::Up(MouseButton::Left) => {
                release(state, mouse.column);
                Vec::new()
            }
            _ => Vec::new(),
        },
        Event::Resize(width, height) => {
            state.size = (width, height);
            Vec::new()
        }
        _ => Vec::new(),
    }
}

/// The left button goes down: selects the row there, opens it if it is selected already, sorts by the column whose heading
/// it is, or begins to mark a part of a token.
fn press(state: &mut State, column: u16, row: u16) -> Vec<Effect> {
    if state.tab == Tab::Timeline {
        state.marked_from = timeline::view::is_waterfall(column, row, state.size).then_some(column);
        return Vec::new();
    }
    match pointer::hit(state, column, row) {
        Some(Hit::Heading(order)) => state.ops.sort_by(order),
        Some(Hit::Row(key)) => {
            let Some(list) = screens::list_mut(state) else { return Vec::new() };
            let is_selected = list.selected.as_ref() == Some(&key);
            list.selected = Some(key);
            if is_selected && state.tab == Tab::Ops {
                return act(state, Action::Ops(ops::state::Action::Open));
            }
        }
        None => {}
    }
    Vec::new()
}

/// The left button goes up: the part of a token that was marked fills the screen.
fn release(state: &mut State, column: u16) {
    let Some(from) = state.marked_from.take().filter(|&from| from.abs_diff(column) > 1) else { return };
    let [from, to] = [from, column].map(|column| timeline::view::share_at(column, state.size.0));
    state.timeline.zoom_to_part(from, to);
}

fn act(state: &mut State, action: Action) -> Vec<Effect> {
    match action {
        Action::Quit => return vec![Effect::Quit],
        Action::Open(overlay) => {
            state.overlay = (state.overlay != Some(overlay)).then_some(overlay);
            state.scroll = 0;
        }
        Action::Repaint => return vec![Effect::Repaint],
        Action::Suspend => return vec![Effect::Suspend],
        Action::Mouse => return give_mouse(state),
        Action::Tab(tab) => return open_tab(state, tab),
        Action::NextTab => return open_tab(state, state.tab.step(1)),
        Action::PreviousTab => return open_tab(state, state.tab.step(Tab::ALL.len() - 1)),
        Action::Pause => scrub::pause(state),
        Action::Run => return jobs::run(state),
        Action::Cancel => return jobs::cancel(state),
        Action::Up => step(state, -1),
        Action::Down => step(state, 1),
        Action::PageUp => step(state, -page(state)),
        Action::PageDown => step(state, page(state)),
        Action::Top => step(state, isize::MIN),
        Action::Bottom => step(state, isize::MAX),
        Action::Filter => state.typing = true,
        Action::Ops(action) => {
            let selected = selected_row(state);
            let (data, ops, _) = state.shown_and_screens();
            ops.act(action, selected, data);
        }
        Action::Timeline(action) => {
            let (data, _, timeline) = state.shown_and_screens();
            let rows = data.plan.as_ref().map_or(0, |plan| timeline::waterfall::count(&plan.sites));
            timeline.act(action, data.events.tokens(), rows);
        }
        Action::Sessions(action) => return sessions::act(state, action),
        Action::Hardware(action) => {
            let selected = selected_row(state);
            state.hardware.act(action, selected);
        }
        Action::Mark => mark(state),
        Action::Export => export::open(state),
        Action::Replay(action) => step_or_seek(state, action),
        Action::Escape => return escape(state),
    }
    Vec::new()
}

/// Moves within the recording, or within what is kept of the stream. On the Timeline a step goes to the next token of
/// those that are kept, as far as there is one.
fn step_or_seek(state: &mut State, action: replay::Action) {
    let is_step = matches!(action, replay::Action::NextToken | replay::Action::PreviousToken);
    if is_step && state.tab == Tab::Timeline {
        let (data, _, timeline) = state.shown_and_screens();
        let found = timeline.step(action == replay::Action::NextToken, data.events.tokens());
        if found || state.replay.is_none() {
            return;
        }
    }
    state.timeline.selected = None;
    match &mut state.replay {
        Some(replay) => replay.act(action),
        None => scrub::scrub(state, action),
    }
}

/// Marks the selected op, so that other screens follow it, or takes the mark away.
fn mark(state: &mut State) {
    let found = screens::marked_op(state, selected_row(state).as_deref());
    match found {
        Some(mark) if state.mark.as_ref() == Some(&mark) => state.mark = None,
        Some(mark) => {
            state.notice =
                Some(format!("{} is marked on all screens; x takes the mark away", printable(&mark.name)));
            state.mark = Some(mark);
        }
        None => state.notice = Some("select a row of one op to mark it".to_owned()),
    }
}

/// Closes what is open: the filter first, then a recording that was opened over the daemon.
fn escape(state: &mut State) -> Vec<Effect> {
    if let Some(list) = screens::list_mut(state)
        && !list.filter.is_empty()
    {
        list.filter.clear();
    } else if sessions::close_replay(state) {
        return vec![Effect::CloseReplay];
    }
    Vec::new()
}

/// Gives the mouse to the terminal, or takes it again.
fn give_mouse(state: &mut State) -> Vec<Effect> {
    let (mouse, whose) = match state.mouse {
        Mouse::Ours => (Mouse::Terminals, "is the terminal's: it selects text"),
        Mouse::Terminals => (Mouse::Ours, "is ours again"),
    };
    state.mouse = mouse;
    state.notice = Some(format!("the mouse {whose}; M changes that"));
    vec![Effect::Mouse(mouse == Mouse::Ours)]
}

fn open_tab(state: &mut State, tab: Tab) -> Vec<Effect> {
    let needed = state.tab.needs_events();
    state.tab = tab;
    state.overlay = None;
    state.typing = false;
    // The list may be old.
    state.sessions.asked_ns = None;
    let changes = needed != tab.needs_events() && matches!(state.link, Link::Up { .. });
    if changes { vec![subscribe(state)] } else { Vec::new() }
}

/// What a key does to the open overlay: scrolls or closes it. Returns whether it did.
fn scroll(state: &mut State, key: KeyEvent) -> bool {
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return false;
    }
    let page = page(state);
    match key.code {
        KeyCode::Char('q') | KeyCode::Esc | KeyCode::Enter => state.overlay = None,
        KeyCode::Char('j') | KeyCode::Down => scroll_by(state, 1),
        KeyCode::Char('k') | KeyCode::Up => scroll_by(state, -1),
        KeyCode::PageDown | KeyCode::Char(' ') => scroll_by(state, page),
        KeyCode::PageUp | KeyCode::Char('b') => scroll_by(state, -page),
        KeyCode::Home | KeyCode::Char('g') => state.scroll = 0,
        KeyCode::End | KeyCode::Char('G') => scroll_by(state, isize::MAX),
        _ => return false,
    }
    true
}

fn scroll_by(state: &mut State, by: isize) {
    state.scroll = state.scroll.saturating_add_signed(by).min(view::last_scroll(state));
}

/// Rows of a page: those of the screen, less one for context.
fn page(state: &State) -> isize {
    (isize::from(i16::try_from(state.size.1).unwrap_or(i16::MAX)) - 5).max(1)
}

fn step(state: &mut State, by: isize) {
    let rows = screens::row_keys(state);
    if let Some(list) = screens::list_mut(state) {
        list.step(by, rows);
    }
}

/// Key of the selected row, or of the first.
fn selected_row(state: &State) -> Option<String> {
    let rows = screens::row_keys(state);
    let selected = screens::list(state)?.selected.as_ref();
    let at = selected.and_then(|key| rows.iter().position(|row| row == key)).unwrap_or(0);
    rows.into_iter().nth(at)
}
