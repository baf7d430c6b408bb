//! Recordings of three scripted boards: what is printed of them, and which is the best.

use std::path::Path;

use slmscope_exports::recording::{Entry, Writer};
use slmscope_profiles::channel::{Class, Scope};
use slmscope_profiles::host::Host;
use slmscope_profiles::phase::Phase;
use slmscope_profiles::roofline::Bound;
use slmscope_profiles::stats::Estimate;

use super::*;
use crate::pinned;

/// A machine, against the one of the stored run.
struct Board {
    name: &'static str,
    /// How many times as long it takes.
    slower: f64,
    memory: u64,
    joules_per_token: f64,
    /// Least times by its roofs, of those of the stored run: for reading, and for computing.
    least: (f64, f64),
}

/// Decode at 293, 73.2 and 24.4 tokens/s; bound by memory, by arithmetic and by neither.
const BOARDS: [Board; 3] = [
    Board { name: "laptop", slower: 1.0, memory: 131 << 20, joules_per_token: 0.1, least: (1.0, 1.0) },
    Board { name: "pi", slower: 4.0, memory: 120 << 20, joules_per_token: 0.02, least: (1.0, 6.0) },
    Board { name: "riscv", slower: 12.0, memory: 90 << 20, joules_per_token: 0.05, least: (0.5, 0.5) },
];

fn run_on(board: &Board) -> RunResult {
    let mut result = pinned::run();
    let rate = |estimate: Option<Estimate>| {
        let Estimate { median, low, high, level, count } = estimate?;
        let [median, low, high] = [median, low, high].map(|rate| rate / board.slower);
        Some(Estimate { median, low, high, level, count })
    };
    let longer = |ns: u64| (ns as f64 * board.slower) as u64;
    result.host = result.host.map(|host| Host { name: Some(board.name.to_owned()), ..host });
    let summary = &mut result.summary;
    summary.decode_tokens_per_s = rate(summary.decode_tokens_per_s);
    summary.prefill_tokens_per_s = rate(summary.prefill_tokens_per_s);
    summary.ttft_ns = summary.ttft_ns.map(longer);
    for op in &mut result.ops {
        op.time_ns = longer(op.time_ns);
        if let Some(roof) = &mut op.roof {
            roof.memory_ns = (roof.memory_ns as f64 * board.least.0) as u64;
            roof.compute_ns = (roof.compute_ns as f64 * board.least.1) as u64;
        }
    }
    for energy in result.energy.phases.iter_mut().filter(|energy| energy.phase == Phase::Decode) {
        let joules = board.joules_per_token;
        (energy.joules, energy.joules_per_token) = (Some(joules * 192.0), Some(joules));
        energy.joules_per_token_interval = Some([joules * 0.95, joules * 1.05]);
        (energy.class, energy.scope) = (Class::Measured, Some(Scope::BoardInput));
        energy.reason = None;
    }
    result.memory.rss_peak = Some(board.memory);
    result
}

fn record(path: &Path, result: RunResult) -> SessionSource {
    let mut writer = Writer::new(std::fs::File::create(path).unwrap()).unwrap();
    writer.write(&Entry::Result { job: 1, result: Box::new(result) }).unwrap();
    writer.finish().unwrap();
    SessionSource::File(path.to_owned())
}

/// The three boards, read from recordings of them.
fn boards(folder: &Path) -> Vec<(String, RunResult)> {
    let path = |board: &Board| folder.join(format!("{}.mcap", board.name));
    let sources: Vec<_> = BOARDS.iter().map(|board| record(&path(board), run_on(board))).collect();
    read_all(&sources, &Target::default()).unwrap()
}

fn compared(best: Option<(Measure, &[&str])>) -> Compared {
    let folder = tempfile::tempdir().unwrap();
    let limits: Vec<Limit> =
        best.iter().flat_map(|(_, limits)| *limits).map(|limit| limit.parse().unwrap()).collect();
    let mut compared =
        Compared::of(boards(folder.path()), best.map(|(measure, _)| (measure, limits.as_slice())));
    for named in &mut compared.runs {
        // The folder has another name each time.
        named.session = named.session.rsplit('/').next().unwrap_or_default().to_owned();
    }
    compared
}

