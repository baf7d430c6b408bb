//! The machine on the Live screen: whether it is fit to measure on, power, heat, memory, the cost of measuring, and its
//! cores. Sources and reasons in full are on the Hardware screen.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use slmscope_profiles::channel::{Quantity, ReasonCode};
use slmscope_profiles::display::{self, ABSENT, or_absent};
use slmscope_profiles::hygiene::Grade;
use slmscope_profiles::result::Overhead;

use super::remarks::disturbances;
use crate::dashboard::channels::Track;
use crate::dashboard::data::Data;
use crate::dashboard::palette::Palette;
use crate::dashboard::state::State;
use crate::dashboard::view::table::fit;
use crate::dashboard::view::text::{Piece, pieces, wrap};
use crate::dashboard::view::{chart, heading, put, take_top};

/// Width of one core with its bar.
const CORE: usize = 24;
/// Rows of figures above the cores.
const FIGURES: u16 = 4;
/// Most rows of cores.
const CORE_ROWS: usize = 8;
/// Readings that the load of other programs is averaged over: two seconds.
const RECENT: usize = 20;

/// Rows that it would take on a screen of this width, heading included.
pub(super) fn height(data: &Data, width: u16) -> u16 {
    let across = (usize::from(width) / CORE).max(1);
    let cores = data.channels.cores().len().max(1).div_ceil(across).min(CORE_ROWS);
    1 + FIGURES + cores as u16
}

/// Draws as much as fits, the most important first.
pub(super) fn draw(state: &State, data: &Data, palette: Palette, area: Rect, buf: &mut Buffer) {
    let mut rest = area;
    if rest.height > 1 {
        let (verdict, is_fit) = fitness(data);
        let verdict = wrap(&verdict, usize::from(area.width).saturating_sub(16), 1).pop().unwrap_or_default();
        let title = format!("machine: {verdict}");
        let x = rest.x.saturating_add(2).min(rest.right());
        let place = Rect { x, width: rest.width.saturating_sub(4), height: 1, ..rest };
        heading(&title, palette, &mut rest, buf);
        if !is_fit {
            put(Line::styled(format!(" {title} "), palette.warning()), 0, place, buf);
        }
    }
    for line in figures(state, data, palette, usize::from(area.width)) {
        put(line, 0, take_top(&mut rest, 1), buf);
    }
    cores(data, palette, rest, buf);
}

/// Whether the machine is fit to measure on, in words, and whether nothing speaks against it: by what disturbs it now, else
/// by what the last result says.
fn fitness(data: &Data) -> (String, bool) {
    if let Some(disturbance) = disturbances(data).into_iter().next() {
        return (format!("disturbed, {}", disturbance.text), false);
    }
    let Some(hygiene) = data.result.as_ref().map(|result| &result.hygiene) else {
        return ("nothing disturbs it now".to_owned(), true);
    };
    let reason = || hygiene.reasons.first().map_or_else(String::new, |reason| format!(": {reason}"));
    match hygiene.grade {
        Some(Grade::Clean) => ("fit to measure on".to_owned(), true),
        Some(Grade::Fair) => (format!("nearly fit to measure on{}", reason()), false),
        Some(Grade::Poor) => (format!("not fit to measure on{}", reason()), false),
        None => ("whether it is fit to measure on is not known".to_owned(), true),
    }
}

