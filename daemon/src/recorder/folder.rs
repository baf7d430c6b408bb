//! The folder of sessions: what is in it, who may read it, and what goes when it is full. The folder may only be entered
//! by its user; several daemons of one user share it.
//!
//! A session that is written or read is locked (`flock`), by its writer alone and by its readers together. What is locked
//! or pinned is never removed to make room.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use rustix::fs::{CWD, FlockOperation, OFlags, RenameFlags, flock, renameat_with};
use rustix::io::Errno;
use serde::de::DeserializeOwned;
use slmscope_exports::recording::Reader;
use slmscope_exports::session::Session;
use slmscope_profiles::job::JobId;
use slmscope_profiles::kept::Wanted;
use slmscope_profiles::sessions::{NoteChange, SessionInfo, SessionNote, SessionSummary, machine};
use slmscope_profiles::stats;

use super::name::Name;
use crate::results::{FolderError, PART, make_private, remove_abandoned};

/// Most entries of the folder that are looked at.
const MAX_ENTRIES: usize = 10_000;

/// Longest summary or note that is read, bytes.
const MAX_TEXT: u64 = 64 << 10;

/// A session without a summary is read to make one up to this length, bytes: for half a second or so.
const MAX_SUMMARIZED: u64 = 32 << 20;

/// Why a session cannot be listed, opened or changed.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// None has this number.
    #[error("there is no session {0}: see `slmscope sessions`")]
    Unknown(JobId),
    /// None is of this run.
    #[error("no session of run {0} is kept: see `slmscope sessions`")]
    UnknownRun(String),
    /// There is none of the user who asks.
    #[error("no session of yours is kept yet")]
    None,
    /// It is somebody else's.
    #[error("session {session} belongs to user {uid}")]
    NotYours {
        /// Its number.
        session: JobId,
        /// Its owner.
        uid: u32,
    },
    /// It is not removed now.
    #[error("session {0} is being written or read: try again later")]
    InUse(JobId),
    /// A note is too long.
    #[error("{0}")]
    Note(String),
    /// The system refuses.
    #[error("session {session}")]
    System {
        /// Its number.
        session: JobId,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// Nothing is recorded here.
    #[error("no sessions are kept")]
    NoFolder(#[source] Arc<NoFolder>),
}

/// Why a daemon has no folder of sessions.
#[derive(Debug, thiserror::Error)]
pub enum NoFolder {
    /// It is to record nothing.
    #[error("the daemon records nothing (record = \"off\")")]
    Off,
    /// Nothing says where it could be.
    #[error("there is no state folder: set sessions_folder in the configuration, or HOME")]
    NoStateFolder,
    /// It cannot be used.
    #[error(transparent)]
    Unusable(#[from] FolderError),
}

/// Sessions in a folder.
#[derive(Debug, Clone)]
pub struct SessionFolder {
    path: PathBuf,
    max_bytes: u64,
}

impl SessionFolder {
    /// The folder at `path`, which is made if it does not exist, for sessions of at most `max_bytes` together.
    ///
    /// # Errors
    /// If it cannot be made, or is another user's.
    pub fn open(path: PathBuf, max_bytes: u64) -> Result<Self, FolderError> {
        make_private(&path)?;
        remove_abandoned(&path);
        Ok(Self { path, max_bytes })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes that all sessions may take: as set, and at most 5 % of what the file system had free without them.
    ///
    /// # Errors
    /// If the system does not say how much is free.
    pub fn limit(&self) -> io::Result<u64> {
        self.limit_beside(self.size().1)
    }

    /// The same, where sessions take `bytes` together.
    pub(super) fn limit_beside(&self, bytes: u64) -> io::Result<u64> {
        let system = rustix::fs::statvfs(&self.path)?;
        let free = system.f_bavail.saturating_mul(system.f_frsize);
        Ok(self.max_bytes.min(free.saturating_add(bytes) / 20))
    }

    /// All sessions, oldest first. Opens the summary of each, and makes one for recordings that ended without.
    pub fn list(&self) -> Vec<SessionInfo> {
        self.files().iter().map(|file| self.info(file)).collect()
    }

    /// Number and bytes of all sessions, without opening any.
    pub fn size(&self) -> (u64, u64) {
        let files = self.files();
        (files.len() as u64, files.iter().map(|file| file.bytes).sum())
    }

    /// The greatest number of a session; 0 without any.
    pub fn last(&self) -> JobId {
        self.files().last().map_or(0, |file| file.name.session)
    }

    /// Opens the session that user `uid` wants for reading. Root may read anybody's. It is not removed to make room while
    /// the file is open.
    ///
    /// # Errors
    /// If there is none, it is somebody else's, or it cannot be opened.
    pub fn open_session(&self, wanted: &Wanted, uid: u32) -> Result<(SessionInfo, File), SessionError> {
        let found = self.find(wanted, uid)?;
        let file = open(&self.path.join(found.name.recording()));
        let file = file.map_err(|cause| SessionError::System { session: found.name.session, cause })?;
        // One that is still written is not removed either.
        let _ = flock(&file, FlockOperation::NonBlockingLockShared);
        Ok((self.info(&found), file))
    }

    /// Removes a session of user `uid`; how many bytes that frees.
    ///
    /// # Errors
    /// If there is none, it is somebody else's, or in use.
    pub fn remove(&self, session: JobId, uid: u32) -> Result<u64, SessionError> {
        let found = self.find(&Wanted::Job(session), uid)?;
        match self.remove_unused(&found) {
            Ok(true) => Ok(found.bytes),
            Ok(false) => Err(SessionError::InUse(session)),
            Err(cause) => Err(SessionError::System { session, cause }),
        }
    }

    /// Changes what the owner says of a session.
    ///
    /// # Errors
    /// If there is none, it is somebody else's, the note is too long, or it cannot be written.
    pub fn note(&self, session: JobId, uid: u32, change: NoteChange) -> Result<SessionInfo, SessionError> {
        let found = self.find(&Wanted::Job(session), uid)?;
        let path = self.path.join(found.name.note());
        let note = read::<SessionNote>(&path).unwrap_or_default().with(change);
        if let Some(problem) = note.problem() {
            return Err(SessionError::Note(problem));
        }
        let written = serde_json::to_vec(&note).map_err(io::Error::from);
        let written = written.and_then(|bytes| self.write_whole(&found.name.note(), &bytes));
        written.map_err(|cause| SessionError::System { session, cause })?;
        Ok(self.info(&found))
    }

    /// Makes the file of a new session, locked. It is locked before it has its name: to see whether a session is being
    /// written, a list takes the lock for a moment.
    pub(super) fn create(&self, name: &Name) -> io::Result<File> {
        let part = self.part(&name.recording());
        let file = make(&part)?;
        let named = flock(&file, FlockOperation::NonBlockingLockExclusive)
            .map_err(io::Error::from)
            .and_then(|()| rename_to_new(&part, &self.path.join(name.recording())));
        if named.is_err() {
            let _ = fs::remove_file(&part);
        }
        named.map(|()| file)
    }

    /// Keeps the summary of a session.
    pub(super) fn summarize(&self, name: &Name, summary: &SessionSummary) -> io::Result<()> {
        self.write_whole(&name.summary(), &serde_json::to_vec(summary)?)
    }

    /// Removes the oldest sessions until the rest takes at most `bytes`; what the rest takes. Those that are pinned,
    /// written or read stay.
    pub(super) fn make_room(&self, bytes: u64) -> u64 {
        let files = self.files();
        let mut taken: u64 = files.iter().map(|file| file.bytes).sum();
        for file in files {
            if taken <= bytes {
                break;
            }
            let note = read::<SessionNote>(&self.path.join(file.name.note()));
            let is_pinned = note.is_some_and(|note| note.pinned);
            if !is_pinned && self.remove_unused(&file).unwrap_or(false) {
                taken -= file.bytes;
                tracing::info!(session = file.name.session, "Removed to make room.");
            }
        }
        taken
    }

    /// Removes the files of a session, unless it is in use; whether it was not.
    fn remove_unused(&self, file: &SessionFile) -> io::Result<bool> {
        let recording = self.path.join(file.name.recording());
        if is_locked(&open(&recording)?, FlockOperation::NonBlockingLockExclusive) {
            return Ok(false);
        }
        fs::remove_file(recording)?;
        for rest in [file.name.summary(), file.name.note()] {
            let _ = fs::remove_file(self.path.join(rest));
        }
        Ok(true)
    }

    fn find(&self, wanted: &Wanted, uid: u32) -> Result<SessionFile, SessionError> {
        let is_theirs = |file: &SessionFile| uid == 0 || file.name.uid == uid;
        let mut files = self.files();
        let at = match wanted {
            Wanted::Job(session) => files
                .iter()
                .rposition(|file| file.name.session == *session)
                .ok_or(SessionError::Unknown(*session)),
            Wanted::Run(run) => {
                let is_run = |file: &SessionFile| {
                    let summary = read::<SessionSummary>(&self.path.join(file.name.summary()));
                    summary.is_some_and(|summary| summary.run_id.as_ref() == Some(run))
                };
                files.iter().rposition(is_run).ok_or_else(|| SessionError::UnknownRun(run.clone()))
            }
            Wanted::Latest {} => files.iter().rposition(is_theirs).ok_or(SessionError::None),
        }?;
        let found = files.swap_remove(at);
        if !is_theirs(&found) {
            return Err(SessionError::NotYours { session: found.name.session, uid: found.name.uid });
        }
        Ok(found)
    }

    /// The files of the folder that are recordings by their names, oldest first.
    fn files(&self) -> Vec<SessionFile> {
        let entry = |entry: io::Result<fs::DirEntry>| {
            let entry = entry.ok()?;
            let name = Name::of_recording(entry.file_name().to_str()?)?;
            let found = entry.metadata().ok().filter(fs::Metadata::is_file)?;
            let written = found.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
            Some(SessionFile { name, bytes: found.len(), unix_s: written.as_secs() })
        };
        let entries = fs::read_dir(&self.path).into_iter().flatten().take(MAX_ENTRIES);
        let mut files: Vec<_> = entries.filter_map(entry).collect();
        files.sort_by_key(|file| file.name.session);
        files
    }

    fn info(&self, file: &SessionFile) -> SessionInfo {
        let path = self.path.join(file.name.recording());
        let summary = read(&self.path.join(file.name.summary()));
        let is_written = summary.is_none()
            && open(&path).is_ok_and(|file| is_locked(&file, FlockOperation::NonBlockingLockShared));
        let summary = if is_written { None } else { summary.or_else(|| self.summarize_ended(file, &path)) };
        SessionInfo {
            session: file.name.session,
            uid: file.name.uid,
            model: file.name.model.clone(),
            bytes: file.bytes,
            unix_s: file.unix_s,
            is_written,
            summary,
            note: read(&self.path.join(file.name.note())).unwrap_or_default(),
        }
    }

    /// Makes the summary of a session whose daemon ended before it made one, and keeps it.
    fn summarize_ended(&self, file: &SessionFile, path: &Path) -> Option<SessionSummary> {
        if file.bytes > MAX_SUMMARIZED {
            return None;
        }
        let session = Session::read(&mut Reader::new(open(path).ok()?).ok()?).ok()?;
        let summary = summary_of(&session);
        // Whoever may not write here makes it again.
        let _ = self.summarize(&file.name, &summary);
        Some(summary)
    }

    /// Writes a small file whole or not at all.
    fn write_whole(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let part = self.part(name);
        let written = make(&part).and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_data()));
        let renamed = written.and_then(|()| fs::rename(&part, self.path.join(name)));
        if renamed.is_err() {
            let _ = fs::remove_file(&part);
        }
        renamed
    }

    /// Where a file is written that will be called `name`.
    fn part(&self, name: &str) -> PathBuf {
        self.path.join(format!("{PART}{}-{name}", std::process::id()))
    }
}

/// A recording in the folder.
struct SessionFile {
    name: Name,
    bytes: u64,
    /// When it was written last, seconds since 1970.
    unix_s: u64,
}

/// The summary of a session whose recording ended before its job.
fn summary_of(session: &Session) -> SessionSummary {
    use slmscope_profiles::phase::Phase;
    let run = session.last_run();
    if let Some((run, result)) = run.and_then(|run| Some((run, run.result.as_deref()?))) {
        let state = run.job.as_ref().map(|job| job.state).filter(|state| state.is_final());
        return SessionSummary::of(result, state.unwrap_or_else(|| result.status.job_state()));
    }
    let rate = |phase| run.and_then(|run| stats::median(&run.profile.rates(phase)));
    SessionSummary {
        format: run.and_then(|run| run.job.as_ref()?.format),
        machine: session.header.as_ref().and_then(|header| machine(&header.host)),
        threads: run.and_then(|run| Some(run.plan.as_ref()?.threads)),
        prefill_tokens_per_s: rate(Phase::Prefill),
        decode_tokens_per_s: rate(Phase::Decode),
        no_joules: Some("the recording ended before the result".to_owned()),
        stopped: Some(
            "the recording ended before the result: the daemon was killed, or the machine lost power"
                .to_owned(),
        ),
        ..SessionSummary::default()
    }
}

/// Makes a file that nobody else may read.
fn make(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW.bits() as i32;
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).custom_flags(flags).open(path)
}

/// Renames a file to a name that none has yet.
fn rename_to_new(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // A file system that cannot do both in one step.
        Err(Errno::INVAL | Errno::NOSYS) if !to.try_exists()? => fs::rename(from, to),
        renamed => Ok(renamed?),
    }
}

/// Opens a regular file for reading. A named pipe is not waited for, and a link is not followed.
fn open(path: &Path) -> io::Result<File> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    Ok(file)
}

/// Whether somebody else has a lock on the file that leaves no place for this one.
fn is_locked(file: &File, lock: FlockOperation) -> bool {
    flock(file, lock).is_err()
}

/// Reads a small file of the folder; `None` if there is none that can be read.
fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let mut bytes = Vec::new();
    open(path).ok()?.take(MAX_TEXT).read_to_end(&mut bytes).ok()?;
    serde_json::from_slice(&bytes).ok()
}

#[cfg(test)]
mod tests;
