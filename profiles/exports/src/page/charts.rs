//! Charts over time: latency of tokens, and clocks, temperatures and power beside it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use slmscope_profiles::channel::{Channel, ChannelId, Class, Quantity};
use slmscope_profiles::display;
use slmscope_profiles::job::Span;
use slmscope_profiles::phase::Phase;
use slmscope_profiles::profile::Profile;
use slmscope_profiles::stats::percentile;

use super::html::{Html, escaped};
use super::series::Series;
use super::{MAX_CHANNELS, MAX_POINTS};

/// Stretches that a chart divides its time into, about as many as it has pixels.
const STRETCHES: usize = 1_000;

/// Interruptions of a line that a chart shows.
const MAX_GAPS: usize = 400;

/// Repetitions that have a row of their own.
const MAX_REPETITIONS: usize = 60;

/// What the page's script draws.
#[derive(Debug, Default, Serialize)]
pub(super) struct Charts {
    charts: Vec<Chart>,
}

#[derive(Debug, Serialize)]
struct Chart {
    /// Of the element that it is drawn into.
    id: &'static str,
    unit: &'static str,
    series: Vec<String>,
    /// Times, s.
    x: Vec<f64>,
    /// For each series a value at every time.
    y: Vec<Vec<Point>>,
}

/// What a series has at a time that any of the chart's has.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(untagged)]
enum Point {
    Value(f64),
    /// null: it has no value then, and its line goes on.
    Absent(Option<()>),
    /// false: its line ends, and begins anew with the next value.
    Gap(bool),
}

/// A line of a chart.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) name: String,
    /// Times, ns, with their values.
    pub(super) points: Vec<(u64, f64)>,
    /// Times, ns, at which the line is interrupted.
    pub(super) gaps: Vec<u64>,
}

impl Line {
    /// The same with times since `first_ns`; gaps before that are left out.
    pub(super) fn since(mut self, first_ns: u64) -> Self {
        self.gaps.retain(|&t_ns| t_ns >= first_ns);
        let times = self.points.iter_mut().map(|point| &mut point.0).chain(&mut self.gaps);
        times.for_each(|t_ns| *t_ns = t_ns.saturating_sub(first_ns));
        self
    }
}

impl Chart {
    fn new(id: &'static str, unit: &'static str, lines: &[Line], origin_ns: u64) -> Self {
        let of_line = |line: &Line| -> BTreeMap<u64, Point> {
            let values = line.points.iter().map(|&(t_ns, value)| (t_ns, Point::Value(rounded(value))));
            line.gaps.iter().map(|&t_ns| (t_ns, Point::Gap(false))).chain(values).collect()
        };
        let known: Vec<BTreeMap<u64, Point>> = lines.iter().map(of_line).collect();
        let times: BTreeSet<u64> = known.iter().flat_map(|line| line.keys().copied()).collect();
        let column = |line: &BTreeMap<u64, Point>| {
            times.iter().map(|t_ns| line.get(t_ns).copied().unwrap_or(Point::Absent(None))).collect()
        };
        let seconds = |&t_ns: &u64| (t_ns as f64 - origin_ns as f64) / 1e9;
        let x = times.iter().map(|t_ns| (seconds(t_ns) * 1e6).round() / 1e6).collect();
        let y = known.iter().map(column).collect();
        Self { id, unit, series: lines.iter().map(|line| line.name.clone()).collect(), x, y }
    }
}

/// Five digits, which is more than a chart shows.
fn rounded(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let scale = 10_f64.powi(4 - value.abs().log10().floor() as i32);
    let rounded = (value * scale).round() / scale;
    if rounded.is_finite() { rounded } else { value }
}

/// The section of charts over time, and what they show.
pub(super) fn over_time(
    html: &mut Html,
    profile: &Profile,
    channels: &BTreeMap<ChannelId, (Channel, Series)>,
    origin_ns: u64,
) -> Charts {
    html.section("tokens", "Tokens over time");
    let mut charts = Charts::default();
    latency(html, profile, origin_ns, &mut charts);
    for (quantity, id, title, unit, scale) in [
        (Quantity::Frequency, "clocks", "Clocks", "GHz", 1e-9),
        (Quantity::Temperature, "temperatures", "Temperatures", "°C", 1.0),
        (Quantity::Power, "power", "Power", "W", 1.0),
    ] {
        html.raw(format_args!("<h3>{title}</h3>\n"));
        let of_quantity: Vec<_> =
            channels.values().filter(|(channel, _)| channel.quantity == quantity).collect();
        if of_quantity.is_empty() {
            html.paragraph(
                "note",
                "— no reading in the recording; `slmscope doctor` says why this machine has none.",
            );
            continue;
        }
        let shown = of_quantity.iter().take(MAX_CHANNELS);
        let line = |(channel, series): &(Channel, Series)| {
            let points = series.thinned(STRETCHES).into_iter().map(|(t_ns, value)| (t_ns, value * scale));
            Line { name: channel.id.clone(), points: points.collect(), gaps: Vec::new() }
        };
        let lines: Vec<Line> = shown.map(|channel| line(channel)).collect();
        table(html, title, unit, &of_quantity, scale);
        chart(html, &mut charts, Chart::new(id, unit, &lines, origin_ns), title);
    }
    charts
}

