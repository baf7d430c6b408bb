//! Energy of a stretch of time, from counters or from power readings.
//!
//! A counter's value at an edge is interpolated between the readings around it; a power gauge is integrated
//! by trapezoids, cut at the edges the same way. An update is a new value that was seen: sensors are often
//! slower than whoever reads them, and it is updates that carry information.

use crate::channel::{Channel, Kind, Sample, difference};
use crate::op::Phase;
use crate::result::PhaseEnergy;

/// Fewer updates in all windows together give no figure.
pub const LEAST_UPDATES: u64 = 5;

/// A stretch of time, CLOCK_MONOTONIC ns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Begin.
    pub begin_ns: u64,
    /// End.
    pub end_ns: u64,
}

/// Energy so far at the times of the readings, J.
struct Series {
    points: Vec<Point>,
}

#[derive(Clone, Copy)]
struct Point {
    t_ns: u64,
    joules: f64,
    /// The sensor showed another value than at the reading before.
    updated: bool,
}

/// Energy of a phase that ran in `windows`, read from `channel`.
pub fn phase_energy(
    phase: Phase,
    windows: &[Window],
    idle: Option<Window>,
    channel: &Channel,
    samples: &[Sample],
) -> PhaseEnergy {
    let series = Series::new(channel, samples);
    let updates: u64 = windows.iter().map(|window| series.updates(*window)).sum();
    let total_ns: u64 = windows.iter().map(|window| window.end_ns.saturating_sub(window.begin_ns)).sum();
    let covered_ns: u64 = windows.iter().map(|window| series.covered_ns(*window)).sum();
    let baseline_watts = idle.filter(|idle| series.updates(*idle) >= LEAST_UPDATES).and_then(|idle| {
        let (joules, _) = series.energy(idle)?;
        Some(joules / (idle.end_ns.saturating_sub(idle.begin_ns) as f64 / 1e9))
    });
    let parts: Option<Vec<_>> = windows.iter().map(|window| series.energy(*window)).collect();
    let enough = updates >= LEAST_UPDATES;
    let sum = parts.filter(|parts| enough && !parts.is_empty()).map(|parts| {
        parts.iter().fold((0.0, 0.0), |(joules, doubt), part| (joules + part.0, doubt + part.1))
    });
    let reason = match (sum, enough) {
        (Some(_), _) => None,
        (None, false) => {
            Some(format!("{updates} new readings in the phase, at least {LEAST_UPDATES} are needed"))
        }
        (None, true) => Some("readings do not reach both ends of every repetition".to_owned()),
    };
    PhaseEnergy {
        phase,
        joules: sum.map(|sum| sum.0),
        low: sum.map(|(joules, doubt)| (joules - doubt).max(0.0)),
        high: sum.map(|(joules, doubt)| joules + doubt),
        baseline_watts,
        source: Some(channel.id.clone()),
        scope: Some(channel.scope.clone()),
        class: channel.class,
        updates,
        coverage: (total_ns > 0).then(|| covered_ns as f64 / total_ns as f64),
        reason,
    }
}

impl Series {
    fn new(channel: &Channel, samples: &[Sample]) -> Self {
        let values = samples.iter().filter_map(|sample| {
            let (_, value) = sample.values.iter().find(|(id, _)| *id == channel.channel)?;
            Some((sample.t_ns, value.get()?))
        });
        let mut points: Vec<Point> = Vec::new();
        let mut last = None;
        for (t_ns, value) in values {
            let Some((before_ns, before)) = last.replace((t_ns, value)) else {
                points.push(Point { t_ns, joules: 0.0, updated: false });
                continue;
            };
            let elapsed_ns = t_ns.saturating_sub(before_ns);
            let step = match channel.kind {
                Kind::Counter { range } => difference(before, value, range),
                Kind::Gauge | Kind::Rate { .. } => {
                    Some(f64::midpoint(before, value) * elapsed_ns as f64 / 1e9)
                }
            };
            let sum = points.last().map_or(0.0, |point| point.joules);
            match step {
                Some(step) => {
                    // An update is any other number, however near.
                    let updated = value.to_bits() != before.to_bits();
                    points.push(Point { t_ns, joules: sum + step, updated });
                }
                // A counter that was reset: what was before cannot be connected with what comes after.
                None => points = vec![Point { t_ns, joules: 0.0, updated: false }],
            }
        }
        Self { points }
    }

    fn updates(&self, window: Window) -> u64 {
        let inside = |point: &&Point| point.t_ns > window.begin_ns && point.t_ns <= window.end_ns;
        self.points.iter().filter(inside).filter(|point| point.updated).count() as u64
    }

    fn covered_ns(&self, window: Window) -> u64 {
        let (Some(first), Some(last)) = (self.points.first(), self.points.last()) else { return 0 };
        last.t_ns.min(window.end_ns).saturating_sub(first.t_ns.max(window.begin_ns))
    }

