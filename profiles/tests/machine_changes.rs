//! Whether a changed machine is told from one that stayed the same, over simulated runs.

use slmscope_profiles::drift::{Change, MachineFigure, Since, changes};
use slmscope_profiles::roofline::{RoofLook, RoofSample, Roofs};
use slmscope_profiles::stats::{Estimate, SplitMix};

const RUNS: usize = 500;
/// Samples of a look.
const SAMPLES: usize = 5;

/// A number above 0 and below 1.
fn unit(random: &mut SplitMix) -> f64 {
    ((random.next_u64() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
}

fn normal(random: &mut SplitMix) -> f64 {
    (-2.0 * unit(random).ln()).sqrt() * (std::f64::consts::TAU * unit(random)).cos()
}

/// Noise of one sample, as a factor whose median is 1.
type Noise = fn(&mut SplitMix) -> f64;

const NOISES: [(&str, Noise); 4] = [
    ("normal, 2 %", |random| 1.0 + 0.02 * normal(random)),
    ("normal, 4 %", |random| 1.0 + 0.04 * normal(random)),
    ("uniform, ± 8 %", |random| 0.92 + 0.16 * unit(random)),
    // Now and then a sample is interrupted.
    ("skewed", |random| 1.0 + 0.02 * normal(random) - if random.below(20) == 0 { 0.15 } else { 0.0 }),
];

/// The last of them.
const SKEWED: usize = 3;

/// Roofs of a machine whose speed is `before`, then `after` times the usual one.
fn roofs(random: &mut SplitMix, noise: Noise, [before, after]: [f64; 2]) -> Roofs {
    let mut look = |speed: f64| -> Vec<RoofSample> {
        let mut rate = |usual: f64| usual * speed * noise(random);
        let sample =
            |at_ns| RoofSample { at_ns, read_bytes: rate(40e9), f32_flops: rate(1e11), int8_ops: rate(4e11) };
        (0..SAMPLES as u64).map(sample).collect()
    };
    let (begin, end) = (look(before), look(after));
    let all: Vec<RoofSample> = begin.iter().chain(&end).copied().collect();
    let (before, after) = (Some(Box::new(RoofLook::of(&begin))), Some(Box::new(RoofLook::of(&end))));
    Roofs { before, after, ..Roofs::of(&all, 2, "avx2", 0) }
}

/// In how many runs there were changes that `is_named` accepts.
fn named(seed: u64, noise: Noise, speeds: [f64; 2], is_named: fn(&[Change]) -> bool) -> usize {
    let mut random = SplitMix(seed);
    (0..RUNS).filter(|_| is_named(&changes(&roofs(&mut random, noise, speeds), &[]))).count()
}

#[test]
fn a_drift_of_20_percent_is_named_in_95_of_100_runs() {
    let read: fn(&[Change]) -> bool =
        |found| found.iter().any(|change| change.figure == MachineFigure::ReadBandwidth);
    for (at, (name, noise)) in NOISES.into_iter().enumerate() {
        // An interrupted sample may reach over the gap, but not in all three figures at once.
        let is_named = if at == SKEWED { |found: &[Change]| !found.is_empty() } else { read };
        for speeds in [[1.0, 0.8], [1.0, 1.2], [1.2, 1.0]] {
            let count = named(7, noise, speeds, is_named);
            assert!(count as f64 >= 0.95 * RUNS as f64, "{name}, {speeds:?}: {count} of {RUNS}");
        }
    }
}

/// The rate that is allowed: 1 of 100 runs.
#[test]
fn a_machine_that_stays_the_same_is_named_in_less_than_1_of_100_runs() {
    for (name, noise) in NOISES {
        let any = named(11, noise, [1.0, 1.0], |found| !found.is_empty());
        assert!(any as f64 <= 0.01 * RUNS as f64, "{name}: {any} of {RUNS}");
    }
}

#[test]
fn each_figure_is_told_from_what_to_what() {
    let mut found = changes(&roofs(&mut SplitMix(3), |random| 1.0 + 1e-5 * unit(random), [1.0, 0.8]), &[]);
    found.sort_by(|a, b| a.from.total_cmp(&b.from));
    let shown: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "reading memory fell from 40.0 GB/s to 32.0 GB/s during the run",
            "f32 arithmetic fell from 100 GFLOP/s to 80.0 GFLOP/s during the run",
            "int8 arithmetic fell from 400 GOP/s to 320 GOP/s during the run"
        ]
    );
}

