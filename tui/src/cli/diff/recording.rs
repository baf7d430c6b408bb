//! A recording as it is compared.

use serde::Serialize;
use slmscope_profiles::compare::Repetition;
use slmscope_profiles::phase::Phase;
use slmscope_profiles::result::RunResult;

use crate::connect::Target;
use crate::failure::Failure;
use crate::session_source::SessionSource;

/// One run, by its repetitions.
pub(super) struct Recording {
    pub(super) name: String,
    pub(super) result: Box<RunResult>,
    prefill: Vec<Repetition>,
    decode: Vec<Repetition>,
}

impl Recording {
    /// Reads the last run of a session.
    pub(super) fn read(source: &SessionSource, target: &Target) -> Result<Self, Failure> {
        let mut session = source.read(target)?;
        let (_, run) = session.take_last_run().ok_or_else(|| source.failed(&"no job is in it"))?;
        let problem = "it ends before the job's result, which says what ran; record it again";
        let (prefill, decode) = (run.repetitions(Phase::Prefill), run.repetitions(Phase::Decode));
        let result = run.result.ok_or_else(|| source.failed(&problem))?;
        Ok(Self { name: source.to_string(), result, prefill, decode })
    }

    pub(super) fn repetitions(&self, phase: Phase) -> &[Repetition] {
        match phase {
            Phase::Prefill => &self.prefill,
            Phase::Decode => &self.decode,
            Phase::Load | Phase::Warmup | Phase::Overhead => &[],
        }
    }

    /// Why its figures may be off, if the machine was not fit to measure on, or that is not known.
    pub(super) fn is_clean(&self) -> bool {
        self.result.hygiene.clean == Some(true)
    }

    pub(super) fn side(&self) -> Side {
        let result = &self.result;
        Side {
            file: self.name.clone(),
            model: result.model.id.clone(),
            run_id: result.run_id.clone(),
            command: result.command.clone(),
            clean: result.hygiene.clean,
            hygiene: result.hygiene.reasons.clone(),
        }
    }
}

/// A recording in the JSON of `diff`.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Side {
    pub(super) file: String,
    pub(super) model: String,
    pub(super) run_id: Option<String>,
    /// The command line that repeats it.
    pub(super) command: Option<String>,
    /// Whether the machine was fit to measure on; null if that is not known.
    pub(super) clean: Option<bool>,
    pub(super) hygiene: Vec<String>,
}
