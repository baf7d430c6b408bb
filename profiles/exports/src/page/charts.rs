//! Charts over time: latency of tokens, and clocks, temperatures and power beside it.

use std::collections::BTreeMap;

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
    /// For each series a value at every time; null where it has none then.
    y: Vec<Vec<Option<f64>>>,
}

impl Chart {
    fn new(
        id: &'static str,
        unit: &'static str,
        series: Vec<(String, Vec<(u64, f64)>)>,
        origin_ns: u64,
    ) -> Self {
        let mut times: Vec<u64> =
            series.iter().flat_map(|(_, points)| points.iter().map(|&(t_ns, _)| t_ns)).collect();
        times.sort_unstable();
        times.dedup();
        let column = |points: &[(u64, f64)]| {
            let known: BTreeMap<u64, f64> = points.iter().copied().collect();
            times.iter().map(|t_ns| known.get(t_ns).map(|&value| rounded(value))).collect()
        };
        let seconds = |&t_ns: &u64| (t_ns as f64 - origin_ns as f64) / 1e9;
        let x = times.iter().map(|t_ns| (seconds(t_ns) * 1e6).round() / 1e6).collect();
        let y = series.iter().map(|(_, points)| column(points)).collect();
        Self { id, unit, series: series.into_iter().map(|(name, _)| name).collect(), x, y }
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
        let series = shown.map(|(channel, series)| {
            let points = series.thinned(STRETCHES).into_iter().map(|(t_ns, value)| (t_ns, value * scale));
            (channel.id.clone(), points.collect::<Vec<_>>())
        });
        let series: Vec<_> = series.collect();
        table(html, title, unit, &of_quantity, scale);
        chart(html, &mut charts, Chart::new(id, unit, series, origin_ns), title);
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

/// The time of every decode step by when it ended (CLOCK_MONOTONIC ns), in ms, thinned.
pub(super) fn step_times(profile: &Profile) -> Vec<(u64, f64)> {
    let mut series = Series::new(MAX_POINTS * 8);
    for span in profile.spans().iter().filter(|span| span.phase == Phase::Decode) {
        for (end_ns, ns) in steps(span) {
            series.push(end_ns, ns as f64 / 1e6);
        }
    }
    series.thinned(STRETCHES)
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
    chart_of_steps(html, charts, vec![("ms per token".to_owned(), step_times(profile))], origin_ns, title);
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
    series: Vec<(String, Vec<(u64, f64)>)>,
    origin_ns: u64,
    title: &str,
) {
    chart(html, charts, Chart::new("latency", "ms", series, origin_ns), title);
}
