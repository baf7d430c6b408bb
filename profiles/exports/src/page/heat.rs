//! The heat map of layers: for every layer and op the time of one event in decode.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use slmscope_profiles::display;
use slmscope_profiles::phase::Phase;
use slmscope_profiles::result::RunResult;

use super::html::{Html, escaped};

/// Layers that are drawn at most; deeper models have their first ones.
const MAX_LAYERS: u32 = 160;

/// Ops of a layer that are drawn at most, in the order of the plan.
const MAX_OPS: usize = 64;

const CELL: u32 = 14;
const LEFT: u32 = 150;

/// Time of an op by name, then by layer, ns.
type Times<'a> = BTreeMap<&'a str, BTreeMap<u32, f64>>;

pub(super) fn layers(html: &mut Html, result: &RunResult) {
    html.section("layers", "Layers in decode");
    let mut times: Times<'_> = BTreeMap::new();
    let mut order: Vec<&str> = Vec::new();
    for op in result.ops.iter().filter(|op| op.phase == Phase::Decode && op.lane == 0) {
        let Some(layer) = op.layer.filter(|&layer| layer < MAX_LAYERS) else { continue };
        let is_new = !times.contains_key(op.name.as_str());
        if op.count > 0 && (!is_new || order.len() < MAX_OPS) {
            if is_new {
                order.push(&op.name);
            }
            // A layer may have several steps of a name.
            *times.entry(&op.name).or_default().entry(layer).or_default() +=
                op.time_ns as f64 / op.count as f64;
        }
    }
    if times.is_empty() {
        html.paragraph("note", "— no op of a layer was recorded in decode.");
        return;
    }
    html.paragraph(
        "note",
        "Mean time of each op. A row is scaled by itself, from its fastest layer (faint) to its slowest (full): what \
         differs between layers stands out.",
    );
    draw(html, &order, &times);
    table(html, &order, &times);
}

fn draw(html: &mut Html, order: &[&str], times: &Times<'_>) {
    let layers: BTreeSet<u32> = times.values().flat_map(|row| row.keys().copied()).collect();
    let count = layers.last().map_or(0, |&last| last + 1);
    let (width, height) = (LEFT + count * CELL + 10, (order.len() as u32 + 2) * CELL);
    let mut svg = format!(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Heat map of layers\"><svg viewBox=\"0 0 {width} {height}\" \
         width=\"{width}\" height=\"{height}\" role=\"img\" aria-label=\"Time of each op by layer; the numbers are in the table below\">\n"
    );
    for (at, &name) in order.iter().enumerate() {
        let Some(row) = times.get(name) else { continue };
        let y = at as u32 * CELL;
        let most = row.values().copied().fold(0.0, f64::max);
        let least = row.values().copied().fold(f64::INFINITY, f64::min);
        let _ = writeln!(svg, "<text x=\"0\" y=\"{}\">{}</text>", y + 11, escaped(name));
        for (&layer, &ns) in row {
            let heat = if most > least { (ns - least) / (most - least) } else { 0.0 };
            let (x, opacity) = (LEFT + layer * CELL, 0.1 + 0.9 * heat);
            let what = format!("layer {layer}, {name}: {}", display::duration(ns as u64));
            let _ = writeln!(
                svg,
                "<rect class=\"k1\" x=\"{x}\" y=\"{y}\" width=\"{}\" height=\"{}\" fill-opacity=\"{opacity:.2}\"><title>{}</title></rect>",
                CELL - 1,
                CELL - 1,
                escaped(&what)
            );
        }
    }
    let y = order.len() as u32 * CELL + 13;
    for layer in (0..count).step_by(5) {
        let _ = writeln!(svg, "<text class=\"soft\" x=\"{}\" y=\"{y}\">{layer}</text>", LEFT + layer * CELL);
    }
    svg.push_str("</svg></div>\n");
    html.raw(svg);
}

fn table(html: &mut Html, order: &[&str], times: &Times<'_>) {
    let mut rows = Vec::new();
    for &name in order {
        let Some(row) = times.get(name) else { continue };
        let by_time = |a: &(&u32, &f64), b: &(&u32, &f64)| a.1.total_cmp(b.1);
        let (Some(least), Some(most)) = (row.iter().min_by(by_time), row.iter().max_by(by_time)) else {
            continue;
        };
        let mean = row.values().sum::<f64>() / row.len() as f64;
        let show = |ns: f64| display::duration(ns as u64);
        rows.push(vec![
            name.to_owned(),
            row.len().to_string(),
            show(mean),
            format!("{} (layer {})", show(*least.1), least.0),
            format!("{} (layer {})", show(*most.1), most.0),
        ]);
    }
    let columns = [("op", true), ("layers", false), ("mean", false), ("fastest", false), ("slowest", false)];
    html.table("Time of one event by layer (measured)", &columns, &rows);
}
