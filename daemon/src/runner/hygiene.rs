//! Whether the machine was in a state to measure on, by readings from before and after a run.

use slmscope_probes::hygiene::Readings;
use slmscope_profiles::display::rough_share;
use slmscope_profiles::result::{Grade, Hygiene};

/// Share of the machine's CPU time that other processes use: above the first the grade is fair, above the second poor.
const OTHER_LOAD: [f64; 2] = [0.05, 0.15];
/// Share of CPU time that the hypervisor takes away, likewise.
const STEAL: [f64; 2] = [0.02, 0.1];
/// Share of time in which tasks wait for memory, likewise.
const MEMORY_PRESSURE: [f64; 2] = [0.01, 0.1];
/// Growth of used swap during a run above which the grade is poor, bytes.
const SWAP: u64 = 16 << 20;
/// Temperature at the begin of a run above which the grade is fair, °C: the machine may soon throttle.
const HOT: f64 = 85.0;

/// A condition that makes the figures of a run less reliable, and the grade that it leads to.
pub(super) type Issue = (Grade, String);

/// The conditions that make the figures of a run less reliable. `own_ns` is the CPU time that this tool used
/// during the run. A reading that the machine does not offer leads to no issue.
pub(super) fn assess(before: &Readings, after: &Readings, own_ns: u64) -> Vec<Issue> {
    let mut found = Vec::new();
    if let (Some(older), Some(newer)) = (&before.cpu, &after.cpu) {
        if let Some((grade, share)) = above(newer.foreign_share(older, own_ns), OTHER_LOAD) {
            found.push((grade, format!("other processes used {} of the machine", rough_share(share))));
        }
        if let Some((grade, share)) = above(newer.steal_share(older), STEAL) {
            found.push((grade, format!("the host took {} of the machine away", rough_share(share))));
        }
    }
    if let Some((grade, share)) = above(after.memory_pressure, MEMORY_PRESSURE) {
        found.push((grade, format!("tasks waited for memory {} of the time", rough_share(share))));
    }
    if let (Some(older), Some(newer)) = (before.swap_used, after.swap_used)
        && newer > older + SWAP
    {
        found.push((Grade::Poor, format!("{} MiB were swapped out", (newer - older) >> 20)));
    }
    let slow =
        after.governors.iter().find(|governor| matches!(governor.as_str(), "powersave" | "conservative"));
    // intel_pstate and amd-pstate call their dynamic mode powersave, which does not limit the clock by itself.
    if let Some(governor) = slow.filter(|_| after.platform_profile.as_deref() == Some("low-power")) {
        found.push((Grade::Fair, format!("governor {governor} with the platform profile low-power")));
    }
    if let Some(celsius) = before.max_celsius.filter(|&celsius| celsius >= HOT) {
        found.push((Grade::Fair, format!("begun at {celsius:.0} °C")));
    }
    if let (Some(older), Some(newer)) = (before.throttle_events, after.throttle_events)
        && newer > older
    {
        found.push((Grade::Poor, format!("{} throttling events", newer - older)));
    }
    if after.throttled_now == Some(true) {
        found.push((Grade::Poor, "the firmware throttles at the moment".to_owned()));
    }
    found
}

/// The grade of a run with these issues: the worst of theirs.
pub(super) fn grade(issues: Vec<Issue>) -> Hygiene {
    let grade = issues.iter().map(|(grade, _)| *grade).max().unwrap_or(Grade::Clean);
    let reasons = issues.into_iter().map(|(_, reason)| reason).collect();
    Hygiene { clean: Some(grade == Grade::Clean), grade: Some(grade), reasons }
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

    fn readings(t_s: u64, busy_s: f64) -> Readings {
        let cpu = CpuSnapshot { t_ns: t_s * 1_000_000_000, cpus: 2, busy_s, steal_s: 0.0 };
        Readings { cpu: Some(cpu), ..Readings::default() }
    }

    #[test]
    fn own_work_is_clean_and_the_load_of_others_is_not() {
        let (before, after) = (readings(0, 0.0), readings(10, 12.0));
        assert_eq!(grade(assess(&before, &after, 12_000_000_000)).grade, Some(Grade::Clean));
        let found = assess(&before, &after, 6_000_000_000);
        assert_eq!(found, [(Grade::Poor, "other processes used 30 % of the machine".to_owned())]);
        let fair = grade(assess(&before, &after, 10_000_000_000));
        assert_eq!((fair.grade, fair.clean), (Some(Grade::Fair), Some(false)));
        assert_eq!(fair.reasons, ["other processes used 10 % of the machine"]);
    }

    #[test]
    fn a_machine_that_reports_nothing_has_no_issues() {
        assert!(assess(&Readings::default(), &Readings::default(), 0).is_empty());
    }

    #[test]
    fn throttling_counts_only_when_it_happened_during_the_run() {
        let with = |events| Readings { throttle_events: Some(events), ..Readings::default() };
        assert!(assess(&with(7), &with(7), 0).is_empty());
        assert_eq!(assess(&with(7), &with(9), 0), [(Grade::Poor, "2 throttling events".to_owned())]);
    }

    #[test]
    fn a_run_that_begins_hot_is_not_clean() {
        let with = |celsius| Readings { max_celsius: Some(celsius), ..Readings::default() };
        assert!(assess(&with(60.0), &with(95.0), 0).is_empty());
        let found = assess(&with(90.0), &with(95.0), 0);
        assert_eq!(found, [(Grade::Fair, "begun at 90 °C".to_owned())]);
    }
}
