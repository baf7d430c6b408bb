//! What a repetition took, by the parts of its books.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::books::Books;
use crate::lane::HOST_LANE;
use crate::op::OpBatch;
use crate::phase::Phase;
use crate::plan::site::OpSite;
use crate::span::SpanName;
use crate::totals::{self, SiteTotals, saturating_sum};

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
    /// Rows computed in the batches that were recorded.
    rows: u64,
    books: Books,
    /// Time in the ops of every step of the plan, ns, with the step's group for each [`Grouping`].
    ops: Vec<(u64, [String; 3])>,
}

impl Repetition {
    /// Wall time of a token, ns.
    pub fn wall_per_token(&self) -> f64 {
        self.per_token(self.books.wall_ns)
    }

    /// The parts, ns a token. They add up to [`wall_per_token`](Self::wall_per_token).
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
            *parts.entry(part).or_insert(0.0) += self.per_token(ns);
        }
        parts
    }

    fn per_token(&self, ns: u64) -> f64 {
        ns as f64 / self.rows.max(1) as f64
    }
}

/// Gathers the repetitions of a run from its batches.
#[derive(Debug, Clone, Default)]
pub struct Repetitions {
    found: BTreeMap<(Phase, u32), Sums>,
}

#[derive(Debug, Clone, Default)]
struct Sums {
    rows: u64,
    books: Books,
    sites: Vec<SiteTotals>,
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
        sums.rows = sums.rows.saturating_add(u64::from(head.rows));
        sums.books.add(&Books::of(batch));
        totals::add_batch(&mut sums.sites, batch, sites);
    }

    /// The repetitions of a phase, in order, by the steps of their plan.
    pub fn of(&self, phase: Phase, sites: &[OpSite]) -> Vec<Repetition> {
        let found = self.found.iter().filter(|((found, _), _)| *found == phase);
        found
            .map(|(_, sums)| {
                let ops = sums.sites.iter().filter_map(|sum| {
                    let site = sites.get(usize::from(sum.site))?;
                    let groups =
                        [site.kind.as_str().to_owned(), site.module.as_str().to_owned(), site.name.clone()];
                    Some((sum.totals.time_ns, groups))
                });
                Repetition { rows: sums.rows, books: sums.books.clone(), ops: ops.collect() }
            })
            .collect()
    }
}
