//! Whole runs with real processes, a real socket and real signals.

mod support;

use serde_json::Value;
use support::{Daemon, Running, output, signal, text, tiny_model, wait_gone};

/// Options of a run that takes well under a second.
const SHORT: [&str; 8] = ["--prompt", "8", "--generate", "5", "--repetitions", "3", "--overhead", "off"];

fn short<'a>(model: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    ["run", model].into_iter().chain(SHORT).chain(more.iter().copied()).collect()
}

/// Every token was recorded, and every nanosecond is accounted for.
fn books_close(result: &Value) {
    books_of_recorded_tokens_close(result);
    for phase in result["phases"].as_array().expect("a list") {
        assert_eq!(phase["recorded_wall_ns"], phase["wall_ns"], "nothing was lost");
    }
}

fn books_of_recorded_tokens_close(result: &Value) {
    let phases = result["phases"].as_array().expect("a list");
    assert!(!phases.is_empty());
    for phase in phases {
        let number = |key: &str| phase[key].as_u64().unwrap_or_else(|| panic!("{key} in {phase}"));
        let other: u64 = phase["other"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|row| row["ns"].as_u64().expect("a number"))
            .sum();
        let sum = number("ops_ns") + number("gap_ns") + other + number("unattributed_ns");
        assert_eq!(sum, number("recorded_wall_ns"), "{phase}");
    }
}

#[test]
fn a_run_without_a_daemon_reports_every_part() {
    let tiny = tiny_model();
    let ended = output(&short(&tiny, &["--json"]));
    assert!(ended.status.success(), "{}", text(&ended.stderr));
    let result: Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!(result["status"], "complete");
    assert_eq!(result["phases"].as_array().unwrap().len(), 6);
    books_close(&result);
    assert_eq!(result["prompt_ids"].as_array().unwrap().len(), 8);
    assert_eq!(result["generated_ids"].as_array().unwrap().len(), 5);
    assert_eq!(result["model"]["source"], "gguf");
    assert_eq!(result["model"]["hash"].as_str().unwrap().len(), 64);
    assert!(result["summary"]["ttft_ns"].as_u64().unwrap() > 0);
    assert!(result["memory"]["rss"].as_u64().unwrap() > 0);
    let op = &result["ops"][0];
    assert!(op["count"].as_u64().unwrap() > 0 && op["share"].as_f64().unwrap() > 0.0);
    // Absent is null with a reason, and no key is missing.
    let roofs = &result["roofs"];
    for roof in ["read_bytes_per_s", "f32_flops_per_s", "int8_ops_per_s"] {
        let at = |end: &str| roofs[roof][end].as_f64().unwrap();
        assert!(0.0 < at("low") && at("low") <= at("median") && at("median") <= at("high"), "{roofs}");
    }
    assert_eq!((roofs["looks"].as_u64(), roofs["age_ns"].as_u64()), (Some(10), Some(0)));
    let product = result["ops"].as_array().unwrap().iter().find(|op| op["kind"] == "matmul").unwrap();
    assert!(product["roof"]["share"].as_f64().unwrap() > 0.0 && product["roof"]["bound"].is_string());
    assert!(result["overhead"]["recording"].is_null() && result["overhead"]["reason"].is_string());
    assert!(result["text"].is_null());
    let report = text(&output(&short(&tiny, &["--full"])).stdout);
    for heading in ["summary", "phases", "decode by module", "decode by op", "memory", "energy", "findings"] {
        assert!(report.contains(heading), "{heading}");
    }
}

#[test]
fn prefill_alone_and_decode_alone_have_null_for_the_other() {
    let tiny = tiny_model();
    let sizes = |prompt, generate| {
        let flags = ["run", &tiny, "--prompt", prompt, "--generate", generate, "--overhead", "off", "--json"];
        let ended = output(&[&flags[..], &["--repetitions", "1", "--depth", "3"]].concat());
        serde_json::from_slice::<Value>(&ended.stdout).unwrap()
    };
    let prefill = sizes("8", "0");
    assert!(prefill["summary"]["decode_tokens_per_s"].is_null() && prefill["summary"]["ttft_ns"].is_null());
    let rate = &prefill["summary"]["prefill_tokens_per_s"];
    assert!(rate["level"].is_null() && rate["count"] == 1, "one repetition has no interval: {rate}");
    let decode = sizes("0", "4");
    assert!(decode["summary"]["prefill_tokens_per_s"].is_null() && decode["summary"]["ttft_ns"].is_null());
    assert_eq!(decode["phases"][0]["tokens"], 4);
    assert_eq!(decode["generated_ids"].as_array().unwrap().len(), 4);
    let one = sizes("8", "1");
    assert_eq!(one["phases"].as_array().unwrap().len(), 1);
    assert!(one["summary"]["ttft_ns"].is_u64());
}

