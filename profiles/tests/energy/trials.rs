//! How near the figures come to the truth, over many runs.

use slmscope_profiles::energy::{MIN_UPDATES, Window};
use slmscope_profiles::stats::SplitMix;

use crate::sensor::{MS, SECOND, Sensor, Shows, Wave, spread, told, uniform};

const TRIALS: usize = 200;
/// Nobody is promised more than this.
const STEEPEST: f64 = 40.0;
/// From so many updates on counters are within [`NEAR`].
const MANY: u64 = 50;
const NEAR: f64 = 0.02;
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
    /// Errors beyond both [`NEAR`] and what nobody can know better; see [`SetUp::unknowable_ns`].
    beyond: usize,
}

/// How a sensor is read, and whether its period is known to whoever derives energy.
#[derive(Debug, Clone, Copy)]
struct SetUp {
    sampling_ms: u64,
    sensor_ms: u64,
    is_known: bool,
}

impl SetUp {
    fn longer_ns(self) -> u64 {
        self.sampling_ms.max(self.sensor_ms) * MS
    }

    /// How much later all values may have been made without any reading being another: a value is as old as the
    /// last reading that did not show it, or as the sensor's period where that is known. Readings of the energy E
    /// of a power p(t), and of p(t + d), are then the same, and the windows' energies differ by d times what power
    /// changed between the edges. So an estimate can be off by half of that, and the best one is in the middle.
    fn unknowable_ns(self) -> u64 {
        let seen = self.sampling_ms * MS;
        if self.is_known { seen.min(self.sensor_ms * MS) } else { seen }
    }

