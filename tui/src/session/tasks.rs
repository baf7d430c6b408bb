//! What the dashboard has done by a thread of its own, because it waits for files: reading, comparing and exporting
//! sessions.

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use slmscope_exports::export::{Filter, Format};
use slmscope_exports::recording::{Entry, Event, Reader};
use slmscope_profiles::display;
use slmscope_profiles::job::JobId;
use slmscope_profiles::kept::Wanted;
use slmscope_profiles::wire::{Method, Outcome, Reply, Request};
use slmscope_profiles::workload::Workload;

use super::SharedLink;
use crate::cli::diff;
use crate::connect::{self, Target};
use crate::dashboard::{Done, ExportFrom, Figures, Msg, Opened, Player, Playing, Source, Task};
use crate::failure::Failure;
use crate::kept_sessions::KeptSessions;
use crate::page_file::PageFile;
use crate::recording_file::RecordingFile;
use crate::session_source::{self, SessionSource};
use crate::style::Style;
use crate::trace_file::TraceFile;

/// The least number of a request that a task sends; the dashboard's own have smaller ones.
pub(super) const FIRST_OF_TASKS: u64 = 1 << 60;
/// Seconds of a loop that are exported: more than the daemon keeps.
const RECENT_S: u64 = 3600;
/// How long the daemon may take to save what it keeps of a loop: 64 MiB.
const SAVING: Duration = Duration::from_secs(30);

/// Does tasks one after the other.
pub(super) struct Tasks {
    /// The board that they are of.
    pub(super) board: usize,
    /// Whose sessions are meant.
    pub(super) target: Target,
    /// The dashboard's connection.
    pub(super) shared: SharedLink,
    /// Answers to requests that a task sent there.
    pub(super) replies: Receiver<Reply>,
    /// To the dashboard.
    pub(super) messages: Sender<(Source, Msg)>,
}

impl Tasks {
    /// Starts the thread; it ends when nobody can send it tasks any more.
    pub(super) fn start(self) -> Sender<Task> {
        let (queue, tasks) = mpsc::channel();
        std::thread::spawn(move || self.run(&tasks));
        queue
    }

    fn run(&self, tasks: &Receiver<Task>) {
        for task in tasks {
            let lists = task == Task::List;
            let msg = self.work(task).unwrap_or_else(|failure| {
                let problem = failure.message.unwrap_or_default();
                Msg::Done(if lists { Done::NotListed(problem) } else { Done::Said(problem) })
            });
            if self.messages.send((Source::Board(self.board), msg)).is_err() {
                return;
            }
        }
    }

    fn work(&self, task: Task) -> Result<Msg, Failure> {
        let done = match task {
            Task::List => {
                let sessions = KeptSessions::of(&self.target)?.list()?;
                let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
                Done::Listed { sessions, now_s: u64::try_from(now.tv_sec).unwrap_or(0) }
            }
            Task::Open(session) => return Ok(Msg::Opened(Box::new(self.open(session)?))),
            Task::Baseline(session) => self.figures(session)?,
            Task::Recall(session) => self.recall(session)?,
            Task::Compare { before, after, width } => {
                let [a, b] = [before, after].map(kept);
                let style = Style::narrow(usize::from(width));
                let title = format!("session {after} against session {before}");
                Done::Text { title, text: diff::text_of(&a, &b, &self.target, style)? }
            }
            Task::Remove(session) => {
                let bytes = KeptSessions::of(&self.target)?.remove(session)?;
                Done::Removed(format!("session {session} is removed, {}", display::bytes(bytes)))
            }
            Task::Export { from, path } => Done::Said(self.export(&from, Path::new(&path))?),
        };
        Ok(Msg::Done(done))
    }

    fn reader(&self, session: JobId) -> Result<Reader<File>, Failure> {
        kept(session).reader(&self.target)
    }

    fn open(&self, session: JobId) -> Result<Opened, Failure> {
        let file = kept(session).open(&self.target)?;
        let writer = file.try_clone().map_err(anyhow::Error::from)?;
        let reader = Reader::new(file).map_err(|error| kept(session).failed(&error))?;
        let opened = Playing::open(reader, Box::new(move || session_source::is_written(&writer)));
        let (player, index) = opened.map_err(|error| kept(session).failed(&error))?;
        let (name, source) = (kept(session).to_string(), session.to_string());
        Ok(Opened { name, source, index, player: Some(player) })
    }

    /// Reads a session to its end.
    fn figures(&self, session: JobId) -> Result<Done, Failure> {
        let opened = Player::open(self.reader(session)?).and_then(|(player, _)| player.figures());
        let figures: Option<Figures> = opened.map_err(|error| kept(session).failed(&error))?;
        let figures = figures.ok_or_else(|| kept(session).failed(&"no job with op events is in it"))?;
        Ok(Done::Baseline(session, figures))
    }

    /// What a session ran: its first job.
    fn recall(&self, session: JobId) -> Result<Done, Failure> {
        for event in self.reader(session)? {
            if let Event::Entry(Entry::Job(job)) = event.map_err(|error| kept(session).failed(&error))? {
                let workload: Workload = job.workload.clone();
                return Ok(Done::Recalled(job.model.clone(), Box::new(workload)));
            }
        }
        Err(kept(session).failed(&"no job is in it"))
    }

