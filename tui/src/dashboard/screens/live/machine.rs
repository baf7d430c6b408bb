//! The machine on the Live screen: cores, power, temperature, memory, and the cost of measuring.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use slmscope_profiles::channel::Quantity;
use slmscope_profiles::display::{self, ABSENT, or_absent};

use crate::dashboard::channels::Track;
use crate::dashboard::palette::Palette;
use crate::dashboard::state::{Data, State};
use crate::dashboard::view::table::fit;
use crate::dashboard::view::{chart, heading, put};

/// Width of one core with its bar.
const CORE: usize = 24;
/// Rows of figures beside the cores.
const FIGURES: u16 = 5;
/// Narrower screens show no cores.
const MIN_WIDTH_FOR_CORES: u16 = 60;

/// Rows that cores and figures need, heading included.
pub(super) fn height(cores: usize, area: Rect) -> u16 {
    let across = usize::from(area.width / 2 / CORE as u16).max(1);
    let most = if area.height > 30 { 12 } else { FIGURES };
    1 + (cores.div_ceil(across).min(usize::from(most)) as u16).max(FIGURES)
}

/// Draws cores left and figures right.
pub(super) fn draw(state: &State, data: &Data, palette: Palette, area: Rect, buf: &mut Buffer) {
    let mut rest = area;
    heading("machine", palette, &mut rest, buf);
    let left = if rest.width >= MIN_WIDTH_FOR_CORES { rest.width / 2 - 10 } else { 0 };
    cores(data, palette, Rect { width: left, ..rest }, buf);
    let right = Rect { x: rest.x + left, width: rest.width - left, ..rest };
    for (row, line) in figures(state, data, palette).into_iter().enumerate() {
        put(line, row, right, buf);
    }
}

fn cores(data: &Data, palette: Palette, area: Rect, buf: &mut Buffer) {
    let cores = data.channels.cores();
    let (width, height) = (usize::from(area.width), usize::from(area.height));
    if width == 0 || height == 0 {
        return;
    }
    if cores.is_empty() {
        let reason = data.channels.missing(&[Quantity::Cpu]).and_then(|track| track.channel.reason.as_ref());
        let text = or_absent(reason, ToString::to_string);
        put(Line::styled(format!(" cores {text}"), palette.dim()), 0, area, buf);
        return;
    }
    let across = (width / CORE).max(1);
    if cores.len() > across * height {
        return dense_cores(&cores, palette, area, buf);
    }
    let column = width / across;
    for row in 0..height {
        let mut spans = Vec::new();
        // Filled column by column, so that numbers increase downwards.
        for (cpu, share) in cores.iter().skip(row).step_by(height) {
            let figure = or_absent(*share, display::rough_share);
            spans.push(Span::raw(fit(&format!(" cpu{cpu}"), 7, false)));
            spans.extend(chart::gauge(*share, column.saturating_sub(14), palette.curve(), palette));
            spans.push(Span::raw(fit(&figure, 6, true) + " "));
        }
        put(Line::from(spans), row, area, buf);
    }
}

/// Many cores: one glyph each.
fn dense_cores(cores: &[(u32, Option<f64>)], palette: Palette, area: Rect, buf: &mut Buffer) {
    let known: Vec<_> = cores.iter().filter_map(|&(_, share)| share).collect();
    let mean = (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64);
    let text = format!(" {} cores, mean {}", cores.len(), or_absent(mean, display::share));
    put(Line::from(text), 0, area, buf);
    let width = usize::from(area.width).saturating_sub(2).max(1);
    for (row, chunk) in cores.chunks(width).enumerate() {
        let shares = chunk.iter().map(|&(_, share)| share);
        let line =
            Line::from(vec![Span::raw(" "), chart::sparkline(shares, chunk.len(), Some(1.0), palette)]);
        put(line, row + 1, area, buf);
    }
}

