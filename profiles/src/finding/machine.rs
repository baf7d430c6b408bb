//! The machine: whether it was quiet, the same all the time, and allowed to run fast.

use super::threads::waits;
use super::{FindingCode, Found, Use};
use crate::display;
use crate::drift::{Change, Since};
use crate::hygiene::{Grade, IssueCode};
use crate::result::RunResult;

/// Share of the machine that other processes use above which a run is disturbed: with two threads on two CPUs a
/// process that takes 5 % of the machine takes 10 % of one thread's time, and the other waits for it.
pub const OTHER_LOAD: f64 = 0.05;

/// The machine changed: claims what [`drift::changes`](crate::drift::changes) found, whose thresholds are stated there.
pub(super) fn changed(result: &RunResult) -> Option<Found> {
    let changes = &result.hygiene.changes;
    let largest = changes.first()?;
    let since = |since: Since| {
        let told: Vec<String> =
            changes.iter().filter(|change| change.since == since).map(Change::from_to).collect();
        (!told.is_empty()).then(|| format!("{}: {}", since.words(), told.join(", ")))
    };
    let reasons: Vec<String> =
        [Since::BeginOfRun, Since::EarlierRuns].into_iter().filter_map(since).collect();
    let mut found = Found::new(FindingCode::MachineChanged, Use::Doubt, largest.size())
        .reason(format!("the machine changed {}", reasons.join("; ")));
    for change in changes {
        let name = format!("{}{}", change.figure.name(), change.figure.basis());
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

/// What other processes used, if it is more than [`OTHER_LOAD`] of the machine: of one core, or, where the number of
/// CPUs is not known, of all of them.
struct Foreign {
    share: f64,
    cores: Option<f64>,
    /// `62.0 % of one core`.
    used: String,
}

fn foreign(result: &RunResult) -> Option<Foreign> {
    let share = result.hygiene.other_load.filter(|&share| share > OTHER_LOAD)?;
    let cpus = result.host.as_ref().map(|host| host.logical_cpus).filter(|&cpus| cpus > 0);
    let cores = cpus.map(|cpus| share * f64::from(cpus));
    let used =
        cores.map_or_else(|| format!("{} of all CPUs", display::rough_share(share)), display::of_one_core);
    Some(Foreign { share, cores, used })
}

/// What kept the whole run from running as fast as the machine can: `other processes used 62.0 % of one core`. `None` if
/// nothing did, as far as is known.
pub(super) fn disturbance(result: &RunResult) -> Option<String> {
    let load = foreign(result).map(|foreign| format!("other processes used {}", foreign.used));
    let throttled = || {
        let throttled = result.conditions.throttled.filter(|throttled| throttled.tokens > 0)?;
        Some(format!("the machine throttled during {} tokens", throttled.tokens))
    };
    let graded = |code| result.hygiene.issues.iter().find(|issue| issue.code == code);
    let graded = || [IssueCode::Throttling, IssueCode::Steal].into_iter().find_map(graded);
    load.or_else(throttled).or_else(|| graded().map(|issue| issue.reason.clone()))
}

/// Foreign load: other processes used more than [`OTHER_LOAD`] of the machine during the measured repetitions. Names
/// those that used most, and says what those used together that ended meanwhile.
pub(super) fn other_load(result: &RunResult) -> Option<Found> {
    let Foreign { share, cores, used } = foreign(result)?;
    let (others, short) = (&result.hygiene.others, result.hygiene.short_lived);
    let named = others.iter().map(|other| (display::printable(&other.name).into_owned(), other.cores));
    let short_lived = short.map(|short| ("processes that ended meanwhile".to_owned(), short.cores));
    let named: Vec<(String, f64)> = named.chain(short_lived).collect();
    let names: Vec<String> =
        named.iter().map(|(name, cores)| format!("{name} ({})", display::rough_share(*cores))).collect();
    let sum: f64 = named.iter().map(|(_, cores)| cores).sum();
    let part = if cores.is_some_and(|all| sum >= all / 2.0) { "most of it" } else { "among them" };
    let most = if names.is_empty() { String::new() } else { format!(", {part} {}", names.join(", ")) };
    let mut found = Found::new(FindingCode::ForeignLoad, Use::Doubt, share)
        .reason(format!("other processes used {used}{most}"));
    found = match cores {
        Some(cores) => found.figure("CPU time of others, of one core", cores, "ratio"),
        None => found.figure("CPU time of others, of all CPUs", share, "ratio"),
    };
    for (name, cores) in named {
        found = found.figure(&format!("{name}, of one core"), cores, "ratio");
    }
    let at_most = short.map(|short| short.at_most as f64);
    found = found.known("processes that ended meanwhile, at most", at_most, "");
    let waits = waits(result).unwrap_or_default();
    let longest = waits.first().map(|(share, _)| *share);
    found =
        found.known("longest wait of an engine thread for a CPU, of the time it could run", longest, "ratio");
    Some(found.advice("End them or wait, and measure again; until then compare these figures with nothing."))
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
    let cpus = result.host.as_ref().map(|host| f64::from(host.logical_cpus)).filter(|&cpus| cpus > 0.0);
    let stolen = hygiene.steal.zip(cpus).map(|(share, cpus)| share * cpus);
    let stake = if hygiene.grade == Some(Grade::Poor) { 0.15 } else { 0.05 };
    Some(
        Found::new(FindingCode::DirtyMachine, Use::Doubt, stake)
            .reason(reasons)
            .known("time that the host took, of one core", stolen, "ratio")
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
