//! Whether a changed machine is told from one that stayed the same, over simulated runs.

use slmscope_profiles::drift::{Change, MachineFigure, Since, changes};
use slmscope_profiles::roofline::{RoofSample, RoofSeries, Roofs};
use slmscope_profiles::stats::{Estimate, SplitMix};

const RUNS: usize = 500;
/// Samples of a series.
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
    let mut measure = |speed: f64| -> Vec<RoofSample> {
        let mut rate = |usual: f64| usual * speed * noise(random);
        let sample =
            |at_ns| RoofSample { at_ns, read_bytes: rate(40e9), f32_flops: rate(1e11), int8_ops: rate(4e11) };
        (0..SAMPLES as u64).map(sample).collect()
    };
    let (begin, end) = (measure(before), measure(after));
    let all: Vec<RoofSample> = begin.iter().chain(&end).copied().collect();
    let (before, after) = (Some(Box::new(RoofSeries::of(&begin))), Some(Box::new(RoofSeries::of(&end))));
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

/// The smallest change of one figure that is named in 95 of 100 runs, up and down, for each of [`NOISES`]: during a
/// run, and against earlier ones. As in the documentation of `drift`.
const SMALLEST: [[f64; 2]; 4] = [[0.13, 0.13], [0.19, 0.16], [0.19, 0.17], [0.24, 0.2]];
/// Runs before the one that is judged.
const EARLIER: [usize; 3] = [1, 3, 20];

/// In how many runs one figure is named that changes to `speed` during the run.
fn during(seed: u64, noise: Noise, speed: f64) -> usize {
    let mut random = SplitMix(seed);
    let is_named = |change: &Change| change.figure == MachineFigure::ReadBandwidth;
    let mut judge = || changes(&roofs(&mut random, noise, [1.0, speed]), &[]).iter().any(is_named);
    (0..RUNS).filter(|_| judge()).count()
}

/// In how many runs `is_named` accepts a change to `speed` since `runs` earlier ones, of which each drops out when it is
/// the oldest.
fn against_earlier(seed: u64, noise: Noise, speed: f64, runs: usize, is_named: fn(&Change) -> bool) -> usize {
    let mut random = SplitMix(seed);
    let mut earlier: Vec<Roofs> = (0..runs).map(|_| roofs(&mut random, noise, [1.0, 1.0])).collect();
    let mut judge = |run: usize| {
        let now = roofs(&mut random, noise, [speed, speed]);
        earlier[run % runs] = roofs(&mut random, noise, [1.0, 1.0]);
        changes(&now, &earlier).iter().any(|change| change.since == Since::EarlierRuns && is_named(change))
    };
    (0..RUNS).filter(|&run| judge(run)).count()
}

fn reading(change: &Change) -> bool {
    change.figure == MachineFigure::ReadBandwidth
}

#[test]
fn a_drift_of_20_percent_since_earlier_runs_is_named_in_95_of_100_runs_and_silence_kept_without() {
    for (name, noise) in NOISES {
        for runs in EARLIER {
            for speed in [0.8, 1.2] {
                let count = against_earlier(5, noise, speed, runs, reading);
                let case = format!("{name}, {runs} earlier, to {speed}");
                assert!(count as f64 >= 0.95 * RUNS as f64, "{case}: {count} of {RUNS}");
            }
            let count = against_earlier(6, noise, 1.0, runs, |_| true);
            assert!(count as f64 <= 0.01 * RUNS as f64, "{name}, {runs} earlier: {count} of {RUNS}");
        }
    }
}

#[test]
fn the_smallest_change_that_is_named_is_as_documented() {
    for ((name, noise), smallest) in NOISES.into_iter().zip(SMALLEST) {
        let least = |size: f64| {
            let both = [1.0 - size, 1.0 + size];
            let within = both.map(|speed| during(8, noise, speed)).into_iter().min().unwrap();
            let since = both
                .into_iter()
                .flat_map(|speed| EARLIER.map(|runs| against_earlier(9, noise, speed, runs, reading)));
            [within, since.min().unwrap()].map(|count| count as f64 / RUNS as f64)
        };
        for (at, size) in smallest.into_iter().enumerate() {
            let (stated, smaller) = (least(size)[at], least(0.8 * size)[at]);
            assert!(stated >= 0.95, "{name}: {size} is named in {stated} of runs");
            assert!(smaller < 0.95, "{name}: a fifth less than {size} is named in {smaller} of runs");
        }
    }
}

fn range(values: [f64; 3]) -> Option<Estimate> {
    Estimate::range(&values)
}

fn steady() -> RoofSeries {
    RoofSeries { read_bytes_per_s: range([39e9, 40e9, 41e9]), ..RoofSeries::default() }
}

fn of_series(before: RoofSeries, after: RoofSeries) -> Roofs {
    let read_bytes_per_s = before.read_bytes_per_s;
    let (before, after) = (Some(Box::new(before)), Some(Box::new(after)));
    Roofs { read_bytes_per_s, threads: 2, isa: Some("avx2".to_owned()), before, after, ..Roofs::default() }
}

