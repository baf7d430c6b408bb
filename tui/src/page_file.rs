//! The report of a run as a page that this client writes.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use slmscope_exports::page::Collector;
use slmscope_exports::recording::Entry;
use slmscope_profiles::display;

use crate::failure::Failure;
use crate::report;
use crate::trace_file;

/// A page that is written when all is known.
pub struct PageFile {
    path: PathBuf,
    file: File,
    collector: Collector,
}

impl PageFile {
    /// Makes the file, before anything is measured or read for it.
    ///
    /// # Errors
    /// If it exists and may not be replaced, or cannot be written.
    pub fn create(path: &Path, replace: bool) -> Result<Self, Failure> {
        let file = trace_file::create(path, replace)?;
        Ok(Self { path: path.to_owned(), file, collector: Collector::default() })
    }

    /// Takes an entry of a recording.
    pub fn take(&mut self, entry: &Entry) {
        self.collector.take(entry);
    }

    /// Writes the page; what it is, in a line. Without a result there is no page, and the file is removed.
    ///
    /// # Errors
    /// If there is no result, or the file takes no more.
    pub fn finish(mut self) -> Result<String, Failure> {
        let name = self.path.display().to_string();
        let headline = self.collector.result().map(report::headline).unwrap_or_default();
        let mut out = BufWriter::new(&self.file);
        let written = self.collector.write(&headline, &mut out);
        let written = written.map_err(|error| error.to_string());
        if let Err(error) = written.and_then(|()| out.flush().map_err(|error| error.to_string())) {
            drop(out);
            let _ = fs::remove_file(&self.path);
            return Err(Failure::error(format!("{name}: {error}")));
        }
        drop(out);
        let bytes = self.file.metadata().map_or(0, |metadata| metadata.len());
        Ok(format!("{name}: the report, {}; open it in a browser", display::bytes(bytes)))
    }
}
