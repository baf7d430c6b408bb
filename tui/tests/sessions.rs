//! Recordings of real runs: what they hold, what damage costs, and how two of them are compared.

mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;
use slmscope_exports::recording::Reader;
use slmscope_exports::session::Session;
use slmscope_profiles::phase::Phase;
use slmscope_profiles::result::RunResult;
use support::{Daemon, Running, output, slmscope, text, tiny_model};

const SHORT: [&str; 8] = ["--prompt", "8", "--generate", "5", "--repetitions", "3", "--overhead", "off"];

/// Records a run with `more` flags, and returns its result.
fn record(file: &Path, more: &[&str]) -> RunResult {
    let (tiny, file) = (tiny_model(), file.display().to_string());
    let ended = output(&[&["run", &tiny, "--json", "--record", &file][..], &SHORT, more].concat());
    assert!(ended.status.success(), "{}", text(&ended.stderr));
    assert!(text(&ended.stderr).contains("messages in"), "{}", text(&ended.stderr));
    serde_json::from_slice(&ended.stdout).expect("JSON")
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn words(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn tables_of_a_recording_are_those_of_the_result_to_the_last_bit() {
    let folder = folder();
    let file = folder.path().join("a.mcap");
    let result = record(&file, &[]);
    let session = Session::read(&mut Reader::new(fs::File::open(&file).unwrap()).unwrap()).unwrap();
    assert!(session.end.is_complete && session.damage.is_empty());
    let run = session.last_run().unwrap();
    assert_eq!(run.result.as_deref(), Some(&result));
    assert_eq!(run.profile.phases(), result.phases);
    assert_eq!(run.profile.ops(&result.roofs), result.ops);
    assert_eq!(run.profile.lanes(), result.lanes);
    let job = run.job.as_ref().unwrap();
    assert_eq!((job.state.as_str(), job.workload.generate), ("done", 5));
    assert_eq!(session.header.as_ref().map(|header| &header.host), result.host.as_ref());
    assert_eq!(run.repetitions(Phase::Decode).len(), 3);
}

#[test]
fn info_says_what_a_recording_holds() {
    let folder = folder();
    let file = folder.path().join("a.mcap");
    let result = record(&file, &[]);
    let info = output(&["sessions", "info", &words(&file), "--json"]);
    let info: Value = serde_json::from_slice(&info.stdout).unwrap();
    assert_eq!(info["schema"], "slmscope.session/1");
    let events: u64 = result.ops.iter().map(|op| op.count).sum();
    // Warm-up and depth are recorded too, but not in the result.
    assert!(info["op_events"].as_u64().unwrap() >= events);
    assert_eq!(info["jobs"][0]["run_id"].as_str(), result.run_id.as_deref());
    assert_eq!(info["jobs"][0]["status"], "done");
    assert!(info["problems"].as_array().unwrap().is_empty());
    let shown = text(&output(&["sessions", "info", &words(&file)]).stdout);
    assert!(shown.contains("op events") && shown.contains("llama-q4_0.gguf"), "{shown}");
    // A path has no place to break.
    let mut lines = shown.lines().filter(|line| !line.contains("llama"));
    assert!(lines.all(|line| line.chars().count() <= 80), "{shown}");
}

#[test]
fn a_run_is_shown_by_every_division() {
    let folder = folder();
    let file = folder.path().join("a.mcap");
    let result = record(&file, &[]);
    let decode_ns: u64 = result
        .phases
        .iter()
        .filter(|books| books.phase == Phase::Decode)
        .map(|books| books.recorded_wall_ns)
        .sum();
    for (by, named) in [
        ("phase", "unattributed"),
        ("module", "lm_head"),
        ("kind", "matmul"),
        ("name", "attn.qkv_proj"),
        ("site", "attn.qkv_proj"),
        ("layer", "outside of layers"),
        ("token", "context"),
        ("lane", "engine threads"),
        ("thread", "of the measured time"),
    ] {
        let shown = output(&["sessions", "info", &words(&file), "--by", by]);
        assert!(shown.status.success(), "{by}: {}", text(&shown.stderr));
        let shown = text(&shown.stdout);
        assert!(shown.contains(named), "{by}: {shown}");
        let json = output(&["sessions", "info", &words(&file), "--by", by, "--json"]);
        let json: Value = serde_json::from_slice(&json.stdout).unwrap();
        assert_eq!((json["schema"].as_str(), json["by"].as_str()), (Some("slmscope.breakdown/1"), Some(by)));
        assert_eq!(json["run_id"].as_str(), result.run_id.as_deref());
        if by == "thread" {
            assert_eq!(json["threads"].as_array().unwrap().len(), result.threads.len());
            assert!(json["rows"].is_null());
            continue;
        }
        let rows = json["rows"].as_array().unwrap().iter();
        let is_part = |row: &&Value| row["phase"] == "decode" && (by == "lane" || row["kind"] != "whole");
        let sum: u64 = rows.filter(is_part).map(|row| row["time_ns"].as_u64().unwrap()).sum();
        // Times of single steps leave out what the seams between them take, a few ns.
        assert!(
            sum.abs_diff(decode_ns) <= if by == "token" { 100 } else { 0 },
            "{by}: {sum} and {decode_ns}"
        );
    }
}

#[test]
fn a_cut_recording_is_damaged_and_its_repair_is_whole() {
    let folder = folder();
    let (file, cut, repaired): (PathBuf, PathBuf, PathBuf) =
        (folder.path().join("a.mcap"), folder.path().join("cut.mcap"), folder.path().join("new.mcap"));
    record(&file, &[]);
    assert!(output(&["sessions", "verify", &words(&file)]).status.success());
    let bytes = fs::read(&file).unwrap();
    fs::write(&cut, &bytes[..bytes.len() - 40]).unwrap();
    let verified = output(&["sessions", "verify", &words(&cut)]);
    assert_eq!(verified.status.code(), Some(4));
    assert!(text(&verified.stdout).contains("without its index"), "{}", text(&verified.stdout));
    let output_flag = words(&repaired);
    let repair = ["sessions", "repair", &words(&cut), "--output", &output_flag].map(str::to_owned);
    let repair: Vec<&str> = repair.iter().map(String::as_str).collect();
    assert!(output(&repair).status.success());
    assert!(output(&["sessions", "verify", &words(&repaired)]).status.success());
    // It is not replaced unasked.
    let again = output(&repair);
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again.stderr).contains("--force"), "{}", text(&again.stderr));
    assert!(output(&[&repair[..], &["--force"]].concat()).status.success());
}

