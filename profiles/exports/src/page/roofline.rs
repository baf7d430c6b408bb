//! The roofline: how many FLOPs per second ops reach by how many FLOPs they do for a byte, below what the machine can.

use std::collections::BTreeMap;
use std::fmt::Write;

use slmscope_profiles::display;
use slmscope_profiles::phase::Phase;
use slmscope_profiles::result::RunResult;
use slmscope_profiles::totals::OpTotals;

use super::MEASURED;
use super::html::{Html, escaped};

const WIDTH: f64 = 680.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 70.0;
const BOTTOM: f64 = 280.0;

/// Ops that are drawn at most, those with the most time.
const MAX_POINTS: usize = 200;

/// A logarithmic scale between two values.
struct Scale {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Scale {
    /// Whole decades around `values`; `None` without a value above 0.
    fn around(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Option<Self> {
        let (mut low, mut high) = (f64::INFINITY, 0.0_f64);
        for value in values.filter(|value| *value > 0.0 && value.is_finite()) {
            (low, high) = (low.min(value), high.max(value));
        }
        (high > 0.0).then(|| Self { low: low.log10().floor(), high: (high * 1.01).log10().ceil(), from, to })
    }

    fn at(&self, value: f64) -> f64 {
        let share = (value.log10() - self.low) / (self.high - self.low).max(1.0);
        self.from + share * (self.to - self.from)
    }

    fn decades(&self) -> impl Iterator<Item = f64> {
        (self.low as i32..=self.high as i32).map(|power| 10_f64.powi(power))
    }
}

pub(super) fn draw(html: &mut Html, result: &RunResult) {
    let roofs = &result.roofs;
    let Some(read) = roofs.read_bytes_per_s.map(|roof| roof.median).filter(|&roof| roof > 0.0) else {
        return;
    };
    let computes: Vec<(&str, f64)> = [("int8", roofs.int8_ops_per_s), ("f32", roofs.f32_flops_per_s)]
        .into_iter()
        .filter_map(|(name, roof)| Some((name, roof?.median)).filter(|&(_, roof)| roof > 0.0))
        .collect();
    let points = points(result);
    let top = computes.iter().map(|&(_, roof)| roof);
    let knees = computes.iter().map(|&(_, roof)| roof / read);
    let x = Scale::around(points.iter().map(|point| point.intensity).chain(knees), LEFT, WIDTH - 10.0);
    let y = Scale::around(points.iter().map(|point| point.rate).chain(top), BOTTOM, 20.0);
    let (Some(x), Some(y)) = (x, y) else { return };
    let mut svg = format!(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Roofline\"><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" role=\"img\" aria-label=\"Roofline: ops below what the machine can do; the numbers are in the tables of ops and roofs\">\n"
    );
    axes(&mut svg, &x, &y);
    for (name, roof) in computes {
        let (left, knee, right) = (10_f64.powf(x.low), roof / read, 10_f64.powf(x.high));
        let start = (left * read).max(10_f64.powf(y.low));
        let _ = writeln!(
            svg,
            "<polyline class=\"roof\" points=\"{:.1},{:.1} {:.1},{:.1} {:.1},{:.1}\"/><text class=\"soft\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{name} {}</text>",
            x.at(start / read),
            y.at(start),
            x.at(knee),
            y.at(roof),
            x.at(right),
            y.at(roof),
            WIDTH - 12.0,
            y.at(roof) - 5.0,
            display::flops_per_second(roof)
        );
    }
    for point in &points {
        let Point { phase, name, intensity, rate, share } = *point;
        let class = if phase == Phase::Decode { "k1" } else { "k2" };
        let what = format!(
            "{}, {name}: {}, {intensity:.1} FLOP/B, {} of the time",
            phase.as_str(),
            display::flops_per_second(rate),
            display::share(share)
        );
        let (at_x, at_y, radius) = (x.at(intensity), y.at(rate), 3.0 + 12.0 * share.clamp(0.0, 1.0).sqrt());
        let _ = writeln!(
            svg,
            "<circle class=\"{class}\" cx=\"{at_x:.1}\" cy=\"{at_y:.1}\" r=\"{radius:.1}\" fill-opacity=\"0.75\"><title>{}</title></circle>",
            escaped(&what)
        );
        // The op with the most time of its phase is named.
        if !points.iter().any(|other| other.phase == phase && other.share > share) {
            let _ = writeln!(
                svg,
                "<text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                at_x + radius + 3.0,
                at_y + 4.0,
                escaped(name)
            );
        }
    }
    svg.push_str("</svg></div>\n");
    html.raw(svg);
    html.raw(
        "<p class=\"note\"><svg width=\"12\" height=\"12\" aria-hidden=\"true\"><circle class=\"k1\" cx=\"6\" cy=\"6\" r=\"5\"/></svg> decode, \
         <svg width=\"12\" height=\"12\" aria-hidden=\"true\"><circle class=\"k2\" cx=\"6\" cy=\"6\" r=\"5\"/></svg> prefill. \
         The larger a circle, the more of its phase's time the op takes; the largest has its name. Ops without counted \
         bytes are not shown.</p>\n",
    );
}

/// An op of a phase, all layers together.
#[derive(Debug, Clone, Copy)]
struct Point<'a> {
    phase: Phase,
    name: &'a str,
    /// FLOPs for a byte.
    intensity: f64,
    /// FLOPs a second, in its own time.
    rate: f64,
    /// Of the phase's recorded time.
    share: f64,
}

fn points(result: &RunResult) -> Vec<Point<'_>> {
    let mut sums: BTreeMap<(Phase, &str), (OpTotals, f64)> = BTreeMap::new();
    for op in result.ops.iter().filter(|op| op.lane == 0 && MEASURED.contains(&op.phase)) {
        let sum = sums.entry((op.phase, op.name.as_str())).or_default();
        sum.0.add(&op.totals().totals);
        sum.1 += op.share;
    }
    let mut points = Vec::new();
    for ((phase, name), (totals, share)) in sums {
        let Some(rate) = totals.flops_per_second().filter(|_| totals.bytes > 0) else { continue };
        let intensity = totals.flops as f64 / totals.bytes as f64;
        points.push(Point { phase, name, intensity, rate, share });
    }
    points.sort_by(|a, b| b.share.total_cmp(&a.share));
    points.truncate(MAX_POINTS);
    points
}

fn axes(svg: &mut String, x: &Scale, y: &Scale) {
    let _ = writeln!(
        svg,
        "<path class=\"axis\" d=\"M{LEFT} 20V{BOTTOM}H{}\"/><text class=\"soft\" x=\"{}\" y=\"{}\" text-anchor=\"middle\">FLOP per byte</text>",
        WIDTH - 10.0,
        f64::midpoint(LEFT, WIDTH),
        HEIGHT - 6.0
    );
    for value in x.decades() {
        let at = x.at(value);
        let _ = writeln!(
            svg,
            "<text class=\"soft\" x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{value}</text>",
            BOTTOM + 15.0
        );
    }
    for value in y.decades() {
        let (at, text) = (y.at(value) + 4.0, display::flops_per_second(value));
        let text = text.replace(".00", "").replace(".0", "").replace("FLOP/s", "");
        let _ = writeln!(
            svg,
            "<text class=\"soft\" x=\"{}\" y=\"{at:.1}\" text-anchor=\"end\">{text}</text>",
            LEFT - 5.0
        );
    }
}
