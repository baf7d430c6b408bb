//! The machine: whether it was quiet, the same all the time, and allowed to run fast.

use super::{FindingCode, Found, Use};
use crate::display;
use crate::hygiene::{Grade, IssueCode};
use crate::result::RunResult;

/// Share of the machine that other processes use above which a run is disturbed: with two threads on two CPUs a
/// process that takes 5 % of the machine takes 10 % of one thread's time, and the other waits for it.
const OTHER_LOAD: f64 = 0.05;

/// The machine changed: claims what [`drift::changes`](crate::drift::changes) found, whose thresholds are stated there.
pub(super) fn changed(result: &RunResult) -> Option<Found> {
    let changes = &result.hygiene.changes;
    let largest = changes.first()?;
    let reasons: Vec<String> = changes.iter().map(ToString::to_string).collect();
    let mut found = Found::new(FindingCode::MachineChanged, Use::Doubt, largest.size())
        .reason(format!("the machine changed: {}", reasons.join("; ")));
    for change in changes {
        let name = change.figure.name();
        found = found.figure(&format!("{name}, before"), change.from, change.figure.unit()).figure(
            &format!("{name}, now"),
            change.to,
            change.figure.unit(),
        );
    }
    Some(found.advice(
        "Compare runs in pairs, one right after the other (A B B A); a figure from another time is of another machine.",
    ))
}

/// Foreign load: other processes used more than [`OTHER_LOAD`] of the machine during the measured repetitions. Names
/// those that used most, if they ran from begin to end.
pub(super) fn other_load(result: &RunResult) -> Option<Found> {
    let share = result.hygiene.other_load.filter(|&share| share > OTHER_LOAD)?;
    let cpus = result.host.as_ref().map(|host| host.logical_cpus).filter(|&cpus| cpus > 0);
    let used = match cpus {
        Some(cpus) => display::of_one_core(share * f64::from(cpus)),
        None => format!("{} of the machine", display::rough_share(share)),
    };
    let others = &result.hygiene.others;
    let names: Vec<String> = others
        .iter()
        .map(|other| format!("{} ({})", display_name(&other.name), display::rough_share(other.cores)))
        .collect();
    let named: f64 = others.iter().map(|other| other.cores).sum();
    let part = if cpus.is_some_and(|cpus| named >= share * f64::from(cpus) / 2.0) {
        "most of it"
    } else {
        "among them"
    };
    let most = if names.is_empty() { String::new() } else { format!(", {part} {}", names.join(", ")) };
    let mut found = Found::new(FindingCode::ForeignLoad, Use::Doubt, share)
        .reason(format!("other processes used {used}{most}"))
        .figure("CPU time of others, of all CPUs", share, "ratio");
    for other in others {
        found = found.figure(&format!("{}, of one core", display_name(&other.name)), other.cores, "ratio");
    }
    Some(found.advice("End them or wait, and measure again; until then compare these figures with nothing."))
}

/// Names come from other users' processes.
fn display_name(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).collect()
}

/// All other conditions that lowered the hygiene grade. Those with a finding of their own are left out.
pub(super) fn issues(result: &RunResult) -> Option<Found> {
    let hygiene = &result.hygiene;
    if hygiene.clean != Some(false) {
        return None;
    }
    let own = [IssueCode::MachineChanged, IssueCode::OtherLoad];
    let rest: Vec<&str> = hygiene
        .issues
        .iter()
        .filter(|issue| !own.contains(&issue.code))
        .map(|issue| issue.reason.as_str())
        .collect();
    // A result of an older build has the words alone.
    let reasons = if hygiene.issues.is_empty() { hygiene.reasons.join("; ") } else { rest.join("; ") };
    if reasons.is_empty() {
        return None;
    }
    let stake = if hygiene.grade == Some(Grade::Poor) { 0.15 } else { 0.05 };
    Some(
        Found::new(FindingCode::DirtyMachine, Use::Doubt, stake)
            .reason(reasons)
            .known("time that the host took, of all CPUs", hygiene.steal, "ratio")
            .advice(
                "Measure again when the machine is quiet; until then compare these figures with nothing.",
            ),
    )
}

/// Governor: `powersave` keeps the lowest clock, and `conservative` raises it slowly. Drivers that are governors of
/// their own (intel_pstate, amd-pstate) call their dynamic mode `powersave`; there it claims nothing
/// (kernel.org, admin-guide/pm/cpufreq and intel_pstate).
pub(super) fn governor(result: &RunResult) -> Option<Found> {
    let hygiene = &result.hygiene;
    let driver = hygiene.cpufreq_driver.as_deref()?;
    let is_own_governor = driver.starts_with("intel_pstate") || driver.starts_with("amd-pstate");
    let slow = |name: &&String| matches!(name.as_str(), "powersave" | "conservative");
    let governor = hygiene.governors.iter().find(slow).filter(|_| !is_own_governor)?;
    let effect = if governor == "powersave" { "keeps the lowest clock" } else { "raises the clock slowly" };
    Some(
        Found::new(FindingCode::Governor, Use::Gain, 0.5)
            .reason(format!("the governor {governor} {effect}"))
            .advice("Choose `schedutil` or `performance`: `cpupower frequency-set -g performance`."),
    )
}
