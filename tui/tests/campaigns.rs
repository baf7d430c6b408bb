//! Sweeps that are killed and go on, sessions side by side, and sessions that run again.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use slmscope_profiles::format::WeightFormat;
use slmscope_profiles::result::RunResult;
use support::{output, slmscope, text, tiny_model};

const SHORT: [&str; 8] = ["--prompt", "8", "--generate", "5", "--repetitions", "3", "--overhead", "off"];

/// Options of a sweep of 8 points whose runs take a fraction of a second.
fn options(folder: &Path) -> Vec<String> {
    let folder = folder.display().to_string();
    let mut words = vec!["sweep".to_owned(), tiny_model(), "-o".to_owned(), folder];
    for axis in [
        "threads=1..2",
        "kv=f16,q8_0",
        "seed=1..2",
        "prompt=8",
        "generate=3",
        "repetitions=1",
        "warmup=0",
        "overhead=off",
    ] {
        words.extend(["--axis".to_owned(), axis.to_owned()]);
    }
    words
}

/// What of the table does not depend on times.
fn table(folder: &Path) -> Vec<Vec<String>> {
    let table = fs::read(folder.join("table.json")).expect("it was written");
    let table: Value = serde_json::from_slice(&table).expect("JSON");
    let columns =
        ["point", "round", "status", "error", "model_hash", "format", "threads", "kv", "seed", "prompt"];
    let rows = table["rows"].as_array().expect("a list").iter();
    rows.map(|row| columns.iter().map(|column| row[column].to_string()).collect()).collect()
}

#[test]
fn a_sweep_that_is_killed_three_times_and_resumed_gives_the_undisturbed_table() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, killed) = (folder.path().join("whole"), folder.path().join("killed"));
    let words = options(&whole);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let ended = output(&words);
    assert!(ended.status.success(), "{}", text(&ended.stderr));
    let words = options(&killed);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    for _ in 0..3 {
        let mut sweep = slmscope(&words).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(sweep.stderr.take().unwrap()).lines().map_while(Result::ok);
        // The third run of this process has begun, so two more are on the disk.
        assert!(said.by_ref().filter(|line| line.contains(": run ")).nth(2).is_some());
        sweep.kill().unwrap();
        sweep.wait().unwrap();
    }
    let before = fs::read_dir(killed.join("points")).unwrap().count();
    let resumed = output(&words);
    assert!(resumed.status.success(), "{}", text(&resumed.stderr));
    assert!(before >= 12, "{before} files of 16 were there before the last run");
    let again = text(&resumed.stderr).matches(": run ").count();
    assert!(again <= 2, "{again} runs were left for the last process: {}", text(&resumed.stderr));
    assert_eq!(table(&killed), table(&whole));
    let names: BTreeSet<String> = fs::read_dir(killed.join("points"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with('.'))
        .collect();
    assert_eq!(names.len(), 16);
    // All is there, so nothing runs.
    let done = output(&words);
    assert!(!text(&done.stderr).contains(": run "), "{}", text(&done.stderr));
    assert!(text(&done.stdout).starts_with("8 points, 8 runs"), "{}", text(&done.stdout));
}

#[test]
fn a_point_that_does_not_fit_says_so_and_the_others_run() {
    let folder = tempfile::tempdir().unwrap();
    let swept = folder.path().join("a.sweep").display().to_string();
    let tiny = tiny_model();
    let words = ["sweep", &tiny, "-o", &swept, "--axis", "depth=0,99999", "--axis", "prompt=8"];
    let small = ["--axis", "generate=3", "--axis", "repetitions=1", "--axis", "overhead=off", "--json"];
    let ended = output(&[&words[..], &small].concat());
    assert_eq!(ended.status.code(), Some(1), "{}", text(&ended.stderr));
    let table: Value = serde_json::from_slice(&ended.stdout).unwrap();
    let rows = table["rows"].as_array().unwrap();
    assert_eq!((rows[0]["status"].as_str(), rows[1]["status"].as_str()), (Some("complete"), Some("failed")));
    assert!(rows[1]["error"].as_str().unwrap().contains("longer than the context"), "{}", rows[1]);
    assert!(rows[1]["decode_tokens_per_s"].is_null() && rows[0]["decode_tokens_per_s"].is_f64());
    assert_eq!(table["front_points"], serde_json::json!([1]));
    for file in ["plan.json", "table.csv", "table.json", "table.parquet", "points/0001-1.mcap"] {
        assert!(Path::new(&swept).join(file).exists(), "{file}");
    }
    // Its sessions are sessions like others.
    let session = Path::new(&swept).join("points/0001-1.mcap").display().to_string();
    let compared = output(&["compare", &session, "--json"]);
    let compared: Value = serde_json::from_slice(&compared.stdout).unwrap();
    let rate = &compared["runs"][0]["figures"]["decode_tokens_per_s"]["value"];
    assert_eq!(rate, &rows[0]["decode_tokens_per_s"]);
}

