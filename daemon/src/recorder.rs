//! What the daemon records by itself: every job into a file of its own, in a folder that only its user may enter.
//!
//! ```text
//!                    ┌─ a job ───▶ session_writer ──▶ SESSION_UID_MODEL.mcap
//! hub ──Arc<Record>──┤
//!                    └─ a loop ──▶ recent (memory) ──▶ a client's file, when it asks for one
//! ```
//!
//! A session has the number of its job. The folder takes at most 1 GiB and 5 % of the file system's free space; before a
//! job is recorded the oldest sessions go until half of that is left for it, and its file ends there. So the folder never
//! takes more, but for what is pinned.
//!
//! Nobody waits for the disk while a job runs but the thread that writes.

mod folder;
mod name;
mod packed;
mod queue;
mod recent;
mod session_writer;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use slmscope_exports::recording::{Entry, Event, Reader, WriteError};
use slmscope_profiles::display;
use slmscope_profiles::job::{Job, JobId};
use slmscope_profiles::kept::Wanted;
use slmscope_profiles::record::{Mark, Record};
use slmscope_profiles::result::{Recorded, RunResult};
use slmscope_profiles::sessions::{RecentSaved, RecordMode, SessionSummary};
use slmscope_profiles::status::RecordingStatus;
use slmscope_profiles::wire::{ErrorCode, OpsDetails, WireError};

pub use folder::{NoFolder, SessionError, SessionFolder};

use crate::clock::Clock;
use crate::config::Config;
use crate::error::with_sources;
use crate::hub::{ClientId, Hub, Wants};
use crate::results::state_folder;
use name::Name;
use recent::Recent;
use session_writer::{Limit, SessionWriter};

/// Less room than this is not worth a recording, bytes: a short run takes some hundred kB.
const MIN_ROOM: u64 = 1 << 20;

/// Where sessions are kept by `config`: the folder that it sets, else one in the state folder; `None` if there is none.
pub fn folder(config: &Config) -> Option<PathBuf> {
    state_folder(&config.sessions_folder, "sessions")
}

/// Records jobs as the configuration says.
pub struct Recordings {
    mode: RecordMode,
    folder: Result<SessionFolder, Arc<NoFolder>>,
    /// Bytes of all files since the daemon's start.
    written: Arc<AtomicU64>,
    /// Why the last job was not recorded to its end.
    problem: Arc<Mutex<Option<String>>>,
    /// What the loop that runs did lately.
    recent: Mutex<Option<Arc<Recent>>>,
}

/// Why what a loop did lately cannot be saved.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// Nothing is kept.
    #[error(
        "no loop runs, and nothing else is kept in memory: `slmscope sessions` lists the jobs that were recorded"
    )]
    NoLoop,
    /// Nothing is recorded.
    #[error("the daemon keeps nothing (record = \"off\")")]
    Off,
    /// It is somebody else's.
    #[error("the loop that runs belongs to user {0}")]
    NotYours(u32),
    /// No file came with the request.
    #[error("no file came with the request: pass one that is open for writing")]
    NoFile,
    /// It is a pipe, a folder or a device.
    #[error("what came with the request is no regular file")]
    NotRegular,
    /// It takes no more.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl From<SaveError> for WireError {
    fn from(error: SaveError) -> Self {
        let code = match error {
            SaveError::NoLoop | SaveError::Off => ErrorCode::NoSession,
            SaveError::NotYours(_) => ErrorCode::Forbidden,
            SaveError::NoFile | SaveError::NotRegular | SaveError::Write(_) => ErrorCode::BadRequest,
        };
        Self { code, message: with_sources(&error), field: None }
    }
}

impl From<SessionError> for WireError {
    fn from(error: SessionError) -> Self {
        let (code, field) = match &error {
            SessionError::NotYours { .. } => (ErrorCode::Forbidden, Some("session")),
            SessionError::Note(_) => (ErrorCode::BadRequest, Some("change")),
            SessionError::InUse(_) => (ErrorCode::Busy, Some("session")),
            SessionError::System { .. } | SessionError::NoFolder(_) => (ErrorCode::NoSession, None),
            _ => (ErrorCode::NoSession, Some("session")),
        };
        Self { code, message: with_sources(&error), field: field.map(str::to_owned) }
    }
}

/// Why a job is not recorded.
#[derive(Debug, thiserror::Error)]
enum NotRecorded {
    #[error(transparent)]
    Folder(Arc<NoFolder>),
    #[error("cannot write into {folder}")]
    Create {
        folder: String,
        #[source]
        cause: std::io::Error,
    },
    #[error(
        "only {} is left for sessions in {folder}: free some disk space, or remove or unpin sessions \
         (`slmscope sessions`)",
        display::bytes(*.room)
    )]
    NoRoom { folder: String, room: u64 },
    #[error(transparent)]
    Start(#[from] WriteError),
}

