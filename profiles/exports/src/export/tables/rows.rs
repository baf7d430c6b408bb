//! The rows of each table: names, types and values of their columns, side by side.

use slmscope_profiles::books::Books;
use slmscope_profiles::channel::{Channel, Sample, Value};
use slmscope_profiles::job::JobId;
use slmscope_profiles::op::BatchHead;
use slmscope_profiles::plan::site::OpSite;
use slmscope_profiles::profile::{OpRow, PhaseBooks};
use slmscope_profiles::result::Memory;
use slmscope_profiles::totals::saturating_sum;

use super::super::Op;
use super::super::readings::unit;
use super::cell::{Cell, Column, ColumnKind};

/// A table's columns as a list and its cells as a function, from one list of names, types and values.
macro_rules! table {
    ($(#[$what:meta])* $columns:ident, $cells:ident($row:ident: $type:ty) { $($name:ident: $kind:ident = $value:expr,)* }) => {
        $(#[$what])*
        pub(super) const $columns: &[Column] = &[$((stringify!($name), ColumnKind::$kind)),*];

        $(#[$what])*
        pub(super) fn $cells<'a>($row: &'a $type) -> [Cell<'a>; $columns.len()] {
            [$($value.into()),*]
        }
    };
}

/// A step of the plan, run once.
pub(super) struct Event<'a> {
    pub(super) head: &'a BatchHead,
    pub(super) site: &'a OpSite,
    pub(super) op: &'a Op,
}

table! {
    /// Op events.
    EVENTS, event(row: Event<'_>) {
        job: Integer = row.head.job,
        run: Integer = row.head.repetition,
        phase: Text = row.head.phase.as_str(),
        token: Integer = row.head.token,
        lane: Integer = row.head.lane,
        site: Integer = row.op.site,
        module: Text = row.site.module.as_str(),
        name: Text = row.site.name.as_str(),
        kind: Text = row.site.kind.as_str(),
        layer: Integer = row.site.layer,
        begin_ns: Integer = row.op.begin_ns,
        duration_ns: Integer = row.op.duration_ns,
        bytes: Integer = row.op.bytes,
        flops: Integer = row.op.flops,
    }
}

/// An op of a job's measured phase.
pub(super) struct OpOf<'a> {
    pub(super) job: JobId,
    pub(super) row: &'a OpRow,
}

table! {
    /// Sums by op.
    OPS, op(row: OpOf<'_>) {
        job: Integer = row.job,
        phase: Text = row.row.phase.as_str(),
        lane: Integer = row.row.lane,
        site: Integer = row.row.id,
        module: Text = row.row.module.as_str(),
        name: Text = row.row.name.as_str(),
        kind: Text = row.row.kind.as_str(),
        layer: Integer = row.row.layer,
        path: Text = row.row.path.as_str(),
        runs: Integer = row.row.runs,
        count: Integer = row.row.count,
        time_ns: Integer = row.row.time_ns,
        max_ns: Integer = row.row.max_ns,
        bytes: Integer = row.row.bytes,
        flops: Integer = row.row.flops,
        share: Real = row.row.share,
        roof_share: Real = row.row.roof.map(|roof| roof.share),
        bound: Text = row.row.roof.map(|roof| roof.bound.as_str()),
    }
}

/// A phase of a job's repetition.
pub(super) struct PhaseOf<'a> {
    pub(super) job: JobId,
    pub(super) books: &'a PhaseBooks,
}

table! {
    /// Books of phases.
    PHASES, phase(row: PhaseOf<'_>) {
        job: Integer = row.job,
        phase: Text = row.books.phase.as_str(),
        run: Integer = row.books.repetition,
        tokens: Integer = row.books.tokens,
        recorded_tokens: Integer = row.books.recorded_tokens,
        wall_ns: Integer = row.books.wall_ns,
        recorded_wall_ns: Integer = row.books.recorded_wall_ns,
        ops_ns: Integer = row.books.ops_ns,
        gap_ns: Integer = row.books.gap_ns,
        other_ns: Integer = saturating_sum(row.books.other.iter().map(|span| span.ns)),
        unattributed_ns: Integer = row.books.unattributed_ns,
    }
}

