//! Exports of a real run: every flag, every format, and what is refused.

mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;
use support::{output, slmscope, text, tiny_model};

/// A recording of a short run with three repetitions of 4 decode steps, made once for all tests.
fn recording() -> &'static str {
    static FILE: OnceLock<String> = OnceLock::new();
    FILE.get_or_init(|| {
        let file =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("exports-{}.mcap", std::process::id()));
        let (tiny, file) = (tiny_model(), file.display().to_string());
        let ended = output(&[
            "run",
            &tiny,
            "--prompt",
            "8",
            "--generate",
            "5",
            "--repetitions",
            "3",
            "--overhead",
            "off",
            "--record",
            &file,
            "--force",
            "--json",
        ]);
        assert!(ended.status.success(), "{}", text(&ended.stderr));
        file
    })
}

/// Lines of a table.
fn csv(flags: &[&str]) -> Vec<String> {
    let ended = output(&[&["export", recording(), "--format", "csv"][..], flags].concat());
    assert!(ended.status.success(), "{flags:?}: {}", text(&ended.stderr));
    text(&ended.stdout).lines().map(str::to_owned).collect()
}

/// The values of a column.
fn column(lines: &[String], name: &str) -> Vec<String> {
    let at = lines[0].split(',').position(|column| column == name).expect("the table has the column");
    lines[1..].iter().map(|line| line.split(',').nth(at).expect("a field").to_owned()).collect()
}

#[test]
fn every_format_is_written_and_its_name_says_which_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let list = text(&output(&["export", "--format", "list"]).stdout);
    for (file, begin) in [
        ("a.pftrace", &b"\x0a"[..]),
        ("a.trace.json", b"{\"traceEvents\""),
        ("a.pb.gz", b"\x1f\x8b"),
        ("a.speedscope.json", b"{\"profiles\""),
        ("a.firefox.json.gz", b"\x1f\x8b"),
        ("a.folded", b"decode;"),
        ("a.svg", b"<?xml"),
        ("a.csv", b"job,run,phase"),
        ("a.parquet", b"PAR1"),
        ("a.json", b"{\"schema\":\"slmscope.run/1\""),
        ("a.om", b"# TYPE slmscope_"),
    ] {
        let path = folder.path().join(file).display().to_string();
        let ended = output(&["export", recording(), "-o", &path]);
        assert!(ended.status.success(), "{file}: {}", text(&ended.stderr));
        assert!(text(&ended.stderr).contains("op events of"), "{}", text(&ended.stderr));
        let bytes = fs::read(&path).unwrap();
        assert!(bytes.starts_with(begin), "{file}: {:?}", text(&bytes[..40]));
        let end = file.split_once('.').unwrap().1;
        assert!(list.contains(&format!("*.{end} ")), "{end}: {list}");
    }
    let path = folder.path().join("a.csv").display().to_string();
    let again = output(&["export", recording(), "-o", &path]);
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again.stderr).contains("--force"), "{}", text(&again.stderr));
    assert!(
        output(&["export", recording(), "--output", &path, "--force", "--table", "ops"]).status.success()
    );
    assert!(fs::read_to_string(&path).unwrap().starts_with("job,phase,lane,site"));
}

#[test]
fn filters_choose_rows_and_leave_times_of_tokens_whole() {
    let all = csv(&[]);
    let count = |flags: &[&str]| csv(flags).len() - 1;
    let decode = csv(&["--phase", "decode"]);
    assert!(column(&decode, "phase").iter().all(|phase| phase == "decode"));
    assert!(decode.len() > 1 && decode.len() < all.len());
    assert_eq!(count(&["--phase", "decode,prefill,warmup"]), all.len() - 1);
    let token = csv(&["--phase", "decode", "--token", "1..2"]);
    assert_eq!(2 * (token.len() - 1), decode.len() - 1);
    let layer = csv(&["--layer", "0"]);
    assert!(column(&layer, "layer").iter().all(|layer| layer == "0"));
    let ffn = csv(&["--module", "ffn", "--kind", "matmul"]);
    assert!(ffn.len() > 1 && column(&ffn, "kind").iter().all(|kind| kind == "matmul"));
    assert!(column(&ffn, "module").iter().all(|module| module == "ffn"));
    // A moment divides the events in two.
    let begins: Vec<u64> = column(&all, "begin_ns").iter().map(|ns| ns.parse().unwrap()).collect();
    let middle = format!("{}", (begins[begins.len() - 1] - begins[0]) as f64 / 2e9);
    let (before, after) = (count(&["--to", &middle]), count(&["--from", &middle]));
    assert_eq!(before + after, all.len() - 1);
    assert_eq!((count(&["--from", "1000"]), count(&["--to", "0"])), (0, 0));
    let walls = |flags: &[&str]| column(&csv(&[&["--table", "tokens"], flags].concat()), "wall_ns");
    assert_eq!(walls(&[]), walls(&["--kind", "norm"]));
}

