//! Whether the machine was the same before and after a run, and the same as in earlier runs.
//!
//! The roofs are measured in two looks, one before and one after the measured repetitions, with five samples each.
//! A figure has changed if the ranges of the two looks do not overlap and their medians differ by [`MIN_CHANGE`] or
//! more. If nothing changes, ten independent samples fall into two separate ranges of five by chance in
//! 2 · 5! · 5! / 10! = 0.8 % of runs (the exact rank test of Wilcoxon 1945 at its extreme), and less often so far apart.
//! Against earlier runs the rule is the same: the range of all samples of this run against that of all earlier ones.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::channel::Unit;
use crate::display;
use crate::roofline::{RoofLook, Roofs};
use crate::stats::{Estimate, median};

/// Least difference of two medians, as a share of the smaller one, that is called a change.
pub const MIN_CHANGE: f64 = 0.1;

/// Least difference of the shares of time that the hypervisor took, which have no range.
pub const MIN_STEAL_CHANGE: f64 = 0.05;

/// A figure of the machine that changed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Which figure.
    pub figure: MachineFigure,
    /// Between which times.
    pub since: Since,
    /// What it was, in the figure's unit.
    pub from: f64,
    /// What it became.
    pub to: f64,
}

/// The figures of a machine that are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MachineFigure {
    /// Read bandwidth of memory, B/s.
    ReadBandwidth,
    /// f32 multiply-adds, FLOP/s.
    F32,
    /// int8 dot products, op/s.
    Int8,
    /// Clock of the CPUs under load, Hz.
    Clock,
    /// Share of the time of all CPUs that the hypervisor gave to others, 0 to 1.
    Steal,
    /// Another one, of a newer build.
    #[serde(other)]
    Other,
}

impl MachineFigure {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::ReadBandwidth => "reading memory",
            Self::F32 => "f32 arithmetic",
            Self::Int8 => "int8 arithmetic",
            Self::Clock => "the clock",
            Self::Steal => "what the host takes away",
            Self::Other => "a figure of the machine",
        }
    }

    /// Its unit; `ratio` for a share.
    pub fn unit(self) -> &'static str {
        match self {
            Self::ReadBandwidth => "B/s",
            Self::F32 => "FLOP/s",
            Self::Int8 => "op/s",
            Self::Clock => "Hz",
            Self::Steal => "ratio",
            Self::Other => "",
        }
    }

    /// A value as people read it.
    fn show(self, value: f64) -> String {
        match self {
            Self::ReadBandwidth => display::bytes_per_second(value),
            Self::F32 => display::flops_per_second(value),
            Self::Int8 => display::ops_per_second(value),
            Self::Clock => display::value(value, Unit::Hertz),
            Self::Steal => display::rough_share(value),
            Self::Other => display::significant(value),
        }
    }
}

/// Between which times a figure changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Since {
    /// From before the measured repetitions to after them.
    BeginOfRun,
    /// From earlier runs to this one.
    EarlierRuns,
}

impl Change {
    /// How large it is, as a share of the smaller of the two; of the machine for [`MachineFigure::Steal`].
    pub fn size(&self) -> f64 {
        if self.figure == MachineFigure::Steal {
            return (self.to - self.from).abs();
        }
        relative(self.from, self.to)
    }
}

impl fmt::Display for Change {
    /// `reading memory fell from 37.1 GB/s to 25.0 GB/s during the run`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (figure, verb) = (self.figure, if self.to < self.from { "fell" } else { "rose" });
        write!(f, "{} {verb} from {} to {}", figure.name(), figure.show(self.from), figure.show(self.to))?;
        match self.since {
            Since::BeginOfRun => write!(f, " during the run"),
            Since::EarlierRuns => write!(f, " since earlier runs"),
        }
    }
}