#[test]
fn a_recording_is_not_replaced_by_what_is_read_from_it() {
    let folder = folder();
    let file = folder.path().join("a.mcap");
    record(&file, &[]);
    let bytes = fs::read(&file).unwrap();
    let (read, written) = (words(&file), words(&folder.path().join("./link")));
    std::os::unix::fs::symlink(&file, &written).unwrap();
    for command in [
        &["sessions", "repair", &read, "--output", &written, "--force"][..],
        &["export", &read, "--output", &written, "--force", "--format", "csv"],
        &["report", &read, "--html", &written, "--force"],
    ] {
        let refused = output(command);
        assert_eq!(refused.status.code(), Some(1), "{command:?}");
        assert!(
            text(&refused.stderr).contains("read or written at this moment"),
            "{}",
            text(&refused.stderr)
        );
        assert!(fs::read(&file).unwrap() == bytes, "{command:?} changed it");
    }
}

#[test]
fn a_recording_that_is_still_written_is_not_damaged() {
    let folder = folder();
    let (file, cut) = (folder.path().join("a.mcap"), folder.path().join("cut.mcap"));
    record(&file, &[]);
    let bytes = fs::read(&file).unwrap();
    fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
    // Before anybody holds it: a process that is being started holds a copy of each file for a moment.
    assert_eq!(output(&["sessions", "verify", &words(&cut)]).status.code(), Some(4));
    assert!(text(&output(&["sessions", "info", &words(&cut)]).stdout).contains("the writer was killed"));
    // As whoever writes a recording does.
    let writer = fs::File::options().append(true).open(&cut).unwrap();
    writer.try_lock().unwrap();
    let verified = output(&["sessions", "verify", &words(&cut)]);
    assert!(verified.status.success(), "{}", text(&verified.stderr));
    assert!(text(&verified.stdout).contains("still written, whole so far"), "{}", text(&verified.stdout));
    let info = output(&["sessions", "info", &words(&cut), "--json"]);
    let info: Value = serde_json::from_slice(&info.stdout).unwrap();
    assert_eq!((info["is_written"].as_bool(), info["problems"].as_array().unwrap().len()), (Some(true), 0));
}

