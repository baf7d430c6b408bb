//! Marks: moments that no other record holds.

use serde::{Deserialize, Serialize};

use crate::job::{Job, JobId};
use crate::words::open_words;

/// Something happened at a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// CLOCK_MONOTONIC, ns.
    pub t_ns: u64,
    /// The job that it is about.
    pub job: JobId,
    /// What happened.
    pub kind: MarkKind,
    /// What there is to say of it; depends on the kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

open_words! {
    /// What a mark is about.
    pub enum MarkKind {
        /// A job entered a state; the text is the state as JSON spells it ([`crate::job::JobState::as_str`]).
        JobState = "job_state",
        /// The daemon's own recording of the job ended before the job; the text says why.
        RecordingStopped = "recording_stopped",
    }
}

impl Mark {
    /// `job` entered its state at `t_ns`.
    pub fn state_of(job: &Job, t_ns: u64) -> Self {
        Self { t_ns, job: job.job, kind: MarkKind::JobState, text: Some(job.state.as_str().to_owned()) }
    }
}
