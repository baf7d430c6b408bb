//! Jobs: whose figures are shown, and what the user starts and ends.

use crossterm::event::KeyCode;
use slmscope_profiles::host::Host;
use slmscope_profiles::job::JobState;
use slmscope_profiles::op::Phase;
use slmscope_profiles::record::{Header, Record};
use slmscope_profiles::wire::{ErrorCode, Method, Outcome, Reply, Talk, WireError};

use super::super::update::update;
use super::super::{Effect, Msg};
use super::fixture::{busy, connected, frame, job, letters, press, sent, summary};

#[test]
fn figures_belong_to_the_job_that_runs() {
    let mut state = busy();
    let mut other = job(JobState::Queued);
    other.job = 8;
    frame(&mut state, Talk::Job(Box::new(other.clone())));
    assert_eq!(state.shown().job.as_ref().map(|job| job.job), Some(7));
    frame(&mut state, Talk::Job(Box::new(job(JobState::Done))));
    assert_eq!(state.shown().totals.decode.rows, 200, "an ended job keeps its figures");
    let mut old = job(JobState::Done);
    old.job = 2;
    frame(&mut state, Talk::Job(Box::new(old)));
    assert_eq!(state.shown().job.as_ref().map(|job| job.job), Some(7));
    other.state = JobState::Loading;
    frame(&mut state, Talk::Job(Box::new(other)));
    assert_eq!(state.shown().job.as_ref().map(|job| job.job), Some(8));
    assert_eq!(state.shown().totals.decode.rows, 0);
}

#[test]
fn the_same_job_number_of_another_daemon_is_another_job() {
    let mut state = busy();
    for (origin_ns, rows) in [(5, 0), (5, 10), (6, 0)] {
        let header = Header {
            origin_ns,
            wall_ns: 0,
            boottime_offset_ns: 0,
            boot_id: None,
            version: String::new(),
            host: Host::default(),
        };
        frame(&mut state, Record::Header(header));
        frame(&mut state, Talk::Job(Box::new(job(JobState::Measuring))));
        assert_eq!(state.shown().totals.decode.rows, rows);
        frame(&mut state, summary(Phase::Decode));
    }
}

#[test]
fn run_and_cancel_ask_for_what_is_possible() {
    let mut state = connected();
    assert!(press(&mut state, KeyCode::Char('r')).is_empty(), "it asks which model");
    letters(&mut state, "360");
    let effects = press(&mut state, KeyCode::Enter);
    assert!(matches!(&effects[..], [Effect::Run { model, .. }] if model == "smollm2-360m"), "{effects:?}");
    let mut state = busy();
    assert!(press(&mut state, KeyCode::Char('r')).is_empty());
    assert!(state.notice.is_some());
    press(&mut state, KeyCode::Char('c'));
    assert_eq!(sent(&press(&mut state, KeyCode::Char('y'))), [&Method::Cancel { job: 7 }]);
    let error = WireError { code: ErrorCode::Forbidden, message: "not yours".to_owned(), field: None };
    update(&mut state, Msg::Reply(Reply { re: Some(9), outcome: Outcome::Error(error) }));
    assert_eq!(state.notice.as_deref(), Some("not yours"));
}

#[test]
fn only_a_job_of_this_client_is_cancelled_without_a_question() {
    let mut state = busy();
    assert!(press(&mut state, KeyCode::Char('c')).is_empty());
    let question = &state.confirm.as_ref().unwrap().question;
    assert!(question.starts_with("job 7 (smollm2-135m) is another client's, of "), "{question}");
    assert!(press(&mut state, KeyCode::Char('n')).is_empty());
    assert_eq!((state.notice.as_deref(), &state.confirm), (Some("job 7 goes on"), &None));
    press(&mut state, KeyCode::Char('c'));
    assert_eq!(sent(&press(&mut state, KeyCode::Char('y'))), [&Method::Cancel { job: 7 }]);

    let mut state = connected();
    press(&mut state, KeyCode::Char('r'));
    let effects = press(&mut state, KeyCode::Enter);
    let [Effect::Run { id, model, .. }] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!(model, "smollm2-135m", "the last one is selected");
    let ok = Outcome::Ok(serde_json::json!({"job": 7}));
    update(&mut state, Msg::Reply(Reply { re: Some(*id), outcome: ok }));
    frame(&mut state, Talk::Job(Box::new(job(JobState::Measuring))));
    assert_eq!(sent(&press(&mut state, KeyCode::Char('c'))), [&Method::Cancel { job: 7 }], "its own");

    let mut state = busy();
    state.options.private = true;
    assert_eq!(sent(&press(&mut state, KeyCode::Char('c'))), [&Method::Cancel { job: 7 }]);
}
