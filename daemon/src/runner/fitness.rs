//! Whether a machine was fit to measure on: readings from before and after a run, judged.

use slmscope_probes::hygiene::Readings;

/// Share of the machine that others may use.
const FOREIGN: f64 = 0.05;
/// Share of the machine that the host may take away.
const STEAL: f64 = 0.02;
/// Share of time in which tasks may wait for memory.
const MEMORY_PRESSURE: f64 = 0.01;
/// Swap that may come into use during a run, bytes.
const SWAP: u64 = 16 << 20;

/// What speaks against the figures of a run, in which this tool itself used `own_ns` of CPU time. What the
/// machine does not tell speaks neither way.
pub(super) fn reasons(before: &Readings, after: &Readings, own_ns: u64) -> Vec<String> {
    let mut reasons = Vec::new();
    let percent = |share: f64| format!("{:.0} %", share * 100.0);
    if let (Some(older), Some(newer)) = (&before.cpu, &after.cpu) {
        if let Some(share) = newer.foreign_share(older, own_ns).filter(|&share| share > FOREIGN) {
            reasons.push(format!("other processes used {} of the machine", percent(share)));
        }
        if let Some(share) = newer.steal_share(older).filter(|&share| share > STEAL) {
            reasons.push(format!("the host took {} of the machine away", percent(share)));
        }
    }
    if let Some(share) = after.memory_pressure.filter(|&share| share > MEMORY_PRESSURE) {
        reasons.push(format!("tasks waited for memory {} of the time", percent(share)));
    }
    if let (Some(older), Some(newer)) = (before.swap_used, after.swap_used)
        && newer > older + SWAP
    {
        reasons.push(format!("{} MiB were swapped out", (newer - older) >> 20));
    }
    let slow =
        after.governors.iter().find(|governor| matches!(governor.as_str(), "powersave" | "conservative"));
    // intel_pstate and amd-pstate call their dynamic mode powersave; there it is no brake.
    if let Some(governor) = slow.filter(|_| after.platform_profile.as_deref() == Some("low-power")) {
        reasons.push(format!("governor {governor} with the platform profile low-power"));
    }
    if let (Some(older), Some(newer)) = (before.throttle_events, after.throttle_events)
        && newer > older
    {
        reasons.push(format!("{} throttling events", newer - older));
    }
    if after.throttled_now == Some(true) {
        reasons.push("the firmware throttles at the moment".to_owned());
    }
    reasons
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
        assert!(reasons(&before, &after, 12_000_000_000).is_empty());
        let found = reasons(&before, &after, 6_000_000_000);
        assert_eq!(found, ["other processes used 30 % of the machine"]);
    }

    #[test]
    fn silence_of_the_machine_speaks_neither_way() {
        assert!(reasons(&Readings::default(), &Readings::default(), 0).is_empty());
    }

    #[test]
    fn throttling_counts_only_when_it_happened_during_the_run() {
        let with = |events| Readings { throttle_events: Some(events), ..Readings::default() };
        assert!(reasons(&with(7), &with(7), 0).is_empty());
        assert_eq!(reasons(&with(7), &with(9), 0), ["2 throttling events"]);
    }
}
