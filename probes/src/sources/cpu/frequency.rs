//! Clock frequency of the CPUs, as the firmware reports it.
//!
//! `scaling_cur_freq` of each cpufreq policy; without any cpufreq the MHz lines of `/proc/cpuinfo`, which only
//! x86 has. BogoMIPS is no frequency. A cpufreq folder without `scaling_cur_freq` means that the driver does
//! not know the frequency; the channel is then unavailable.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use slmscope_profiles::channel::{ChannelId, Class, Quantity, ReasonCode, Scope, Unit, Value};

use crate::catalogue::{Catalogue, Entry, missing};
use crate::machine::deadline;
use crate::machine::root::{Handle, Root};
use crate::machine::topology;
use crate::source::{Group, Source};
use crate::sources::files::{Files, Formula, Limits, Slot};

const CPU: &str = "sys/devices/system/cpu";

/// From 10 MHz to 10 GHz: some firmware reports 8 MHz or 18 GHz.
const PLAUSIBLE: Limits = Limits::new(10e6, 10e9);

/// The most time that reading all policies may take in the fast group; a slow driver takes 1 ms per CPU.
const FAST_BUDGET: Duration = Duration::from_micros(12);
const MEDIUM_BUDGET: Duration = Duration::from_millis(1);

/// Enters `freq.cpuN` and returns what reads them, with the group that is cheap enough.
pub(crate) fn discover(root: &Root, catalogue: &mut Catalogue) -> Option<(Group, Box<dyn Source>)> {
    let policies = policies(root);
    if !policies.is_empty() {
        return from_policies(root, policies, catalogue);
    }
    if let Some(source) = CpuInfo::open(root, catalogue) {
        return Some((Group::Slow, Box::new(source)));
    }
    let reason = missing(match root.long_text("proc/cpuinfo", CPUINFO_CAP) {
        // arch/loongarch/kernel/proc.c prints the clock that the firmware names, not that of the moment.
        Ok(text) if text.contains("CPU MHz") => {
            "no cpufreq driver, and the MHz of /proc/cpuinfo are the nominal clock here"
        }
        _ => "no cpufreq driver, and /proc/cpuinfo names no MHz",
    });
    catalogue.absent(("freq.cpu0", Quantity::Frequency, Unit::Hertz, Scope::CpuN(0)), "", reason);
    None
}

/// Enters `throttle.cpuN.limit` for each policy: the share of its highest clock that it may use at the moment.
/// Less than 1 is what a power mode, a user or the firmware's thermal limit leaves.
pub(crate) fn limits(root: &Root, catalogue: &mut Catalogue) -> Option<Box<dyn Source>> {
    let mut slots = Vec::new();
    for (path, cpus) in policies(root) {
        let (now, most) = (format!("{path}/scaling_max_freq"), format!("{path}/cpuinfo_max_freq"));
        let Some(&cpu) = cpus.first() else { continue };
        if let (Ok(now), Ok(most)) = (root.open(&now), root.open(&most)) {
            let channel = catalogue.gauge(Entry {
                id: format!("throttle.cpu{cpu}.limit"),
                quantity: Quantity::Throttle,
                unit: Unit::Ratio,
                scope: Scope::CpuN(cpu),
                class: Class::Derived,
                source: format!("/{} ÷ cpuinfo_max_freq", now.path()),
                group: Group::Slow,
            });
            let formula = Formula::Quotient(now.into(), most.into(), 1.0);
            slots.push(Slot::new(vec![channel], formula, Limits::new(0.0, 4.0)));
        }
    }
    Files::boxed(root, slots)
}

/// cpufreq folders with the CPUs that share each.
fn policies(root: &Root) -> Vec<(String, BTreeSet<u32>)> {
    let folder = format!("{CPU}/cpufreq");
    let mut found: Vec<(String, BTreeSet<u32>)> = Vec::new();
    for name in root.list(&folder).unwrap_or_default() {
        if let Some(number) = name.strip_prefix("policy").and_then(|number| number.parse().ok()) {
            found.push((format!("{folder}/{name}"), BTreeSet::from([number])));
        }
    }
    if found.is_empty() {
        // Kernels before 4.2, and partial captures, have only the folders of each CPU.
        for cpu in topology::present(root) {
            let path = format!("{CPU}/cpu{cpu}/cpufreq");
            if root.list(&path).is_ok() {
                found.push((path, BTreeSet::from([cpu])));
            }
        }
        return found;
    }
    for (path, cpus) in &mut found {
        let list = ["related_cpus", "affected_cpus"]
            .iter()
            .filter_map(|file| root.text(&format!("{path}/{file}")).ok())
            .map(|text| topology::parse_list(&text))
            .find(|list| !list.is_empty());
        if let Some(list) = list {
            *cpus = list;
        }
    }
    found
}

fn from_policies(
    root: &Root,
    policies: Vec<(String, BTreeSet<u32>)>,
    catalogue: &mut Catalogue,
) -> Option<(Group, Box<dyn Source>)> {
    let opened: Vec<_> = policies
        .into_iter()
        .map(|(path, cpus)| {
            // Newer kernels average over a few ms in a file of its own, which is empty while the CPU is idle.
            let averaged = |reason| root.open(&format!("{path}/cpuinfo_avg_freq")).map_err(|_| reason);
            (root.open(&format!("{path}/scaling_cur_freq")).or_else(averaged), cpus)
        })
        .collect();
    let paths = opened.iter().filter_map(|(handle, _)| Some(handle.as_ref().ok()?.path().to_owned()));
    let group = affordable(root, paths.collect());
    let mut slots = Vec::new();
    for (handle, cpus) in opened {
        match handle {
            Ok(handle) => {
                let source = format!("/{}", handle.path());
                let channels = cpus.iter().map(|&cpu| catalogue.gauge(entry(cpu, &source, group))).collect();
                slots.push(Slot::new(channels, Formula::Scaled(handle.into(), 1e3), PLAUSIBLE));
            }
            Err(reason) => {
                for cpu in cpus {
                    let id = format!("freq.cpu{cpu}");
                    let channel = (id.as_str(), Quantity::Frequency, Unit::Hertz, Scope::CpuN(cpu));
                    catalogue.absent(channel, "cpufreq", reason.clone());
                }
            }
        }
    }
    Files::new(root, slots).map(|files| (group, Box::new(files) as Box<dyn Source>))
}

