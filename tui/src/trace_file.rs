//! An export that this client writes, to a file or to standard output.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use slmscope_exports::export::{Counts, Filter, Format, Walk};
use slmscope_exports::recording::Entry;
use slmscope_profiles::display;

use crate::failure::Failure;

/// Makes a file for output, before anything is measured or read for it. It stays locked while it is open: readers of a
/// recording know by that that more will come.
///
/// # Errors
/// If it exists and may not be replaced, somebody reads or writes it as a recording, or it cannot be written.
pub fn create(path: &Path, replace: bool) -> Result<File, Failure> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(!replace).create(replace).truncate(false);
    let file = options.open(path).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => exists(path),
        _ => cannot_write(path, &error),
    })?;
    // Where files cannot be locked nobody can tell who else uses it.
    if let Err(TryLockError::WouldBlock) = file.try_lock() {
        let problem = "it is read or written at this moment, perhaps by this command; name another file";
        return Err(Failure::error(format!("cannot replace {}: {problem}", path.display())));
    }
    // What is no regular file has no length.
    if replace && file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        file.set_len(0).map_err(|error| cannot_write(path, &error))?;
    }
    Ok(file)
}

/// A file for output that may not be replaced.
pub fn exists(path: &Path) -> Failure {
    Failure::error(format!("{} exists: name another file, or replace it with --force", path.display()))
}

/// A file for output that the system refuses.
pub fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::error(format!("cannot write {}: {error}", path.display()))
}

/// An export that is being written.
pub struct TraceFile {
    /// `None` for standard output.
    path: Option<PathBuf>,
    format: Format,
    walk: Walk<'static>,
    written: Arc<AtomicU64>,
}

impl TraceFile {
    /// Begins an export into `path`, or to standard output without one.
    ///
    /// # Errors
    /// As [`create`]; also if what is no text would be shown in a terminal.
    pub fn begin(
        path: Option<&Path>,
        replace: bool,
        format: Format,
        filter: Filter,
    ) -> Result<Self, Failure> {
        let out: Box<dyn Write> = match path {
            Some(path) => Box::new(create(path, replace)?),
            None if !format.is_text() && io::stdout().is_terminal() => {
                let example = format!("-o trace.{}", format.extension());
                return Err(Failure::usage(format!(
                    "{} is no text for a terminal: name a file, such as {example}, or a pipe",
                    format.as_str()
                )));
            }
            None => Box::new(io::stdout()),
        };
        let written = Arc::new(AtomicU64::new(0));
        let counted = Counted { out, written: Arc::clone(&written) };
        let walk = Walk::new(format.filter(filter), format.export(counted));
        Ok(Self { path: path.map(Path::to_owned), format, walk, written })
    }

    /// Takes an entry of a recording.
    ///
    /// # Errors
    /// If the output takes no more; its message is `None` if that is a pipe whose reader has seen enough.
    pub fn take(&mut self, entry: &Entry) -> Result<(), Failure> {
        let taken = self.walk.take(entry);
        taken.map_err(|error| self.failed(error))
    }

    /// Ends it. What it holds, in a line.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    pub fn finish(mut self) -> Result<(String, Counts), Failure> {
        let counts = self.walk.finish().map_err(|error| self.failed(error))?;
        let name = self.path.as_ref().map_or_else(|| "export".to_owned(), |path| path.display().to_string());
        let bytes = display::bytes(self.written.load(Ordering::Relaxed));
        let line = format!(
            "{name}: {} op events of {} tokens and chunks, {} samples; {bytes} for {}",
            counts.events,
            counts.batches,
            counts.samples,
            self.format.opened_by()
        );
        Ok((line, counts))
    }

    /// An error of the output; a file that is not whole is removed.
    fn failed(&self, error: io::Error) -> Failure {
        if let Some(path) = &self.path {
            let _ = fs::remove_file(path);
            return Failure::error(format!("cannot write {}: {error}", path.display()));
        }
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Failure::silent(0);
        }
        Failure::error(format!("cannot write the export: {error}"))
    }
}

/// Counts what is written.
struct Counted {
    out: Box<dyn Write>,
    written: Arc<AtomicU64>,
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.written.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