#[test]
fn a_budget_leaves_out_whole_tokens_and_every_rate_counts_them() {
    let tiny = tiny_model();
    let flags =
        ["run", &tiny, "--prompt", "0", "--generate", "40", "--repetitions", "3", "--overhead", "off"];
    let ended = output(&[&flags[..], &["--overhead-budget", "0.01%", "--json"]].concat());
    let result: Value = serde_json::from_slice(&ended.stdout).unwrap();
    books_of_recorded_tokens_close(&result);
    let sum = |key: &str| {
        let phases = result["phases"].as_array().unwrap().iter();
        phases.map(|phase| phase[key].as_u64().unwrap()).sum::<u64>()
    };
    let (tokens, recorded) = (sum("tokens"), sum("recorded_tokens"));
    assert_eq!(tokens, 120);
    assert!(recorded < tokens, "{recorded} of {tokens}");
    let share = result["overhead"]["recorded"].as_f64().unwrap();
    assert!((share - recorded as f64 / tokens as f64).abs() < 1e-9);
    assert!(result["summary"]["decode_tokens_per_s"]["median"].as_f64().unwrap() > 0.0);
    let told = |finding: &Value| finding["code"] == "lost_tokens";
    assert!(!result["findings"].as_array().unwrap().iter().any(told));
}

#[test]
fn the_same_seed_gives_the_same_ids() {
    let ids = || {
        let flags = ["--threads", "1", "--json"];
        let result: Value = serde_json::from_slice(&output(&short(&tiny_model(), &flags)).stdout).unwrap();
        (result["prompt_ids"].clone(), result["generated_ids"].clone(), result["model"]["hash"].clone())
    };
    assert_eq!(ids(), ids());
}

#[test]
fn an_interrupted_run_keeps_what_was_measured() {
    let daemon = Daemon::start();
    let tiny = tiny_model();
    let mut run = Running::start(daemon.client(&short(&tiny, &["--loop", "--json"])));
    books_close(&run.result());
    run.signal("INT");
    let last = run.last();
    assert_eq!(last["status"], "cancelled");
    assert_eq!(run.end().0, Some(130));
    assert!(daemon.client(&["status"]).output().unwrap().status.success(), "the daemon goes on");
}

#[test]
fn a_loop_that_is_interrupted_in_its_pause_shows_nothing_twice() {
    let daemon = Daemon::start();
    let tiny = tiny_model();
    let mut run = Running::start(daemon.client(&short(&tiny, &["--loop", "--pause", "3600", "--json"])));
    books_close(&run.result());
    run.signal("INT");
    assert_eq!(run.rest(), "");
    assert_eq!(run.end().0, Some(130));
}

#[test]
fn a_first_repetition_that_is_interrupted_keeps_its_tokens() {
    let daemon = Daemon::start();
    let mut watching = daemon.lines("{\"subscribe\":{\"channels\":[],\"ops\":\"raw\"}}\n");
    let flags = ["run", "smollm2-135m", "--prompt", "4", "--generate", "8000", "--warmup", "0", "--json"];
    let mut run = Running::start(daemon.client(&flags));
    let ops = std::iter::repeat_with(|| watching.frame("ops"));
    assert!(ops.take(20_000).any(|ops| ops["head"]["phase"] == "decode" && ops["head"]["token"] == 3));
    run.signal("INT");
    let result = run.result();
    assert_eq!((result["status"].as_str(), run.end().0), (Some("cancelled"), Some(130)));
    books_close(&result);
    assert!(result["phases"][1]["tokens"].as_u64().unwrap() >= 4);
    assert!(result["summary"]["decode_tokens_per_s"]["median"].as_f64().unwrap() > 0.0);
}

#[test]
fn a_worker_ends_with_its_job_and_the_next_job_has_another() {
    let daemon = Daemon::start();
    let tiny = tiny_model();
    let mut watching = daemon.lines("{\"subscribe\":{\"channels\":[],\"ops\":\"off\"}}\n");
    let mut worker = || {
        let run = daemon.client(&short(&tiny, &[])).output().unwrap();
        assert!(run.status.success(), "{}", text(&run.stderr));
        let worker = std::iter::repeat_with(|| watching.frame("job")).find_map(|job| job["worker"].as_u64());
        std::iter::repeat_with(|| watching.frame("job")).find(|job| job["state"] == "done").unwrap();
        worker.unwrap()
    };
    let first = worker();
    wait_gone(first);
    assert_ne!(worker(), first);
}

