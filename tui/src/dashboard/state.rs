//! Everything that the views show. Only [`update`](super::update::update) changes it. It contains no colours.

use slmscope_profiles::finding::Finding;
use slmscope_profiles::host::Cache;
use slmscope_profiles::job::{Job, JobId, JobState, Progress};
use slmscope_profiles::record::PlanRecord;
use slmscope_profiles::result::Overhead;
use slmscope_profiles::status::Status;

use super::Options;
use super::channels::Channels;
use super::list::List;
use super::replay::Replay;
use super::screens::ops::state::OpsTable;
use super::tab::Tab;
use super::totals::Totals;

/// The connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Link {
    /// Not yet connected.
    Waiting,
    /// Connected.
    Up {
        /// Version of the daemon.
        version: String,
        /// Jobs may be submitted.
        may_submit: bool,
    },
    /// Ended, or could not be made.
    Down {
        /// Why.
        reason: String,
    },
}

/// What the daemon has sent. Pausing keeps a copy.
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
    /// All channels.
    pub(super) channels: Channels,
    /// Batches that were lost before the daemon read them.
    pub(super) lost: u64,
    /// Batches that the daemon dropped because this client was too slow.
    pub(super) dropped: u64,
    /// What measuring cost, from the last result.
    pub(super) overhead: Option<Overhead>,
    /// What stands out in the last result, the most useful first.
    pub(super) findings: Vec<Finding>,
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
            self.enter_job(job.clone());
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
            self.overhead = None;
            self.findings.clear();
            self.lost = 0;
            self.dropped = 0;
        }
        if self.job.as_ref().is_none_or(|current| current.state != job.state) {
            self.progress = None;
        }
        self.job = Some(job);
    }
}

/// The state of the dashboard.
#[derive(Debug)]
pub(super) struct State {
    /// What the dashboard was started with.
    pub(super) options: Options,
    /// The connection; not used while a recording is replayed.
    pub(super) link: Link,
    /// The recording that is replayed.
    pub(super) replay: Option<Replay>,
    /// The open screen.
    pub(super) tab: Tab,
    /// The help is open.
    pub(super) help: bool,
    /// Keys are typed into the filter.
    pub(super) typing: bool,
    /// The Ops screen.
    pub(super) ops: OpsTable,
    /// The Hardware screen.
    pub(super) hardware: List,
    /// A job of another client that `c` was pressed on, and the question whether to cancel it.
    pub(super) confirm: Option<(JobId, String)>,
    /// Numbers of requests for jobs, and of the jobs that came of them.
    pub(super) submitted: Vec<u64>,
    pub(super) own_jobs: Vec<JobId>,
    /// One line for the user, such as the refusal of a request.
    pub(super) notice: Option<String>,
    /// CLOCK_MONOTONIC at the last tick, ns; does not advance while paused.
    pub(super) now_ns: u64,
    /// Height of the terminal, for paging.
    pub(super) height: u16,
    pub(super) live: Data,
    pub(super) frozen: Option<Box<Data>>,
    /// Number of the next request.
    pub(super) next_id: u64,
    /// Number of the last request for the status, and when it was sent, ns.
    pub(super) status_asked: Option<(u64, u64)>,
    pub(super) dirty: bool,
}

impl State {
    /// The state before anything was received.
    pub(super) fn new(options: Options) -> Self {
        Self {
            options,
            link: Link::Waiting,
            replay: None,
            tab: Tab::Live,
            help: false,
            typing: false,
            ops: OpsTable::default(),
            hardware: List::default(),
            confirm: None,
            submitted: Vec::new(),
            own_jobs: Vec::new(),
            notice: None,
            now_ns: 0,
            height: 24,
            live: Data::default(),
            frozen: None,
            next_id: 1,
            status_asked: None,
            dirty: true,
        }
    }

    /// The data on screen: the current data, or the copy made when paused.
    pub(super) fn shown(&self) -> &Data {
        self.frozen.as_deref().unwrap_or(&self.live)
    }

    /// The state before anything of a recording was read.
    pub(super) fn replaying(options: Options, replay: Replay) -> Self {
        Self { replay: Some(replay), ..Self::new(options) }
    }

    /// Whether what is shown does not follow the daemon.
    pub(super) fn is_paused(&self) -> bool {
        self.frozen.is_some()
    }

    /// Whether something changed since the last frame, or changes with time.
    pub(super) fn is_dirty(&self) -> bool {
        self.dirty || self.replay.as_ref().is_some_and(|replay| replay.playing || replay.is_behind())
    }

    /// The same, and resets it because a frame is drawn now.
    pub(super) fn take_dirty(&mut self) -> bool {
        std::mem::take(&mut self.dirty)
    }
}
