//! The table of jobs: who may queue, cancel and own them, and which runs next.

use std::collections::VecDeque;

use slmscope_profiles::job::{Job, JobId, JobState};
use slmscope_profiles::wire::{ErrorCode, WireError};

use super::JobRequest;
use crate::hub::ClientId;

/// Finished jobs that are still listed.
const MAX_FINISHED: usize = 32;
/// Jobs that may wait.
pub(super) const MAX_QUEUED: usize = 256;

/// Why a job is not queued or cancelled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JobError {
    /// The daemon is about to end.
    #[error("the daemon is stopping: start it again")]
    Stopping,
    /// Too many wait.
    #[error("{MAX_QUEUED} jobs wait already: try again when some are done")]
    QueueFull,
    /// No job has this number.
    #[error("there is no job {0}: see `slmscope jobs`")]
    Unknown(JobId),
    /// It is somebody else's.
    #[error("job {job} belongs to user {uid}")]
    NotYours {
        /// The job.
        job: JobId,
        /// Its owner.
        uid: u32,
    },
}

impl From<JobError> for WireError {
    fn from(error: JobError) -> Self {
        let (code, field) = match error {
            JobError::Stopping | JobError::QueueFull => (ErrorCode::Busy, None),
            JobError::Unknown(_) => (ErrorCode::NoSuchJob, Some("job")),
            JobError::NotYours { .. } => (ErrorCode::Forbidden, Some("job")),
        };
        Self { code, message: error.to_string(), field: field.map(str::to_owned) }
    }
}

/// All jobs that are known. Changed jobs are noted, so that they can be published.
pub(super) struct Table {
    /// Oldest first.
    entries: VecDeque<Entry>,
    /// Changes since they were last taken.
    changed: Vec<Change>,
    is_stopping: bool,
}

/// A job right after a change.
pub(super) struct Change {
    pub(super) job: Job,
    /// It entered another state.
    pub(super) is_new_state: bool,
}

struct Entry {
    job: Job,
    client: ClientId,
    detached: bool,
    /// Taken when the job starts.
    request: Option<JobRequest>,
    /// Why the job is to end.
    cancel: Option<String>,
    /// State of the last change that was noted.
    noted: Option<JobState>,
}

impl Entry {
    fn change(&mut self) -> Change {
        let is_new_state = self.noted.replace(self.job.state) != Some(self.job.state);
        Change { job: self.job.clone(), is_new_state }
    }

    /// Ends the job if it was cancelled before it started; returns the change, if it did.
    fn end_if_queued(&mut self, now_ns: u64) -> Option<Change> {
        if self.job.state != JobState::Queued || self.cancel.is_none() {
            return None;
        }
        self.job.state = JobState::Cancelled;
        self.job.ended_ns = Some(now_ns);
        self.job.error.clone_from(&self.cancel);
        self.request = None;
        Some(self.change())
    }

    fn request_cancel(&mut self, reason: &str) {
        if !self.job.state.is_final() && self.cancel.is_none() {
            self.cancel = Some(reason.to_owned());
        }
    }
}

impl Table {
    pub(super) fn new() -> Self {
        Self { entries: VecDeque::new(), changed: Vec::new(), is_stopping: false }
    }

    /// Queues a job under a number of its own.
    pub(super) fn submit(&mut self, id: JobId, now_ns: u64, request: JobRequest) -> Result<(), JobError> {
        if self.is_stopping {
            return Err(JobError::Stopping);
        }
        let is_queued = |entry: &&Entry| entry.job.state == JobState::Queued;
        if self.entries.iter().filter(is_queued).count() >= MAX_QUEUED {
            return Err(JobError::QueueFull);
        }
        let job = Job {
            job: id,
            model: request.submit.model.name().to_owned(),
            source: request.submit.model.source(),
            format: request.synthetic_format(),
            files: request.submit.model.files().to_vec(),
            workload: request.submit.workload.shown(),
            uid: request.submitter.uid,
            state: JobState::Queued,
            ahead: 0,
            repetition: None,
            turns: 0,
            worker: None,
            error: None,
            submitted_ns: Some(now_ns),
            ended_ns: None,
            progress: None,
        };
        let (client, detached) = (request.submitter.client, request.submit.detach);
        self.entries.push_back(Entry {
            job,
            client,
            detached,
            request: Some(request),
            cancel: None,
            noted: None,
        });
        self.renumber();
        Ok(())
    }

