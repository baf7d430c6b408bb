//! Whether the machine was in a state to measure on, by readings from before and after a run.

use std::collections::{BTreeMap, BTreeSet};

use slmscope_probes::hygiene::Readings;
use slmscope_probes::process::ProcessTime;
use slmscope_profiles::display::{of_one_core, rough_share};
use slmscope_profiles::hygiene::{Grade, Hygiene, Issue, IssueCode, OtherProcess, ShortLived};

use super::usage::UsageSnapshot;

/// Share of the machine's CPU time that other processes use: above the first the grade is fair, above the second poor.
const OTHER_LOAD: [f64; 2] = [0.05, 0.15];
/// Share of CPU time that the hypervisor takes away, likewise.
const STEAL: [f64; 2] = [0.02, 0.1];
/// Share of time in which tasks wait for memory, likewise.
const MEMORY_PRESSURE: [f64; 2] = [0.01, 0.1];
/// Change of a figure of the machine, as a share, above which the grade is poor; any change makes it fair.
const LARGE_CHANGE: f64 = 0.25;
/// Growth of used swap during a run above which the grade is poor, bytes.
const SWAP: u64 = 16 << 20;
/// Temperature at the begin of a run above which the grade is fair, °C: the machine may soon throttle.
const HOT: f64 = 85.0;
/// Other processes that are named, and the part of a core that each of them uses at the least; also all together that
/// ended meanwhile.
const NAMED: (usize, f64) = (3, 0.05);
/// CPU time of processes that ended meanwhile from which on it is no error of counting: ten clock ticks, s.
const SURE_S: f64 = 0.1;

/// What makes the figures of a run less reliable, not yet graded. A reading that the machine does not offer leads to
/// no issue.
pub(super) fn assess(before: &UsageSnapshot, after: &UsageSnapshot) -> Hygiene {
    let mut found =
        by_readings(&before.readings, &after.readings, after.all_ns.saturating_sub(before.all_ns));
    let wall_ns = after.at_ns.saturating_sub(before.at_ns);
    found.others = others(&before.others, &after.others, wall_ns);
    found.short_lived = short_lived(before, after);
    found
}

/// What processes used that ended between two snapshots, which no list of processes shows: the machine's CPU time less
/// that of interrupts, of this tool, and of the processes of the second list. `None` if that is little or not known.
fn short_lived(before: &UsageSnapshot, after: &UsageSnapshot) -> Option<ShortLived> {
    let (older, newer) = (before.readings.cpu.as_ref()?, after.readings.cpu.as_ref()?);
    let wall_s = after.at_ns.checked_sub(before.at_ns).filter(|&ns| ns > 0)? as f64 / 1e9;
    let ran_s = newer.busy_s - older.busy_s - (newer.interrupts_s - older.interrupts_s);
    let seconds = |ns: u64| ns as f64 / 1e9;
    let known_s = seconds(after.all_ns.saturating_sub(before.all_ns))
        + since(&before.others, &after.others).map(|(_, ns)| seconds(ns)).sum::<f64>();
    let key = |process: &ProcessTime| (process.pid, process.start_ticks);
    let (known, running): (BTreeSet<_>, BTreeSet<_>) =
        (before.others.iter().map(key).collect(), after.others.iter().map(key).collect());
    let begun = running.difference(&known).count() as u64;
    let ended = known.difference(&running).count() as u64;
    let forks = newer.forks?.checked_sub(older.forks?)?;
    let at_most = forks.saturating_sub(begun).saturating_add(ended);
    let cores = (ran_s - known_s) / wall_s;
    // The kernel's counts move in clock ticks, and the lists are not of exactly the same time.
    let is_seen = at_most > 0 && cores >= NAMED.1 && ran_s - known_s >= SURE_S;
    is_seen.then_some(ShortLived { at_most, cores })
}

/// What each process of the later list used since. One that began since has used all its time since.
fn since<'a>(
    before: &[ProcessTime],
    after: &'a [ProcessTime],
) -> impl Iterator<Item = (&'a ProcessTime, u64)> {
    let key = |process: &ProcessTime| (process.pid, process.start_ticks);
    let older: BTreeMap<(u32, u64), u64> =
        before.iter().map(|process| (key(process), process.cpu_ns)).collect();
    after.iter().map(move |process| {
        let then = older.get(&key(process)).copied().unwrap_or(0);
        (process, process.cpu_ns.saturating_sub(then))
    })
}

