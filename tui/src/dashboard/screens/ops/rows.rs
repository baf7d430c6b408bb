//! The rows of the Ops screen: sites added up by op, module, kind, layer or format, which open into parts, and below them
//! the time outside ops. What ran in a lane beside the host's, such as a device's queue, has rows of its own below those
//! of the host.
//!
//! Shares are of the wall time that the phase took in the row's lane, whatever a filter hides. Without a filter, the rows
//! of a phase and lane add up to that time exactly.

use std::collections::{BTreeMap, HashMap};

use slmscope_profiles::above_roof::AboveRoof;
use slmscope_profiles::display;
use slmscope_profiles::lane::LaneId;
use slmscope_profiles::op::Phase;

use slmscope_profiles::plan::site::OpSite;
use slmscope_profiles::roofline::Roofs;
use slmscope_profiles::totals::{GroupTotals, OpTotals, SiteTotals};

use super::columns::Column;
use super::row::{Level, Row};
use super::state::{Group, OpsTable};
use crate::dashboard::data::Data;
use crate::dashboard::totals::PhaseSum;

/// A site and what its events add up to.
type Site<'a> = (&'a OpSite, &'a OpTotals);

/// Makes the rows of one phase in one lane.
struct Section<'a> {
    phase: Phase,
    /// The lane; `None` for the host's.
    lane: Option<LaneName<'a>>,
    sum: &'a PhaseSum,
    sites: Vec<Site<'a>>,
    roofs: Option<&'a Roofs>,
    table: &'a OpsTable,
    /// What a site is filtered by.
    filter: String,
}

/// A lane beside the host's, and what people call it.
#[derive(Clone, Copy)]
struct LaneName<'a> {
    lane: LaneId,
    name: &'a str,
}

/// The rows in the order of the screen.
pub fn rows(data: &Data, table: &OpsTable) -> Vec<Row> {
    let pinned: HashMap<String, f64> = match &table.baseline {
        Some(baseline) => {
            let per_token = |row: &Row| (row.tokens > 0).then(|| row.time_ns() as f64 / row.tokens as f64);
            let rows = unpinned(&baseline.data, table, &HashMap::new()).into_iter();
            rows.filter_map(|row| Some((row.key.clone(), per_token(&row)?))).collect()
        }
        None => HashMap::new(),
    };
    unpinned(data, table, &pinned)
}

/// The rows, with the times per token of those that `pinned` has, by key.
fn unpinned(data: &Data, table: &OpsTable, pinned: &HashMap<String, f64>) -> Vec<Row> {
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
            let filter = table.list.filter.to_lowercase();
            Section { phase, lane, sum, sites, roofs, table, filter }.push_to(&mut rows);
            let token_bytes = sum.token_bytes();
            for row in rows.iter_mut().skip(first) {
                row.above_roof = AboveRoof::of(&row.group, row.op_kind, token_bytes, &data.caches);
                row.pinned_ns = pinned.get(&row.key).copied();
                if lane.is_none() {
                    row.p99_ns =
                        data.events.calls(phase, &row.sites).and_then(|calls| calls.percentile(0.99));
                }
            }
        }
    }
    rows
}

