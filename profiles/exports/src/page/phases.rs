//! Rates and books of the phases.

use slmscope_profiles::display::{self, ABSENT, or_absent};
use slmscope_profiles::rate::per_second;
use slmscope_profiles::result::{PhaseBooks, RunResult};
use slmscope_profiles::totals::saturating_sum;

use super::html::Html;
use super::{MEASURED, giga};

/// Rates and books of the phases.
pub(super) fn section(html: &mut Html, result: &RunResult) {
    html.section("phases", "Phases");
    let mut rates = Vec::new();
    let mut books = Vec::new();
    for phase in MEASURED {
        let of_phase: Vec<_> = result.phases.iter().filter(|books| books.phase == phase).collect();
        if of_phase.is_empty() {
            continue;
        }
        let sum = |part: fn(&PhaseBooks) -> u64| saturating_sum(of_phase.iter().map(|books| part(books)));
        let (tokens, wall) = (sum(|books| books.tokens), sum(|books| books.wall_ns));
        let traffic = result.bandwidth.iter().find(|traffic| traffic.phase == phase);
        rates.push(vec![
            phase.as_str().to_owned(),
            of_phase.len().to_string(),
            tokens.to_string(),
            display::duration(wall),
            or_absent(per_second(tokens, wall), display::significant),
            giga(traffic.and_then(|traffic| traffic.derived_wall_bytes_per_s)),
            giga(traffic.and_then(|traffic| traffic.derived_wall_flops_per_s)),
        ]);
        let recorded = sum(|books| books.recorded_wall_ns);
        let share = |ns: u64| {
            if recorded > 0 { display::share(ns as f64 / recorded as f64) } else { ABSENT.to_owned() }
        };
        books.push(vec![
            phase.as_str().to_owned(),
            display::duration(recorded),
            share(sum(|books| books.ops_ns)),
            share(sum(|books| books.gap_ns)),
            share(saturating_sum(of_phase.iter().flat_map(|books| books.other.iter().map(|span| span.ns)))),
            share(sum(|books| books.unattributed_ns)),
        ]);
    }
    let columns = [
        ("phase", true),
        ("repetitions", false),
        ("tokens", false),
        ("time", false),
        ("tokens/s", false),
        ("GB/s", false),
        ("GFLOP/s", false),
    ];
    html.table(
        "All tokens divided by all time; GB/s and GFLOP/s are derived from the plan",
        &columns,
        &rates,
    );
    let columns = [
        ("phase", true),
        ("recorded", false),
        ("ops", false),
        ("gap", false),
        ("other", false),
        ("unattributed", false),
    ];
    html.table("Where the recorded time went (measured): the shares add up to all of it", &columns, &books);
}
