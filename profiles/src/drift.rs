//! Whether the machine was the same before and after a run, and the same as in earlier runs.
//!
//! The roofs are measured in two series, one before and one after the measured repetitions, with five samples each; the
//! clock and what the hypervisor took are read meanwhile. Two ranges mean a change if they do not overlap and their
//! medians differ by [`MIN_CHANGE`] or more. Which ranges:
//!
//! - During a run: those of its two series. If nothing changes, ten independent samples fall into two separate ranges of
//!   five by chance in 2 · 5! · 5! / 10! = 0.8 % of runs (the exact rank test of Wilcoxon 1945 at its extreme), and less
//!   often so far apart.
//! - Against earlier runs: the range that a series of this run usually has and that of a series of the earlier ones: the
//!   median of the lower ends to the median of the upper ends, but never less than all medians. A range of all samples
//!   would grow with every run that is kept, and one interrupted sample in it would hide a change.
//!
//! The smallest change of one figure that is named in 95 of 100 runs, by the noise of one sample (simulated in
//! `tests/machine_changes.rs`, up and down; 20 % down is 0.8 times the speed). Five samples a series are too few to name a
//! rise of 20 % in one figure where samples are often interrupted; where all three figures rise, one of them is named.
//!
//! | noise of a sample | during a run | against 1, 3 or 20 earlier runs |
//! |---|---|---|
//! | normal, 2 % | 13 % | 13 % |
//! | normal, 4 % | 19 % | 16 % |
//! | uniform, ± 8 % | 19 % | 17 % |
//! | normal, 2 %, one sample of 20 is 15 % slower | 24 % (19 % down) | 20 % |

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::channel::Unit;
use crate::display;
use crate::roofline::{RoofSeries, Roofs};
use crate::stats::{Estimate, median};

/// Least difference of two medians, as a share of the smaller one, that is called a change.
pub const MIN_CHANGE: f64 = 0.1;

/// Least difference of the time that the hypervisor took, of one core, for each thread of the engine.
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
    /// CPU time that the hypervisor gave to others divided by the time that passed: 1 is one core.
    Steal,
    /// Another one, of a newer build.
    #[serde(other)]
    Other,
}

impl MachineFigure {
    /// Those that are compared.
    const COMPARED: [Self; 5] = [Self::ReadBandwidth, Self::F32, Self::Int8, Self::Clock, Self::Steal];

    /// Its range in a series.
    fn of(self, series: &RoofSeries) -> Option<Estimate> {
        match self {
            Self::ReadBandwidth => series.read_bytes_per_s,
            Self::F32 => series.f32_flops_per_s,
            Self::Int8 => series.int8_ops_per_s,
            Self::Clock => series.clock_hz,
            Self::Steal => series.steal_cores,
            Self::Other => None,
        }
    }

    /// What a share is a share of; empty for figures with a unit.
    pub fn basis(self) -> &'static str {
        if self == Self::Steal { " of one core" } else { "" }
    }

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

impl Since {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::BeginOfRun => "during the run",
            Self::EarlierRuns => "since earlier runs",
        }
    }
}

impl Change {
    /// `reading memory fell from 37.1 GB/s to 25.0 GB/s`.
    pub fn from_to(&self) -> String {
        let (figure, verb) = (self.figure, if self.to < self.from { "fell" } else { "rose" });
        let (from, to, basis) = (figure.show(self.from), figure.show(self.to), figure.basis());
        format!("{} {verb} from {from} to {to}{basis}", figure.name())
    }

    /// How large it is, as a share of the smaller of the two; of one core for [`MachineFigure::Steal`].
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
        write!(f, "{} {}", self.from_to(), self.since.words())
    }
}

/// What changed about the machine, the largest change first. `earlier` are roofs of earlier runs on this machine; those
/// with other threads or another instruction set are not comparable and are left out. Empty where nothing changed or
/// nothing is known.
pub fn changes(roofs: &Roofs, earlier: &[Roofs]) -> Vec<Change> {
    let alike = |other: &&Roofs| other.threads == roofs.threads && other.isa == roofs.isa;
    let earlier: Vec<RoofSeries> = earlier.iter().filter(alike).flat_map(series).collect();
    let now = series(roofs);
    let of = |figure: MachineFigure| {
        let change = |since, before: Estimate, now: Estimate| {
            let is_other = is_other(figure, roofs.threads, &before, &now);
            is_other.then_some(Change { figure, since, from: before.median, to: now.median })
        };
        let during = || {
            let (before, after) = (roofs.before.as_deref()?, roofs.after.as_deref()?);
            change(Since::BeginOfRun, figure.of(before)?, figure.of(after)?)
        };
        // What changed during the run is said once.
        during().or_else(|| change(Since::EarlierRuns, usual(figure, &earlier)?, usual(figure, &now)?))
    };
    let mut found: Vec<Change> = MachineFigure::COMPARED.into_iter().filter_map(of).collect();
    found.sort_by(|a, b| b.size().total_cmp(&a.size()));
    found
}

/// The series of a run; of one that did not keep them apart, all samples as one.
fn series(roofs: &Roofs) -> Vec<RoofSeries> {
    let series: Vec<RoofSeries> =
        [&roofs.before, &roofs.after].into_iter().flatten().map(|one| **one).collect();
    if series.is_empty() {
        let &Roofs { read_bytes_per_s, f32_flops_per_s, int8_ops_per_s, .. } = roofs;
        return vec![RoofSeries {
            read_bytes_per_s,
            f32_flops_per_s,
            int8_ops_per_s,
            ..RoofSeries::default()
        }];
    }
    series
}

/// The range that a series usually has, and the median of the medians of all; `None` if none has the figure.
fn usual(figure: MachineFigure, series: &[RoofSeries]) -> Option<Estimate> {
    let ranges: Vec<Estimate> = series.iter().filter_map(|one| figure.of(one)).collect();
    let all = |end: fn(&Estimate) -> f64| -> Vec<f64> { ranges.iter().map(end).collect() };
    let medians = Estimate::range(&all(|range| range.median))?;
    Some(Estimate {
        low: median(&all(|range| range.low))?.min(medians.low),
        high: median(&all(|range| range.high))?.max(medians.high),
        count: ranges.iter().map(|range| range.count).fold(0, u64::saturating_add),
        ..medians
    })
}

/// Whether two ranges are apart, and their medians far enough. One value alone has no range to be outside of.
fn is_other(figure: MachineFigure, threads: u32, a: &Estimate, b: &Estimate) -> bool {
    let are_apart = a.high < b.low || b.high < a.low;
    let is_large = if figure == MachineFigure::Steal {
        (a.median - b.median).abs() >= MIN_STEAL_CHANGE * f64::from(threads.max(1))
    } else {
        relative(a.median, b.median) >= MIN_CHANGE
    };
    a.count > 1 && b.count > 1 && are_apart && is_large
}

/// The difference as a share of the smaller one; 0 unless both are above 0.
fn relative(a: f64, b: f64) -> f64 {
    let (small, large) = (a.min(b), a.max(b));
    if small > 0.0 { large / small - 1.0 } else { 0.0 }
}
