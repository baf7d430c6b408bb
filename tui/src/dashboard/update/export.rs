//! The line in which the file of an export is typed.

use crossterm::event::{KeyCode, KeyEvent};
use slmscope_profiles::job::Job;

use super::super::Effect;
use super::super::export_line::{ExportFrom, ExportLine};
use super::super::overlay::Overlay;
use super::super::screens::sessions::rows::selected;
use super::super::state::State;
use super::super::tab::Tab;
use super::super::tasks::Task;

/// Asks for the file into which what is shown is exported.
pub(super) fn open(state: &mut State) {
    let Some((from, name)) = shown(state) else {
        state.notice = Some("nothing is shown that was recorded".to_owned());
        return;
    };
    state.export = ExportLine { path: format!("{name}.pftrace"), from: Some(from) };
    state.overlay = Some(Overlay::Export);
}

/// The recording of what is shown, and a name for its file.
fn shown(state: &State) -> Option<(ExportFrom, String)> {
    let session = |number: u64| (ExportFrom::Session(number.to_string()), format!("session-{number}"));
    if state.tab == Tab::Sessions {
        return selected(state)?.info.map(|info| session(info.session));
    }
    if let Some(replay) = &state.replay {
        let name = replay.name.trim_end_matches(".mcap").replace(' ', "-");
        return Some((ExportFrom::Session(state.replay_source.clone()), name))
            .filter(|_| !state.replay_source.is_empty());
    }
    let job: &Job = state.live.job.as_ref()?;
    let is_looping = job.workload.looped && !job.state.is_final();
    Some(if is_looping { (ExportFrom::Recent, format!("job-{}", job.job)) } else { session(job.job) })
}

/// What a key does in the line.
pub(super) fn key(state: &mut State, key: KeyEvent) -> Vec<Effect> {
    match key.code {
        KeyCode::Esc => state.overlay = None,
        KeyCode::Enter => {
            let path = state.export.path.trim().to_owned();
            if let Some(from) = state.export.from.clone().filter(|_| !path.is_empty()) {
                (state.overlay, state.notice) = (None, Some(format!("writing {path}")));
                return vec![Effect::Task(Task::Export { from, path })];
            }
        }
        _ => state.export.type_key(key),
    }
    Vec::new()
}
