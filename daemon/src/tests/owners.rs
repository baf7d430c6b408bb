//! Who owns a job: with whom it ends, who gets its text and result, who may cancel it, and how many may wait.

use serde_json::json;

use super::jobs::{holding, is_load};
use super::{TestDaemon, submission};

#[test]
fn a_job_ends_with_its_client_unless_it_is_detached() {
    let daemon = holding(is_load);
    let mut watching = daemon.watch();
    let mut owner = daemon.connect();
    let (owned, detached) = (owner.submit(&json!({})), owner.submit(&json!({"detach": true})));
    daemon.engines.wait_for("hold");
    drop(owner);
    assert_eq!(watching.job(owned, "cancelled")["error"], "its client is gone");
    daemon.engines.wait_for("hold");
    let jobs = watching.ask(&json!({"jobs": {}}));
    let state = |job: u64| jobs["ok"]["jobs"][job as usize - 1]["state"].clone();
    assert_eq!((state(owned), state(detached)), (json!("cancelled"), json!("loading")));
}

#[test]
fn text_and_result_go_to_the_submitter_alone() {
    let daemon = TestDaemon::start();
    let mut other = daemon.watch();
    let mut owner = daemon.connect();
    let job = owner.submit(&json!({}));
    assert_eq!(owner.result()["status"], "complete");
    loop {
        let line = other.line().unwrap();
        assert!(line["result"].is_null() && line["text"].is_null(), "{line}");
        if line["job"]["job"] == job && line["job"]["state"] == "done" {
            break;
        }
    }
}

/// A warm engine used to carry memory and loading time of the job before into the next.
#[test]
fn each_job_has_an_engine_of_its_own_that_ends_with_it() {
    let daemon = TestDaemon::start();
    let mut client = daemon.watch();
    let count = |word: &str| daemon.engines.log().iter().filter(|entry| *entry == word).count();
    for jobs in 1..=3 {
        let job = client.submit(&json!({"threads": 1}));
        let result = client.result();
        assert_eq!(result["status"], "complete");
        assert_eq!(result["worker"], json!({"state": "fresh", "loaded_by": null, "reason": null}));
        assert!(result["summary"]["load_ns"].is_u64());
        client.job(job, "done");
        // Two more measure the roofs.
        assert_eq!((count("start"), count("load"), count("kill")), (3 * jobs, jobs, 3 * jobs));
    }
}

#[test]
fn the_queue_has_a_limit_and_the_list_of_ended_jobs_too() {
    let daemon = holding(is_load);
    let mut client = daemon.watch();
    client.submit(&json!({}));
    daemon.engines.wait_for("hold");
    for _ in 0..256 {
        client.submit(&json!({}));
    }
    let refused = client.ask(&submission(&json!({})));
    assert_eq!(refused["error"]["code"], "busy");
    assert_eq!(refused["error"]["message"], "256 jobs wait already: try again when some are done");
    for job in (2..=257).rev() {
        client.ask(&json!({"cancel": {"job": job}}));
    }
    client.ask(&json!({"cancel": {"job": 1}}));
    client.job(1, "cancelled");
    // The list is shortened after a job has run.
    let job = client.submit(&json!({}));
    daemon.engines.wait_for("hold");
    let jobs = client.ask(&json!({"jobs": {}}));
    assert_eq!(jobs["ok"]["jobs"].as_array().unwrap().len(), 33);
    assert_eq!(jobs["ok"]["jobs"][32]["job"], job);
}

#[test]
fn only_the_owner_may_cancel_and_unknown_jobs_are_named() {
    let daemon = holding(is_load);
    let mut client = daemon.watch();
    let missing = client.ask(&json!({"cancel": {"job": 9}}));
    assert_eq!(
        (missing["error"]["code"].as_str(), missing["error"]["field"].as_str()),
        (Some("no_such_job"), Some("job"))
    );
    let job = client.submit(&json!({}));
    let owner = daemon.daemon.runner.jobs()[0].uid;
    let refused = daemon.daemon.runner.cancel(job, owner + 1).unwrap_err();
    assert_eq!(refused.to_string(), format!("job 1 belongs to user {owner}"));
}
