//! Clients of all sorts: slow, stopped, old, half-closed, two at once.

use std::collections::BTreeMap;
use std::io::Read;

use serde_json::json;
use slmscope_profiles::wire::Frame;
use slmscope_profiles::wire::Talk;
use slmscope_profiles::wire::codec::{Codec, Incoming};

use super::{Client, TestDaemon, plan, submission};
use crate::backend::Command;
use crate::backend::scripted::{Step, token};

#[test]
fn a_slow_client_misses_batches_and_is_told_which() {
    let daemon = TestDaemon::start();
    let mut client = daemon.watch();
    let (hub, token) = (&daemon.daemon.hub, token());
    hub.record(plan());
    let mut published = 0;
    // The client reads nothing, so at some time its queue is full, and then it loses the oldest batches.
    while hub.dropped() < 1_000 {
        published += 1;
        hub.batch(&token.after(published as u32).batch(published));
    }
    hub.broadcast(&Talk::Bye { reason: "the end".to_owned() });
    let (mut next, mut missed, mut summed) = (1, 0, 0);
    loop {
        let line = client.line().unwrap();
        if let Some(gap) = line.get("gap") {
            assert_eq!(gap["first_seq"], next, "the gap begins where the stream broke off");
            next = gap["last_seq"].as_u64().unwrap() + 1;
            missed += gap["batches"].as_u64().unwrap();
        } else if let Some(ops) = line.get("ops") {
            assert_eq!(ops["head"]["seq"], next);
            next += 1;
        } else if line.get("summary").is_some() {
            summed += 1;
        } else if line.get("bye").is_some() {
            break;
        }
    }
    assert!(summed > 0, "it gets summaries too");
    assert_eq!((next - 1, missed), (published, hub.dropped()), "every batch came or was in a gap");
}

#[test]
fn a_slow_client_of_summaries_is_told_how_many_batches_it_misses_of_both_lanes() {
    let daemon = TestDaemon::start();
    let mut client = daemon.connect();
    client.ask(&json!({"subscribe": {"channels": [], "ops": "summary"}}));
    let (hub, token) = (&daemon.daemon.hub, token());
    hub.record(plan());
    let mut published = 0;
    while hub.dropped() < 1_000 {
        published += 1;
        let mut batch = token.after(10 * published as u32).batch(published);
        batch.head.lane = (published % 2) as u16;
        hub.batch(&batch);
    }
    hub.flush();
    hub.broadcast(&Talk::Bye { reason: "the end".to_owned() });
    let (mut came, mut missed) = (0, 0);
    loop {
        let line = client.line().unwrap();
        if let Some(gap) = line.get("gap") {
            assert!(gap["first_seq"].as_u64() <= gap["last_seq"].as_u64(), "{gap}");
            missed += gap["batches"].as_u64().unwrap();
        } else if let Some(summary) = line.get("summary") {
            came += summary["token_ns"].as_array().unwrap().len() as u64;
        } else if line.get("bye").is_some() {
            break;
        }
    }
    assert_eq!((came + missed, missed), (published, hub.dropped()), "every batch came or was in a gap");
}

#[test]
fn a_slow_client_that_missed_the_last_batches_is_told_before_the_job_ends() {
    let daemon = TestDaemon::start();
    let mut client = daemon.connect();
    client.ask(&json!({"subscribe": {"channels": [], "ops": "raw"}}));
    let (hub, token) = (&daemon.daemon.hub, token());
    hub.record(plan());
    let mut published = 0;
    // Text is never dropped, so it takes the place of all batches that wait, and no batch comes after them.
    while hub.dropped() == 0 {
        published += 1;
        hub.batch(&token.after(published as u32).batch(published));
    }
    hub.broadcast(&Talk::Text { job: 1, repetition: 0, text: "x".repeat((4 << 20) - 400) });
    hub.broadcast(&Talk::Bye { reason: "the end".to_owned() });
    let (mut came, mut missed, mut is_over) = (0, 0, false);
    while let Some(line) = client.line() {
        if let Some(gap) = line.get("gap") {
            assert!(!is_over, "the gap comes first");
            missed += gap["batches"].as_u64().unwrap();
        }
        came += u64::from(line.get("ops").is_some());
        is_over |= line.get("text").is_some();
        if line.get("bye").is_some() {
            break;
        }
    }
    assert!(is_over && missed > 0);
    assert_eq!((came + missed, missed), (published, hub.dropped()));
}

