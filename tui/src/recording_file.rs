//! A recording that this client writes of what the daemon sends.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use slmscope_exports::recording::{Entry, WriteError, Writer};
use slmscope_profiles::display;
use slmscope_profiles::record::Record;
use slmscope_profiles::wire::{Frame, OpsDetails, Subscribe, Talk};

use crate::failure::Failure;
use crate::trace_file;

/// Time between two chunks: what a killed client loses at most.
const FLUSH_EVERY: Duration = Duration::from_millis(200);

/// A file that has its name once it is whole: what is there stays until then.
pub struct UnnamedFile {
    path: PathBuf,
    part: PathBuf,
    file: File,
}

impl UnnamedFile {
    /// Makes the file beside `path`, before anything is done for it.
    ///
    /// # Errors
    /// If `path` exists and may not be replaced, or its folder cannot be written.
    pub fn create(path: &Path, replace: bool) -> Result<Self, Failure> {
        if !replace && path.symlink_metadata().is_ok() {
            return Err(trace_file::exists(path));
        }
        let mut name = std::ffi::OsString::from(format!(".part-{}-", std::process::id()));
        name.push(path.file_name().unwrap_or_default());
        let part = path.with_file_name(name);
        let file = OpenOptions::new().write(true).create_new(true).open(&part);
        let file = file.map_err(|error| trace_file::cannot_write(path, &error))?;
        Ok(Self { path: path.to_owned(), part, file })
    }

    /// The file, to be written.
    pub fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Gives it its name, and returns how long it is, bytes.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn name_it(self) -> Result<u64, Failure> {
        let length = self.file.metadata().map_or(0, |metadata| metadata.len());
        let named = self.file.sync_data().and_then(|()| std::fs::rename(&self.part, &self.path));
        named.map_err(|error| trace_file::cannot_write(&self.path, &error))?;
        Ok(length)
    }
}

impl Drop for UnnamedFile {
    /// Removes what got no name.
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.part);
    }
}

/// The file, and what was written into it.
pub struct RecordingFile {
    path: PathBuf,
    writer: Writer<File>,
    file: File,
    flushed: Instant,
    messages: u64,
}

impl RecordingFile {
    /// Makes the file, before anything is measured for it.
    ///
    /// # Errors
    /// If it exists and may not be replaced, or cannot be written.
    pub fn create(path: &Path, replace: bool) -> Result<Self, Failure> {
        let file = trace_file::create(path, replace)?;
        let copy = file.try_clone().map_err(|error| failed(path, &WriteError::Io(error)))?;
        let writer = Writer::new(copy).map_err(|error| failed(path, &error))?;
        Ok(Self { path: path.to_owned(), writer, file, flushed: Instant::now(), messages: 0 })
    }

    /// A subscription to all that is recorded.
    pub fn subscription() -> Subscribe {
        Subscribe {
            channels: vec!["*".to_owned()],
            max_hz: 1000.0,
            ops: OpsDetails { raw: true, summary: false },
        }
    }

    /// Adds a message of the stream, if it is one that is recorded.
    ///
    /// # Errors
    /// If the file takes no more.
    pub fn take(&mut self, frame: &Frame) -> Result<(), Failure> {
        recorded(frame).map_or(Ok(()), |entry| self.add(&entry))
    }

    /// Adds a message.
    ///
    /// # Errors
    /// If the file takes no more.
    pub fn add(&mut self, entry: &Entry) -> Result<(), Failure> {
        self.messages += 1;
        let mut written = self.writer.write(entry);
        if self.flushed.elapsed() >= FLUSH_EVERY {
            written = written.and_then(|()| self.writer.flush());
            self.flushed = Instant::now();
        }
        written.map_err(|error| failed(&self.path, &error))
    }

    /// Ends the file with its index. Says what it holds.
    ///
    /// # Errors
    /// If the file takes no more.
    pub fn finish(self) -> Result<String, Failure> {
        let Self { path, writer, file, messages, .. } = self;
        let finished = writer.finish().and_then(|_| file.sync_data().map_err(WriteError::Io));
        finished.map_err(|error| failed(&path, &error))?;
        let bytes = file.metadata().map_or(0, |metadata| metadata.len());
        Ok(written(&path, messages, bytes))
    }
}

/// `board.mcap: 1234 messages in 56.0 KiB`.
pub fn written(path: &Path, messages: u64, bytes: u64) -> String {
    let path = path.to_string_lossy();
    let (path, messages) = (display::printable(&path), display::plural(messages, "message"));
    format!("{path}: {messages} in {}", display::bytes(bytes))
}

/// What is recorded of a message of the stream; `None` for most talk.
pub fn recorded(frame: &Frame) -> Option<Entry> {
    match frame {
        // What this client was too slow for is lost to the file as well.
        Frame::Talk(Talk::Gap { batches, .. }) => {
            Some(Entry::Record(Record::Loss { batches: *batches }.into()))
        }
        Frame::Talk(Talk::Job(_) | Talk::Result { .. }) | Frame::Record(_) => {
            Entry::from_frame(frame.clone())
        }
        Frame::Summary(_) | Frame::Talk(_) => None,
    }
}

/// An error of the file, with what can be done.
fn failed(path: &Path, error: &WriteError) -> Failure {
    let cause = std::error::Error::source(error).map_or_else(String::new, |source| format!(": {source}"));
    Failure::error(format!("{}: {error}{cause}; what was written before can be read", path.display()))
}
