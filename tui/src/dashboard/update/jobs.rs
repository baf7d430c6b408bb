//! Jobs that the user starts and ends, and the picker of their models.

use crossterm::event::{KeyCode, KeyEvent};
use slmscope_profiles::display::printable;
use slmscope_profiles::job::{Job, JobId};
use slmscope_profiles::wire::Method;
use slmscope_profiles::workload::Workload;

use super::super::form::Form;
use super::super::list::List;
use super::super::overlay::Overlay;
use super::super::picker::Offer;
use super::super::screens::sessions::rows::selected;
use super::super::state::{Confirm, Deed, Link, State};
use super::super::tab::Tab;
use super::super::{Effect, Idle};
use super::{ask, sessions};
use crate::session::in_a_loop;
use crate::user;

/// Why no job can be queued; `None` if one can.
fn refusal(state: &State) -> Option<&'static str> {
    match &state.link {
        Link::Up { may_submit: true, .. } => None,
        Link::Up { .. } => Some("this daemon lets you watch only; join its group to run jobs"),
        Link::Waiting | Link::Down { .. } => Some("not connected"),
    }
}

/// Asks which model to run, if one can be run.
pub(super) fn run(state: &mut State) -> Vec<Effect> {
    let busy =
        state.live.is_busy().then_some("a job is running: c cancels it, w on Sessions queues another one");
    match refusal(state).or(busy) {
        Some(refusal) => state.notice = Some(refusal.to_owned()),
        None => open_picker(state),
    }
    Vec::new()
}

/// Offers the models, the last one selected.
fn open_picker(state: &mut State) {
    state.picker.list = List { filter: String::new(), selected: Some(state.options.model.clone()) };
    state.overlay = Some(Overlay::Picker);
}

/// Offers the models once if nothing runs on the daemon that the dashboard was opened on.
pub(super) fn offer(state: &mut State) {
    let may_submit = matches!(state.link, Link::Up { may_submit: true, .. });
    if !std::mem::replace(&mut state.picker.offered, true)
        && may_submit
        && state.options.idle == Idle::Offer
        && !state.options.models.is_empty()
        && state.live.job.is_none()
        && state.overlay.is_none()
        && state.replay.is_none()
    {
        open_picker(state);
    }
}

/// What a key does in the picker, whose pages have so many rows.
pub(super) fn pick(state: &mut State, key: KeyEvent, page: isize) -> Vec<Effect> {
    let shown = state.picker.shown(&state.options.models, &state.options.model, &state.sessions);
    let keys = || shown.iter().map(Offer::key).collect();
    let selected = shown.get(state.picker.selected(&shown)).map(Offer::chosen);
    match (key.code, selected) {
        (KeyCode::Esc, _) => state.overlay = None,
        (KeyCode::Enter, Some(Ok(model))) => {
            return queue(state, model, in_a_loop(Workload::default()));
        }
        (KeyCode::Enter, Some(Err(session))) => return sessions::open(state, session),
        (KeyCode::Tab, Some(Ok(model))) => {
            sessions::open_form(state, Form::of(model, in_a_loop(Workload::default())));
        }
        (KeyCode::Enter | KeyCode::Tab, _) => {}
        (KeyCode::Down, _) => state.picker.list.step(1, keys()),
        (KeyCode::Up, _) => state.picker.list.step(-1, keys()),
        (KeyCode::PageDown, _) => state.picker.list.step(page, keys()),
        (KeyCode::PageUp, _) => state.picker.list.step(-page, keys()),
        _ => {
            state.picker.list.type_filter(key);
        }
    }
    Vec::new()
}

/// Has a model opened and a job with it queued.
pub(super) fn queue(state: &mut State, model: String, workload: Workload) -> Vec<Effect> {
    if let Some(refusal) = refusal(state) {
        state.notice = Some(refusal.to_owned());
        return Vec::new();
    }
    let id = state.next_id;
    state.next_id += 1;
    state.overlay = None;
    state.notice = Some(format!("requested a run of {}", printable(&model)));
    state.options.model.clone_from(&model);
    state.submitted.push(id);
    vec![Effect::Run { id, model, workload: Box::new(workload) }]
}

/// The job that `c` means: on Sessions the selected one, else the one that is shown.
fn meant(state: &State) -> Option<&Job> {
    if state.tab == Tab::Sessions {
        return selected(state)?.job;
    }
    state.live.job.as_ref()
}

/// Ends the job that is meant, after a question if it is another client's.
pub(super) fn cancel(state: &mut State) -> Vec<Effect> {
    let Some(Job { job, model, uid, .. }) = meant(state).filter(|job| !job.state.is_final()) else {
        state.notice = Some("no job is running".to_owned());
        return Vec::new();
    };
    let job = *job;
    if !state.options.private && !state.own_jobs.contains(&job) {
        let (model, user) = (printable(model).into_owned(), user::name(*uid));
        let question = format!("job {job} ({model}) is another client's, of {user}: cancel it? y/n");
        state.confirm = Some(Confirm { question, deed: Deed::Cancel(job) });
        return Vec::new();
    }
    cancel_job(state, job)
}

fn cancel_job(state: &mut State, job: JobId) -> Vec<Effect> {
    state.notice = Some(format!("requested cancelling job {job}"));
    vec![ask(state, Method::Cancel { job })]
}

/// Answers a question: any key but `y` leaves all as it is.
pub(super) fn answer(state: &mut State, deed: Deed, key: KeyEvent) -> Vec<Effect> {
    let is_yes = key.code == KeyCode::Char('y') && key.modifiers.is_empty();
    match deed {
        Deed::Cancel(job) if is_yes => cancel_job(state, job),
        Deed::Remove(session) if is_yes => sessions::remove(session),
        Deed::Cancel(job) => {
            state.notice = Some(format!("job {job} goes on"));
            Vec::new()
        }
        Deed::Remove(session) => {
            state.notice = Some(format!("session {session} stays"));
            Vec::new()
        }
    }
}
