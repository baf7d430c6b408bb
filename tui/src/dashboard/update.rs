//! The only code that changes the [`State`].

use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseEventKind};
use slmscope_profiles::job::{Job, JobId};
use slmscope_profiles::lane::HOST_LANE;
use slmscope_profiles::record::{PlanRecord, Record};
use slmscope_profiles::status::Status;
use slmscope_profiles::wire::{Capability, Frame, Hello, Method, Outcome, Reply, Request, Subscribe, Talk};

use super::keys::Action;
use super::list::Typed;
use super::screens;
use super::state::{Data, Link, State};
use super::tab::Tab;
use super::totals::Totals;
use super::{Effect, Msg};
use crate::user;

/// Time between two requests for the daemon's own figures, ns.
const STATUS_PERIOD_NS: u64 = 2_000_000_000;
/// Time is shown in seconds and need not be drawn more often, ns.
const CLOCK_STEP_NS: u64 = 1_000_000_000;

/// Applies a message to the state and returns the side effects that it asks for.
pub(super) fn update(state: &mut State, msg: Msg) -> Vec<Effect> {
    match msg {
        Msg::Connected { hello } => connected(state, hello),
        Msg::Frame(frame) => {
            take_frame(state, *frame);
            // While paused, nothing on screen depends on new data.
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
        Msg::Rewound => {
            state.live = Data::default();
            Vec::new()
        }
        Msg::Played { at_ns } => {
            if let Some(replay) = &mut state.replay {
                replay.position_ns = Some(at_ns);
            }
            // Ages are those at this moment of the recording.
            state.now_ns = at_ns;
            state.dirty = true;
            Vec::new()
        }
        Msg::Tick { now_ns } => tick(state, now_ns),
    }
}

fn connected(state: &mut State, hello: Hello) -> Vec<Effect> {
    let may_submit = hello.capabilities.contains(&Capability::Submit);
    // Channel numbers of the last connection are no longer valid.
    state.live.channels.gap();
    state.live.totals.gap();
    state.link = Link::Up { version: hello.version, may_submit };
    state.notice = None;
    // The next daemon has other jobs.
    (state.confirm, state.submitted, state.own_jobs) = (None, Vec::new(), Vec::new());
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
    if let Some(replay) = &mut state.replay {
        replay.tick(now_ns);
        return Vec::new();
    }
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
            let has = |plan: &PlanRecord| {
                let is_known = summary.lane == HOST_LANE || plan.lane(summary.lane).is_some();
                plan.plan == summary.plan && is_known
            };
            if data.plan.as_ref().is_some_and(has) {
                data.totals.add(&summary);
            }
        }
        Frame::Talk(talk) => take_talk(state, talk),
    }
}

fn take_record(state: &mut State, record: Record) {
    let data = &mut state.live;
    match record {
        Record::Header(header) => {
            data.enter_daemon(header.origin_ns);
            data.caches = header.host.caches;
        }
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
        Talk::Result { result, .. } => {
            data.overhead = Some(result.overhead);
            data.findings = result.findings;
        }
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
        Outcome::Ok(value) => {
            let is_submit = reply.re.is_some_and(|re| state.submitted.contains(&re));
            state.own_jobs.extend(value["job"].as_u64().filter(|_| is_submit));
        }
    }
}

fn input(state: &mut State, event: Event) -> Vec<Effect> {
    match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => {
            if let Some((job, _)) = state.confirm.take_if(|_| !key.modifiers.contains(KeyModifiers::CONTROL))
            {
                return answer(state, job, key);
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
            screens::action(key, state).map_or_else(Vec::new, |action| act(state, action))
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

fn act(state: &mut State, action: Action) -> Vec<Effect> {
    match action {
        Action::Quit => return vec![Effect::Quit],
        Action::Help => state.help = !state.help,
        Action::Tab(tab) => open_tab(state, tab),
        Action::NextTab => open_tab(state, state.tab.step(1)),
        Action::PreviousTab => open_tab(state, state.tab.step(Tab::ALL.len() - 1)),
        Action::Pause => {
            if let Some(replay) = &mut state.replay {
                replay.toggle();
                return Vec::new();
            }
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
        Action::Ops(action) => {
            let selected = selected_row(state);
            state.ops.act(action, selected);
        }
        Action::Replay(action) => {
            if let Some(replay) = &mut state.replay {
                replay.act(action);
            }
        }
        Action::Escape if state.help => state.help = false,
        Action::Escape => {
            if let Some(list) = screens::list_mut(state) {
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
        Link::Up { may_submit: true, .. } if state.live.is_busy() => "a job is running: c cancels it",
        Link::Up { may_submit: true, .. } => {
            let submit = state.options.submit.clone();
            state.notice = Some(format!("requested a run of {}", submit.model.name()));
            state.submitted.push(state.next_id);
            return vec![ask(state, Method::Submit(submit))];
        }
        Link::Up { .. } => "this daemon lets you watch only; join its group to run jobs",
        Link::Waiting | Link::Down { .. } => "not connected",
    };
    state.notice = Some(refusal.to_owned());
    Vec::new()
}

fn cancel(state: &mut State) -> Vec<Effect> {
    let Some(Job { job, model, uid, .. }) = state.live.job.as_ref().filter(|job| !job.state.is_final())
    else {
        state.notice = Some("no job is running".to_owned());
        return Vec::new();
    };
    let job = *job;
    if !state.options.private && !state.own_jobs.contains(&job) {
        let (model, user) = (plain(model), user::name(*uid));
        state.confirm =
            Some((job, format!("job {job} ({model}) is another client's, of {user}: cancel it? y/n")));
        return Vec::new();
    }
    cancel_job(state, job)
}

fn cancel_job(state: &mut State, job: JobId) -> Vec<Effect> {
    state.notice = Some(format!("requested cancelling job {job}"));
    vec![ask(state, Method::Cancel { job })]
}

/// Answers the question whether a job of another client is to end: any key but `y` leaves it running.
fn answer(state: &mut State, job: JobId, key: KeyEvent) -> Vec<Effect> {
    if key.code == KeyCode::Char('y') && key.modifiers.is_empty() {
        return cancel_job(state, job);
    }
    state.notice = Some(format!("job {job} goes on"));
    Vec::new()
}

/// Text of other clients without control characters.
fn plain(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).collect()
}

/// Rows of a page: those of the screen, less one for context.
fn page(state: &State) -> isize {
    (isize::from(i16::try_from(state.height).unwrap_or(i16::MAX)) - 5).max(1)
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
