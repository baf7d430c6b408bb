//! The rows of the Ops screen: sites added up by op or by module, which open into layers, and below them the time outside
//! ops. What ran in a lane beside the host's, such as a device's queue, has rows of its own below those of the host.
//!
//! Shares are of the wall time that the phase took in the row's lane, whatever a filter hides. Without a filter, the rows
//! of a phase and lane add up to that time exactly.

use std::collections::BTreeMap;

use slmscope_profiles::above_roof::AboveRoof;
use slmscope_profiles::display;
use slmscope_profiles::lane::LaneId;
use slmscope_profiles::op::Phase;
use slmscope_profiles::plan::site::{Module, OpKind, OpSite};
use slmscope_profiles::roofline::{Bound, Roofs};
use slmscope_profiles::totals::{EventPlace, GroupTotals, OpTotals, SiteTotals};

use super::state::{Column, OpsTable};
use crate::dashboard::state::Data;
use crate::dashboard::totals::PhaseSum;

/// What a row stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Module,
    Op,
    Layer,
    /// Time outside of ops.
    Other,
    /// Time that nothing explains.
    Unattributed,
    /// The whole phase.
    Total,
}

/// One row.
#[derive(Debug, Clone)]
pub struct Row {
    /// Identifies the row as long as the plan stays the same.
    pub key: String,
    pub level: Level,
    /// Steps of indentation.
    pub depth: usize,
    /// Whether it is open, so that its parts follow.
    pub open: bool,
    pub phase: Phase,
    /// Empty if the row has none or several.
    pub module: &'static str,
    pub name: String,
    /// Empty if the row has none or several.
    pub kind: &'static str,
    /// Format of the weights; empty without weights.
    pub format: String,
    /// Totals of its ops. Of time outside ops it is only the time; of the whole phase it is the wall time, bytes and
    /// FLOPs.
    group: GroupTotals,
    /// Kind of its ops; `None` if it has none or several.
    op_kind: Option<OpKind>,
    /// Why it is above its roof; `None` where it is not.
    pub above_roof: Option<AboveRoof>,
    /// Wall time of the phase in its lane, ns.
    wall_ns: u64,
    /// Tokens of the phase.
    tokens: u64,
    /// Place in the plan.
    place: u16,
}

impl Row {
    /// Its time, ns.
    pub fn time_ns(&self) -> u64 {
        self.group.totals.time_ns
    }

    /// Its share of the phase's wall time; `None` if no time passed.
    pub fn share(&self) -> Option<f64> {
        (self.wall_ns > 0).then(|| self.time_ns() as f64 / self.wall_ns as f64)
    }

    /// Totals with events, `None` where there are none to count.
    fn events(&self) -> Option<&OpTotals> {
        matches!(self.level, Level::Module | Level::Op | Level::Layer).then_some(&self.group.totals)
    }

    /// Number of events; `None` where events are not counted.
    pub fn count(&self) -> Option<u64> {
        Some(self.events()?.count)
    }

    /// Time of an event on average, ns; `None` where events are not counted.
    pub fn mean_ns(&self) -> Option<u64> {
        self.events()?.mean_ns()
    }

    /// When the longest event ran; `None` where that is not known.
    pub fn max_at(&self) -> Option<EventPlace> {
        self.events()?.max_at
    }

    /// Layer of the longest event; `None` if it was in none.
    pub fn max_layer(&self) -> Option<u32> {
        self.events().and(self.group.max_layer)
    }

    /// The longest event, ns; `None` where events are not counted.
    pub fn max_ns(&self) -> Option<u64> {
        Some(self.events()?.max_ns)
    }

    /// Time per token, ns.
    pub fn time_per_token(&self) -> Option<u64> {
        self.time_ns().checked_div(self.tokens)
    }

    /// Bytes per token; `None` where the plan counts none.
    pub fn bytes_per_token(&self) -> Option<f64> {
        let bytes = self.group.totals.bytes;
        (self.tokens > 0 && bytes > 0).then(|| bytes as f64 / self.tokens as f64)
    }

    /// Bytes divided by the row's time, B/s; `None` where the plan counts none.
    pub fn bytes_per_second(&self) -> Option<f64> {
        self.group.totals.bytes_per_second()
    }

    /// FLOPs divided by the row's time, FLOP/s; `None` where the plan counts none.
    pub fn flops_per_second(&self) -> Option<f64> {
        self.group.totals.flops_per_second()
    }

    /// Share of the roof that bounds it, and which one that is; `None` without roofs, or where the plan counts nothing.
    pub fn roof(&self) -> Option<(f64, Bound)> {
        self.group.roof()
    }

