//! How fast it is, and what keeps it from being faster.

use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use slmscope_profiles::display::{self, or_absent};
use slmscope_profiles::op::Phase;
use slmscope_profiles::record::PlanRecord;
use slmscope_profiles::roofline::{Bound, RoofBound};

use crate::dashboard::data::Data;
use crate::dashboard::palette::Palette;
use crate::dashboard::totals::PhaseSum;
use crate::dashboard::view::table::fit;
use crate::dashboard::view::text::pieces;
use crate::dashboard::view::{chart, put};

/// Rows.
pub(super) const HEIGHT: u16 = 3;
/// Most columns of the sparkline.
const SPARK: usize = 48;

/// Draws a row for each phase, and one for the times of single steps.
pub(super) fn draw(data: &Data, palette: Palette, area: Rect, buf: &mut Buffer) {
    let width = usize::from(area.width);
    for (row, phase) in [Phase::Decode, Phase::Prefill].into_iter().enumerate() {
        put(rates(data, phase, palette, width), row, area, buf);
    }
    put(token_times(data, palette, width), 2, area, buf);
}

fn rates(data: &Data, phase: Phase, palette: Palette, width: usize) -> Line<'static> {
    let sum = data.totals.phase(phase);
    let (now, whole) = (sum.map(PhaseSum::recent), sum.map(PhaseSum::whole));
    let number = |value: Option<f64>| or_absent(value, display::significant);
    let style = if data.totals.last_phase == Some(phase) { Palette::strong() } else { palette.dim() };
    let rate = number(now.and_then(|work| work.rows_per_second()));
    let mean = number(whole.and_then(|work| work.rows_per_second()));
    let bytes = or_absent(now.and_then(|work| work.bytes_per_second()), display::bytes_per_second);
    let flops = or_absent(now.and_then(|work| work.flops_per_second()), display::flops_per_second);
    let mut parts = vec![
        vec![
            Span::styled(format!(" {:<8}", phase.as_str()), style),
            Span::styled(fit(&rate, 7, true), Palette::strong()),
            Span::styled(" tok/s now,", palette.dim()),
            Span::raw(fit(&mean, 6, true)),
            Span::styled(" in all", palette.dim()),
        ],
        vec![Span::raw(fit(&bytes, 10, true))],
        vec![Span::styled(fit(&bound(data, phase), 23, false), Palette::strong())],
        vec![Span::raw(fit(&flops, 12, true))],
    ];
    let ttft = data.result.as_ref().and_then(|result| result.summary.ttft_ns);
    let ttft = ttft.filter(|_| phase == Phase::Prefill);
    parts.extend(ttft.map(|ns| vec![Span::raw(format!("first token after {}", display::duration(ns)))]));
    pieces(parts, "  ", width)
}

/// What keeps a phase from being faster, in words: which roof its work is nearer to, and how near the whole phase is.
fn bound(data: &Data, phase: Phase) -> String {
    let Some(plan) = &data.plan else { return String::new() };
    let Some(sum) = data.totals.phase(phase).filter(|sum| sum.books.wall_ns > 0) else {
        return String::new();
    };
    match reached(plan, sum) {
        _ if plan.roofs.read_bytes_per_s.is_none() => "roofs not measured yet".to_owned(),
        None => String::new(),
        Some((share, Bound::Overhead)) => format!("bound by waits ({})", display::rough_share(share)),
        Some((share, bound)) => format!("bound by {} ({})", bound.as_str(), display::rough_share(share)),
    }
}

/// What bounds a phase; `None` where that is not known.
pub(super) fn bound_of(data: &Data, phase: Phase) -> Option<Bound> {
    let sum = data.totals.phase(phase).filter(|sum| sum.books.wall_ns > 0)?;
    Some(reached(data.plan.as_ref()?, sum)?.1)
}

/// Share of the roofs that a phase reached over its wall time, and which of them bounds it.
fn reached(plan: &PlanRecord, sum: &PhaseSum) -> Option<(f64, Bound)> {
    let mut least = RoofBound::default();
    for totals in &sum.sites {
        let Some(site) = plan.sites.get(usize::from(totals.site)) else { continue };
        if let Some(bound) = plan.roofs.bound(site, totals.totals.bytes, totals.totals.flops) {
            least.add(bound);
        }
    }
    Some((least.share(sum.books.wall_ns)?, least.bound(sum.books.wall_ns)?))
}

fn token_times(data: &Data, palette: Palette, width: usize) -> Line<'static> {
    let found = data.totals.percentiles();
    let time = |at: usize| or_absent(found, |(values, _)| display::duration(values[at]));
    let figure = |name: &'static str, value: String| {
        vec![
            Span::styled(format!("{name} "), palette.dim()),
            Span::styled(fit(&value, 7, false), Palette::strong()),
        ]
    };
    let mut first = vec![Span::styled(" a token ", Palette::strong())];
    first.extend(figure("median", time(0)));
    let mut parts = vec![first, figure("p95", time(1)), figure("p99", time(2))];
    if let Some((_, count)) = found {
        parts.push(vec![Span::styled(format!("last {count}"), palette.dim())]);
    }
    let used = pieces(parts.clone(), " ", width).width();
    let room = width.saturating_sub(used + 3).min(SPARK);
    let tokens = data.totals.tokens().map(|token| token.map(|ns| Duration::from_nanos(ns).as_secs_f64()));
    if room >= 8 && found.is_some() {
        parts.push(vec![chart::sparkline(tokens, room, None, palette)]);
    }
    pieces(parts, " ", width)
}