/// `own_ns` is the CPU time that this tool used during the run.
fn by_readings(before: &Readings, after: &Readings, own_ns: u64) -> Hygiene {
    let mut found = Hygiene {
        governors: after.governors.clone(),
        cpufreq_driver: after.cpufreq_driver.clone(),
        huge_pages: after.transparent_hugepages.clone(),
        ..Hygiene::default()
    };
    if let (Some(older), Some(newer)) = (&before.cpu, &after.cpu) {
        found.other_load = newer.foreign_share(older, own_ns);
        found.steal = newer.steal_share(older);
    }
    let cpus = after.cpu.as_ref().map_or(1, |cpu| cpu.cpus);
    let used = |share: f64| format!("{} (this machine has {cpus})", of_one_core(share * f64::from(cpus)));
    let mut add = |code, grade, reason| found.issues.push(Issue { code, grade, reason });
    if let Some((grade, share)) = above(found.other_load, OTHER_LOAD) {
        add(IssueCode::OtherLoad, grade, format!("other processes used {}", used(share)));
    }
    if let Some((grade, share)) = above(found.steal, STEAL) {
        add(IssueCode::Steal, grade, format!("the host took {} away", used(share)));
    }
    if let Some((grade, share)) = above(after.memory_pressure, MEMORY_PRESSURE) {
        let reason = format!("tasks waited for memory {} of the time", rough_share(share));
        add(IssueCode::MemoryPressure, grade, reason);
    }
    if let (Some(older), Some(newer)) = (before.swap_used, after.swap_used)
        && newer > older + SWAP
    {
        add(IssueCode::Swapped, Grade::Poor, format!("{} MiB were swapped out", (newer - older) >> 20));
    }
    let slow =
        after.governors.iter().find(|governor| matches!(governor.as_str(), "powersave" | "conservative"));
    // intel_pstate and amd-pstate call their dynamic mode powersave, which does not limit the clock by itself.
    if let Some(governor) = slow.filter(|_| after.platform_profile.as_deref() == Some("low-power")) {
        let reason = format!("governor {governor} with the platform profile low-power");
        add(IssueCode::PowerSaving, Grade::Fair, reason);
    }
    if let Some(celsius) = before.max_celsius.filter(|&celsius| celsius >= HOT) {
        add(IssueCode::Hot, Grade::Fair, format!("begun at {celsius:.0} °C"));
    }
    if let (Some(older), Some(newer)) = (before.throttle_events, after.throttle_events)
        && newer > older
    {
        add(IssueCode::Throttling, Grade::Poor, format!("{} throttling events", newer - older));
    }
    if after.throttled_now == Some(true) {
        add(IssueCode::Throttling, Grade::Poor, "the firmware throttles at the moment".to_owned());
    }
    found
}

/// The processes that used most CPU time in `wall_ns`, by name. One that took another name has not begun since.
fn others(before: &[ProcessTime], after: &[ProcessTime], wall_ns: u64) -> Vec<OtherProcess> {
    let mut by_name: BTreeMap<&str, u64> = BTreeMap::new();
    for (process, ns) in since(before, after) {
        let used = by_name.entry(common_name(&process.name)).or_default();
        *used = used.saturating_add(ns);
    }
    let cores =
        |(name, ns): (&str, u64)| OtherProcess { name: name.to_owned(), cores: ns as f64 / wall_ns as f64 };
    let mut found: Vec<OtherProcess> = by_name.into_iter().map(cores).collect();
    found.retain(|other| other.cores.is_finite() && other.cores >= NAMED.1);
    found.sort_by(|a, b| b.cores.total_cmp(&a.cores));
    found.truncate(NAMED.0);
    found
}

/// A worker of the kernel is named after what it does at the moment; all of them have one name here. The worker of another
/// daemon has the name of its first thread.
fn common_name(name: &str) -> &str {
    match name {
        "engine-main" => "another slmscope worker",
        name if name.starts_with("kworker/") => "kworker",
        name => name,
    }
}

