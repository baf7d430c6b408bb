//! What is read of machine and engine around the measured repetitions. Turns of a loop follow each other within a second,
//! so what costs most is not read anew for each.

use slmscope_probes::process::{self, ProcessTime};

use super::JobRun;
use crate::runner::usage::{self, UsageSnapshot};

/// A list of processes from the end of a turn serves for the begin of the next one if it is not older than this, ns.
const FRESH_NS: u64 = 200_000_000;

/// Memory of the engine's process is read this often while a loop runs, ns: the kernel walks all its pages for it, and it
/// does not change from turn to turn.
const MEMORY_EVERY_NS: u64 = 10_000_000_000;

/// What was read at the end of a turn.
#[derive(Default)]
pub(super) struct LastTurn {
    /// When other processes were listed, ns, and what they were.
    others: Option<(u64, Vec<ProcessTime>)>,
    /// When memory was read last, ns.
    memory_ns: Option<u64>,
}

impl JobRun<'_> {
    /// When the measured repetitions begin. Other processes are listed before the snapshot, and after it at the end, so
    /// that the time that this takes is no cost of the run.
    pub(super) fn take_usage_before(&mut self) {
        let now_ns = self.shared.clock.now_ns();
        let last = self.last_turn.others.take();
        let fresh = last.filter(|(listed_ns, _)| now_ns.saturating_sub(*listed_ns) <= FRESH_NS);
        let others = fresh.map_or_else(|| self.others(), |(_, others)| others);
        self.builder.before = Some(UsageSnapshot { others, ..self.usage() });
    }

    /// When they have ended.
    pub(super) fn take_usage_after(&mut self) {
        let snapshot = self.usage();
        let (ended_ns, others) = (snapshot.at_ns, self.others());
        if self.workload().looped {
            self.last_turn.others = Some((ended_ns, others.clone()));
        }
        self.builder.after = Some(UsageSnapshot { others, ..snapshot });
        let is_due = self
            .last_turn
            .memory_ns
            .is_none_or(|read_ns| ended_ns.saturating_sub(read_ns) >= MEMORY_EVERY_NS);
        if is_due {
            self.last_turn.memory_ns = Some(ended_ns);
            let pid = self.engine.as_ref().and_then(|engine| engine.process());
            self.builder.process = pid.map(process::memory);
        }
    }

    fn usage(&self) -> UsageSnapshot {
        let clients = self.shared.client_pids();
        UsageSnapshot::take(&self.shared.root, self.engine.as_deref(), &clients, self.shared.clock.as_ref())
    }

    fn others(&self) -> Vec<ProcessTime> {
        usage::others(self.engine.as_deref(), &self.shared.client_pids())
    }
}
