//! Tables of the time by module and by op.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use slmscope_profiles::above_roof::AboveRoof;
use slmscope_profiles::display::{self, ABSENT, or_absent};
use slmscope_profiles::lane::{HOST_LANE, LaneId};
use slmscope_profiles::op::Phase;
use slmscope_profiles::plan::site::OpKind;
use slmscope_profiles::result::{OpRow, RunResult};
use slmscope_profiles::span::NamedSpan;
use slmscope_profiles::totals::{EventPlace, GroupTotals, saturating_sum};

use super::{giga, note, printable, section};
use crate::style::Style;
use crate::table::{Align, Table};

/// Ops of the short report.
const MATTER: usize = 5;

/// Rows with the same module or name, added up.
#[derive(Default)]
pub(super) struct Sum {
    order: usize,
    /// Kind of its ops; `None` for several.
    kind: Option<OpKind>,
    pub(super) group: GroupTotals,
    pub(super) share: f64,
}

impl Sum {
    fn add(&mut self, op: &OpRow) {
        let is_first = self.group.totals.count == 0;
        self.kind = self.kind.filter(|kind| *kind == op.kind).or(is_first.then_some(op.kind));
        self.group.add(&op.totals());
        self.share += op.share;
    }

    /// GB/s and GFLOP/s, by the time of the ops.
    fn rates(&self) -> [String; 2] {
        [self.group.totals.bytes_per_second(), self.group.totals.flops_per_second()].map(giga)
    }

    /// How long the longest call took, and where: `316 µs (7/4)` in layer 7 of token 4; `790 µs (-/4)` of an op in no layer.
    fn longest(&self) -> String {
        let (took, layer) = (display::duration(self.group.totals.max_ns), self.group.max_layer);
        self.group.totals.max_at.map_or_else(
            || took.clone(),
            |at| {
                let layer = layer.map_or_else(|| "-".to_owned(), |layer| layer.to_string());
                format!("{took} ({layer}/{})", u64::from(at.token) + 1)
            },
        )
    }
}

/// The ops of one lane in one phase: shares are of its time.
pub(super) struct Part<'a> {
    result: &'a RunResult,
    pub(super) phase: Phase,
    lane: LaneId,
    /// What its ops read for one token or chunk.
    token_bytes: Option<f64>,
}

impl<'a> Part<'a> {
    fn new(result: &'a RunResult, phase: Phase, lane: LaneId) -> Self {
        let of_part = || result.ops.iter().filter(|op| (op.phase, op.lane) == (phase, lane));
        let tokens = of_part().map(|op| op.count).max().unwrap_or(0);
        let bytes = saturating_sum(of_part().map(|op| op.bytes));
        let token_bytes = (tokens > 0).then(|| bytes as f64 / tokens as f64);
        Self { result, phase, lane, token_bytes }
    }

    /// All phases and the lanes in which their ops ran.
    pub(super) fn all(result: &'a RunResult) -> Vec<Self> {
        let mut parts: Vec<_> = result.ops.iter().map(|op| (op.phase, op.lane)).collect();
        parts.sort_unstable();
        parts.dedup();
        parts.into_iter().map(|(phase, lane)| Self::new(result, phase, lane)).collect()
    }

    /// What most people look at: decode on the host; prefill if nothing was decoded.
    pub(super) fn main(result: &'a RunResult) -> Option<Self> {
        let mut parts = Self::all(result);
        parts.sort_by_key(|part| (part.lane != HOST_LANE, part.phase != Phase::Decode));
        parts.into_iter().next()
    }

