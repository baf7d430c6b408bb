//! Results that are asked for after their jobs have ended, also of the next daemon.

use serde_json::{Value, json};
use slmscope_profiles::roofline::RoofSample;

use super::{Client, START_NS, TestDaemon};
use crate::backend::scripted::{Step, TOKEN_NS, failed, token};
use crate::backend::{Command, Event};

/// Engines that do as usual.
fn usual(_: &Command, _: u64) -> Option<Vec<Step>> {
    None
}

fn result(client: &mut Client, wanted: &Value) -> Value {
    client.ask(&json!({"result": wanted}))
}

/// Runs a job of a client that leaves before it has ended, and returns its number.
fn run_detached(daemon: &TestDaemon, options: &Value) -> u64 {
    let mut watching = daemon.watch();
    let mut options = options.clone();
    options["detach"] = true.into();
    let job = daemon.connect().submit(&options);
    loop {
        let changed = watching.frame("job");
        if changed["job"] == job && changed["ended_ns"].is_u64() {
            return job;
        }
    }
}

#[test]
fn a_result_can_be_had_later_by_job_by_run_and_as_the_latest_and_after_a_restart() {
    let kept = tempfile::tempdir().unwrap();
    let daemon = TestDaemon::keeping(kept.path(), usual);
    let jobs =
        [run_detached(&daemon, &json!({"generate": 3})), run_detached(&daemon, &json!({"generate": 4}))];
    assert_eq!(jobs, [1, 2]);
    let mut client = daemon.connect();
    let first = result(&mut client, &json!({"job": 1}))["ok"].take();
    assert_eq!((&first["job"], &first["result"]["status"]), (&json!(1), &json!("complete")));
    assert_eq!(first["result"]["workload"]["generate"], 3);
    drop(daemon);

    let daemon = TestDaemon::keeping(kept.path(), usual);
    let mut client = daemon.connect();
    let run = json!({"run": first["result"]["run_id"]});
    for (wanted, generate) in
        [(json!({"job": 1}), 3), (run, 3), (json!({"job": 2}), 4), (json!({"latest": {}}), 4)]
    {
        let found = result(&mut client, &wanted);
        assert_eq!(found["ok"]["result"]["workload"]["generate"], generate, "{wanted}: {found}");
    }
    assert_eq!(result(&mut client, &json!({"job": 1}))["ok"], first, "nothing changed in the file");
    let listed = client.ask(&json!({"jobs": {}}))["ok"].take();
    assert_eq!(listed["jobs"], json!([]), "this daemon has run none");
    let results = listed["results"].as_array().unwrap();
    let shown: Vec<_> = results.iter().map(|kept| (&kept["job"], &kept["state"], &kept["model"])).collect();
    let (done, model) = (json!("done"), json!("smollm2-135m"));
    assert_eq!(shown, [(&json!(1), &done, &model), (&json!(2), &done, &model)]);
    assert_eq!(client.submit(&json!({})), 3, "no number is given twice");
}

#[test]
fn a_job_that_has_no_result_says_why() {
    let daemon =
        TestDaemon::scripted(|command, _| matches!(command, Command::Load(_)).then(|| vec![Step::Hold]));
    let mut client = daemon.watch();
    let (running, waiting) = (client.submit(&json!({})), client.submit(&json!({})));
    daemon.engines.wait_for("hold");
    let refusal = |client: &mut Client, wanted: &Value, field: &str| {
        let error = result(client, wanted)["error"].take();
        assert_eq!((error["code"].as_str(), error["field"].as_str()), (Some("no_result"), Some(field)));
        error["message"].as_str().unwrap().to_owned()
    };
    for (job, state) in [(running, "loading"), (waiting, "queued")] {
        let expected = format!(
            "job {job} has no result yet (state {state}): `slmscope result {job} --wait` waits for it"
        );
        assert_eq!(refusal(&mut client, &json!({"job": job}), "job"), expected);
    }
    client.ask(&json!({"cancel": {"job": waiting}}));
    let expected = "job 2 has no result, it ended before it ran: cancelled on request";
    assert_eq!(refusal(&mut client, &json!({"job": waiting}), "job"), expected);
    let looped = client.submit(&json!({"loop": true}));
    let expected = "job 3 has no result yet (state queued): the first turn of its loop has not ended";
    assert_eq!(refusal(&mut client, &json!({"job": looped}), "job"), expected);
    let unknown = "no result of job 99 is kept: see `slmscope jobs`";
    assert_eq!(refusal(&mut client, &json!({"job": 99}), "job"), unknown);
    let unknown = "no result of run 1-2-3 is kept: see `slmscope jobs`";
    assert_eq!(refusal(&mut client, &json!({"run": "1-2-3"}), "run"), unknown);
    assert_eq!(refusal(&mut client, &json!({"latest": {}}), "job"), "no result of yours is kept yet");
}

