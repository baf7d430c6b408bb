//! A job from its submission to its end: its states, its cancel in each of them, loops.

use std::sync::{Arc, Mutex};

use serde_json::json;
use slmscope_profiles::channel::{Channel, Quantity, Unit};

use super::{START_NS, TestDaemon, books_close, channel, submission};
use crate::backend::scripted::{Step, TOKEN_NS, span, token};
use crate::backend::{Command, Event};
use crate::clock::Clock as _;

/// Holds at commands that `is_there` names.
pub(super) fn holding(is_there: IsThere) -> TestDaemon {
    TestDaemon::scripted(move |command, _| is_there(command).then(|| vec![Step::Hold]))
}

pub(super) fn is_load(command: &Command) -> bool {
    matches!(command, Command::Load(_))
}

/// Whether a command is that which a test is about.
pub(super) type IsThere = fn(&Command) -> bool;

/// Every state in which a command runs, and what the engine is doing then.
pub(super) const BUSY: [(&str, IsThere); 5] = [
    ("loading", is_load),
    ("warmup", |command| matches!(command, Command::Repeat { measured: false, .. })),
    ("measuring", |command| matches!(command, Command::Repeat { measured: true, .. })),
    ("overhead", |command| matches!(command, Command::Overhead { .. })),
    ("cooling", |command| matches!(command, Command::Identify)),
];

#[test]
fn a_job_runs_through_its_states_and_its_books_close() {
    let daemon = TestDaemon::start();
    let mut client = daemon.watch();
    client.submit(&json!({"warmup": 1, "repetitions": 2, "overhead": "auto"}));
    let mut states = Vec::new();
    let result = loop {
        let mut line = client.line().unwrap();
        if let Some(state) = line["job"]["state"].as_str()
            && states.last().is_none_or(|last| last != state)
        {
            states.push(state.to_owned());
        }
        if !line["result"].is_null() {
            break line["result"]["result"].take();
        }
    };
    assert_eq!(states, ["queued", "preparing", "loading", "warmup", "measuring", "overhead", "cooling"]);
    assert_eq!(client.job(1, "done")["error"], json!(null));
    assert_eq!(
        (result["status"].as_str(), result["phases"].as_array().unwrap().len()),
        (Some("complete"), 2)
    );
    books_close(&result["phases"]);
    let phase = &result["phases"][0];
    assert_eq!((phase["ops_ns"].as_u64(), phase["gap_ns"].as_u64()), (Some(3_200_000), Some(1_200)));
    assert_eq!(phase["other"], json!([{"name": "sample", "ns": 200_000}]));
    assert_eq!(phase["wall_ns"], 4_000_000);
    let rate = result["summary"]["decode_tokens_per_s"]["median"].as_f64().unwrap();
    assert!((rate - 1000.0).abs() < 1e-9, "{rate}");
    let recording = result["overhead"]["recording"].as_f64().unwrap();
    assert!((recording - 0.01).abs() < 1e-9, "{recording}");
}

#[test]
fn every_new_state_is_marked_in_the_stream() {
    let daemon = TestDaemon::start();
    let mut client = daemon.watch();
    client.submit(&json!({}));
    let mut marked = Vec::new();
    while marked.last().is_none_or(|last| last != "done") {
        let mark = client.frame("mark");
        assert_eq!((mark["kind"].as_str(), mark["job"].as_u64()), (Some("job_state"), Some(1)));
        marked.push(mark["text"].as_str().unwrap().to_owned());
    }
    let expected = ["queued", "preparing", "loading", "warmup", "measuring", "overhead", "cooling", "done"];
    assert_eq!(marked, expected);
}

#[test]
fn a_job_can_be_cancelled_in_every_state_with_a_command() {
    for (state, is_there) in BUSY {
        let daemon = holding(is_there);
        let mut client = daemon.watch();
        let job = client.submit(&json!({"warmup": 1, "overhead": "auto"}));
        daemon.engines.wait_for("hold");
        assert_eq!(client.ask(&json!({"cancel": {"job": job}}))["ok"]["state"], state);
        let result = client.result();
        assert_eq!(
            (result["status"].as_str(), result["error"].as_str()),
            (Some("cancelled"), Some("cancelled on request")),
            "{state}"
        );
        assert_eq!(client.job(job, "cancelled")["error"], "cancelled on request");
        let log = daemon.engines.log();
        assert_eq!(log[log.len() - 2..], ["cancel", "kill"], "{state}: the engine is not used again");
    }
}

#[test]
fn a_job_can_be_cancelled_while_it_waits_in_the_queue() {
    let daemon = holding(is_load);
    let mut client = daemon.watch();
    let (first, second) = (client.submit(&json!({})), client.submit(&json!({})));
    daemon.engines.wait_for("hold");
    assert_eq!(client.ask(&json!({"cancel": {"job": second}}))["ok"]["ahead"], 1);
    assert_eq!(client.job(second, "cancelled")["error"], "cancelled on request");
    client.ask(&json!({"cancel": {"job": first}}));
    client.job(first, "cancelled");
    assert_eq!(daemon.engines.log().iter().filter(|entry| *entry == "load").count(), 1);
}