fn cores(data: &Data, palette: Palette, area: Rect, buf: &mut Buffer) {
    let cores = data.channels.cores();
    let (width, height) = (usize::from(area.width), usize::from(area.height));
    if width == 0 || height == 0 {
        return;
    }
    if cores.is_empty() {
        let missing = data.channels.missing(&[Quantity::Cpu]);
        put(Line::styled(format!(" cores     {ABSENT} {}", why(missing)), palette.dim()), 0, area, buf);
        return;
    }
    let across = (width / CORE).max(1);
    if cores.len() > across * height {
        return dense_cores(&cores, palette, area, buf);
    }
    let column = width / across;
    let rows = cores.len().div_ceil(across);
    for row in 0..rows {
        let mut spans = Vec::new();
        // Filled column by column, so that numbers increase downwards.
        for (cpu, share) in cores.iter().skip(row).step_by(rows) {
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

fn figures(state: &State, data: &Data, palette: Palette, width: usize) -> Vec<Line<'static>> {
    let channels = &data.channels;
    let power = match channels.power() {
        Some(track) => present(track, state, palette),
        None => absent(channels.missing(&[Quantity::Power, Quantity::Energy]), palette),
    };
    let heat = match channels.hottest() {
        Some(track) => present(track, state, palette),
        None => absent(channels.missing(&[Quantity::Temperature]), palette),
    };
    let worker = match channels.by_id("mem.worker.rss") {
        Some(track) => present(track, state, palette),
        None => absent(None, palette),
    };
    let rows = [
        vec![
            ("others", others(data, palette)),
            ("clock", clock(data, palette)),
            ("throttling", throttling(data, palette)),
        ],
        vec![("power", power), ("hottest", heat)],
        vec![("worker", worker), ("free", free(data, palette))],
        vec![("overhead", overhead(data, palette)), ("daemon", daemon_cost(data, palette))],
    ];
    let line = |row: Vec<(&'static str, Piece)>| {
        let labelled = row.into_iter().enumerate().map(|(at, (label, mut piece))| {
            let label = if at == 0 { format!(" {label:<9}") } else { format!("{label} ") };
            piece.insert(0, Span::styled(label, palette.dim()));
            piece
        });
        pieces(labelled, " · ", width)
    };
    rows.into_iter().map(line).collect()
}

/// What other programs use of the CPUs; the host counts as one where it takes some.
fn others(data: &Data, palette: Palette) -> Piece {
    let track = data.channels.by_id("cpu.foreign");
    let Some(share) = track.and_then(|track| track.mean(RECENT)) else { return absent(track, palette) };
    let cores = data.channels.cores().len().max(1) as f64;
    let used = display::of_one_core(share * cores);
    let mut piece = vec![Span::styled(used, Palette::strong())];
    let steal = data.channels.by_id("cpu.steal").and_then(|track| track.mean(RECENT));
    if let Some(steal) = steal.filter(|&steal| steal >= 0.005) {
        piece.push(Span::raw(format!(", the host {}", display::share(steal * cores))));
    }
    piece
}

/// Clock of the fastest core.
fn clock(data: &Data, palette: Palette) -> Piece {
    match data.channels.fastest_clock() {
        Some(track) => {
            let hertz = or_absent(track.value(), |hertz| display::value(hertz, track.channel.unit));
            vec![Span::styled(hertz, Palette::strong())]
        }
        None => absent(data.channels.missing(&[Quantity::Frequency]), palette),
    }
}

fn throttling(data: &Data, palette: Palette) -> Piece {
    match (data.channels.throttling(), data.channels.reports_throttling()) {
        (Some(track), _) => vec![Span::styled(track.channel.id.clone(), palette.warning())],
        (None, true) => vec![Span::styled("none", Palette::strong())],
        (None, false) => vec![Span::raw(ABSENT), Span::styled(" not reported", palette.dim())],
    }
}

fn free(data: &Data, palette: Palette) -> Piece {
    let value = |id| data.channels.by_id(id).and_then(Track::value).map(|bytes| bytes as u64);
    let Some(available) = value("mem.available") else {
        return absent(data.channels.by_id("mem.available"), palette);
    };
    let of = value("mem.total").map_or_else(String::new, |total| format!(" of {}", display::bytes(total)));
    vec![Span::styled(display::bytes(available), Palette::strong()), Span::styled(of, palette.dim())]
}

/// A channel's value, scope and class.
fn present(track: &Track, state: &State, palette: Palette) -> Piece {
    let channel = &track.channel;
    let stale = track.is_stale(state.now_ns);
    let value = or_absent(track.value(), |value| display::value(value, channel.unit));
    let mut from = format!(" {}, {}", channel.scope, channel.class.as_str());
    if let Some(code) = track.absent {
        from = format!(" {code}");
    }
    let style = if stale { palette.warning() } else { Palette::strong() };
    let mut piece = vec![Span::styled(value, style)];
    if stale {
        let age = or_absent(track.age_ns(state.now_ns), display::duration);
        piece.push(Span::styled(format!(" stale for {age}"), palette.warning()));
    }
    piece.push(Span::styled(from, palette.dim()));
    piece
}

/// Why there is no value, without the particulars.
fn why(track: Option<&Track>) -> &'static str {
    let Some(track) = track else { return "no such channel" };
    let code = track.channel.reason.as_ref().map(|reason| reason.code).or(track.absent);
    code.map_or("not read yet", ReasonCode::words)
}

fn absent(track: Option<&Track>, palette: Palette) -> Piece {
    vec![Span::raw(ABSENT), Span::styled(format!(" {}", why(track)), palette.dim())]
}

/// The cost of measuring: of the last result, or as far as it is known during a run.
fn overhead(data: &Data, palette: Palette) -> Piece {
    let Some(result) = &data.result else { return stolen(data, palette) };
    let Overhead { fraction, low, high, reason, .. } = &result.overhead;
    let Some(fraction) = *fraction else {
        let reason = reason.clone().unwrap_or_default();
        return vec![Span::raw(ABSENT), Span::styled(format!(" {reason}"), palette.dim())];
    };
    let style = if fraction > 0.01 { palette.bad() } else { Palette::strong() };
    let mut piece = vec![Span::styled(display::fine_share(fraction), style)];
    if let (&Some(low), &Some(high)) = (low, high) {
        let interval = format!(" ({} to {})", display::fine_share(low), display::fine_share(high));
        piece.push(Span::styled(interval, palette.dim()));
    }
    piece
}

/// The part of the overhead that is known during a run: the daemon's CPU time divided by that of the engine's threads.
fn stolen(data: &Data, palette: Palette) -> Piece {
    let threads = data.plan.as_ref().map(|plan| plan.threads).filter(|&threads| threads > 0);
    match (data.channels.by_id("cpu.daemon").and_then(Track::value), threads) {
        (Some(cpu), Some(threads)) => vec![
            Span::styled(display::fine_share(cpu / f64::from(threads)), Palette::strong()),
            Span::styled(" so far", palette.dim()),
        ],
        _ => vec![Span::raw(ABSENT), Span::styled(" known when a run is over", palette.dim())],
    }
}

/// CPU time and memory of the daemon.
fn daemon_cost(data: &Data, palette: Palette) -> Piece {
    let cpu = data.channels.by_id("cpu.daemon").and_then(Track::value);
    let rss = data.status.as_ref().and_then(|status| status.rss);
    let mut piece = vec![Span::styled(or_absent(cpu, display::of_one_core), Palette::strong())];
    piece.extend(rss.map(|rss| Span::styled(format!(", {}", display::bytes(rss)), palette.dim())));
    if let Some(late) = data.status.as_ref().map(|status| status.late_ticks).filter(|&late| late > 0) {
        piece.push(Span::styled(format!(", {}", display::plural(late, "late tick")), palette.warning()));
    }
    piece
}
