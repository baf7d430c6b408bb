//! What a daemon has sent, or a recording holds up to a moment: the figures that the views show.

use std::sync::Arc;

use slmscope_profiles::host::Cache;
use slmscope_profiles::job::{Job, JobState, Progress};
use slmscope_profiles::lane::HOST_LANE;
use slmscope_profiles::record::{PlanRecord, Record};
use slmscope_profiles::result::RunResult;
use slmscope_profiles::status::Status;
use slmscope_profiles::summary::Summary;
use slmscope_profiles::wire::{Frame, Talk};

use super::channels::Channels;
use super::course::Course;
use super::events::Events;
use super::totals::Totals;

/// All of it. Pausing keeps a copy.
#[derive(Debug, Clone, Default)]
pub(super) struct Data {
    /// Start of the daemon, CLOCK_MONOTONIC ns; distinguishes one daemon from the next.
    pub(super) origin_ns: Option<u64>,
    /// The job that the figures belong to.
    pub(super) job: Option<Job>,
    /// Progress of its stage.
    pub(super) progress: Option<Progress>,
    /// Its plan.
    pub(super) plan: Option<PlanRecord>,
    /// Totals of its summaries.
    pub(super) totals: Totals,
    /// Single op events, where they are sent.
    pub(super) events: Events,
    /// Speed over time, as the summaries came.
    pub(super) course: Course,
    /// All channels.
    pub(super) channels: Channels,
    /// Batches that were lost before the daemon read them.
    pub(super) lost: u64,
    /// Batches that the daemon dropped because this client was too slow.
    pub(super) dropped: u64,
    /// The job's last result; a loop has one after each turn.
    pub(super) result: Option<Arc<RunResult>>,
    /// Caches of the daemon's machine.
    pub(super) caches: Vec<Cache>,
    /// The daemon's own figures.
    pub(super) status: Option<Status>,
}

impl Data {
    /// Notes which daemon is connected: another daemon uses the same job numbers for other jobs.
    pub(super) fn enter_daemon(&mut self, origin_ns: u64) {
        if self.origin_ns.replace(origin_ns) != Some(origin_ns) {
            self.job = None;
        }
    }

    /// Stores the daemon's figures, and its jobs in case a frame was missed.
    pub(super) fn enter_status(&mut self, status: Status) {
        let current = self.job.as_ref().map(|job| job.job);
        if self.is_busy() && !status.jobs.iter().any(|job| Some(job.job) == current) {
            self.job = None;
        }
        for job in &status.jobs {
            self.enter_job(Job::clone(job));
        }
        self.status = Some(status);
    }

    /// Whether a job is queued or running.
    pub(super) fn is_busy(&self) -> bool {
        self.job.as_ref().is_some_and(|job| !job.state.is_final())
    }

    /// Stores a job's new state. The figures on screen belong to one job: a running job replaces it, a job that is queued
    /// behind it or ended earlier does not.
    pub(super) fn enter_job(&mut self, job: Job) {
        let same = self.job.as_ref().is_some_and(|current| current.job == job.job);
        let runs = !job.state.is_final() && job.state != JobState::Queued;
        let is_next = |current: &Job| !job.state.is_final() || job.job > current.job;
        let takes_over =
            self.job.as_ref().is_none_or(|current| runs || (current.state.is_final() && is_next(current)));
        if !same && !takes_over {
            return;
        }
        if !same {
            self.totals = Totals::default();
            self.events = Events::default();
            self.result = None;
            self.lost = 0;
            self.dropped = 0;
        }
        if self.job.as_ref().is_none_or(|current| current.state != job.state) {
            self.progress = None;
        }
        self.job = Some(job);
    }

    /// Takes a frame of the stream. That the daemon ends the connection, and who it is, is none of the figures.
    pub(super) fn take(&mut self, frame: &Frame) {
        match frame {
            Frame::Record(record) => self.take_record(record),
            Frame::Summary(summary) => self.take_summary(summary),
            Frame::Talk(talk) => self.take_talk(talk),
        }
    }

    fn take_summary(&mut self, summary: &Summary) {
        let has = |plan: &PlanRecord| {
            let is_known = summary.lane == HOST_LANE || plan.lane(summary.lane).is_some();
            plan.plan == summary.plan && is_known
        };
        if self.plan.as_ref().is_some_and(has) {
            self.totals.add(summary);
            self.course.add(summary);
        }
    }

    fn take_record(&mut self, record: &Record) {
        match record {
            Record::Header(header) => {
                self.enter_daemon(header.origin_ns);
                self.caches.clone_from(&header.host.caches);
            }
            Record::Catalogue { channels } => self.channels.catalogue(channels),
            Record::Sample(sample) => self.channels.sample(sample),
            Record::Plan(plan) => {
                let is_other = self.plan.as_ref().is_some_and(|old| old.sites != plan.sites);
                if self.totals.last_phase.is_some() && is_other {
                    self.totals = Totals::default();
                    self.events = Events::default();
                }
                self.plan = Some(plan.clone());
            }
            Record::Loss { batches } => {
                self.lost = self.lost.saturating_add(*batches);
                self.totals.gap();
            }
            Record::Ops(ops) => {
                if self.plan.as_ref().is_some_and(|plan| plan.plan == ops.head.plan) {
                    self.events.add(ops.to_batch());
                }
            }
            Record::Span(_) | Record::Mark(_) => {}
        }
    }

    fn take_talk(&mut self, talk: &Talk) {
        match talk {
            Talk::Job(job) => self.enter_job(Job::clone(job)),
            Talk::Progress(progress) => self.progress = Some(progress.clone()),
            Talk::Gap { batches, .. } => {
                self.dropped = self.dropped.saturating_add(*batches);
                self.totals.gap();
            }
            Talk::Result { result, .. } => self.result = Some(Arc::new((**result).clone())),
            Talk::Bye { .. } | Talk::Hello(_) | Talk::Text { .. } => {}
        }
    }
}