/// A clock and what the hypervisor took, of one core.
fn with(clock_hz: [f64; 3], steal: [f64; 3]) -> RoofSeries {
    RoofSeries { clock_hz: range(clock_hz), steal_cores: range(steal), ..steady() }
}

fn shown(found: &[Change]) -> Vec<String> {
    found.iter().map(ToString::to_string).collect()
}

#[test]
fn clocks_and_steal_are_compared_too() {
    let (before, after) =
        (with([3.4e9, 3.5e9, 3.5e9], [0.0, 0.02, 0.05]), with([2.1e9, 2.2e9, 2.3e9], [0.3, 0.42, 0.5]));
    let found = changes(&of_series(before, after), &[]);
    assert_eq!(
        shown(&found),
        [
            "the clock fell from 3.50 GHz to 2.20 GHz during the run",
            "what the host takes away rose from 2 % to 42 % of one core during the run"
        ]
    );
    let similar = with([3.3e9, 3.4e9, 3.5e9], [0.0, 0.08, 0.2]);
    assert!(changes(&of_series(before, similar), &[]).is_empty());
    let unknown = RoofSeries { clock_hz: None, steal_cores: None, ..similar };
    assert!(changes(&of_series(before, unknown), &[]).is_empty());
}

#[test]
fn steal_is_compared_by_its_range_and_by_what_it_costs_each_thread() {
    let clock = [3.5e9; 3];
    let steady = with(clock, [0.0, 0.02, 0.05]);
    // Of two threads a tenth of one core is 5 % each.
    assert!(changes(&of_series(steady, with(clock, [0.06, 0.1, 0.12])), &[]).is_empty(), "8 % of a core");
    let one = changes(&of_series(steady, with(clock, [0.06, 0.13, 0.2])), &[]);
    assert_eq!(one[0].figure, MachineFigure::Steal);
    let wide = with(clock, [0.04, 0.3, 0.6]);
    assert!(changes(&of_series(steady, wide), &[]).is_empty(), "a part of it was as before");
    // A hypervisor that takes nothing is a steady one.
    let none = with(clock, [0.0; 3]);
    assert_eq!(changes(&of_series(none, with(clock, [0.2; 3])), &[]).len(), 1);
}

#[test]
fn clocks_and_steal_are_compared_with_earlier_runs_too() {
    let earlier = of_series(
        with([3.4e9, 3.5e9, 3.5e9], [0.0, 0.0, 0.05]),
        with([3.3e9, 3.4e9, 3.5e9], [0.0, 0.02, 0.1]),
    );
    let slow = with([2.1e9, 2.2e9, 2.3e9], [0.3, 0.5, 0.6]);
    let found = changes(&of_series(slow, slow), std::slice::from_ref(&earlier));
    assert_eq!(
        shown(&found),
        [
            "the clock fell from 3.45 GHz to 2.20 GHz since earlier runs",
            "what the host takes away rose from 1 % to 50 % of one core since earlier runs"
        ]
    );
    assert!(changes(&earlier, std::slice::from_ref(&earlier)).is_empty());
    assert!(
        changes(&of_series(slow, slow), &[earlier, of_series(slow, slow)]).is_empty(),
        "it was so before"
    );
}

#[test]
fn runs_without_two_series_are_compared_by_all_their_samples() {
    let now = of_series(steady(), steady());
    let whole = Roofs { before: None, after: None, ..now.clone() };
    let slow = Roofs { read_bytes_per_s: range([20e9, 21e9, 22e9]), ..whole.clone() };
    assert_eq!(changes(&now, std::slice::from_ref(&slow)).len(), 1);
    assert!(changes(&now, &[whole]).is_empty());
}

#[test]
fn small_changes_and_overlapping_ranges_are_none() {
    let with = |values| RoofSeries { read_bytes_per_s: range(values), ..RoofSeries::default() };
    assert!(changes(&of_series(steady(), with([42e9, 43e9, 43.5e9])), &[]).is_empty(), "7 %");
    assert!(
        changes(&of_series(steady(), with([20e9, 25e9, 39.5e9])), &[]).is_empty(),
        "one sample reached 39.5"
    );
    let found = changes(&of_series(steady(), with([20e9, 25e9, 30e9])), &[]);
    let (figure, since) = (MachineFigure::ReadBandwidth, Since::BeginOfRun);
    assert_eq!(found, [Change { figure, since, from: 40e9, to: 25e9 }]);
}

#[test]
fn earlier_runs_with_other_threads_or_instructions_are_not_compared() {
    let now = of_series(steady(), steady());
    let slow = RoofSeries { read_bytes_per_s: range([20e9, 21e9, 22e9]), ..RoofSeries::default() };
    let earlier = of_series(slow, slow);
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
