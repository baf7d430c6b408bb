//! Energy of a stretch of time, from counters or from power readings.
//!
//! ```text
//! readings ─┬─ counter ─▶ what had been used at each edge, and between which bounds ─┐
//!           └─ gauge ───▶ power over time, integrated, and how far off that may be ──┴─▶ joules, low, high
//! ```
//!
//! An update is a reading with a new value. Sensors are often slower than their reader, and only updates carry
//! information: with fewer than [`MIN_UPDATES`] there is no figure. Power before the run is reported separately and
//! is never subtracted from the figure itself.

mod choice;
mod classes;
mod counter;
mod gauge;
mod parts;
mod table;

use crate::channel::{Channel, Kind, ReasonCode, Sample, Value};
use crate::display;
use crate::phase::Phase;
use crate::totals::saturating_sum;

pub use choice::of_phases;
pub use classes::{ClassPower, ClassWindow, NoClassPower, WINDOWS_PER_CLASS, class_powers};
use counter::Counter;
use gauge::Gauge;
pub use parts::{cards, kinds};
pub use table::{Energy, PhaseEnergy};

/// With fewer updates in all windows together there is no figure.
pub const MIN_UPDATES: u64 = 5;

/// A power gauge must have been read during at least this share of the time; power between two readings that
/// are far apart is unknown.
const MIN_COVERAGE: f64 = 0.9;

/// A stretch of time, CLOCK_MONOTONIC ns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Begin.
    pub begin_ns: u64,
    /// End.
    pub end_ns: u64,
}

impl Window {
    fn ns(self) -> u64 {
        self.end_ns.saturating_sub(self.begin_ns)
    }
}

/// A phase whose energy is wanted: when it ran, and how many tokens it processed.
#[derive(Debug, Clone, Copy)]
pub struct Stretch<'a> {
    /// The phase.
    pub phase: Phase,
    /// Its repetitions.
    pub windows: &'a [Window],
    /// Prompt tokens or decode steps in all of them.
    pub tokens: u64,
    /// When nothing ran; the power of that time is reported beside the energy.
    pub idle: Option<Window>,
}

/// Energy of a window with its bounds, J.
#[derive(Debug, Clone, Copy)]
struct WindowEnergy {
    joules: f64,
    low: f64,
    high: f64,
}

/// Readings of a counter or of a gauge.
enum Series {
    Counter(Counter),
    Gauge(Gauge),
}

impl Series {
    fn new(channel: &Channel, samples: &[Sample]) -> Self {
        let readings = samples.iter().filter_map(|sample| {
            let (_, value) = sample.values.iter().find(|(id, _)| *id == channel.channel)?;
            Some((sample.t_ns, *value))
        });
        match channel.kind {
            Kind::Counter { range } => {
                // A counter that reported nonsense may have been reset; one that was not readable went on counting.
                let readings = readings.filter_map(|(t_ns, value)| match value {
                    Value::Present(joules) => Some((t_ns, Some(joules))),
                    Value::Absent(ReasonCode::Implausible) => Some((t_ns, None)),
                    Value::Absent(_) => None,
                });
                Self::Counter(Counter::new(readings, range, channel.update_ns))
            }
            Kind::Gauge | Kind::Rate { .. } | Kind::Sum { .. } => {
                Self::Gauge(Gauge::new(readings.filter_map(|(t_ns, value)| Some((t_ns, value.get()?)))))
            }
        }
    }

    fn updates(&self, window: Window) -> u64 {
        match self {
            Self::Counter(counter) => counter.updates(window),
            Self::Gauge(gauge) => gauge.updates(window),
        }
    }

    fn covered_ns(&self, window: Window) -> u64 {
        match self {
            Self::Counter(counter) => counter.covered_ns(window),
            Self::Gauge(gauge) => gauge.covered_ns(window),
        }
    }

    fn energy(&self, window: Window) -> Option<WindowEnergy> {
        match self {
            Self::Counter(counter) => counter.energy(window),
            Self::Gauge(gauge) => gauge.energy(window),
        }
    }
}