    fn add(&mut self, site: &OpSite, totals: &OpTotals, roofs: Option<&Roofs>) {
        let is_first = self.group.totals.count == 0;
        self.group.add_site(site, totals, roofs);
        let format = site.weights.first().map_or("", |weight| weight.format.name());
        if is_first {
            format.clone_into(&mut self.format);
        } else if self.format != format && !format.is_empty() {
            "mixed".clone_into(&mut self.format);
        }
    }

    fn matches(&self, filter: &str) -> bool {
        let has = |text: &str| text.to_lowercase().contains(filter);
        has(&self.name) || has(self.module) || has(self.kind) || has(&self.format)
    }
}

/// Makes the rows of one phase in one lane.
struct Section<'a> {
    phase: Phase,
    /// The lane; `None` for the host's.
    lane: Option<LaneName<'a>>,
    sum: &'a PhaseSum,
    sites: Vec<(&'a OpSite, &'a OpTotals)>,
    roofs: Option<&'a Roofs>,
    table: &'a OpsTable,
}

/// A lane beside the host's, and what people call it.
#[derive(Clone, Copy)]
struct LaneName<'a> {
    lane: LaneId,
    name: &'a str,
}

/// The rows in the order of the screen.
pub fn rows(data: &Data, table: &OpsTable) -> Vec<Row> {
    let (plan, totals) = (data.plan.as_ref(), &data.totals);
    let mut rows = Vec::new();
    let roofs = plan.map(|plan| &plan.roofs);
    let all_sites = plan.map_or(&[][..], |plan| &plan.sites);
    for phase in [Phase::Prefill, Phase::Decode] {
        if table.phase.is_some_and(|only| only != phase) {
            continue;
        }
        let lanes = totals.lanes().iter().map(|totals| {
            let name = plan.and_then(|plan| plan.lane(totals.lane)).map_or("", |lane| &lane.name);
            (Some(LaneName { lane: totals.lane, name }), totals.phase(phase))
        });
        for (lane, sum) in std::iter::once((None, totals.phase(phase))).chain(lanes) {
            let Some(sum) = sum.filter(|sum| sum.books.wall_ns > 0) else { continue };
            let site = |sum: &'_ SiteTotals| all_sites.get(usize::from(sum.site));
            let sites = sum.sites.iter().filter_map(|sum| Some((site(sum)?, &sum.totals))).collect();
            let first = rows.len();
            Section { phase, lane, sum, sites, roofs, table }.push_to(&mut rows);
            let token_bytes = sum.token_bytes();
            for row in rows.iter_mut().skip(first) {
                row.above_roof = AboveRoof::of(&row.group, row.op_kind, token_bytes, &data.caches);
            }
        }
    }
    rows
}