    fn rows(&self) -> impl Iterator<Item = &'a OpRow> {
        let part = (self.phase, self.lane);
        self.result.ops.iter().filter(move |op| (op.phase, op.lane) == part)
    }

    /// Its rows by a key, in the order of the plan.
    fn grouped(&self, key: impl Fn(&OpRow) -> String) -> Vec<(String, Sum)> {
        let mut sums: BTreeMap<String, Sum> = BTreeMap::new();
        for (order, op) in self.rows().enumerate() {
            sums.entry(key(op)).or_insert_with(|| Sum { order, ..Sum::default() }).add(op);
        }
        let mut sums: Vec<_> = sums.into_iter().collect();
        sums.sort_by_key(|(_, sum)| sum.order);
        sums
    }

    /// Layers added up, the op that takes most first.
    pub(super) fn by_op(&self) -> Vec<(String, Sum)> {
        let mut sums = self.grouped(|op| op.name.clone());
        sums.sort_by_key(|(_, sum)| (Reverse(sum.group.totals.time_ns), sum.order));
        sums
    }

    /// In the order of the plan.
    pub(super) fn by_module(&self) -> Vec<(String, Sum)> {
        self.grouped(|op| op.module.as_str().to_owned())
    }

    /// Everything together.
    pub(super) fn whole(&self) -> Sum {
        let mut whole = Sum::default();
        self.rows().for_each(|op| whole.add(op));
        whole
    }

    /// Why `sum` is above its roof; `None` where it is not.
    pub(super) fn above_roof(&self, sum: &Sum) -> Option<AboveRoof> {
        let caches = self.result.host.as_ref().map_or(&[][..], |host| &host.caches);
        AboveRoof::of(&sum.group, sum.kind, self.token_bytes, caches)
    }

    /// Share of the nearer roof, and the roof's name, or the reason if it is above it: the words of tables and sentence.
    pub(super) fn reached(&self, sum: &Sum) -> Option<(String, String)> {
        let (share, bound) = sum.group.roof()?;
        let what = self.above_roof(sum).map_or_else(|| bound.as_str().to_owned(), |why| why.short());
        Some((display::share(share), what))
    }

    fn roof(&self, sum: &Sum) -> String {
        or_absent(self.reached(sum), |(percent, what)| format!("{percent:>7} {what}"))
    }

    /// What a phase is a sequence of.
    fn step(&self) -> &'static str {
        if self.phase == Phase::Prefill { "chunk" } else { "token" }
    }

    /// When and in which layer the longest call of `sum` ran: `layer 7, repetition 2, token 14, context 270`, counted from
    /// 1 but for layers.
    fn longest(&self, sum: &Sum) -> String {
        let layer = sum.group.max_layer.map(|layer| format!("layer {layer}"));
        let at = sum.group.totals.max_at.map(|EventPlace { repetition, token }| {
            let (repetition, number) = (u64::from(repetition) + 1, u64::from(token) + 1);
            let context = match self.phase {
                Phase::Decode => format!(", context {}", self.result.context_at(token)),
                _ => String::new(),
            };
            format!("repetition {repetition}, {} {number}{context}", self.step())
        });
        let parts: Vec<_> = layer.into_iter().chain(at).collect();
        if parts.is_empty() { "not recorded".to_owned() } else { parts.join(", ") }
    }

    /// Why some of `sums` have no rate or no share of a roof, in one note; none if all have.
    fn absences<'s>(
        &self,
        text: &mut String,
        sums: impl Iterator<Item = &'s Sum>,
        is_short: bool,
        style: Style,
    ) {
        let [mut no_bytes, mut no_flops, mut no_roof] = [false; 3];
        for Sum { group, .. } in sums {
            no_bytes |= group.totals.bytes_per_second().is_none();
            no_flops |= group.totals.flops_per_second().is_none();
            no_roof |= group.roof().is_none();
        }
        let roofs = &self.result.roofs;
        let why_no_roof = roofs.reason.as_deref().unwrap_or("it moves no bytes and computes nothing");
        let reasons = [
            (no_bytes, "GB/s: the op reads no weights and no cache".to_owned()),
            (no_flops && !is_short, "GFLOP/s: it only moves data".to_owned()),
            (no_roof, format!("of roof: {}", printable(why_no_roof))),
        ];
        let reasons: Vec<_> =
            reasons.into_iter().filter(|(is_absent, _)| *is_absent).map(|(_, reason)| reason).collect();
        if !reasons.is_empty() {
            note(text, &format!("{ABSENT} in {}", reasons.join("; ")), style);
        }
    }

    /// A note for each reason for which some of `sums` are above their roofs.
    fn notes(&self, text: &mut String, sums: &[(String, Sum)], style: Style) {
        let mut reasons: Vec<(String, Vec<&str>)> = Vec::new();
        for (name, sum) in sums {
            let Some(why) = self.above_roof(sum).map(|why| why.to_string()) else { continue };
            match reasons.iter_mut().find(|(known, _)| *known == why) {
                Some((_, names)) => names.push(name),
                None => reasons.push((why, vec![name])),
            }
        }
        for (why, names) in reasons {
            note(text, &format!("above 100 % of the roof: {}: {why}", names.join(", ")), style);
        }
    }

    /// `decode`; `decode in lane 1, queue 0 of a card` for lanes beside the host's.
    fn title(&self) -> String {
        if self.lane == HOST_LANE {
            return self.phase.as_str().to_owned();
        }
        let name = self.result.lanes.iter().find(|books| books.lane.lane == self.lane);
        let name = name.map_or_else(String::new, |books| format!(", {}", printable(&books.lane.name)));
        format!("{} in lane {}{name}", self.phase.as_str(), self.lane)
    }
}