/// How often all policies are timed; the fastest counts, as anything may interrupt a reading.
const TIMINGS: u32 = 3;

/// Some drivers interrupt every CPU to answer; those are asked less often. A captured tree has no drivers.
fn affordable(root: &Root, paths: Vec<String>) -> Group {
    if !root.is_live() {
        return Group::Fast;
    }
    let root = root.clone();
    let time = move || {
        let handles: Vec<_> = paths.iter().filter_map(|path| root.open(path).ok()).collect();
        let mut buffer = [0; 32];
        let timings = (0..TIMINGS).map(|_| {
            let begin = Instant::now();
            for handle in &handles {
                // Only the time matters; a failing read is reported when it is sampled.
                let _ = handle.read(&mut buffer);
            }
            begin.elapsed()
        });
        timings.min().unwrap_or_default()
    };
    match deadline::within(deadline::SENSOR, time) {
        Ok(taken) if taken <= FAST_BUDGET => Group::Fast,
        Ok(taken) if taken <= MEDIUM_BUDGET => Group::Medium,
        Ok(_) | Err(_) => Group::Slow,
    }
}

fn entry(cpu: u32, source: &str, group: Group) -> Entry {
    Entry {
        id: format!("freq.cpu{cpu}"),
        quantity: Quantity::Frequency,
        unit: Unit::Hertz,
        scope: Scope::CpuN(cpu),
        class: Class::Reported,
        source: source.to_owned(),
        group,
    }
}

/// Largest `/proc/cpuinfo` that is read; 2 KiB per CPU are usual on x86.
const CPUINFO_CAP: usize = 1 << 20;

/// The MHz lines of `/proc/cpuinfo`.
struct CpuInfo {
    handle: Handle,
    buffer: Vec<u8>,
    channels: Vec<(u32, ChannelId)>,
}

impl CpuInfo {
    fn open(root: &Root, catalogue: &mut Catalogue) -> Option<Self> {
        let handle = root.open("proc/cpuinfo").ok()?;
        let text = root.read("proc/cpuinfo", CPUINFO_CAP).ok()?;
        // A hypervisor may print 0: then there is nothing to read, now or later.
        let cpus: BTreeSet<u32> =
            megahertz(&text).filter(|&(_, mhz)| mhz > 0.0).map(|(cpu, _)| cpu).collect();
        let channels: Vec<_> = cpus
            .into_iter()
            .map(|cpu| (cpu, catalogue.gauge(entry(cpu, "/proc/cpuinfo (cpu MHz)", Group::Slow))))
            .collect();
        let buffer = vec![0; (text.len() + 4096).min(CPUINFO_CAP)];
        (!channels.is_empty()).then_some(Self { handle, buffer, channels })
    }
}

/// Processor number and MHz of each processor that has such a line.
fn megahertz(cpuinfo: &[u8]) -> impl Iterator<Item = (u32, f64)> + '_ {
    let mut current = None;
    cpuinfo.split(|&byte| byte == b'\n').filter_map(move |line| {
        let (key, value) = std::str::from_utf8(line).ok()?.split_once(':')?;
        match key.trim() {
            "processor" => {
                current = value.trim().parse::<u32>().ok();
                None
            }
            "cpu MHz" => Some((current?, value.trim().parse().ok()?)),
            _ => None,
        }
    })
}

impl Source for CpuInfo {
    fn channels(&self) -> Vec<ChannelId> {
        self.channels.iter().map(|&(_, channel)| channel).collect()
    }

    fn read(&mut self, values: &mut Vec<(ChannelId, Value)>) {
        let (text, failed) = match self.handle.read_all(&mut self.buffer) {
            Ok(text) => (text, ReasonCode::Offline),
            Err(code) => (&[][..], code),
        };
        let first = values.len();
        values.extend(self.channels.iter().map(|&(_, channel)| (channel, Value::Absent(failed))));
        let added = values.get_mut(first..).unwrap_or_default();
        for (cpu, mhz) in megahertz(text) {
            if let Ok(at) = self.channels.binary_search_by_key(&cpu, |&(cpu, _)| cpu)
                && let Some(slot) = added.get_mut(at)
            {
                slot.1 = PLAUSIBLE.check(mhz * 1e6);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The period was another one under load, when reading a tree's files took longer.
    #[test]
    fn the_period_of_a_trees_frequencies_does_not_depend_on_the_clock() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("freq"), "1800000").unwrap();
        let root = Root::tree(dir.path()).unwrap();
        // So many take longer than the fast group may.
        assert!(matches!(affordable(&root, vec!["freq".to_owned(); 10_000]), Group::Fast));
    }

    #[test]
    fn bogomips_is_no_frequency() {
        let arm = b"processor\t: 0\nBogoMIPS\t: 50.00\n";
        assert_eq!(megahertz(arm).count(), 0);
        let x86 = b"processor\t: 4\ncpu MHz\t\t: 2400.500\nbogomips\t: 4800.00\n";
        assert_eq!(megahertz(x86).collect::<Vec<_>>(), [(4, 2400.5)]);
    }
}