impl Section<'_> {
    fn row(&self, level: Level, key: &str, name: &str) -> Row {
        let key = match self.lane {
            None => format!("{}/{key}", self.phase.as_str()),
            Some(LaneName { lane, .. }) => format!("{}/lane {lane}/{key}", self.phase.as_str()),
        };
        Row {
            open: self.table.open.contains(&key),
            key,
            level,
            depth: 0,
            phase: self.phase,
            module: "",
            name: name.to_owned(),
            kind: "",
            format: String::new(),
            group: GroupTotals::default(),
            op_kind: None,
            above_roof: None,
            wall_ns: self.sum.books.wall_ns,
            tokens: self.sum.rows,
            place: u16::MAX,
        }
    }

    fn push_to(&self, rows: &mut Vec<Row>) {
        let filter = self.table.list.filter.to_lowercase();
        let mut ops = self.ops();
        ops.retain(|row| row.matches(&filter));
        let mut others = self.others();
        others.retain(|row| row.matches(&filter));
        let shown: u64 = ops.iter().chain(&others).fold(0, |sum, row| row.time_ns().saturating_add(sum));
        if self.lane.is_some() && ops.is_empty() && others.is_empty() {
            return;
        }
        // A lane's total is its heading: the rows below it do not add up with those of the host.
        let depth = usize::from(self.lane.is_some());
        if self.lane.is_some() {
            rows.push(self.total(&filter, shown));
        }
        if self.table.by_module {
            for mut row in self.sorted(self.modules(&ops)) {
                let name = row.name.clone();
                row.depth = depth;
                let open = row.open;
                rows.push(row);
                if open {
                    let inner = ops.iter().filter(|op| op.module == name).cloned().collect();
                    self.push_ops(inner, depth + 1, rows);
                }
            }
        } else {
            self.push_ops(ops, depth, rows);
        }
        for row in &mut others {
            row.depth = depth;
        }
        rows.append(&mut others);
        if self.lane.is_none() {
            rows.push(self.total(&filter, shown));
        }
    }

    fn push_ops(&self, ops: Vec<Row>, depth: usize, rows: &mut Vec<Row>) {
        for mut row in self.sorted(ops) {
            row.depth = depth;
            let open = row.open;
            let name = row.name.clone();
            rows.push(row);
            if open {
                let mut layers = self.layers(&name);
                for layer in &mut layers {
                    layer.depth = depth + 1;
                }
                rows.append(&mut layers);
            }
        }
    }

    /// One row for each name.
    fn ops(&self) -> Vec<Row> {
        let mut ops: BTreeMap<(Module, &str), Row> = BTreeMap::new();
        for &(site, sum) in &self.sites {
            let row = ops.entry((site.module, &site.name)).or_insert_with(|| Row {
                module: site.module.as_str(),
                kind: site.kind.as_str(),
                op_kind: Some(site.kind),
                place: site.id,
                ..self.row(Level::Op, &format!("{}/{}", site.module.as_str(), site.name), &site.name)
            });
            row.add(site, sum, self.roofs);
        }
        ops.into_values().collect()
    }

    /// The sites of one name.
    fn layers(&self, name: &str) -> Vec<Row> {
        let sites = self.sites.iter().filter(|(site, _)| site.name == name);
        let rows = sites.map(|&(site, sum)| {
            let layer = site.layer.map_or_else(|| site.name.clone(), |layer| format!("layer {layer}"));
            let mut row = Row {
                module: site.module.as_str(),
                kind: site.kind.as_str(),
                op_kind: Some(site.kind),
                place: site.id,
                ..self.row(Level::Layer, &format!("site {}", site.id), &layer)
            };
            row.add(site, sum, self.roofs);
            row
        });
        rows.collect()
    }

    /// Ops added up by module.
    fn modules(&self, ops: &[Row]) -> Vec<Row> {
        let modules = Module::ALL.into_iter().chain([Module::Other]).filter_map(|module| {
            let mut row = self.row(Level::Module, module.as_str(), module.as_str());
            row.module = module.as_str();
            for op in ops.iter().filter(|op| op.module == module.as_str()) {
                row.group.add(&op.group);
                row.place = row.place.min(op.place);
            }
            (row.group.totals.count > 0).then_some(row)
        });
        modules.collect()
    }

    /// The time outside the plan's ops.
    fn others(&self) -> Vec<Row> {
        let books = &self.sum.books;
        let known = self.sites.iter().fold(0_u64, |sum, (_, site)| sum.saturating_add(site.time_ns));
        let unknown = books.ops_ns.saturating_sub(known);
        let spent = books.other.iter().filter(|span| span.ns > 0);
        let mut parts: Vec<_> = spent.map(|span| (span.name.as_str(), span.ns)).collect();
        if unknown > 0 {
            parts.push(("ops without a name", unknown));
        }
        parts.push(("gap", books.gap_ns));
        let row = |level, name, time_ns| {
            let mut row = self.row(level, name, name);
            row.group.totals.time_ns = time_ns;
            row
        };
        let mut rows: Vec<_> =
            parts.into_iter().map(|(name, time_ns)| row(Level::Other, name, time_ns)).collect();
        rows.push(row(Level::Unattributed, "unattributed", books.unattributed_ns));
        rows
    }

    fn total(&self, filter: &str, shown_ns: u64) -> Row {
        let whole = match self.lane {
            None => self.phase.as_str().to_owned(),
            Some(LaneName { lane, name }) => format!("lane {lane} {name}"),
        };
        let name = if filter.is_empty() {
            format!("{whole} in all")
        } else {
            let share = shown_ns as f64 / self.sum.books.wall_ns as f64;
            format!("{whole} in all (shown: {})", display::share(share))
        };
        let mut row = self.row(Level::Total, "total", &name);
        self.sites.iter().for_each(|(site, totals)| row.group.add_site(site, totals, self.roofs));
        let &PhaseSum { bytes, flops, .. } = self.sum;
        row.group.totals = OpTotals { time_ns: self.sum.books.wall_ns, bytes, flops, ..OpTotals::default() };
        row
    }

    fn sorted(&self, mut rows: Vec<Row>) -> Vec<Row> {
        let number = |value: Option<f64>| value.unwrap_or(f64::NEG_INFINITY);
        match self.table.sort {
            Column::Share => rows.sort_by_key(|row| std::cmp::Reverse(row.time_ns())),
            Column::Plan => rows.sort_by_key(|row| row.place),
            Column::Name => rows.sort_by(|a, b| a.name.cmp(&b.name)),
            Column::Count => rows.sort_by_key(|row| std::cmp::Reverse(row.count())),
            Column::Longest => rows.sort_by_key(|row| std::cmp::Reverse(row.max_ns())),
            Column::Bandwidth => {
                rows.sort_by(|a, b| number(b.bytes_per_second()).total_cmp(&number(a.bytes_per_second())));
            }
            Column::Compute => {
                rows.sort_by(|a, b| number(b.flops_per_second()).total_cmp(&number(a.flops_per_second())));
            }
        }
        if self.table.reversed {
            rows.reverse();
        }
        rows
    }
}
