//! All that is known of the selected row: times, work, roofs, weights, and how its calls are distributed.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use slmscope_profiles::display::{self, or_absent};
use slmscope_profiles::op::Phase;
use slmscope_profiles::plan::site::OpSite;
use slmscope_profiles::roofline::{Bound, Roofs};
use slmscope_profiles::stats::Estimate;
use slmscope_profiles::totals::EventPlace;

use super::row::{Level, Row};
use crate::dashboard::data::Data;
use crate::dashboard::palette::Palette;
use crate::dashboard::view::text::wrap;
use crate::dashboard::view::{chart, heading, put};

/// Most columns of a distribution.
const SPARK: usize = 60;
/// Most lines of one subject.
const LINES: usize = 3;

/// Draws the lines under the row's name.
pub(super) fn draw(row: &Row, lines: Vec<Line<'static>>, palette: Palette, area: Rect, buf: &mut Buffer) {
    let mut rest = area;
    heading(&format!("{}, {}", row.name, row.phase.as_str()), palette, &mut rest, buf);
    for (at, line) in lines.into_iter().enumerate() {
        put(line, at, rest, buf);
    }
}

/// What is known of a row, the most important first.
pub(super) fn lines(data: &Data, row: &Row, palette: Palette, width: u16) -> Vec<Line<'static>> {
    let width = usize::from(width).saturating_sub(1);
    let mut lines = Vec::new();
    let mut say = |parts: Vec<String>| {
        let text = parts.join(" · ");
        lines.extend(wrap(&text, width, LINES).into_iter().map(|line| Line::from(format!(" {line}"))));
    };
    say(times(row));
    say(work(row));
    if matches!(row.level, Level::Other | Level::Unattributed) {
        say(vec![meaning(row).to_owned()]);
    }
    if !row.sites.is_empty() || row.level == Level::Total {
        say(data.plan.as_ref().map(|plan| roofs(&plan.roofs)).unwrap_or_default());
    }
    if let Some(plan) = &data.plan {
        let sites: Vec<&OpSite> =
            row.sites.iter().filter_map(|&site| plan.sites.get(usize::from(site))).collect();
        say(weights(&sites, &plan.path));
    }
    lines.extend(calls(data, row, palette, width));
    lines
}

fn times(row: &Row) -> Vec<String> {
    let mut parts = Vec::new();
    if let (Some(ns), Some(share)) = (row.time_per_token(), row.share()) {
        parts.push(format!("{} a token, {} of the wall time", display::duration(ns), display::share(share)));
    }
    if let (Some(count), Some(mean_ns)) = (row.count(), row.mean_ns()) {
        parts.push(format!("{}, mean {}", display::plural(count, "call"), display::duration(mean_ns)));
    }
    let layer = row.max_layer().map(|layer| format!("layer {layer}"));
    let step = if row.phase == Phase::Prefill { "chunk" } else { "token" };
    let at = row.max_at().map(|EventPlace { repetition, token }| {
        format!("repetition {}, {step} {}", u64::from(repetition) + 1, u64::from(token) + 1)
    });
    let place: Vec<_> = layer.into_iter().chain(at).collect();
    let longest = row.max_ns().filter(|_| !place.is_empty());
    parts.extend(longest.map(|ns| format!("max {} in {}", display::duration(ns), place.join(", "))));
    parts
}

fn work(row: &Row) -> Vec<String> {
    let mut parts = Vec::new();
    if let (Some(bytes), Some(rate)) = (row.bytes_per_token(), row.bytes_per_second()) {
        parts.push(format!("{} a token at {}", display::traffic(bytes), display::bytes_per_second(rate)));
    }
    if let Some(rate) = row.flops_per_second() {
        parts.push(display::flops_per_second(rate));
    }
    if let Some((share, bound)) = row.roof() {
        parts.push(match bound {
            Bound::Overhead => format!(
                "{} of its roof: neither memory nor arithmetic explains the time",
                display::rough_share(share)
            ),
            bound => format!("{} of the {} roof", display::rough_share(share), bound.as_str()),
        });
    }
    parts.extend(row.above_roof.map(|why| why.to_string()));
    parts
}

