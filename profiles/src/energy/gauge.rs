//! Power readings.
//!
//! They are integrated by trapezoids, cut at the edges of the window. What the power did between two readings
//! is unknown, so the sum has an uncertainty: the smaller of two estimates.
//!
//! - Readings that scatter miss what happens between them independently of each other: the root of the sum of
//!   the squares of (step × time since the step before).
//! - Readings that follow a pattern, which may be a slow image of something much faster than they are, miss at
//!   most what the pattern holds: the range of the running sum of (power − mean).

use super::{Window, WindowEnergy};

/// Readings that are further apart than so many of the usual distances have a gap between them.
const GAP: u64 = 4;

/// Both measures are roughly standard deviations. This multiple is a 90 % interval; with few steps a larger one is. Found by trials with known power
/// (`tests/energy/trials.rs`).
const SURE: f64 = 2.0;
const FEW: f64 = 4.0;

/// The readings of one gauge.
pub(super) struct Gauge {
    readings: Vec<Reading>,
    /// Readings this far apart leave a gap, ns.
    gap_ns: u64,
}

#[derive(Debug, Clone, Copy)]
struct Reading {
    t_ns: u64,
    watts: f64,
    updated: bool,
}

impl Gauge {
    pub(super) fn new(values: impl Iterator<Item = (u64, f64)>) -> Self {
        let mut readings: Vec<Reading> = Vec::new();
        for (t_ns, watts) in values {
            let last = readings.last();
            if last.is_some_and(|last| last.t_ns >= t_ns) {
                continue;
            }
            let updated = last.is_some_and(|last| last.watts.to_bits() != watts.to_bits());
            readings.push(Reading { t_ns, watts, updated });
        }
        let mut apart: Vec<u64> = readings.windows(2).map(|pair| pair[1].t_ns - pair[0].t_ns).collect();
        let usual = crate::stats::percentile(&mut apart, 0.5).unwrap_or(0);
        Self { readings, gap_ns: usual.saturating_mul(GAP) }
    }

    pub(super) fn updates(&self, window: Window) -> u64 {
        self.inside(window).iter().filter(|reading| reading.updated).count() as u64
    }

    /// Time of the window that lies between two readings near each other.
    pub(super) fn covered_ns(&self, window: Window) -> u64 {
        let near = self.readings.windows(2).filter(|pair| pair[1].t_ns - pair[0].t_ns <= self.gap_ns);
        near.map(|pair| pair[1].t_ns.min(window.end_ns).saturating_sub(pair[0].t_ns.max(window.begin_ns)))
            .sum()
    }

    /// `None` where the readings do not reach both edges.
    pub(super) fn energy(&self, window: Window) -> Option<WindowEnergy> {
        let edge = |t_ns| Some((t_ns, self.at(t_ns)?));
        let mut points = vec![edge(window.begin_ns)?];
        points.extend(self.inside(window).iter().map(|reading| (reading.t_ns, reading.watts)));
        points.push(edge(window.end_ns)?);
        let trapezoid = |pair: &[(u64, f64)]| {
            let seconds = pair[1].0.saturating_sub(pair[0].0) as f64 / 1e9;
            (seconds, f64::midpoint(pair[0].1, pair[1].1) * seconds)
        };
        let joules: f64 = points.windows(2).map(|pair| trapezoid(pair).1).sum();
        let seconds = window.ns() as f64 / 1e9;
        let mean = if seconds > 0.0 { joules / seconds } else { 0.0 };
        let (mut sum, mut least, mut most) = (0.0_f64, 0.0_f64, 0.0_f64);
        for pair in points.windows(2) {
            let (seconds, part) = trapezoid(pair);
            sum += part - mean * seconds;
            (least, most) = (least.min(sum), most.max(sum));
        }
        let steps = self.updates(window).max(1) as f64;
        let doubt = SURE * (1.0 + FEW / steps) * (most - least).min(self.scatter(window));
        Some(WindowEnergy { joules, low: (joules - doubt).max(0.0), high: joules + doubt })
    }

    /// Readings in the window, the begin excluded.
    fn inside(&self, window: Window) -> &[Reading] {
        let first = self.readings.partition_point(|reading| reading.t_ns <= window.begin_ns);
        let end = self.readings.partition_point(|reading| reading.t_ns <= window.end_ns);
        self.readings.get(first..end).unwrap_or_default()
    }

    fn at(&self, t_ns: u64) -> Option<f64> {
        let after = self.readings.partition_point(|reading| reading.t_ns < t_ns);
        let next = self.readings.get(after)?;
        if next.t_ns == t_ns {
            return Some(next.watts);
        }
        let before = self.readings.get(after.checked_sub(1)?)?;
        let share = (t_ns - before.t_ns) as f64 / (next.t_ns - before.t_ns) as f64;
        Some(before.watts + (next.watts - before.watts) * share)
    }

    /// The uncertainty of readings that are independent, J: over the steps in the window and the ones around it.
    fn scatter(&self, window: Window) -> f64 {
        let mut squares = 0.0;
        let mut stepped_ns = self.readings.first().map_or(0, |first| first.t_ns);
        let mut before = None;
        for reading in &self.readings {
            if let Some(before) = before.replace(reading.watts)
                && reading.updated
            {
                if reading.t_ns > window.begin_ns {
                    let seconds = (reading.t_ns - stepped_ns) as f64 / 1e9;
                    squares += ((reading.watts - before) * seconds).powi(2);
                }
                if reading.t_ns > window.end_ns {
                    break;
                }
                stepped_ns = reading.t_ns;
            }
        }
        squares.sqrt()
    }
}