#[test]
fn of_a_loop_the_last_turn_is_kept_and_nothing_is_written_while_it_runs() {
    let kept = tempfile::tempdir().unwrap();
    let files = || {
        let entries = std::fs::read_dir(kept.path()).unwrap();
        entries.filter(|entry| entry.as_ref().unwrap().path().extension().is_some()).count()
    };
    let daemon = TestDaemon::keeping(kept.path(), usual);
    let mut client = daemon.watch();
    let job = client.submit(&json!({"loop": true, "pause": 60}));
    let mut last = Value::Null;
    for turn in 0..3 {
        last = client.result();
        daemon.clock.next_wait();
        assert_eq!(result(&mut client, &json!({"job": job}))["ok"]["result"]["run_id"], last["run_id"]);
        assert_eq!(files(), 0);
        if turn < 2 {
            daemon.clock.pass_wait();
        }
    }
    client.ask(&json!({"cancel": {"job": job}}));
    client.job(job, "cancelled");
    assert_eq!(files(), 1);
    let found = result(&mut client, &json!({"job": job}))["ok"]["result"].take();
    assert_eq!((&found["run_id"], &found["status"]), (&last["run_id"], &json!("complete")));
    let listed = client.ask(&json!({"jobs": {}}));
    assert_eq!(listed["ok"]["results"][0]["state"], "cancelled", "so the job ended");
}

#[test]
fn the_result_of_a_failed_job_is_kept_with_its_error() {
    let kept = tempfile::tempdir().unwrap();
    let fails = |command: &Command, _| {
        matches!(command, Command::Load(_)).then(|| vec![Step::Report(failed("no room: ask for less"))])
    };
    let daemon = TestDaemon::keeping(kept.path(), fails);
    let job = run_detached(&daemon, &json!({}));
    drop(daemon);
    let daemon = TestDaemon::keeping(kept.path(), usual);
    let found = result(&mut daemon.connect(), &json!({"job": job}))["ok"]["result"].take();
    assert_eq!((&found["status"], &found["error"]), (&json!("failed"), &json!("no room: ask for less")));
}

#[test]
fn jobs_say_when_they_were_queued_how_far_they_are_and_when_they_ended() {
    let daemon = TestDaemon::scripted(|command, _| {
        let begun = || vec![Step::Batch(token().batch(1)), Step::Pass(TOKEN_NS), Step::Hold];
        matches!(command, Command::Repeat { .. }).then(begun)
    });
    let mut client = daemon.watch();
    let (job, waiting) = (client.submit(&json!({"repetitions": 3})), client.submit(&json!({})));
    daemon.engines.wait_for("hold");
    // The runner fetches what the engine has made when it wakes up.
    daemon.clock.wake();
    let jobs = loop {
        let jobs = client.ask(&json!({"jobs": {}}))["ok"]["jobs"].take();
        if !jobs[0]["progress"].is_null() {
            break jobs;
        }
    };
    assert_eq!((&jobs[0]["submitted_ns"], &jobs[0]["ended_ns"]), (&json!(START_NS), &Value::Null));
    assert_eq!(jobs[0]["progress"], json!({"job": job, "phase": "decode", "done": 1, "total": 4}));
    assert_eq!(
        (&jobs[0]["run"], &jobs[1]["progress"], &jobs[1]["ahead"]),
        (&json!(0), &Value::Null, &json!(1))
    );
    for job in [waiting, job] {
        client.ask(&json!({"cancel": {"job": job}}));
        let ended = client.job(job, "cancelled");
        assert_eq!(ended["ended_ns"].as_u64(), Some(START_NS + TOKEN_NS), "{ended}");
    }
    assert_eq!(client.ask(&json!({"jobs": {}}))["ok"]["jobs"][0]["progress"], Value::Null);
}

#[test]
fn a_machine_that_is_slower_than_in_earlier_runs_is_named_and_its_grade_falls() {
    let kept = tempfile::tempdir().unwrap();
    let with_roofs = |read_bytes: f64| {
        move |command: &Command, at_ns: u64| {
            let Command::MeasureRoofs(request) = command else { return None };
            let sample = RoofSample { at_ns, read_bytes, f32_flops: 1e11, int8_ops: 4e11 };
            Some(vec![Step::Report(Event::Roofs(vec![sample; request.samples as usize]))])
        }
    };
    let run = |read_bytes: f64| {
        let daemon = TestDaemon::keeping(kept.path(), with_roofs(read_bytes));
        let mut client = daemon.watch();
        let job = client.submit(&json!({}));
        let result = client.result();
        client.job(job, "done");
        result["hygiene"].clone()
    };
    assert_eq!(run(10e9)["grade"], "clean", "nothing is known of earlier runs");
    assert_eq!(run(10e9)["grade"], "clean", "nothing changed");
    let slower = run(5e9);
    assert_ne!(slower["grade"], "clean", "{slower}");
    assert!(slower["reasons"].to_string().contains("since earlier runs"), "{slower}");
}
