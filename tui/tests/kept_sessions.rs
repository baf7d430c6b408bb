//! Sessions that the daemon records by itself: listed, read by number, annotated and removed, with and without a daemon.

mod support;

use std::fs;
use std::path::Path;
use std::process::Output;

use serde_json::Value;
use support::{Daemon, slmscope, text, tiny_model};

const SHORT: [&str; 8] = ["--prompt", "8", "--generate", "5", "--repetitions", "3", "--overhead", "off"];

/// Runs a command without a daemon, with a state folder of its own.
fn alone(state: &Path, arguments: &[&str]) -> Output {
    slmscope(arguments).env("XDG_STATE_HOME", state).output().expect("the program starts")
}

/// Runs the tiny model there; what it said.
fn run(state: &Path, more: &[&str]) -> String {
    let tiny = tiny_model();
    let ended = alone(state, &[&["run", &tiny][..], &SHORT, more].concat());
    assert!(ended.status.success(), "{}", text(&ended.stderr));
    text(&ended.stderr)
}

fn json(ended: &Output) -> Value {
    assert!(ended.status.success(), "{}", text(&ended.stderr));
    serde_json::from_slice(&ended.stdout).expect("JSON")
}

#[test]
fn every_run_is_a_session_that_is_read_by_its_number() {
    let state = tempfile::tempdir().unwrap();
    assert!(run(state.path(), &[]).contains("recorded as session 1"));
    run(state.path(), &["--json"]);
    assert!(!run(state.path(), &["--no-record"]).contains("session"));
    let listed = json(&alone(state.path(), &["sessions", "list", "--json"]));
    let sessions = listed["sessions"].as_array().unwrap();
    assert_eq!(sessions.len(), 2, "{listed}");
    let first = &sessions[0];
    assert_eq!((&first["session"], &first["summary"]["state"]), (&1.into(), &"done".into()));
    assert!(first["summary"]["decode_tokens_per_s"].is_f64() && first["bytes"].as_u64() > Some(1000));
    for source in ["2", "latest", sessions[1]["summary"]["run_id"].as_str().unwrap()] {
        let info = json(&alone(state.path(), &["sessions", "info", source, "--json"]));
        assert_eq!(info["jobs"][0]["job"], 2, "{info}");
        assert_eq!(info["problems"].as_array().unwrap().len(), 0, "{info}");
    }
    let compared = alone(state.path(), &["diff", "1", "latest", "--margin", "99%"]);
    assert!(text(&compared.stdout).contains(" ms a token"), "{}", text(&compared.stderr));
    // Only the user may enter the folder.
    use std::os::unix::fs::PermissionsExt;
    let folder = fs::metadata(state.path().join("slmscope/sessions")).unwrap();
    assert_eq!(folder.permissions().mode() & 0o777, 0o700);
    let shown = text(&alone(state.path(), &["sessions"]).stdout);
    assert!(shown.contains("llama-q4_0.gguf") && shown.contains("no joules: "), "{shown}");
    let none = alone(state.path(), &["sessions", "info", "99"]);
    assert_eq!(none.status.code(), Some(1));
    assert!(text(&none.stderr).contains("there is no session 99"), "{}", text(&none.stderr));
}

#[test]
fn a_session_is_annotated_pinned_and_removed() {
    let state = tempfile::tempdir().unwrap();
    run(state.path(), &[]);
    run(state.path(), &[]);
    let note = ["sessions", "note", "1", "before", "--name", "base", "--tag", "ci,a", "--pin"];
    let said = text(&alone(state.path(), &note).stdout);
    assert_eq!(said, "session 1: pinned base #ci #a before\n");
    assert!(text(&alone(state.path(), &["sessions"]).stdout).contains("pinned base #ci #a before"));
    let nothing = alone(state.path(), &["sessions", "note", "1"]);
    assert_eq!(nothing.status.code(), Some(2));
    // Nobody is asked without a terminal.
    let asked = alone(state.path(), &["sessions", "rm", "2"]);
    assert_eq!(asked.status.code(), Some(2));
    assert!(text(&asked.stderr).contains("--yes"), "{}", text(&asked.stderr));
    let young = alone(state.path(), &["sessions", "rm", "--older-than", "1h", "--yes"]);
    assert!(text(&young.stderr).contains("no session is to be removed"), "{}", text(&young.stderr));
    let removed = alone(state.path(), &["sessions", "rm", "--all", "--yes"]);
    assert!(text(&removed.stdout).starts_with("removed 1 session, "), "{}", text(&removed.stdout));
    let left = json(&alone(state.path(), &["sessions", "list", "--json"]));
    assert_eq!((left["sessions"].as_array().unwrap().len(), &left["sessions"][0]["session"]), (1, &1.into()));
    // By number it goes although it is pinned.
    assert!(alone(state.path(), &["sessions", "rm", "1", "--yes"]).status.success());
    assert_eq!(fs::read_dir(state.path().join("slmscope/sessions")).unwrap().count(), 0);
    assert_eq!(alone(state.path(), &["sessions", "rm", "1", "--yes"]).status.code(), Some(1));
    assert_eq!(alone(state.path(), &["sessions", "rm", "a.mcap", "--yes"]).status.code(), Some(2));
}

