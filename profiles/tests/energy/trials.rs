//! How near the figures come to the truth, over many runs.

use slmscope_profiles::energy::{LEAST_UPDATES, Window};
use slmscope_profiles::stats::SplitMix;

use crate::sensor::{MS, SECOND, Sensor, Shows, Wave, spread, told, uniform};

const TRIALS: usize = 200;
const SAMPLING_MS: [u64; 3] = [100, 10, 1];
const SENSOR_MS: [u64; 3] = [1, 20, 100];

/// What became of the trials of one set-up.
#[derive(Debug, Default)]
struct Outcome {
    refused: usize,
    /// From 5 updates on: the interval held the truth, or not.
    held: usize,
    missed: usize,
    /// From 50 updates on: how far off, as a share of the truth.
    errors: Vec<f64>,
    widths: Vec<f64>,
}

impl Outcome {
    fn error(&mut self, q: f64) -> f64 {
        self.errors.sort_by(f64::total_cmp);
        let last = self.errors.len().saturating_sub(1);
        self.errors.get((last as f64 * q).round() as usize).copied().unwrap_or(0.0)
    }

    fn told(&self) -> usize {
        self.held + self.missed
    }
}

/// High power is up to `most` times the low one. `half` gives the half-period of the wave from the longer of both periods, ns.
fn outcome(
    seed: u64,
    shows: Shows,
    noise: f64,
    (sampling_ms, sensor_ms): (u64, u64),
    most: f64,
    half: impl Fn(u64, &mut SplitMix) -> u64,
) -> Outcome {
    let mut outcome = Outcome::default();
    let mut random = SplitMix(seed);
    let (sampling_ns, period_ns) = (sampling_ms * MS, sensor_ms * MS);
    for _ in 0..TRIALS {
        let low = spread(&mut random, 0.5, 20.0);
        let half_ns = half(sampling_ns.max(period_ns), &mut random);
        let wave = Wave {
            low,
            high: low * spread(&mut random, 1.2, most),
            half_ns,
            offset_ns: random.below(2 * half_ns as usize) as u64,
        };
        let offset_ns = random.below(period_ns as usize) as u64;
        let sensor = Sensor { shows, period_ns, offset_ns, noise };
        let begin_ns = 2 * SECOND + random.below(SECOND as usize) as u64;
        let length_ns = (spread(&mut random, 0.05, 60.0) * 1e9) as u64;
        let window = Window { begin_ns, end_ns: begin_ns + length_ns };
        // Half of the readers are as regular as a clock, which is when they may fall into step with the wave.
        let jitter_ns = if uniform(&mut random) < 0.5 { 0 } else { sampling_ns / 20 };
        let first_ns = SECOND + random.below(sampling_ns as usize) as u64;
        let until_ns = window.end_ns + SECOND / 2;
        let samples = sensor.samples(&wave, (first_ns, until_ns), (sampling_ns, jitter_ns), &mut random);
        let energy = told(&sensor.channel(), &samples, window);
        let truth = wave.joules(window.end_ns) - wave.joules(window.begin_ns);
        let Some(joules) = energy.joules else {
            assert!(energy.updates < LEAST_UPDATES && energy.reason.is_some(), "{energy:?}");
            outcome.refused += 1;
            continue;
        };
        assert!(energy.updates >= LEAST_UPDATES, "{energy:?}");
        let (low, high) = (energy.low.unwrap(), energy.high.unwrap());
        assert!(low <= joules && joules <= high, "{energy:?}");
        if low <= truth && truth <= high {
            outcome.held += 1;
        } else {
            outcome.missed += 1;
        }
        if energy.updates >= 50 {
            outcome.errors.push((joules / truth - 1.0).abs());
            outcome.widths.push((high - low) / truth);
        }
    }
    outcome
}

fn slow_half(longer_ns: u64, random: &mut SplitMix) -> u64 {
    (spread(random, 10.0, 100.0) * longer_ns as f64) as u64
}