/// What a job before left in a warm worker used to be in the memory of the next: 147 MiB after q2_k weights.
#[test]
fn memory_is_that_of_the_run_alone_whatever_ran_before() {
    let daemon = Daemon::start();
    let tiny = tiny_model();
    let memory = |model: &str, format: &str| {
        let sizes =
            ["--prompt", "8", "--generate", "4", "--repetitions", "1", "--warmup", "0", "--overhead", "off"];
        let format = if format.is_empty() { vec![] } else { vec!["--format", format] };
        let flags = [&["run", model], &sizes[..], &format, &["--json"]].concat();
        let ended = daemon.client(&flags).output().unwrap();
        let result: Value =
            serde_json::from_slice(&ended.stdout).unwrap_or_else(|_| panic!("{}", text(&ended.stderr)));
        assert_eq!((&result["status"], &result["worker"]["state"]), (&"complete".into(), &"fresh".into()));
        result["memory"].clone()
    };
    let runs = [("smollm2-135m", "q4_0"), ("smollm2-135m", "q2_k"), (&tiny, ""), ("smollm2-135m", "f16")];
    let alone: Vec<_> = runs.iter().map(|(model, format)| memory(model, format)).collect();
    // Once more in the other order: each after another one than before.
    for ((model, format), alone) in runs.iter().zip(&alone).rev() {
        let after = memory(model, format);
        let bytes =
            |memory: &Value, key: &str| memory[key].as_i64().unwrap_or_else(|| panic!("{key}: {memory}"));
        for key in ["weights", "kv", "scratch"] {
            assert_eq!(bytes(&after, key), bytes(alone, key), "{key} of {model} {format}");
        }
        // Pages of the program that were read, and of stacks that were touched, differ from start to start.
        for key in ["unexplained", "rss", "rss_peak"] {
            let apart = bytes(&after, key) - bytes(alone, key);
            assert!(apart.abs() <= 512 * 4096, "{key} of {model} {format}: {apart} bytes apart");
        }
    }
}

#[test]
fn a_worker_that_dies_ends_the_job_with_its_reason_and_nothing_else() {
    let daemon = Daemon::start();
    let tiny = tiny_model();
    for (name, word) in [("KILL", "SIGKILL"), ("SEGV", "SIGSEGV"), ("ABRT", "SIGABRT"), ("BUS", "SIGBUS")] {
        let mut run = Running::start(daemon.client(&short(&tiny, &["--loop", "--json"])));
        run.result();
        let worker = daemon.running_job()["worker"].as_u64().expect("it has a worker");
        signal(worker as u32, name);
        let last = run.last();
        assert_eq!(last["status"], "failed");
        assert!(last["error"].as_str().unwrap().contains(word), "{last}");
        assert_eq!(run.end().0, Some(1));
        wait_gone(worker);
    }
    let again = daemon.client(&short(&tiny, &["--json"])).output().unwrap();
    assert!(again.status.success(), "the daemon goes on: {}", text(&again.stderr));
}

#[test]
fn a_file_truncated_under_the_engine_ends_the_job_alone() {
    let daemon = Daemon::start();
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy.gguf").display().to_string();
    std::fs::copy(tiny_model(), &copy).unwrap();
    let mut run = Running::start(daemon.client(&short(&copy, &["--loop", "--json"])));
    run.result();
    std::fs::File::options().write(true).open(&copy).unwrap().set_len(64).unwrap();
    let last = run.last();
    assert!(last["error"].as_str().unwrap().contains("truncated"), "{last}");
    assert_eq!(run.end().0, Some(1));
    assert!(daemon.client(&["status"]).output().unwrap().status.success());
}

#[test]
fn a_daemon_that_dies_takes_its_worker_along() {
    let mut daemon = Daemon::start();
    let tiny = tiny_model();
    let mut run = Running::start(daemon.client(&short(&tiny, &["--loop", "--json"])));
    run.result();
    let worker = daemon.running_job()["worker"].as_u64().unwrap();
    daemon.child.kill().unwrap();
    daemon.child.wait().unwrap();
    wait_gone(worker);
    let last = run.last();
    assert_eq!((last["status"].as_str(), run.end().0), (Some("failed"), Some(1)));
}

#[test]
fn a_daemon_asked_to_stop_ends_the_job_and_takes_its_socket_away() {
    let mut daemon = Daemon::start();
    let tiny = tiny_model();
    let mut run = Running::start(daemon.client(&short(&tiny, &["--loop", "--json"])));
    run.result();
    let worker = daemon.running_job()["worker"].as_u64().unwrap();
    signal(daemon.child.id(), "TERM");
    assert!(daemon.child.wait().unwrap().success());
    wait_gone(worker);
    assert!(!daemon.socket().exists());
    let last = run.last();
    assert_eq!((last["status"].as_str(), run.end().0), (Some("cancelled"), Some(1)));
}

