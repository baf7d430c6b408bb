//! Where time, bytes and FLOPs of a run went, by any of several divisions.
//!
//! ```text
//!                      one phase in one lane: its recorded wall time
//! ├──────────────────────── whole ────────────────────────────────────────────────┤
//! ├── ops of group 1 ──┼── ops of group 2 ──┼─ … ─┼ gap ┼ sample, … ┼ unattributed ┤   by module, kind, name, site, layer
//! ├── step 0 ──┼── step 1 ──┼─ … ──┤                                                   by token
//! ```
//!
//! 1. Each batch adds its books to its phase and lane, its calls to their sites, and one step ([`Profile::add_batch`]).
//! 2. A table takes the sites of a phase and lane in the order of the plan, and adds up those of the same group: times,
//!    bytes and FLOPs as sums, single calls as a histogram ([`durations`](super::durations)), and the least time that
//!    the roofs allow.
//! 3. What is no op follows: gap, named spans and unattributed. Calls of steps that the plan does not have are
//!    unattributed.
//!
//! So the rows of a table add up to the whole of their phase and lane, to the nanosecond, whatever they are divided by.
//! Live results, replays and exports all call this function.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Durations, Percentiles, Profile, Recorded, SiteSums};
use crate::books::Books;
use crate::lane::{HOST_LANE, LaneId};
use crate::phase::Phase;
use crate::plan::SiteId;
use crate::plan::site::OpSite;
use crate::roofline::{Bound, RoofBound, Roofs};
use crate::totals::{GroupTotals, OpTotals};

/// What a table is divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// Nothing more than phase and lane.
    Phase,
    /// Part of the model: attention, ffn, lm_head.
    Module,
    /// Kind of work: matmul, attention, norm.
    Kind,
    /// Name of the step, the same in every layer: `attn.qkv_proj`.
    Name,
    /// Step of the plan.
    Site,
    /// Block of the model.
    Layer,
    /// Token of decode, or chunk of prefill.
    Token,
}

/// What a row is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowKind {
    /// A whole phase in a lane.
    Whole,
    /// A token or chunk.
    Step,
    /// Ops.
    Ops,
    /// Between two ops, up to 1 µs a border.
    Gap,
    /// A named span.
    Span,
    /// What nothing explains.
    Unattributed,
}

/// One row of a table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BreakdownRow {
    /// Phase.
    pub phase: Phase,
    /// Lane; 0 is the host's. Lanes are never added to each other.
    pub lane: LaneId,
    /// What it is about.
    pub kind: RowKind,
    /// Group, span, or the word for its kind.
    pub name: String,
    /// Repetition of a step; null in other rows.
    #[serde(rename = "run")]
    pub repetition: Option<u32>,
    /// Number of a step within its phase; null in other rows.
    pub token: Option<u32>,
    /// Tokens in the cache before a step; null in other rows.
    pub context: Option<u32>,
    /// Step of the plan, where rows are that; null otherwise.
    pub site: Option<SiteId>,
    /// Block, where a row is of one alone; null otherwise, and before the first and after the last.
    pub layer: Option<u32>,
    /// Calls of ops; tokens of a whole and of a step; null for what is not counted.
    pub count: Option<u64>,
    /// All its time, ns.
    pub time_ns: u64,
    /// Percentiles of single calls, or of the steps of a whole, ns; null for what is not counted, for a step, and where
    /// times were too many to keep.
    pub call_ns: Option<Percentiles>,
    /// Of the recorded wall time of its phase and lane, 0 to 1; above 1 where ops overlap.
    pub share: f64,
    /// Bytes by the plan's rules; null for what is no op.
    pub bytes: Option<u64>,
    /// FLOPs by the plan's rules; null for what is no op.
    pub flops: Option<u64>,
    /// `bytes` divided by the time of the row, B/s; null without bytes.
    pub bytes_per_s: Option<f64>,
    /// `flops` divided by the time of the row, FLOP/s; null without FLOPs.
    pub flops_per_s: Option<f64>,
    /// Least time by the roofs divided by the time of the row; null without roofs, or where the plan counts nothing.
    pub of_roof: Option<f64>,
    /// What bounds it; null as above.
    pub bound: Option<Bound>,
}

/// What the ops of a group add up to.
#[derive(Default)]
struct Group {
    name: String,
    site: Option<SiteId>,
    layer: Option<u32>,
    totals: GroupTotals,
    durations: Durations,
}