#[test]
fn a_job_can_be_cancelled_while_the_roofs_are_measured() {
    let daemon = holding(|command| matches!(command, Command::MeasureRoofs(_)));
    let mut client = daemon.watch();
    let job = client.submit(&json!({}));
    daemon.engines.wait_for("hold");
    client.ask(&json!({"cancel": {"job": job}}));
    assert_eq!(client.result()["status"], "cancelled");
}

/// A channel of power, in watts.
fn meter() -> Channel {
    Channel { unit: Unit::Watts, ..channel(0, Quantity::Power) }
}

#[test]
fn a_job_can_be_cancelled_while_idle_power_is_measured() {
    let daemon = TestDaemon::with(vec![meter()], Arc::new(|_: &Command, _| None));
    let mut client = daemon.watch();
    let job = client.submit(&json!({}));
    let until_ns = daemon.clock.next_wait();
    assert_eq!(until_ns, START_NS + 2_000_000_000);
    client.ask(&json!({"cancel": {"job": job}}));
    assert_eq!(client.result()["status"], "cancelled");
    assert!(daemon.engines.log().is_empty(), "nothing was started for it");
}

#[test]
fn idle_power_is_measured_before_and_a_while_after_where_there_is_a_meter() {
    let daemon = TestDaemon::with(vec![meter()], Arc::new(|_: &Command, _| None));
    let mut client = daemon.watch();
    client.submit(&json!({}));
    daemon.clock.pass_wait();
    daemon.engines.wait_for("repeat 0");
    let after = daemon.clock.next_wait();
    assert_eq!(after, START_NS + 2_000_000_000 + 4_000_000 + 300_000_000);
    daemon.clock.pass_wait();
    assert_eq!(client.result()["status"], "complete");
}

#[test]
fn what_was_measured_before_the_end_is_in_the_result() {
    let daemon = TestDaemon::scripted(|command, _| {
        matches!(command, Command::Repeat { repetition: 1, .. }).then(|| vec![Step::Hold])
    });
    let mut client = daemon.watch();
    let job = client.submit(&json!({"repetitions": 3}));
    daemon.engines.wait_for("hold");
    client.ask(&json!({"cancel": {"job": job}}));
    let result = client.result();
    assert_eq!(result["phases"].as_array().unwrap().len(), 1);
    books_close(&result["phases"]);
}

#[test]
fn a_daemon_that_stops_gives_a_command_less_time_to_end() {
    let mut daemon = TestDaemon::scripted(|command, _| match command {
        Command::Load(_) => Some(vec![Step::Hold]),
        Command::Cancel => Some(vec![Step::Hang]),
        _ => None,
    });
    let mut client = daemon.watch();
    client.submit(&json!({}));
    daemon.engines.wait_for("hold");
    daemon.stop();
    let took_ns = daemon.clock.now_ns() - START_NS;
    assert!((300_000_000..400_000_000).contains(&took_ns), "{took_ns}");
    assert_eq!(daemon.engines.log().last().unwrap(), "kill");
}

#[test]
fn a_loop_delivers_a_result_a_turn_and_pauses_between() {
    let daemon = TestDaemon::start();
    let mut client = daemon.watch();
    let job = client.submit(&json!({"loop": true, "pause": 60}));
    for _ in 0..3 {
        let result = client.result();
        assert_eq!(result["status"], "complete");
        assert_eq!(result["phases"].as_array().unwrap().len(), 1, "of this turn alone");
        let now_ns = daemon.clock.now_ns();
        assert_eq!(daemon.clock.next_wait(), now_ns + 60_000_000_000);
        daemon.clock.pass_wait();
    }
    client.result();
    client.ask(&json!({"cancel": {"job": job}}));
    let ended = loop {
        let line = client.line().unwrap();
        assert!(line["result"].is_null(), "nothing was measured in the pause: {line}");
        if line["job"]["state"] == "cancelled" {
            break line;
        }
    };
    assert_eq!(ended["job"]["turns"], 4);
    let log = daemon.engines.log();
    for once in ["load", "identify"] {
        assert_eq!(log.iter().filter(|entry| *entry == once).count(), 1, "{once}");
    }
    assert_eq!(log.iter().filter(|entry| *entry == "roofs").count(), 2);
}