    /// Writes a file; what it holds, in a line.
    fn export(&self, from: &ExportFrom, path: &Path) -> Result<String, Failure> {
        let end = path.extension().and_then(std::ffi::OsStr::to_str).unwrap_or_default();
        let Some(format) = Format::of_file(path).map(Some).or(matches!(end, "mcap" | "html").then_some(None))
        else {
            let known = "known are mcap, html and those of `slmscope export --format list`";
            return Err(Failure::error(format!("{}: its end names no format; {known}", path.display())));
        };
        if path.symlink_metadata().is_ok() {
            return Err(Failure::error(format!("{} exists: name another file", path.display())));
        }
        let mut reader = match from {
            ExportFrom::Session(source) => {
                source.parse::<SessionSource>().unwrap_or_else(|never| match never {}).reader(&self.target)?
            }
            ExportFrom::Recent => self.recent()?,
        };
        match (format, end) {
            (_, "html") => page(&mut reader, path),
            (Some(format), _) => trace(&mut reader, path, format),
            (None, _) => recording(&mut reader, path),
        }
    }

    /// What the daemon keeps of the loop that runs, in a file without a name.
    fn recent(&self) -> Result<Reader<File>, Failure> {
        let file = rustix::fs::memfd_create("slmscope-recent", rustix::fs::MemfdFlags::CLOEXEC);
        let mut file: File = file.map_err(|error| anyhow::anyhow!("no memory to save into: {error}"))?.into();
        let method = Method::SaveRecent { seconds: RECENT_S };
        if self.target.is_remote() {
            // An open file does not go through the connection that there is.
            let connection = connect::running(&self.target)?;
            let mut connection = connection.ok_or_else(|| Failure::error("not connected"))?;
            connection.call_into_file(method, &mut file)??;
            file.seek(SeekFrom::Start(0)).map_err(anyhow::Error::from)?;
            return Ok(Reader::new(file).map_err(anyhow::Error::from)?);
        }
        let request = Request::new(Some(FIRST_OF_TASKS), method);
        // An answer that came too late for the task before is not this one's.
        while self.replies.try_recv().is_ok() {}
        let sent = self.shared.link().sender.as_ref().map(|sender| sender.send(&request, &[file.as_fd()]));
        sent.unwrap_or_else(|| Err(anyhow::anyhow!("not connected")))?;
        let reply =
            self.replies.recv_timeout(SAVING).map_err(|_| anyhow::anyhow!("the daemon does not answer"))?;
        if let Outcome::Error(error) = reply.outcome {
            return Err(Failure::from(error));
        }
        file.seek(SeekFrom::Start(0)).map_err(anyhow::Error::from)?;
        Ok(Reader::new(file).map_err(anyhow::Error::from)?)
    }
}

/// A session by its number.
fn kept(session: JobId) -> SessionSource {
    SessionSource::Kept(Wanted::Job(session))
}

/// An error of a reader.
fn unreadable(error: &dyn std::fmt::Display) -> Failure {
    Failure::error(format!("the recording cannot be read: {error}"))
}

/// Gives all entries that can be read.
fn each(
    reader: &mut Reader<File>,
    mut take: impl FnMut(&Entry) -> Result<(), Failure>,
) -> Result<(), Failure> {
    for event in reader.by_ref() {
        if let Event::Entry(entry) = event.map_err(|error| unreadable(&error))? {
            take(&entry)?;
        }
    }
    Ok(())
}

fn trace(reader: &mut Reader<File>, path: &Path, format: Format) -> Result<String, Failure> {
    let mut file = TraceFile::begin(Some(path), false, format, Filter::default())?;
    each(reader, |entry| file.take(entry))?;
    Ok(file.finish()?.0)
}

fn page(reader: &mut Reader<File>, path: &Path) -> Result<String, Failure> {
    let mut page = PageFile::create(path, false)?;
    let read = each(reader, |entry| {
        page.take(entry);
        Ok(())
    });
    let line = page.finish();
    read?;
    line
}

fn recording(reader: &mut Reader<File>, path: &Path) -> Result<String, Failure> {
    let mut file = RecordingFile::create(path, false)?;
    each(reader, |entry| file.add(entry))?;
    file.finish()
}

#[cfg(test)]
mod tests {
    use slmscope_exports::recording::Writer;
    use slmscope_profiles::record::{Mark, MarkKind, Record};

    use super::*;

    #[test]
    fn an_export_takes_its_format_from_the_end_of_the_name_and_replaces_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let mut writer = Writer::new(Vec::new()).unwrap();
        let mark = Mark { t_ns: 5, job: 1, kind: MarkKind::JobState, text: None };
        writer.write(&Entry::Record(Record::Mark(mark).into())).unwrap();
        std::fs::write(path("a.mcap"), writer.finish().unwrap()).unwrap();
        let (messages, _received) = mpsc::channel();
        let (_, replies) = mpsc::channel();
        let (target, shared) = (Target::default(), SharedLink::default());
        let tasks = Tasks { board: 0, target, shared, replies, messages };
        let from = ExportFrom::Session(path("a.mcap").display().to_string());
        let export = |name: &str| {
            tasks.export(&from, &path(name)).map_err(|failure| failure.message.unwrap_or_default())
        };
        assert!(export("b.pftrace").unwrap().contains("0 op events"));
        assert!(export("b.mcap").is_ok() && path("b.mcap").exists());
        assert!(export("b.pftrace").unwrap_err().contains("exists: name another file"));
        assert!(export("b.odd").unwrap_err().contains("its end names no format"));
        let without_result = export("b.html").unwrap_err();
        assert!(!without_result.contains("names no format") && !path("b.html").exists(), "{without_result}");
        assert!(
            tasks.recent().is_err_and(|failure| failure.message.is_some_and(|text| text == "not connected"))
        );
    }
}
