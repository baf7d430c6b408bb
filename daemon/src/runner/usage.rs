//! CPU time of the machine and of this tool, at one moment.

use slmscope_probes::Root;
use slmscope_probes::available_memory;
use slmscope_probes::hygiene::{self, Readings};
use slmscope_probes::process::{self, ProcessTime, ThreadUsage};

use crate::backend::Engine;
use crate::clock::Clock;

/// State of the machine and CPU time of this tool at one moment. Both are taken together, since they are used as
/// differences: the machine's CPU time between two snapshots minus ours is what others used.
pub(super) struct UsageSnapshot {
    pub(super) readings: Readings,
    /// CLOCK_MONOTONIC, ns.
    pub(super) at_ns: u64,
    /// CPU time of daemon, clients, and the threads of the engine's process that do not compute, ns. `None` if the
    /// kernel does not say.
    pub(super) helpers_ns: Option<u64>,
    /// CPU time of daemon, clients and the engine's whole process, ns.
    pub(super) all_ns: u64,
    /// The engine threads.
    pub(super) computing: Vec<ThreadUsage>,
    /// Page faults of the engine's process that waited for storage. `None` as above.
    pub(super) major_faults: Option<u64>,
    /// What is left for programs, bytes.
    pub(super) available: Option<u64>,
    /// All other processes.
    pub(super) others: Vec<ProcessTime>,
}

impl UsageSnapshot {
    /// Takes all but the other processes, on the machine under `root`.
    pub(super) fn take(root: &Root, engine: Option<&dyn Engine>, clients: &[u32], clock: &dyn Clock) -> Self {
        let readings = hygiene::read(root);
        let daemon = process::cpu_ns(std::process::id());
        let clients_ns: u64 = clients.iter().filter_map(|&pid| process::cpu_ns(pid)).sum();
        let pid = engine.and_then(Engine::process);
        let threads = pid.map(process::threads).unwrap_or_default();
        let computes = |name: &str| engine.is_none_or(|engine| engine.computes(name));
        let (computing, helpers): (Vec<_>, Vec<_>) =
            threads.into_iter().partition(|thread| computes(&thread.name));
        let helpers: u64 = helpers.iter().map(|thread| thread.cpu_ns).sum();
        let process = pid.and_then(process::cpu_ns).unwrap_or(0);
        Self {
            readings,
            at_ns: clock.now_ns(),
            helpers_ns: daemon.map(|daemon| daemon + clients_ns + helpers),
            all_ns: daemon.unwrap_or(0) + clients_ns + process,
            computing,
            major_faults: pid.and_then(process::major_faults),
            available: available_memory(root),
            others: Vec::new(),
        }
    }
}

/// CPU times of all processes that are not ours. Takes some ms of CPU time.
pub(super) fn others(engine: Option<&dyn Engine>, clients: &[u32]) -> Vec<ProcessTime> {
    let pid = engine.and_then(Engine::process);
    let is_ours = |other: &ProcessTime| {
        other.pid == std::process::id() || Some(other.pid) == pid || clients.contains(&other.pid)
    };
    let mut others = process::all();
    others.retain(|other| !is_ours(other));
    others
}
