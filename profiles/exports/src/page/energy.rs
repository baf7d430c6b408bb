//! Energy of the phases.

use slmscope_profiles::display::{self, ABSENT, or_absent};
use slmscope_profiles::result::RunResult;

use super::html::Html;

/// Energy, or why there is none.
pub(super) fn section(html: &mut Html, result: &RunResult) {
    html.section("energy", "Energy");
    if result.energy.phases.is_empty() {
        html.paragraph("note", "— nothing was measured.");
        return;
    }
    let rows: Vec<Vec<String>> = result
        .energy
        .phases
        .iter()
        .map(|energy| {
            let watts = |watts: f64| format!("{} W", display::significant(watts));
            let source = match (&energy.joules, &energy.reason) {
                (None, Some(reason)) => format!("{ABSENT} {reason}"),
                _ => or_absent(energy.source.as_deref(), str::to_owned),
            };
            vec![
                energy.phase.as_str().to_owned(),
                or_absent(energy.joules, |joules| format!("{} J", display::significant(joules))),
                or_absent(energy.low.zip(energy.high), |(low, high)| {
                    format!("{} to {}", display::significant(low), display::significant(high))
                }),
                or_absent(energy.joules_per_token, |joules| {
                    format!("{} mJ", display::significant(joules * 1e3))
                }),
                or_absent(energy.baseline_watts, watts),
                source,
            ]
        })
        .collect();
    let columns = [
        ("phase", true),
        ("energy", false),
        ("interval", false),
        ("a token", false),
        ("idle power", false),
        ("source, or why there is none", true),
    ];
    html.table("Energy of all repetitions (measured)", &columns, &rows);
}