#[test]
fn a_private_daemon_that_is_told_to_stop_ends_the_job_and_says_so_to_its_client() {
    let (mut daemon, mut client) =
        TestDaemon::private(|command, _| matches!(command, Command::Load(_)).then(|| vec![Step::Hold]));
    let job = client.submit(&json!({}));
    daemon.engines.wait_for("hold");
    daemon.stop();
    let result = client.result();
    assert_eq!(
        (result["status"].as_str(), result["error"].as_str()),
        (Some("cancelled"), Some("the daemon stops"))
    );
    assert_eq!(client.job(job, "cancelled")["error"], "the daemon stops");
    assert_eq!(client.frame("bye")["reason"], "the daemon stops");
    assert!(client.line().is_none());
}

#[test]
fn a_private_daemon_ends_with_its_client() {
    let (mut daemon, client) = TestDaemon::private(|_, _| None);
    drop(client);
    daemon.server.take().unwrap().join().unwrap();
}

#[test]
fn a_stopped_client_is_disconnected_and_nobody_waits_for_it() {
    let daemon = TestDaemon::impatient(|_, _| None);
    let mut stopped = daemon.watch();
    let mut other = daemon.watch();
    let text = Talk::Text { job: 1, repetition: 0, text: "x".repeat(100_000) };
    // Control messages are never dropped, so a client that does not take them is given up. The other one reads along.
    while daemon.daemon.hub.clients() == 2 {
        daemon.daemon.hub.broadcast(&text);
        other.frame("text");
    }
    assert_eq!(other.ask(&json!({"jobs": {}}))["ok"]["jobs"], json!([]));
    let left = std::iter::from_fn(|| {
        let mut bytes = [0; 4096];
        stopped.reader.read(&mut bytes).ok().filter(|&count| count > 0)
    });
    assert!(left.sum::<usize>() > 0, "what was sent before arrives, then the connection ends");
}

#[test]
fn a_job_of_a_stopped_client_ends_with_its_connection() {
    let daemon =
        TestDaemon::impatient(|command, _| matches!(command, Command::Load(_)).then(|| vec![Step::Hold]));
    let mut stopped = daemon.watch();
    let job = stopped.submit(&json!({}));
    daemon.engines.wait_for("hold");
    let text = Talk::Text { job, repetition: 0, text: "x".repeat(1 << 20) };
    while daemon.daemon.hub.clients() == 1 {
        daemon.daemon.hub.broadcast(&text);
    }
    let mut watching = daemon.watch();
    assert_eq!(watching.job(job, "cancelled")["error"], "its client is gone");
}

#[test]
fn a_client_of_protocol_1_gets_a_greeting_that_it_can_read_and_the_remedy() {
    let daemon = TestDaemon::start();
    let client = daemon.connect();
    client.write(b"slmscope");
    let mut bytes = Vec::new();
    client.reader.into_inner().read_to_end(&mut bytes).unwrap();
    let mut message = || {
        let message = Codec::MessagePack.split(&mut bytes).unwrap().expect("a message");
        match Codec::MessagePack.incoming(&message).unwrap() {
            Incoming::Frame(frame) => *frame,
            other => panic!("{other:?}"),
        }
    };
    assert!(matches!(message(), Frame::Talk(Talk::Hello(hello)) if hello.protocol == [2, 2]));
    let Frame::Talk(Talk::Bye { reason }) = message() else { panic!("no farewell") };
    assert!(reason.contains("protocol 1") && reason.contains("update the client"), "{reason}");
    assert!(bytes.is_empty());
}

#[test]
fn a_json_client_that_states_another_protocol_gets_the_remedy_and_one_that_states_none_is_served() {
    let daemon = TestDaemon::start();
    for (protocol, word) in [(1, "update the client"), (3, "update the daemon")] {
        let mut client = daemon.connect();
        client.write(format!("{{\"protocol\":{protocol},\"jobs\":{{}}}}\n").as_bytes());
        assert_eq!(client.frame("hello")["protocol"], json!([2, 2]));
        assert!(client.frame("bye")["reason"].as_str().unwrap().contains(word));
        assert!(client.line().is_none());
    }
    let mut current = daemon.connect();
    assert_eq!(current.ask(&json!({"protocol": 2, "jobs": {}}))["ok"]["jobs"], json!([]));
    assert_eq!(daemon.connect().ask(&json!({"jobs": {}}))["ok"]["jobs"], json!([]));
}