/// Every run of a host, compared with those before it.
fn against_earlier(seed: u64, noise: Noise, speed: f64) -> usize {
    let mut random = SplitMix(seed);
    (0..RUNS)
        .filter(|_| {
            let earlier: Vec<Roofs> = (0..3).map(|_| roofs(&mut random, noise, [1.0, 1.0])).collect();
            let now = roofs(&mut random, noise, [speed, speed]);
            changes(&now, &earlier).iter().any(|change| change.since == Since::EarlierRuns)
        })
        .count()
}

#[test]
fn a_machine_that_changed_by_25_percent_since_earlier_runs_is_named() {
    // The ranges of 10 and of 30 samples must be apart, so it takes a little more than within a run.
    for (name, noise) in &NOISES[..2] {
        let count = against_earlier(5, *noise, 0.75);
        assert!(count as f64 >= 0.95 * RUNS as f64, "{name}: {count} of {RUNS}");
    }
    for (name, noise) in NOISES {
        let count = against_earlier(6, noise, 1.0);
        assert!(count as f64 <= 0.01 * RUNS as f64, "{name}: {count} of {RUNS}");
    }
}

fn range(values: [f64; 3]) -> Option<Estimate> {
    Estimate::range(&values)
}

fn steady() -> RoofLook {
    RoofLook { read_bytes_per_s: range([39e9, 40e9, 41e9]), ..RoofLook::default() }
}

fn of_looks(before: RoofLook, after: RoofLook) -> Roofs {
    let read_bytes_per_s = before.read_bytes_per_s;
    let (before, after) = (Some(Box::new(before)), Some(Box::new(after)));
    Roofs { read_bytes_per_s, threads: 2, isa: Some("avx2".to_owned()), before, after, ..Roofs::default() }
}

#[test]
fn clocks_and_steal_are_compared_too() {
    let mut after = steady();
    let mut before = steady();
    (before.clock_hz, after.clock_hz) = (range([3.4e9, 3.5e9, 3.5e9]), range([2.1e9, 2.2e9, 2.3e9]));
    (before.steal, after.steal) = (Some(0.01), Some(0.21));
    let found = changes(&of_looks(before, after), &[]);
    let shown: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "the clock fell from 3.50 GHz to 2.20 GHz during the run",
            "what the host takes away rose from 1 % to 21 % during the run"
        ]
    );
    (before.steal, after.steal) = (Some(0.01), Some(0.04));
    after.clock_hz = range([3.3e9, 3.4e9, 3.5e9]);
    assert!(changes(&of_looks(before, after), &[]).is_empty());
    after.clock_hz = None;
    assert!(changes(&of_looks(before, after), &[]).is_empty());
}

#[test]
fn small_changes_and_overlapping_ranges_are_none() {
    let with = |values| RoofLook { read_bytes_per_s: range(values), ..RoofLook::default() };
    assert!(changes(&of_looks(steady(), with([42e9, 43e9, 43.5e9])), &[]).is_empty(), "7 %");
    assert!(
        changes(&of_looks(steady(), with([20e9, 25e9, 39.5e9])), &[]).is_empty(),
        "one sample reached 39.5"
    );
    let found = changes(&of_looks(steady(), with([20e9, 25e9, 30e9])), &[]);
    let (figure, since) = (MachineFigure::ReadBandwidth, Since::BeginOfRun);
    assert_eq!(found, [Change { figure, since, from: 40e9, to: 25e9 }]);
}

#[test]
fn earlier_runs_with_other_threads_or_instructions_are_not_compared() {
    let now = of_looks(steady(), steady());
    let slow = RoofLook { read_bytes_per_s: range([20e9, 21e9, 22e9]), ..RoofLook::default() };
    let earlier = of_looks(slow, slow);
    let found = changes(&now, std::slice::from_ref(&earlier));
    assert_eq!(
        (found.len(), found[0].since, found[0].from, found[0].to),
        (1, Since::EarlierRuns, 21e9, 40e9)
    );
    let other = [
        Roofs { threads: 1, ..earlier.clone() },
        Roofs { isa: None, ..earlier.clone() },
        Roofs::absent("no"),
    ];
    assert!(changes(&now, &other).is_empty());
    // One earlier run that was as fast is enough to have known such a machine.
    assert!(changes(&now, &[earlier, now.clone()]).is_empty());
    assert!(changes(&Roofs::absent("no"), &[now]).is_empty());
}
