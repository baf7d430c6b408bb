//! Speed and books of the phases.

use slmscope_profiles::display::{self, or_absent};
use slmscope_profiles::op::{Granularity, Phase};
use slmscope_profiles::rate::per_second;
use slmscope_profiles::result::{PhaseBooks, RunResult};
use slmscope_profiles::stats::Estimate;
use slmscope_profiles::totals::saturating_sum;

use super::{giga, note, section, spread};
use crate::style::Style;
use crate::table::{Align, Table};

/// The phases of all repetitions together.
struct Total<'a> {
    phase: Phase,
    books: Vec<&'a PhaseBooks>,
}

impl Total<'_> {
    fn sum(&self, part: fn(&PhaseBooks) -> u64) -> u64 {
        saturating_sum(self.books.iter().map(|books| part(books)))
    }

    /// A part of the time that was recorded, as a share of it.
    fn share(&self, part: fn(&PhaseBooks) -> u64) -> String {
        let recorded = self.sum(|books| books.recorded_wall_ns);
        let share = (recorded > 0).then(|| self.sum(part) as f64 / recorded as f64);
        or_absent(share, display::share)
    }
}

fn totals(result: &RunResult) -> Vec<Total<'_>> {
    let of =
        |phase| Total { phase, books: result.phases.iter().filter(|books| books.phase == phase).collect() };
    [Phase::Prefill, Phase::Decode].map(of).into_iter().filter(|total| !total.books.is_empty()).collect()
}

/// Median rate over the repetitions, as the summary has it.
pub(super) fn median(result: &RunResult, phase: Phase) -> Option<Estimate> {
    match phase {
        Phase::Prefill => result.summary.prefill_tokens_per_s,
        Phase::Decode => result.summary.decode_tokens_per_s,
        _ => None,
    }
}

fn wall_bytes_per_s(result: &RunResult, phase: Phase) -> Option<f64> {
    result.bandwidth.iter().find(|traffic| traffic.phase == phase)?.derived_wall_bytes_per_s
}

/// One table for the short report.
pub(super) fn short(text: &mut String, result: &RunResult, style: Style) {
    let mut table = Table::new(&[
        ("phase", Align::Left),
        ("tokens", Align::Right),
        ("total time", Align::Right),
        ("GB/s", Align::Right),
        ("median tok/s", Align::Right),
        ("spread", Align::Left),
    ]);
    for total in totals(result) {
        let rate = median(result, total.phase);
        table.row([
            total.phase.as_str().to_owned(),
            total.sum(|books| books.tokens).to_string(),
            display::duration(total.sum(|books| books.wall_ns)),
            giga(wall_bytes_per_s(result, total.phase)),
            or_absent(rate, |rate| display::significant(rate.median)),
            spread(rate),
        ]);
    }
    text.push_str(&table.render(style));
}

/// Speed and books, a table each.
pub(super) fn full(text: &mut String, result: &RunResult, style: Style) {
    section(text, "phases", style);
    let totals = totals(result);
    if totals.is_empty() {
        text.push_str("  nothing was measured\n");
    } else {
        rates(text, result, &totals, style);
        section(
            text,
            "books (shares of the recorded time: ops + gap + other + unattributed = all of it)",
            style,
        );
        books(text, &totals, style);
    }
    if result.engine.granularity == Granularity::Token {
        let remark = "the engine reports tokens alone, no ops: all time outside named spans is unattributed";
        note(text, remark, style);
    }
}

fn rates(text: &mut String, result: &RunResult, totals: &[Total<'_>], style: Style) {
    let mut table = Table::new(&[
        ("phase", Align::Left),
        ("median tok/s", Align::Right),
        ("runs", Align::Right),
        ("tokens", Align::Right),
        ("total time", Align::Right),
        ("total tok/s", Align::Right),
        ("GB/s", Align::Right),
        ("GFLOP/s", Align::Right),
    ]);
    for total in totals {
        let rate = median(result, total.phase);
        let (tokens, wall) = (total.sum(|books| books.tokens), total.sum(|books| books.wall_ns));
        let traffic = result.bandwidth.iter().find(|traffic| traffic.phase == total.phase);
        table.row([
            total.phase.as_str().to_owned(),
            or_absent(rate, |rate| display::significant(rate.median)),
            total.books.len().to_string(),
            tokens.to_string(),
            display::duration(wall),
            or_absent(per_second(tokens, wall), display::significant),
            giga(traffic.and_then(|traffic| traffic.derived_wall_bytes_per_s)),
            giga(traffic.and_then(|traffic| traffic.derived_wall_flops_per_s)),
        ]);
    }
    table.fit(style, &["runs"]);
    text.push_str(&table.render(style));
    let remark = "median: of the repetitions' rates; total: all tokens divided by all time. GB/s and GFLOP/s are \
                  derived: the plan's bytes (weights, cache) and FLOPs divided by the phase's wall time";
    note(text, remark, style);
}

fn books(text: &mut String, totals: &[Total<'_>], style: Style) {
    let mut table = Table::new(&[
        ("phase", Align::Left),
        ("recorded", Align::Right),
        ("ops", Align::Right),
        ("gap", Align::Right),
        ("other", Align::Right),
        ("unattributed", Align::Right),
    ]);
    for total in totals {
        table.row([
            total.phase.as_str().to_owned(),
            display::duration(total.sum(|books| books.recorded_wall_ns)),
            total.share(|books| books.ops_ns),
            total.share(|books| books.gap_ns),
            total.share(|books| saturating_sum(books.other.iter().map(|row| row.ns))),
            total.share(|books| books.unattributed_ns),
        ]);
    }
    text.push_str(&table.render(style));
}

/// Why there is no time to the first token; `None` if there is one.
pub(super) fn why_no_first_token(result: &RunResult) -> Option<&'static str> {
    let workload = &result.workload;
    match result.summary.ttft_ns {
        Some(_) => None,
        None if workload.generate == 0 => Some("nothing to generate"),
        None if !workload.has_text() && workload.prompt == 0 => Some("there was no prompt"),
        None => Some("the prompt was not done"),
    }
}
