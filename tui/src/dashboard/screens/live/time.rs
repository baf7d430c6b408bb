//! Where the time goes: shares of the parts of decode and of prefill, side by side.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use slmscope_profiles::above_roof::AboveRoof;
use slmscope_profiles::display::{self, or_absent};
use slmscope_profiles::op::Phase;
use slmscope_profiles::totals::GroupTotals;

use super::parts::{Part, UNATTRIBUTED, parts};
use crate::dashboard::data::Data;
use crate::dashboard::mark::Mark;
use crate::dashboard::palette::Palette;
use crate::dashboard::screens::ops::columns::reached;
use crate::dashboard::screens::ops::view::UNATTRIBUTED_LIMIT;
use crate::dashboard::state::State;
use crate::dashboard::totals::{LaneTotals, PhaseSum};
use crate::dashboard::view::table::fit;
use crate::dashboard::view::text::pieces;
use crate::dashboard::view::{heading, put, take_top};

/// Width of the parts' names.
const NAME: usize = 23;
/// Width of a share, of a time, and of how near the roof it is.
const FIGURES: [usize; 3] = [7, 8, 13];
/// Number of the colour of unattributed time.
const UNATTRIBUTED_COLOUR: usize = 6;
/// Longest bar.
const BAR: usize = 40;

/// Widths of what a row holds; what is 0 is left out.
struct Widths {
    time: usize,
    bar: usize,
    roof: usize,
    prefill: usize,
    prefill_bar: usize,
}

impl Widths {
    /// For rows of `width`: on a narrow screen the bars go first, then the roof, then prefill.
    fn of(width: usize) -> Self {
        let [share, time, roof] = FIGURES;
        let base = 1 + NAME + share;
        let mut left = width.saturating_sub(base);
        let mut take = |wanted: usize| {
            let taken = if left > wanted { wanted } else { 0 };
            left -= taken + usize::from(taken > 0);
            taken
        };
        let (prefill, time, roof) = (take(share), take(time), take(roof));
        let bars = if left >= 8 { left - 2 } else { 0 };
        let prefill_bar = (bars * 2 / 5).min(BAR);
        Self { time, bar: (bars - prefill_bar).min(BAR), roof, prefill, prefill_bar }
    }
}

/// Rows that it needs, heading included.
pub(super) fn height(state: &State, data: &Data) -> u16 {
    let parts = parts(data.plan.as_ref(), &PhaseSum::default()).len();
    let further = data.totals.lanes().len() + usize::from(state.mark.is_some());
    (parts + further) as u16 + 1
}

/// Draws the table. Parts are in a fixed order, so that figures do not change places.
pub(super) fn draw(state: &State, data: &Data, palette: Palette, area: Rect, buf: &mut Buffer) {
    let mut rest = area;
    let widths = Widths::of(usize::from(area.width));
    let title_row = area;
    heading("where the time goes", palette, &mut rest, buf);
    titles(&widths, title_row, buf);
    let sums =
        [Phase::Decode, Phase::Prefill].map(|phase| data.totals.phase(phase).cloned().unwrap_or_default());
    let [decode, prefill] = [0, 1].map(|at: usize| parts(data.plan.as_ref(), &sums[at]));
    for (index, (decode, prefill)) in decode.iter().zip(&prefill).enumerate() {
        let line = line(data, index, [decode, prefill], &sums, &widths, palette);
        put(line, 0, take_top(&mut rest, 1), buf);
    }
    let room = usize::from(area.width);
    for lane in data.totals.lanes() {
        put(lane_line(data, lane, palette, room), 0, take_top(&mut rest, 1), buf);
    }
    if let Some(mark) = &state.mark {
        put(marked_line(data, mark, &sums[0], palette), 0, take_top(&mut rest, 1), buf);
    }
}

/// The name of a row, a share and a time, in the columns of the parts.
fn figures(name: &str, share: Option<f64>, per_step: Option<u64>) -> Vec<Span<'static>> {
    vec![
        Span::raw(fit(&format!(" {name}"), 1 + NAME, false)),
        Span::raw(fit(&or_absent(share, display::share), FIGURES[0], true)),
        Span::raw(fit(&or_absent(per_step, display::duration), FIGURES[1] + 1, true)),
    ]
}

