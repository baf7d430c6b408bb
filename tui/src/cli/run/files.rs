//! Into which files a run is written while it runs.

use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args};
use slmscope_exports::export::{Filter, Format};
use slmscope_profiles::wire::Frame;

use crate::failure::Failure;
use crate::page_file::PageFile;
use crate::recording_file::{RecordingFile, recorded};
use crate::trace_file::TraceFile;

/// Files that are asked for.
#[derive(Debug, Clone, Default, Args)]
#[command(group(ArgGroup::new("files").multiple(true)))]
pub struct FileOptions {
    /// Record all op events and readings of the run into this file, usually *.mcap
    #[arg(long, value_name = "FILE", conflicts_with = "detach", group = "files")]
    record: Option<PathBuf>,
    /// Write the run as a trace into this file. Its end says the format, *.pftrace for ui.perfetto.dev; `slmscope
    /// export --format list` names the others
    #[arg(long, value_name = "FILE", conflicts_with = "detach", group = "files")]
    trace: Option<PathBuf>,
    /// Write the report as a page for browsers into this file
    #[arg(long, value_name = "FILE", conflicts_with = "detach", group = "files")]
    html: Option<PathBuf>,
    /// Replace these files if they exist
    #[arg(long, requires = "files")]
    force: bool,
}

/// Files that are being written.
pub struct Files {
    recording: Option<RecordingFile>,
    trace: Option<TraceFile>,
    page: Option<PageFile>,
    /// Nothing is said of what they hold.
    is_quiet: bool,
}

impl FileOptions {
    /// The first of these flags that is given.
    pub fn given(&self) -> Option<&'static str> {
        let flags = [(&self.record, "--record"), (&self.trace, "--trace"), (&self.html, "--html")];
        flags.iter().find(|(path, _)| path.is_some()).map(|(_, flag)| *flag)
    }

    /// Makes the files, before the run.
    ///
    /// # Errors
    /// If one exists and may not be replaced, cannot be written, or its name says no format.
    pub fn create(&self) -> Result<Files, Failure> {
        let trace = self.trace.as_ref().map(|path| {
            let format = match Format::of_file(path) {
                // The result has a flag of its own.
                Some(Format::Json) => Format::Chrome,
                Some(format) => format,
                None => {
                    let problem =
                        "its end says no format; use *.pftrace, or see `slmscope export --format list`";
                    return Err(Failure::usage(format!("--trace: {}: {problem}", path.display())));
                }
            };
            TraceFile::begin(Some(path), self.force, format, Filter::default())
        });
        let trace = trace.transpose()?;
        let page = self.html.as_ref().map(|path| PageFile::create(path, self.force)).transpose()?;
        let recording = self.record.as_ref().map(|path| RecordingFile::create(path, self.force));
        Ok(Files { recording: recording.transpose()?, trace, page, is_quiet: false })
    }
}

impl Files {
    /// No file.
    pub fn none() -> Self {
        Self { recording: None, trace: None, page: None, is_quiet: false }
    }

    /// A recording alone, in place of what is there.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn recording(path: &Path) -> Result<Self, Failure> {
        Ok(Self { recording: Some(RecordingFile::create(path, true)?), ..Self::none() })
    }

    /// The same, and nothing is said of what they hold.
    pub fn quiet(self) -> Self {
        Self { is_quiet: true, ..self }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.recording.is_none() && self.trace.is_none() && self.page.is_none()
    }

    /// Adds a message of the stream, if it is one that is recorded.
    ///
    /// # Errors
    /// If a file takes no more.
    pub fn take(&mut self, frame: &Frame) -> Result<(), Failure> {
        if self.is_empty() {
            return Ok(());
        }
        let Some(entry) = recorded(frame) else { return Ok(()) };
        if let Some(recording) = &mut self.recording {
            recording.add(&entry)?;
        }
        if let Some(page) = &mut self.page {
            page.take(&entry);
        }
        self.trace.as_mut().map_or(Ok(()), |trace| trace.take(&entry))
    }

    /// Ends them; a line for each that says what it holds.
    ///
    /// # Errors
    /// If a file takes no more.
    pub fn finish(self) -> Result<Vec<String>, Failure> {
        let mut lines = Vec::new();
        if let Some(recording) = self.recording {
            lines.push(recording.finish()?);
        }
        if let Some(trace) = self.trace {
            lines.push(trace.finish()?.0);
        }
        if let Some(page) = self.page {
            lines.push(page.finish()?);
        }
        if self.is_quiet {
            lines.clear();
        }
        Ok(lines)
    }
}
