//! A running total of energy.
//!
//! A reading shows the value of the sensor's last update, whose time is not reported: it lies between the reading
//! before and this one. So a value is placed in the middle of that time. Between two updates power is taken to be constant, or, where the power on both sides differs and the
//! energy between fits, to step once from the one to the other: phases of a run begin and end with such steps.
//!
//! ```text
//!            ╱   the line from the right, continued
//!           ╱
//!      ╭───╯  ◀─ they meet where the power stepped
//!  ────╯
//! ```
//!
//! Accuracy: readings determine the time of an update only to within a time d, which is the time between two
//! readings, or the sensor's period where that is known and shorter. A load that steps d later, watched by a
//! sensor that is d fresher, reads the same; so no estimate can be nearer than half of d times the power that
//! changed between the edges, and this one is not farther off. From 50 updates on that is within 2 % as long as
//! high power is no more than 3 times low power where only readings are known, 1 + 2 × (longer of both periods) ÷ d
//! times otherwise: 21 for RAPL read at 100 Hz. Where power changes more, the bounds are wider (`tests/energy/trials.rs`).
//!
//! The bounds do not depend on this model. Energy never runs backwards, so what had been used at a time lies between
//! what was read before it, and the first value that the sensor must have made after it.

use super::{Window, WindowEnergy};
use crate::channel::difference;

/// A sensor whose value does not change for this many of its usual periods reports that nothing is used.
const STILL: u64 = 2;

/// Updates on each side whose times narrow down the time of one.
const NEIGHBOURS: usize = 3;

/// A value that was read.
#[derive(Debug, Clone, Copy)]
struct Reading {
    t_ns: u64,
    /// The sensor made this value after this time,
    after_ns: u64,
    /// and not after this one.
    before_ns: u64,
    /// Used since the first reading.
    joules: f64,
    updated: bool,
}

/// A value and the time that it belongs to.
#[derive(Debug, Clone, Copy)]
struct Knot {
    t_ns: f64,
    joules: f64,
}

/// Readings that can be connected with each other.
#[derive(Debug, Default)]
struct Stretch {
    readings: Vec<Reading>,
    knots: Vec<Knot>,
}

/// The readings of one counter, apart wherever it was reset.
pub(super) struct Counter {
    stretches: Vec<Stretch>,
}

impl Counter {
    /// Readings on both sides of one without a value are not connected. `range` is where the counter wraps,
    /// `update_ns` how often the sensor makes a value, where that is known.
    pub(super) fn new(
        readings: impl Iterator<Item = (u64, Option<f64>)>,
        range: Option<f64>,
        update_ns: Option<u64>,
    ) -> Self {
        let mut stretches: Vec<Stretch> = Vec::new();
        let mut last: Option<(u64, f64, f64)> = None;
        for (t_ns, value) in readings {
            let Some(value) = value else {
                last = None;
                continue;
            };
            // The oldest that a value read now can be.
            let oldest_ns = update_ns.map_or(0, |update| t_ns.saturating_sub(update));
            let step = last.and_then(|(before_ns, before, joules)| {
                let step = difference(before, value, range).filter(|_| t_ns > before_ns)?;
                let updated = value.to_bits() != before.to_bits();
                Some(Reading {
                    t_ns,
                    after_ns: before_ns.max(oldest_ns),
                    before_ns: t_ns,
                    joules: joules + step,
                    updated,
                })
            });
            let reading = if let (Some(reading), Some(stretch)) = (step, stretches.last_mut()) {
                stretch.readings.push(reading);
                reading
            } else {
                // The first, or a counter that was reset: what was before cannot be connected with this.
                let after_ns = if update_ns.is_some() { oldest_ns } else { t_ns };
                let reading = Reading { t_ns, after_ns, before_ns: t_ns, joules: 0.0, updated: false };
                stretches.push(Stretch { readings: vec![reading], knots: Vec::new() });
                reading
            };
            last = Some((t_ns, value, reading.joules));
        }
        stretches.iter_mut().for_each(Stretch::place_knots);
        Self { stretches }
    }

    pub(super) fn updates(&self, window: Window) -> u64 {
        let readings = self.stretches.iter().flat_map(|stretch| &stretch.readings);
        let inside = |reading: &&Reading| reading.t_ns > window.begin_ns && reading.t_ns <= window.end_ns;
        readings.filter(inside).filter(|reading| reading.updated).count() as u64
    }

    /// Time between the first and the last reading that are connected, inside the window.
    pub(super) fn covered_ns(&self, window: Window) -> u64 {
        let covered = |stretch: &Stretch| {
            let (Some(first), Some(last)) = (stretch.readings.first(), stretch.readings.last()) else {
                return 0;
            };
            last.t_ns.min(window.end_ns).saturating_sub(first.t_ns.max(window.begin_ns))
        };
        self.stretches.iter().map(covered).max().unwrap_or(0)
    }

    /// `None` where no connected readings reach both edges.
    pub(super) fn energy(&self, window: Window) -> Option<WindowEnergy> {
        let stretch = self.stretches.iter().find(|stretch| stretch.holds(window))?;
        let (begin_low, begin_high) = stretch.bounds(window.begin_ns)?;
        let (end_low, end_high) = stretch.bounds(window.end_ns)?;
        let begin = stretch.at(window.begin_ns)?.clamp(begin_low, begin_high);
        let end = stretch.at(window.end_ns)?.clamp(end_low, end_high);
        Some(WindowEnergy {
            joules: end - begin,
            low: (end_low - begin_high).max(0.0),
            high: end_high - begin_low,
        })
    }
}