/// From far above the sampling rate to just not resolved.
fn fast_half(longer_ns: u64, random: &mut SplitMix) -> u64 {
    ((spread(random, 0.02, 10.0) * longer_ns as f64) as u64).max(1_000)
}

fn set_ups() -> impl Iterator<Item = (u64, u64)> {
    SAMPLING_MS.into_iter().flat_map(|sampling| SENSOR_MS.into_iter().map(move |sensor| (sampling, sensor)))
}

const COUNTER: Shows = Shows::Energy { range: 1_000.0 };

#[test]
fn counters_are_within_two_percent_in_every_trial() {
    for (sampling, sensor) in set_ups() {
        let mut outcome = outcome(1, COUNTER, 0.0, (sampling, sensor), 3.0, slow_half);
        let worst = outcome.error(1.0);
        println!(
            "counter, read every {sampling} ms, new every {sensor} ms: {} told, {} from 50 updates on, worst \
             {:.2} %, interval missed {}",
            outcome.told(),
            outcome.errors.len(),
            worst * 100.0,
            outcome.missed
        );
        assert!(worst <= 0.02, "{}", outcome.told());
        assert!(outcome.missed * 10 <= outcome.told(), "{}", outcome.told());
        assert!(outcome.errors.len() >= 20, "{}", outcome.told());
    }
}

/// Read no more often than the sensor makes values, a counter is up to one period old, and nobody can tell how
/// old. If power is 40 times higher at one end of the window than at the other, that alone can be more than two
/// percent of a short window; then the interval says so.
#[test]
fn counters_of_steep_waves_are_held_by_the_interval() {
    for (sampling, sensor) in set_ups() {
        let mut outcome = outcome(4, COUNTER, 0.0, (sampling, sensor), 40.0, slow_half);
        let (most, worst) = (outcome.error(0.95), outcome.error(1.0));
        println!(
            "steep, counter, read every {sampling} ms, new every {sensor} ms: {} told, 95 of 100 within {:.2} %, \
             worst {:.2} %, interval missed {}",
            outcome.told(),
            most * 100.0,
            worst * 100.0,
            outcome.missed
        );
        assert!(most <= 0.02 && outcome.missed == 0, "{}", outcome.told());
    }
}

#[test]
fn gauges_are_within_two_percent_as_a_rule() {
    for shows in [Shows::Power, Shows::MeanPower] {
        for noise in [0.0, 0.01] {
            for (sampling, sensor) in set_ups() {
                let mut outcome = outcome(2, shows, noise, (sampling, sensor), 40.0, slow_half);
                let (median, most) = (outcome.error(0.5), outcome.error(0.95));
                outcome.widths.sort_by(f64::total_cmp);
                println!(
                    "{shows:?} ± {noise}, read every {sampling} ms, new every {sensor} ms: {} told, {} from 50 \
                     updates on, median {:.2} %, 95 of 100 within {:.2} %, interval missed {}, wide {:?}",
                    outcome.told(),
                    outcome.errors.len(),
                    median * 100.0,
                    most * 100.0,
                    outcome.missed,
                    outcome.widths.get(outcome.widths.len() / 2)
                );
                assert!(median <= 0.02 && most <= 0.05, "{}", outcome.told());
                assert!(outcome.missed * 10 <= outcome.told(), "{}", outcome.told());
            }
        }
    }
}

#[test]
fn waves_that_are_too_fast_are_refused_or_held_by_the_interval() {
    for shows in [COUNTER, Shows::Power, Shows::MeanPower] {
        for noise in [0.0, 0.01] {
            for (sampling, sensor) in set_ups() {
                let outcome = outcome(3, shows, noise, (sampling, sensor), 40.0, fast_half);
                println!(
                    "fast, {shows:?} ± {noise}, read every {sampling} ms, new every {sensor} ms: {} told, {} \
                     refused, interval missed {}",
                    outcome.told(),
                    outcome.refused,
                    outcome.missed
                );
                assert!(outcome.missed * 10 <= outcome.told(), "{}", outcome.told());
            }
        }
    }
}