/// What a lane beside the host's, such as a device, was busy with while the host waited.
fn lane_line(data: &Data, lane: &LaneTotals, palette: Palette, width: usize) -> Line<'static> {
    let of = |phase| lane.phase(phase).filter(|sum| sum.books.wall_ns > 0);
    let phase = if of(Phase::Decode).is_some() { Phase::Decode } else { Phase::Prefill };
    let name = data.plan.as_ref().and_then(|plan| plan.lane(lane.lane)).map_or("", |lane| lane.name.as_str());
    let label = format!("lane {} {name}", lane.lane);
    let (Some(sum), Some(host)) = (of(phase), data.totals.phase(phase)) else {
        return Line::from(figures(&label, None, None));
    };
    let host_ns = host.books.wall_ns;
    let share = (host_ns > 0).then(|| sum.books.ops_ns as f64 / host_ns as f64);
    let mut line = Line::from(figures(&label, share, sum.books.ops_ns.checked_div(sum.rows)));
    let mut parts = parts(data.plan.as_ref(), sum);
    parts.retain(|part| part.ns() > 0 && part.name != UNATTRIBUTED);
    parts.sort_by_key(|part| std::cmp::Reverse(part.ns()));
    let busy = parts.iter().map(|part| {
        let share = part.ns() as f64 / sum.books.wall_ns as f64;
        vec![Span::styled(format!("{} {}", part.name, display::share(share)), palette.dim())]
    });
    let busy = std::iter::once(vec![Span::styled(" busy:", palette.dim())]).chain(busy);
    line.extend(pieces(busy, " ", width.saturating_sub(line.width())).spans);
    line
}

/// The marked op in decode.
fn marked_line(data: &Data, mark: &Mark, decode: &PhaseSum, palette: Palette) -> Line<'static> {
    let mut group = GroupTotals::default();
    let plan = data.plan.as_ref();
    for totals in &decode.sites {
        let site = plan.and_then(|plan| plan.sites.get(usize::from(totals.site)));
        if let (Some(plan), Some(site)) = (plan, site.filter(|site| mark.is(site))) {
            group.add_site(site, &totals.totals, Some(&plan.roofs));
        }
    }
    let ns = group.totals.time_ns;
    let share = (decode.books.wall_ns > 0).then(|| ns as f64 / decode.books.wall_ns as f64);
    let mut spans = figures(&format!("> {}", mark.name), share, ns.checked_div(decode.rows));
    let roof = group.roof().map_or_else(String::new, |found| format!(", {} roof", reached(found, None)));
    spans.push(Span::styled(format!(" marked: x on Ops takes it away{roof}"), palette.dim()));
    Line::from(spans)
}

fn titles(widths: &Widths, area: Rect, buf: &mut Buffer) {
    let mut at = 1 + NAME as u16;
    let mut title = |text: &str, width: usize, gap: usize| {
        let start = at + (width as u16).saturating_sub(text.chars().count() as u16 + 2);
        at += (width + gap) as u16;
        if width > 0 && start < area.width {
            let place = Rect { x: area.x + start, width: area.width - start, ..area };
            put(Line::styled(format!(" {text} "), Palette::strong()), 0, Rect { height: 1, ..place }, buf);
        }
    };
    title("decode", FIGURES[0] + 1, 0);
    title("a token", widths.time, usize::from(widths.bar > 0));
    title("", 0, widths.bar + 1);
    title("of roof", widths.roof, 1);
    title("prefill", widths.prefill + 1, 0);
}

fn line(
    data: &Data,
    index: usize,
    [decode, prefill]: [&Part; 2],
    sums: &[PhaseSum; 2],
    widths: &Widths,
    palette: Palette,
) -> Line<'static> {
    let (part_style, filling) =
        palette.part(if decode.name == UNATTRIBUTED { UNATTRIBUTED_COLOUR } else { index });
    let share = |part: &Part, sum: &PhaseSum| {
        (sum.books.wall_ns > 0).then(|| part.ns() as f64 / sum.books.wall_ns as f64)
    };
    let style = |share: Option<f64>| {
        let broken = decode.name == UNATTRIBUTED && share.is_some_and(|share| share > UNATTRIBUTED_LIMIT);
        if broken { palette.bad() } else { Style::new() }
    };
    let bar = |share: Option<f64>, width: usize| {
        let full = (share.unwrap_or(0.0).clamp(0.0, 1.0) * width as f64).round() as usize;
        Span::styled(fit(&filling.repeat(full), width, false), part_style)
    };
    let shares = [share(decode, &sums[0]), share(prefill, &sums[1])];
    let text = |share: Option<f64>, width| {
        Span::styled(fit(&or_absent(share, display::share), width, true), style(share))
    };
    let mut spans =
        vec![Span::raw(fit(&format!(" {}", decode.name), 1 + NAME, false)), text(shares[0], FIGURES[0])];
    if widths.time > 0 {
        let per_step = (sums[0].rows > 0).then(|| decode.ns() / sums[0].rows);
        spans.push(Span::raw(fit(&or_absent(per_step, display::duration), widths.time + 1, true)));
    }
    if widths.bar > 0 {
        spans.extend([Span::raw(" "), bar(shares[0], widths.bar)]);
    }
    if widths.roof > 0 {
        let above = AboveRoof::of(&decode.group, decode.kind, sums[0].token_bytes(), &data.caches);
        let roof = decode.group.roof().map_or_else(String::new, |found| reached(found, above));
        spans.push(Span::styled(fit(&roof, widths.roof + 1, true), palette.dim()));
    }
    if widths.prefill > 0 {
        spans.extend([Span::raw(" "), text(shares[1], widths.prefill)]);
    }
    if widths.prefill_bar > 0 {
        spans.extend([Span::raw(" "), bar(shares[1], widths.prefill_bar)]);
    }
    Line::from(spans)
}
