//! What a repetition took, by the parts of its books.
//!
//! Repetitions of decode are compared by their *typical* token, which what else happens on the machine disturbs least:
//!
//! ```text
//! steps of a repetition   ├──── 32 ────┼──── 32 ────┼──── 32 ────┼─ rest ─┤
//! kept of each stretch    the faster half by wall time; their mean is the typical token
//! ```
//!
//! Whole steps are kept or left out, so the parts of the typical token still add up to its wall time; and each stretch
//! gives as many, so that short and long contexts weigh as they do in the run. On recorded runs
//! (`tests/compare/tokens.csv`) the typical token scatters by 1.7 % from repetition to repetition, the mean of all
//! tokens by 3.6 %: the same precision takes a quarter of the repetitions. What slows down less than half of the
//! tokens is not in it; the mean of all tokens is compared beside it.
//!
//! Chunks of prefill are few, and the later ones take longer: all of them count.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::books::Books;
use crate::lane::HOST_LANE;
use crate::op::OpBatch;
use crate::phase::Phase;
use crate::plan::site::OpSite;
use crate::span::SpanName;
use crate::totals::{self, SiteTotals, saturating_sum};

/// Steps of a stretch, of which the faster half is typical.
const STRETCH: usize = 32;

/// By what ops are gathered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Grouping {
    /// Kind of work: matmul, attention, norm.
    #[default]
    Kind = 0,
    /// Part of the model: attention, ffn, lm_head.
    Module = 1,
    /// Name of the step, the same in every layer: `attn.qkv_proj`.
    Name = 2,
}

/// A part of the books.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Ops of one kind, module or name.
    Ops(String),
    /// Between ops.
    Gap,
    /// In a named span.
    Span(SpanName),
    /// What nothing explains.
    Unattributed,
}

/// One repetition of one phase, in the host's lane.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Repetition {
    /// Which it is, from 0.
    pub number: u32,
    /// Rows computed in the batches that count.
    rows: u64,
    books: Books,
    /// Time in the ops of every step of the plan, ns, with the step's group for each [`Grouping`].
    ops: Vec<(u64, [String; 3])>,
    /// Wall time and rows of all batches that were recorded.
    all: (u64, u64),
}

impl Repetition {
    /// Wall time of a typical token, ns.
    pub fn wall_per_token(&self) -> f64 {
        per_row(self.books.wall_ns, self.rows)
    }

    /// Wall time of a token, the mean of all of them, ns.
    pub fn mean_wall_per_token(&self) -> f64 {
        per_row(self.all.0, self.all.1)
    }

    /// The parts, ns a typical token. They add up to [`wall_per_token`](Self::wall_per_token).
    pub fn parts(&self, grouping: Grouping) -> BTreeMap<Part, f64> {
        let known_ns = saturating_sum(self.ops.iter().map(|(ns, _)| *ns));
        let ops = self.ops.iter().map(|(ns, groups)| (Part::Ops(groups[grouping as usize].clone()), *ns));
        let spans = self.books.other.iter().map(|span| (Part::Span(span.name.clone()), span.ns));
        // Steps that the plan does not have are explained by nothing.
        let unknown_ns = self.books.ops_ns.saturating_sub(known_ns);
        let rest = [
            (Part::Gap, self.books.gap_ns),
            (Part::Unattributed, self.books.unattributed_ns.saturating_add(unknown_ns)),
        ];
        let mut parts = BTreeMap::new();
        for (part, ns) in ops.chain(spans).chain(rest) {
            *parts.entry(part).or_insert(0.0) += per_row(ns, self.rows);
        }
        parts
    }
}

fn per_row(ns: u64, rows: u64) -> f64 {
    ns as f64 / rows.max(1) as f64
}

/// Gathers the repetitions of a run from its batches.
#[derive(Debug, Clone, Default)]
pub struct Repetitions {
    found: BTreeMap<(Phase, u32), Sums>,
    /// The last batches with their wall times, all of one repetition of decode: the stretch that is not full yet.
    stretch: Vec<(u64, OpBatch)>,
}

#[derive(Debug, Clone, Default)]
struct Sums {
    rows: u64,
    books: Books,
    sites: Vec<SiteTotals>,
    all: (u64, u64),
}

impl Sums {
    fn add(&mut self, batch: &OpBatch, sites: &[OpSite]) {
        self.rows = self.rows.saturating_add(u64::from(batch.head.rows));
        self.books.add(&Books::of(batch));
        totals::add_batch(&mut self.sites, batch, sites);
    }
}

impl Repetitions {
    /// Adds a batch of a plan with these sites. Other lanes than the host's are left out, since the host waits for what
    /// they compute.
    pub fn add(&mut self, batch: &OpBatch, sites: &[OpSite]) {
        let head = &batch.head;
        if head.lane != HOST_LANE {
            return;
        }
        let sums = self.found.entry((head.phase, head.repetition)).or_default();
        let wall_ns = Books::of(batch).wall_ns;
        sums.all.0 = sums.all.0.saturating_add(wall_ns);
        sums.all.1 = sums.all.1.saturating_add(u64::from(head.rows));
        if head.phase != Phase::Decode {
            sums.add(batch, sites);
            return;
        }
        let continues = |(_, last): &(u64, OpBatch)| last.head.repetition == head.repetition;
        if self.stretch.len() == STRETCH || !self.stretch.last().is_none_or(continues) {
            self.end_stretch(sites);
        }
        self.stretch.push((wall_ns, batch.clone()));
    }

    /// Adds the faster half of the stretch to its repetition.
    fn end_stretch(&mut self, sites: &[OpSite]) {
        let mut stretch = std::mem::take(&mut self.stretch);
        stretch.sort_by_key(|(wall_ns, _)| *wall_ns);
        stretch.truncate(stretch.len().div_ceil(2));
        for (_, batch) in &stretch {
            self.found.entry((batch.head.phase, batch.head.repetition)).or_default().add(batch, sites);
        }
    }

    /// The repetitions of a phase, in order, by the steps of their plan.
    pub fn of(&self, phase: Phase, sites: &[OpSite]) -> Vec<Repetition> {
        let mut ended = self.clone();
        ended.end_stretch(sites);
        let found = ended.found.into_iter().filter(|((found, _), _)| *found == phase);
        found
            .map(|((_, number), sums)| {
                let ops = sums.sites.iter().filter_map(|sum| {
                    let site = sites.get(usize::from(sum.site))?;
                    let groups =
                        [site.kind.as_str().to_owned(), site.module.as_str().to_owned(), site.name.clone()];
                    Some((sum.totals.time_ns, groups))
                });
                Repetition { number, rows: sums.rows, ops: ops.collect(), books: sums.books, all: sums.all }
            })
            .collect()
    }
}
