//! Intervals over simulated runs whose true median is known.

use slmscope_profiles::stats::{Estimate, LEVEL, SplitMix};

/// Runs for each distribution and number of repetitions.
const RUNS: usize = 2000;

/// A number above 0 and below 1.
fn unit(random: &mut SplitMix) -> f64 {
    ((random.next_u64() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
}

/// A normal deviate (Box and Muller 1958).
fn normal(random: &mut SplitMix) -> f64 {
    (-2.0 * unit(random).ln()).sqrt() * (std::f64::consts::TAU * unit(random)).cos()
}

/// Draws values of a distribution.
type Draw = fn(&mut SplitMix) -> f64;

/// Rates as runs have them, each with its true median: even, bell-shaped, skewed, with heavy tails, of two modes, and
/// rounded to few values.
const DISTRIBUTIONS: [(&str, f64, Draw); 6] = [
    ("uniform", 100.0, |random| 90.0 + 20.0 * unit(random)),
    ("normal", 100.0, |random| 100.0 + 2.0 * normal(random)),
    ("log-normal", 100.0, |random| 100.0 * (0.5 * normal(random)).exp()),
    ("cauchy", 100.0, |random| 100.0 + (std::f64::consts::PI * (unit(random) - 0.5)).tan()),
    ("two modes", 100.0, |random| if random.below(10) < 6 { 100.0 } else { 46.0 }),
    ("rounded", 100.0, |random| (100.0 + 1.2 * normal(random)).round()),
];

#[test]
fn stated_levels_hold_over_simulated_runs() {
    // Three standard deviations of the share of so many runs.
    let tolerance = 3.0 * (LEVEL * (1.0 - LEVEL) / RUNS as f64).sqrt();
    for (name, median, draw) in DISTRIBUTIONS {
        for count in [6, 7, 8, 9, 12, 17, 30, 64] {
            let mut random = SplitMix(count);
            let holds = |_: &usize| {
                let values: Vec<f64> = (0..count).map(|_| draw(&mut random)).collect();
                let estimate = Estimate::of(&values).unwrap();
                assert_eq!(estimate.level, Some(LEVEL));
                estimate.low <= median && median <= estimate.high
            };
            let share = (0..RUNS).filter(holds).count() as f64 / RUNS as f64;
            assert!(share >= LEVEL - tolerance, "{name}, {count} values: {share}");
        }
    }
}

#[test]
fn the_range_of_three_values_holds_the_median_in_three_of_four_runs() {
    let mut random = SplitMix(3);
    let holds = |_: &usize| {
        let values: Vec<f64> = (0..3).map(|_| normal(&mut random)).collect();
        let estimate = Estimate::of(&values).unwrap();
        assert_eq!(estimate.level, None);
        estimate.low <= 0.0 && 0.0 <= estimate.high
    };
    let share = (0..RUNS).filter(holds).count() as f64 / RUNS as f64;
    assert!((0.72..0.78).contains(&share), "{share}");
}
