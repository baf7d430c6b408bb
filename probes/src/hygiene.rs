//! Readings that show whether a machine is fit to measure on: taken before and after a run.
//!
//! These are readings only; the runner judges what they mean for a run.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use slmscope_profiles::channel::{Channel, Class, Kind, Quantity, Value};

use crate::catalogue::Catalogue;
use crate::machine::clock::monotonic_ns;
use crate::machine::deadline;
use crate::machine::root::Root;
use crate::machine::topology;
use crate::sources::cpu::{throttle, ticks};
use crate::sources::load::pressure;
use crate::sources::memory::meminfo;
use crate::sources::sensors::thermal;

/// The state of the machine at one moment. `None` where it does not report a value.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Readings {
    /// The different frequency governors in use, sorted; empty without cpufreq.
    pub governors: Vec<String>,
    /// Driver that obeys them: `acpi-cpufreq`, `intel_pstate`.
    pub cpufreq_driver: Option<String>,
    /// The firmware's platform profile: `balanced`, `low-power`, `performance`.
    pub platform_profile: Option<String>,
    /// Share of the last 10 s in which some task waited for a CPU, 0 to 1.
    pub cpu_pressure: Option<f64>,
    /// Share of the last 10 s in which some task waited for memory, 0 to 1.
    pub memory_pressure: Option<f64>,
    /// Swap in use, bytes.
    pub swap_used: Option<u64>,
    /// The setting of transparent huge pages: `always`, `madvise`, `never`.
    pub transparent_hugepages: Option<String>,
    /// The hottest thermal zone of what computes, °C; without one, the hottest that the firmware reports.
    pub max_celsius: Option<f64>,
    /// Throttling events of all cores since boot.
    pub throttle_events: Option<u64>,
    /// Whether the firmware throttles or limits at this moment.
    pub throttled_now: Option<bool>,
    /// CPU time so far.
    pub cpu: Option<CpuSnapshot>,
}

/// Takes the readings; about 1 ms, 0.5 s more for each kind of which a driver hangs.
pub fn read(root: &Root) -> Readings {
    let pressure = |what| {
        let text = root.read(&format!("proc/pressure/{what}"), 512).ok()?;
        pressure::average_10_s(&text, "some")
    };
    // Zones, cooling devices and the firmware have drivers that may hang.
    let (zones, limits) = (root.clone(), root.clone());
    let max_celsius = deadline::within(deadline::SENSOR, move || hottest(&zones)).ok().flatten();
    let (throttle_events, throttled_now) =
        deadline::within(deadline::SENSOR, move || throttling(&limits)).unwrap_or_default();
    Readings {
        governors: governors(root),
        cpufreq_driver: root.text(&format!("{CPUS}/cpu0/cpufreq/scaling_driver")).ok(),
        platform_profile: root.in_time("sys/firmware/acpi/platform_profile", Root::text).ok(),
        cpu_pressure: pressure("cpu"),
        memory_pressure: pressure("memory"),
        swap_used: root.read("proc/meminfo", 8192).ok().and_then(|text| meminfo::parse(&text).swap_used()),
        transparent_hugepages: root.text("sys/kernel/mm/transparent_hugepage/enabled").ok().and_then(chosen),
        max_celsius,
        throttle_events,
        throttled_now,
        cpu: CpuSnapshot::take(root),
    }
}

/// Mean clock of the `threads` fastest CPUs at this moment, Hz, as the driver reports it. `None` where it does not.
pub fn clock_hz(root: &Root, threads: usize) -> Option<f64> {
    let clock = |cpu: u32| root.integer(&format!("{CPUS}/cpu{cpu}/cpufreq/scaling_cur_freq")).ok();
    let mut khz: Vec<i64> =
        topology::present(root).into_iter().filter_map(clock).filter(|&khz| khz > 0).collect();
    khz.sort_unstable_by_key(|&khz| std::cmp::Reverse(khz));
    khz.truncate(threads.max(1));
    let sum: f64 = khz.iter().map(|&khz| khz as f64 * 1e3).sum();
    (!khz.is_empty()).then(|| sum / khz.len() as f64)
}