/// Time by module, and the time outside modules, of each phase and lane.
pub(super) fn modules(text: &mut String, result: &RunResult, style: Style) {
    for part in Part::all(result) {
        let sums = part.by_module();
        section(text, &format!("{} by module (totals of the repetitions)", part.title()), style);
        let mut table = Table::new(&[
            ("module", Align::Left),
            ("share", Align::Right),
            ("total time", Align::Right),
            ("GB/s", Align::Right),
            ("GFLOP/s", Align::Right),
            ("of roof", Align::Left),
        ]);
        for (name, sum) in &sums {
            let [bytes, flops] = sum.rates();
            table.row([
                name.clone(),
                display::share(sum.share),
                display::duration(sum.group.totals.time_ns),
                bytes,
                flops,
                part.roof(sum),
            ]);
        }
        for (name, ns, share) in rest(result, part.phase, part.lane) {
            table.row([name, display::share(share), display::duration(ns)]);
        }
        text.push_str(&table.render(style));
        part.absences(text, sums.iter().map(|(_, sum)| sum), false, style);
        part.notes(text, &sums, style);
    }
}

/// Time by op, layers added up, of each phase and lane.
pub(super) fn ops(text: &mut String, result: &RunResult, style: Style) {
    for part in Part::all(result) {
        let sums = part.by_op();
        section(
            text,
            &format!("{} by op (layers added up; mean and max of single calls)", part.title()),
            style,
        );
        let mut table = Table::new(&[
            ("op", Align::Left),
            ("kind", Align::Left),
            ("count", Align::Right),
            ("share", Align::Right),
            ("mean", Align::Right),
            ("max", Align::Right),
            ("GB/s", Align::Right),
            ("GFLOP/s", Align::Right),
            ("of roof", Align::Left),
        ]);
        for (name, sum) in &sums {
            let [bytes, flops] = sum.rates();
            table.row([
                printable(name),
                sum.kind.map_or_else(|| "several".to_owned(), |kind| kind.as_str().to_owned()),
                sum.group.totals.count.to_string(),
                display::share(sum.share),
                or_absent(sum.group.totals.mean_ns(), display::duration),
                display::duration(sum.group.totals.max_ns),
                bytes,
                flops,
                part.roof(sum),
            ]);
        }
        table.fit(style, &["kind", "count", "GFLOP/s"]);
        text.push_str(&table.render(style));
        let path = part.rows().next().map_or("", |op| op.path.as_str());
        let remark = format!(
            "kernels: {path}; GB/s and GFLOP/s are derived: the plan's bytes and FLOPs divided by the op's own time"
        );
        note(text, &remark, style);
        part.absences(text, sums.iter().map(|(_, sum)| sum), false, style);
        part.notes(text, &sums, style);
        longest(text, &part, &sums, style);
    }
}

/// The longest call of every op, those that took the largest multiple of their op's mean first.
fn longest(text: &mut String, part: &Part<'_>, sums: &[(String, Sum)], style: Style) {
    let times = |sum: &Sum| {
        let mean = sum.group.totals.mean_ns().filter(|&mean| mean > 0)?;
        Some(sum.group.totals.max_ns as f64 / mean as f64)
    };
    let mut sums: Vec<_> = sums.iter().filter_map(|(name, sum)| Some((name, sum, times(sum)?))).collect();
    sums.sort_by(|a, b| b.2.total_cmp(&a.2));
    section(text, &format!("{}: the longest calls", part.title()), style);
    let mut table = Table::new(&[
        ("op", Align::Left),
        ("max", Align::Right),
        ("× mean", Align::Right),
        ("at", Align::Left),
    ]);
    for (name, sum, times) in sums {
        table.row([
            printable(name),
            display::duration(sum.group.totals.max_ns),
            display::significant(times),
            part.longest(sum),
        ]);
    }
    text.push_str(&table.render(style));
}

/// The ops that matter: those that take most of the time.
pub(super) fn short(text: &mut String, part: &Part<'_>, style: Style) {
    let is_prefill = part.phase == Phase::Prefill;
    let title = if is_prefill { "prefill by op" } else { "decode by op" };
    let longest = if is_prefill { "longest (layer/chunk)" } else { "longest (layer/token)" };
    let mut table = Table::new(&[
        (title, Align::Left),
        ("share", Align::Right),
        ("mean", Align::Right),
        (longest, Align::Right),
        ("GB/s", Align::Right),
        ("of roof", Align::Left),
    ]);
    let sums: Vec<_> = part.by_op().into_iter().take(MATTER).collect();
    for (name, sum) in &sums {
        table.row([
            printable(name),
            display::share(sum.share),
            or_absent(sum.group.totals.mean_ns(), display::duration),
            sum.longest(),
            giga(sum.group.totals.bytes_per_second()),
            part.roof(sum),
        ]);
    }
    table.fit(style, &["GB/s"]);
    text.push_str(&table.render(style));
    part.absences(text, sums.iter().map(|(_, sum)| sum), true, style);
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
