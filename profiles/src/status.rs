//! The daemon's own figures.

use serde::{Deserialize, Serialize};

use crate::job::Job;

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
}
