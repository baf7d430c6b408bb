//! Results that are kept after their jobs have ended: one file each, in a folder that only the daemon's user may enter.
//! Its content is the object that `run --json` prints; its name (see `name`) says what `slmscope jobs` lists, so that a
//! list opens no file. Several daemons of one user share the folder.
//!
//! Nothing is written while a job runs: that would disturb what it measures. Of a loop the last turn is kept.

mod folder;
mod name;
mod place;

pub(crate) use folder::{PART, make_private, remove_abandoned};
pub(crate) use name::plain as plain_name;
pub(crate) use place::folder as state_folder;

use std::collections::VecDeque;
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Deserialize;
use slmscope_profiles::host::Host;
use slmscope_profiles::job::{JobId, JobState};
use slmscope_profiles::kept::{KeptResult, KeptRun, Wanted};
use slmscope_profiles::result::{RunResult, RunStatus};
use slmscope_profiles::roofline::Roofs;

pub use folder::{FolderError, ReadError};

use crate::clock;
use crate::config::Config;
use crate::error::with_sources;

/// Results that are kept in memory where there is no folder.
const MAX_IN_MEMORY: usize = 8;
/// Earlier runs whose roofs are compared with those of a new one.
const MAX_EARLIER: usize = 20;

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Results; 0 keeps none.
    pub count: usize,
    /// Bytes of all files together.
    pub bytes: u64,
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum NoResult {
    /// None is kept of the job.
    #[error("no result of job {0} is kept: see `slmscope jobs`")]
    Job(JobId),
    /// None is kept of the run.
    #[error("no result of run {0} is kept: see `slmscope jobs`")]
    Run(String),
    /// Nothing is kept of the user.
    #[error("no result of yours is kept yet")]
    None,
    /// It is somebody else's.
    #[error("the result of job {job} belongs to user {uid}")]
    NotYours {
        /// The job.
        job: JobId,
        /// Its owner.
        uid: u32,
    },
    /// The file is gone, too large, or no result.
    #[error("the kept result of job {job} cannot be read: {cause}")]
    Unreadable {
        /// The job.
        job: JobId,
        /// Why.
        cause: ReadError,
    },
}

/// The kept results.
pub struct Results {
    /// `None` keeps the last ones in memory.
    folder: Option<PathBuf>,
    limits: Limits,
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    /// Oldest first: the last turn of a loop that runs, and what cannot be kept in a folder.
    runs: VecDeque<(KeptResult, RunResult)>,
    /// Number of the last job of this daemon.
    last_job: JobId,
}

impl Results {
    /// Keeps results as `config` says. Where its folder cannot be used, the last ones are kept in memory.
    pub fn open(config: &Config) -> Self {
        let limits =
            Limits { count: config.results_count as usize, bytes: u64::from(config.results_mib) << 20 };
        if limits.count == 0 {
            return Self::in_memory(limits);
        }
        let Some(folder) = state_folder(&config.results_folder, "results") else {
            tracing::debug!("There is no state folder: the last results are kept in memory.");
            return Self::in_memory(limits);
        };
        Self::in_folder(folder, limits).unwrap_or_else(|error| {
            let error = with_sources(&error);
            tracing::warn!(
                error,
                "Results are kept in memory alone: set results_folder in the configuration."
            );
            Self::in_memory(limits)
        })
    }

    /// Keeps the last results in memory, until the daemon ends.
    pub fn in_memory(limits: Limits) -> Self {
        Self { folder: None, limits, memory: Mutex::default() }
    }