/// Grades what was found: the worst of the issues.
pub(super) fn grade(mut found: Hygiene) -> Hygiene {
    for change in &found.changes {
        let grade = if change.size() > LARGE_CHANGE { Grade::Poor } else { Grade::Fair };
        found.issues.push(Issue { code: IssueCode::MachineChanged, grade, reason: change.to_string() });
    }
    let grade = found.issues.iter().map(|issue| issue.grade).max().unwrap_or(Grade::Clean);
    let reasons = found.issues.iter().map(|issue| issue.reason.clone()).collect();
    Hygiene { clean: Some(grade == Grade::Clean), grade: Some(grade), reasons, ..found }
}

/// The grade of a share that is above its limits; `None` below them.
fn above(share: Option<f64>, [fair, poor]: [f64; 2]) -> Option<(Grade, f64)> {
    let share = share.filter(|&share| share > fair)?;
    Some((if share > poor { Grade::Poor } else { Grade::Fair }, share))
}

#[cfg(test)]
mod tests {
    use super::*;
    use slmscope_probes::hygiene::CpuSnapshot;
    use slmscope_profiles::drift::{Change, MachineFigure, Since};

    fn readings(t_s: u64, busy_s: f64) -> Readings {
        let t_ns = t_s * 1_000_000_000;
        let cpu =
            CpuSnapshot { t_ns, cpus: 2, busy_s, steal_s: 0.0, interrupts_s: 0.0, forks: Some(100 * t_s) };
        Readings { cpu: Some(cpu), ..Readings::default() }
    }

    fn issues(before: &Readings, after: &Readings, own_ns: u64) -> Vec<(Grade, String)> {
        let found = by_readings(before, after, own_ns).issues;
        found.into_iter().map(|issue| (issue.grade, issue.reason)).collect()
    }

    #[test]
    fn own_work_is_clean_and_the_load_of_others_is_not() {
        let (before, after) = (readings(0, 0.0), readings(10, 12.0));
        assert_eq!(grade(by_readings(&before, &after, 12_000_000_000)).grade, Some(Grade::Clean));
        let found = by_readings(&before, &after, 6_000_000_000);
        assert_eq!(found.other_load, Some(0.3));
        assert_eq!(
            issues(&before, &after, 6_000_000_000),
            [(Grade::Poor, "other processes used 60.0 % of one core (this machine has 2)".to_owned())]
        );
        let fair = grade(by_readings(&before, &after, 10_000_000_000));
        assert_eq!((fair.grade, fair.clean), (Some(Grade::Fair), Some(false)));
        assert_eq!(fair.reasons, ["other processes used 20.0 % of one core (this machine has 2)"]);
        assert_eq!(fair.issues[0].code, IssueCode::OtherLoad);
    }

    #[test]
    fn a_machine_that_reports_nothing_has_no_issues() {
        let none = by_readings(&Readings::default(), &Readings::default(), 0);
        assert_eq!((none.issues.len(), none.other_load, none.steal), (0, None, None));
    }

    #[test]
    fn throttling_counts_only_when_it_happened_during_the_run() {
        let with = |events| Readings { throttle_events: Some(events), ..Readings::default() };
        assert!(issues(&with(7), &with(7), 0).is_empty());
        assert_eq!(issues(&with(7), &with(9), 0), [(Grade::Poor, "2 throttling events".to_owned())]);
    }

    #[test]
    fn a_run_that_begins_hot_is_not_clean() {
        let with = |celsius| Readings { max_celsius: Some(celsius), ..Readings::default() };
        assert!(issues(&with(60.0), &with(95.0), 0).is_empty());
        assert_eq!(issues(&with(90.0), &with(95.0), 0), [(Grade::Fair, "begun at 90 °C".to_owned())]);
    }

