//! Tables of the time by module and by op.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Write;

use slmscope_profiles::display::{self, or_absent};
use slmscope_profiles::lane::{HOST_LANE, LaneId};
use slmscope_profiles::op::Phase;
use slmscope_profiles::result::{OpRow, RunResult};
use slmscope_profiles::span::NamedSpan;
use slmscope_profiles::totals::{GroupTotals, saturating_sum};

use super::{giga, printable, section};
use crate::style::Style;
use crate::table::{Align, Table};

/// Rows with the same module or name, added up.
#[derive(Default)]
struct Sum {
    order: usize,
    kind: &'static str,
    group: GroupTotals,
    share: f64,
}

impl Sum {
    fn add(&mut self, op: &OpRow) {
        self.kind = op.kind.as_str();
        self.group.add(&op.totals());
        self.share += op.share;
    }

    /// Share of the roof that bounds them, and which one that is.
    fn roof(&self) -> [String; 2] {
        let roof = self.group.roof();
        [
            or_absent(roof, |(share, _)| display::share(share)),
            or_absent(roof, |(_, bound)| bound.as_str().to_owned()),
        ]
    }

    /// GB/s and GFLOP/s, by the time of the ops.
    fn rates(&self) -> [String; 2] {
        [self.group.totals.bytes_per_second(), self.group.totals.flops_per_second()].map(giga)
    }
}

/// Phases and the lanes in which their ops ran: shares are of the time of one lane in one phase.
fn parts(result: &RunResult) -> Vec<(Phase, LaneId)> {
    let mut parts: Vec<_> = result.ops.iter().map(|op| (op.phase, op.lane)).collect();
    parts.sort_unstable();
    parts.dedup();
    parts
}

/// `decode`; `decode in lane 1, queue 0 of a card` for lanes beside the host's.
fn title(result: &RunResult, phase: Phase, lane: LaneId) -> String {
    if lane == HOST_LANE {
        return phase.as_str().to_owned();
    }
    let name = result.lanes.iter().find(|books| books.lane.lane == lane).map(|books| &books.lane.name);
    let name = name.map_or_else(String::new, |name| format!(", {}", printable(name)));
    format!("{} in lane {lane}{name}", phase.as_str())
}

/// Time by module, and the time outside modules, of each phase and lane.
pub(super) fn modules(text: &mut String, result: &RunResult, style: Style) {
    for (phase, lane) in parts(result) {
        let sums = grouped(result, (phase, lane), |op| op.module.as_str().to_owned());
        section(text, &format!("{} by module", title(result, phase, lane)), style);
        let mut table = Table::new(&[
            ("module", Align::Left),
            ("share", Align::Right),
            ("time", Align::Right),
            ("GB/s", Align::Right),
            ("GFLOP/s", Align::Right),
            ("of roof", Align::Right),
            ("bound", Align::Left),
        ]);
        for (name, sum) in &sums {
            let ([roof, bound], [bytes, flops]) = (sum.roof(), sum.rates());
            table.row([
                name.clone(),
                display::share(sum.share),
                display::duration(sum.group.totals.time_ns),
                bytes,
                flops,
                roof,
                bound,
            ]);
        }
        for (name, ns, share) in rest(result, phase, lane) {
            table.row([name, display::share(share), display::duration(ns)]);
        }
        text.push_str(&table.render(style));
    }
}

/// Time by op, layers added up, of each phase and lane.
pub(super) fn ops(text: &mut String, result: &RunResult, style: Style) {
    for (phase, lane) in parts(result) {
        let mut sums = grouped(result, (phase, lane), |op| op.name.clone());
        sums.sort_by_key(|(_, sum)| (Reverse(sum.group.totals.time_ns), sum.order));
        section(text, &format!("{} by op (layers added up)", title(result, phase, lane)), style);
        let mut table = Table::new(&[
            ("op", Align::Left),
            ("kind", Align::Left),
            ("count", Align::Right),
            ("share", Align::Right),
            ("mean", Align::Right),
            ("GB/s", Align::Right),
            ("GFLOP/s", Align::Right),
            ("of roof", Align::Right),
            ("bound", Align::Left),
        ]);
        for (name, sum) in &sums {
            let ([roof, bound], [bytes, flops]) = (sum.roof(), sum.rates());
            table.row([
                name.clone(),
                sum.kind.to_owned(),
                sum.group.totals.count.to_string(),
                display::share(sum.share),
                or_absent(sum.group.totals.mean_ns(), display::duration),
                bytes,
                flops,
                roof,
                bound,
            ]);
        }
        text.push_str(&table.render(style));
        let path = result
            .ops
            .iter()
            .find(|op| (op.phase, op.lane) == (phase, lane))
            .map_or("", |op| op.path.as_str());
        let _ = writeln!(text, "  {}", style.dim(&format!("kernels: {path}; GB/s and GFLOP/s are derived: the plan's bytes and FLOPs divided by the op's own time")));
    }
}

/// Rows of a lane in a phase by a key, in the order of the plan.
fn grouped(result: &RunResult, part: (Phase, LaneId), key: impl Fn(&OpRow) -> String) -> Vec<(String, Sum)> {
    let mut sums: BTreeMap<String, Sum> = BTreeMap::new();
    for (order, op) in result.ops.iter().filter(|op| (op.phase, op.lane) == part).enumerate() {
        sums.entry(key(op)).or_insert_with(|| Sum { order, ..Sum::default() }).add(op);
    }
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_by_key(|(_, sum)| sum.order);
    sums
}

/// Time outside ops of a lane in a repetition.
struct Outside<'a> {
    wall_ns: u64,
    gap_ns: u64,
    unattributed_ns: u64,
    other: &'a [NamedSpan],
}

fn outside(result: &RunResult, phase: Phase, lane: LaneId) -> Vec<Outside<'_>> {
    if lane == HOST_LANE {
        let books = result.phases.iter().filter(|books| books.phase == phase);
        let outside = books.map(|books| Outside {
            wall_ns: books.recorded_wall_ns,
            gap_ns: books.gap_ns,
            unattributed_ns: books.unattributed_ns,
            other: &books.other,
        });
        return outside.collect();
    }
    let books = result.lanes.iter().filter(|books| (books.phase, books.lane.lane) == (phase, lane));
    let outside = books.map(|books| Outside {
        wall_ns: books.wall_ns,
        gap_ns: books.gap_ns,
        unattributed_ns: books.unattributed_ns,
        other: &books.other,
    });
    outside.collect()
}

/// Time outside ops: named spans, gap, unattributed.
fn rest(result: &RunResult, phase: Phase, lane: LaneId) -> Vec<(String, u64, f64)> {
    let outside = outside(result, phase, lane);
    let sum = |part: fn(&Outside<'_>) -> u64| saturating_sum(outside.iter().map(part));
    let wall = sum(|books| books.wall_ns);
    let mut rows: Vec<(String, u64)> = Vec::new();
    for row in outside.iter().flat_map(|books| books.other) {
        match rows.iter_mut().find(|(name, _)| name == row.name.as_str()) {
            Some((_, ns)) => *ns = ns.saturating_add(row.ns),
            None => rows.push((row.name.to_string(), row.ns)),
        }
    }
    rows.retain(|(_, ns)| *ns > 0);
    rows.push(("gap".to_owned(), sum(|books| books.gap_ns)));
    rows.push(("unattributed".to_owned(), sum(|books| books.unattributed_ns)));
    let share = |ns: u64| if wall > 0 { ns as f64 / wall as f64 } else { 0.0 };
    rows.into_iter().map(|(name, ns)| (name, ns, share(ns))).collect()
}
