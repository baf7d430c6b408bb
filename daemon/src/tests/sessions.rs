//! Jobs that are recorded: what their sessions hold, and what becomes of a job whose recording fails.

use std::path::Path;

use serde_json::{Value, json};
use slmscope_exports::recording::Reader;
use slmscope_exports::session::Session;
use slmscope_profiles::job::JobState;
use slmscope_profiles::kept::Wanted;
use slmscope_profiles::wire::{Method, Submit};

use super::{TestDaemon, submission};
use crate::backend::Command;
use crate::backend::scripted::Step;
use crate::recorder::SessionFolder;

const ROOM: u64 = 1 << 30;

/// Engines that do as usual.
fn usual(_: &Command, _: u64) -> Option<Vec<Step>> {
    None
}

fn folder(path: &Path) -> SessionFolder {
    SessionFolder::open(path.to_owned(), ROOM).unwrap()
}

fn read(path: &Path, session: u64) -> Session {
    let (_, file) = folder(path).open_session(&Wanted::Job(session), 0).unwrap();
    Session::read(&mut Reader::new(file).unwrap()).unwrap()
}

/// Runs a job to its end, and returns number and result.
fn run(daemon: &TestDaemon, options: &Value) -> (u64, Value) {
    let mut client = daemon.watch();
    let job = client.submit(options);
    let result = client.result();
    client.job(
        job,
        result["status"].as_str().map_or("done", |status| match status {
            "complete" => "done",
            other => other,
        }),
    );
    (job, result)
}

#[test]
fn a_job_is_recorded_by_default_and_its_session_holds_what_its_result_was_made_of() {
    let kept = tempfile::tempdir().unwrap();
    let daemon = TestDaemon::recording(kept.path(), ROOM, usual);
    let (job, result) = run(&daemon, &json!({"repetitions": 2}));
    assert_eq!(result["recorded"], json!({"session": job, "error": null}));
    let session = read(kept.path(), job);
    assert!(session.end.is_complete && session.damage.is_empty());
    let run = session.last_run().unwrap();
    assert_eq!(serde_json::to_value(&run.result).unwrap(), result);
    let recorded = run.result.as_ref().unwrap();
    assert_eq!((&run.profile.phases(), &run.profile.ops(&recorded.roofs)), (&recorded.phases, &recorded.ops));
    assert_eq!(run.job.as_ref().unwrap().state, JobState::Done);
    let listed = folder(kept.path()).list();
    let summary = listed[0].summary.as_ref().unwrap();
    assert_eq!((listed[0].session, summary.state), (job, Some(JobState::Done)));
    assert_eq!(summary.run_id, recorded.run_id);
    assert_eq!(
        summary.decode_tokens_per_s,
        recorded.summary.decode_tokens_per_s.as_ref().map(|rate| rate.median)
    );
}

#[test]
fn a_session_holds_nothing_of_the_job_before() {
    let kept = tempfile::tempdir().unwrap();
    let daemon = TestDaemon::recording(kept.path(), ROOM, usual);
    run(&daemon, &json!({}));
    let (job, _) = run(&daemon, &json!({}));
    let session = read(kept.path(), job);
    assert_eq!(session.runs.keys().copied().collect::<Vec<_>>(), [job]);
}

#[test]
fn a_session_holds_all_that_is_needed_to_run_it_again() {
    let kept = tempfile::tempdir().unwrap();
    let daemon = TestDaemon::recording(kept.path(), ROOM, usual);
    let options = json!({"repetitions": 2, "seed": 7, "depth": 3, "format": "q8_0", "threads": 1});
    let (job, _) = run(&daemon, &options);
    let session = read(kept.path(), job);
    let run = session.last_run().unwrap();
    let asked: Submit = serde_json::from_value(submission(&options)["submit"].clone()).unwrap();
    let again = run.job.as_ref().unwrap().to_submit();
    assert_eq!(again, asked);
    // What judges whether it is the same thing on the same machine.
    let result = run.result.as_ref().unwrap();
    assert!(result.model.params.is_some() || result.model.hash.is_some(), "{:?}", result.model);
    assert_eq!(result.slmscope, crate::VERSION);
    assert_eq!(session.header.as_ref().map(|header| &header.host), result.host.as_ref());
    assert!(result.hygiene.grade.is_some());
    assert!(run.plan.as_ref().is_some_and(|plan| !plan.sites.is_empty()));
    // A daemon takes it as it is.
    let mut client = daemon.watch();
    let method = serde_json::to_value(Method::Submit(again)).unwrap();
    assert!(client.ask(&method)["ok"]["job"].is_u64());
}

