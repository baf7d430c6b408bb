//! Results that the daemon keeps after their jobs have ended.

use serde::{Deserialize, Serialize};

use crate::job::{JobId, JobState};
use crate::result::{RunResult, RunStatus};

/// A result that is kept, without its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptResult {
    /// Number of its job.
    pub job: JobId,
    /// Names the run, as in the result.
    pub run_id: String,
    /// Name of the model, with `-` for characters that are not plain in a file's name.
    pub model: String,
    /// Whose job it was.
    pub uid: u32,
    /// How the job ended.
    pub state: JobState,
    /// When it was kept, by the wall clock, seconds since 1970.
    pub unix_s: u64,
    /// Its length, bytes.
    pub bytes: u64,
}

/// A result with the number of its job: the answer to the request `result`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeptRun {
    /// Number of its job.
    pub job: JobId,
    /// The object that `run --json` prints.
    pub result: Box<RunResult>,
}

/// Which result is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    /// That of a job; of a loop that runs, of its last turn.
    Job(JobId),
    /// That of a run, by its `run_id`.
    Run(String),
    /// The newest of the user who asks.
    Latest {},
}

impl RunStatus {
    /// The state of a job whose result has this status.
    pub fn job_state(self) -> JobState {
        match self {
            Self::Complete => JobState::Done,
            Self::Cancelled => JobState::Cancelled,
            Self::Failed => JobState::Failed,
        }
    }
}
