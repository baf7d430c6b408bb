//! The books of the lanes beside the host's.

use std::collections::BTreeMap;

use slmscope_profiles::display::{self, ABSENT, or_absent, printable};
use slmscope_profiles::lane::{Lane, LaneId};
use slmscope_profiles::op::Phase;
use slmscope_profiles::result::{LaneBooks, RunResult};
use slmscope_profiles::totals::saturating_sum;

use super::section;
use crate::style::Style;
use crate::table::{Align, Table};

/// The books of every lane in every phase; nothing where the host computes alone.
pub(super) fn render(text: &mut String, result: &RunResult, style: Style) {
    if result.lanes.is_empty() {
        return;
    }
    section(
        text,
        "lanes (books of their own: the phases' wall time contains them, as the host waits)",
        style,
    );
    let mut table = Table::new(&[
        ("lane", Align::Left),
        ("phase", Align::Left),
        ("runs", Align::Right),
        ("tokens", Align::Right),
        ("wall", Align::Right),
        ("ops", Align::Right),
        ("gap", Align::Right),
        ("other", Align::Right),
        ("unattributed", Align::Right),
        ("placed within", Align::Right),
    ]);
    let mut parts: BTreeMap<(LaneId, Phase), Vec<&LaneBooks>> = BTreeMap::new();
    for books in &result.lanes {
        parts.entry((books.lane.lane, books.phase)).or_default().push(books);
    }
    for ((_, phase), books) in parts {
        let sum = |part: fn(&LaneBooks) -> u64| saturating_sum(books.iter().map(|books| part(books)));
        let wall = sum(|books| books.wall_ns);
        let share =
            |ns: u64| if wall > 0 { display::share(ns as f64 / wall as f64) } else { ABSENT.to_owned() };
        // One batch that was not placed leaves all without a place.
        let errors: Option<Vec<u64>> = books.iter().map(|books| books.placement_error_ns).collect();
        table.row([
            books.first().map_or_else(String::new, |books| name(&books.lane)),
            phase.as_str().to_owned(),
            books.len().to_string(),
            sum(|books| books.recorded_tokens).to_string(),
            display::duration(wall),
            share(sum(|books| books.ops_ns)),
            share(sum(|books| books.gap_ns)),
            share(sum(|books| saturating_sum(books.other.iter().map(|span| span.ns)))),
            share(sum(|books| books.unattributed_ns)),
            or_absent(errors.and_then(|errors| errors.into_iter().max()), display::duration),
        ]);
    }
    table.fit(style, &["runs", "tokens"]);
    text.push_str(&table.render(style));
}

/// `1 queue 0`: the number by which ops name it, and what people call it.
fn name(lane: &Lane) -> String {
    format!("{} {}", lane.lane, printable(&lane.name))
}

#[cfg(test)]
mod tests {
    use slmscope_profiles::lane::LaneKind;
    use slmscope_profiles::op::Granularity;
    use slmscope_profiles::result::ModelSource;
    use slmscope_profiles::span::{NamedSpan, SpanName};
    use slmscope_profiles::workload::Workload;

    use super::*;

    fn queue(repetition: u32, placement_error_ns: Option<u64>) -> LaneBooks {
        let kind = LaneKind::Device { device: "gpu0".to_owned(), queue: 0 };
        LaneBooks {
            lane: Lane { lane: 1, name: "queue 0".to_owned(), kind },
            phase: Phase::Decode,
            repetition,
            recorded_tokens: 8,
            wall_ns: 1_000_000,
            ops_ns: 900_000,
            gap_ns: 10_000,
            unattributed_ns: 40_000,
            other: vec![NamedSpan { name: SpanName::Launch, ns: 50_000 }],
            placement_error_ns,
        }
    }

    #[test]
    fn a_device_lane_has_a_row_of_its_own_and_one_unplaced_repetition_leaves_it_unplaced() {
        let mut result = RunResult::failed("m", ModelSource::Gguf, &Workload::default(), "why");
        let shown =
            |result: &RunResult| crate::report::render(result, crate::report::Form::Full, Style::narrow(120));
        assert!(!shown(&result).contains("placed within"), "where the host computes alone there is no table");
        result.lanes = vec![queue(0, Some(1_200)), queue(1, Some(900))];
        let text = shown(&result);
        let row = text.lines().find(|line| line.contains("1 queue 0")).expect("a row");
        let cells: Vec<_> = row.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
        assert_eq!(
            cells,
            ["1 queue 0", "decode", "2", "16", "2.00 ms", "90.0 %", "1.0 %", "5.0 %", "4.0 %", "1.20 µs"]
        );
        result.lanes[1].placement_error_ns = None;
        assert!(shown(&result).lines().any(|line| line.contains("1 queue 0") && line.ends_with(ABSENT)));
    }

    #[test]
    fn a_report_of_tokens_alone_says_so() {
        let mut result = RunResult::failed("m", ModelSource::Gguf, &Workload::default(), "why");
        assert!(
            !crate::report::render(&result, crate::report::Form::Full, Style::plain())
                .contains("tokens alone")
        );
        result.engine.granularity = Granularity::Token;
        assert!(
            crate::report::render(&result, crate::report::Form::Full, Style::plain())
                .contains("tokens alone")
        );
    }
}
