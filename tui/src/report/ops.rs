//! Tables of the time by module and by op.

use std::collections::BTreeMap;
use std::fmt::Write;

use slmscope_profiles::display;
use slmscope_profiles::op::Phase;
use slmscope_profiles::result::{OpRow, RunResult};
use slmscope_profiles::roofline::{Bound, RoofBound};

use super::section;
use crate::style::Style;
use crate::table::{Align, Table};

/// Rows with the same module or name, added up.
#[derive(Default)]
struct Sum {
    order: usize,
    kind: &'static str,
    count: u64,
    time_ns: u64,
    bytes: u64,
    flops: u64,
    share: f64,
    bound: RoofBound,
}

impl Sum {
    fn add(&mut self, op: &OpRow) {
        self.kind = op.kind.as_str();
        self.count += op.count;
        self.time_ns += op.time_ns;
        self.bytes += op.bytes;
        self.flops += op.flops;
        self.share += op.share;
        if let Some(roof) = op.roof {
            let (memory_ns, compute_ns) = (roof.memory_ns as f64, roof.compute_ns as f64);
            self.bound.add(RoofBound { memory_ns, compute_ns, ns: memory_ns.max(compute_ns) });
        }
    }

    /// Share of the roof that bounds them, and which one that is.
    fn roof(&self) -> [String; 2] {
        [
            display::or_absent(self.bound.share(self.time_ns), display::share),
            display::or_absent(self.bound.bound(self.time_ns), |bound: Bound| bound.as_str().to_owned()),
        ]
    }

    fn rate(&self, amount: u64) -> String {
        // 1 per ns is 1 G per second.
        if amount == 0 || self.time_ns == 0 {
            return display::ABSENT.to_owned();
        }
        display::significant(amount as f64 / self.time_ns as f64)
    }
}

/// Time by module, and the time outside modules, of each phase.
pub(super) fn modules(text: &mut String, result: &RunResult, style: Style) {
    for phase in [Phase::Prefill, Phase::Decode] {
        let sums = grouped(result, phase, |op| op.module.as_str().to_owned());
        if sums.is_empty() {
            continue;
        }
        section(text, &format!("{} by module", phase.as_str()), style);
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
            let [roof, bound] = sum.roof();
            table.row([
                name.clone(),
                display::share(sum.share),
                display::duration(sum.time_ns),
                sum.rate(sum.bytes),
                sum.rate(sum.flops),
                roof,
                bound,
            ]);
        }
        for (name, ns, share) in rest(result, phase) {
            table.row([name, display::share(share), display::duration(ns)]);
        }
        text.push_str(&table.render(style));
    }
}

/// Time by op, layers added up, of each phase.
pub(super) fn ops(text: &mut String, result: &RunResult, style: Style) {
    for phase in [Phase::Prefill, Phase::Decode] {
        let mut sums = grouped(result, phase, |op| op.name.clone());
        if sums.is_empty() {
            continue;
        }
        sums.sort_by(|a, b| b.1.time_ns.cmp(&a.1.time_ns).then(a.1.order.cmp(&b.1.order)));
        section(text, &format!("{} by op (layers added up)", phase.as_str()), style);
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
            let [roof, bound] = sum.roof();
            table.row([
                name.clone(),
                sum.kind.to_owned(),
                sum.count.to_string(),
                display::share(sum.share),
                display::duration(sum.time_ns / sum.count.max(1)),
                sum.rate(sum.bytes),
                sum.rate(sum.flops),
                roof,
                bound,
            ]);
        }
        text.push_str(&table.render(style));
        let path = result.ops.iter().find(|op| op.phase == phase).map_or("", |op| op.path.as_str());
        let _ = writeln!(text, "  {}", style.dim(&format!("kernels: {path}; GB/s and GFLOP/s are derived: the plan's bytes and FLOPs divided by the op's own time")));
    }
}

/// Rows of a phase by a key, in the order of the plan.
fn grouped(result: &RunResult, phase: Phase, key: impl Fn(&OpRow) -> String) -> Vec<(String, Sum)> {
    let mut sums: BTreeMap<String, Sum> = BTreeMap::new();
    for (order, op) in result.ops.iter().filter(|op| op.phase == phase).enumerate() {
        sums.entry(key(op)).or_insert_with(|| Sum { order, ..Sum::default() }).add(op);
    }
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_by_key(|(_, sum)| sum.order);
    sums
}

/// Time outside ops: named spans, gap, unattributed.
fn rest(result: &RunResult, phase: Phase) -> Vec<(String, u64, f64)> {
    let books = || result.phases.iter().filter(|books| books.phase == phase);
    let wall: u64 = books().map(|books| books.recorded_wall_ns).sum();
    let mut rows: Vec<(String, u64)> = Vec::new();
    for row in books().flat_map(|books| &books.other) {
        match rows.iter_mut().find(|(name, _)| name == row.name.as_str()) {
            Some((_, ns)) => *ns += row.ns,
            None => rows.push((row.name.to_string(), row.ns)),
        }
    }
    rows.retain(|(_, ns)| *ns > 0);
    rows.push(("gap".to_owned(), books().map(|books| books.gap_ns).sum()));
    rows.push(("unattributed".to_owned(), books().map(|books| books.unattributed_ns).sum()));
    let share = |ns: u64| if wall > 0 { ns as f64 / wall as f64 } else { 0.0 };
    rows.into_iter().map(|(name, ns)| (name, ns, share(ns))).collect()
}