impl Recordings {
    /// Records as `config` says. A folder that cannot be used is no reason not to serve: jobs run unrecorded then, and the
    /// status says why.
    pub fn open(config: &Config) -> Self {
        if config.record == RecordMode::Off {
            return Self::off();
        }
        let folder = folder(config).ok_or(NoFolder::NoStateFolder);
        let opened =
            folder.and_then(|folder| Ok(SessionFolder::open(folder, u64::from(config.sessions_mib) << 20)?));
        if let Err(reason) = &opened {
            let reason = with_sources(reason);
            tracing::warn!(reason, "Jobs are not recorded.");
        }
        Self::with(RecordMode::Jobs, opened)
    }

    /// Records every job into `folder`.
    pub fn in_folder(folder: SessionFolder) -> Self {
        Self::with(RecordMode::Jobs, Ok(folder))
    }

    /// Records nothing.
    pub fn off() -> Self {
        Self::with(RecordMode::Off, Err(NoFolder::Off))
    }

    fn with(mode: RecordMode, folder: Result<SessionFolder, NoFolder>) -> Self {
        let folder = folder.map_err(Arc::new);
        Self { mode, folder, written: Arc::default(), problem: Arc::default(), recent: Mutex::default() }
    }

    /// Its folder.
    ///
    /// # Errors
    /// Why there is none.
    pub fn folder(&self) -> Result<&SessionFolder, SessionError> {
        self.folder.as_ref().map_err(|reason| SessionError::NoFolder(reason.clone()))
    }

    /// The least number of a new job, so that its session has a number of its own.
    pub(crate) fn next_job(&self) -> JobId {
        self.folder.as_ref().map_or(0, SessionFolder::last).saturating_add(1)
    }

    /// What is recorded; `uptime_ns` is how long the daemon runs. Lists the folder.
    pub fn status(&self, uptime_ns: u64) -> RecordingStatus {
        let folder = self.folder.as_ref().ok();
        let (sessions, bytes) = folder.map_or((0, 0), SessionFolder::size);
        let written = self.written.load(Ordering::Relaxed);
        let hours = uptime_ns as f64 / 3.6e12;
        RecordingStatus {
            mode: self.mode,
            folder: folder.map(|folder| folder.path().display().to_string()),
            problem: match &self.folder {
                Err(reason) if self.mode == RecordMode::Jobs => Some(with_sources(reason)),
                _ => self.problem().clone(),
            },
            sessions,
            bytes,
            max_bytes: folder.and_then(|folder| folder.limit_beside(bytes).ok()),
            written_bytes: written,
            written_bytes_per_hour: (hours > 0.0).then(|| (written as f64 / hours) as u64),
        }
    }

