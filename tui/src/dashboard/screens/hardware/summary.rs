//! The summary above the channels: what a person asks first of a machine, with its range in the last minute.

use ratatui::text::{Line, Span};
use slmscope_profiles::channel::{Quantity, ReasonCode};
use slmscope_profiles::display::{self, ABSENT, or_absent};

use crate::dashboard::channels::Track;
use crate::dashboard::palette::Palette;
use crate::dashboard::state::State;
use crate::dashboard::view::chart;
use crate::dashboard::view::table::fit;
use crate::dashboard::view::text::wrap;

/// Widths of a label, a value and a range.
const WIDTHS: [usize; 3] = [14, 11, 30];
/// Longest curve.
const SPARK: usize = 60;

/// One row: its label, its channel, and the families that say why there is none.
type Subject<'a> = (&'static str, Option<&'a Track>, &'static [Quantity]);

/// Its lines.
pub(super) fn lines(state: &State, palette: Palette, width: u16) -> Vec<Line<'static>> {
    let channels = &state.shown().channels;
    let subjects: [Subject<'_>; 6] = [
        ("power", channels.power(), &[Quantity::Power, Quantity::Energy]),
        ("hottest", channels.hottest(), &[Quantity::Temperature]),
        ("fastest clock", channels.fastest_clock(), &[Quantity::Frequency]),
        ("battery gives", channels.by_id("power.battery"), &[]),
        ("free memory", channels.by_id("mem.available"), &[Quantity::Memory]),
        ("other programs", channels.by_id("cpu.foreign"), &[Quantity::Cpu]),
    ];
    let mut lines = Vec::new();
    for (label, track, families) in subjects {
        match track.filter(|track| track.channel.reason.is_none()) {
            Some(track) => lines.push(present(label, track, state, palette, width)),
            // A machine without a battery is no surprise.
            None if families.is_empty() => {}
            None => lines.push(absent(label, channels.missing(families), palette, width)),
        }
    }
    let throttling = match (channels.throttling(), channels.reports_throttling()) {
        (Some(track), _) => format!("{}: now, or in the last seconds", track.channel.id),
        (None, true) => "none".to_owned(),
        (None, false) => format!("{ABSENT} no channel of this machine reports it"),
    };
    lines.push(Line::from(format!("{}  {throttling}", fit(" throttling", WIDTHS[0] + 1, false))));
    lines
}

fn present(label: &str, track: &Track, state: &State, palette: Palette, width: u16) -> Line<'static> {
    let unit = track.channel.unit;
    let factor = state.shown().channels.factor(&track.channel);
    let show = |value: f64| display::value(value * factor, unit);
    let value = or_absent(track.value(), show);
    let style = if track.is_stale(state.now_ns) { palette.warning() } else { Palette::strong() };
    let (low, high) = track
        .values()
        .flatten()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    let range = if low <= high {
        let basis = if track.channel.quantity == Quantity::Cpu { " of one core" } else { "" };
        format!("{} to {}{basis}", show(low), show(high))
    } else {
        String::new()
    };
    let room = usize::from(width).saturating_sub(WIDTHS.iter().sum::<usize>() + 6).min(SPARK);
    Line::from(vec![
        Span::raw(fit(&format!(" {label}"), WIDTHS[0] + 1, false)),
        Span::styled(fit(&value, WIDTHS[1], true), style),
        Span::styled(fit(&format!("  {range}"), WIDTHS[2] + 2, false), palette.dim()),
        chart::sparkline(track.values(), room, None, palette),
    ])
}

fn absent(label: &str, track: Option<&Track>, palette: Palette, width: u16) -> Line<'static> {
    let code =
        track.and_then(|track| track.channel.reason.as_ref().map(|reason| reason.code).or(track.absent));
    let why = code.map_or("no such channel", ReasonCode::words);
    let room = usize::from(width).saturating_sub(WIDTHS[0] + 6);
    let why = wrap(why, room, 1).pop().unwrap_or_default();
    Line::from(vec![
        Span::raw(fit(&format!(" {label}"), WIDTHS[0] + 1, false)),
        Span::styled(format!("  {ABSENT} {why}"), palette.dim()),
    ])
}
