//! Where the time goes: shares of the parts of decode and of prefill, side by side.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use slmscope_profiles::above_roof::AboveRoof;
use slmscope_profiles::display::{self, or_absent};
use slmscope_profiles::op::Phase;

use super::parts::{Part, UNATTRIBUTED, parts};
use crate::dashboard::palette::Palette;
use crate::dashboard::screens::ops::columns::reached;
use crate::dashboard::screens::ops::view::UNATTRIBUTED_LIMIT;
use crate::dashboard::state::Data;
use crate::dashboard::totals::PhaseSum;
use crate::dashboard::view::table::fit;
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
pub(super) fn height(data: &Data) -> u16 {
    parts(data.plan.as_ref(), &PhaseSum::default()).len() as u16 + 1
}

/// Draws the table. Parts are in a fixed order, so that figures do not change places.
pub(super) fn draw(data: &Data, palette: Palette, area: Rect, buf: &mut Buffer) {
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
    title("a step", widths.time, usize::from(widths.bar > 0));
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
