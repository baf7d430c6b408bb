//! Results that are kept after their jobs have ended: one file each, in a folder that only the daemon's user may enter.
//! Its content is the object that `run --json` prints; its name (see `name`) says what `slmscope jobs` lists, so that a
//! list opens no file. Several daemons of one user share the folder.
//!
//! Nothing is written while a job runs: that would disturb what it measures. Of a loop the last turn is kept.

mod name;
mod place;

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::UNIX_EPOCH;

use rustix::fs::FlockOperation;
use serde::Deserialize;
use slmscope_profiles::host::Host;
use slmscope_profiles::job::{JobId, JobState};
use slmscope_profiles::kept::{KeptResult, KeptRun, Wanted};
use slmscope_profiles::result::{RunResult, RunStatus};
use slmscope_profiles::roofline::Roofs;
use slmscope_profiles::socket::{FolderProblem, FolderState};

use crate::clock;
use crate::config::Config;
use crate::error::with_sources;

/// Longest result that is kept, bytes. A client's queue holds one of them beside other messages.
const MAX_RESULT: u64 = 3 << 20;
/// Results that are kept in memory where there is no folder.
const MAX_IN_MEMORY: usize = 8;
/// Most entries of the folder that are looked at.
const MAX_ENTRIES: usize = 10_000;
/// Earlier runs whose roofs are compared with those of a new one.
const MAX_EARLIER: usize = 20;
/// The file that holds the number of the last job.
const LAST_JOB: &str = "last-job";
/// Begin of the names of files that are being written.
const PART: &str = ".part-";

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Results; 0 keeps none.
    pub count: usize,
    /// Bytes of all files together.
    pub bytes: u64,
}