const CPUS: &str = "sys/devices/system/cpu";

fn governors(root: &Root) -> Vec<String> {
    let cpus = topology::present(root);
    let governor = |cpu: u32| root.text(&format!("{CPUS}/cpu{cpu}/cpufreq/scaling_governor")).ok();
    cpus.into_iter().filter_map(governor).collect::<BTreeSet<_>>().into_iter().collect()
}

/// The word in brackets of `always [madvise] never`.
fn chosen(text: String) -> Option<String> {
    Some(text.split_once('[')?.1.split_once(']')?.0.to_owned())
}

fn hottest(root: &Root) -> Option<f64> {
    let mut catalogue = Catalogue::default();
    let mut zones = thermal::discover(root, &Arc::default(), &mut catalogue)?;
    let mut values = Vec::new();
    zones.read(&mut values);
    let hottest = |wanted: &dyn Fn(&Channel) -> bool| {
        let zones = values.iter().filter(|(channel, _)| {
            catalogue.get(*channel).is_some_and(|it| it.quantity == Quantity::Temperature && wanted(it))
        });
        zones.filter_map(|(_, value)| value.get()).max_by(f64::total_cmp)
    };
    hottest(&|zone| zone.scope.computes()).or_else(|| hottest(&|zone| zone.class == Class::Reported))
}

fn throttling(root: &Root) -> (Option<u64>, Option<bool>) {
    let mut catalogue = Catalogue::default();
    let mut values = Vec::new();
    for mut source in throttle::discover(root, &mut catalogue) {
        source.read(&mut values);
    }
    let channels = catalogue.finish();
    let (mut events, mut now) = (None, None);
    for (channel, value) in values {
        let (Value::Present(value), Some(channel)) = (value, channels.get(usize::from(channel))) else {
            continue;
        };
        debug_assert_eq!(channel.quantity, Quantity::Throttle);
        match channel.kind {
            Kind::Counter { .. } => events = Some(events.unwrap_or(0) + value as u64),
            Kind::Gauge | Kind::Rate { .. } | Kind::Sum { .. } => {
                now = Some(now.unwrap_or(false) || value > 0.0);
            }
        }
    }
    (events, now)
}

/// CPU time of the machine at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CpuSnapshot {
    /// CLOCK_MONOTONIC, ns.
    pub t_ns: u64,
    /// CPUs online.
    pub cpus: u32,
    /// Busy time of all CPUs since boot, s.
    pub busy_s: f64,
    /// Time that the host gave to others, of all CPUs since boot, s.
    pub steal_s: f64,
    /// The part of `busy_s` that served interrupts, which belongs to no process, s.
    #[serde(default)]
    pub interrupts_s: f64,
    /// Processes and threads that were started since boot; `None` where the kernel does not count them.
    #[serde(default)]
    pub forks: Option<u64>,
}

impl CpuSnapshot {
    /// Reads `/proc/stat`. `None` if it cannot be read or counts nothing.
    pub fn take(root: &Root) -> Option<Self> {
        let text = root.read("proc/stat", 1 << 20).ok()?;
        let t_ns = monotonic_ns();
        let mut machine = None;
        let mut cpus = 0;
        for (cpu, ticks) in ticks::lines(&text) {
            match cpu {
                Some(_) => cpus += 1,
                None => machine = Some(ticks),
            }
        }
        let machine = machine.filter(|ticks| !ticks.blank)?;
        let rate = ticks::per_second(root.is_live());
        let seconds = |ticks: u64| ticks as f64 / rate;
        Some(Self {
            t_ns,
            cpus,
            busy_s: seconds(machine.busy),
            steal_s: seconds(machine.steal),
            interrupts_s: seconds(machine.interrupts),
            forks: forks(&text),
        })
    }

