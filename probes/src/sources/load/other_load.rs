//! CPU time of all other processes: what the machine was busy with, less the daemon and the worker.

use slmscope_profiles::channel::{ChannelId, Class, Quantity, ReasonCode, Scope, Unit, Value};

use crate::catalogue::{Catalogue, Entry, missing};
use crate::machine::root::Root;
use crate::machine::topology;
use crate::source::Group;
use crate::sources::load::process::CpuClock;
use crate::sources::load::self_usage::WorkerPid;

/// Enters `cpu.foreign`, a share of all CPUs. `is_counted` says whether the machine's CPU time is known.
pub(crate) fn discover(
    root: &Root,
    catalogue: &mut Catalogue,
    worker: &WorkerPid,
    is_counted: bool,
) -> Option<OtherLoad> {
    let id = "cpu.foreign";
    let reason = if !root.is_live() {
        Some(missing("a captured tree runs no process of ours"))
    } else if is_counted {
        None
    } else {
        Some(missing("/proc/stat does not say what all processes used"))
    };
    if let Some(reason) = reason {
        catalogue.absent((id, Quantity::Cpu, Unit::Ratio, Scope::Machine), "/proc/stat", reason);
        return None;
    }
    let entry = Entry {
        id: format!("{id}.time"),
        quantity: Quantity::Cpu,
        unit: Unit::Seconds,
        scope: Scope::Machine,
        class: Class::Derived,
        source: "/proc/stat less CPU time of daemon and worker".to_owned(),
        group: Group::Medium,
    };
    let channel = catalogue.counter(entry, None);
    catalogue.rate(id, channel, Quantity::Cpu, Unit::Ratio);
    Some(OtherLoad {
        cpus: topology::present(root).len().max(1) as f64,
        daemon: CpuClock::of(std::process::id()),
        worker: worker.clone(),
        watched: None,
        account: Account::default(),
        channel,
    })
}

/// What other processes use, by the machine's CPU time from whoever reads it.
pub(crate) struct OtherLoad {
    cpus: f64,
    daemon: Option<CpuClock>,
    worker: WorkerPid,
    /// The worker that is watched, with its clock.
    watched: Option<(u32, CpuClock)>,
    account: Account,
    channel: ChannelId,
}

/// Sums the CPU time of other processes: the machine's time less that of our processes.
#[derive(Debug, Clone, Copy, Default)]
struct Account {
    busy_s: Option<f64>,
    daemon_ns: Option<u64>,
    worker: Option<(u32, u64)>,
    /// Not shown: may run backwards by a tick, because ours is exact and the machine's total moves in ticks.
    raw_s: f64,
    shown_s: f64,
}

impl Account {
    fn add(&mut self, busy_s: f64, daemon_ns: Option<u64>, worker: Option<(u32, u64)>) -> f64 {
        let since = |now: u64, before: u64| now.saturating_sub(before) as f64 / 1e9;
        let is_first = self.busy_s.is_none();
        let busy = self.busy_s.replace(busy_s).map_or(0.0, |before| (busy_s - before).max(0.0));
        let daemon = match (daemon_ns, self.daemon_ns) {
            (Some(now), Some(before)) => since(now, before),
            _ => 0.0,
        };
        // A worker that began since the last reading has used all its time since then.
        let used = match (worker, self.worker) {
            (Some((pid, now)), Some((old, before))) if pid == old => since(now, before),
            (Some((_, now)), _) if !is_first => since(now, 0),
            _ => 0.0,
        };
        self.daemon_ns = daemon_ns;
        self.worker = worker;
        self.raw_s += busy - daemon - used;
        self.shown_s = self.shown_s.max(self.raw_s);
        self.shown_s
    }
}

impl OtherLoad {
    /// Its channel.
    pub(crate) fn channel(&self) -> ChannelId {
        self.channel
    }

    /// Its value when all processes together have used `busy_s` of CPU time, or why that is not known.
    pub(crate) fn value(&mut self, busy_s: Result<f64, ReasonCode>) -> Value {
        let pid = self.worker.get();
        if self.watched.map(|(pid, _)| pid) != pid {
            self.watched = pid.and_then(|pid| Some((pid, CpuClock::of(pid)?)));
        }
        let daemon = self.daemon.and_then(CpuClock::now_ns);
        let worker = self.watched.and_then(|(pid, clock)| Some((pid, clock.now_ns()?)));
        let value = busy_s.map(|busy_s| self.account.add(busy_s, daemon, worker) / self.cpus);
        value.map_or_else(Value::Absent, Value::Present)
    }
}

#[cfg(test)]
mod tests {
    use super::Account;

    #[test]
    fn ours_is_taken_out_and_the_total_never_falls() {
        let second = 1_000_000_000;
        let mut account = Account::default();
        assert!(account.add(100.0, Some(0), Some((5, 3 * second))).abs() < 1e-9);
        // 10 s of all, 1 s of the daemon, 6 s of the worker.
        assert!((account.add(110.0, Some(second), Some((5, 9 * second))) - 3.0).abs() < 1e-9);
        // Ours counted 10 ms that the machine's ticks do not show yet.
        assert!((account.add(110.0, Some(second), Some((5, 9 * second + 10_000_000))) - 3.0).abs() < 1e-9);
        assert!((account.add(110.02, Some(second), Some((5, 9 * second + 10_000_000))) - 3.01).abs() < 1e-9);
        // Another worker, which has run for 2 s already.
        assert!((account.add(113.02, Some(second), Some((6, 2 * second))) - 4.01).abs() < 1e-9);
        assert!((account.add(114.02, Some(second), None) - 5.01).abs() < 1e-9);
        // And one where none ran before: all that it used is its own.
        assert!((account.add(117.02, Some(second), Some((7, 2 * second))) - 6.01).abs() < 1e-9);
    }
}
