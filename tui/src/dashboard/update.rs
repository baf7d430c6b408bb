//! The one writer of the [`State`].

use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseEventKind};
use slmscope_profiles::lane::HOST_LANE;
use slmscope_profiles::op::Phase;
use slmscope_profiles::record::Record;
use slmscope_profiles::status::Status;
use slmscope_profiles::wire::{Capability, Frame, Hello, Method, Outcome, Reply, Request, Subscribe, Talk};

use super::keys::{self, Action};
use super::screens::ops::rows::rows;
use super::state::{Link, State, Tab};
use super::totals::Totals;
use super::{Effect, Msg};

/// Time between two questions for the daemon's own figures, ns.
const STATUS_PERIOD_NS: u64 = 2_000_000_000;
/// A clock that shows seconds need not be drawn more often, ns.
const CLOCK_STEP_NS: u64 = 1_000_000_000;
/// Longest filter.
const FILTER_LENGTH: usize = 64;

/// Takes in what happened, and says what is to be done about it.
pub(super) fn update(state: &mut State, msg: Msg) -> Vec<Effect> {
    match msg {
        Msg::Connected { hello } => connected(state, hello),
        Msg::Frame(frame) => {
            take_frame(state, *frame);
            // While paused nothing on screen depends on data.
            state.dirty |= !state.is_paused();
            Vec::new()
        }
        Msg::Reply(reply) => {
            take_reply(state, reply);
            Vec::new()
        }
        Msg::Disconnected { reason } => {
            state.live.channels.gap();
            state.live.totals.gap();
            state.link = Link::Down { reason };
            state.status_asked = None;
            state.dirty = true;
            Vec::new()
        }
        Msg::Input(event) => {
            state.dirty |= !event.as_mouse_event().is_some_and(|mouse| mouse.kind == MouseEventKind::Moved);
            input(state, event)
        }
        Msg::TerminalLost | Msg::Quit { .. } => vec![Effect::Quit],
        Msg::Tick { now_ns } => tick(state, now_ns),
    }
}

fn connected(state: &mut State, hello: Hello) -> Vec<Effect> {
    let may_submit = hello.capabilities.contains(&Capability::Submit);
    // Numbers of the last connection mean nothing here.
    state.live.channels.gap();
    state.live.totals.gap();
    state.link = Link::Up { version: hello.version, may_submit };
    state.notice = None;
    state.dirty = true;
    vec![ask(state, Method::Subscribe(Subscribe::default())), ask_status(state)]
}

fn ask(state: &mut State, method: Method) -> Effect {
    let id = state.next_id;
    state.next_id += 1;
    Effect::Send(Box::new(Request::new(Some(id), method)))
}

fn ask_status(state: &mut State) -> Effect {
    state.status_asked = Some((state.next_id, state.now_ns));
    ask(state, Method::Status {})
}

fn tick(state: &mut State, now_ns: u64) -> Vec<Effect> {
    let up = matches!(state.link, Link::Up { .. });
    if !state.is_paused() {
        state.dirty |= now_ns / CLOCK_STEP_NS != state.now_ns / CLOCK_STEP_NS;
        state.now_ns = now_ns;
    }
    let due = |(_, asked_ns): (u64, u64)| now_ns.saturating_sub(asked_ns) >= STATUS_PERIOD_NS;
    if up && !state.is_paused() && state.status_asked.is_none_or(due) {
        return vec![ask_status(state)];
    }
    Vec::new()
}

fn take_frame(state: &mut State, frame: Frame) {
    match frame {
        Frame::Record(record) => take_record(state, record),
        Frame::Summary(summary) => {
            let data = &mut state.live;
            let is_of_plan = data.plan.as_ref().is_some_and(|plan| plan.plan == summary.plan);
            // What a device computes is time that the host waits: only one of them is in the totals.
            if is_of_plan && summary.lane == HOST_LANE {
                data.totals.add(&summary);
            }
        }
        Frame::Talk(talk) => take_talk(state, talk),
    }
}

fn take_record(state: &mut State, record: Record) {
    let data = &mut state.live;
    match record {
        Record::Header(header) => data.enter_daemon(header.origin_ns),
        Record::Catalogue { channels } => data.channels.catalogue(&channels),
        Record::Sample(sample) => data.channels.sample(&sample),
        Record::Plan(plan) => {
            if data.totals.last_phase.is_some()
                && data.plan.as_ref().is_some_and(|old| old.sites != plan.sites)
            {
                data.totals = Totals::default();
            }
            data.plan = Some(plan);
        }
        Record::Loss { batches } => {
            data.lost = data.lost.saturating_add(batches);
            data.totals.gap();
        }
        Record::Span(_) | Record::Ops(_) | Record::Mark(_) => {}
    }
}

fn take_talk(state: &mut State, talk: Talk) {
    let data = &mut state.live;
    match talk {
        Talk::Job(job) => data.enter_job(job),
        Talk::Progress(progress) => data.progress = Some(progress),
        Talk::Gap { batches, .. } => {
            data.dropped = data.dropped.saturating_add(batches);
            data.totals.gap();
        }
        Talk::Result { result, .. } => data.overhead = Some(result.overhead),
        Talk::Bye { reason } => state.notice = Some(format!("the daemon ends the connection: {reason}")),
        Talk::Hello(_) | Talk::Text { .. } => {}
    }
}

fn take_reply(state: &mut State, reply: Reply) {
    let is_status = reply.re.is_some() && reply.re == state.status_asked.map(|(id, _)| id);
    match reply.outcome {
        Outcome::Error(error) => {
            state.notice = Some(error.message);
            state.dirty = true;
        }
        Outcome::Ok(value) if is_status => {
            let Ok(status) = serde_json::from_value::<Status>(value) else { return };
            state.live.enter_status(status);
            state.dirty |= !state.is_paused();
        }
        Outcome::Ok(_) => {}
    }
}

