//! Tables: rows for spreadsheets and data frames.
//!
//! | table | a row is |
//! |---|---|
//! | events | a step of the plan, run once |
//! | ops | a step of the plan in a measured phase, summed over the repetitions: the ops of the report |
//! | phases | a measured phase of one repetition: the books of the report |
//! | tokens | a token of decode or a chunk of prefill, in one lane |
//! | channels | a reading, or what was derived from it; a value that is absent has its reason |
//! | memory | a part of the memory of a run's worker |
//!
//! All times are CLOCK_MONOTONIC ns. In `events` and `tokens` warm-up and the measuring of the recorder's cost are
//! phases of their own.

use std::collections::BTreeMap;
use std::io;
use std::str::FromStr;

use slmscope_profiles::channel::Value;
use slmscope_profiles::job::JobId;
use slmscope_profiles::profile::{OpRow, PhaseBooks, Profile};
use slmscope_profiles::record::PlanRecord;
use slmscope_profiles::result::{Memory, RunResult};
use slmscope_profiles::totals::saturating_sum;

use super::readings::Readings;
use super::timeline::unit;
use super::{Batch, Export, Item};

/// A table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableName {
    /// Op events.
    Events,
    /// Sums by op.
    Ops,
    /// Books of phases.
    Phases,
    /// Tokens and chunks.
    Tokens,
    /// Readings.
    Channels,
    /// Memory of the worker.
    Memory,
}

impl TableName {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Events, Self::Ops, Self::Phases, Self::Tokens, Self::Channels, Self::Memory];

    /// Its name in flags.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Ops => "ops",
            Self::Phases => "phases",
            Self::Tokens => "tokens",
            Self::Channels => "channels",
            Self::Memory => "memory",
        }
    }

    /// Its columns.
    pub fn columns(self) -> &'static [Column] {
        match self {
            Self::Events => EVENTS,
            Self::Ops => OPS,
            Self::Phases => PHASES,
            Self::Tokens => TOKENS,
            Self::Channels => CHANNELS,
            Self::Memory => MEMORY,
        }
    }
}

/// A word that names no table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown table `{0}`; known: events, ops, phases, tokens, channels, memory")]
pub struct UnknownTable(pub String);

impl FromStr for TableName {
    type Err = UnknownTable;

    fn from_str(text: &str) -> Result<Self, UnknownTable> {
        let found = Self::ALL.into_iter().find(|table| table.as_str() == text);
        found.ok_or_else(|| UnknownTable(text.to_owned()))
    }
}

/// What a column holds. Any value may be absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnKind {
    /// Whole numbers from 0.
    Integer,
    /// Numbers.
    Real,
    /// Text.
    Text,
}

/// A column: its name, which ends in its unit, and what it holds.
pub type Column = (&'static str, ColumnKind);

use ColumnKind::{Integer, Real, Text};

const EVENTS: &[Column] = &[
    ("job", Integer),
    ("run", Integer),
    ("phase", Text),
    ("token", Integer),
    ("lane", Integer),
    ("site", Integer),
    ("module", Text),
    ("name", Text),
    ("kind", Text),
    ("layer", Integer),
    ("begin_ns", Integer),
    ("duration_ns", Integer),
    ("bytes", Integer),
    ("flops", Integer),
];

const OPS: &[Column] = &[
    ("job", Integer),
    ("phase", Text),
    ("lane", Integer),
    ("site", Integer),
    ("module", Text),
    ("name", Text),
    ("kind", Text),
    ("layer", Integer),
    ("path", Text),
    ("runs", Integer),
    ("count", Integer),
    ("time_ns", Integer),
    ("max_ns", Integer),
    ("bytes", Integer),
    ("flops", Integer),
    ("share", Real),
    ("roof_share", Real),
    ("bound", Text),
];

const PHASES: &[Column] = &[
    ("job", Integer),
    ("phase", Text),
    ("run", Integer),
    ("tokens", Integer),
    ("recorded_tokens", Integer),
    ("wall_ns", Integer),
    ("recorded_wall_ns", Integer),
    ("ops_ns", Integer),
    ("gap_ns", Integer),
    ("other_ns", Integer),
    ("unattributed_ns", Integer),
];

const TOKENS: &[Column] = &[
    ("job", Integer),
    ("run", Integer),
    ("phase", Text),
    ("token", Integer),
    ("lane", Integer),
    ("rows", Integer),
    ("context", Integer),
    ("begin_ns", Integer),
    ("wall_ns", Integer),
    ("ops_ns", Integer),
    ("gap_ns", Integer),
    ("other_ns", Integer),
    ("unattributed_ns", Integer),
    ("selected_ops", Integer),
    ("selected_ns", Integer),
    ("bytes", Integer),
    ("flops", Integer),
];

const CHANNELS: &[Column] = &[
    ("t_ns", Integer),
    ("channel", Text),
    ("unit", Text),
    ("scope", Text),
    ("class", Text),
    ("value", Real),
    ("reason", Text),
];

const MEMORY: &[Column] = &[("job", Integer), ("run_id", Text), ("part", Text), ("bytes", Real)];

/// A value of a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cell<'a> {
    /// There is none.
    Absent,
    /// A whole number.
    Integer(u64),
    /// A number.
    Real(f64),
    /// Text.
    Text(&'a str),
}

impl From<u64> for Cell<'_> {
    fn from(number: u64) -> Self {
        Self::Integer(number)
    }
}

