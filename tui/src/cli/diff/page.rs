//! The comparison as a page.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use slmscope_exports::page::{self, Collector, Compared, PhaseVerdict};
use slmscope_exports::recording::Event;
use slmscope_profiles::display;

use super::{Diff, PhaseDiff, text};
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
        // `--force` of `diff` is about what is compared.
        if path.exists() {
            return Err(Failure::error(format!(
                "{} exists: name another file, or remove it",
                path.display()
            )));
        }
        Ok(Self { path: path.to_owned(), file: trace_file::create(path, false)? })
    }

    /// Writes the comparison of the sessions of both sides, which `compare` makes; what it is, in a line. If there is
    /// none, the file is removed.
    ///
    /// # Errors
    /// If there is no comparison, a session cannot be read again, or the file takes no more.
    pub(super) fn fill(
        &self,
        (before, after): (&[SessionSource], &[SessionSource]),
        target: &Target,
        compare: impl FnOnce() -> Result<Diff, Failure>,
    ) -> Result<(Diff, String), Failure> {
        let filled = compare().and_then(|diff| {
            let line = self.write(&diff, (before, after), target)?;
            Ok((diff, line))
        });
        if filled.is_err() {
            let _ = fs::remove_file(&self.path);
        }
        filled
    }

    fn write(
        &self,
        diff: &Diff,
        (before, after): (&[SessionSource], &[SessionSource]),
        target: &Target,
    ) -> Result<String, Failure> {
        let mut sessions = Vec::new();
        for (side, sources) in [("A", before), ("B", after)] {
            for (at, source) in sources.iter().enumerate() {
                let number = if sources.len() > 1 { (at + 1).to_string() } else { String::new() };
                let name = format!("{side}{number}: {source}");
                sessions.push(Compared { name, collector: collected(source, target)? });
            }
        }
        let verdicts: Vec<PhaseVerdict> = diff.phases.iter().map(verdict).collect();
        let sentences: Vec<&str> = verdicts.iter().map(|verdict| verdict.sentence.as_str()).collect();
        let failed =
            |error: &dyn std::fmt::Display| Failure::error(format!("{}: {error}", self.path.display()));
        let mut out = BufWriter::new(&self.file);
        page::compare(&mut sessions, &sentences.join("; "), &verdicts, &text::commands(diff), &mut out)
            .map_err(|error| failed(&error))?;
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

fn verdict(phase: &PhaseDiff) -> PhaseVerdict {
    PhaseVerdict {
        phase: phase.phase,
        sentence: text::sentence(phase),
        remarks: text::remarks(phase),
        comparison: phase.comparison.clone(),
    }
}