fn input(state: &mut State, event: Event) -> Vec<Effect> {
    match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => {
            if state.typing && type_filter(state, key) {
                return Vec::new();
            }
            state.notice = None;
            keys::action(key, state.tab).map_or_else(Vec::new, |action| act(state, action))
        }
        Event::Mouse(mouse) => match mouse.kind {
            MouseEventKind::ScrollDown => act(state, Action::Down),
            MouseEventKind::ScrollUp => act(state, Action::Up),
            _ => Vec::new(),
        },
        Event::Resize(_, height) => {
            state.height = height;
            Vec::new()
        }
        _ => Vec::new(),
    }
}

/// Whether the key went into the filter.
fn type_filter(state: &mut State, key: KeyEvent) -> bool {
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return false;
    }
    let Some(list) = state.list_mut() else { return false };
    match key.code {
        KeyCode::Char(letter) if list.filter.chars().count() < FILTER_LENGTH => list.filter.push(letter),
        KeyCode::Char(_) => {}
        KeyCode::Backspace => {
            list.filter.pop();
        }
        KeyCode::Enter => state.typing = false,
        KeyCode::Esc => {
            list.filter.clear();
            state.typing = false;
        }
        _ => {
            state.typing = false;
            return false;
        }
    }
    true
}

fn act(state: &mut State, action: Action) -> Vec<Effect> {
    match action {
        Action::Quit => return vec![Effect::Quit],
        Action::Help => state.help = !state.help,
        Action::Tab(tab) => open_tab(state, tab),
        Action::NextTab => open_tab(state, state.tab.step(1)),
        Action::PreviousTab => open_tab(state, state.tab.step(Tab::ALL.len() - 1)),
        Action::Pause => {
            state.frozen = match state.frozen.take() {
                Some(_) => None,
                None => Some(Box::new(state.live.clone())),
            };
        }
        Action::Run => return run(state),
        Action::Cancel => return cancel(state),
        Action::Up => step(state, -1),
        Action::Down => step(state, 1),
        Action::PageUp => step(state, -page(state)),
        Action::PageDown => step(state, page(state)),
        Action::Top => step(state, isize::MIN),
        Action::Bottom => step(state, isize::MAX),
        Action::Filter => state.typing = true,
        Action::Sort => state.ops.sort = state.ops.sort.next(),
        Action::Reverse => state.ops.reversed = !state.ops.reversed,
        Action::Open => open_row(state),
        Action::Phase => {
            state.ops.phase = match state.ops.phase {
                Some(Phase::Decode) => Some(Phase::Prefill),
                Some(_) => None,
                None => Some(Phase::Decode),
            };
        }
        Action::Modules => state.ops.by_module = !state.ops.by_module,
        Action::Escape if state.help => state.help = false,
        Action::Escape => {
            if let Some(list) = state.list_mut() {
                list.filter.clear();
            }
        }
    }
    Vec::new()
}

fn open_tab(state: &mut State, tab: Tab) {
    state.tab = tab;
    state.help = false;
    state.typing = false;
}

fn run(state: &mut State) -> Vec<Effect> {
    let refusal = match &state.link {
        Link::Up { may_submit: true, .. } if state.live.is_busy() => "a job runs: c cancels it",
        Link::Up { may_submit: true, .. } => {
            let submit = state.options.submit.clone();
            state.notice = Some(format!("asked to run {}", submit.model.name()));
            return vec![ask(state, Method::Submit(submit))];
        }
        Link::Up { .. } => "this daemon lets you watch only; join its group to run jobs",
        Link::Waiting | Link::Down { .. } => "no connection",
    };
    state.notice = Some(refusal.to_owned());
    Vec::new()
}

fn cancel(state: &mut State) -> Vec<Effect> {
    let Some(job) = state.live.job.as_ref().filter(|job| !job.state.is_final()).map(|job| job.job) else {
        state.notice = Some("nothing runs".to_owned());
        return Vec::new();
    };
    state.notice = Some(format!("asked to cancel job {job}"));
    vec![ask(state, Method::Cancel { job })]
}

/// Rows on a screen, less one of context.
fn page(state: &State) -> isize {
    (isize::from(i16::try_from(state.height).unwrap_or(i16::MAX)) - 5).max(1)
}

/// Keys of the rows of the open list, in order.
fn row_keys(state: &State) -> Vec<String> {
    let data = state.shown();
    match state.tab {
        Tab::Live => Vec::new(),
        Tab::Ops => {
            rows(data.plan.as_ref(), &data.totals, &state.ops).into_iter().map(|row| row.key).collect()
        }
        Tab::Hardware => {
            let groups = data.channels.grouped(&state.hardware.filter);
            groups.into_iter().flat_map(|(_, tracks)| tracks).map(|track| track.channel.id.clone()).collect()
        }
    }
}

fn step(state: &mut State, by: isize) {
    let keys = row_keys(state);
    let Some(list) = state.list_mut() else { return };
    let at = list.selected.as_ref().and_then(|key| keys.iter().position(|other| other == key)).unwrap_or(0);
    let to = at.saturating_add_signed(by).min(keys.len().saturating_sub(1));
    list.selected = keys.into_iter().nth(to);
}

fn open_row(state: &mut State) {
    let data = state.shown();
    let all = rows(data.plan.as_ref(), &data.totals, &state.ops);
    let selected = state.ops.list.selected.as_ref();
    let Some(row) = all.iter().find(|row| Some(&row.key) == selected).or_else(|| all.first()) else { return };
    let key = row.key.clone();
    if !state.ops.open.remove(&key) {
        state.ops.open.insert(key);
    }
}
