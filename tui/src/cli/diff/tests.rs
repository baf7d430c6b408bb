//! The text of comparisons, as stored.

use slmscope_profiles::clock::ClockSource;
use slmscope_profiles::compare::{Floor, KnownFloor, Options, Repetition, Repetitions, compare};
use slmscope_profiles::lane::HOST_LANE;
use slmscope_profiles::op::{BatchHead, OpBatch, OpEvent, Phase};
use slmscope_profiles::plan::Rows;
use slmscope_profiles::plan::site::{Cost, Module, OpKind, OpSite};
use slmscope_profiles::stats::SplitMix;

use super::recording::Side;
use super::text::{markdown, render};
use super::{Diff, PhaseDiff};
use crate::pinned;

const KINDS: [OpKind; 3] = [OpKind::Matmul, OpKind::Attention, OpKind::Norm];

fn sites() -> Vec<OpSite> {
    let cost = Cost {
        bytes: 0,
        bytes_per_row: 0,
        bytes_per_cached: 0,
        flops_per_row: 0,
        flops_per_attended: 0,
        window: None,
        rows: Rows::All,
    };
    let site = |(id, kind): (u16, OpKind)| OpSite {
        id,
        layer: None,
        module: Module::Ffn,
        name: kind.as_str().to_owned(),
        kind,
        weights: Vec::new(),
        fuses: Vec::new(),
        cost,
    };
    (0..).zip(KINDS).map(site).collect()
}

/// Repetitions of 64 tokens of about 4 ms, whose matrix products take so much longer.
fn run(count: u32, delay: f64, seed: u64) -> Vec<Repetition> {
    of_phase(Phase::Decode, count, delay, seed)
}

/// The same in steps of a phase.
fn of_phase(phase: Phase, count: u32, delay: f64, seed: u64) -> Vec<Repetition> {
    let (sites, mut random, mut repetitions) = (sites(), SplitMix(seed), Repetitions::default());
    for repetition in 0..count {
        for token in 0..64 {
            let noise = 1.0 + random.below(100) as f64 / 2_000.0;
            let times = [3_500_000.0 * (1.0 + delay), 400_000.0, 80_000.0].map(|ns| (ns * noise) as u32);
            let event = |(site, duration)| OpEvent { site, reserved: 0, gap: 300, duration };
            let head = BatchHead {
                job: 1,
                plan: 1,
                lane: HOST_LANE,
                repetition,
                phase,
                token,
                rows: 1,
                context: token,
                seq: 0,
                begin_ns: 0,
                end_ns: times.iter().map(|&ns| u64::from(ns) + 300).sum::<u64>() + 9_000,
                tick_ns: 1,
                clock: ClockSource::Host,
            };
            let events = (0..).zip(times).map(event).collect();
            repetitions.add(&OpBatch { head, spans: Vec::new(), columns: Vec::new(), events }, &sites);
        }
    }
    repetitions.of(phase, &sites)
}

fn diff(a: &[Vec<Repetition>], b: &[Vec<Repetition>], floor: Option<KnownFloor>) -> Diff {
    let side = |file: &str, clean| Side {
        file: file.to_owned(),
        model: "smollm2-135m".to_owned(),
        run_id: None,
        command: Some("slmscope run smollm2-135m --repetitions 8".to_owned()),
        clean: Some(clean),
        hygiene: vec!["other processes used 113.5 % of one core (this machine has 2)".to_owned()],
    };
    let names = |name: &str, runs: usize, clean| -> Vec<Side> {
        (1..=runs).map(|at| side(&format!("{name}{at}.mcap"), clean)).collect()
    };
    let options = Options { floor: floor.as_ref().map(|known| known.floor), ..Options::default() };
    let comparison = compare(a, b, options).unwrap();
    let repetitions = [a, b].map(|runs| runs.iter().map(Vec::len).sum());
    let (a_set, b_set) = (names("a", a.len(), true), names("b", b.len(), false));
    Diff {
        schema: "slmscope.diff/1",
        a: a_set[0].clone(),
        b: b_set[0].clone(),
        a_set,
        b_set,
        obstacles: Vec::new(),
        same_run: false,
        phases: vec![PhaseDiff { phase: Phase::Decode, repetitions, floor, comparison }],
    }
}

#[test]
fn comparisons_are_printed_as_stored() {
    let single = |delay, seed| vec![run(8, delay, seed)];
    let slower = diff(&single(0.0, 1), &single(0.08, 2), None);
    pinned::check("diff-slower.txt", &render(&slower, pinned::terminal()));
    pinned::compare(std::path::Path::new("tests/pinned/diff-slower.md"), &markdown(&slower));
    let floor = KnownFloor {
        machine: Some("board".to_owned()),
        cpu_model: None,
        logical_cpus: 4,
        threads: Some(4),
        executor: "cpu".to_owned(),
        phase: Phase::Decode,
        model: "smollm2-135m".to_owned(),
        format: Some("q4_0".to_owned()),
        date: None,
        floor: Floor { share: 0.015, runs: 4 },
    };
    let unsure = diff(&single(0.0, 1), &single(0.03, 2), Some(floor));
    pinned::check("diff-cannot-tell.txt", &render(&unsure, pinned::terminal()));
    let sets = |delay, seed: u64| (0..3).map(|at| run(4, delay, seed + at)).collect::<Vec<_>>();
    let same = diff(&sets(0.0, 3), &sets(0.001, 9), None);
    pinned::check("diff-same.txt", &render(&same, pinned::terminal()));
}

#[test]
fn times_of_prefill_are_of_a_prompt_token() {
    let side = |seed| vec![of_phase(Phase::Prefill, 8, 0.0, seed)];
    let comparison = compare(&side(1), &side(2), Options::default()).unwrap();
    let prefill = PhaseDiff { phase: Phase::Prefill, repetitions: [8, 8], floor: None, comparison };
    let mut diff = diff(&side(1), &side(2), None);
    diff.phases = vec![prefill];
    let text = render(&diff, pinned::terminal());
    assert!(text.contains("ms a prompt token") && text.contains("A µs/prompt token"), "{text}");
    assert!(markdown(&diff).contains("| B µs/prompt token |"), "{}", markdown(&diff));
}
