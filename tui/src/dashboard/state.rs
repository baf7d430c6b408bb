//! Everything that the views show. Only [`update`](super::update::update) changes it. It contains no colours.

use std::sync::Arc;

use slmscope_profiles::host::Cache;
use slmscope_profiles::job::{Job, JobId, JobState, Progress};
use slmscope_profiles::record::PlanRecord;
use slmscope_profiles::result::RunResult;
use slmscope_profiles::status::Status;

use super::Options;
use super::channels::Channels;
use super::events::Events;
use super::list::List;
use super::overlay::Overlay;
use super::picker::Picker;
use super::replay::Replay;
use super::screens::ops::state::OpsTable;
use super::screens::timeline::state::Timeline;
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
    /// Single op events, where they are sent.
    pub(super) events: Events,
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
}

/// A connected daemon sends readings many times a second, and answers within two; longer than this is silence, ns.
const SILENT_NS: u64 = 5_000_000_000;

/// Whose the mouse events are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mouse {
    /// They open tabs and scroll.
    Ours,
    /// The terminal selects text with them.
    Terminals,
}

/// When the daemon sent something.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Hearing {
    /// It did since the last tick.
    pub(super) now: bool,
    /// The last tick before which it did, ns; `None` while it is not connected.
    pub(super) last_ns: Option<u64>,
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
    /// What is drawn over it.
    pub(super) overlay: Option<Overlay>,
    /// Rows that it is scrolled by.
    pub(super) scroll: usize,
    /// Whose the mouse is.
    pub(super) mouse: Mouse,
    /// Keys are typed into the filter.
    pub(super) typing: bool,
    /// The Ops screen.
    pub(super) ops: OpsTable,
    /// The choice of a model.
    pub(super) picker: Picker,
    /// The Timeline screen.
    pub(super) timeline: Timeline,
    /// The selected op of the Roofline screen.
    pub(super) roofline: List,
    /// The Hardware screen.
    pub(super) hardware: List,
    /// Raw counters are among its rows.
    pub(super) raw_counters: bool,
    /// A job of another client that `c` was pressed on, and the question whether to cancel it.
    pub(super) confirm: Option<(JobId, String)>,
    /// Numbers of requests for jobs, and of the jobs that came of them.
    pub(super) submitted: Vec<u64>,
    pub(super) own_jobs: Vec<JobId>,
    /// One line for the user, such as the refusal of a request.
    pub(super) notice: Option<String>,
    /// CLOCK_MONOTONIC at the last tick, ns; does not advance while paused.
    pub(super) now_ns: u64,
    /// The same, which does.
    pub(super) clock_ns: u64,
    /// When the daemon sent something.
    pub(super) hearing: Hearing,
    /// Job and turn whose result was last asked for.
    pub(super) result_asked: Option<(JobId, u32)>,
    /// Number of that request.
    pub(super) result_request: Option<u64>,
    /// Columns and rows of the terminal.
    pub(super) size: (u16, u16),
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
            overlay: None,
            scroll: 0,
            mouse: Mouse::Ours,
            typing: false,
            ops: OpsTable::default(),
            picker: Picker::default(),
            timeline: Timeline::default(),
            roofline: List::default(),
            hardware: List::default(),
            raw_counters: false,
            confirm: None,
            submitted: Vec::new(),
            own_jobs: Vec::new(),
            notice: None,
            now_ns: 0,
            clock_ns: 0,
            hearing: Hearing::default(),
            result_asked: None,
            result_request: None,
            size: (80, 24),
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

    /// For how long a connected daemon has sent nothing, ns; `None` while that is no longer than usual.
    pub(super) fn silent_ns(&self) -> Option<u64> {
        let silent_ns = self.clock_ns.saturating_sub(self.hearing.last_ns?);
        (silent_ns >= SILENT_NS).then_some(silent_ns)
    }

    /// The state before anything of a recording was read.
    pub(super) fn replaying(options: Options, replay: Replay) -> Self {
        Self { notice: replay.problem(), replay: Some(replay), ..Self::new(options) }
    }

    /// Whether what is shown does not follow the daemon.
    pub(super) fn is_paused(&self) -> bool {
        self.frozen.is_some()
    }

    /// Whether something changed since the last frame, or changes with time.
    pub(super) fn is_dirty(&self) -> bool {
        let moves = |replay: &Replay| replay.playing || replay.follows || replay.is_behind();
        self.dirty || self.replay.as_ref().is_some_and(moves)
    }

    /// The same, and resets it because a frame is drawn now.
    pub(super) fn take_dirty(&mut self) -> bool {
        std::mem::take(&mut self.dirty)
    }
}
