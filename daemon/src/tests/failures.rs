//! Engines that die, fail, hang, do not start, or leave damaged batches: what becomes of the job and of the next one.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use slmscope_profiles::op::Phase;

use super::jobs::{BUSY, is_load};
use super::{START_NS, TestDaemon, books_close};
use crate::backend::scripted::{ENDED, Step, failed, token};
use crate::backend::{Command, Event};
use crate::clock::Clock as _;

#[test]
fn an_engine_that_dies_ends_the_job_in_any_state_and_the_next_job_gets_another() {
    for (state, is_there) in BUSY {
        let has_died = AtomicBool::new(false);
        let daemon = TestDaemon::scripted(move |command, _| {
            let dies = is_there(command) && !has_died.swap(true, Ordering::Relaxed);
            dies.then(|| vec![Step::Die("the worker was ended by signal 9")])
        });
        let mut client = daemon.watch();
        let options = json!({"warmup": 1, "overhead": "auto"});
        let job = client.submit(&options);
        let result = client.result();
        assert_eq!(
            (result["status"].as_str(), result["error"].as_str()),
            (Some("failed"), Some("the worker was ended by signal 9")),
            "{state}"
        );
        assert_eq!(client.job(job, "failed")["error"], "the worker was ended by signal 9");
        client.submit(&options);
        assert_eq!(client.result()["status"], "complete", "after a death while {state}");
    }
}

#[test]
fn an_engine_that_reports_a_failure_ends_the_job_with_its_message() {
    for (state, is_there) in BUSY {
        let daemon = TestDaemon::scripted(move |command, _| {
            is_there(command).then(|| vec![Step::Report(failed("no room: ask for less"))])
        });
        let mut client = daemon.watch();
        client.submit(&json!({"warmup": 1, "overhead": "auto"}));
        let result = client.result();
        assert_eq!(
            (result["status"].as_str(), result["error"].as_str()),
            (Some("failed"), Some("no room: ask for less")),
            "{state}"
        );
    }
}

#[test]
fn an_engine_that_ignores_a_cancel_is_killed_after_two_seconds() {
    let daemon = TestDaemon::scripted(|command, _| is_load(command).then(|| vec![Step::Hold, Step::Hang]));
    let mut client = daemon.watch();
    let job = client.submit(&json!({"timeout": 5}));
    daemon.engines.wait_for("hold");
    daemon.engines.release();
    let result = client.result();
    assert_eq!(result["error"], "not done within 5 s: ask for less, or for a longer timeout");
    assert_eq!(client.job(job, "failed")["state"], "failed");
    let took_ns = daemon.clock.now_ns() - START_NS;
    assert!((7_000_000_000..7_100_000_000).contains(&took_ns), "{took_ns}");
    assert_eq!(daemon.engines.log().last().unwrap(), "kill");
}

#[test]
fn an_engine_that_dies_in_the_pause_of_a_loop_fails_the_next_turn() {
    let daemon = TestDaemon::start();
    let mut client = daemon.watch();
    let job = client.submit(&json!({"loop": true, "pause": 60}));
    assert_eq!(client.result()["status"], "complete");
    daemon.clock.next_wait();
    daemon.engines.end_all();
    daemon.clock.pass_wait();
    let result = client.result();
    assert_eq!((result["status"].as_str(), result["error"].as_str()), (Some("failed"), Some(ENDED)));
    assert_eq!(result["phases"], json!([]), "nothing of the turn before");
    assert_eq!(client.job(job, "failed")["turns"], 1);
}

#[test]
fn an_engine_that_dies_while_it_measures_the_roofs_costs_the_roofs_alone() {
    let daemon = TestDaemon::scripted(|command, _| {
        matches!(command, Command::MeasureRoofs(_))
            .then(|| vec![Step::Die("the worker was ended by signal 9")])
    });
    let mut client = daemon.watch();
    client.submit(&json!({}));
    let result = client.result();
    assert_eq!(result["status"], "complete");
    let reason = result["roofs"]["reason"].as_str().unwrap();
    assert!(reason.starts_with("the engine that measured the roofs is gone"), "{reason}");
}

#[test]
fn an_engine_that_does_not_start_fails_its_job_and_no_other() {
    let daemon = TestDaemon::start();
    daemon.engines.refuse_start(1);
    let mut client = daemon.watch();
    client.submit(&json!({}));
    let result = client.result();
    let reason = "cannot start the worker process: too many processes";
    assert_eq!((result["status"].as_str(), result["error"].as_str()), (Some("failed"), Some(reason)));
    // The third start of the second job is of an engine that measures the roofs.
    daemon.engines.refuse_start(4);
    client.submit(&json!({}));
    let result = client.result();
    assert_eq!(
        (result["status"].as_str(), result["roofs"]["reason"].as_str()),
        (Some("complete"), Some(reason))
    );
}

#[test]
fn a_damaged_ring_fails_the_job_instead_of_losing_its_events_silently() {
    let was_damaged = AtomicBool::new(false);
    let daemon = TestDaemon::scripted(move |command, _| {
        let damages = matches!(command, Command::Repeat { .. }) && !was_damaged.swap(true, Ordering::Relaxed);
        let progress = Event::Progress { phase: Phase::Decode, done: 1, total: None };
        damages.then(|| {
            vec![Step::Batch(token().batch(1)), Step::DamagedBatch, Step::Report(progress), Step::Hold]
        })
    });
    let mut client = daemon.watch();
    client.submit(&json!({}));
    let result = client.result();
    assert_eq!(
        (result["status"].as_str(), result["error"].as_str()),
        (Some("failed"), Some("the engine's op events cannot be read: a damaged batch"))
    );
    books_close(&result["phases"]);
    client.submit(&json!({}));
    assert_eq!(client.result()["status"], "complete", "by another engine");
}
