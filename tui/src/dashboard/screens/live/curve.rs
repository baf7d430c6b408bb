//! The times of the last steps as a curve with its axes.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;
use slmscope_profiles::display;

use crate::dashboard::data::Data;
use crate::dashboard::palette::Palette;
use crate::dashboard::view::table::fit;
use crate::dashboard::view::{chart, heading, put, take_bottom};

/// Width of the scale.
const SCALE: u16 = 8;
/// A step that is longer than so many medians does not set the scale.
const OUTLIER: f64 = 3.0;

/// Draws the curve.
pub(super) fn draw(data: &Data, palette: Palette, area: Rect, buf: &mut Buffer) {
    let mut rest = area;
    let title_row = area;
    heading("ms per token, newest right", palette, &mut rest, buf);
    let axis = take_bottom(&mut rest, 1);
    let scale = Rect { width: SCALE.min(rest.width), ..rest };
    let plot = Rect { x: rest.x + scale.width, width: rest.width - scale.width, ..rest };
    let tokens = data.totals.tokens();
    let skip = tokens.len().saturating_sub(chart::points(plot.width, palette));
    let points: Vec<_> = tokens.skip(skip).map(|token| token.map(|ns| ns as f64)).collect();
    let longest = points.iter().flatten().copied().fold(0.0, f64::max);
    if longest <= 0.0 {
        put(Line::styled(" no decode step yet", palette.dim()), 0, rest, buf);
        return;
    }
    let median = data.totals.percentiles().map_or(longest, |([median, ..], _)| median as f64);
    let top = if longest > median * OUTLIER { median * OUTLIER } else { longest };
    let cut = points.iter().flatten().filter(|&&ns| ns > top).count();
    if cut > 0 {
        let text = format!(
            "ms per token, newest right; {cut} above the scale, up to {}",
            display::milliseconds(longest)
        );
        heading(&text, palette, &mut { title_row }, buf);
    }
    let label = |ns: f64| fit(&display::milliseconds(ns), usize::from(SCALE - 1), true);
    put(Line::styled(label(top), palette.dim()), 0, scale, buf);
    put(Line::styled(label(0.0), palette.dim()), usize::from(scale.height.saturating_sub(1)), scale, buf);
    chart::curve(&points, top, palette, plot, buf);
    let steps = points.iter().flatten().count();
    let first = format!("{steps} steps ago");
    let shown = usize::from(plot.width).min(points.len().div_ceil(chart::points(1, palette)));
    let left = usize::from(plot.width) - shown;
    let room = shown.saturating_sub(first.len());
    let line = format!("{}{first}{}", " ".repeat(usize::from(SCALE) + left), fit("now", room, true));
    if shown > first.len() + 4 {
        put(Line::styled(line, palette.dim()), 0, axis, buf);
    }
}