impl Profile {
    /// The table of the measured phases by `by`, held against `roofs`. Sums are over the repetitions.
    pub fn breakdown(&self, by: By, roofs: &Roofs) -> Vec<BreakdownRow> {
        let mut rows = Vec::new();
        for (&(phase, lane), books) in &self.books() {
            let whole = Whole { phase, lane, books };
            match by {
                By::Phase => {
                    rows.push(self.whole(&whole, roofs));
                    rows.extend(self.parts(&whole, by, roofs));
                }
                By::Token => rows.extend(self.steps(&whole, roofs)),
                By::Module | By::Kind | By::Name | By::Site | By::Layer => {
                    rows.extend(self.parts(&whole, by, roofs));
                }
            }
        }
        rows
    }

    /// Ops by group, in the order of the plan, and what is no op.
    fn parts(&self, whole: &Whole<'_>, by: By, roofs: &Roofs) -> Vec<BreakdownRow> {
        let none = SiteSums::default();
        let sums = self.ops.get(&(whole.phase, whole.lane)).unwrap_or(&none);
        let mut groups: Vec<Group> = Vec::new();
        let mut places = BTreeMap::new();
        for sum in &sums.totals {
            let Some(site) = self.sites.get(usize::from(sum.site)) else { continue };
            let key = key(by, site);
            let at = *places.entry(key).or_insert_with(|| {
                let (name, site, layer) = (key.0.to_owned(), key.1, key.2);
                groups.push(Group { name, site, layer, ..Group::default() });
                groups.len() - 1
            });
            groups[at].totals.add_site(site, &sum.totals, Some(roofs));
            if let Some(durations) = sums.durations.get(usize::from(sum.site)) {
                groups[at].durations.merge(durations);
            }
        }
        let mut rows: Vec<BreakdownRow> = groups.into_iter().map(|group| whole.ops(group)).collect();
        let known_ns = rows.iter().fold(0, |sum: u64, row| sum.saturating_add(row.time_ns));
        let books = whole.books;
        let unknown_ns = books.ops_ns.saturating_sub(known_ns);
        rows.push(whole.row(RowKind::Gap, RowKind::Gap.as_str(), books.gap_ns));
        rows.extend(books.other.iter().map(|span| whole.row(RowKind::Span, span.name.as_str(), span.ns)));
        let unattributed_ns = books.unattributed_ns.saturating_add(unknown_ns);
        rows.push(whole.row(RowKind::Unattributed, RowKind::Unattributed.as_str(), unattributed_ns));
        rows
    }

    /// The whole of a phase in a lane.
    fn whole(&self, whole: &Whole<'_>, roofs: &Roofs) -> BreakdownRow {
        let mut totals = GroupTotals::default();
        for sum in self.ops.get(&(whole.phase, whole.lane)).iter().flat_map(|sums| &sums.totals) {
            if let Some(site) = self.sites.get(usize::from(sum.site)) {
                totals.add_site(site, &sum.totals, Some(roofs));
            }
        }
        let mut durations = Durations::default();
        let (mut rows, mut longest_ns) = (0_u64, 0);
        for (_, recorded) in self.recorded_in(whole.phase, whole.lane) {
            rows = rows.saturating_add(recorded.rows);
            durations.merge(&recorded.durations);
            longest_ns = longest_ns.max(recorded.longest_ns);
        }
        let mut row = whole.row(RowKind::Whole, RowKind::Whole.as_str(), whole.books.wall_ns);
        (row.count, row.call_ns) = (Some(rows), durations.percentiles(longest_ns));
        row.with_work(totals.totals, totals.bound)
    }

    /// The steps, by repetition.
    fn steps(&self, whole: &Whole<'_>, roofs: &Roofs) -> Vec<BreakdownRow> {
        let mut rows = Vec::new();
        for (repetition, recorded) in self.recorded_in(whole.phase, whole.lane) {
            for step in &recorded.steps {
                let mut row = whole.row(RowKind::Step, RowKind::Step.as_str(), step.wall_ns);
                (row.repetition, row.token, row.context) =
                    (Some(repetition), Some(step.token), Some(step.context));
                row.count = Some(u64::from(step.rows));
                // The least time for a step is known if each step of the plan ran once.
                let is_plan = step.totals.count == self.sites.len() as u64;
                let mut bound = RoofBound::default();
                for site in self.sites.iter().filter(|_| is_plan) {
                    let (step_rows, context) = (u64::from(step.rows), u64::from(step.context));
                    let (bytes, flops) =
                        (site.cost.bytes(step_rows, context), site.cost.flops(step_rows, context));
                    roofs.bound(site, bytes, flops).into_iter().for_each(|more| bound.add(more));
                }
                rows.push(row.with_work(step.totals, bound));
            }
        }
        rows
    }

