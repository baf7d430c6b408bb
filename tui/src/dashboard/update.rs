//! The only code that changes the [`State`].

mod export;
mod form;
mod input;
mod jobs;
mod scrub;
mod sessions;

use crossterm::event::MouseEventKind;
use slmscope_profiles::kept::{KeptRun, Wanted};
use slmscope_profiles::status::Status;
use slmscope_profiles::wire::{
    Capability, Frame, Hello, Method, OpsDetails, Outcome, Reply, Request, Subscribe, Talk,
};

use super::data::Data;
use super::state::{Hearing, Link, State};
use super::tab::Tab;
use super::{Effect, Msg};

/// Time between two requests for the daemon's own figures, ns.
const STATUS_PERIOD_NS: u64 = 2_000_000_000;
/// Number of the request with which whoever holds the connection queues the first job.
pub const FIRST_JOB: u64 = 0;
/// Time is shown in seconds and need not be drawn more often, ns.
const CLOCK_STEP_NS: u64 = 1_000_000_000;

/// Applies a message to the state and returns the side effects that it asks for.
pub(super) fn update(state: &mut State, msg: Msg) -> Vec<Effect> {
    match msg {
        Msg::Connected { hello } => connected(state, hello),
        Msg::Frame(frame) => {
            hear(state);
            take_frame(state, frame);
            // Otherwise nothing on screen depends on new data.
            state.dirty |= state.follows();
            Vec::new()
        }
        Msg::Reply(reply) => {
            hear(state);
            take_reply(state, reply);
            Vec::new()
        }
        Msg::Clock { ahead_ns } => {
            state.ahead_ns = ahead_ns;
            Vec::new()
        }
        Msg::Disconnected { reason, retry } => {
            part(state);
            state.link = Link::Down { reason, retry_ns: retry.as_nanos() as u64 };
            (state.status_asked, state.hearing) = (None, Hearing::default());
            state.dirty = true;
            Vec::new()
        }
        Msg::Input(event) => {
            state.dirty |= !event.as_mouse_event().is_some_and(|mouse| mouse.kind == MouseEventKind::Moved);
            input::input(state, event)
        }
        Msg::Notice(text) => {
            (state.notice, state.dirty) = (Some(text), true);
            Vec::new()
        }
        Msg::Done(done) => {
            state.dirty = true;
            sessions::done(state, done)
        }
        Msg::Opened(opened) => {
            state.dirty = true;
            sessions::replay(state, *opened);
            Vec::new()
        }
        Msg::Unreadable(problem) => {
            sessions::close_replay(state);
            (state.notice, state.dirty) = (Some(format!("the session cannot be read: {problem}")), true);
            Vec::new()
        }
        Msg::Suspend => vec![Effect::Suspend],
        Msg::Continued => {
            state.dirty = true;
            vec![Effect::Repaint]
        }
        Msg::TerminalLost | Msg::Quit { .. } => vec![Effect::Quit],
        Msg::Rewound => {
            state.replayed = Data::default();
            Vec::new()
        }
        Msg::Replayed(frame) => {
            state.replayed.take(&frame);
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
        Msg::Grown(growth) => {
            if let Some(replay) = &mut state.replay {
                let was_growing = replay.index.is_growing;
                replay.grow(growth);
                if was_growing && !replay.index.is_growing {
                    state.notice = replay.problem();
                }
            }
            state.dirty = true;
            Vec::new()
        }
        Msg::Tick { now_ns } => tick(state, now_ns),
    }
}

/// Marks in all figures that the stream is interrupted here. Channel numbers of one connection mean nothing in the next.
fn part(state: &mut State) {
    state.live.channels.gap();
    state.live.totals.gap();
    state.tape.restart(&state.live);
}

fn connected(state: &mut State, hello: Hello) -> Vec<Effect> {
    let may_submit = hello.capabilities.contains(&Capability::Submit);
    part(state);
    // What was said before the first connection is of the settings.
    if state.link != Link::Waiting {
        state.notice = None;
    }
    state.link = Link::Up { version: hello.version, may_submit };
    state.result_asked = None;
    state.hearing.now = true;
    // The next daemon has other jobs.
    (state.confirm, state.submitted, state.own_jobs) = (None, vec![FIRST_JOB], Vec::new());
    state.dirty = true;
    vec![subscribe(state), ask_status(state)]
}

/// Subscribes to all channels and to sums of ops; single events are asked for only while a screen needs them.
fn subscribe(state: &mut State) -> Effect {
    let raw = state.tab.needs_events();
    ask(
        state,
        Method::Subscribe(Subscribe { ops: OpsDetails { summary: true, raw }, ..Subscribe::default() }),
    )
}

fn ask(state: &mut State, method: Method) -> Effect {
    let id = state.next_id;
    state.next_id += 1;
    Effect::Send(Box::new(Request::new(Some(id), method)))
}

fn ask_status(state: &mut State) -> Effect {
    state.status_asked = Some((state.next_id, state.clock_ns));
    ask(state, Method::Status {})
}

fn tick(state: &mut State, now_ns: u64) -> Vec<Effect> {
    if let Some(replay) = &mut state.replay {
        replay.tick(now_ns);
        if !state.replay_is_over_live {
            return sessions::tick(state, now_ns).into_iter().collect();
        }
    }
    let was_silent = state.silent_ns();
    let next_second = now_ns / CLOCK_STEP_NS != state.clock_ns / CLOCK_STEP_NS;
    state.clock_ns = now_ns;
    if std::mem::take(&mut state.hearing.now) {
        state.hearing.last_ns = Some(now_ns);
    }
    let is_silent = state.silent_ns().is_some();
    state.dirty |= (is_silent && next_second) || is_silent != was_silent.is_some();
    // A daemon that reads nothing is asked nothing: writing to it would block in the end.
    let up = matches!(state.link, Link::Up { .. }) && !is_silent;
    if state.follows() {
        let there_ns = state.daemon_now_ns();
        state.dirty |= there_ns / CLOCK_STEP_NS != state.now_ns / CLOCK_STEP_NS;
        state.now_ns = there_ns;
    }
    let mut effects: Vec<_> = sessions::tick(state, now_ns).into_iter().collect();
    if !up || state.is_paused() {
        return effects;
    }
    let due = |(_, asked_ns): (u64, u64)| now_ns.saturating_sub(asked_ns) >= STATUS_PERIOD_NS;
    if state.status_asked.is_none_or(due) {
        effects.push(ask_status(state));
    } else {
        effects.extend(ask_result(state));
    }
    effects
}

/// Notes that the daemon sent something.
fn hear(state: &mut State) {
    state.hearing.now = matches!(state.link, Link::Up { .. });
}

/// Asks for the result of another client's job when it has ended, or a turn of it has; the submitter is sent it.
fn ask_result(state: &mut State) -> Option<Effect> {
    let job = state.live.job.as_ref()?;
    let (turn, has_ended) = (job.turns, job.state.is_final() || job.turns > 0);
    let wanted = (job.job, turn);
    if !has_ended
        || state.own_jobs.contains(&job.job)
        || state.options.private
        || state.result_asked == Some(wanted)
    {
        return None;
    }
    state.result_asked = Some(wanted);
    state.result_request = Some(state.next_id);
    Some(ask(state, Method::Result(Wanted::Job(wanted.0))))
}

fn take_frame(state: &mut State, frame: Box<Frame>) {
    if let Frame::Talk(Talk::Bye { reason }) = &*frame {
        state.notice = Some(format!("the daemon ends the connection: {reason}"));
    }
    state.live.take(&frame);
    state.tape.add(frame);
}

fn take_reply(state: &mut State, reply: Reply) {
    let is_status = reply.re.is_some() && reply.re == state.status_asked.map(|(id, _)| id);
    let is_result = reply.re.is_some() && reply.re == state.result_request;
    match reply.outcome {
        // It may not be kept.
        Outcome::Error(_) if is_result => {}
        Outcome::Ok(value) if is_result => {
            let Ok(kept) = serde_json::from_value::<KeptRun>(value) else { return };
            if state.live.job.as_ref().is_some_and(|job| job.job == kept.job) {
                let KeptRun { job, result } = kept;
                take_frame(state, Box::new(Frame::Talk(Talk::Result { job, result })));
                state.dirty |= state.follows();
            }
        }
        Outcome::Error(error) => {
            state.notice = Some(error.message);
            state.dirty = true;
        }
        Outcome::Ok(value) if is_status => {
            let Ok(status) = serde_json::from_value::<Status>(value) else { return };
            state.live.enter_status(status);
            jobs::offer(state);
            state.dirty |= state.follows() || state.tab == Tab::Sessions;
        }
        Outcome::Ok(value) => {
            let is_submit = reply.re.is_some_and(|re| state.submitted.contains(&re));
            state.own_jobs.extend(value["job"].as_u64().filter(|_| is_submit));
        }
    }
}