#[test]
fn a_loop_and_a_job_that_is_not_to_be_recorded_write_nothing() {
    let kept = tempfile::tempdir().unwrap();
    let daemon = TestDaemon::recording(kept.path(), ROOM, usual);
    let mut client = daemon.watch();
    let mut request = submission(&json!({}));
    request["submit"]["record"] = false.into();
    let job = client.ask(&request)["ok"]["job"].as_u64().unwrap();
    assert_eq!(client.result()["recorded"], json!({"session": null, "error": null}));
    client.job(job, "done");
    let job = client.submit(&json!({"loop": true, "pause": 60}));
    client.result();
    daemon.clock.next_wait();
    client.ask(&json!({"cancel": {"job": job}}));
    client.job(job, "cancelled");
    assert!(folder(kept.path()).list().is_empty());
    let status = client.ask(&json!({"status": {}}))["ok"]["recording"].take();
    assert_eq!((&status["mode"], &status["written_bytes"]), (&json!("jobs"), &json!(0)));
}

#[test]
fn a_job_runs_on_when_it_cannot_be_recorded_and_result_and_status_say_why() {
    let kept = tempfile::tempdir().unwrap();
    // Less room than any recording needs.
    let daemon = TestDaemon::recording(kept.path(), 1000, usual);
    let (_, result) = run(&daemon, &json!({}));
    assert_eq!((&result["status"], &result["recorded"]["session"]), (&json!("complete"), &Value::Null));
    let reason = result["recorded"]["error"].as_str().unwrap();
    assert!(reason.starts_with("only 1000 B is left for sessions in "), "{reason}");
    let findings = result["findings"].as_array().unwrap();
    let found = findings.iter().find(|finding| finding["code"] == "recording_stopped").unwrap();
    assert!(
        found["reason"].as_str().unwrap().starts_with("the run was not recorded: only 1000 B"),
        "{found}"
    );
    let status = daemon.watch().ask(&json!({"status": {}}))["ok"]["recording"].take();
    assert_eq!(status["problem"], reason);
    assert_eq!((&status["sessions"], &status["max_bytes"]), (&json!(0), &json!(1000)));
}

#[test]
fn a_job_that_fails_is_recorded_with_its_error() {
    let kept = tempfile::tempdir().unwrap();
    let fails = |command: &Command, _| {
        let failure = crate::backend::scripted::failed("no room: ask for less");
        matches!(command, Command::Load(_)).then(|| vec![Step::Report(failure)])
    };
    let daemon = TestDaemon::recording(kept.path(), ROOM, fails);
    let (job, _) = run(&daemon, &json!({}));
    let session = read(kept.path(), job);
    let recorded = session.last_run().unwrap();
    assert_eq!(recorded.job.as_ref().unwrap().error.as_deref(), Some("no room: ask for less"));
    assert_eq!(folder(kept.path()).list()[0].summary.as_ref().unwrap().state, Some(JobState::Failed));
    let marks = session.counts.iter().find(|(topic, _)| topic.as_str() == "mark").map(|(_, count)| *count);
    assert!(marks.unwrap() >= 2, "its states are in it: {:?}", session.counts);
}

#[test]
fn no_number_of_a_session_is_given_twice() {
    let kept = tempfile::tempdir().unwrap();
    let first = TestDaemon::recording(kept.path(), ROOM, usual);
    let (job, _) = run(&first, &json!({}));
    drop(first);
    // Its results are kept in memory, so it does not know of earlier jobs by them.
    let second = TestDaemon::recording(kept.path(), ROOM, usual);
    assert_eq!((job, run(&second, &json!({})).0), (1, 2));
    assert_eq!(folder(kept.path()).list().len(), 2);
}
