//! Energy of the phases.

use std::fmt::Write;

use slmscope_profiles::display::{self, ABSENT, or_absent};
use slmscope_profiles::result::{PhaseEnergy, RunResult};

use super::section;
use crate::style::Style;

/// Every phase and source, with bounds.
pub(super) fn full(text: &mut String, result: &RunResult, style: Style) {
    section(text, "energy (totals of the repetitions)", style);
    if result.energy.phases.is_empty() {
        let _ = writeln!(text, "  {ABSENT} (nothing was measured)");
    }
    let mut lines: Vec<(Vec<&str>, String)> = Vec::new();
    for energy in &result.energy.phases {
        let (phase, told) = (energy.phase.as_str(), one(energy));
        match lines.last_mut().filter(|(_, last)| *last == told) {
            Some((phases, _)) => phases.push(phase),
            None => lines.push((vec![phase], told)),
        }
    }
    for (phases, told) in lines {
        let is_all = phases.len() > 1 && phases.len() == result.energy.phases.len();
        let line = if is_all { told } else { format!("{}: {told}", phases.join(", ")) };
        let _ = writeln!(text, "  {}", style.wrap_words(&line, 4));
    }
}

fn one(energy: &PhaseEnergy) -> String {
    let Some(joules) = energy.joules else {
        return format!("{ABSENT} ({})", energy.reason.as_deref().unwrap_or("no reason is known"));
    };
    let scope = or_absent(energy.scope.as_ref(), ToString::to_string);
    format!(
        "{} J ({} to {}), {}/token{}; {} ({scope}), {} updates over {} of the time; idle {} W",
        display::significant(joules),
        or_absent(energy.low, display::significant),
        or_absent(energy.high, display::significant),
        or_absent(energy.joules_per_token, amount),
        energy.joules_per_token_interval.map_or_else(String::new, |[low, high]| format!(
            " ({} to {})",
            amount(low),
            amount(high)
        )),
        energy.source.as_deref().unwrap_or(ABSENT),
        energy.updates,
        or_absent(energy.coverage, display::rough_share),
        or_absent(energy.baseline_watts, display::significant),
    )
}

/// One line: joules per token of each phase from the widest source, or one reason for all.
pub(super) fn short(result: &RunResult) -> String {
    let mut phases: Vec<&PhaseEnergy> = Vec::new();
    for energy in &result.energy.phases {
        if !phases.iter().any(|first| first.phase == energy.phase) {
            phases.push(energy);
        }
    }
    let Some(first) = phases.first() else { return format!("{ABSENT} (nothing was measured)") };
    let is_same = phases.iter().all(|energy| energy.joules.is_none() && energy.reason == first.reason);
    if is_same {
        return first.reason.clone().unwrap_or_else(|| "no reason is known".to_owned());
    }
    let one = |energy: &PhaseEnergy| {
        let phase = energy.phase.as_str();
        let reason = || energy.reason.as_deref().unwrap_or("no reason is known");
        energy.joules_per_token.map_or_else(
            || format!("{phase} {ABSENT} ({})", reason()),
            |joules| format!("{phase} {}/token", amount(joules)),
        )
    };
    let source = first.source.as_deref().unwrap_or(ABSENT);
    let phases: Vec<_> = phases.iter().copied().map(one).collect();
    format!("{}; {source}", phases.join(", "))
}

/// `62.5 mJ`, `1.20 J`.
fn amount(joules: f64) -> String {
    if joules.abs() < 0.1 {
        format!("{} mJ", display::significant(joules * 1e3))
    } else {
        format!("{} J", display::significant(joules))
    }
}
