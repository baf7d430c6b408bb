//! Why there is no result to hand out.

use slmscope_profiles::job::{JobId, JobState};
use slmscope_profiles::wire::{ErrorCode, WireError};

use crate::results::NoResult;

/// Why there is no result to hand out.
#[derive(Debug, thiserror::Error)]
pub enum ResultError {
    /// None is kept that could be read.
    #[error(transparent)]
    NotKept(#[from] NoResult),
    /// Its job has not ended.
    #[error("job {job} has no result yet (state {}): `slmscope result {job} --wait` waits for it", state.as_str())]
    NotYet {
        /// The job.
        job: JobId,
        /// How far it is.
        state: JobState,
    },
    /// Its job is a loop whose first turn has not ended.
    #[error("job {job} has no result yet (state {}): the first turn of its loop has not ended", state.as_str())]
    NoTurn {
        /// The job.
        job: JobId,
        /// How far it is.
        state: JobState,
    },
    /// Its job ended before it began to run.
    #[error("job {job} has no result, it ended before it ran: {reason}")]
    Unmeasured {
        /// The job.
        job: JobId,
        /// Why it ended.
        reason: String,
    },
}

impl From<ResultError> for WireError {
    fn from(error: ResultError) -> Self {
        let (code, field) = match &error {
            ResultError::NotKept(NoResult::NotYours { .. }) => (ErrorCode::Forbidden, "job"),
            ResultError::NotKept(NoResult::Run(_)) => (ErrorCode::NoResult, "run"),
            _ => (ErrorCode::NoResult, "job"),
        };
        Self { code, message: error.to_string(), field: Some(field.to_owned()) }
    }
}
