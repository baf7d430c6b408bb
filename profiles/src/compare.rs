//! Comparing two sessions: what became faster or slower, by how much, and how sure that is.
//!
//! What is compared is time per token (decode) or per prompt token (prefill). A repetition gives one value of it for
//! every part of the books: ops by kind, module or name, gaps, named spans, unattributed
//! ([`repetition`](Repetition) says of which tokens). The parts of a repetition add up to its wall time, means keep
//! sums, and so the deltas of the parts add up to the delta of the whole.
//!
//! ```text
//!   A  repetitions ──▶ mean of each part ─┐                ┌──▶ delta of each part, p by Holm: named or not
//!      or runs                            ├─ B − A, Welch ─┤
//!   B  repetitions ──▶ mean of each part ─┘                └──▶ delta of the whole, interval ──▶ verdict
//! ```
//!
//! | verdict | when |
//! |---|---|
//! | same | the 90 % interval of the whole lies within ± margin (two one-sided tests, Schuirmann 1987) |
//! | faster, slower | otherwise, the 95 % interval of the whole is on one side of 0 |
//! | cannot tell | otherwise; the smallest difference that would have been seen is stated |
//!
//! "Same" is thus shown, and never only not refuted. Repetitions of one run share what the machine did meanwhile. Where
//! a side has several runs, the values are the means of whole runs, and what runs differ by is in their scatter. Of one
//! run on each side it is not known, unless runs of the same thing were measured before: the [`Floor`] widens every
//! interval.

mod floor;
mod inference;
mod obstacle;
mod order;
mod repetition;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::stats;
pub use floor::{Floor, KnownFloor, MIN_RUNS};
pub use inference::Difference;
pub(crate) use inference::quantile as student_quantile;
pub use obstacle::{Obstacle, obstacles};
pub use order::interleaved;
pub use repetition::{Grouping, Part, Repetition, Repetitions};

/// Level of the intervals that are shown.
pub const LEVEL: f64 = 0.95;

/// Difference below which two sessions are called the same, as a share of A.
pub const DEFAULT_MARGIN: f64 = 0.02;

/// Parts are named as changed if the chance to name any of an unchanged session is at most this (Holm 1979).
const NAMING_ERROR: f64 = 0.01;

/// Power at which the smallest detectable difference is stated.
const POWER: f64 = 0.9;

/// What a comparison says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// They differ by less than the margin.
    Same,
    /// B takes less time per token.
    Faster,
    /// B takes more time per token.
    Slower,
    /// The measurement is not precise enough for any of these.
    CannotTell,
}

impl Verdict {
    /// As spelled in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Faster => "faster",
            Self::Slower => "slower",
            Self::CannotTell => "cannot_tell",
        }
    }
}

/// What a value of a comparison stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// A repetition of the one run on each side.
    Repetition,
    /// A whole run: the mean of its repetitions.
    Run,
}

/// Two sessions beside each other in one phase.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// What it comes to.
    pub verdict: Verdict,
    /// What scatter the intervals are from.
    pub unit: Unit,
    /// Values of A and of B.
    pub values: [u64; 2],
    /// Values of A and of B that are far from the others, from 0 ([`stats::outliers`]); they count all the same.
    pub outliers: [Vec<u64>; 2],
    /// Wall time of a typical token.
    pub total: Difference,
    /// The same over all tokens, slow ones included. The verdict is not made from it.
    pub all_tokens: Difference,
    /// The same of every part, the largest change first. Their deltas add up to that of the total.
    pub parts: Vec<PartDifference>,
    /// Share of A within which the two are called the same.
    pub margin: f64,
    /// How much runs of the same thing differ on this machine; null if that was not measured: the intervals hold for
    /// these two runs alone then. Null with several runs on a side, whose scatter shows it.
    pub floor: Option<Floor>,
    /// The smallest difference, as a share of A, that is found in 90 % of such comparisons; null without an interval.
    pub detectable: Option<f64>,
    /// Repetitions, or runs, of each side that it would take to find a difference of the margin in 90 % of comparisons; null
    /// without an interval, or if the floor alone hides it.
    pub repetitions_needed: Option<u64>,
}

/// One part of two sessions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PartDifference {
    /// Which part of the books.
    pub part: Part,
    /// Its time per token.
    #[serde(flatten)]
    pub difference: Difference,
    /// Whether it changed for certain: the chance that any part of two equal sessions is named is at most 1 %.
    pub is_named: bool,
}

/// How to compare.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// Share of A within which two sessions are the same; above 0.
    pub margin: f64,
    /// How much runs of the same thing differ; `None` if it is not known.
    pub floor: Option<Floor>,
    /// What parts of the books are compared.
    pub grouping: Grouping,
}

impl Default for Options {
    fn default() -> Self {
        Self { margin: DEFAULT_MARGIN, floor: None, grouping: Grouping::Kind }
    }
}

/// The runs of one side, by the repetitions of each.
struct Side<'a> {
    runs: &'a [Vec<Repetition>],
    unit: Unit,
}