/// A token or chunk in one lane.
pub(super) struct Token<'a> {
    pub(super) head: &'a BatchHead,
    pub(super) books: &'a Books,
    /// Those that are selected.
    pub(super) ops: &'a [Op],
}

impl Token<'_> {
    fn sum(&self, of: fn(&Op) -> u64) -> u64 {
        saturating_sum(self.ops.iter().map(of))
    }
}

table! {
    /// Tokens and chunks.
    TOKENS, token(row: Token<'_>) {
        job: Integer = row.head.job,
        run: Integer = row.head.repetition,
        phase: Text = row.head.phase.as_str(),
        token: Integer = row.head.token,
        lane: Integer = row.head.lane,
        rows: Integer = row.head.rows,
        context: Integer = row.head.context,
        begin_ns: Integer = row.head.begin_ns,
        wall_ns: Integer = row.books.wall_ns,
        ops_ns: Integer = row.books.ops_ns,
        gap_ns: Integer = row.books.gap_ns,
        other_ns: Integer = row.books.other_ns(),
        unattributed_ns: Integer = row.books.unattributed_ns,
        selected_ops: Integer = row.ops.len() as u64,
        selected_ns: Integer = row.sum(|op| op.duration_ns),
        bytes: Integer = row.sum(|op| op.bytes),
        flops: Integer = row.sum(|op| op.flops),
    }
}

/// A reading of a channel, or what is derived from it.
pub(super) struct Reading<'a> {
    pub(super) sample: &'a Sample,
    pub(super) channel: &'a Channel,
    /// The channel's scope as text.
    pub(super) scope: String,
    pub(super) value: Value,
}

table! {
    /// Readings.
    CHANNELS, reading(row: Reading<'_>) {
        t_ns: Integer = row.sample.t_ns,
        channel: Text = row.channel.id.as_str(),
        unit: Text = unit(row.channel.unit),
        scope: Text = row.scope.as_str(),
        class: Text = row.channel.class.as_str(),
        value: Real = match row.value {
            Value::Present(value) => Some(value),
            Value::Absent(_) => None,
        },
        reason: Text = match row.value {
            Value::Present(_) => None,
            Value::Absent(code) => Some(code.as_str()),
        },
    }
}

/// A part of the memory of a run's worker.
pub(super) struct Part<'a> {
    pub(super) job: JobId,
    pub(super) run_id: Option<&'a str>,
    pub(super) name: &'static str,
    /// May be below 0 where it is what nothing explains.
    pub(super) bytes: Option<f64>,
}

table! {
    /// Memory of the worker.
    MEMORY, part(row: Part<'_>) {
        job: Integer = row.job,
        run_id: Text = row.run_id,
        part: Text = row.name,
        bytes: Real = row.bytes,
    }
}

/// The parts of a worker's memory, bytes; `unexplained` may be below 0.
pub(super) fn memory_parts(memory: &Memory) -> [(&'static str, Option<f64>); 12] {
    let bytes = |bytes: Option<u64>| bytes.map(|bytes| bytes as f64);
    [
        ("weights", bytes(memory.weights)),
        ("packed", bytes(memory.packed)),
        ("kv", bytes(memory.kv)),
        ("scratch", bytes(memory.scratch)),
        ("tokenizer", bytes(memory.tokenizer)),
        ("runtime", bytes(memory.runtime)),
        ("unexplained", memory.unexplained.map(|bytes| bytes as f64)),
        ("rss", bytes(memory.rss)),
        ("rss_peak", bytes(memory.rss_peak)),
        ("pss", bytes(memory.pss)),
        ("mapped", bytes(memory.mapped)),
        ("available", bytes(memory.available)),
    ]
}
