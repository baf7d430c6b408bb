//! Talk: what a daemon and one client say to each other. It is never stored.

use serde::{Deserialize, Serialize};

use crate::job::{Job, JobId, Progress};
use crate::result::RunResult;
use crate::words::open_words;

/// What a daemon tells one client, beside records.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Talk {
    /// First message of every connection.
    Hello(Hello),
    /// A job's new state.
    Job(Box<Job>),
    /// How far loading or a phase is.
    Progress(Progress),
    /// Text that the first warm-up generates, from time to time, and that of the first measured repetition, once that
    /// has ended, which is the same; to the submitter only.
    Text {
        /// The job.
        job: JobId,
        /// Repetition.
        #[serde(rename = "run")]
        repetition: u32,
        /// All of it so far.
        text: String,
    },
    /// A job's result; to the submitter only.
    Result {
        /// The job.
        job: JobId,
        /// The object that `run --json` prints.
        result: Box<RunResult>,
    },
    /// Batches that this client was too slow for.
    Gap {
        /// First batch that was dropped.
        first_seq: u64,
        /// Last batch that was dropped.
        last_seq: u64,
        /// How many.
        batches: u64,
    },
    /// The daemon ends the connection after this message.
    Bye {
        /// Why.
        reason: String,
    },
}

impl Talk {
    /// The keys of talk on the wire; what has another is a record or a summary.
    pub(super) const KEYS: [&str; 7] = ["hello", "job", "progress", "text", "result", "gap", "bye"];
}

/// Who answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// Lowest and highest protocol that the daemon speaks.
    pub protocol: [u32; 2],
    /// Version of the daemon.
    pub version: String,
    /// As which user it runs.
    pub uid: u32,
    /// What this connection may do.
    pub capabilities: Vec<Capability>,
    /// As which user the client is known; null from daemons that do not say.
    #[serde(default)]
    pub client_uid: Option<u32>,
    /// CLOCK_MONOTONIC of the daemon's machine when it said this, ns: a client on another machine has another clock. Null
    /// from daemons that do not say.
    #[serde(default)]
    pub now_ns: Option<u64>,
}

open_words! {
    /// What a connection may do.
    pub enum Capability {
        /// Streams, lists and reports.
        Read = "read",
        /// Jobs.
        Submit = "submit",
    }
}
