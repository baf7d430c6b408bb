//! One run of a point, on the daemon.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use slmscope_profiles::campaign::{Outcome, Point, PointRun, Schedule};

use super::{cooling, is_up};
use crate::cli::run::recorded::{self, Recorded, Recorder};
use crate::connect::{self, Target};
use crate::failure::Failure;

/// Runs points.
pub(super) struct Runner<'a> {
    pub(super) target: &'a Target,
    pub(super) schedule: &'a Schedule,
    /// A signal came.
    pub(super) interrupted: Arc<AtomicBool>,
    /// Nothing ran before.
    pub(super) is_first: bool,
}

impl Runner<'_> {
    /// Runs a point and writes its session into `file`. A point that cannot run has the reason in its outcome.
    ///
    /// # Errors
    /// If no daemon can be reached, or a signal came: then the sweep ends.
    pub(super) fn run(&mut self, point: &Point, run: PointRun, file: &Path) -> Result<Outcome, Failure> {
        let failed = |failure: Failure| Outcome::new(run, None, failure.message, 0);
        let Some(workload) = point.workload.clone() else {
            return Ok(Outcome::new(run, None, point.problem.clone(), 0));
        };
        let chosen = match recorded::choose(self.target, &point.model, &workload) {
            Ok(chosen) => chosen,
            Err(failure) => return Ok(failed(failure)),
        };
        let mut attached = connect::attach(self.target, false, Stdio::inherit)?;
        let start = cooling::wait(self.schedule, self.is_first, &mut attached.connection, &self.interrupted)?;
        self.is_first = false;
        let began = Instant::now();
        let Recorded { result, ended } = recorded::run(attached, chosen, workload, Recorder::Unnamed(file))?;
        if is_up(&self.interrupted) {
            return Err(Failure::silent(130));
        }
        let took_ns = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let error = ended.err().and_then(|failure| failure.message);
        let outcome = Outcome::new(run, result, error, took_ns);
        Ok(Outcome { start_celsius: start.celsius, note: start.note, ..outcome })
    }
}