/// What a row of time outside ops is.
fn meaning(row: &Row) -> &'static str {
    match (row.level, row.name.as_str()) {
        (Level::Unattributed, _) => "time that no op, gap or named span explains",
        (_, "gap") => "at most 1 µs between two ops: the clock and the call",
        (_, "sample") => "choosing the next token from the logits",
        _ => "a named span outside the plan's ops",
    }
}

/// The roofs with their ranges and their age.
fn roofs(roofs: &Roofs) -> Vec<String> {
    if let Some(reason) = &roofs.reason {
        return vec![format!("roofs: {reason}")];
    }
    let estimate = |name: &str, estimate: Option<Estimate>, show: fn(f64) -> String| {
        let Estimate { median, low, high, .. } = estimate?;
        Some(format!("{name} {} ({} to {})", show(median), show(low), show(high)))
    };
    let known = [
        estimate("roofs: reads", roofs.read_bytes_per_s, display::bytes_per_second),
        estimate("int8", roofs.int8_ops_per_s, display::ops_per_second),
        estimate("f32", roofs.f32_flops_per_s, display::flops_per_second),
    ];
    let mut parts: Vec<_> = known.into_iter().flatten().collect();
    let threads = display::plural(u64::from(roofs.threads), "thread");
    let taken = match roofs.age_ns {
        Some(0) => "last taken after the run".to_owned(),
        age => format!("{} old when the run ended", or_absent(age, display::duration)),
    };
    parts.push(format!("with {threads}, {taken}"));
    parts
}

/// Weights, what is fused, and which kernels ran.
fn weights(sites: &[&OpSite], path: &str) -> Vec<String> {
    let Some(first) = sites.first() else { return Vec::new() };
    let mut parts = vec![format!("kernels {path}")];
    let is_one = sites.iter().all(|site| site.name == first.name);
    if is_one {
        let weight = first.weights.iter().map(|weight| {
            let [outputs, inputs] = weight.shape;
            format!("{} {} {outputs}×{inputs}", weight.tensor, weight.format.name())
        });
        parts.extend(weight);
        if !first.fuses.is_empty() {
            parts.push(format!("fuses {}", first.fuses.join(", ")));
        }
    }
    parts
}

/// How the calls that were seen are distributed, and how they grow with the context.
fn calls(data: &Data, row: &Row, palette: Palette, width: usize) -> Vec<Line<'static>> {
    let Some(calls) = data.events.calls(row.phase, &row.sites) else { return Vec::new() };
    let Some((shortest, longest, counts)) = calls.distribution() else { return Vec::new() };
    let room = width.saturating_sub(40).min(SPARK);
    let mut lines = Vec::new();
    if room >= 4 {
        let spark = spark(counts, room);
        let length = spark.len();
        lines.push(Line::from(vec![
            Span::raw(format!(
                " {} by time: {} ",
                display::plural(calls.count(), "call"),
                display::duration(shortest)
            )),
            chart::sparkline(spark.into_iter().map(Some), length, None, palette),
            Span::raw(format!(" {}", display::duration(longest))),
        ]));
    }
    let by_context = calls.by_context();
    if by_context.len() > 1 {
        let text = by_context.iter().map(|&(context, ns)| format!("{context}: {}", display::duration(ns)));
        let text = format!("mean by context from {}", text.collect::<Vec<_>>().join(", "));
        lines.extend(wrap(&text, width, 1).into_iter().map(|line| Line::from(format!(" {line}"))));
    }
    lines
}

/// `counts` in at most `room` values, neighbours added up.
fn spark(counts: &[u32], room: usize) -> Vec<f64> {
    let each = counts.len().div_ceil(room.max(1)).max(1);
    counts.chunks(each).map(|part| part.iter().map(|&count| f64::from(count)).sum()).collect()
}