/// A chart's place, with what it is for those who do not see it.
fn chart(html: &mut Html, charts: &mut Charts, chart: Chart, title: &str) {
    let (id, unit) = (chart.id, chart.unit);
    let label = escaped(&format!("{title} over time, {unit}; the numbers are in the table beside it"));
    html.raw(format_args!("<div class=\"chart\" id=\"{id}\" role=\"img\" aria-label=\"{label}\"></div>\n"));
    charts.charts.push(chart);
}

fn table(html: &mut Html, title: &str, unit: &str, channels: &[&(Channel, Series)], scale: f64) {
    let rows: Vec<Vec<String>> = channels
        .iter()
        .map(|(channel, series)| {
            let points = series.thinned(MAX_POINTS);
            let fold = |pick: fn(f64, f64) -> f64| points.iter().map(|point| point.1 * scale).reduce(pick);
            let show = |value: Option<f64>| display::or_absent(value, display::significant);
            let last = points.last().map(|point| point.1 * scale);
            let class = if channel.class == Class::Derived { "derived" } else { channel.class.as_str() };
            vec![channel.id.clone(), show(fold(f64::min)), show(fold(f64::max)), show(last), class.to_owned()]
        })
        .collect();
    let columns = [("channel", true), ("least", false), ("most", false), ("last", false), ("class", true)];
    let more = channels.len().saturating_sub(MAX_CHANNELS);
    let more = if more > 0 { format!("; the chart shows the first {MAX_CHANNELS}") } else { String::new() };
    html.table(&format!("{title}, {unit}{more}"), &columns, &rows);
}

/// The time of every decode step by when it ended (CLOCK_MONOTONIC ns), in ms, thinned; interrupted where a repetition
/// begins.
pub(super) fn step_times(name: &str, profile: &Profile) -> Line {
    let mut series = Series::new(MAX_POINTS * 8);
    let mut gaps = Vec::new();
    for span in profile.spans().iter().filter(|span| span.phase == Phase::Decode) {
        for (end_ns, ns) in steps(span) {
            series.push(end_ns, ns as f64 / 1e6);
        }
        gaps.push(span.begin_ns);
    }
    // Of very many repetitions a chart could not show where one ends.
    gaps.truncate(if gaps.len() > MAX_GAPS { 0 } else { MAX_GAPS });
    Line { name: name.to_owned(), points: series.thinned(STRETCHES), gaps }
}

/// End and time of every step, ns.
fn steps(span: &Span) -> impl Iterator<Item = (u64, u64)> {
    let begins = std::iter::once(&span.begin_ns).chain(&span.token_ends_ns);
    span.token_ends_ns.iter().zip(begins).map(|(&end, &begin)| (end, end.saturating_sub(begin)))
}

/// Time of each decode step.
fn latency(html: &mut Html, profile: &Profile, origin_ns: u64, charts: &mut Charts) {
    let mut rows = Vec::new();
    let decodes = profile.spans().iter().filter(|span| span.phase == Phase::Decode);
    for (number, span) in decodes.enumerate().take(MAX_REPETITIONS) {
        let mut times: Vec<u64> = steps(span).map(|(_, ns)| ns).collect();
        let slowest = times.iter().enumerate().max_by_key(|&(_, ns)| ns).map(|(at, _)| at.to_string());
        let mut at = |q| display::or_absent(percentile(&mut times, q), |ns| display::milliseconds(ns as f64));
        rows.push(vec![
            number.to_string(),
            span.tokens.to_string(),
            at(0.5),
            at(0.95),
            at(0.99),
            at(1.0),
            slowest.unwrap_or_else(|| display::ABSENT.to_owned()),
        ]);
    }
    if rows.is_empty() {
        html.paragraph("note", "— nothing was decoded.");
        return;
    }
    let title = "Time of each decode step";
    chart_of_steps(html, charts, &[step_times("ms per token", profile)], origin_ns, title);
    let columns = [
        ("repetition", false),
        ("steps", false),
        ("p50", false),
        ("p95", false),
        ("p99", false),
        ("longest", false),
        ("at token", false),
    ];
    let more = profile.spans().iter().filter(|span| span.phase == Phase::Decode).count() - rows.len();
    let more = if more > 0 { format!("; {more} more are in the chart alone") } else { String::new() };
    html.table(&format!("Time of a decode step, ms (measured){more}"), &columns, &rows);
}

/// The chart of decode steps, of one run or of several beside each other.
pub(super) fn chart_of_steps(
    html: &mut Html,
    charts: &mut Charts,
    lines: &[Line],
    origin_ns: u64,
    title: &str,
) {
    chart(html, charts, Chart::new("latency", "ms", lines, origin_ns), title);
}
