//! Comparing two sessions: what became faster or slower, by how much, and how sure that is.
//!
//! What is compared is time per token (decode) or per prompt token (prefill). A repetition gives one value of it for
//! every part of the books: ops by kind, module or name, gaps, named spans, unattributed. The parts of a repetition
//! add up to its wall time, means keep sums, and so the deltas of the parts add up to the delta of the whole.
//!
//! ```text
//!   A  repetitions ──▶ mean of each part ─┐                ┌──▶ delta of each part, p by Holm: named or not
//!                                         ├─ B − A, Welch ─┤
//!   B  repetitions ──▶ mean of each part ─┘                └──▶ delta of the whole, interval ──▶ verdict
//! ```
//!
//! | verdict | when |
//! |---|---|
//! | same | the 90 % interval of the whole lies within ± margin (two one-sided tests, Schuirmann 1987) |
//! | faster, slower | otherwise, the 95 % interval of the whole is on one side of 0 |
//! | cannot tell | otherwise; the smallest difference that would have been seen is stated |
//!
//! "Same" is thus shown, and never only not refuted. Repetitions of one run share what the machine did meanwhile;
//! how much whole runs differ when nothing changed is the floor, which is measured by runs of the same thing (A/A) and
//! widens every interval.

mod inference;
mod obstacle;
mod repetition;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use inference::Difference;
pub use obstacle::{Obstacle, obstacles};
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

/// Two sessions beside each other in one phase.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// What it comes to.
    pub verdict: Verdict,
    /// Wall time per token.
    pub total: Difference,
    /// The same of every part, the largest change first. Their deltas add up to that of the total.
    pub parts: Vec<PartDifference>,
    /// Share of A within which the two are called the same.
    pub margin: f64,
    /// How much runs of the same thing differ on this machine, standard deviation as a share of the time; null if
    /// that was not measured: the intervals hold for these two runs alone then.
    pub floor: Option<f64>,
    /// The smallest difference, as a share of A, that is found in 90 % of such comparisons; null without an interval.
    pub detectable: Option<f64>,
    /// Repetitions of each session that it would take to find a difference of the margin in 90 % of comparisons; null
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
    /// Standard deviation between runs of the same thing, as a share of the time; `None` if it is not known.
    pub floor: Option<f64>,
    /// What parts of the books are compared.
    pub grouping: Grouping,
}

impl Default for Options {
    fn default() -> Self {
        Self { margin: DEFAULT_MARGIN, floor: None, grouping: Grouping::Kind }
    }
}

/// Compares the repetitions of two sessions; `None` if one has none.
pub fn compare(a: &[Repetition], b: &[Repetition], options: Options) -> Option<Comparison> {
    let walls = |side: &[Repetition]| side.iter().map(Repetition::wall_per_token).collect::<Vec<_>>();
    let total = Difference::of(&walls(a), &walls(b), options.floor)?;
    let parts = parts(a, b, options);
    let band = options.margin * total.a_ns;
    let verdict = match (total.interval(0.9), total.low_ns.zip(total.high_ns)) {
        (Some((low, high)), _) if -band < low && high < band => Verdict::Same,
        (_, Some((_, high))) if high < 0.0 => Verdict::Faster,
        (_, Some((low, _))) if low > 0.0 => Verdict::Slower,
        _ => Verdict::CannotTell,
    };
    Some(Comparison {
        verdict,
        parts,
        margin: options.margin,
        floor: options.floor,
        detectable: total.detectable(POWER).map(|ns| ns / total.a_ns),
        repetitions_needed: total.repetitions_for(band, POWER, options.floor),
        total,
    })
}

fn parts(a: &[Repetition], b: &[Repetition], options: Options) -> Vec<PartDifference> {
    let by_part = |side: &[Repetition]| {
        let mut values: BTreeMap<Part, Vec<f64>> = BTreeMap::new();
        for (index, repetition) in side.iter().enumerate() {
            for (part, ns) in repetition.parts(options.grouping) {
                values.entry(part).or_insert_with(|| vec![0.0; side.len()])[index] = ns;
            }
        }
        values
    };
    let (of_a, of_b) = (by_part(a), by_part(b));
    // A part that one side lacks took no time there.
    let values = |side: &BTreeMap<Part, Vec<f64>>, part: &Part, count: usize| {
        side.get(part).cloned().unwrap_or_else(|| vec![0.0; count])
    };
    let names: std::collections::BTreeSet<&Part> = of_a.keys().chain(of_b.keys()).collect();
    let mut found: Vec<PartDifference> = names
        .into_iter()
        .filter_map(|part| {
            let difference =
                Difference::of(&values(&of_a, part, a.len()), &values(&of_b, part, b.len()), options.floor)?;
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