impl Side<'_> {
    /// The values of `of`: one a repetition, or one a run.
    fn values(&self, of: impl Fn(&Repetition) -> f64) -> Vec<f64> {
        let runs = self.runs.iter().map(|run| run.iter().map(&of).collect::<Vec<f64>>());
        match self.unit {
            Unit::Repetition => runs.flatten().collect(),
            Unit::Run => runs.filter_map(|values| inference::mean(&values)).collect(),
        }
    }

    fn parts(&self, grouping: Grouping) -> Vec<BTreeMap<Part, f64>> {
        let runs = self.runs.iter().map(|run| run.iter().map(|one| one.parts(grouping)).collect::<Vec<_>>());
        match self.unit {
            Unit::Repetition => runs.flatten().collect(),
            Unit::Run => runs.filter(|run| !run.is_empty()).map(|run| mean_of_parts(&run)).collect(),
        }
    }
}

/// The mean of each part; a repetition that lacks one spent no time there.
fn mean_of_parts(repetitions: &[BTreeMap<Part, f64>]) -> BTreeMap<Part, f64> {
    let mut sums: BTreeMap<Part, f64> = BTreeMap::new();
    for (part, ns) in repetitions.iter().flatten() {
        *sums.entry(part.clone()).or_insert(0.0) += ns / repetitions.len() as f64;
    }
    sums
}

/// Compares the runs of two sides, each by its repetitions; `None` if a side has none. With one run on each side the
/// values are repetitions, with several on one of them they are runs.
pub fn compare(a: &[Vec<Repetition>], b: &[Vec<Repetition>], options: Options) -> Option<Comparison> {
    let unit = if a.len() > 1 || b.len() > 1 { Unit::Run } else { Unit::Repetition };
    let floor = options.floor.filter(|_| unit == Unit::Repetition);
    let (a, b) = (Side { runs: a, unit }, Side { runs: b, unit });
    let walls = |side: &Side<'_>| side.values(Repetition::wall_per_token);
    let (of_a, of_b) = (walls(&a), walls(&b));
    let total = Difference::of(&of_a, &of_b, floor)?;
    let means = |side: &Side<'_>| side.values(Repetition::mean_wall_per_token);
    let all_tokens = Difference::of(&means(&a), &means(&b), floor)?;
    let band = options.margin * total.a_ns;
    let verdict = match (total.interval(0.9), total.low_ns.zip(total.high_ns)) {
        (Some((low, high)), _) if -band < low && high < band => Verdict::Same,
        (_, Some((_, high))) if high < 0.0 => Verdict::Faster,
        (_, Some((low, _))) if low > 0.0 => Verdict::Slower,
        _ => Verdict::CannotTell,
    };
    Some(Comparison {
        verdict,
        unit,
        values: [of_a.len() as u64, of_b.len() as u64],
        outliers: [&of_a, &of_b]
            .map(|values| stats::outliers(values).into_iter().map(|at| at as u64).collect()),
        all_tokens,
        parts: parts(&a, &b, options.grouping, floor),
        margin: options.margin,
        floor,
        detectable: total.detectable(POWER).map(|ns| ns / total.a_ns),
        repetitions_needed: total.repetitions_for(band, POWER, floor),
        total,
    })
}

fn parts(a: &Side<'_>, b: &Side<'_>, grouping: Grouping, floor: Option<Floor>) -> Vec<PartDifference> {
    let (of_a, of_b) = (a.parts(grouping), b.parts(grouping));
    // A part that one side lacks took no time there.
    let values = |side: &[BTreeMap<Part, f64>], part: &Part| -> Vec<f64> {
        side.iter().map(|parts| parts.get(part).copied().unwrap_or(0.0)).collect()
    };
    let names: BTreeSet<&Part> = of_a.iter().chain(&of_b).flat_map(BTreeMap::keys).collect();
    let mut found: Vec<PartDifference> = names
        .into_iter()
        .filter_map(|part| {
            let difference = Difference::of(&values(&of_a, part), &values(&of_b, part), floor)?;
            Some(PartDifference { part: part.clone(), difference, is_named: false })
        })
        .collect();
    name(&mut found);
    found.sort_by(|x, y| y.difference.delta_ns.abs().total_cmp(&x.difference.delta_ns.abs()));
    found
}

/// Names the parts that changed, by Holm's procedure: the smallest p against the error divided by the number of parts,
/// the next against that divided by one less, until one is above.
fn name(parts: &mut [PartDifference]) {
    parts.sort_by(|x, y| p_of(x).total_cmp(&p_of(y)));
    let count = parts.len();
    for (index, part) in parts.iter_mut().enumerate() {
        if p_of(part) > NAMING_ERROR / (count - index) as f64 {
            break;
        }
        part.is_named = true;
    }
}

fn p_of(part: &PartDifference) -> f64 {
    part.difference.p.unwrap_or(1.0)
}