#[test]
fn commands_that_read_a_damaged_recording_say_that_figures_are_of_the_rest() {
    let folder = folder();
    let (file, broken) = (folder.path().join("a.mcap"), folder.path().join("broken.mcap"));
    record(&file, &[]);
    let mut bytes = fs::read(&file).unwrap();
    // The first chunk follows the magic and the header; it holds no op events and no result.
    let header = u64::from_le_bytes(bytes[9..17].try_into().unwrap()) as usize;
    bytes[17 + header + 60] ^= 4;
    fs::write(&broken, bytes).unwrap();
    let (read, other) = (words(&broken), words(&file));
    for command in [&["report", &read][..], &["diff", &read, &other, "--force"]] {
        let told = text(&output(command).stderr);
        assert!(told.contains("broken.mcap: left out 1 part that cannot be read"), "{told}");
    }
}

#[test]
fn a_file_that_exists_or_cannot_be_written_is_refused_before_the_run() {
    let folder = folder();
    let file = folder.path().join("a.mcap");
    fs::write(&file, "kept").unwrap();
    let tiny = tiny_model();
    for (file, reason) in
        [(words(&file), "exists"), (words(&folder.path().join("no/a.mcap")), "cannot write")]
    {
        let ended = output(&[&["run", &tiny, "--record", &file][..], &SHORT].concat());
        assert_eq!(ended.status.code(), Some(1));
        assert!(text(&ended.stderr).contains(reason), "{}", text(&ended.stderr));
        assert!(ended.stdout.is_empty());
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "kept");
    record(&file, &["--force"]);
    assert!(fs::metadata(&file).unwrap().len() > 1000);
}

#[test]
fn what_is_no_recording_is_named() {
    let folder = folder();
    let foreign = folder.path().join("text");
    fs::write(&foreign, "not a recording at all").unwrap();
    let empty = folder.path().join("empty");
    fs::write(&empty, "").unwrap();
    for (path, reason) in [
        (words(&foreign), "not a recording"),
        (words(&empty), "the file is empty"),
        (words(folder.path()), "not a file"),
        (words(&folder.path().join("missing")), "No such file"),
    ] {
        for command in
            [&["sessions", "info", &path][..], &["sessions", "verify", &path], &["diff", &path, &path]]
        {
            let ended = output(command);
            assert_eq!(ended.status.code(), Some(1), "{command:?}");
            assert!(text(&ended.stderr).contains(reason), "{}", text(&ended.stderr));
        }
    }
}