#[test]
fn stacks_are_weighed_by_what_is_asked_for() {
    let folded = |by: &str| {
        let ended = output(&["export", recording(), "--format", "folded", "--by", by]);
        let lines = text(&ended.stdout);
        lines.lines().map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum::<u64>()
    };
    let events = csv(&["--phase", "prefill,decode"]);
    let sum = |name: &str| column(&events, name).iter().map(|cell| cell.parse::<u64>().unwrap()).sum::<u64>();
    assert_eq!((folded("events"), folded("bytes")), (events.len() as u64 - 1, sum("bytes")));
    assert_eq!(folded("flops"), sum("flops"));
    assert!(folded("time") >= sum("duration_ns"));
}

#[test]
fn a_session_against_itself_differs_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("d.svg").display().to_string();
    let words = ["export", recording(), "-f", "flamegraph", "--against", recording(), "-o", &path];
    let ended = output(&words);
    assert!(ended.status.success(), "{}", text(&ended.stderr));
    let picture = fs::read_to_string(&path).unwrap();
    assert!(picture.contains("attn.qkv_proj") && picture.contains(" against "), "{picture}");
    assert!(picture.contains("0.00%)</title>"), "{picture}");
    assert_eq!(output(&words).status.code(), Some(1), "it is not replaced unasked");
}

#[test]
fn what_has_no_effect_or_is_unknown_is_refused_by_its_name() {
    let file = recording();
    for (flags, told) in [
        (&["--format", "xlsx"][..], "unknown format `xlsx`"),
        (&[], "--format"),
        (&["-o", "a.xyz"], "--format"),
        (&["--format", "perfetto", "--table", "ops"], "--table"),
        (&["--format", "csv", "--by", "time"], "--by"),
        (&["--format", "csv", "--against", file], "--against"),
        (&["--format", "csv", "--table", "chairs"], "unknown table"),
        (&["--format", "csv", "--phase", "lunch"], "unknown phase `lunch`; known: load, warmup"),
        (&["--format", "csv", "--token", "5..3"], "3..9"),
        (&["--format", "csv", "--from=-1"], "seconds"),
        (&["--format", "csv", "--force"], "--output"),
    ] {
        let ended = output(&[&["export", file][..], flags].concat());
        assert_eq!(ended.status.code(), Some(2), "{flags:?}: {}", text(&ended.stderr));
        assert!(text(&ended.stderr).contains(told), "{flags:?}: {}", text(&ended.stderr));
        assert!(ended.stdout.is_empty());
    }
    let none = output(&["export", file, "--format", "csv", "--phase", "load"]);
    assert!(none.status.success() && text(&none.stderr).contains("no token or chunk is selected"));
    let nowhere = output(&["export", file, "-o", "/nowhere/a.pftrace"]);
    assert!(text(&nowhere.stderr).contains("cannot write /nowhere"), "{}", text(&nowhere.stderr));
}