#[test]
fn a_private_daemon_and_its_worker_end_with_a_client_that_is_killed() {
    let tiny = tiny_model();
    let mut run = Running::start(support::slmscope(&short(&tiny, &["--loop", "--json"])));
    run.result();
    let children = |parent: u32| {
        let path = format!("/proc/{parent}/task/{parent}/children");
        let listed = std::fs::read_to_string(path).unwrap_or_default();
        listed.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<u32>>()
    };
    let daemon = children(run.child.id());
    assert_eq!(daemon.len(), 1);
    run.child.kill().unwrap();
    run.child.wait().unwrap();
    wait_gone(u64::from(daemon[0]));
}

#[test]
fn a_job_ends_with_its_client_and_a_detached_one_does_not() {
    let daemon = Daemon::start();
    let tiny = tiny_model();
    let mut watching = daemon.lines("{\"subscribe\":{\"channels\":[],\"ops\":\"off\"}}\n");
    let mut run = Running::start(daemon.client(&short(&tiny, &["--loop", "--json"])));
    run.result();
    run.child.kill().unwrap();
    run.child.wait().unwrap();
    let ended =
        std::iter::repeat_with(|| watching.frame("job")).find(|job| job["error"].is_string()).unwrap();
    assert_eq!(
        (ended["state"].as_str(), ended["error"].as_str()),
        (Some("cancelled"), Some("its client is gone"))
    );
    let submit: Vec<_> = ["submit", &tiny].into_iter().chain(SHORT).collect();
    let submitted = daemon.client(&submit).output().unwrap();
    assert_eq!(text(&submitted.stdout), "job 2\n");
    let done = std::iter::repeat_with(|| watching.frame("job")).find(|job| job["state"] == "done").unwrap();
    assert_eq!(done["job"], 2);
}

#[test]
fn json_lines_carry_catalogue_plan_samples_and_raw_ops() {
    let daemon = Daemon::start();
    let tiny = tiny_model();
    let mut lines = daemon.lines("{\"id\":4,\"subscribe\":{\"channels\":[\"cpu.*\"],\"ops\":\"raw\"}}\n");
    let hello = lines.next().unwrap();
    assert_eq!(hello["hello"]["protocol"], serde_json::json!([2, 2]));
    assert!(lines.frame("header")["origin_ns"].is_u64());
    let channels = lines.frame("catalogue")["channels"].as_array().unwrap().clone();
    let families: std::collections::HashSet<_> =
        channels.iter().map(|channel| channel["quantity"].as_str().unwrap().to_owned()).collect();
    assert_eq!(families.len(), 12, "every family appears: {families:?}");
    let sample = lines.frame("sample");
    let id = sample["values"][0][0].as_u64().unwrap() as usize;
    assert!(channels[id]["id"].as_str().unwrap().starts_with("cpu."));
    let run = daemon.client(&short(&tiny, &["--json"])).output().unwrap();
    let result: Value = serde_json::from_slice(&run.stdout).unwrap();
    let sites = lines.frame("plan")["sites"].as_array().unwrap().len();
    let ops =
        std::iter::repeat_with(|| lines.frame("ops")).find(|ops| ops["head"]["phase"] == "decode").unwrap();
    assert_eq!(ops["site"].as_array().unwrap().len(), sites);
    assert_eq!(result["status"], "complete");
}

#[test]
fn nonsense_on_the_socket_is_answered_and_the_connection_goes_on() {
    let daemon = Daemon::start();
    let mut lines = daemon.lines(
        "{\"dance\":{}}\n{\"id\":1,\"submit\":{\"model\":{\"catalogue\":\"nonesuch\"}}}\n\
                                  {\"id\":2,\"submit\":{\"model\":{\"path\":\"/etc/passwd\"}}}\n\
                                  {\"id\":3,\"cancel\":{\"job\":99}}\n{\"id\":5,\"status\":{}}\n",
    );
    let replies: Vec<_> = lines.by_ref().filter(|line| line.get("re").is_some()).take(5).collect();
    let codes: Vec<_> = replies.iter().map(|reply| reply["error"]["code"].as_str().unwrap_or("ok")).collect();
    assert_eq!(codes, ["bad_request", "unknown_model", "forbidden", "no_such_job", "ok"]);
    assert_eq!(replies[4]["ok"]["schema"], "slmscope.status/1");
}

#[test]
fn notes_that_nobody_takes_end_no_run() {
    let tiny = tiny_model();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let ended = support::slmscope(&short(&tiny, &["--json"])).stderr(full).output().unwrap();
    assert!(ended.status.success(), "{}", ended.status);
    assert_eq!(serde_json::from_slice::<Value>(&ended.stdout).unwrap()["status"], "complete");
}