    /// Keeps results in `folder`, which is made if it does not exist.
    ///
    /// # Errors
    /// If it cannot be made, or is another user's.
    pub fn in_folder(folder: PathBuf, limits: Limits) -> Result<Self, FolderError> {
        folder::make_private(&folder)?;
        remove_abandoned(&folder);
        Ok(Self { folder: Some(folder), limits, memory: Mutex::default() })
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number for a new job: at least `least`, and greater than that of every job that was queued before, by this daemon
    /// or by others that use the folder.
    pub(crate) fn next_job(&self, least: JobId) -> JobId {
        let mut memory = self.memory();
        let own = least.max(memory.last_job + 1);
        let next = self.folder.as_deref().and_then(|folder| match folder::take_number(folder, own) {
            Ok(number) => Some(number),
            Err(error) => {
                let folder = folder.display();
                tracing::warn!(%error, %folder, "The number of the job is not stored: it may be used again.");
                None
            }
        });
        memory.last_job = next.unwrap_or(own);
        memory.last_job
    }

    /// Takes the result of a turn of job `job`, which user `uid` submitted. A turn of a loop that ended early does not
    /// replace one that is complete, unless it failed.
    pub(crate) fn hold(&self, job: JobId, uid: u32, result: RunResult) {
        let Some(run_id) = result.run_id.clone() else { return };
        let mut memory = self.memory();
        let known = memory.runs.iter().position(|(kept, _)| kept.job == job);
        if let Some(at) = known {
            if result.status == RunStatus::Cancelled && memory.runs[at].1.status == RunStatus::Complete {
                return;
            }
            memory.runs.remove(at);
        }
        let (model, state) = (name::plain(&result.model.id), result.status.job_state());
        let unix_s = clock::wall_ns() / 1_000_000_000;
        let kept = KeptResult { job, run_id, model, uid, state, unix_s, bytes: 0 };
        memory.runs.push_back((kept, result));
    }

    /// Keeps what is held of a job that has ended in `state`, and drops the oldest results beyond the limits.
    pub(crate) fn keep(&self, job: JobId, state: JobState) {
        let mut memory = self.memory();
        let Some(at) = memory.runs.iter().position(|(kept, _)| kept.job == job) else { return };
        memory.runs[at].0.state = state;
        let written = match &self.folder {
            _ if self.limits.count == 0 => true,
            None => false,
            Some(folder) => match folder::write(folder, &memory.runs[at]) {
                Ok(is_written) => is_written,
                Err(error) => {
                    let folder = folder.display();
                    tracing::warn!(%error, %folder, job, "The result is kept in memory alone.");
                    false
                }
            },
        };
        if written {
            memory.runs.remove(at);
        }
        let spare = memory.runs.len().saturating_sub(MAX_IN_MEMORY);
        memory.runs.drain(..spare);
        drop(memory);
        self.prune();
    }

    /// What is kept, oldest first.
    pub(crate) fn list(&self) -> Vec<KeptResult> {
        let mut kept: Vec<_> = self.files().into_iter().map(|(kept, _)| kept).collect();
        kept.extend(self.memory().runs.iter().map(|(kept, _)| kept.clone()));
        kept.sort_by_key(|kept| kept.job);
        kept
    }

    /// The result that user `uid` wants. Root may have anybody's.
    pub(crate) fn get(&self, wanted: &Wanted, uid: u32) -> Result<KeptRun, NoResult> {
        let is_theirs = |kept: &KeptResult| uid == 0 || kept.uid == uid;
        let list = self.list();
        let found = match wanted {
            Wanted::Job(job) => list.iter().rfind(|kept| kept.job == *job).ok_or(NoResult::Job(*job)),
            Wanted::Run(run) => {
                list.iter().find(|kept| kept.run_id == *run).ok_or(NoResult::Run(run.clone()))
            }
            Wanted::Latest {} => list.iter().rfind(|kept| is_theirs(kept)).ok_or(NoResult::None),
        }?;
        let (job, owner) = (found.job, found.uid);
        if !is_theirs(found) {
            return Err(NoResult::NotYours { job, uid: owner });
        }
        let held =
            self.memory().runs.iter().find(|(kept, _)| kept == found).map(|(_, result)| result.clone());
        let result = match (held, &self.folder) {
            (Some(result), _) => Ok(result),
            (None, Some(folder)) => folder::read(&folder.join(name::of(found))),
            (None, None) => return Err(NoResult::Job(job)),
        };
        let result = Box::new(result.map_err(|cause| NoResult::Unreadable { job, cause })?);
        Ok(KeptRun { job, result })
    }

    /// Roofs that earlier runs on the machine `host` measured, newest first.
    pub(crate) fn earlier_roofs(&self, host: &Host) -> Vec<Roofs> {
        /// The part of a result that is looked at.
        #[derive(Deserialize)]
        struct Glimpse {
            host: Option<Host>,
            roofs: Roofs,
        }
        let files = self.files();
        let newest = files.iter().rev().take(MAX_EARLIER);
        let glimpses = newest.filter_map(|(_, path)| folder::read::<Glimpse>(path).ok());
        let of_this = glimpses.filter(|glimpse| {
            glimpse.roofs.samples > 0
                && glimpse.host.as_ref().is_some_and(|theirs| is_same_machine(theirs, host))
        });
        of_this.map(|glimpse| glimpse.roofs).collect()
    }

    /// The files of the folder that are results, oldest first.
    fn files(&self) -> Vec<(KeptResult, PathBuf)> {
        self.folder.as_deref().map(folder::files).unwrap_or_default()
    }

    /// Removes the oldest files beyond the limits.
    fn prune(&self) {
        let (mut count, mut bytes) = (0, 0);
        for (kept, path) in self.files().into_iter().rev() {
            (count, bytes) = (count + 1, bytes + kept.bytes);
            if count > self.limits.count || bytes > self.limits.bytes {
                let _ = fs::remove_file(path);
            }
        }
    }
}

/// Whether two runs were on one machine: a folder of results may be shared over a network, by machines of one kind. A
/// name that one of them lacks decides nothing. The kernel may have been updated in between: that it made the machine
/// slower is worth saying.
fn is_same_machine(a: &Host, b: &Host) -> bool {
    let kind =
        |host: &Host| (host.arch.clone(), host.cpu_model.clone(), host.logical_cpus, host.physical_cores);
    let has_other_name = a.name.as_ref().zip(b.name.as_ref()).is_some_and(|(a, b)| a != b);
    kind(a) == kind(b) && !has_other_name
}

#[cfg(test)]
mod tests;
