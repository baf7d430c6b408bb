//! Results that are asked for after their jobs have ended, of a real daemon that is killed in between.

mod support;

use std::os::unix::fs::PermissionsExt;

use serde_json::Value;
use support::{Daemon, slmscope, text, tiny_model};

const SHORT: [&str; 8] = ["--prompt", "8", "--generate", "5", "--repetitions", "3", "--overhead", "off"];

/// Exit code, standard output and standard error of a client.
fn ask(daemon: &Daemon, arguments: &[&str]) -> (Option<i32>, String, String) {
    let ended = daemon.client(arguments).output().expect("the client starts");
    (ended.status.code(), text(&ended.stdout), text(&ended.stderr))
}

fn submit(daemon: &Daemon, model: &str, more: &[&str]) -> String {
    let (code, out, err) = ask(daemon, &[&["submit", model][..], &SHORT, more].concat());
    assert_eq!(code, Some(0), "{err}");
    let job = out.strip_prefix("job ").expect("a number").trim().to_owned();
    assert!(err.contains(&format!("slmscope result {job}")), "{err}");
    job
}

#[test]
fn the_result_of_a_submitted_job_is_printed_later_and_after_the_daemon_was_killed() {
    let mut daemon = Daemon::start();
    let job = submit(&daemon, &tiny_model(), &[]);
    let (code, report, err) = ask(&daemon, &["result", &job, "--wait"]);
    assert_eq!(code, Some(0), "{err}");
    assert!(report.contains("llama-q4_0.gguf") && report.contains("decode"), "{report}");
    let (_, full, _) = ask(&daemon, &["result", &job, "--full"]);
    assert!(full.contains("decode by module") && !report.contains("decode by module"), "{full}");
    let (_, json, _) = ask(&daemon, &["result", &job, "--json"]);
    let result: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&result["schema"], &result["status"]), (&"slmscope.run/1".into(), &"complete".into()));

    let folder = daemon.state().join("slmscope/results");
    assert_eq!(std::fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    daemon.restart();
    let run = result["run_id"].as_str().unwrap();
    for which in [job.as_str(), run, "latest"] {
        assert_eq!(ask(&daemon, &["result", which, "--json"]).1, json, "{which}");
    }
    let (_, listed, _) = ask(&daemon, &["jobs"]);
    assert!(listed.contains("done") && listed.contains("result kept"), "{listed}");
    let next = submit(&daemon, &tiny_model(), &[]);
    assert_eq!(next.parse::<u64>().unwrap(), job.parse::<u64>().unwrap() + 1);

    // Without a daemon, one is started to read what is kept.
    let alone = |words: &[&str]| slmscope(words).env("XDG_STATE_HOME", daemon.state()).output().unwrap();
    let result = alone(&["result", &job, "--json"]);
    assert_eq!(text(&result.stdout), json, "{}", text(&result.stderr));
    let jobs = alone(&["jobs"]);
    let (out, err) = (text(&jobs.stdout), text(&jobs.stderr));
    assert!(jobs.status.success() && out.contains("done") && out.contains("result kept"), "{out}{err}");
    assert!(err.contains("no daemon is running, so no jobs are"), "{err}");
    let listed: Value = serde_json::from_slice(&alone(&["jobs", "--json"]).stdout).unwrap();
    assert_eq!((&listed["daemon"], &listed["jobs"]), (&false.into(), &Value::Array(Vec::new())), "{listed}");
}

#[test]
fn the_result_of_a_failed_job_prints_its_error() {
    let daemon = Daemon::start();
    let broken = tempfile::Builder::new().suffix(".gguf").tempfile().unwrap();
    std::fs::write(broken.path(), "GGUF and nothing else").unwrap();
    let model = broken.path().display().to_string();
    // What cannot be read may be refused before it is queued.
    let ended = daemon.client(&[&["submit", &model][..], &SHORT].concat()).output().unwrap();
    if ended.status.success() {
        let (code, out, err) = ask(&daemon, &["result", "1", "--wait"]);
        assert_eq!((code, out.as_str()), (Some(1), ""), "{err}");
        assert!(err.contains("job 1: ") && err.contains("GGUF"), "{err}");
    } else {
        assert!(text(&ended.stderr).contains("GGUF"), "{}", text(&ended.stderr));
    }
}

#[test]
fn a_result_that_is_not_there_says_why_and_what_to_do() {
    let daemon = Daemon::start();
    let (code, _, err) = ask(&daemon, &["result", "7"]);
    assert_eq!((code, err.contains("no result of job 7 is kept")), (Some(1), true), "{err}");
    let (code, _, err) = ask(&daemon, &["result", "latest", "--wait"]);
    assert_eq!((code, err.contains("--wait: needs a job's number")), (Some(2), true), "{err}");
    assert_eq!(ask(&daemon, &["result", "newest"]).0, Some(2));
    let job = submit(&daemon, &tiny_model(), &["--loop", "--pause", "3600"]);
    let (code, _, err) = ask(&daemon, &["result", &job, "--wait"]);
    assert_eq!((code, err.contains("runs in a loop until it is cancelled")), (Some(1), true), "{err}");
    let (code, out, err) = ask(&daemon, &["cancel", &job]);
    assert_eq!(code, Some(0), "{err}");
    assert!(out.starts_with(&format!("cancelled job {job} (")) && out.contains("submitted by"), "{out}");
    // It waited until the job had ended.
    let (code, out, _) = ask(&daemon, &["cancel", &job]);
    assert_eq!((code, out.contains("had ended already: cancelled")), (Some(0), true), "{out}");
    let (code, report, err) = ask(&daemon, &["result", &job]);
    assert_eq!((code, err.contains("cancelled")), (Some(1), true), "{report}{err}");
    let job = submit(&daemon, &tiny_model(), &["--loop", "--pause", "3600"]);
    let (code, out, _) = ask(&daemon, &["cancel", &job, "--no-wait"]);
    let is_told = out.starts_with(&format!("ending job {job} (")) || out.starts_with("cancelled");
    assert_eq!((code, is_told), (Some(0), true), "{out}");
    assert_eq!(ask(&daemon, &["cancel", "99"]).0, Some(1));
}

/// A client that is not ours passes a path and checks nothing.
#[test]
fn what_only_a_header_tells_is_refused_before_weights_are_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let tiny = tiny_model();
    let models = std::path::Path::new(&tiny).parent().unwrap();
    let config = folder.path().join("slmscope.toml");
    std::fs::write(&config, format!("model_folders = [{:?}]", models.display().to_string())).unwrap();
    let daemon = Daemon::with(&["--config", &config.display().to_string()]);
    for (job, workload, problem) in [
        ("1", "{\"chat\":\"hi\"}", "has no tokenizer"),
        ("2", "{\"prompt\":999999}", "longer than the context"),
        ("3", "{\"prompt_text\":\"hi\",\"depth\":999999}", "has no tokenizer"),
    ] {
        let model = format!("{{\"path\":{tiny:?}}}");
        let request =
            format!("{{\"submit\":{{\"model\":{model},\"workload\":{workload},\"detach\":true}}}}\n");
        let queued = daemon.lines(&request).find(|line| line.get("re").is_some()).unwrap();
        assert!(queued["ok"]["job"].is_u64(), "{queued}");
        let (code, json, err) = ask(&daemon, &["result", job, "--wait", "--json"]);
        assert_eq!(code, Some(1), "{err}");
        let result: Value = serde_json::from_str(&json).unwrap();
        assert!(result["error"].as_str().unwrap().contains(problem), "{json}");
        assert!(result["model"]["weight_bytes"].is_null() && result["worker"]["state"].is_null());
    }
}