impl From<u32> for Cell<'_> {
    fn from(number: u32) -> Self {
        Self::Integer(number.into())
    }
}

impl From<u16> for Cell<'_> {
    fn from(number: u16) -> Self {
        Self::Integer(number.into())
    }
}

impl From<f64> for Cell<'_> {
    fn from(number: f64) -> Self {
        if number.is_finite() { Self::Real(number) } else { Self::Absent }
    }
}

impl<'a> From<&'a str> for Cell<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl<'a, T: Into<Cell<'a>>> From<Option<T>> for Cell<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Absent, Into::into)
    }
}

/// A format of rows.
pub(super) trait Rows {
    /// The columns, before the first row.
    fn begin(&mut self, columns: &'static [Column]) -> io::Result<()>;
    /// A row, with a value for each column.
    fn row(&mut self, cells: &[Cell<'_>]) -> io::Result<()>;
    /// The end.
    fn finish(&mut self) -> io::Result<()>;
}

/// Makes a table of items.
pub(super) struct Tables<R> {
    rows: R,
    table: TableName,
    has_begun: bool,
    readings: Readings,
    /// What the tables of a run are made of, where the table is one of those.
    runs: BTreeMap<JobId, Run>,
}

struct Run {
    plan: PlanRecord,
    selected: Vec<bool>,
    profile: Profile,
}

impl<R: Rows> Tables<R> {
    pub(super) fn new(rows: R, table: TableName) -> Self {
        Self { rows, table, has_begun: false, readings: Readings::default(), runs: BTreeMap::new() }
    }

    fn begin(&mut self) -> io::Result<()> {
        if std::mem::replace(&mut self.has_begun, true) {
            return Ok(());
        }
        self.rows.begin(self.table.columns())
    }

    fn is_of_profile(&self) -> bool {
        matches!(self.table, TableName::Ops | TableName::Phases)
    }

    fn batch(&mut self, batch: &Batch<'_>) -> io::Result<()> {
        match self.table {
            TableName::Events => self.events(batch),
            TableName::Tokens => self.token(batch),
            TableName::Ops | TableName::Phases => {
                if let Some(run) = self.runs.get_mut(&batch.head().job) {
                    run.profile.add_batch(batch.whole);
                }
                Ok(())
            }
            TableName::Channels | TableName::Memory => Ok(()),
        }
    }

    fn events(&mut self, batch: &Batch<'_>) -> io::Result<()> {
        let head = batch.head();
        for op in batch.ops {
            let site = batch.site(op);
            self.rows.row(&[
                head.job.into(),
                head.repetition.into(),
                head.phase.as_str().into(),
                head.token.into(),
                head.lane.into(),
                op.site.into(),
                site.module.as_str().into(),
                site.name.as_str().into(),
                site.kind.as_str().into(),
                site.layer.into(),
                op.begin_ns.into(),
                op.duration_ns.into(),
                op.bytes.into(),
                op.flops.into(),
            ])?;
        }
        Ok(())
    }

    fn token(&mut self, batch: &Batch<'_>) -> io::Result<()> {
        let (head, books) = (batch.head(), batch.books);
        let sum = |of: fn(&super::Op) -> u64| saturating_sum(batch.ops.iter().map(of));
        self.rows.row(&[
            head.job.into(),
            head.repetition.into(),
            head.phase.as_str().into(),
            head.token.into(),
            head.lane.into(),
            head.rows.into(),
            head.context.into(),
            head.begin_ns.into(),
            books.wall_ns.into(),
            books.ops_ns.into(),
            books.gap_ns.into(),
            books.other_ns().into(),
            books.unattributed_ns.into(),
            (batch.ops.len() as u64).into(),
            sum(|op| op.duration_ns).into(),
            sum(|op| op.bytes).into(),
            sum(|op| op.flops).into(),
        ])
    }

    fn plan(&mut self, plan: &PlanRecord, selected: &[bool]) {
        if !self.is_of_profile() {
            return;
        }
        let job = JobId::from(plan.plan);
        match self.runs.get_mut(&job) {
            // The same again, with the roofs of later.
            Some(run) if run.plan.sites == plan.sites && run.plan.lanes == plan.lanes => {
                run.plan = plan.clone();
            }
            _ => {
                let profile = Profile::new(plan.sites.clone(), plan.path.clone()).with_lanes(&plan.lanes);
                self.runs.insert(job, Run { plan: plan.clone(), selected: selected.to_vec(), profile });
            }
        }
    }

    fn memory(&mut self, job: JobId, result: &RunResult) -> io::Result<()> {
        for (part, bytes) in memory_parts(&result.memory) {
            self.rows.row(&[job.into(), result.run_id.as_deref().into(), part.into(), bytes.into()])?;
        }
        Ok(())
    }
}

impl<R: Rows> Export for Tables<R> {
    fn put(&mut self, item: &Item<'_>) -> io::Result<()> {
        self.begin()?;
        match item {
            Item::Channels(channels) => self.readings.add(channels),
            Item::Plan { plan, selected } => self.plan(plan, selected),
            Item::Batch(batch) => return self.batch(batch),
            Item::Phase(span) => {
                if let Some(run) = self.runs.get_mut(&span.job) {
                    run.profile.add_span((*span).clone());
                }
            }
            Item::Sample(sample) if self.table == TableName::Channels => {
                let rows = &mut self.rows;
                return self.readings.take(sample, |channel, value| {
                    let (value, reason) = match value {
                        Value::Present(value) => (Some(value), None),
                        Value::Absent(code) => (None, Some(code.as_str())),
                    };
                    rows.row(&[
                        sample.t_ns.into(),
                        channel.id.as_str().into(),
                        unit(channel.unit).into(),
                        channel.scope.to_string().as_str().into(),
                        channel.class.as_str().into(),
                        value.into(),
                        reason.into(),
                    ])
                });
            }
            Item::Result { job, result } if self.table == TableName::Memory => {
                return self.memory(*job, result);
            }
            Item::Sample(_) | Item::Result { .. } | Item::Header(_) | Item::Mark(_) | Item::Job(_) => {}
        }
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.begin()?;
        for (&job, run) in &mut self.runs {
            run.profile.close_broken(job);
            match self.table {
                TableName::Ops => {
                    for row in run.profile.ops(&run.plan.roofs) {
                        if run.selected.get(usize::from(row.id)) == Some(&true) {
                            op_row(&mut self.rows, job, &row)?;
                        }
                    }
                }
                _ => {
                    for books in run.profile.phases() {
                        phase_row(&mut self.rows, job, &books)?;
                    }
                }
            }
        }
        self.rows.finish()
    }
}

fn op_row(rows: &mut impl Rows, job: JobId, row: &OpRow) -> io::Result<()> {
    rows.row(&[
        job.into(),
        row.phase.as_str().into(),
        row.lane.into(),
        row.id.into(),
        row.module.as_str().into(),
        row.name.as_str().into(),
        row.kind.as_str().into(),
        row.layer.into(),
        row.path.as_str().into(),
        row.runs.into(),
        row.count.into(),
        row.time_ns.into(),
        row.max_ns.into(),
        row.bytes.into(),
        row.flops.into(),
        row.share.into(),
        row.roof.map(|roof| roof.share).into(),
        row.roof.map(|roof| roof.bound.as_str()).into(),
    ])
}

fn phase_row(rows: &mut impl Rows, job: JobId, books: &PhaseBooks) -> io::Result<()> {
    rows.row(&[
        job.into(),
        books.phase.as_str().into(),
        books.repetition.into(),
        books.tokens.into(),
        books.recorded_tokens.into(),
        books.wall_ns.into(),
        books.recorded_wall_ns.into(),
        books.ops_ns.into(),
        books.gap_ns.into(),
        saturating_sum(books.other.iter().map(|span| span.ns)).into(),
        books.unattributed_ns.into(),
    ])
}

/// The parts of a worker's memory, bytes; `unexplained` may be below 0.
fn memory_parts(memory: &Memory) -> [(&'static str, Option<f64>); 12] {
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