/// How much a counter counted in some windows, or the integral of a gauge over them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Total {
    /// In the channel's unit; for gauges, times seconds.
    pub amount: f64,
    /// At least.
    pub low: f64,
    /// At most.
    pub high: f64,
}

/// Why readings make no figure.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum NoTotal {
    /// Too few new values were read.
    #[error("{0} new readings in the phase, at least {MIN_UPDATES} are needed")]
    FewUpdates(u64),
    /// The sensor was read during this share of the time only, 0 to 1.
    #[error("the sensor was read during {} of the phase only", display::rough_share(*.0))]
    Coverage(f64),
    /// An end of a window is not covered.
    #[error("readings do not reach both ends of every repetition")]
    Ends,
}

/// What `channel` counted in all windows together.
///
/// # Errors
/// Why that is not known.
pub fn total(channel: &Channel, samples: &[Sample], windows: &[Window]) -> Result<Total, NoTotal> {
    let series = Series::new(channel, samples);
    Observed::of(&series, windows).total(&series)
}

/// What is known of some windows from a series of readings.
struct Observed {
    updates: u64,
    coverage: Option<f64>,
    parts: Option<Vec<WindowEnergy>>,
}

impl Observed {
    fn of(series: &Series, windows: &[Window]) -> Self {
        let windows = || windows.iter().copied();
        let total_ns = saturating_sum(windows().map(Window::ns));
        let covered_ns = saturating_sum(windows().map(|window| series.covered_ns(window)));
        Self {
            updates: windows().map(|window| series.updates(window)).sum(),
            coverage: (total_ns > 0).then(|| covered_ns as f64 / total_ns as f64),
            parts: windows().map(|window| series.energy(window)).collect(),
        }
    }

    fn total(self, series: &Series) -> Result<Total, NoTotal> {
        let Self { updates, coverage, parts } = self;
        if updates < MIN_UPDATES {
            return Err(NoTotal::FewUpdates(updates));
        }
        if matches!(series, Series::Gauge(_)) && coverage < Some(MIN_COVERAGE) {
            return Err(NoTotal::Coverage(coverage.unwrap_or(0.0)));
        }
        let parts = parts.ok_or(NoTotal::Ends)?;
        Ok(parts.iter().fold(Total { amount: 0.0, low: 0.0, high: 0.0 }, |sum, part| Total {
            amount: sum.amount + part.joules,
            low: sum.low + part.low,
            high: sum.high + part.high,
        }))
    }
}

/// Energy of a stretch, read from `channel`.
pub fn phase_energy(stretch: &Stretch<'_>, channel: &Channel, samples: &[Sample]) -> PhaseEnergy {
    let series = Series::new(channel, samples);
    let total_ns = saturating_sum(stretch.windows.iter().copied().map(Window::ns));
    let baseline_watts = stretch
        .idle
        .filter(|&idle| series.updates(idle) >= MIN_UPDATES)
        .and_then(|idle| Some(series.energy(idle)?.joules / (idle.ns() as f64 / 1e9)));
    let seen = Observed::of(&series, stretch.windows);
    let (updates, coverage) = (seen.updates, seen.coverage);
    let found = seen.total(&series);
    let part = found.as_ref().ok();
    PhaseEnergy {
        phase: stretch.phase,
        joules: part.map(|part| part.amount),
        low: part.map(|part| part.low),
        high: part.map(|part| part.high),
        tokens: stretch.tokens,
        joules_per_token: part.and_then(|part| per_token(part.amount, stretch.tokens)),
        joules_per_token_interval: part.and_then(|part| {
            Some([per_token(part.low, stretch.tokens)?, per_token(part.high, stretch.tokens)?])
        }),
        above_baseline_joules: part
            .zip(baseline_watts)
            .map(|(part, watts)| part.amount - watts * total_ns as f64 / 1e9),
        baseline_watts,
        source: Some(channel.id.clone()),
        scope: Some(channel.scope.clone()),
        class: channel.class,
        updates,
        coverage,
        reason: found.err().map(|none| none.to_string()),
        reason_code: None,
    }
}

fn per_token(joules: f64, tokens: u64) -> Option<f64> {
    (tokens > 0).then(|| joules / tokens as f64)
}
