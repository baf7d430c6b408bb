//! Pausing what a daemon sends, and going back in it. The keys are those of a recording.

use super::super::replay::Action;
use super::super::state::{Frozen, State};

/// Part of what is kept that a seek goes over.
const SEEK: u64 = 20;

/// Plays or stops a recording; freezes what is shown of a daemon, or follows it again.
pub(super) fn pause(state: &mut State) {
    if let Some(replay) = &mut state.replay {
        replay.toggle();
    } else if state.frozen.is_some() {
        follow(state);
    } else {
        freeze(state);
    }
}

fn freeze(state: &mut State) {
    let (data, at_ns) = (state.live.clone(), state.now_ns);
    let events = data.events.clone();
    state.frozen = Some(Box::new(Frozen { data, at_ns, paused_ns: at_ns, events }));
}

fn follow(state: &mut State) {
    state.frozen = None;
    state.now_ns = state.daemon_now_ns();
}

/// Moves within what is kept of the stream. Whatever moves there pauses it first.
pub(super) fn scrub(state: &mut State, action: Action) {
    if action == Action::End {
        return follow(state);
    }
    let Some((first_ns, last_ns)) = state.tape.range_ns() else {
        state.notice = Some("nothing is kept yet to go back to".to_owned());
        return;
    };
    if state.frozen.is_none() {
        freeze(state);
    }
    let Some(frozen) = &state.frozen else { return };
    let paused_ns = frozen.paused_ns;
    let mut steps: Vec<u64> = state.tape.steps().collect();
    steps.extend(frozen.events.tokens().iter().map(|token| token.head.end_ns));
    steps.retain(|&end_ns| first_ns <= end_ns && end_ns <= paused_ns);
    steps.sort_unstable();
    let at_ns = frozen.at_ns.min(steps.last().copied().unwrap_or(last_ns));
    let part = (last_ns.min(paused_ns).saturating_sub(first_ns) / SEEK).max(1);
    let target_ns = match action {
        Action::NextToken => steps.get(steps.partition_point(|&end| end <= at_ns)).copied().unwrap_or(at_ns),
        Action::PreviousToken => {
            let before = steps.partition_point(|&end| end < at_ns).checked_sub(1);
            before.and_then(|before| steps.get(before)).copied().unwrap_or(first_ns)
        }
        Action::Forward => at_ns.saturating_add(part).min(paused_ns),
        Action::Back => at_ns.saturating_sub(part).max(first_ns),
        Action::Begin => first_ns,
        // Only a recording is played again.
        Action::End | Action::Faster | Action::Slower => at_ns,
    };
    go_to(state, target_ns);
}

/// Shows the figures of a moment.
fn go_to(state: &mut State, t_ns: u64) {
    let mut data = state.tape.until(t_ns);
    data.status.clone_from(&state.live.status);
    if let Some(frozen) = &mut state.frozen {
        data.events = frozen.events.until(t_ns);
        (frozen.data, frozen.at_ns) = (data, t_ns);
    }
    state.now_ns = t_ns;
}