    /// Share of the machine that other processes used since `older`, 0 to 1, where our own used `own_ns` of
    /// CPU time. `None` if no time passed or the counters went backwards.
    pub fn foreign_share(&self, older: &Self, own_ns: u64) -> Option<f64> {
        let busy = self.busy_s - older.busy_s;
        // Our time is exact and the kernel's total moves in ticks, so the difference may be slightly below zero.
        (busy >= 0.0)
            .then(|| Some(((busy - own_ns as f64 / 1e9) / self.capacity_s(older)?).clamp(0.0, 1.0)))?
    }

    /// Share of the machine that the host took away since `older`, 0 to 1. `None` as above.
    pub fn steal_share(&self, older: &Self) -> Option<f64> {
        let steal = self.steal_s - older.steal_s;
        (steal >= 0.0).then(|| Some((steal / self.capacity_s(older)?).clamp(0.0, 1.0)))?
    }

    /// Time that all CPUs together had since `older`, s.
    fn capacity_s(&self, older: &Self) -> Option<f64> {
        let elapsed_ns = self.t_ns.checked_sub(older.t_ns).filter(|&ns| ns > 0)?;
        (self.cpus > 0).then(|| elapsed_ns as f64 / 1e9 * f64::from(self.cpus))
    }
}

/// The line `processes N` of `/proc/stat`.
fn forks(stat: &[u8]) -> Option<u64> {
    let line = stat.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(b"processes "))?;
    std::str::from_utf8(line).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_load_is_what_we_did_not_use() {
        let at = |t_ns, busy_s, steal_s| CpuSnapshot {
            t_ns,
            cpus: 4,
            busy_s,
            steal_s,
            interrupts_s: 0.0,
            forks: None,
        };
        let (older, newer) = (at(0, 10.0, 1.0), at(10_000_000_000, 34.0, 3.0));
        assert_eq!(newer.foreign_share(&older, 20_000_000_000), Some(0.1));
        assert_eq!(newer.foreign_share(&older, 25_000_000_000), Some(0.0));
        assert_eq!(newer.steal_share(&older), Some(0.05));
        assert_eq!(older.foreign_share(&newer, 0), None);
        assert_eq!(older.steal_share(&older), None);
    }

    #[test]
    fn a_snapshot_counts_interrupts_and_forks() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("proc")).unwrap();
        let stat = "cpu  100 0 50 4000 0 30 20 70 0 0\ncpu0 100 0 50 4000 0 30 20 70 0 0\nprocesses 4711\n";
        std::fs::write(dir.path().join("proc/stat"), stat).unwrap();
        let taken = CpuSnapshot::take(&Root::tree(dir.path()).unwrap()).unwrap();
        assert_eq!((taken.busy_s, taken.interrupts_s, taken.forks), (2.0, 0.5, Some(4711)));
        assert_eq!(forks(b"ctxt 5\nprocesses x\n"), None);
        assert_eq!(forks(b"ctxt 5\n"), None);
    }

    #[test]
    fn the_clock_is_that_of_the_fastest_cpus() {
        let dir = tempfile::tempdir().unwrap();
        for (cpu, khz) in [(0, "1000000"), (1, "3000000"), (2, "2000000"), (3, "what")] {
            let folder = dir.path().join(format!("{CPUS}/cpu{cpu}/cpufreq"));
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("scaling_cur_freq"), format!("{khz}\n")).unwrap();
        }
        std::fs::write(dir.path().join(CPUS).join("present"), "0-4\n").unwrap();
        let root = Root::tree(dir.path()).unwrap();
        assert_eq!(clock_hz(&root, 2), Some(2.5e9));
        assert_eq!(clock_hz(&root, 8), Some(2e9));
        let empty = tempfile::tempdir().unwrap();
        assert_eq!(clock_hz(&Root::tree(empty.path()).unwrap(), 2), None);
    }

    #[test]
    fn the_choice_is_in_brackets() {
        assert_eq!(chosen("always [madvise] never".to_owned()).as_deref(), Some("madvise"));
        assert_eq!(chosen("always".to_owned()), None);
    }
}
