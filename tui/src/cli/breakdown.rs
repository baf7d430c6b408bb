//! `slmscope sessions info FILE --by WHAT`: where the time of a recorded run went.

use clap::ValueEnum;
use serde::Serialize;
use slmscope_exports::session::Run;
use slmscope_profiles::display::{self, ABSENT, or_absent};
use slmscope_profiles::hygiene::ThreadTime;
use slmscope_profiles::lane::{HOST_LANE, LaneId};
use slmscope_profiles::phase::Phase;
use slmscope_profiles::profile::{self, BreakdownRow, MAX_STEPS, RowKind};

use crate::failure::{Failure, print, print_json};
use crate::style::Style;
use crate::table::{Align, Table};

/// By what time is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum By {
    /// Whole phases, with gaps and what nothing explains
    Phase,
    /// Parts of the model: attention, ffn, lm_head
    Module,
    /// Kinds of work: matmul, norm, rope
    Kind,
    /// Names of ops, layers added up
    Name,
    /// Steps of the plan, each layer by itself
    Site,
    /// Blocks of the model
    Layer,
    /// Tokens of decode and chunks of prefill, one by one
    Token,
    /// Host threads together, and queues of devices
    Lane,
    /// CPU time of each engine thread
    Thread,
}

impl By {
    /// The division of op events; of lanes only the wholes are shown, and of threads there are no events.
    fn of_events(self) -> Option<profile::By> {
        Some(match self {
            Self::Phase | Self::Lane => profile::By::Phase,
            Self::Module => profile::By::Module,
            Self::Kind => profile::By::Kind,
            Self::Name => profile::By::Name,
            Self::Site => profile::By::Site,
            Self::Layer => profile::By::Layer,
            Self::Token => profile::By::Token,
            Self::Thread => return None,
        })
    }