    /// The largest ratio of high to low power for which [`NEAR`] can be kept from [`MANY`] updates on: then
    /// d (high - low) / 2 is at most that share of the least energy, which is low power all the time.
    fn steepest(self) -> f64 {
        let updates = MANY as f64 * self.longer_ns() as f64 / self.unknowable_ns() as f64;
        (1.0 + 2.0 * NEAR * updates).min(STEEPEST)
    }
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

/// High power is up to `most` times the low one. `half` gives the half-period of the wave from the longer of both
/// periods, ns.
fn outcome(
    seed: u64,
    shows: Shows,
    noise: f64,
    set_up: SetUp,
    most: f64,
    half: impl Fn(u64, &mut SplitMix) -> u64,
) -> Outcome {
    let mut outcome = Outcome::default();
    let mut random = SplitMix(seed);
    let (sampling_ns, period_ns) = (set_up.sampling_ms * MS, set_up.sensor_ms * MS);
    for _ in 0..TRIALS {
        let low = spread(&mut random, 0.5, 20.0);
        let half_ns = half(set_up.longer_ns(), &mut random);
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
        let mut channel = sensor.channel();
        channel.update_ns = set_up.is_known.then_some(period_ns);
        let energy = told(&channel, &samples, window);
        let truth = wave.joules(window.end_ns) - wave.joules(window.begin_ns);
        let Some(joules) = energy.joules else {
            assert!(energy.updates < MIN_UPDATES && energy.reason.is_some(), "{energy:?}");
            outcome.refused += 1;
            continue;
        };
        assert!(energy.updates >= MIN_UPDATES, "{energy:?}");
        let (low, high) = (energy.low.unwrap(), energy.high.unwrap());
        assert!(low <= joules && joules <= high, "{energy:?}");
        if low <= truth && truth <= high {
            outcome.held += 1;
        } else {
            outcome.missed += 1;
        }
        if energy.updates >= MANY {
            let error = (joules / truth - 1.0).abs();
            let unknowable = set_up.unknowable_ns() as f64 / 1e9 * (wave.high - wave.low) / 2.0 / truth;
            outcome.beyond += usize::from(error > NEAR.max(unknowable));
            outcome.errors.push(error);
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

fn set_ups() -> impl Iterator<Item = SetUp> {
    SAMPLING_MS.into_iter().flat_map(|sampling_ms| {
        SENSOR_MS.into_iter().map(move |sensor_ms| SetUp { sampling_ms, sensor_ms, is_known: false })
    })
}

const COUNTER: Shows = Shows::Energy { range: 1_000.0 };

#[test]
fn counters_are_within_two_percent_in_every_trial() {
    for is_known in [false, true] {
        for set_up in set_ups().map(|set_up| SetUp { is_known, ..set_up }) {
            let mut outcome = outcome(1, COUNTER, 0.0, set_up, set_up.steepest(), slow_half);
            let worst = outcome.error(1.0);
            println!(
                "counter, {set_up:?}, power up to {:.1} : 1: {} told, {} from {MANY} updates on, worst {:.2} %, \
                 interval missed {}",
                set_up.steepest(),
                outcome.told(),
                outcome.errors.len(),
                worst * 100.0,
                outcome.missed
            );
            assert!(worst <= NEAR, "{set_up:?}");
            assert!(outcome.missed * 10 <= outcome.told(), "{set_up:?}");
            assert!(outcome.errors.len() >= 20, "{set_up:?}");
        }
    }
}

/// Where power is steeper than that, the error is never beyond what no reading can tell, and the interval says so.
#[test]
fn counters_of_steep_waves_are_as_near_as_can_be_known() {
    for set_up in set_ups() {
        let mut outcome = outcome(4, COUNTER, 0.0, set_up, STEEPEST, slow_half);
        let (most, worst) = (outcome.error(0.95), outcome.error(1.0));
        println!(
            "steep, counter, {set_up:?}: {} told, 95 of 100 within {:.2} %, worst {:.2} %, beyond {}, interval \
             missed {}",
            outcome.told(),
            most * 100.0,
            worst * 100.0,
            outcome.beyond,
            outcome.missed
        );
        assert!(most <= NEAR && outcome.beyond == 0 && outcome.missed == 0, "{set_up:?}");
    }
}

/// Why not in every trial: two machines whose readings are the same and whose energies are not. One sensor makes
/// its values when they are read, the other nearly a period earlier of a load that steps earlier.
#[test]
fn no_estimate_can_be_near_two_truths_that_read_alike() {
    let (period_ns, older_ns) = (100 * MS, 99 * MS);
    let early = Wave { low: 1.0, high: 40.0, half_ns: 6 * SECOND, offset_ns: older_ns };
    let late = Wave { offset_ns: 0, ..early };
    let window = Window { begin_ns: SECOND, end_ns: 6 * SECOND };
    let read = |wave: &Wave, offset_ns| {
        let sensor = Sensor { shows: Shows::Energy { range: 1e6 }, period_ns, offset_ns, noise: 0.0 };
        let samples = sensor.samples(wave, (period_ns, 10 * SECOND), (period_ns, 0), &mut SplitMix(1));
        (told(&sensor.channel(), &samples, window), wave.joules(window.end_ns) - wave.joules(window.begin_ns))
    };
    let (one, one_truth) = read(&late, 0);
    let (other, other_truth) = read(&early, older_ns);
    let (one_joules, other_joules) = (one.joules.unwrap(), other.joules.unwrap());
    assert!((one_joules - other_joules).abs() < 1e-6, "{one_joules} {other_joules}");
    assert!(other_truth > one_truth * 1.5, "{one_truth} {other_truth}");
    for truth in [one_truth, other_truth] {
        assert!(one.low.unwrap() <= truth && truth <= one.high.unwrap(), "{truth} {one:?}");
    }
}

#[test]
fn gauges_are_within_two_percent_as_a_rule() {
    for shows in [Shows::Power, Shows::MeanPower] {
        for noise in [0.0, 0.01] {
            for set_up in set_ups() {
                let mut outcome = outcome(2, shows, noise, set_up, STEEPEST, slow_half);
                let (median, most) = (outcome.error(0.5), outcome.error(0.95));
                outcome.widths.sort_by(f64::total_cmp);
                println!(
                    "{shows:?} ± {noise}, {set_up:?}: {} told, {} from {MANY} updates on, median {:.2} %, 95 of 100 within {:.2} %, interval missed {}, wide {:?}",
                    outcome.told(),
                    outcome.errors.len(),
                    median * 100.0,
                    most * 100.0,
                    outcome.missed,
                    outcome.widths.get(outcome.widths.len() / 2)
                );
                assert!(median <= NEAR && most <= 0.05, "{}", outcome.told());
                assert!(outcome.missed * 10 <= outcome.told(), "{}", outcome.told());
            }
        }
    }
}

#[test]
fn waves_that_are_too_fast_are_refused_or_held_by_the_interval() {
    for shows in [COUNTER, Shows::Power, Shows::MeanPower] {
        for noise in [0.0, 0.01] {
            for set_up in set_ups() {
                let outcome = outcome(3, shows, noise, set_up, STEEPEST, fast_half);
                println!(
                    "fast, {shows:?} ± {noise}, {set_up:?}: {} told, {} refused, interval missed {}",
                    outcome.told(),
                    outcome.refused,
                    outcome.missed
                );
                assert!(outcome.missed * 10 <= outcome.told(), "{}", outcome.told());
            }
        }
    }
}