fn figures(state: &State, data: &Data, palette: Palette) -> Vec<Line<'static>> {
    let channels = &data.channels;
    let power = match channels.power() {
        Some(track) => present(track, state, palette),
        None => absent(channels.missing(&[Quantity::Power, Quantity::Energy]), palette),
    };
    let heat = match channels.hottest() {
        Some(track) => present(track, state, palette),
        None => absent(channels.missing(&[Quantity::Temperature]), palette),
    };
    let memory = match channels.by_id("mem.worker.rss") {
        Some(track) => present(track, state, palette),
        None => absent(None, palette),
    };
    let labelled = |label: &str, mut spans: Vec<Span<'static>>| {
        spans.insert(0, Span::styled(format!(" {label:<9}"), palette.dim()));
        Line::from(spans)
    };
    vec![
        labelled("power", power),
        labelled("hottest", heat),
        labelled("worker", memory),
        labelled("overhead", overhead(data, palette)),
        labelled("daemon", daemon_cost(data, palette)),
    ]
}

/// A channel's value, scope and class.
fn present(track: &Track, state: &State, palette: Palette) -> Vec<Span<'static>> {
    let channel = &track.channel;
    let stale = track.is_stale(state.now_ns);
    let value = or_absent(track.value(), |value| display::value(value, channel.unit));
    let mut from = format!(" {}, {} ({})", channel.scope, channel.class.as_str(), channel.id);
    if let Some(code) = track.absent {
        from = format!(" {code} ({})", channel.id);
    }
    let style = if stale { palette.warning() } else { Palette::strong() };
    let mut spans = vec![Span::styled(value, style)];
    if stale {
        let age = or_absent(track.age_ns(state.now_ns), display::duration);
        spans.push(Span::styled(format!(" stale for {age}"), palette.warning()));
    }
    spans.push(Span::styled(from, palette.dim()));
    spans
}

fn absent(track: Option<&Track>, palette: Palette) -> Vec<Span<'static>> {
    let reason = track.and_then(|track| track.channel.reason.as_ref());
    let reason = reason.map_or_else(|| "no such channel".to_owned(), ToString::to_string);
    vec![Span::raw(ABSENT), Span::styled(format!(" {reason}"), palette.dim())]
}

/// The cost of measuring: of the last result, or as far as it is known during a run.
fn overhead(data: &Data, palette: Palette) -> Vec<Span<'static>> {
    let Some(overhead) = &data.overhead else { return stolen(data, palette) };
    let Some(fraction) = overhead.fraction else {
        let reason = overhead.reason.clone().unwrap_or_default();
        return vec![Span::raw(ABSENT), Span::styled(format!(" {reason}"), palette.dim())];
    };
    let style = if fraction > 0.01 { palette.bad() } else { Palette::strong() };
    let mut spans = vec![Span::styled(display::fine_share(fraction), style)];
    if let (Some(low), Some(high)) = (overhead.low, overhead.high) {
        let interval = format!(" {} to {}, derived", display::fine_share(low), display::fine_share(high));
        spans.push(Span::styled(interval, palette.dim()));
    }
    spans
}

/// The part of the overhead that is known during a run: the daemon's CPU time divided by that of the engine's threads.
fn stolen(data: &Data, palette: Palette) -> Vec<Span<'static>> {
    let cpu = data.channels.by_id("cpu.daemon").and_then(Track::value);
    let threads = data.plan.as_ref().map(|plan| plan.threads).filter(|&threads| threads > 0);
    match (cpu, threads) {
        (Some(cpu), Some(threads)) if data.is_busy() => vec![
            Span::styled(display::fine_share(cpu / f64::from(threads)), Palette::strong()),
            Span::styled(" so far: the daemon's CPU time, derived", palette.dim()),
        ],
        _ => vec![Span::raw(ABSENT), Span::styled(" known when a run is over", palette.dim())],
    }
}

/// CPU time and memory of the daemon.
fn daemon_cost(data: &Data, palette: Palette) -> Vec<Span<'static>> {
    let cpu = data.channels.by_id("cpu.daemon").and_then(Track::value);
    let rss = data.status.as_ref().and_then(|status| status.rss);
    let mut spans = vec![
        Span::styled(or_absent(cpu, display::share), Palette::strong()),
        Span::styled(format!(" of a core, {}", or_absent(rss, display::bytes)), palette.dim()),
    ];
    if let Some(late) = data.status.as_ref().map(|status| status.late_ticks).filter(|&late| late > 0) {
        spans.push(Span::styled(format!(", {late} late ticks"), palette.warning()));
    }
    spans
}