impl Stretch {
    fn holds(&self, window: Window) -> bool {
        let (first, last) = (self.readings.first(), self.readings.last());
        first.is_some_and(|first| first.t_ns <= window.begin_ns)
            && last.is_some_and(|last| last.t_ns >= window.end_ns)
    }

    fn place_knots(&mut self) {
        let usual_ns = self.usual_ns(|reading| reading.updated);
        self.narrow(usual_ns);
        let mut moved_ns = None;
        for reading in &self.readings {
            let stands_still = match moved_ns {
                Some(moved) => reading.t_ns.saturating_sub(moved) > STILL * usual_ns,
                None => true,
            };
            if reading.updated {
                moved_ns = Some(reading.t_ns);
            }
            if reading.updated || stands_still {
                let t_ns = f64::midpoint(reading.after_ns as f64, reading.before_ns as f64);
                self.knots.push(Knot { t_ns, joules: reading.joules });
            }
        }
    }

    /// A sensor makes its values at regular times. Where it is read more often than that, each update says
    /// something about the times of its neighbours: they lie whole periods away.
    fn narrow(&mut self, period_ns: u64) {
        if period_ns < self.usual_ns(|_| true) * 3 / 2 {
            return;
        }
        let updates: Vec<usize> = (0..self.readings.len()).filter(|&at| self.readings[at].updated).collect();
        let between = |at: usize| (self.readings[at].after_ns as i64, self.readings[at].t_ns as i64);
        let mut narrowed = Vec::with_capacity(updates.len());
        for (index, &at) in updates.iter().enumerate() {
            let (mut after, mut before) = between(at);
            let first = index.saturating_sub(NEIGHBOURS);
            for (offset, &near) in updates.iter().skip(first).take(2 * NEIGHBOURS + 1).enumerate() {
                let periods = (first + offset) as i64 - index as i64;
                let shift = periods.saturating_mul(period_ns as i64);
                let (low, high) = between(near);
                let (low, high) = (after.max(low - shift), before.min(high - shift));
                // Otherwise the sensor skipped an update in between.
                if low < high {
                    (after, before) = (low, high);
                }
            }
            narrowed.push((at, after as u64, before as u64));
        }
        for (at, after_ns, before_ns) in narrowed {
            self.readings[at].after_ns = after_ns;
            self.readings[at].before_ns = before_ns;
        }
    }

    /// Median time between two readings that are wanted, ns.
    fn usual_ns(&self, is_wanted: impl Fn(&Reading) -> bool) -> u64 {
        let times: Vec<u64> = self.readings.iter().filter(|r| is_wanted(r)).map(|r| r.t_ns).collect();
        let mut apart: Vec<u64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        crate::stats::percentile(&mut apart, 0.5).unwrap_or(0)
    }

    /// Used at least, and at most, until a time.
    fn bounds(&self, t_ns: u64) -> Option<(f64, f64)> {
        let after = self.readings.partition_point(|reading| reading.t_ns <= t_ns);
        let low = self.readings.get(after.checked_sub(1)?)?.joules;
        let made_later = |reading: &&Reading| reading.updated && reading.after_ns >= t_ns;
        let high = match self.readings.get(after..)?.iter().find(made_later) {
            Some(reading) => reading.joules,
            // The record ends before that: then it is at most one more of the largest steps.
            None => self.readings.last()?.joules + self.largest_step(),
        };
        Some((low, high))
    }

    fn largest_step(&self) -> f64 {
        let steps = self.readings.windows(2).map(|pair| pair[1].joules - pair[0].joules);
        steps.fold(0.0, f64::max)
    }

    /// Used until a time, most likely.
    fn at(&self, t_ns: u64) -> Option<f64> {
        let t_ns = t_ns as f64;
        let after = self.knots.partition_point(|knot| knot.t_ns <= t_ns);
        let slope_of = |left: Option<&Knot>, right: Option<&Knot>| Some(slope(left?, right?));
        let at = |index: Option<usize>| self.knots.get(index?);
        let (before, next) = (at(after.checked_sub(1)), at(Some(after)));
        let (Some(before), Some(next)) = (before, next) else {
            // Outside of all knots by less than one step: the nearest power goes on.
            let (edge, other) = match before {
                Some(last) => (last, at(after.checked_sub(2))),
                None => (next?, at(Some(1))),
            };
            let slope = other.map_or(0.0, |other| slope(edge, other));
            return Some(edge.joules + slope * (t_ns - edge.t_ns));
        };
        let left = slope_of(at(after.checked_sub(2)), Some(before));
        let right = slope_of(Some(next), at(Some(after + 1)));
        let here = slope(before, next);
        if let (Some(left), Some(right)) = (left, right)
            && (left - here) * (here - right) > 0.0
        {
            // Power left of the step until it meets power right of it.
            let rise = next.joules - before.joules;
            let step_ns = (rise + left * before.t_ns - right * next.t_ns) / (left - right);
            return Some(if t_ns < step_ns {
                before.joules + left * (t_ns - before.t_ns)
            } else {
                next.joules - right * (next.t_ns - t_ns)
            });
        }
        Some(before.joules + here * (t_ns - before.t_ns))
    }
}

/// J per ns between two knots.
fn slope(a: &Knot, b: &Knot) -> f64 {
    let apart = b.t_ns - a.t_ns;
    if apart == 0.0 { 0.0 } else { (b.joules - a.joules) / apart }
}
