//! Sessions beside each other as a page, for the commands that compare them.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use slmscope_exports::page::{Collector, Compared, Words, compare};
use slmscope_exports::recording::Event;
use slmscope_profiles::display;

use crate::connect::Target;
use crate::failure::Failure;
use crate::session_source::SessionSource;
use crate::trace_file;

/// A page that is written when the comparison is made.
pub(super) struct PageFile {
    path: PathBuf,
    file: File,
}

impl PageFile {
    /// Makes the file, before anything is read.
    ///
    /// # Errors
    /// If it exists, or cannot be written.
    pub(super) fn create(path: &Path) -> Result<Self, Failure> {
        // `--force` of these commands is about what is compared.
        if path.exists() {
            return Err(Failure::error(format!(
                "{} exists: name another file, or remove it",
                path.display()
            )));
        }
        Ok(Self { path: path.to_owned(), file: trace_file::create(path, false)? })
    }

    /// Writes the page of what `made` says about `sessions`, which have a name each; what it is, in a line. If nothing was
    /// made, or it cannot be written, the file is removed.
    ///
    /// # Errors
    /// That of `made`; if a session cannot be read again, or the file takes no more.
    pub(super) fn fill<T>(
        &self,
        sessions: Vec<(String, &SessionSource)>,
        target: &Target,
        made: Result<T, Failure>,
        words: impl FnOnce(&T) -> Words,
    ) -> Result<(T, String), Failure> {
        let filled = made.and_then(|made| {
            let line = self.write(sessions, target, &words(&made))?;
            Ok((made, line))
        });
        if filled.is_err() {
            let _ = fs::remove_file(&self.path);
        }
        filled
    }

    fn write(
        &self,
        sessions: Vec<(String, &SessionSource)>,
        target: &Target,
        words: &Words,
    ) -> Result<String, Failure> {
        let mut compared = Vec::new();
        for (name, source) in sessions {
            compared.push(Compared { name, collector: collected(source, target)? });
        }
        let failed =
            |error: &dyn std::fmt::Display| Failure::error(format!("{}: {error}", self.path.display()));
        let mut out = BufWriter::new(&self.file);
        compare(&mut compared, words, &mut out).map_err(|error| failed(&error))?;
        out.flush().map_err(|error| failed(&error))?;
        let bytes = self.file.metadata().map_or(0, |metadata| metadata.len());
        let (path, bytes) = (self.path.display(), display::bytes(bytes));
        Ok(format!("{path}: the comparison, {bytes}; open it in a browser"))
    }
}

/// All of a session.
fn collected(source: &SessionSource, target: &Target) -> Result<Collector, Failure> {
    let mut collector = Collector::default();
    for event in source.reader(target)? {
        if let Event::Entry(entry) = event.map_err(|error| source.failed(&error))? {
            collector.take(&entry);
        }
    }
    Ok(collector)
}