    #[test]
    fn the_busiest_other_processes_are_named() {
        let of = |pid, name: &str, seconds: u64| ProcessTime {
            pid,
            name: name.to_owned(),
            cpu_ns: seconds * 1_000_000_000,
            start_ticks: 1,
        };
        let before = [of(1, "init", 100), of(7, "rustc", 50), of(9, "bash", 3)];
        // Another rustc began, and 9 is another process now.
        let after = [
            of(1, "init", 100),
            of(7, "rustc", 54),
            of(8, "rustc", 2),
            ProcessTime { start_ticks: 2, ..of(9, "cc", 1) },
            of(10, "ld", 3),
        ];
        let found = others(&before, &after, 10_000_000_000);
        let shown: Vec<(&str, f64)> = found.iter().map(|other| (other.name.as_str(), other.cores)).collect();
        assert_eq!(shown, [("rustc", 0.6), ("ld", 0.3), ("cc", 0.1)]);
        assert!(others(&before, &after, 0).is_empty(), "no time passed");
    }

    /// A snapshot at `t_s`, when this tool had used `own_s` and the machine `busy_s`.
    fn usage(t_s: u64, busy_s: f64, own_s: u64, others: Vec<ProcessTime>) -> UsageSnapshot {
        UsageSnapshot {
            readings: readings(t_s, busy_s),
            at_ns: t_s * 1_000_000_000,
            helpers_ns: None,
            all_ns: own_s * 1_000_000_000,
            computing: Vec::new(),
            major_faults: None,
            available: None,
            others,
        }
    }

    #[test]
    fn processes_that_ended_meanwhile_are_known_by_what_nobody_else_used() {
        let of = |pid, seconds: u64| ProcessTime {
            pid,
            name: "make".to_owned(),
            cpu_ns: seconds * 1_000_000_000,
            start_ticks: u64::from(pid),
        };
        // In 10 s: this tool 9 s, make 2 s, one that was there and is gone, one that began, and 4 s of all that ended.
        let before = usage(0, 0.0, 0, vec![of(7, 5), of(8, 1)]);
        let after = |busy_s| usage(10, busy_s, 9, vec![of(7, 6), of(9, 1)]);
        let found = assess(&before, &after(15.0));
        assert_eq!(found.short_lived, Some(ShortLived { at_most: 1000, cores: 0.4 }));
        assert_eq!(found.others.len(), 1, "all of one name");
        assert_eq!(short_lived(&before, &after(11.2)), None, "2 % of a core may be an error of counting");
        assert_eq!(short_lived(&before, &after(10.0)), None, "less than the sum of what is known");
        let mut unknown = after(15.0);
        unknown.readings.cpu.as_mut().unwrap().forks = None;
        assert_eq!(short_lived(&before, &unknown), None, "nobody counts what was started");
        let mut interrupts = after(15.0);
        interrupts.readings.cpu.as_mut().unwrap().interrupts_s = 4.0;
        assert_eq!(short_lived(&before, &interrupts), None, "interrupts are no process");
        assert_eq!(short_lived(&before, &before), None, "no time passed");
    }

    #[test]
    fn a_process_that_takes_another_name_is_not_blamed_for_its_whole_life() {
        let of = |name: &str, cpu_ns| ProcessTime { pid: 4, name: name.to_owned(), cpu_ns, start_ticks: 1 };
        let before = [of("kworker/0:0-events", 2_500_000_000)];
        let after = [of("kworker/0:0-mm_percpu_wq", 4_500_000_000)];
        let found = others(&before, &after, 10_000_000_000);
        assert_eq!(found, [OtherProcess { name: "kworker".to_owned(), cores: 0.2 }]);
    }

    #[test]
    fn the_worker_of_another_daemon_is_named_as_one() {
        assert_eq!(common_name("engine-main"), "another slmscope worker");
        assert_eq!(common_name("engine-main-loop"), "engine-main-loop");
    }

    #[test]
    fn a_machine_that_changed_is_not_clean() {
        let change =
            |to| Change { figure: MachineFigure::ReadBandwidth, since: Since::BeginOfRun, from: 40e9, to };
        let graded = |to| grade(Hygiene { changes: vec![change(to)], ..Hygiene::default() });
        assert_eq!(graded(35e9).grade, Some(Grade::Fair));
        let poor = graded(25e9);
        assert_eq!((poor.grade, poor.clean), (Some(Grade::Poor), Some(false)));
        assert_eq!(poor.reasons, ["reading memory fell from 40.0 GB/s to 25.0 GB/s during the run"]);
        assert_eq!(poor.issues[0].code, IssueCode::MachineChanged);
    }
}