#[test]
fn sessions_side_by_side_have_the_figures_of_their_runs() {
    let folder = tempfile::tempdir().unwrap();
    let q8 = tiny_model().replace("llama-q4_0", "llama-q8_0");
    let results = [("a", tiny_model()), ("b", q8)].map(|(name, model)| {
        let file = folder.path().join(format!("{name}.mcap")).display().to_string();
        let ended = output(&[&["run", &model, "--json", "--record", &file][..], &SHORT].concat());
        assert!(ended.status.success(), "{}", text(&ended.stderr));
        let result: RunResult = serde_json::from_slice(&ended.stdout).unwrap();
        (file, result)
    });
    let compared = output(&["compare", &results[0].0, &results[1].0, "--json", "--best", "memory"]);
    assert!(compared.status.success(), "{}", text(&compared.stderr));
    let compared: Value = serde_json::from_slice(&compared.stdout).unwrap();
    assert_eq!(compared["schema"], "slmscope.compare/1");
    for (run, (_, result)) in compared["runs"].as_array().unwrap().iter().zip(&results) {
        let summary = &result.summary;
        let value = |measure: &str| run["figures"][measure]["value"].as_f64();
        assert_eq!(value("decode_tokens_per_s"), summary.decode_tokens_per_s.map(|rate| rate.median));
        assert_eq!(value("prefill_tokens_per_s"), summary.prefill_tokens_per_s.map(|rate| rate.median));
        assert_eq!(value("ttft_ns"), summary.ttft_ns.map(|ns| ns as f64));
        assert_eq!(value("memory_bytes"), result.memory.rss_peak.map(|bytes| bytes as f64));
        assert_eq!(run["format"].as_str(), result.model.format.map(WeightFormat::name));
        let share = |module: &str| -> f64 {
            let ops = result.ops.iter().filter(|op| op.phase.as_str() == "decode");
            ops.filter(|op| op.module.as_str() == module).map(|op| op.share).sum()
        };
        let decode = run["phases"].as_array().unwrap().last().unwrap();
        for part in decode["modules"].as_array().unwrap() {
            let (name, found) = (part["module"].as_str().unwrap(), part["share"].as_f64().unwrap());
            assert!((found - share(name)).abs() < 1e-9, "{name}: {found}");
        }
    }
    assert_eq!(compared["choice"]["by"], "memory_bytes");
}

#[test]
fn a_session_runs_again_as_it_did() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (first, second) = (path("a.mcap"), path("b.mcap"));
    let tiny = tiny_model();
    let record = ["run", &tiny, "--json", "--record", &first, "--seed", "7", "--threads", "2"];
    let ended = output(&[&record[..], &SHORT].concat());
    let before: RunResult = serde_json::from_slice(&ended.stdout).unwrap();
    let again = output(&["rerun", &first, "-o", &second, "--json"]);
    assert!(matches!(again.status.code(), Some(0 | 4)), "{}", text(&again.stderr));
    let diff: Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!((diff["schema"].as_str(), diff["same_run"].as_bool()), (Some("slmscope.diff/1"), Some(false)));
    assert_eq!(diff["obstacles"], serde_json::json!([]));
    let report = output(&["report", &second, "--json"]);
    let after: RunResult = serde_json::from_slice(&report.stdout).unwrap();
    assert_eq!((&after.workload, &after.prompt_ids), (&before.workload, &before.prompt_ids));
    assert_eq!((&after.model.hash, &after.generated_ids), (&before.model.hash, &before.generated_ids));
    // Another model under the same name is no repetition.
    let q8 = tiny.replace("llama-q4_0", "llama-q8_0");
    let other = output(&["rerun", &first, &q8, "-o", &second, "--force"]);
    assert_eq!(other.status.code(), Some(3), "{}", text(&other.stderr));
    // The session itself is not replaced.
    let replaced = output(&["rerun", &first, "-o", &first, "--force"]);
    assert!(text(&replaced.stderr).contains("cannot replace"), "{}", text(&replaced.stderr));
    let missing = output(&["rerun", &first, &path("no.gguf"), "-o", &path("c.mcap")]);
    assert!(text(&missing.stderr).contains("no.gguf"), "{}", text(&missing.stderr));
}