#[test]
fn a_recording_compared_with_itself_is_the_same() {
    let folder = folder();
    let file = folder.path().join("a.mcap");
    record(&file, &[]);
    let compared = output(&["diff", &words(&file), &words(&file), "--json"]);
    let diff: Value = serde_json::from_slice(&compared.stdout).unwrap();
    for phase in diff["phases"].as_array().unwrap() {
        assert_eq!(phase["total"]["delta_ns"], 0.0);
        let sum: f64 =
            phase["parts"].as_array().unwrap().iter().map(|part| part["a_ns"].as_f64().unwrap()).sum();
        let whole = phase["total"]["a_ns"].as_f64().unwrap();
        assert!((sum - whole).abs() < 1e-9 * whole, "{sum} and {whole}");
    }
    assert_eq!(diff["same_run"], true);
    let wide = output(&["diff", &words(&file), &words(&file), "--margin", "99%", "--by", "name"]);
    assert!(text(&wide.stdout).contains("compared with itself"), "{}", text(&wide.stdout));
    assert!(wide.status.success());
    let shown = text(&wide.stdout);
    assert!(shown.contains(" ms a token") && shown.contains(" ms a prompt token"), "{shown}");
    // Three short repetitions may scatter by more than their own time.
    assert!(
        ["decode: same within", "decode: cannot tell"].iter().any(|verdict| shown.contains(verdict)),
        "{shown}"
    );
    assert!(text(&wide.stdout).contains("attn.qkv_proj"), "{}", text(&wide.stdout));
    let markdown = output(&["diff", &words(&file), &words(&file), "--markdown"]);
    let markdown = text(&markdown.stdout);
    // A comment on a change has to say what was compared.
    let named = |side: &str| {
        let mut lines = markdown.lines().filter(|line| line.starts_with(side));
        lines.any(|line| line.contains("llama-q4_0.gguf") && line.ends_with(&format!("`{}`", words(&file))))
    };
    assert!(named("- A: `") && named("- B: `"), "{markdown}");
    assert!(
        markdown.contains("- a run is on both sides") && markdown.contains("| part | A µs/token |"),
        "{markdown}"
    );
}

#[test]
fn runs_of_other_things_are_not_comparable_unless_it_is_asked_for() {
    let folder = folder();
    let (a, b) = (folder.path().join("a.mcap"), folder.path().join("b.mcap"));
    record(&a, &["--threads", "1"]);
    record(&b, &["--threads", "2"]);
    let refused = output(&["diff", &words(&a), &words(&b)]);
    assert_eq!(refused.status.code(), Some(3));
    assert!(text(&refused.stderr).contains("threads (1 and 2)"), "{}", text(&refused.stderr));
    let forced = output(&["diff", &words(&a), &words(&b), "--force", "--margin", "99%"]);
    assert!(text(&forced.stdout).contains("not the same threads"), "{}", text(&forced.stdout));
    // A run of a few milliseconds on a machine that runs tests is never clean.
    let strict = output(&["diff", &words(&a), &words(&a), "--strict"]);
    assert!(matches!(strict.status.code(), Some(0 | 3)));
    assert_eq!(output(&["diff", &words(&a), &words(&a), "--margin", "0"]).status.code(), Some(2));
}

/// Runs `diff` with a state folder of its own.
fn diff(state: &Path, arguments: &[&str]) -> Output {
    let mut command = slmscope(&[&["diff"], arguments].concat());
    command.env("XDG_STATE_HOME", state).output().expect("the program starts")
}