#[test]
fn spans_that_come_after_a_cancel_are_in_the_stream_as_in_the_result() {
    let daemon = TestDaemon::scripted(|command, _| match command {
        Command::Repeat { .. } => Some(vec![Step::Batch(token().batch(1)), Step::Hold]),
        Command::Cancel => {
            Some(vec![Step::Report(Event::Span(span(&[token()]))), Step::Report(Event::Cancelled)])
        }
        _ => None,
    });
    let mut client = daemon.watch();
    let job = client.submit(&json!({}));
    daemon.engines.wait_for("hold");
    client.ask(&json!({"cancel": {"job": job}}));
    assert_eq!(client.frame("span")["end_ns"], TOKEN_NS);
    assert_eq!(client.result()["phases"][0]["wall_ns"], TOKEN_NS);
}

#[test]
fn spans_of_phases_that_broke_off_are_in_the_stream_as_in_the_result() {
    let daemon = TestDaemon::scripted(|command, _| {
        matches!(command, Command::Repeat { .. })
            .then(|| vec![Step::Batch(token().batch(1)), Step::Die("the worker was ended by signal 9")])
    });
    let mut client = daemon.watch();
    client.submit(&json!({}));
    assert_eq!(client.frame("span")["end_ns"], TOKEN_NS);
    assert_eq!(client.result()["phases"][0]["wall_ns"], TOKEN_NS);
}

#[test]
fn text_that_comes_in_pieces_ends_whole_in_the_result() {
    let daemon = TestDaemon::scripted(|command, _| {
        let text = |text: &str| Step::Report(Event::Text { repetition: 0, text: text.to_owned() });
        let done = Step::Report(Event::RepetitionDone { repetition: 0, ids: vec![1, 2] });
        matches!(command, Command::Repeat { .. }).then(|| vec![text("one"), text("one two"), done])
    });
    let mut client = daemon.watch();
    client.submit(&json!({}));
    assert_eq!(client.result()["text"], "one two");
}

#[test]
fn memory_is_that_of_the_runners_root() {
    let limits = Arc::new(Mutex::new(Vec::new()));
    let seen = limits.clone();
    let daemon = TestDaemon::scripted(move |command, _| {
        if let Command::Load(load) = command {
            seen.lock().unwrap().push(load.memory_limit);
        }
        None
    });
    let mut client = daemon.watch();
    client.submit(&json!({}));
    assert_eq!(client.result()["roofs"]["isa"], "scalar");
    let proc = daemon.folder.path().join("root/proc");
    std::fs::create_dir_all(&proc).unwrap();
    std::fs::write(proc.join("meminfo"), "MemTotal: 50000 kB\nMemAvailable: 40000 kB\n").unwrap();
    client.submit(&json!({}));
    let roofs = client.result()["roofs"].take();
    assert_eq!(roofs["reason"], "too little memory is free to measure its bandwidth");
    assert_eq!(*limits.lock().unwrap(), [None, Some(40_000 << 10)]);
}

#[test]
fn later_turns_of_a_loop_say_who_loaded_their_weights() {
    let daemon = TestDaemon::start();
    let mut client = daemon.watch();
    client.submit(&json!({"loop": true}));
    let first = client.result();
    let loaded_by = first["run_id"].as_str().unwrap();
    assert_eq!(first["worker"]["state"], "fresh");
    for _ in 0..2 {
        let turn = client.result();
        assert_eq!(
            (&turn["worker"]["state"], &turn["worker"]["loaded_by"]),
            (&json!("warm"), &json!(loaded_by))
        );
        assert!(turn["summary"]["load_ns"].is_null() && turn["summary"]["load"].is_null());
        let reason = format!("the weights were loaded by the loop's first turn, run {loaded_by}");
        assert_eq!(turn["worker"]["reason"], reason);
        assert_ne!(turn["run_id"], first["run_id"]);
    }
}

#[test]
fn what_the_backend_cannot_run_is_refused_whatever_the_machine_has() {
    let daemon = TestDaemon::start();
    let mut client = daemon.connect();
    for (field, value) in [("isa", "avx2"), ("isa", "neon"), ("executor", "candle")] {
        let refused = client.ask(&submission(&json!({field: value})));
        assert_eq!(
            (refused["error"]["code"].as_str(), refused["error"]["field"].as_str()),
            (Some("bad_workload"), Some(field)),
            "{refused}"
        );
    }
    client.submit(&json!({"isa": "scalar"}));
    let result = client.result();
    assert_eq!(
        (result["status"].as_str(), result["roofs"]["isa"].as_str()),
        (Some("complete"), Some("scalar"))
    );
}

#[test]
fn a_daemon_that_stops_ends_the_job_and_says_so_to_its_client() {
    let mut daemon = holding(is_load);
    let mut client = daemon.watch();
    let (running, waiting) = (client.submit(&json!({})), client.submit(&json!({})));
    daemon.engines.wait_for("hold");
    daemon.stop();
    assert_eq!(client.job(waiting, "cancelled")["error"], "the daemon stops");
    assert_eq!(client.result()["error"], "the daemon stops");
    assert_eq!(client.job(running, "cancelled")["error"], "the daemon stops");
    assert_eq!(client.frame("bye")["reason"], "the daemon stops");
    assert!(client.line().is_none());
}
