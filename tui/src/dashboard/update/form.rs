//! Keys in the form of a workload.

use crossterm::event::{KeyCode, KeyEvent};

use super::super::Effect;
use super::super::state::State;
use super::jobs;

/// What a key does in it.
pub(super) fn key(state: &mut State, key: KeyEvent) -> Vec<Effect> {
    match key.code {
        KeyCode::Esc => {
            state.overlay = None;
            Vec::new()
        }
        KeyCode::Enter => match state.form.workload() {
            // The form says what is wrong.
            Err(_) => Vec::new(),
            Ok(workload) => {
                let model = state.form.model.clone();
                jobs::queue(state, model, workload)
            }
        },
        _ => {
            state.form.type_key(key);
            Vec::new()
        }
    }
}
