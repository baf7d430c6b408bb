//! Where the time goes: parts of the model with gaps and the rest, and ops.

use std::collections::BTreeMap;

use slmscope_profiles::display::{self, ABSENT, or_absent};
use slmscope_profiles::phase::Phase;
use slmscope_profiles::plan::site::Module;
use slmscope_profiles::result::{PhaseBooks, RunResult};
use slmscope_profiles::span::SpanName;
use slmscope_profiles::totals::{GroupTotals, saturating_sum};

use super::bars::{self, Bar, Segment};
use super::html::Html;
use super::{MEASURED, giga};

/// Ops of each phase that are listed, those with the most time.
const MAX_OPS: usize = 20;

/// Named spans of a phase that are told apart.
const MAX_SPANS: usize = 8;

/// Shares of parts and ops.
pub(super) fn section(html: &mut Html, result: &RunResult) {
    html.section("time", "Where the time goes");
    let phases: Vec<(Phase, Vec<Part>)> = MEASURED
        .into_iter()
        .rev()
        .map(|phase| (phase, parts(result, phase)))
        .filter(|(_, parts)| !parts.is_empty())
        .collect();
    if phases.is_empty() {
        html.paragraph("note", "— nothing was recorded of prefill and decode.");
        return;
    }
    let bars: Vec<Bar> = phases
        .iter()
        .map(|(phase, parts)| {
            let segment = |part: &Part| Segment {
                name: part.name.clone(),
                value: part.share,
                shown: display::rough_share(part.share),
            };
            let note = per_token(result, *phase)
                .map_or_else(String::new, |ns| format!("{} a token", display::duration(ns as u64)));
            Bar { name: phase.as_str().to_owned(), note, segments: parts.iter().map(segment).collect() }
        })
        .collect();
    bars::draw(html, "Shares of a phase's recorded time; the numbers are in the table below", &bars);
    table(html, &phases);
    for (phase, _) in phases {
        ops(html, result, phase);
    }
}

/// Wall time of the measured repetitions of a phase divided by their tokens, ns; `None` without tokens.
pub(super) fn per_token(result: &RunResult, phase: Phase) -> Option<f64> {
    let of_phase = || result.phases.iter().filter(|books| books.phase == phase);
    let tokens = saturating_sum(of_phase().map(|books| books.tokens));
    let wall_ns = saturating_sum(of_phase().map(|books| books.wall_ns));
    (tokens > 0).then(|| wall_ns as f64 / tokens as f64)
}

/// A part of a phase's recorded time.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) name: String,
    /// Of the recorded wall time, 0 to 1.
    pub(super) share: f64,
}

/// All parts of a phase's recorded time, in the order of the computation; their shares add up to 1. Empty where nothing
/// was recorded.
pub(super) fn parts(result: &RunResult, phase: Phase) -> Vec<Part> {
    let books: Vec<_> = result.phases.iter().filter(|books| books.phase == phase).collect();
    let recorded_ns = saturating_sum(books.iter().map(|books| books.recorded_wall_ns));
    if recorded_ns == 0 {
        return Vec::new();
    }
    let of_module = |module: Module| {
        let ops = result.ops.iter().filter(|op| op.phase == phase && op.lane == 0 && op.module == module);
        Part { name: words(module).to_owned(), share: ops.map(|op| op.share).sum() }
    };
    let mut spans: BTreeMap<&str, u64> = BTreeMap::new();
    for span in books.iter().flat_map(|books| &books.other) {
        let name = if span.name == SpanName::Sample { "sampling" } else { span.name.as_str() };
        let name = if spans.len() < MAX_SPANS || spans.contains_key(name) { name } else { "other spans" };
        let sum = spans.entry(name).or_default();
        *sum = sum.saturating_add(span.ns);
    }
    let sum = |of: fn(&PhaseBooks) -> u64| saturating_sum(books.iter().map(|books| of(books)));
    let rest = [
        ("gaps between ops", sum(|books| books.gap_ns)),
        ("unattributed", sum(|books| books.unattributed_ns)),
    ];
    let rest = spans.into_iter().chain(rest);
    let rest = rest.map(|(name, ns)| Part { name: name.to_owned(), share: ns as f64 / recorded_ns as f64 });
    let modules = Module::ALL.into_iter().chain([Module::Other]).map(of_module);
    modules.chain(rest).filter(|part| part.share > 0.0).collect()
}

