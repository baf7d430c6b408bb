//! What keys, the mouse and a new size change.

use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseButton, MouseEventKind};

use super::super::keys::Action;
use super::super::list::Typed;
use super::super::overlay::Overlay;
use super::super::screens::{self, timeline};
use super::super::state::{Link, Mouse, State};
use super::super::tab::Tab;
use super::super::{Effect, view};
use super::{jobs, subscribe};

/// Applies an event of the terminal.
pub(super) fn input(state: &mut State, event: Event) -> Vec<Effect> {
    match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => {
            if let Some((job, _)) = state.confirm.take_if(|_| !key.modifiers.contains(KeyModifiers::CONTROL))
            {
                return jobs::answer(state, job, key);
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
            if state.overlay == Some(Overlay::Picker) && !key.modifiers.contains(KeyModifiers::CONTROL) {
                return jobs::pick(state, key, page(state));
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
            _ => Vec::new(),
        },
        Event::Resize(width, height) => {
            state.size = (width, height);
            Vec::new()
        }
        _ => Vec::new(),
    }
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
        Action::Pause => pause(state),
        Action::Run => return jobs::run(state),
        Action::Cancel => return jobs::cancel(state),
        Action::Up => step(state, -1),
        Action::Down => step(state, 1),
        Action::PageUp => step(state, -page(state)),
        Action::PageDown => step(state, page(state)),
        Action::Top => step(state, isize::MIN),
        Action::Bottom => step(state, isize::MAX),
        Action::Filter => state.typing = true,
        Action::RawCounters => state.raw_counters = !state.raw_counters,
        Action::Ops(action) => {
            let selected = selected_row(state);
            let data = state.frozen.as_deref().unwrap_or(&state.live);
            state.ops.act(action, selected, data);
        }
        Action::Timeline(action) => {
            let data = state.frozen.as_deref().unwrap_or(&state.live);
            let rows = data.plan.as_ref().map_or(0, |plan| timeline::waterfall::count(&plan.sites));
            state.timeline.act(action, data.events.tokens(), rows);
        }
        Action::Replay(action) => {
            if let Some(replay) = &mut state.replay {
                replay.act(action);
            }
        }
        Action::Escape => {
            if let Some(list) = screens::list_mut(state) {
                list.filter.clear();
            }
        }
    }
    Vec::new()
}

/// Plays or stops a recording; freezes what is shown of a daemon, or follows it again.
fn pause(state: &mut State) {
    if let Some(replay) = &mut state.replay {
        return replay.toggle();
    }
    state.frozen = match state.frozen.take() {
        Some(_) => None,
        None => Some(Box::new(state.live.clone())),
    };
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
