//! Pausing what a daemon sends, and going back in it.

use std::time::Duration;

use crossterm::event::KeyCode;
use slmscope_profiles::op::Phase;
use slmscope_profiles::record::Record;
use slmscope_profiles::summary::Summary;

use super::super::Msg;
use super::super::state::State;
use super::super::update::update;
use super::fixture::{connected, frame, job, letters, plan, press, sample, summary};
use super::replay::batch;
use super::screens::picture;
use slmscope_profiles::job::JobState;
use slmscope_profiles::wire::Talk;

const SECOND: u64 = 1_000_000_000;

/// A dashboard that has seen so many seconds of decode, ten steps in each.
fn after(seconds: u64) -> State {
    let mut state = connected();
    frame(&mut state, Talk::Job(Box::new(job(JobState::Measuring))));
    frame(&mut state, Record::Plan(plan()));
    (1..=seconds).for_each(|second| see(&mut state, second));
    state
}

fn see(state: &mut State, second: u64) {
    frame(state, Record::Sample(sample(second)));
    let (begin_ns, end_ns) = ((second - 1) * SECOND, second * SECOND);
    frame(state, Summary { begin_ns, end_ns, ..summary(Phase::Decode) });
    update(state, Msg::Tick { now_ns: end_ns });
}

fn steps(state: &State) -> u64 {
    state.shown().totals.decode.rows
}

#[test]
fn a_paused_screen_goes_back_and_forth_while_the_stream_goes_on() {
    let mut state = after(10);
    assert_eq!(steps(&state), 100);
    letters(&mut state, " ");
    see(&mut state, 11);
    assert_eq!(steps(&state), 100, "frozen");
    for (key, expected) in [
        (KeyCode::Left, 90),
        (KeyCode::Left, 80),
        (KeyCode::Right, 90),
        (KeyCode::Char('0'), 10),
        (KeyCode::Right, 20),
        (KeyCode::Char('.'), 20),
        (KeyCode::Right, 30),
        (KeyCode::Char('$'), 110),
    ] {
        press(&mut state, key);
        assert_eq!(steps(&state), expected, "{key:?}");
    }
    assert!(!state.is_paused(), "it follows the daemon again");
    see(&mut state, 12);
    assert_eq!(steps(&state), 120);
}

#[test]
fn an_arrow_pauses_and_the_screen_says_how_far_back_it_is() {
    let mut state = after(10);
    press(&mut state, KeyCode::Left);
    press(&mut state, KeyCode::Left);
    assert!(state.is_paused());
    let shown = picture(&state, 120, 40);
    assert!(shown.contains("paused 2.00 s before") && shown.contains("PAUSED"), "{shown}");
    letters(&mut state, " ");
    assert!(!state.is_paused() && steps(&state) == 100);
}

#[test]
fn a_paused_timeline_has_the_tokens_of_its_moment() {
    let mut state = after(1);
    (0..20).for_each(|token| drop(frame(&mut state, Record::Ops((&batch(token)).into()))));
    update(&mut state, Msg::Tick { now_ns: 2 * SECOND });
    press(&mut state, KeyCode::Left);
    press(&mut state, KeyCode::Left);
    assert_eq!(state.shown().events.tokens().len(), 18, "by single tokens, as they are kept");
    press(&mut state, KeyCode::Right);
    assert_eq!(state.shown().events.tokens().len(), 19);
}

#[test]
fn nothing_is_kept_of_a_daemon_that_sent_nothing() {
    let mut state = connected();
    press(&mut state, KeyCode::Left);
    assert!(!state.is_paused() && state.notice.as_deref() == Some("nothing is kept yet to go back to"));
    let mut state = after(3);
    update(&mut state, Msg::Disconnected { reason: "gone".to_owned(), retry: Duration::ZERO });
    letters(&mut state, " ");
    assert_eq!(steps(&state), 30, "what was there stays");
}