/// Why a folder for results cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// It cannot be made.
    #[error("cannot create {}", .0.display())]
    Create(PathBuf, #[source] io::Error),
    /// The system says nothing of it, or its mode cannot be set.
    #[error("cannot use {}", .0.display())]
    Use(PathBuf, #[source] io::Error),
    /// Others could change what lies in it.
    #[error("{} {}", .0.display(), .1)]
    Problem(PathBuf, FolderProblem),
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

/// Why a file of results cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The system refuses.
    #[error("{0}")]
    System(#[from] io::Error),
    /// A folder, pipe or device.
    #[error("it is no regular file")]
    NotRegular,
    /// More bytes than a result has.
    #[error("it has more than {MAX_RESULT} bytes")]
    TooLong,
    /// Something else, or damaged.
    #[error("it holds no result: {0}")]
    Content(#[from] serde_json::Error),
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
        let Some(folder) = place::folder(config) else {
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
        make_private(&folder)?;
        remove_abandoned(&folder);
        Ok(Self { folder: Some(folder), limits, memory: Mutex::default() })
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number for a new job: greater than that of every job that was queued before, by this daemon or by others that
    /// use the folder.
    pub(crate) fn next_job(&self) -> JobId {
        let mut memory = self.memory();
        let own = memory.last_job + 1;
        let next = self.folder.as_deref().and_then(|folder| match take_number(folder, own) {
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
            Some(folder) => match write(folder, &memory.runs[at]) {
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
            (None, Some(folder)) => read(&folder.join(name::of(found))),
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
        let glimpses = newest.filter_map(|(_, path)| read::<Glimpse>(path).ok());
        let of_this = glimpses.filter(|glimpse| {
            glimpse.roofs.samples > 0
                && glimpse.host.as_ref().is_some_and(|theirs| is_same_machine(theirs, host))
        });
        of_this.map(|glimpse| glimpse.roofs).collect()
    }

    /// The files of the folder that are results by their names, oldest first.
    fn files(&self) -> Vec<(KeptResult, PathBuf)> {
        let entries = self.folder.as_deref().and_then(|folder| fs::read_dir(folder).ok());
        let entry = |entry: io::Result<fs::DirEntry>| {
            let entry = entry.ok()?;
            let mut kept = name::read(entry.file_name().to_str()?)?;
            let found = entry.metadata().ok()?;
            let kept_at = found.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
            (kept.unix_s, kept.bytes) = (kept_at.as_secs(), found.len());
            Some((kept, entry.path()))
        };
        let mut files: Vec<_> = entries.into_iter().flatten().take(MAX_ENTRIES).filter_map(entry).collect();
        files.sort_by_key(|(kept, _)| kept.job);
        files
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

/// Whether two runs were on machines of one kind: a folder of results may be shared over a network. The kernel may have
/// been updated in between: that it made the machine slower is worth saying.
fn is_same_machine(a: &Host, b: &Host) -> bool {
    let key =
        |host: &Host| (host.arch.clone(), host.cpu_model.clone(), host.logical_cpus, host.physical_cores);
    key(a) == key(b)
}

/// Makes a folder that nobody else can enter, or checks that one which exists is ours alone.
fn make_private(folder: &Path) -> Result<(), FolderError> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| FolderError::Create(folder.to_owned(), error))?;
    let unusable = |error| FolderError::Use(folder.to_owned(), error);
    let found = fs::symlink_metadata(folder).map_err(unusable)?;
    let state = FolderState { is_folder: found.is_dir(), uid: found.uid(), mode: found.mode() };
    match state.problem(rustix::process::geteuid().as_raw()) {
        None => Ok(()),
        Some(FolderProblem::OpenToOthers(_)) => {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).map_err(unusable)
        }
        Some(problem) => Err(FolderError::Problem(folder.to_owned(), problem)),
    }
}

/// Removes files that daemons which have ended were writing.
fn remove_abandoned(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().take(MAX_ENTRIES).flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.strip_prefix(PART)) else { continue };
        if !Path::new("/proc").join(pid).exists() {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Takes the next number, at least `least`, off the folder's counter. Daemons that share the folder take turns.
fn take_number(folder: &Path, least: JobId) -> io::Result<JobId> {
    let flags = (rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK).bits() as i32;
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(flags);
    let mut file = options.open(folder.join(LAST_JOB))?;
    rustix::fs::flock(&file, FlockOperation::LockExclusive)?;
    let mut text = String::new();
    (&file).take(32).read_to_string(&mut text)?;
    let entries = fs::read_dir(folder)?.take(MAX_ENTRIES).flatten();
    let kept = entries.filter_map(|entry| Some(name::read(entry.file_name().to_str()?)?.job)).max();
    // A counter that cannot be read begins after the last job that is kept.
    let last = text.trim().parse::<JobId>().unwrap_or(0).max(kept.unwrap_or(0));
    let number = last.saturating_add(1).max(least);
    file.set_len(0)?;
    io::Seek::rewind(&mut file)?;
    writeln!(file, "{number}")?;
    Ok(number)
}

/// Writes a result under its name, whole or not at all. `false` if it is too long to be kept.
fn write(folder: &Path, (kept, result): &(KeptResult, RunResult)) -> io::Result<bool> {
    let bytes = serde_json::to_vec(result)?;
    if bytes.len() as u64 > MAX_RESULT {
        tracing::warn!(job = kept.job, bytes = bytes.len(), "The result is too long to be kept.");
        return Ok(true);
    }
    let part = folder.join(format!("{PART}{}", std::process::id()));
    let flags = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
    let mut options = OpenOptions::new();
    let mut file =
        options.write(true).create(true).truncate(true).mode(0o600).custom_flags(flags).open(&part)?;
    let written = file.write_all(&bytes).and_then(|()| file.sync_all());
    let renamed = written.and_then(|()| fs::rename(&part, folder.join(name::of(kept))));
    if renamed.is_err() {
        let _ = fs::remove_file(&part);
    }
    renamed.map(|()| true)
}

/// Reads a file of the folder.
fn read<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<T, ReadError> {
    // Without O_NONBLOCK a named pipe would wait for a writer.
    let flags = (rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK).bits() as i32;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(ReadError::NotRegular);
    }
    if found.len() > MAX_RESULT {
        return Err(ReadError::TooLong);
    }
    let mut bytes = Vec::new();
    File::take(file, MAX_RESULT).read_to_end(&mut bytes)?;
    Ok(serde_json::from_slice(&bytes)?)
}

#[cfg(test)]
mod tests;