impl Section<'_> {
    /// The beginning of the keys of its rows.
    fn root(&self) -> String {
        match self.lane {
            None => self.phase.as_str().to_owned(),
            Some(LaneName { lane, .. }) => format!("{}/lane {lane}", self.phase.as_str()),
        }
    }

    fn row(&self, level: Level, key: String, name: String) -> Row {
        Row {
            open: self.table.open.contains(&key),
            opens: false,
            key,
            level,
            depth: 0,
            phase: self.phase,
            module: "",
            name,
            kind: "",
            format: String::new(),
            group: GroupTotals::default(),
            op_kind: None,
            above_roof: None,
            p99_ns: None,
            sites: Vec::new(),
            pinned_ns: None,
            wall_ns: self.sum.books.wall_ns,
            tokens: self.sum.rows,
            place: u16::MAX,
        }
    }

    fn push_to(&self, rows: &mut Vec<Row>) {
        let sites: Vec<_> = self.sites.iter().copied().filter(|(site, _)| self.matches(site)).collect();
        let mut others = self.others();
        others.retain(|row| row.name.to_lowercase().contains(&self.filter));
        let ops = sites.iter().fold(0_u64, |sum, (_, site)| sum.saturating_add(site.time_ns));
        let shown = others.iter().fold(ops, |sum, row| sum.saturating_add(row.time_ns()));
        if self.lane.is_some() && sites.is_empty() && others.is_empty() {
            return;
        }
        // A lane's total is its heading: the rows below it do not add up with those of the host. The same holds where two
        // phases are shown.
        let is_headed = self.lane.is_some() || self.table.phase.is_none();
        let depth = usize::from(self.lane.is_some());
        if is_headed {
            rows.push(self.total(shown));
        }
        self.push_groups(&sites, self.table.group.levels(), &self.root(), depth, rows);
        for row in &mut others {
            row.depth = depth;
        }
        rows.append(&mut others);
        if !is_headed {
            rows.push(self.total(shown));
        }
    }

    /// Whether the filter shows a site.
    fn matches(&self, site: &OpSite) -> bool {
        let has = |text: &str| text.to_lowercase().contains(&self.filter);
        has(&site.name)
            || has(site.module.as_str())
            || has(site.kind.as_str())
            || site.layer.is_some_and(|layer| has(&format!("layer {layer}")))
            || site.weights.iter().any(|weight| has(weight.format.name()))
    }

    /// The sites added up by the first of `levels`, with the parts of those that are open.
    fn push_groups(
        &self,
        sites: &[Site<'_>],
        levels: &[Group],
        parent: &str,
        depth: usize,
        rows: &mut Vec<Row>,
    ) {
        let Some((&level, further)) = levels.split_first() else { return };
        let mut found: BTreeMap<String, (Row, Vec<Site<'_>>)> = BTreeMap::new();
        for &(site, totals) in sites {
            let (key, name) = group(site, level, depth > usize::from(self.lane.is_some()));
            let (row, parts) = found.entry(key).or_insert_with_key(|key| {
                (self.row(level.into(), format!("{parent}/{key}"), name), Vec::new())
            });
            row.add(site, totals, self.roofs);
            parts.push((site, totals));
        }
        let mut found: Vec<_> = found.into_values().collect();
        let is_inner_layer = level == Group::Layer && !further.contains(&Group::Op);
        let order = if is_inner_layer { Column::Plan } else { self.table.sort };
        found.sort_by(|(a, _), (b, _)| order.compare(a, b));
        if self.table.reversed && !is_inner_layer {
            found.reverse();
        }
        for (mut row, parts) in found {
            (row.depth, row.opens) = (depth, !further.is_empty());
            let (open, key) = (row.open && row.opens, row.key.clone());
            rows.push(row);
            if open {
                self.push_groups(&parts, further, &key, depth + 1, rows);
            }
        }
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
        let row = |level, name: &str, time_ns| {
            let mut row = self.row(level, format!("{}/{name}", self.root()), name.to_owned());
            row.group.totals.time_ns = time_ns;
            row
        };
        let mut rows: Vec<_> =
            parts.into_iter().map(|(name, time_ns)| row(Level::Other, name, time_ns)).collect();
        rows.push(row(Level::Unattributed, "unattributed", books.unattributed_ns));
        rows
    }

    fn total(&self, shown_ns: u64) -> Row {
        let whole = match self.lane {
            None => self.phase.as_str().to_owned(),
            Some(LaneName { lane, name }) => format!("lane {lane} {name}"),
        };
        let name = if self.filter.is_empty() {
            format!("{whole} in all")
        } else {
            let share = shown_ns as f64 / self.sum.books.wall_ns as f64;
            format!("{whole} in all (shown: {})", display::share(share))
        };
        let mut row = self.row(Level::Total, format!("{}/total", self.root()), name);
        self.sites.iter().for_each(|(site, totals)| row.group.add_site(site, totals, self.roofs));
        let &PhaseSum { bytes, flops, .. } = self.sum;
        row.group.totals = OpTotals { time_ns: self.sum.books.wall_ns, bytes, flops, ..OpTotals::default() };
        row
    }
}

/// The group of a site at a level: what its key has, and its name. Ops of one name in several modules are several rows,
/// unless they are parts of one.
fn group(site: &OpSite, level: Group, is_part: bool) -> (String, String) {
    let same = |name: &str| (name.to_owned(), name.to_owned());
    match level {
        Group::Op if is_part => same(&site.name),
        Group::Op => (format!("{}/{}", site.module.as_str(), site.name), site.name.clone()),
        Group::Module => same(site.module.as_str()),
        Group::Kind => same(site.kind.as_str()),
        Group::Layer => match site.layer {
            Some(layer) => (format!("layer {layer}"), format!("layer {layer}")),
            None if is_part => same(&site.name),
            None => same("outside of layers"),
        },
        Group::Format => same(site.weights.first().map_or("no weights", |weight| weight.format.name())),
    }
}