/// A part of the model in words.
fn words(module: Module) -> &'static str {
    match module {
        Module::Ffn => "FFN",
        Module::LmHead => "LM head",
        other => other.as_str(),
    }
}

fn table(html: &mut Html, phases: &[(Phase, Vec<Part>)]) {
    let mut names: Vec<&str> = Vec::new();
    for part in phases.iter().flat_map(|(_, parts)| parts) {
        if !names.contains(&part.name.as_str()) {
            names.push(&part.name);
        }
    }
    let share = |parts: &[Part], name: &str| {
        let part = parts.iter().find(|part| part.name == name);
        part.map_or_else(|| display::share(0.0), |part| display::share(part.share))
    };
    let rows: Vec<Vec<String>> = names
        .iter()
        .map(|name| {
            let shares = MEASURED.map(|phase| {
                let parts = phases.iter().find(|(one, _)| *one == phase);
                parts.map_or_else(|| ABSENT.to_owned(), |(_, parts)| share(parts, name))
            });
            std::iter::once((*name).to_owned()).chain(shares).collect()
        })
        .collect();
    let columns = [("part", true), ("prefill", false), ("decode", false)];
    let caption =
        "Share of the phase's recorded time (measured): the shares add up to all of it; — was not recorded";
    html.table(caption, &columns, &rows);
}

/// Sums of the ops of a phase that have the same name, with their share.
struct Row<'a> {
    name: &'a str,
    module: Module,
    group: GroupTotals,
    share: f64,
}

fn rows(result: &RunResult, phase: Phase) -> Vec<Row<'_>> {
    let mut by_name: BTreeMap<(Module, &str), Row<'_>> = BTreeMap::new();
    for op in result.ops.iter().filter(|op| op.phase == phase && op.lane == 0) {
        let (name, module) = (op.name.as_str(), op.module);
        let new = || Row { name, module, group: GroupTotals::default(), share: 0.0 };
        let row = by_name.entry((module, name)).or_insert_with(new);
        row.group.add(&op.totals());
        row.share += op.share;
    }
    let mut rows: Vec<Row<'_>> = by_name.into_values().collect();
    rows.sort_by(|a, b| b.share.total_cmp(&a.share));
    rows
}

fn ops(html: &mut Html, result: &RunResult, phase: Phase) {
    let rows = rows(result, phase);
    if rows.is_empty() {
        return;
    }
    let table: Vec<Vec<String>> = rows
        .iter()
        .take(MAX_OPS)
        .map(|row| {
            let totals = row.group.totals;
            let roof = row.group.roof();
            vec![
                row.name.to_owned(),
                row.module.as_str().to_owned(),
                totals.count.to_string(),
                display::duration(totals.time_ns),
                display::share(row.share),
                giga(totals.bytes_per_second()),
                giga(totals.flops_per_second()),
                or_absent(roof, |(share, _)| display::rough_share(share)),
                or_absent(roof, |(_, bound)| bound.as_str().to_owned()),
            ]
        })
        .collect();
    let columns = [
        ("op", true),
        ("module", true),
        ("events", false),
        ("time", false),
        ("share", false),
        ("GB/s", false),
        ("GFLOP/s", false),
        ("of roof", false),
        ("bound by", true),
    ];
    let more = rows.len().saturating_sub(MAX_OPS);
    let more = if more > 0 { format!("; {more} more in `slmscope report --full`") } else { String::new() };
    html.table(&format!("Ops of {}, all layers together{more}", phase.as_str()), &columns, &table);
    html.paragraph(
        "note",
        "— in the last columns: the plan counts no bytes and FLOPs for the op, or no roof was measured.",
    );
}
