//! The folder of kept results: its files by their names, written whole or not at all, and the counter of jobs.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use rustix::fs::FlockOperation;
use serde::Deserialize;
use slmscope_profiles::job::JobId;
use slmscope_profiles::kept::KeptResult;
use slmscope_profiles::result::RunResult;
use slmscope_profiles::socket::{FolderProblem, FolderState};

use super::name;

/// Longest result that is kept, bytes. A client's queue holds one of them beside other messages.
pub(super) const MAX_RESULT: u64 = 3 << 20;
/// Most entries of the folder that are looked at.
const MAX_ENTRIES: usize = 10_000;
/// The file that holds the number of the last job.
pub(super) const LAST_JOB: &str = "last-job";
/// Begin of the names of files that are being written: the writer's process follows, then what its files differ by.
pub(crate) const PART: &str = ".part-";

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

/// The files of `folder` that are results by their names, oldest first.
pub(super) fn files(folder: &Path) -> Vec<(KeptResult, PathBuf)> {
    let entries = fs::read_dir(folder);
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

/// Makes a folder that nobody else can enter, or checks that one which exists is ours alone.
pub(crate) fn make_private(folder: &Path) -> Result<(), FolderError> {
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
pub(crate) fn remove_abandoned(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().take(MAX_ENTRIES).flatten() {
        let name = entry.file_name();
        let Some(rest) = name.to_str().and_then(|name| name.strip_prefix(PART)) else { continue };
        let pid = rest.split('-').next().unwrap_or(rest);
        if !Path::new("/proc").join(pid).exists() {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Takes the next number, at least `least`, off the folder's counter. Daemons that share the folder take turns.
pub(super) fn take_number(folder: &Path, least: JobId) -> io::Result<JobId> {
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
pub(super) fn write(folder: &Path, (kept, result): &(KeptResult, RunResult)) -> io::Result<bool> {
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
pub(super) fn read<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<T, ReadError> {
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