#[test]
fn the_best_board_under_each_limit_is_named() {
    for (measure, limits, best) in [
        (Measure::Decode, &[][..], Some(0)),
        (Measure::TokensPerJoule, &[], Some(1)),
        (Measure::JoulesPerToken, &[], Some(1)),
        (Measure::Memory, &[], Some(2)),
        (Measure::Decode, &["memory=125MiB"], Some(1)),
        (Measure::Decode, &["memory=125MiB", "joules_per_token=10mJ"], None),
        (Measure::Decode, &["memory=100MiB"], Some(2)),
        (Measure::Memory, &["decode=50"], Some(1)),
        (Measure::Memory, &["ttft=500ms"], Some(0)),
        (Measure::TokensPerJoule, &["decode=100"], Some(0)),
    ] {
        let choice = compared(Some((measure, limits))).choice.unwrap();
        assert_eq!(choice.best, best, "{measure:?} {limits:?}: {choice:?}");
        assert!(choice.close.is_empty(), "{measure:?}: {choice:?}");
    }
}

#[test]
fn what_binds_each_board_is_judged_by_its_own_roofs() {
    let bounds = compared(None).runs.into_iter().map(|named| {
        let decode = named.run.phases.iter().find(|shares| shares.phase == Phase::Decode).unwrap();
        let shares: f64 = decode.modules.iter().map(|module| module.share).sum();
        assert!((shares + decode.rest - 1.0).abs() < 1e-9, "{}: the parts add up", named.label);
        decode.bound
    });
    assert_eq!(
        bounds.collect::<Vec<_>>(),
        [Some(Bound::Memory), Some(Bound::Compute), Some(Bound::Overhead)]
    );
}

#[test]
fn outputs_of_compare_are_pinned_at_80_columns() {
    let limits = ["memory=4GiB", "ttft=2s", "decode=50"];
    let compared = compared(Some((Measure::TokensPerJoule, &limits)));
    pinned::check("compare.txt", &text::render(&compared, pinned::terminal()));
    pinned::compare(Path::new("tests/pinned/compare.md"), &text::markdown(&compared));
}

#[test]
fn a_run_whose_interval_reaches_the_best_ones_is_close_to_it() {
    let twice = vec![("a".to_owned(), pinned::run()), ("b".to_owned(), pinned::run())];
    let compared = Compared::of(twice, Some((Measure::Decode, &[])));
    assert_eq!(compared.choice.as_ref().unwrap().close, [1]);
    let said = text::render(&compared, pinned::terminal());
    assert!(said.contains("cannot tell it from B"), "{said}");
}

#[test]
fn what_is_not_known_is_not_the_best_and_its_reason_is_told() {
    let mut without = pinned::run();
    without.slmscope = "9.9.9".to_owned();
    let named = vec![("a".to_owned(), run_on(&BOARDS[0])), ("b".to_owned(), without)];
    let compared = Compared::of(named, Some((Measure::JoulesPerToken, &[])));
    let said = text::render(&compared, Style::plain());
    assert!(
        said.contains("B is left out: joules_per_token is not known: this machine has no power"),
        "{said}"
    );
    assert!(said.contains("— in B: joules_per_token: this machine has no power sensor"), "{said}");
    assert!(said.contains("different versions of slmscope: A by 0.0.0, B by 9.9.9"), "{said}");
}

#[test]
fn every_file_that_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (text, missing) = (folder.path().join("text"), folder.path().join("missing.mcap"));
    std::fs::write(&text, "no recording").unwrap();
    let whole = record(&folder.path().join("a.mcap"), pinned::run());
    let sources = [SessionSource::File(text), whole, SessionSource::File(missing)];
    let told = read_all(&sources, &Target::default()).unwrap_err().message.unwrap();
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines.len(), 2, "{told}");
    assert!(lines[0].contains("/text: not a recording"), "{told}");
    assert!(lines[1].contains("missing.mcap: No such file"), "{told}");
}

#[test]
fn unlike_work_is_named_with_its_values() {
    let mut longer = pinned::run();
    (longer.workload.prompt, longer.workload.depth) = (512, 64);
    let compared = Compared::of(vec![("a".to_owned(), pinned::run()), ("b".to_owned(), longer)], None);
    assert_eq!(text::unlike(&compared.unlike_work), "prompt (256 and 512), depth (0 and 64)");
}

#[test]
fn labels_go_on_after_z() {
    assert_eq!([0, 25, 26, 27, 52, 702].map(label), ["A", "Z", "AA", "AB", "BA", "AAA"]);
}
