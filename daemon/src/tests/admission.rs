//! Jobs that cannot run are refused before they are queued.

use serde_json::json;

use super::{TestDaemon, submission};
use crate::backend::Command;
use crate::backend::scripted::{KV_TOKEN, Step, WEIGHTS};

#[test]
fn what_a_model_of_the_catalogue_cannot_run_is_refused_before_it_is_queued() {
    let daemon = TestDaemon::start();
    let mut client = daemon.connect();
    for (field, options, problem) in [
        ("prompt", json!({"prompt": 999_999}), "longer than the context of smollm2-135m, 8192 tokens"),
        ("generate", json!({"generate": 8193}), "longer than the context"),
        ("depth", json!({"depth": 8192}), "longer than the context"),
        ("prompt_text", json!({"prompt_text": "hi"}), "smollm2-135m has no tokenizer"),
        ("chat", json!({"chat": "hi"}), "smollm2-135m has no tokenizer"),
    ] {
        let refused = client.ask(&submission(&options))["error"].take();
        assert_eq!(
            (refused["code"].as_str(), refused["field"].as_str()),
            (Some("bad_workload"), Some(field))
        );
        assert!(refused["message"].as_str().unwrap().contains(problem), "{refused}");
    }
    assert_eq!(client.ask(&json!({"jobs": {}}))["ok"]["jobs"], json!([]));
    assert!(daemon.engines.log().is_empty());
}

#[test]
fn what_does_not_fit_is_refused_unless_other_jobs_may_give_memory_back() {
    let daemon =
        TestDaemon::scripted(|command, _| matches!(command, Command::Load(_)).then(|| vec![Step::Hold]));
    let proc = daemon.folder.path().join("root/proc");
    std::fs::create_dir_all(&proc).unwrap();
    let available = |bytes: u64| {
        let text = format!("MemTotal: 8000 kB\nMemAvailable: {} kB\n", bytes / 1024);
        std::fs::write(proc.join("meminfo"), text).unwrap();
    };
    let mut client = daemon.watch();
    // The first of four steps is fed a token.
    available(WEIGHTS + 5 * KV_TOKEN - 1024);
    let refused = client.ask(&submission(&json!({})))["error"].take();
    assert_eq!((refused["code"].as_str(), refused["field"].as_str()), (Some("no_memory"), Some("model")));
    let message = refused["message"].as_str().unwrap();
    assert!(message.starts_with("weights (1.00 MiB), keys and values (5.00 KiB)"), "{message}");
    assert!(message.contains("of memory are available: choose a smaller model"), "{message}");
    available(WEIGHTS + 5 * KV_TOKEN);
    client.submit(&json!({}));
    daemon.engines.wait_for("hold");
    available(0);
    let waiting = client.submit(&json!({}));
    assert_eq!(client.job(waiting, "queued")["ahead"], 1);
}