    /// Requests the end of a job of user `uid`; root may end any. Returns the job: a queued one has ended, one that runs
    /// is still in its state.
    pub(super) fn cancel(&mut self, job: JobId, uid: u32, now_ns: u64) -> Result<Job, JobError> {
        let entry = self.entries.iter_mut().find(|entry| entry.job.job == job);
        let entry = entry.ok_or(JobError::Unknown(job))?;
        if uid != 0 && uid != entry.job.uid {
            return Err(JobError::NotYours { job, uid: entry.job.uid });
        }
        entry.request_cancel("cancelled on request");
        let change = entry.end_if_queued(now_ns);
        let job = entry.job.clone();
        self.changed.extend(change);
        self.prune_finished();
        Ok(job)
    }

    /// Requests the end of all jobs of a client that left, except detached ones.
    pub(super) fn client_left(&mut self, client: ClientId, now_ns: u64) {
        for entry in self.entries.iter_mut().filter(|entry| entry.client == client && !entry.detached) {
            entry.request_cancel("its client is gone");
        }
        self.end_queued(now_ns);
    }

    /// Requests the end of all jobs, and accepts no more.
    pub(super) fn stop(&mut self, now_ns: u64) {
        self.is_stopping = true;
        for entry in &mut self.entries {
            entry.request_cancel("the daemon stops");
        }
        self.end_queued(now_ns);
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.is_stopping
    }

    /// Starts the job that runs next; `None` if none waits.
    pub(super) fn take_next(&mut self) -> Option<(JobId, JobRequest)> {
        let entry = self.entries.iter_mut().find(|entry| entry.job.state == JobState::Queued)?;
        let request = entry.request.take()?;
        // Still under the lock: a job that was queued until it reports its first state could be cancelled twice.
        entry.job.state = JobState::Preparing;
        self.changed.push(entry.change());
        Some((entry.job.job, request))
    }

    /// Changes a job.
    pub(super) fn update(&mut self, job: JobId, change: impl FnOnce(&mut Job)) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.job.job == job) {
            change(&mut entry.job);
            self.changed.push(entry.change());
        }
    }

    /// Why a job is to end; `None` if it is not.
    pub(super) fn cancel_reason(&self, job: JobId) -> Option<&str> {
        self.entries.iter().find(|entry| entry.job.job == job)?.cancel.as_deref()
    }

    /// All jobs, oldest first.
    pub(super) fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.entries.iter().map(|entry| &entry.job)
    }

    /// Whether a job runs or waits.
    pub(super) fn is_busy(&self) -> bool {
        self.jobs().any(|job| !job.state.is_final())
    }

    /// Drops the oldest finished jobs beyond the limit.
    pub(super) fn prune_finished(&mut self) {
        while self.jobs().filter(|job| job.state.is_final()).count() > MAX_FINISHED {
            let oldest = self.entries.iter().position(|entry| entry.job.state.is_final());
            oldest.and_then(|at| self.entries.remove(at));
        }
        self.renumber();
    }

    /// The changes since the last call, in order.
    pub(super) fn take_changed(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changed)
    }

    /// Ends jobs that were cancelled before they started.
    fn end_queued(&mut self, now_ns: u64) {
        self.changed.extend(self.entries.iter_mut().filter_map(|entry| entry.end_if_queued(now_ns)));
        self.prune_finished();
    }

    /// Counts for every job how many are ahead of it.
    fn renumber(&mut self) {
        let unfinished = self.entries.iter_mut().filter(|entry| !entry.job.state.is_final());
        for (ahead, entry) in unfinished.enumerate() {
            if entry.noted.is_none() || entry.job.ahead != ahead as u32 {
                entry.job.ahead = ahead as u32;
                self.changed.push(entry.change());
            }
        }
    }
}