    fn problem(&self) -> MutexGuard<'_, Option<String>> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to record `job`, if it is to be recorded.
    pub fn begin(&self, hub: &Arc<Hub>, clock: &Arc<dyn Clock>, job: Job) -> JobRecording<'_> {
        let mut recording =
            JobRecording { recordings: self, session: None, recent: None, recorded: Recorded::default() };
        if self.mode == RecordMode::Off {
            return recording;
        }
        if job.workload.looped {
            let recent = Arc::new(Recent::of(job));
            let sink = hub.attach(recent.clone(), everything(hub));
            self.recent().replace(recent.clone());
            recording.recent = Some((recent, sink));
            return recording;
        }
        let number = job.job;
        match self.start(hub, clock, job) {
            Ok(session) => {
                self.problem().take();
                recording.recorded.session = Some(number);
                recording.session = Some(session);
            }
            Err(error) => {
                let reason = with_sources(&error);
                tracing::warn!(reason, job = number, "The job is not recorded.");
                self.problem().replace(reason.clone());
                recording.recorded.error = Some(reason);
            }
        }
        recording
    }

    /// Writes what the loop that runs did in the last `seconds` into `file`, for user `uid`. Root may have anybody's.
    ///
    /// # Errors
    /// If there is none, it is somebody else's, or the file takes no more.
    pub fn save_recent(&self, seconds: u64, file: Option<File>, uid: u32) -> Result<RecentSaved, SaveError> {
        let recent = self.recent().clone();
        let no_loop = if self.mode == RecordMode::Off { SaveError::Off } else { SaveError::NoLoop };
        let recent = recent.ok_or(no_loop)?;
        if uid != 0 && recent.uid() != uid {
            return Err(SaveError::NotYours(recent.uid()));
        }
        let file = file.ok_or(SaveError::NoFile)?;
        // A pipe that nobody reads would never take it.
        if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
            return Err(SaveError::NotRegular);
        }
        let (messages, time_ns) = recent.save(seconds.saturating_mul(1_000_000_000), &file)?;
        Ok(RecentSaved { messages, time_ns })
    }

    /// The result in the session of job `job`, if user `uid` may read it. Reads the recording to its end.
    pub(crate) fn result(&self, job: JobId, uid: u32) -> Option<RunResult> {
        let (_, file) = self.folder.as_ref().ok()?.open_session(&Wanted::Job(job), uid).ok()?;
        let results = Reader::new(file).ok()?.filter_map(|event| match event {
            Ok(Event::Entry(Entry::Result { job: found, result })) if found == job => Some(*result),
            _ => None,
        });
        results.last()
    }

    fn recent(&self) -> MutexGuard<'_, Option<Arc<Recent>>> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(&self, hub: &Arc<Hub>, clock: &Arc<dyn Clock>, job: Job) -> Result<OpenSession, NotRecorded> {
        let folder = self.folder.as_ref().map_err(|reason| NotRecorded::Folder(reason.clone()))?;
        let path = || folder.path().display().to_string();
        let failed = |cause| NotRecorded::Create { folder: path(), cause };
        let limit = folder.limit().map_err(failed)?;
        let room = limit.saturating_sub(folder.make_room(limit / 2));
        if room < MIN_ROOM {
            return Err(NotRecorded::NoRoom { folder: path(), room });
        }
        // Of a file, its name without its folder.
        let model = Path::new(&job.model).file_name().map_or("".into(), |name| name.to_string_lossy());
        let name = Name::new(job.job, job.uid, &model);
        let file = folder.create(&name).map_err(failed)?;
        let limit = Limit { bytes: room, written: self.written.clone(), problem: self.problem.clone() };
        let writer = SessionWriter::start(hub, clock, job.job, file, limit)?;
        writer.add(Entry::Job(Box::new(job)));
        Ok(OpenSession { name, writer, summary: SessionSummary::default() })
    }
}

/// The recording of a job that runs.
pub struct JobRecording<'a> {
    recordings: &'a Recordings,
    /// `None` if the job is not recorded.
    session: Option<OpenSession>,
    /// Of a loop, with its number at the hub.
    recent: Option<(Arc<Recent>, ClientId)>,
    recorded: Recorded,
}

/// A session that is written.
struct OpenSession {
    name: Name,
    writer: SessionWriter,
    summary: SessionSummary,
}

impl JobRecording<'_> {
    /// Where the job is recorded, and why no more.
    pub fn recorded(&self) -> Recorded {
        let problem = self.session.as_ref().and_then(|session| session.writer.problem());
        Recorded { error: problem.or_else(|| self.recorded.error.clone()), ..self.recorded.clone() }
    }

    /// Adds the result of the job.
    pub fn add_result(&mut self, job: JobId, result: &RunResult) {
        let entry = || Entry::Result { job, result: Box::new(result.clone()) };
        if let Some((recent, _)) = &self.recent {
            recent.add_result(entry());
        }
        if let Some(session) = &mut self.session {
            session.summary = SessionSummary::of(result, result.status.job_state());
            session.writer.add(entry());
        }
    }

    /// Ends the recording of the job, which is `job` at its end. Waits for the disk.
    pub fn finish(self, hub: &Hub, job: Job, now_ns: u64) {
        let recordings = self.recordings;
        if let Some((_, sink)) = self.recent {
            hub.detach(sink);
            recordings.recent().take();
        }
        let Some(session) = self.session else { return };
        let OpenSession { name, writer, mut summary } = session;
        summary.state = Some(job.state);
        writer.add(Entry::Record(Arc::new(Record::Mark(Mark::state_of(&job, now_ns)))));
        writer.add(Entry::Job(Box::new(job)));
        if let Some(ending) = writer.stop(hub) {
            let reason = with_sources(&ending);
            tracing::warn!(reason, session = name.session, "The recording ended before its job.");
            recordings.problem().replace(reason.clone());
            summary.stopped = Some(reason);
        }
        if let Ok(folder) = &recordings.folder
            && let Err(error) = folder.summarize(&name, &summary)
        {
            tracing::warn!(%error, session = name.session, "The session's summary is not kept.");
        }
    }
}

/// All that the hub publishes as records.
fn everything(hub: &Hub) -> Wants {
    Wants { channels: vec![Some(0); hub.channels().len()], ops: OpsDetails::RAW, events: true }
}
