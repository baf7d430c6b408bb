//! Jobs that the user starts and ends, and the picker of their models.

use crossterm::event::{KeyCode, KeyEvent};
use slmscope_profiles::display::printable;
use slmscope_profiles::job::{Job, JobId};
use slmscope_profiles::wire::Method;

use super::super::list::List;
use super::super::overlay::Overlay;
use super::super::state::{Link, State};
use super::super::{Effect, Idle};
use super::ask;
use crate::user;

/// Asks which model to run, if one can be run.
pub(super) fn run(state: &mut State) -> Vec<Effect> {
    let refusal = match &state.link {
        Link::Up { may_submit: true, .. } if state.live.is_busy() => "a job is running: c cancels it",
        Link::Up { may_submit: true, .. } => {
            open_picker(state);
            return Vec::new();
        }
        Link::Up { .. } => "this daemon lets you watch only; join its group to run jobs",
        Link::Waiting | Link::Down { .. } => "not connected",
    };
    state.notice = Some(refusal.to_owned());
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
    {
        open_picker(state);
    }
}

/// What a key does in the picker, whose pages have so many rows.
pub(super) fn pick(state: &mut State, key: KeyEvent, page: isize) -> Vec<Effect> {
    let shown = state.picker.shown(&state.options.models);
    let names = || shown.iter().map(|choice| choice.name.clone()).collect();
    match key.code {
        KeyCode::Esc => state.overlay = None,
        KeyCode::Enter => {
            let at = state.picker.selected(&shown);
            let Some(model) = shown.get(at).map(|choice| choice.name.clone()) else { return Vec::new() };
            let id = state.next_id;
            state.next_id += 1;
            state.overlay = None;
            state.notice = Some(format!("requested a run of {model}"));
            state.options.model.clone_from(&model);
            state.submitted.push(id);
            return vec![Effect::Run { id, model }];
        }
        KeyCode::Down => state.picker.list.step(1, names()),
        KeyCode::Up => state.picker.list.step(-1, names()),
        KeyCode::PageDown => state.picker.list.step(page, names()),
        KeyCode::PageUp => state.picker.list.step(-page, names()),
        _ => {
            state.picker.list.type_filter(key);
        }
    }
    Vec::new()
}

/// Ends the job that runs, after a question if it is another client's.
pub(super) fn cancel(state: &mut State) -> Vec<Effect> {
    let Some(Job { job, model, uid, .. }) = state.live.job.as_ref().filter(|job| !job.state.is_final())
    else {
        state.notice = Some("no job is running".to_owned());
        return Vec::new();
    };
    let job = *job;
    if !state.options.private && !state.own_jobs.contains(&job) {
        let (model, user) = (printable(model).into_owned(), user::name(*uid));
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
pub(super) fn answer(state: &mut State, job: JobId, key: KeyEvent) -> Vec<Effect> {
    if key.code == KeyCode::Char('y') && key.modifiers.is_empty() {
        return cancel_job(state, job);
    }
    state.notice = Some(format!("job {job} goes on"));
    Vec::new()
}
