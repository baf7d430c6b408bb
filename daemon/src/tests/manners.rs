//! What a client is told whose requests are wrong, and what is still understood.

use std::io::Read;

use serde_json::{Value, json};
use slmscope_profiles::channel::{Channel, Quantity, Sample, Value as Reading};
use slmscope_profiles::wire::MAGIC;
use slmscope_profiles::wire::codec::MAX_MESSAGE;

use super::{TestDaemon, channel, submission};

#[test]
fn what_is_neither_json_nor_a_client_gets_one_line_of_why_and_is_hung_up_on() {
    let daemon = TestDaemon::start();
    for bytes in [&b"EHLO example\r\n"[..], b"slmscopX", &[0; 64], b"hello\n", b" [1]      \n"] {
        let client = daemon.connect();
        client.write(bytes);
        let mut answer = Vec::new();
        // It may be reset, as it sent what was not read.
        let _ = client.reader.into_inner().read_to_end(&mut answer);
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.ends_with('\n') && answer.lines().count() == 1, "{answer}");
        let line: Value = serde_json::from_str(&answer).unwrap();
        assert!(line["bye"]["reason"].as_str().unwrap().contains("one line of JSON"), "{line}");
    }
    let half = daemon.connect();
    half.write(&MAGIC[..3]);
    half.close_writing_half();
    assert_eq!(half.reader.into_inner().read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_request_that_cannot_be_read_is_answered_and_the_connection_goes_on() {
    let daemon = TestDaemon::start();
    let mut client = daemon.connect();
    client.write(b"{\"dance\":{}}\n\n");
    client.frame("hello");
    assert_eq!(client.line().unwrap()["error"]["code"], "bad_request");
    assert_eq!(client.ask(&json!({"jobs": {}}))["ok"]["jobs"], json!([]));
    let bad = client.ask(&submission(&json!({"generate": 0})));
    assert_eq!((bad["error"]["code"].as_str(), bad["re"].is_u64()), (Some("bad_workload"), true));
}

#[test]
fn a_space_or_a_byte_order_mark_before_the_first_request_does_not_matter() {
    let daemon = TestDaemon::start();
    for start in [&b" "[..], b"\r\n\t ", b"\xef\xbb\xbf", b"\xef\xbb\xbf \n"] {
        let mut client = daemon.connect();
        // In two pieces, so that the mark comes alone and in parts.
        client.write(&start[..1]);
        client.write(&start[1..]);
        client.write(b"{\"id\":5,\"jobs\":{}}\n  {\"id\":6,\"jobs\":{}}\n");
        client.frame("hello");
        assert_eq!((&client.line().unwrap()["re"], &client.line().unwrap()["re"]), (&json!(5), &json!(6)));
    }
}

#[test]
fn a_bad_request_keeps_its_id_and_the_connection_goes_on() {
    let daemon = TestDaemon::start();
    let mut client = daemon.connect();
    for (request, field) in [
        (json!({"dance": {}}), None),
        (json!({"jobs": {}, "status": {}}), None),
        (json!({"subscribe": {"max_hz": -1}}), Some("max_hz")),
        (json!({"subscribe": {"max_hz": 0}}), Some("max_hz")),
        (json!({"subscribe": {"max_hz": 1e99}}), Some("max_hz")),
        (json!({"subscribe": {"channels": ["cpu.*", "["]}}), Some("channels[1]")),
        (json!({"subscribe": {"herz": 5}}), Some("herz")),
        (json!({"cancel": {"job": "last"}}), Some("job")),
        (
            json!({"submit": {"model": {"catalogue": "smollm2-135m"}, "workload": {"promt": 1}}}),
            Some("promt"),
        ),
    ] {
        let answer = client.ask(&request);
        assert_eq!(
            (answer["error"]["code"].as_str(), answer["error"]["field"].as_str()),
            (Some("bad_request"), field),
            "{request}: {answer}"
        );
    }
    assert_eq!(client.ask(&json!({"jobs": {}}))["ok"]["jobs"], json!([]));
}

/// They used to be accepted without a word, and nothing came.
#[test]
fn a_subscription_is_told_which_patterns_match_no_channel() {
    let cpu = Channel { id: "cpu.machine".to_owned(), ..channel(0, Quantity::Cpu) };
    let daemon = TestDaemon::with(vec![cpu], std::sync::Arc::new(|_, _| None));
    let mut client = daemon.connect();
    for (patterns, unmatched) in [
        (json!(["cpu.*", "temp.*", "power.package-0"]), json!(["temp.*", "power.package-0"])),
        (json!(["*"]), json!([])),
        (json!([]), json!([])),
    ] {
        let answer = client.ask(&json!({"subscribe": {"channels": patterns}}));
        assert_eq!(answer["ok"]["unmatched"], unmatched, "{answer}");
    }
}

/// The command line named the nearest one, the socket a list.
#[test]
fn an_unknown_model_or_format_is_told_the_nearest_one() {
    let daemon = TestDaemon::start();
    let mut client = daemon.connect();
    for (model, workload, code, field, says) in [
        ("smolm2-135m", json!({}), "unknown_model", "model", "did you mean smollm2-135m"),
        ("smollm2-135m", json!({"format": "q4_k_m"}), "bad_request", "format", "q4_k is the nearest"),
        (
            "smollm2-135m",
            json!({"format": "q4"}),
            "bad_request",
            "format",
            "did you mean q4_1 or q4_0 or q4_k?",
        ),
        ("smollm2-135m", json!({"isa": "avx3"}), "bad_request", "isa", "did you mean avx2?"),
    ] {
        let request = json!({"submit": {"model": {"catalogue": model}, "workload": workload}});
        let error = client.ask(&request)["error"].take();
        assert_eq!((&error["code"], &error["field"]), (&json!(code), &json!(field)), "{error}");
        assert!(error["message"].as_str().unwrap().contains(says), "{error}");
    }
}

#[test]
fn a_long_wrong_request_gets_a_short_answer() {
    let daemon = TestDaemon::start();
    let mut client = daemon.connect();
    let long = format!("\u{1b}]0;owned\u{7}{}", "x".repeat(5 << 20));
    for request in [
        json!({ "cancel": {"job": long} }),
        json!({ "submit": {"model": {"catalogue": long}} }),
        json!({ "submit": {"model": {"path": long}} }),
        json!({ "subscribe": {"channels": [long]} }),
    ] {
        let message = client.ask(&request)["error"]["message"].take();
        let message = message.as_str().unwrap();
        assert!(message.len() < 1000 && !message.contains(char::is_control), "{message:.300}");
        assert!(message.matches('x').count() <= 210, "{message}");
    }
    assert_eq!(client.ask(&json!({"jobs": {}}))["ok"]["jobs"], json!([]));
}

#[test]
fn a_request_longer_than_any_message_ends_the_connection_with_the_reason() {
    let daemon = TestDaemon::start();
    let mut client = daemon.connect();
    client.write(b"{\"jobs\":{}}\n");
    client.write(&vec![b'x'; MAX_MESSAGE + 1]);
    assert!(client.frame("bye")["reason"].as_str().unwrap().contains(&MAX_MESSAGE.to_string()));
    assert!(client.line().is_none());
}

/// The requests of each line of the README that is piped into a socket, and how many lines of the answer it waits for.
fn readme_lines() -> Vec<(String, usize)> {
    let readme = include_str!("../../../README.md").replace("\\\n", "");
    let lines = readme.lines().filter_map(|line| {
        let (requests, rest) = line.strip_prefix("printf '")?.split_once('\'')?;
        let number = |text: &str| {
            let digits: String = text.trim().chars().take_while(char::is_ascii_digit).collect();
            digits.parse().ok()
        };
        let ends = rest.split_once("head -").or_else(|| rest.split_once("limit("));
        Some((requests.replace("\\n", "\n"), ends.and_then(|(_, count)| number(count))?))
    });
    lines.collect()
}

/// One of them hung once: its 36 lines had all been read before the 20th was printed, and then nothing ended it.
#[test]
fn each_line_of_the_readme_gets_what_it_waits_for_50_times() {
    let cpu = Channel { id: "cpu.machine".to_owned(), ..channel(0, Quantity::Cpu) };
    let daemon = TestDaemon::with(vec![cpu], std::sync::Arc::new(|_, _| None));
    let lines = readme_lines();
    assert_eq!(lines.len(), 2, "{lines:?}");
    for (requests, wanted) in &lines {
        for turn in 0..50 {
            let mut client = daemon.connect();
            client.write(requests.as_bytes());
            // A fast job's events may come before the answer to its submission.
            let mut early = 0;
            for request in requests.lines() {
                let answer = std::iter::from_fn(|| client.line())
                    .inspect(|line| early += usize::from(!line["ops"].is_null()))
                    .find(|line| !line["re"].is_null() || line.get("ok").is_some());
                assert!(answer.is_some_and(|answer| answer["error"].is_null()), "{request}");
            }
            if requests.contains("submit") {
                (early..*wanted).for_each(|_| drop(client.frame("ops")));
                continue;
            }
            for second in 1..=*wanted as u64 {
                let values = vec![(0, Reading::Present(0.5))];
                let t_ns = (turn * 1_000 + second) * 1_000_000_000;
                daemon.daemon.hub.sample(&Sample { t_ns, values, ..Sample::default() });
                // Of readings that wait in its queue a client gets the newest alone.
                client.frame("sample");
            }
        }
    }
}