    /// Books of every measured phase in every lane, all repetitions together. Of the host those of its phases; of
    /// devices, and of a repetition that broke off, what the batches add up to.
    pub(super) fn books(&self) -> BTreeMap<(Phase, LaneId), Books> {
        let mut sums: BTreeMap<(Phase, LaneId), Books> = BTreeMap::new();
        let mut has_span = BTreeSet::new();
        for phase in self.phases() {
            has_span.insert((phase.repetition, phase.phase, HOST_LANE));
            sums.entry((phase.phase, HOST_LANE)).or_default().add(&phase.books());
        }
        for (key, recorded) in self.recorded.iter().filter(|(key, _)| !has_span.contains(key)) {
            sums.entry((key.1, key.2)).or_default().add(&recorded.books);
        }
        sums
    }

    /// What was recorded of a phase in a lane, by repetition.
    fn recorded_in(&self, phase: Phase, lane: LaneId) -> impl Iterator<Item = (u32, &Recorded)> {
        let is_in = move |key: &(u32, Phase, LaneId)| (key.1, key.2) == (phase, lane);
        self.recorded.iter().filter(move |(key, _)| is_in(key)).map(|(key, found)| (key.0, found))
    }
}

impl RowKind {
    /// As spelled in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Step => "step",
            Self::Ops => "ops",
            Self::Gap => "gap",
            Self::Span => "span",
            Self::Unattributed => "unattributed",
        }
    }
}

/// A phase in a lane.
struct Whole<'a> {
    phase: Phase,
    lane: LaneId,
    books: &'a Books,
}

impl Whole<'_> {
    fn row(&self, kind: RowKind, name: &str, time_ns: u64) -> BreakdownRow {
        let wall_ns = self.books.wall_ns;
        BreakdownRow {
            phase: self.phase,
            lane: self.lane,
            kind,
            name: name.to_owned(),
            repetition: None,
            token: None,
            context: None,
            site: None,
            layer: None,
            count: None,
            time_ns,
            call_ns: None,
            share: if wall_ns > 0 { time_ns as f64 / wall_ns as f64 } else { 0.0 },
            bytes: None,
            flops: None,
            bytes_per_s: None,
            flops_per_s: None,
            of_roof: None,
            bound: None,
        }
    }

    fn ops(&self, group: Group) -> BreakdownRow {
        let totals = group.totals.totals;
        let mut row = self.row(RowKind::Ops, &group.name, totals.time_ns);
        (row.site, row.layer, row.count) = (group.site, group.layer, Some(totals.count));
        row.call_ns = group.durations.percentiles(totals.max_ns);
        row.with_work(totals, group.totals.bound)
    }
}

impl BreakdownRow {
    /// With the work of its ops, divided by its own time.
    fn with_work(mut self, work: OpTotals, bound: RoofBound) -> Self {
        let over_row = OpTotals { time_ns: self.time_ns, ..work };
        (self.bytes, self.flops) = (Some(work.bytes), Some(work.flops));
        (self.bytes_per_s, self.flops_per_s) = (over_row.bytes_per_second(), over_row.flops_per_second());
        (self.of_roof, self.bound) = (bound.share(self.time_ns), bound.bound(self.time_ns));
        self
    }
}

/// The group of a site: its name, its number where rows are sites, and its layer where rows are of one.
fn key(by: By, site: &OpSite) -> (&str, Option<SiteId>, Option<u32>) {
    match by {
        By::Module => (site.module.as_str(), None, None),
        By::Kind => (site.kind.as_str(), None, None),
        By::Name => (&site.name, None, None),
        By::Site => (&site.name, Some(site.id), site.layer),
        By::Layer => (if site.layer.is_some() { "layer" } else { "outside of layers" }, None, site.layer),
        By::Phase | By::Token => (RowKind::Ops.as_str(), None, None),
    }
}