#[test]
fn sets_of_runs_are_compared_by_run_and_a_measured_floor_is_counted_in() {
    let folder = folder();
    let names: Vec<String> = (0..4).map(|at| words(&folder.path().join(format!("{at}.mcap")))).collect();
    for name in &names {
        record(Path::new(name), &[]);
    }
    let [a, b, c, d] = [0, 1, 2, 3].map(|at| names[at].as_str());
    let json = |output: &Output| -> Value { serde_json::from_slice(&output.stdout).expect("JSON") };
    let decode = |diff: &Value| diff["phases"].as_array().unwrap().last().unwrap().clone();
    let sets = decode(&json(&diff(folder.path(), &[a, b, "--json", "--", c, d])));
    assert_eq!((sets["unit"].as_str(), sets["values"][0].as_u64()), (Some("run"), Some(2)));
    assert_eq!((sets["repetitions"][1].as_u64(), sets["floor"].is_null()), (Some(6), true));
    assert!(sets["all_tokens"]["low_ns"].is_f64());
    let before = decode(&json(&diff(folder.path(), &[a, b, "--json"])));
    assert_eq!((before["unit"].as_str(), before["floor_of"].is_null()), (Some("repetition"), true));
    let measured = diff(folder.path(), &["--floor", a, b, c]);
    assert!(measured.status.success(), "{}", text(&measured.stderr));
    assert!(text(&measured.stdout).contains("standard deviation of 3 runs"), "{}", text(&measured.stdout));
    let after = decode(&json(&diff(folder.path(), &[a, b, "--json"])));
    assert_eq!(after["floor_of"]["runs"], 3);
    assert_eq!(after["floor"]["share"], after["floor_of"]["share"]);
    assert_ne!(after["total"]["low_ns"], before["total"]["low_ns"]);
    let without = decode(&json(&diff(folder.path(), &[a, b, "--json", "--no-floor"])));
    assert_eq!(without, before);
    let shown = text(&diff(folder.path(), &[a, b]).stdout);
    assert!(shown.contains("floor: decode: runs of the same thing differ by"), "{shown}");
    let markdown = text(&diff(folder.path(), &[a, b, "--markdown"]).stdout);
    assert!(markdown.contains("--record b3.mcap\nslmscope diff a1.mcap a2.mcap a3.mcap -- b1"), "{markdown}");
    for (arguments, code, told) in [
        (&[a][..], 2, "name two recordings"),
        (&[a, b, c], 2, "name two recordings"),
        (&["--floor", a, b], 2, "at least 3"),
        (&["--floor", a, b, c, "--markdown"], 2, "cannot be used with"),
    ] {
        let refused = diff(folder.path(), arguments);
        assert_eq!(refused.status.code(), Some(code), "{arguments:?}");
        assert!(text(&refused.stderr).contains(told), "{}", text(&refused.stderr));
    }
    fs::write(folder.path().join("slmscope/floors.json"), "{").unwrap();
    let damaged = diff(folder.path(), &[a, b]);
    assert!(text(&damaged.stderr).contains("--no-floor"), "{}", text(&damaged.stderr));
    assert!(matches!(diff(folder.path(), &[a, b, "--no-floor"]).status.code(), Some(0 | 4)));
}

#[test]
fn the_stream_of_a_daemon_is_recorded_until_it_is_interrupted() {
    let folder = folder();
    let file = folder.path().join("stream.mcap");
    let daemon = Daemon::start();
    let mut recording = Running::start(daemon.client(&["record", &words(&file)]));
    // It says so once the daemon has answered its subscription.
    let mut told = BufReader::new(recording.child.stderr.take().unwrap()).lines();
    assert!(told.next().unwrap().unwrap().contains("Ctrl-C"));
    let tiny = tiny_model();
    assert!(daemon.client(&[&["run", &tiny][..], &SHORT].concat()).output().unwrap().status.success());
    recording.signal("INT");
    assert!(recording.rest().contains("messages in"));
    assert!(recording.child.wait().unwrap().success());
    let info = output(&["sessions", "info", &words(&file), "--json"]);
    let info: Value = serde_json::from_slice(&info.stdout).unwrap();
    assert_eq!(info["jobs"][0]["status"], "done", "{info}");
    assert!(info["problems"].as_array().unwrap().is_empty());
    let short = daemon.client(&["record", &words(&file), "--force", "--seconds", "0"]).output().unwrap();
    assert!(short.status.success(), "{}", text(&short.stderr));
    let none = output(&["record", &words(&folder.path().join("none.mcap"))]);
    assert!(text(&none.stderr).contains("no daemon is running"));
}