#[test]
fn a_half_closed_client_listens_on_and_its_job_runs_until_it_hangs_up() {
    let daemon = TestDaemon::scripted(|command, _| {
        matches!(command, Command::Repeat { .. }).then(|| vec![Step::Hold])
    });
    let mut watching = daemon.watch();
    let mut half = daemon.connect();
    half.send(&json!({"subscribe": {"channels": []}}));
    half.send(&submission(&json!({})));
    half.close_writing_half();
    daemon.engines.wait_for("hold");
    assert_eq!(half.job(1, "measuring")["error"], json!(null));
    daemon.daemon.hub.broadcast(&Talk::Text { job: 1, repetition: 0, text: "still there".to_owned() });
    assert_eq!(half.frame("text")["text"], "still there");
    drop(half);
    assert_eq!(watching.job(1, "cancelled")["error"], "its client is gone");
}

#[test]
fn two_clients_that_submit_at_once_each_get_their_own_result() {
    let daemon = TestDaemon::start();
    let results: Vec<_> = std::thread::scope(|scope| {
        let run = |generate: u32| {
            let daemon = &daemon;
            scope.spawn(move || {
                let mut client = daemon.connect();
                let job = client.submit(&json!({"generate": generate}));
                (generate, job, client.result())
            })
        };
        let runs: Vec<_> = (1..=8).map(run).collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    let mut jobs: Vec<u64> = results.iter().map(|(_, job, _)| *job).collect();
    jobs.sort_unstable();
    assert_eq!(jobs, (1..=8).collect::<Vec<_>>());
    for (generate, _, result) in results {
        assert_eq!(
            (result["status"].as_str(), &result["workload"]["generate"]),
            (Some("complete"), &json!(generate))
        );
        assert_eq!(result["generated_ids"].as_array().unwrap().len(), generate as usize);
    }
}

#[test]
fn a_client_that_subscribes_while_jobs_change_learns_their_last_states() {
    let daemon =
        TestDaemon::scripted(|command, _| matches!(command, Command::Load(_)).then(|| vec![Step::Hold]));
    let mut owner = daemon.connect();
    let running = owner.submit(&json!({}));
    daemon.engines.wait_for("hold");
    let mut watching = Vec::new();
    std::thread::scope(|scope| {
        let cancels = scope.spawn(|| {
            for _ in 0..100 {
                let job = owner.submit(&json!({}));
                owner.ask(&json!({"cancel": {"job": job}}));
            }
        });
        while !cancels.is_finished() && watching.len() < 64 {
            watching.push(daemon.watch());
        }
    });
    daemon.daemon.hub.broadcast(&Talk::Bye { reason: "the end".to_owned() });
    for mut client in watching {
        let mut states = BTreeMap::new();
        while let Some(line) = client.line().filter(|line| line.get("bye").is_none()) {
            if let Some(job) = line.get("job") {
                states.insert(job["job"].as_u64(), job["state"].clone());
            }
        }
        states.remove(&Some(running));
        assert!(states.values().all(|state| state == "cancelled"), "{states:?}");
    }
}

#[test]
fn jobs_that_are_cancelled_behind_one_that_runs_are_answered_as_cancelled_and_forgotten() {
    let daemon =
        TestDaemon::scripted(|command, _| matches!(command, Command::Load(_)).then(|| vec![Step::Hold]));
    let mut client = daemon.connect();
    let running = client.submit(&json!({}));
    daemon.engines.wait_for("hold");
    let oldest = client.submit(&json!({}));
    let cancel = |client: &mut Client, job: u64| {
        let answer = client.ask(&json!({"cancel": {"job": job}}));
        assert_eq!((answer["ok"]["job"].as_u64(), &answer["ok"]["state"]), (Some(job), &json!("cancelled")));
    };
    for _ in 0..100 {
        let job = client.submit(&json!({}));
        cancel(&mut client, job);
    }
    // It leaves the list at once, as the oldest of too many.
    cancel(&mut client, oldest);
    let answer = client.ask(&json!({"jobs": {}}));
    let jobs: Vec<_> =
        answer["ok"]["jobs"].as_array().unwrap().iter().map(|job| job["job"].as_u64()).collect();
    assert_eq!((jobs.len(), jobs[0]), (1 + 32, Some(running)));
}

#[test]
fn raw_batches_and_summaries_can_be_had_together() {
    let daemon = TestDaemon::start();
    let mut client = daemon.watch();
    client.submit(&json!({}));
    let (mut raw, mut summed) = (0, 0);
    loop {
        let line = client.line().unwrap();
        raw += u64::from(line.get("ops").is_some());
        summed += line["summary"]["rows"].as_u64().unwrap_or(0);
        if line.get("result").is_some() {
            break;
        }
    }
    assert_eq!((raw, summed), (4, 4));
}
