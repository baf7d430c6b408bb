//! A session: what the entries of a recording add up to.
//!
//! ```text
//! header ───▶ origin of time, machine
//! catalogue ▶ channels
//! job ──────▶ Run by its job ◀── plan, span, ops: profile, repetitions
//! result ───▶ its result      ◀── sample: counted, kept by whoever wants them
//! ```
//!
//! Live tables, results and sessions are made by the same functions of `slmscope-profiles`, so that the tables of a
//! session are those of the result, to the last bit.

use std::collections::BTreeMap;

use slmscope_profiles::channel::Channel;
use slmscope_profiles::compare::{Repetition, Repetitions};
use slmscope_profiles::job::{Job, JobId};
use slmscope_profiles::phase::Phase;
use slmscope_profiles::profile::Profile;
use slmscope_profiles::record::{Header, PlanRecord, Record};
use slmscope_profiles::result::RunResult;
use slmscope_profiles::roofline::Roofs;

use crate::recording::{Damage, End, Entry, Event, Reader, Topic};

/// Jobs of one session; entries of further ones are counted and left out.
const MAX_RUNS: usize = 256;

/// Damaged parts that are kept one by one; of more, the first.
const MAX_DAMAGE: usize = 100;

/// What a recording holds.
#[derive(Debug, Default)]
pub struct Session {
    /// Clocks and machine; `None` if that part cannot be read.
    pub header: Option<Header>,
    /// All channels.
    pub channels: Vec<Channel>,
    /// By job.
    pub runs: BTreeMap<JobId, Run>,
    /// Messages of each kind.
    pub counts: BTreeMap<Topic, u64>,
    /// Op events.
    pub events: u64,
    /// Batches that the engine made and the daemon did not get.
    pub lost_batches: u64,
    /// The first and the last time of a message, CLOCK_MONOTONIC ns; `None` without any.
    pub time_ns: Option<(u64, u64)>,
    /// Entries of more jobs than a session has.
    pub left_out: u64,
    /// Parts that cannot be read.
    pub damage: Vec<Damage>,
    /// How the file ended.
    pub end: End,
}

/// One job of a session.
#[derive(Debug, Default)]
pub struct Run {
    /// What was asked for, as it was last recorded.
    pub job: Option<Job>,
    /// The steps that ran.
    pub plan: Option<PlanRecord>,
    /// Tables.
    pub profile: Profile,
    repetitions: Repetitions,
    /// The result; `None` if the recording ended before it.
    pub result: Option<Box<RunResult>>,
}

impl Run {
    /// The roofs that its tables are held against: those of the result, or if the recording ended before it those that
    /// came with the plan.
    pub fn roofs(&self) -> Roofs {
        let of_result = self.result.as_ref().map(|result| &result.roofs);
        let of_plan = self.plan.as_ref().map(|plan| &plan.roofs);
        of_result.or(of_plan).cloned().unwrap_or_else(|| Roofs::absent("the recording has no plan"))
    }

    /// The repetitions of a phase, in order, as they are compared.
    pub fn repetitions(&self, phase: Phase) -> Vec<Repetition> {
        self.repetitions.of(phase, self.plan.as_ref().map_or(&[], |plan| &plan.sites))
    }

    /// Batches after it are about this plan. The same plan comes again when its roofs were measured anew.
    fn set_plan(&mut self, plan: &PlanRecord) {
        if self.plan.as_ref().is_none_or(|old| old.sites != plan.sites || old.lanes != plan.lanes) {
            self.profile = Profile::new(plan.sites.clone(), plan.path.clone()).with_lanes(&plan.lanes);
            self.repetitions = Repetitions::default();
        }
        self.plan = Some(plan.clone());
    }
}

impl Session {
    /// Reads a recording to its end, or as far as it can be read.
    ///
    /// # Errors
    /// If the file itself cannot be read; damage is in the session.
    pub fn read(reader: &mut Reader<impl std::io::Read>) -> std::io::Result<Self> {
        let mut session = Self::default();
        for event in reader.by_ref() {
            match event? {
                Event::Entry(entry) => session.add(&entry),
                Event::Damage(damage) if session.damage.len() < MAX_DAMAGE => session.damage.push(damage),
                Event::Damage(_) => {}
            }
        }
        session.end = reader.end();
        session.close();
        Ok(session)
    }

    /// Makes tables of what broke off before its end was reported.
    pub(crate) fn close(&mut self) {
        for (&job, run) in &mut self.runs {
            run.profile.close_broken(job);
        }
    }

    /// The only run of the session, or of several the last that has a result.
    pub fn last_run(&self) -> Option<&Run> {
        self.runs.values().rev().find(|run| run.result.is_some()).or_else(|| self.runs.values().next_back())
    }

    /// Takes the run that [`last_run`](Self::last_run) gives out of the session.
    pub fn take_last_run(&mut self) -> Option<(JobId, Run)> {
        let with_result = self.runs.iter().rev().find(|(_, run)| run.result.is_some());
        let job = *with_result.or_else(|| self.runs.iter().next_back())?.0;
        self.runs.remove_entry(&job)
    }

    /// Adds an entry.
    pub(crate) fn add(&mut self, entry: &Entry) {
        *self.counts.entry(entry.topic()).or_default() += 1;
        if let Some(t_ns) = entry.t_ns() {
            let (first, last) = self.time_ns.unwrap_or((t_ns, t_ns));
            self.time_ns = Some((first.min(t_ns), last.max(t_ns)));
        }
        match entry {
            Entry::Record(record) => self.add_record(record),
            Entry::Job(job) => self.with_run(job.job, |run| run.job = Some((**job).clone())),
            Entry::Result { job, result } => self.with_run(*job, |run| run.result = Some(result.clone())),
        }
    }

    fn add_record(&mut self, record: &Record) {
        match record {
            Record::Header(header) => self.header = Some(header.clone()),
            Record::Catalogue { channels } => self.channels.extend_from_slice(channels),
            // A daemon numbers plans as their jobs.
            Record::Plan(plan) => self.with_run(JobId::from(plan.plan), |run| run.set_plan(plan)),
            Record::Span(span) => self.with_run(span.job, |run| run.profile.add_span(span.clone())),
            Record::Ops(ops) => {
                let batch = ops.to_batch();
                self.events = self.events.saturating_add(batch.events.len() as u64);
                self.with_run(batch.head.job, |run| {
                    let Some(plan) = run.plan.as_ref().filter(|plan| plan.plan == batch.head.plan) else {
                        return;
                    };
                    run.profile.add_batch(&batch);
                    run.repetitions.add(&batch, &plan.sites);
                });
            }
            Record::Loss { batches } => self.lost_batches = self.lost_batches.saturating_add(*batches),
            Record::Sample(_) | Record::Mark(_) => {}
        }
    }

    fn with_run(&mut self, job: JobId, change: impl FnOnce(&mut Run)) {
        if self.runs.len() < MAX_RUNS || self.runs.contains_key(&job) {
            change(self.runs.entry(job).or_default());
        } else {
            self.left_out = self.left_out.saturating_add(1);
        }
    }
}
