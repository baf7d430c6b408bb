//! The daemon's own figures.

use serde::{Deserialize, Serialize};

use crate::job::Job;
use crate::sessions::RecordMode;

/// The object of `status --json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// `slmscope.status/1`
    pub schema: String,
    /// Version of the daemon.
    pub slmscope: String,
    /// Its process.
    pub pid: u32,
    /// As which user it runs.
    pub uid: u32,
    /// Path of its socket; `None` if it has no name.
    pub socket: Option<String>,
    /// Time since its start, ns.
    pub uptime_ns: u64,
    /// CPU time of its threads since then, ns; `None` where the kernel does not report it.
    pub cpu_ns: Option<u64>,
    /// Its resident memory, bytes; `None` where the kernel does not report it.
    pub rss: Option<u64>,
    /// Connected clients, the asking one included.
    pub clients: u32,
    /// Channels that are sampled.
    pub channels: u32,
    /// Sampling ticks that came late.
    pub late_ticks: u64,
    /// Op batches that the engine made and the daemon did not get.
    pub lost_batches: u64,
    /// Op batches that were dropped for slow clients.
    pub dropped_batches: u64,
    /// Jobs that wait or run, and the last ones that ended.
    pub jobs: Vec<Job>,
    /// What the daemon records by itself; null from daemons that do not say.
    #[serde(default)]
    pub recording: Option<RecordingStatus>,
}

/// What a daemon records by itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RecordingStatus {
    /// What it is to record.
    pub mode: RecordMode,
    /// Where its sessions are; null if it has no folder.
    pub folder: Option<String>,
    /// Why nothing is recorded, or the last job was not recorded to its end; null if it was.
    pub problem: Option<String>,
    /// Sessions in the folder.
    pub sessions: u64,
    /// Bytes that they take.
    pub bytes: u64,
    /// Bytes that they may take now; null without a folder.
    pub max_bytes: Option<u64>,
    /// Bytes that this daemon has written since its start.
    pub written_bytes: u64,
    /// The same per hour, on average since its start; null at its very start.
    pub written_bytes_per_hour: Option<u64>,
}
