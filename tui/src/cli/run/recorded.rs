//! A run for another command, which wants its result and its recording.

use std::cell::RefCell;
use std::path::Path;
use std::process::ExitCode;

use slmscope_profiles::result::RunResult;
use slmscope_profiles::wire::Submit;
use slmscope_profiles::workload::Workload;

use super::files::Files;
use super::follow::follow;
use super::progress::Progress;
use super::stream::TextStream;
use crate::connect::{Attached, Target};
use crate::failure::{self, Failure};
use crate::model_source::{self, ChosenModel};

/// What came of a run.
pub struct Recorded {
    /// Its result, also of one that failed; `None` if it never became a job.
    pub result: Option<Box<RunResult>>,
    /// How it ended.
    pub ended: Result<ExitCode, Failure>,
}

/// Opens the model called `name`, which `workload` is to be run with, for the daemon of `target`.
///
/// # Errors
/// If there is no such model, or it cannot run the workload.
pub fn choose(target: &Target, name: &str, workload: &Workload) -> Result<ChosenModel, Failure> {
    let chosen = model_source::choose_on(target, Some(name))?;
    workload.validate_for(chosen.model.source()).map_err(Failure::option)?;
    super::check_model(&chosen, workload, failure::flag)?;
    Ok(chosen)
}

/// Who records a run.
#[derive(Debug, Clone, Copy)]
pub enum Recorder<'a> {
    /// This process, into a file, in place of what is there.
    File(&'a Path),
    /// The same, into a file that gets its name later: nothing is said of it.
    Unnamed(&'a Path),
    /// The daemon, as a session.
    Daemon,
}

/// Runs a workload.
///
/// # Errors
/// If the file cannot be made. How the run ended is in what is returned.
pub fn run(
    attached: Attached,
    chosen: ChosenModel,
    workload: Workload,
    recorder: Recorder<'_>,
) -> Result<Recorded, Failure> {
    let (files, record) = match recorder {
        Recorder::File(path) => (Files::recording(path)?, false),
        Recorder::Unnamed(path) => (Files::recording(path)?.quiet(), false),
        Recorder::Daemon => (Files::none(), true),
    };
    let submit = Submit { record, ..Submit::new(chosen.model, workload) };
    let result = RefCell::new(None);
    let keep = |found: &RunResult, _: bool| {
        *result.borrow_mut() = Some(Box::new(found.clone()));
        Ok(())
    };
    let no_text: Option<TextStream<std::io::Sink>> = None;
    let ended = follow(attached, submit, chosen.files, Progress::new(true), no_text, files, keep);
    Ok(Recorded { result: result.into_inner(), ended })
}
