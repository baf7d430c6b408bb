//! Whether a machine was fit to measure on: readings from before and after a run, judged.

use slmscope_probes::hygiene::Readings;
use slmscope_profiles::result::{Grade, Hygiene};

/// Share of the machine that others may use, and from which on the figures are theirs as much as ours.
const FOREIGN: [f64; 2] = [0.05, 0.15];
/// Share of the machine that the host may take away.
const STEAL: [f64; 2] = [0.02, 0.1];
/// Share of time in which tasks may wait for memory.
const MEMORY_PRESSURE: [f64; 2] = [0.01, 0.1];
/// Swap that may come into use during a run, bytes.
const SWAP: u64 = 16 << 20;
/// Where a run should not begin, °C: there is little left before a machine throttles.
const HOT: f64 = 85.0;

/// Something that speaks against the figures of a run, and how much.
pub(super) type Objection = (Grade, String);

/// What speaks against the figures of a run, in which this tool itself used `own_ns` of CPU time. What the
/// machine does not tell speaks neither way.
pub(super) fn objections(before: &Readings, after: &Readings, own_ns: u64) -> Vec<Objection> {
    let mut found = Vec::new();
    let percent = |share: f64| format!("{:.0} %", share * 100.0);
    if let (Some(older), Some(newer)) = (&before.cpu, &after.cpu) {
        if let Some((grade, share)) = above(newer.foreign_share(older, own_ns), FOREIGN) {
            found.push((grade, format!("other processes used {} of the machine", percent(share))));
        }
        if let Some((grade, share)) = above(newer.steal_share(older), STEAL) {
            found.push((grade, format!("the host took {} of the machine away", percent(share))));
        }
    }
    if let Some((grade, share)) = above(after.memory_pressure, MEMORY_PRESSURE) {
        found.push((grade, format!("tasks waited for memory {} of the time", percent(share))));
    }
    if let (Some(older), Some(newer)) = (before.swap_used, after.swap_used)
        && newer > older + SWAP
    {
        found.push((Grade::Poor, format!("{} MiB were swapped out", (newer - older) >> 20)));
    }
    let slow =
        after.governors.iter().find(|governor| matches!(governor.as_str(), "powersave" | "conservative"));
    // intel_pstate and amd-pstate call their dynamic mode powersave; there it is no brake.
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

/// The verdict on a run.
pub(super) fn judged(objections: Vec<Objection>) -> Hygiene {
    let grade = objections.iter().map(|(grade, _)| *grade).max().unwrap_or(Grade::Clean);
    let reasons = objections.into_iter().map(|(_, reason)| reason).collect();
    Hygiene { clean: Some(grade == Grade::Clean), grade: Some(grade), reasons }
}

/// How bad a share is, where it is above what it may be.
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
    fn own_work_is_clean_and_foreign_work_is_not() {
        let (before, after) = (readings(0, 0.0), readings(10, 12.0));
        assert_eq!(judged(objections(&before, &after, 12_000_000_000)).grade, Some(Grade::Clean));
        let found = objections(&before, &after, 6_000_000_000);
        assert_eq!(found, [(Grade::Poor, "other processes used 30 % of the machine".to_owned())]);
        let fair = judged(objections(&before, &after, 10_000_000_000));
        assert_eq!((fair.grade, fair.clean), (Some(Grade::Fair), Some(false)));
        assert_eq!(fair.reasons, ["other processes used 10 % of the machine"]);
    }

    #[test]
    fn silence_of_the_machine_speaks_neither_way() {
        assert!(objections(&Readings::default(), &Readings::default(), 0).is_empty());
    }

    #[test]
    fn throttling_counts_only_when_it_happened_during_the_run() {
        let with = |events| Readings { throttle_events: Some(events), ..Readings::default() };
        assert!(objections(&with(7), &with(7), 0).is_empty());
        assert_eq!(objections(&with(7), &with(9), 0), [(Grade::Poor, "2 throttling events".to_owned())]);
    }

    #[test]
    fn a_run_that_begins_hot_is_not_clean() {
        let with = |celsius| Readings { max_celsius: Some(celsius), ..Readings::default() };
        assert!(objections(&with(60.0), &with(95.0), 0).is_empty());
        let found = objections(&with(90.0), &with(95.0), 0);
        assert_eq!(found, [(Grade::Fair, "begun at 90 °C".to_owned())]);
    }
}