    /// Energy of the window and how far off it can be: what the sensor moved in the readings that the edges
    /// fall between. `None` where the readings do not reach both edges.
    fn energy(&self, window: Window) -> Option<(f64, f64)> {
        let (begin, begin_doubt) = self.at(window.begin_ns)?;
        let (end, end_doubt) = self.at(window.end_ns)?;
        Some((end - begin, begin_doubt + end_doubt))
    }

    /// Energy so far at a time, between the sensor's updates around it, and the step between them.
    fn at(&self, t_ns: u64) -> Option<(f64, f64)> {
        let after = self.points.partition_point(|point| point.t_ns < t_ns);
        let next = self.points[after..].iter().find(|point| point.updated || point.t_ns == t_ns);
        let next = next.or_else(|| self.points.get(after))?;
        let before = self.points[..after].iter().rposition(|point| point.updated).unwrap_or(0);
        let before = self.points.get(before)?;
        if before.t_ns > t_ns {
            return None;
        }
        let step = next.joules - before.joules;
        let span = next.t_ns.saturating_sub(before.t_ns);
        let share = if span == 0 { 0.0 } else { (t_ns - before.t_ns) as f64 / span as f64 };
        Some((before.joules + step * share, step))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::{Class, Quantity, Scope, Unit, Value};

    const MS: u64 = 1_000_000;

    fn channel(kind: Kind) -> Channel {
        Channel {
            channel: 3,
            id: "energy.package-0".to_owned(),
            quantity: Quantity::Energy,
            unit: Unit::Joules,
            scope: Scope::Package,
            class: Class::Measured,
            kind,
            source: String::new(),
            period_ns: None,
            reason: None,
            remedy: None,
        }
    }

    fn samples(every_ms: u64, until_ms: u64, value: impl Fn(u64) -> f64) -> Vec<Sample> {
        (0..=until_ms / every_ms)
            .map(|index| {
                let t_ms = index * every_ms;
                Sample { t_ns: t_ms * MS, cost_ns: 0, values: vec![(3, Value::Present(value(t_ms)))] }
            })
            .collect()
    }

    fn windows(list: &[(u64, u64)]) -> Vec<Window> {
        list.iter().map(|&(begin, end)| Window { begin_ns: begin * MS, end_ns: end * MS }).collect()
    }

    #[test]
    fn a_counter_with_a_wrap_and_two_windows() {
        // 10 W, a range of 20 J, read every 10 ms for 6 s.
        let readings = samples(10, 6_000, |ms| (ms as f64 / 100.0) % 20.0);
        let counter = channel(Kind::Counter { range: Some(20.0) });
        let windows = windows(&[(1_005, 2_005), (3_333, 4_333)]);
        let energy = phase_energy(Phase::Decode, &windows, None, &counter, &readings);
        assert!((energy.joules.unwrap() - 20.0).abs() < 1e-6, "{energy:?}");
        assert_eq!(energy.coverage, Some(1.0));
        assert!(energy.low <= energy.joules && energy.joules <= energy.high);
        assert_eq!(energy.updates, 200);
    }

    #[test]
    fn a_gauge_is_integrated_and_the_idle_power_kept_apart() {
        let readings = samples(100, 10_000, |ms| {
            if ms < 4_000 { 2.0 + (ms % 200) as f64 / 1e4 } else { 8.0 + (ms % 200) as f64 / 1e4 }
        });
        let idle = Window { begin_ns: 0, end_ns: 3_500 * MS };
        let energy = phase_energy(
            Phase::Decode,
            &windows(&[(5_000, 9_000)]),
            Some(idle),
            &channel(Kind::Gauge),
            &readings,
        );
        assert!((energy.joules.unwrap() - 32.0).abs() < 0.1, "{energy:?}");
        assert!((energy.baseline_watts.unwrap() - 2.0).abs() < 0.02);
    }

    #[test]
    fn few_updates_or_a_silent_sensor_give_no_figure() {
        let slow = samples(10, 5_000, |ms| (ms / 1_000) as f64);
        let counter = channel(Kind::Counter { range: None });
        let energy = phase_energy(Phase::Decode, &windows(&[(1_500, 3_500)]), None, &counter, &slow);
        assert_eq!((energy.joules, energy.updates), (None, 2));
        assert!(energy.reason.unwrap().contains("at least 5"));
        let none = phase_energy(Phase::Decode, &windows(&[(0, 10)]), None, &counter, &[]);
        assert_eq!((none.joules, none.coverage), (None, Some(0.0)));
    }

    #[test]
    fn readings_that_end_early_give_no_figure() {
        let readings = samples(10, 2_000, |ms| ms as f64);
        let counter = channel(Kind::Counter { range: None });
        let energy = phase_energy(Phase::Decode, &windows(&[(1_000, 3_000)]), None, &counter, &readings);
        assert_eq!(energy.joules, None);
        assert_eq!(energy.coverage, Some(0.5));
    }
}