    fn word(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// What `info --by` prints as JSON.
#[derive(Debug, Serialize)]
struct Breakdown<'a> {
    schema: &'static str,
    by: String,
    run_id: Option<&'a str>,
    /// Rows of op events; null by thread.
    rows: Option<Vec<BreakdownRow>>,
    /// CPU time during the measured repetitions; null but by thread.
    threads: Option<&'a [ThreadTime]>,
}

/// Prints the table of `run` by `by`.
///
/// # Errors
/// If the recording does not hold what the table is made of.
pub fn show(run: &Run, by: By, json: bool) -> Result<(), Failure> {
    let mut rows = by.of_events().map(|by| run.profile.breakdown(by, &run.roofs()));
    if let (By::Lane, Some(rows)) = (by, &mut rows) {
        rows.retain(|row| row.kind == RowKind::Whole);
    }
    let result = run.result.as_deref();
    let threads = result.filter(|_| by == By::Thread).map(|result| result.threads.as_slice());
    let is_empty = rows.as_ref().map_or_else(|| threads.is_none_or(<[_]>::is_empty), Vec::is_empty);
    if is_empty && !json {
        return Err(Failure::error(match by {
            By::Thread => {
                "no CPU time of threads is in it: the recording ended before the result, or the kernel does not report it"
            }
            _ => "no op events of prefill or decode are in it: record a whole run",
        }));
    }
    if json {
        let run_id = result.and_then(|result| result.run_id.as_deref());
        let schema = "slmscope.breakdown/1";
        return print_json(&Breakdown { schema, by: by.word(), run_id, rows, threads });
    }
    let style = Style::of_stdout();
    print(&match (&rows, threads) {
        (Some(rows), _) => render(run, by, rows, style),
        (None, threads) => render_threads(threads.unwrap_or_default(), style),
    })
}

/// A table for each phase and lane.
fn render(run: &Run, by: By, rows: &[BreakdownRow], style: Style) -> String {
    let mut text = String::new();
    let parts = rows.chunk_by(|a, b| by == By::Lane || (a.phase, a.lane) == (b.phase, b.lane));
    for part in parts {
        if let Some(first) = part.first().filter(|_| by != By::Lane) {
            text.push_str(&format!("{}\n", style.bold(&title(run, first.phase, first.lane))));
        }
        text.push_str(&table(run, by, part, style).render(style));
    }
    for note in notes(by, rows) {
        text.push_str(&format!("{}\n", style.dim(&style.wrap_words(&note, 0))));
    }
    text
}

fn title(run: &Run, phase: Phase, lane: LaneId) -> String {
    let phase = phase.as_str();
    if lane == HOST_LANE { phase.to_owned() } else { format!("{phase}, {}", lane_name(run, lane)) }
}

fn lane_name(run: &Run, lane: LaneId) -> String {
    let lanes = run.plan.as_ref().map_or(&[][..], |plan| &plan.lanes);
    let known = lanes.iter().find(|known| known.lane == lane);
    known.map_or_else(|| format!("lane {lane}"), |known| display::printable(&known.name).into_owned())
}

fn table(run: &Run, by: By, rows: &[BreakdownRow], style: Style) -> Table {
    const WORK: [(&str, Align); 3] =
        [("GB/s", Align::Right), ("GFLOP/s", Align::Right), ("of roof", Align::Left)];
    let names: &[(&'static str, Align)] = match by {
        By::Phase => &[("part", Align::Left), ("tokens", Align::Right)],
        By::Module => &[("module", Align::Left), ("calls", Align::Right)],
        By::Kind => &[("kind", Align::Left), ("calls", Align::Right)],
        By::Name => &[("op", Align::Left), ("calls", Align::Right)],
        By::Site => &[("op", Align::Left), ("layer", Align::Right), ("calls", Align::Right)],
        By::Layer => &[("layer", Align::Left), ("calls", Align::Right)],
        By::Token => &[("run", Align::Right), ("token", Align::Right), ("context", Align::Right)],
        By::Lane | By::Thread => &[("lane", Align::Left), ("phase", Align::Left), ("tokens", Align::Right)],
    };
    let times: &[(&'static str, Align)] = match by {
        By::Token => &[("time", Align::Right), ("share", Align::Right)],
        _ => &[
            ("time", Align::Right),
            ("share", Align::Right),
            ("median", Align::Right),
            ("p95", Align::Right),
            ("p99", Align::Right),
        ],
    };
    let mut table = Table::new(&[names, times, &WORK].concat());
    for row in rows {
        let mut cells = named(run, by, row);
        cells.extend([display::duration(row.time_ns), display::share(row.share)]);
        if by != By::Token {
            let calls = row.call_ns.map_or([None; 3], |calls| [calls.median, calls.p95, calls.p99].map(Some));
            cells.extend(calls.map(|ns| or_absent(ns, display::duration)));
        }
        let giga = |rate: Option<f64>| or_absent(rate, |rate| display::significant(rate / 1e9));
        cells.extend([giga(row.bytes_per_s), giga(row.flops_per_s), of_roof(row)]);
        table.row(cells);
    }
    table.fit(style, &["GFLOP/s", "p95", "calls", "p99", "tokens"]);
    table
}

/// The cells that say what a row is about.
fn named(run: &Run, by: By, row: &BreakdownRow) -> Vec<String> {
    let name = match (by, row.layer) {
        (By::Layer, Some(layer)) => layer.to_string(),
        _ => display::printable(&row.name).into_owned(),
    };
    let number = |value: Option<u32>| or_absent(value, |value| value.to_string());
    let count = or_absent(row.count, |count| count.to_string());
    match by {
        By::Site => vec![name, row.layer.map_or_else(String::new, |layer| layer.to_string()), count],
        By::Token => vec![number(row.repetition), number(row.token), number(row.context)],
        By::Lane => vec![lane_name(run, row.lane), row.phase.as_str().to_owned(), count],
        _ => vec![name, count],
    }
}

fn of_roof(row: &BreakdownRow) -> String {
    match (row.of_roof, row.bound) {
        (Some(share), Some(bound)) => format!("{} {}", display::share(share), bound.as_str()),
        _ => ABSENT.to_owned(),
    }
}

/// What the table does not say by itself.
fn notes(by: By, rows: &[BreakdownRow]) -> Vec<String> {
    let mut notes = Vec::new();
    if by == By::Token {
        if rows.len() >= MAX_STEPS {
            notes.push(format!("the first {MAX_STEPS} steps; sums of other tables hold all"));
        }
    } else {
        let of = if matches!(by, By::Phase | By::Lane) { "tokens, chunks and calls" } else { "calls" };
        let within = display::fine_share(profile::PERCENTILE_ERROR);
        notes.push(format!("median, p95 and p99 are of single {of}, within {within}"));
    }
    notes.push(format!("{ABSENT} stands for no calls, no counted bytes, or no measured roofs"));
    if rows.iter().any(|row| row.of_roof > Some(1.0)) {
        notes.push("above 100 % of roof: from a cache, or faster than when it was measured".to_owned());
    }
    notes
}

fn render_threads(threads: &[ThreadTime], style: Style) -> String {
    let mut table = Table::new(&[
        ("thread", Align::Left),
        ("CPU time", Align::Right),
        ("of the measured time", Align::Right),
    ]);
    for thread in threads {
        let share = (thread.wall_ns > 0).then(|| thread.cpu_ns as f64 / thread.wall_ns as f64);
        table.row([
            display::printable(&thread.name).into_owned(),
            display::duration(thread.cpu_ns),
            or_absent(share, display::share),
        ]);
    }
    table.render(style)
}

#[cfg(test)]
mod tests {
    use slmscope_profiles::profile::Percentiles;
    use slmscope_profiles::roofline::Bound;

    use super::*;

    fn row() -> BreakdownRow {
        BreakdownRow {
            phase: Phase::Prefill,
            lane: HOST_LANE,
            kind: RowKind::Ops,
            name: "attn.qkv_proj".to_owned(),
            repetition: Some(100),
            token: Some(1_000),
            context: Some(131_072),
            site: Some(700),
            layer: Some(100),
            count: Some(10_000_000),
            time_ns: 123_456_789_000,
            call_ns: Some(Percentiles { median: 123_456_789, p95: 123_456_789, p99: 123_456_789 }),
            share: 0.999,
            bytes: Some(1),
            flops: Some(1),
            bytes_per_s: Some(1.234e11),
            flops_per_s: Some(1.234e12),
            of_roof: Some(1.123),
            bound: Some(Bound::Overhead),
        }
    }

    #[test]
    fn tables_fit_80_columns_and_keep_what_matters() {
        for by in By::value_variants().iter().filter(|by| **by != By::Thread) {
            let text = table(&Run::default(), *by, &[row()], Style::narrow(80)).render(Style::narrow(80));
            assert!(text.lines().all(|line| line.chars().count() <= 80), "{by:?}: {text}");
            for kept in ["time", "share", "GB/s", "112.3 % overhead"] {
                assert!(text.contains(kept), "{by:?} {kept}: {text}");
            }
        }
        assert!(notes(By::Module, &[row()]).iter().any(|note| note.starts_with("above 100 % of roof")));
        assert!(notes(By::Layer, &[row()]).iter().all(|note| note.chars().count() <= 80));
    }
}