#[test]
fn a_client_opens_a_session_of_the_daemon_without_entering_its_folder() {
    let daemon = Daemon::start();
    let tiny = tiny_model();
    let ended = daemon.client(&[&["run", &tiny, "--json"][..], &SHORT].concat()).output().unwrap();
    let result = json(&ended);
    assert_eq!(result["recorded"]["session"], 1);
    // The daemon's folder is another than the one that this client would enter.
    let elsewhere = tempfile::tempdir().unwrap();
    let ask = |arguments: &[&str]| {
        daemon.client(arguments).env("XDG_STATE_HOME", elsewhere.path()).output().unwrap()
    };
    let info = json(&ask(&["sessions", "info", "latest", "--json"]));
    assert_eq!(info["jobs"][0]["run_id"], result["run_id"]);
    assert!(ask(&["sessions", "note", "latest", "--name", "first"]).status.success());
    let listed = json(&ask(&["sessions", "list", "--json"]));
    assert_eq!(listed["sessions"][0]["note"]["name"], "first");
    let status = json(&ask(&["status", "--json"]));
    assert_eq!((&status["recording"]["mode"], &status["recording"]["sessions"]), (&"jobs".into(), &1.into()));
    assert!(status["recording"]["written_bytes"].as_u64() > Some(1000));
    assert!(ask(&["sessions", "rm", "1", "--yes"]).status.success());
    assert!(text(&ask(&["sessions"]).stdout).contains("no sessions are kept yet"));
    // The result is kept on its own.
    assert!(ask(&["result", "1"]).status.success());
}

#[test]
fn a_result_that_is_no_longer_kept_is_read_from_its_session() {
    let daemon = Daemon::with(&["--results", "none"]);
    let tiny = tiny_model();
    let ended = daemon.client(&[&["run", &tiny, "--json"][..], &SHORT].concat()).output().unwrap();
    let found = json(&daemon.client(&["result", "1", "--json"]).output().unwrap());
    assert_eq!(found, json(&ended));
}

#[test]
fn a_daemon_that_is_to_record_nothing_records_nothing_and_says_so() {
    let daemon = Daemon::with(&["--record", "off"]);
    let tiny = tiny_model();
    let ended = daemon.client(&[&["run", &tiny, "--json"][..], &SHORT].concat()).output().unwrap();
    assert_eq!(json(&ended)["recorded"]["session"], Value::Null);
    assert!(!daemon.state().join("slmscope/sessions").exists());
    let status = text(&daemon.client(&["status"]).output().unwrap().stdout);
    assert!(status.contains("recording   off"), "{status}");
    let listed = daemon.client(&["sessions"]).output().unwrap();
    assert_eq!(listed.status.code(), Some(1));
    assert!(text(&listed.stderr).contains("records nothing"), "{}", text(&listed.stderr));
}

#[test]
fn a_loop_writes_nothing_and_its_last_seconds_are_saved_when_they_are_asked_for() {
    let daemon = Daemon::start();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("loop.mcap").display().to_string();
    let early = daemon.client(&["record", &file, "--last", "60s"]).output().unwrap();
    assert_eq!(early.status.code(), Some(1));
    assert!(text(&early.stderr).contains("no loop runs"), "{}", text(&early.stderr));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "no empty file is left");
    let tiny = tiny_model();
    let submitted = daemon.client(&[&["submit", &tiny, "--loop"][..], &SHORT].concat()).output().unwrap();
    assert!(submitted.status.success());
    // A turn has ended when its result can be had.
    while !daemon.client(&["result", "1"]).output().unwrap().status.success() {}
    let saved = daemon.client(&["record", &file, "--last", "10m"]).output().unwrap();
    assert!(text(&saved.stdout).contains("messages in"), "{}", text(&saved.stderr));
    let again = daemon.client(&["record", &file, "--last", "60s"]).output().unwrap();
    assert!(text(&again.stderr).contains("--force"), "{}", text(&again.stderr));
    assert!(daemon.client(&["record", &file, "--last", "60s", "--force"]).output().unwrap().status.success());
    let info = json(&daemon.client(&["sessions", "info", &file, "--json"]).output().unwrap());
    assert_eq!(info["problems"].as_array().unwrap().len(), 0, "{info}");
    assert!(info["op_events"].as_u64() > Some(0), "{info}");
    assert!(daemon.client(&["cancel", "1"]).output().unwrap().status.success());
    let sessions = daemon.state().join("slmscope/sessions");
    assert_eq!(fs::read_dir(sessions).unwrap().count(), 0);
}

#[test]
fn a_state_folder_that_cannot_be_written_leaves_the_run_unrecorded_with_the_reason() {
    let state = tempfile::tempdir().unwrap();
    // Where the folder of sessions would be there is a file: also root cannot make the folder.
    fs::create_dir(state.path().join("slmscope")).unwrap();
    fs::write(state.path().join("slmscope/sessions"), "in the way").unwrap();
    let said = run(state.path(), &[]);
    assert!(said.contains("not recorded") && said.contains("slmscope/sessions"), "{said}");
    assert_eq!(fs::read(state.path().join("slmscope/sessions")).unwrap(), b"in the way");
}
