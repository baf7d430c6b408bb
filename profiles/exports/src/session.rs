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

mod room;

use std::collections::{BTreeMap, BTreeSet};

use slmscope_profiles::channel::Channel;
use slmscope_profiles::compare::{Repetition, Repetitions};
use slmscope_profiles::job::{Job, JobId};
use slmscope_profiles::lane::LaneId;
use slmscope_profiles::op::OpBatch;
use slmscope_profiles::phase::Phase;
use slmscope_profiles::profile::Profile;
use slmscope_profiles::record::{Header, PlanRecord, Record};
use slmscope_profiles::result::RunResult;
use slmscope_profiles::roofline::Roofs;

use crate::recording::{Damage, End, Entry, Event, Reader, Topic};
use room::{BATCH, REPETITION, Room, SITE, memory_of};

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
    /// Entries of more jobs than a session has, or beyond what it keeps in memory.
    pub left_out: u64,
    /// Parts that cannot be read.
    pub damage: Vec<Damage>,
    /// How the file ended.
    pub end: End,
    room: Room,
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
    /// What batches were of.
    measured: BTreeSet<(Phase, u32, LaneId)>,
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
            self.measured.clear();
        }
        self.plan = Some(plan.clone());
    }

    /// What a batch adds to the run's tables, bytes about.
    fn size_of_batch(&self, batch: &OpBatch) -> usize {
        let head = &batch.head;
        if self.measured.contains(&(head.phase, head.repetition, head.lane)) {
            return BATCH;
        }
        let sites = self.plan.as_ref().map_or(0, |plan| plan.sites.len().min(batch.events.len()));
        BATCH + REPETITION + sites * SITE
    }

    fn add_batch(&mut self, batch: &OpBatch) {
        let head = &batch.head;
        let Some(plan) = self.plan.as_ref().filter(|plan| plan.plan == head.plan) else { return };
        self.measured.insert((head.phase, head.repetition, head.lane));
        self.profile.add_batch(batch);
        self.repetitions.add(batch, &plan.sites);
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
            Entry::Job(job) => {
                let old = self.runs.get(&job.job).and_then(|run| run.job.as_ref());
                let is_room = self.room.replace(memory_of(old), memory_of(Some(&**job)));
                if let Some(run) = self.run(job.job, is_room) {
                    run.job = Some((**job).clone());
                }
            }
            Entry::Result { job, result } => {
                let old = self.runs.get(job).and_then(|run| run.result.as_deref());
                let is_room = self.room.replace(memory_of(old), memory_of(Some(&**result)));
                if let Some(run) = self.run(*job, is_room) {
                    run.result = Some(result.clone());
                }
            }
        }
    }

    fn add_record(&mut self, record: &Record) {
        match record {
            Record::Header(header) => self.header = Some(header.clone()),
            Record::Catalogue { channels } if self.room.take(memory_of(Some(channels))) => {
                self.channels.extend_from_slice(channels);
            }
            Record::Catalogue { .. } => self.left_out = self.left_out.saturating_add(1),
            Record::Plan(plan) => {
                // A daemon numbers plans as their jobs.
                let job = JobId::from(plan.plan);
                let old = self.runs.get(&job).and_then(|run| run.plan.as_ref());
                let is_room = self.room.replace(memory_of(old), memory_of(Some(plan)));
                if let Some(run) = self.run(job, is_room) {
                    run.set_plan(plan);
                }
            }
            Record::Span(span) => {
                let is_room = self.room.take(size_of_val(span) + size_of_val(&span.token_ends_ns[..]));
                if let Some(run) = self.run(span.job, is_room) {
                    run.profile.add_span(span.clone());
                }
            }
            Record::Ops(ops) => {
                let batch = ops.to_batch();
                self.events = self.events.saturating_add(batch.events.len() as u64);
                let job = batch.head.job;
                let bytes = self.runs.get(&job).map_or(REPETITION, |run| run.size_of_batch(&batch));
                let is_room = self.room.take(bytes);
                if let Some(run) = self.run(job, is_room) {
                    run.add_batch(&batch);
                }
            }
            Record::Loss { batches } => self.lost_batches = self.lost_batches.saturating_add(*batches),
            Record::Sample(_) | Record::Mark(_) => {}
        }
    }

    /// The run of a job; `None` if there is no room for it or for what is to be added, which is counted.
    fn run(&mut self, job: JobId, is_room: bool) -> Option<&mut Run> {
        if is_room && (self.runs.len() < MAX_RUNS || self.runs.contains_key(&job)) {
            return Some(self.runs.entry(job).or_default());
        }
        self.left_out = self.left_out.saturating_add(1);
        None
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use slmscope_profiles::job::Span;

    use super::*;

    fn span(repetition: u32, tokens: usize) -> Entry {
        let span = Span {
            job: 1,
            repetition,
            phase: Phase::Decode,
            begin_ns: 0,
            end_ns: 9,
            tokens: 1,
            sample_ns: 0,
            token_ends_ns: vec![0; tokens],
        };
        Entry::Record(Arc::new(Record::Span(span)))
    }

    /// A few kilobytes of a file became gigabytes: times of tokens that are all 0 compress well.
    #[test]
    fn what_finds_no_room_in_memory_is_counted_and_left_out() {
        let mut session = Session { room: Room { left: 100_000 }, ..Session::default() };
        for repetition in 0..100 {
            session.add(&span(repetition, 1_000));
        }
        let kept = session.runs[&1].profile.spans().len();
        assert!((10..13).contains(&kept), "{kept}");
        assert_eq!(session.left_out, 100 - kept as u64);
        assert_eq!(session.counts[&Topic::Span], 100);
    }
}