#[test]
fn a_reader_that_closes_the_pipe_early_is_no_error() {
    let mut export = slmscope(&["export", recording(), "--format", "chrome"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(export.stdout.take());
    let ended = export.wait_with_output().unwrap();
    assert!(ended.status.success(), "{:?}", ended.status);
    assert!(ended.stderr.is_empty(), "{}", text(&ended.stderr));
}

#[test]
fn a_run_writes_its_trace_without_a_second_command() {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("a.trace.json");
    let (tiny, path) = (tiny_model(), trace.display().to_string());
    let mut run = vec!["run", &tiny, "-p", "4", "-n", "3", "-r", "1", "--overhead", "off", "--trace", &path];
    let ended = output(&run);
    assert!(ended.status.success(), "{}", text(&ended.stderr));
    let trace: Value = serde_json::from_slice(&fs::read(&trace).unwrap()).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    let tokens = events.iter().filter(|event| event["name"] == "token" && event["cat"] == "decode");
    // Prefill samples the first of three.
    assert_eq!(tokens.filter(|event| event["ph"] == "X").count(), 2);
    // It is not replaced unasked, and its name says a format.
    assert_eq!(output(&run).status.code(), Some(1));
    run.push("--force");
    assert!(output(&run).status.success());
    let refused = output(&["run", &tiny, "-p", "4", "-n", "3", "--trace", "a.xyz"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("--trace"), "{}", text(&refused.stderr));
}

#[test]
fn a_cut_recording_is_exported_as_far_as_it_goes() {
    let folder = tempfile::tempdir().unwrap();
    let cut = folder.path().join("cut.mcap");
    let bytes = fs::read(recording()).unwrap();
    fs::write(&cut, &bytes[..bytes.len() * 2 / 3]).unwrap();
    let mut command: Command = slmscope(&["export", &cut.display().to_string(), "--format", "csv"]);
    let ended = command.output().unwrap();
    assert!(ended.status.success(), "{}", text(&ended.stderr));
    let rows = text(&ended.stdout).lines().count();
    assert!((1..=csv(&[]).len()).contains(&rows), "{rows}");
}

#[test]
fn a_page_holds_the_figures_of_the_result_and_loads_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.html");
    let words = ["report", recording(), "--html", path.to_str().unwrap()];
    let ended = output(&words);
    assert!(ended.status.success(), "{}", text(&ended.stderr));
    let page = fs::read_to_string(&path).unwrap();
    let json = output(&["report", recording(), "--json"]);
    let result: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(result["schema"], "slmscope.run/1");
    let shown = text(&output(&["report", recording(), "--full"]).stdout);
    let short = text(&output(&["report", recording()]).stdout);
    assert!(short.lines().count() < shown.lines().count() && shown.contains("attn.qkv_proj"), "{shown}");
    let median = result["summary"]["decode_tokens_per_s"]["median"].as_f64().unwrap();
    let median = slmscope_profiles::display::significant(median);
    for part in [
        &*format!("{median} tok/s"),
        "attn.qkv_proj",
        "Content-Security-Policy",
        "default-src &#39;none&#39;",
        result["run_id"].as_str().unwrap(),
        "Copyright (c) 2022 Leon Sorokin",
        "at token",
    ] {
        let part = part.replace("&#39;", "'");
        assert!(page.contains(&part), "{part}");
    }
    let loads = ["src=", "href=", "@import", "url("];
    // What uPlot's own text names is no address, and links to the page's own sections load nothing.
    let ours = page.split("<script>/*").next().unwrap().replace("href=\"#", "");
    assert!(loads.iter().all(|load| !ours.contains(load)), "the page loads something");
    assert_eq!(output(&words).status.code(), Some(1), "it is not replaced unasked");
    assert!(output(&[&words[..], &["--force"]].concat()).status.success());
    let run_page = folder.path().join("b.html").display().to_string();
    let tiny = tiny_model();
    let ended =
        output(&["run", &tiny, "-p", "4", "-n", "3", "-r", "1", "--overhead", "off", "--html", &run_page]);
    assert!(ended.status.success(), "{}", text(&ended.stderr));
    assert!(fs::read_to_string(&run_page).unwrap().contains("</html>"));
}

#[test]
fn two_sessions_are_compared_on_one_page() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("d.html").display().to_string();
    let words = ["diff", recording(), recording(), "--no-floor", "--html", &path];
    let ended = output(&words);
    assert!(ended.status.success(), "{}", text(&ended.stderr));
    assert!(text(&ended.stderr).contains("the comparison"), "{}", text(&ended.stderr));
    let (page, shown) = (fs::read_to_string(&path).unwrap(), text(&ended.stdout));
    let verdict = shown.lines().find(|line| line.starts_with("decode: ")).unwrap();
    for part in ["A: ", "B: ", "matmul", "slmscope diff a1.mcap", verdict.split(',').next().unwrap()] {
        assert!(page.contains(part), "{part}");
    }
    let several = folder.path().join("c.html").display().to_string();
    let ended = output(&["compare", recording(), recording(), recording(), "--html", &several]);
    assert!(ended.status.success(), "{}", text(&ended.stderr));
    let several = fs::read_to_string(&several).unwrap();
    assert!(["A: ", "B: ", "C: ", "3 runs side by side"].iter().all(|part| several.contains(part)));
    let again = output(&words);
    assert_eq!(again.status.code(), Some(1), "it is not replaced");
    assert!(text(&again.stderr).contains("remove it"), "{}", text(&again.stderr));
    fs::remove_file(&path).unwrap();
    assert_eq!(output(&["diff", recording(), "/nowhere.mcap", "--html", &path]).status.code(), Some(1));
    assert!(!Path::new(&path).exists(), "nothing is left of a comparison that failed");
}
