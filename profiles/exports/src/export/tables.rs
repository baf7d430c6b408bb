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
//! | runs | a run: machine, model, options, speed, energy, heat |
//!
//! All times are CLOCK_MONOTONIC ns. In `events` and `tokens` warm-up and the measuring of the recorder's cost are
//! phases of their own.

mod cell;
mod name;
mod rows;

use std::collections::BTreeMap;
use std::io;

use slmscope_profiles::job::JobId;
use slmscope_profiles::profile::Profile;
use slmscope_profiles::record::PlanRecord;
use slmscope_profiles::result::RunResult;

pub(crate) use cell::{Cell, Column, ColumnKind, Rows};
pub use name::TableName;
use rows::{Event, OpOf, Part, PhaseOf, Reading, Token};

use super::readings::Readings;
use super::runs;
use super::{Batch, Export, Item};

/// The columns of a table.
fn columns(table: TableName) -> &'static [Column] {
    match table {
        TableName::Events => rows::EVENTS,
        TableName::Ops => rows::OPS,
        TableName::Phases => rows::PHASES,
        TableName::Tokens => rows::TOKENS,
        TableName::Channels => rows::CHANNELS,
        TableName::Memory => rows::MEMORY,
        TableName::Runs => runs::RUNS,
    }
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
        self.rows.begin(columns(self.table))
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
            TableName::Channels | TableName::Memory | TableName::Runs => Ok(()),
        }
    }

    fn events(&mut self, batch: &Batch<'_>) -> io::Result<()> {
        for op in batch.ops {
            let event = Event { head: batch.head(), site: batch.site(op), op };
            self.rows.row(&rows::event(&event))?;
        }
        Ok(())
    }

    fn token(&mut self, batch: &Batch<'_>) -> io::Result<()> {
        let token = Token { head: batch.head(), books: batch.books, ops: batch.ops };
        self.rows.row(&rows::token(&token))
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
        for (name, bytes) in rows::memory_parts(&result.memory) {
            let part = Part { job, run_id: result.run_id.as_deref(), name, bytes };
            self.rows.row(&rows::part(&part))?;
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
                let out = &mut self.rows;
                return self.readings.take(sample, |channel, value| {
                    let scope = channel.scope.to_string();
                    out.row(&rows::reading(&Reading { sample, channel, scope, value }))
                });
            }
            Item::Result { job, result } if self.table == TableName::Memory => {
                return self.memory(*job, result);
            }
            Item::Result { job, result } if self.table == TableName::Runs => {
                return runs::row(&mut self.rows, *job, result);
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
                            self.rows.row(&rows::op(&OpOf { job, row: &row }))?;
                        }
                    }
                }
                _ => {
                    for books in run.profile.phases() {
                        self.rows.row(&rows::phase(&PhaseOf { job, books: &books }))?;
                    }
                }
            }
        }
        self.rows.finish()
    }
}
