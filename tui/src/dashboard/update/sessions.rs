//! What the Sessions screen asks for, and what comes of it.

use slmscope_profiles::job::JobId;
use slmscope_profiles::workload::Workload;

use super::super::Effect;
use super::super::data::Data;
use super::super::form::Form;
use super::super::overlay::{Overlay, Page};
use super::super::replay::Replay;
use super::super::screens::sessions::rows::selected;
use super::super::screens::sessions::state::Action;
use super::super::state::{Confirm, Deed, State};
use super::super::tab::Tab;
use super::super::tasks::{Done, Opened, Task};

/// Time between two lists while they are on screen, ns.
const LIST_PERIOD_NS: u64 = 5_000_000_000;

/// Asks for the list of sessions while it is on screen, now and then.
pub(super) fn tick(state: &mut State, now_ns: u64) -> Option<Effect> {
    let is_shown = state.tab == Tab::Sessions || state.overlay == Some(Overlay::Picker);
    let sessions = &mut state.sessions;
    let is_due = sessions.asked_ns.is_none_or(|asked_ns| now_ns.saturating_sub(asked_ns) >= LIST_PERIOD_NS);
    if !is_shown || !is_due || sessions.is_asked {
        return None;
    }
    (sessions.asked_ns, sessions.is_asked) = (Some(now_ns), true);
    Some(Effect::Task(Task::List))
}

/// Number of the selected session, if something was recorded of it.
fn recorded(state: &mut State) -> Option<JobId> {
    let (number, is_kept) = selected(state).map(|row| (row.number, row.info.is_some()))?;
    if !is_kept {
        state.notice = Some(format!("nothing of job {number} was recorded"));
    }
    is_kept.then_some(number)
}

/// Applies a key of the screen.
pub(super) fn act(state: &mut State, action: Action) -> Vec<Effect> {
    match action {
        Action::Start => {
            let model = state.options.model.clone();
            open_form(state, Form::of(model, Workload::default()));
            Vec::new()
        }
        Action::Repeat => repeat(state),
        Action::Open => recorded(state).map_or_else(Vec::new, |session| open(state, session)),
        Action::Baseline => {
            let Some(session) = recorded(state) else { return Vec::new() };
            if state.sessions.baseline == Some(session) {
                (state.sessions.baseline, state.ops.baseline) = (None, None);
                state.notice = Some(format!("session {session} is no longer the baseline"));
                return Vec::new();
            }
            task(state, format!("reading session {session}"), Task::Baseline(session))
        }
        Action::Compare => {
            let Some(after) = recorded(state) else { return Vec::new() };
            let Some(before) = state.sessions.compared_with(after) else {
                state.notice =
                    Some("nothing to compare with: p on another session makes it the baseline".to_owned());
                return Vec::new();
            };
            let width = state.size.0.saturating_sub(4);
            let notice = format!("comparing session {after} with session {before}");
            task(state, notice, Task::Compare { before, after, width })
        }
        Action::Remove => {
            if let Some(session) = recorded(state) {
                let model = selected(state).map(|row| row.model().to_owned()).unwrap_or_default();
                let model = slmscope_profiles::display::printable(&model).into_owned();
                let question = format!("remove session {session} ({model}) for good? y/n");
                state.confirm = Some(Confirm { question, deed: Deed::Remove(session) });
            }
            Vec::new()
        }
    }
}

/// Opens a session over what is shown.
pub(super) fn open(state: &mut State, session: JobId) -> Vec<Effect> {
    task(state, format!("opening session {session}"), Task::Open(session))
}

fn task(state: &mut State, notice: String, task: Task) -> Vec<Effect> {
    state.notice = Some(notice);
    vec![Effect::Task(task)]
}

/// Fills the form with what the selected row ran.
fn repeat(state: &mut State) -> Vec<Effect> {
    let Some(row) = selected(state) else { return Vec::new() };
    let number = row.number;
    if let Some(job) = row.job {
        let (model, workload) = (job.model.clone(), job.workload.clone());
        open_form(state, Form::of(model, workload));
        return Vec::new();
    }
    task(state, format!("reading what session {number} ran"), Task::Recall(number))
}

pub(super) fn open_form(state: &mut State, form: Form) {
    state.form = form;
    state.overlay = Some(Overlay::Form);
}

/// Removes a session, as the user has confirmed.
pub(super) fn remove(session: JobId) -> Vec<Effect> {
    vec![Effect::Task(Task::Remove(session))]
}

/// Takes what came of a task.
pub(super) fn done(state: &mut State, done: Done) -> Vec<Effect> {
    match done {
        Done::Listed { sessions, now_s } => {
            let listed = &mut state.sessions;
            (listed.kept, listed.problem) = (Some(sessions), None);
            (listed.listed_s, listed.is_asked) = (now_s, false);
        }
        Done::NotListed(problem) => {
            (state.sessions.problem, state.sessions.is_asked) = (Some(problem), false);
        }
        Done::Baseline(session, figures) => {
            state.sessions.baseline = Some(session);
            state.ops.baseline = Some(figures.into_baseline());
            state.notice =
                Some(format!("session {session} is the baseline: Ops compares with it, and d does"));
        }
        Done::Recalled(model, workload) => open_form(state, Form::of(model, *workload)),
        Done::Text { title, text } => {
            state.page = Page { title, text };
            (state.overlay, state.scroll, state.notice) = (Some(Overlay::Page), 0, None);
        }
        Done::Removed(line) => {
            (state.notice, state.sessions.asked_ns) = (Some(line), None);
        }
        Done::Said(line) => state.notice = Some(line),
    }
    Vec::new()
}

/// Shows a recording in place of what the daemon sends.
pub(super) fn replay(state: &mut State, opened: Opened) {
    let Opened { name, source, index, .. } = opened;
    let replay = Replay::new(name, index, None);
    state.notice = replay.problem();
    state.replay_is_over_live |= state.replay.is_none();
    (state.replay, state.replay_source) = (Some(replay), source);
    (state.replayed, state.frozen) = (Data::default(), None);
    (state.tab, state.overlay, state.timeline.selected) = (Tab::Live, None, None);
}

/// Returns from a recording to the daemon; whether there was one to return from.
pub(super) fn close_replay(state: &mut State) -> bool {
    let closes = state.replay.is_some() && state.replay_is_over_live;
    if closes {
        (state.replay, state.replay_is_over_live) = (None, false);
        (state.replayed, state.now_ns) = (Data::default(), state.daemon_now_ns());
        state.replay_source.clear();
        state.timeline.selected = None;
    }
    closes
}