/// What changed about the machine, the largest change first. `earlier` are roofs of earlier runs on this machine; those
/// with other threads or another instruction set are not comparable and are left out. Empty where nothing changed or
/// nothing is known.
pub fn changes(roofs: &Roofs, earlier: &[Roofs]) -> Vec<Change> {
    let mut found: Vec<Change> = Vec::new();
    if let (Some(before), Some(after)) = (&roofs.before, &roofs.after) {
        found.extend(during(before, after));
    }
    let alike = |other: &&Roofs| other.threads == roofs.threads && other.isa == roofs.isa;
    let earlier: Vec<&Roofs> = earlier.iter().filter(alike).collect();
    for change in since_earlier(roofs, &earlier) {
        // What changed during the run is said once.
        if !found.iter().any(|known| known.figure == change.figure) {
            found.push(change);
        }
    }
    found.sort_by(|a, b| b.size().total_cmp(&a.size()));
    found
}

fn during(before: &RoofLook, after: &RoofLook) -> Vec<Change> {
    let since = Since::BeginOfRun;
    let pairs = [
        (MachineFigure::ReadBandwidth, before.read_bytes_per_s, after.read_bytes_per_s),
        (MachineFigure::F32, before.f32_flops_per_s, after.f32_flops_per_s),
        (MachineFigure::Int8, before.int8_ops_per_s, after.int8_ops_per_s),
        (MachineFigure::Clock, before.clock_hz, after.clock_hz),
    ];
    let ranges = pairs.into_iter().filter_map(|(figure, before, after)| {
        let (before, after) = (before?, after?);
        is_other(&before, &after).then_some(Change { figure, since, from: before.median, to: after.median })
    });
    let steal = before.steal.zip(after.steal).filter(|(from, to)| (to - from).abs() >= MIN_STEAL_CHANGE);
    let steal = steal.map(|(from, to)| Change { figure: MachineFigure::Steal, since, from, to });
    ranges.chain(steal).collect()
}

fn since_earlier(roofs: &Roofs, earlier: &[&Roofs]) -> Vec<Change> {
    let of = |roofs: &Roofs, figure| match figure {
        MachineFigure::ReadBandwidth => roofs.read_bytes_per_s,
        MachineFigure::F32 => roofs.f32_flops_per_s,
        MachineFigure::Int8 => roofs.int8_ops_per_s,
        MachineFigure::Clock | MachineFigure::Steal | MachineFigure::Other => None,
    };
    let change = |figure| {
        let before = union(earlier.iter().filter_map(|roofs| of(roofs, figure)))?;
        let now = of(roofs, figure)?;
        let (since, from, to) = (Since::EarlierRuns, before.median, now.median);
        is_other(&before, &now).then_some(Change { figure, since, from, to })
    };
    [MachineFigure::ReadBandwidth, MachineFigure::F32, MachineFigure::Int8]
        .into_iter()
        .filter_map(change)
        .collect()
}

/// The range of all samples of earlier runs, and the median of their medians.
fn union(ranges: impl Iterator<Item = Estimate>) -> Option<Estimate> {
    let ranges: Vec<Estimate> = ranges.collect();
    let medians: Vec<f64> = ranges.iter().map(|range| range.median).collect();
    Some(Estimate {
        median: median(&medians)?,
        low: ranges.iter().map(|range| range.low).reduce(f64::min)?,
        high: ranges.iter().map(|range| range.high).reduce(f64::max)?,
        level: None,
        count: ranges.iter().map(|range| range.count).fold(0, u64::saturating_add),
    })
}

/// Whether two ranges are apart, and their medians far enough. One value alone has no range to be outside of.
fn is_other(a: &Estimate, b: &Estimate) -> bool {
    let are_apart = a.high < b.low || b.high < a.low;
    a.count > 1 && b.count > 1 && are_apart && relative(a.median, b.median) >= MIN_CHANGE
}

/// The difference as a share of the smaller one; 0 unless both are above 0.
fn relative(a: f64, b: f64) -> f64 {
    let (small, large) = (a.min(b), a.max(b));
    if small > 0.0 { large / small - 1.0 } else { 0.0 }
}
