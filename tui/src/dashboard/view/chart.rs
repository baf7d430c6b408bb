//! Curves, sparklines and bars. Absent values stay empty.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Span;

use crate::dashboard::palette::Palette;

/// Dots of a braille cell by row, left and right.
const DOTS: [[u32; 2]; 4] = [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]];
const BRAILLE: u32 = 0x2800;

/// Number of points that a curve of `width` columns shows.
pub fn points(width: u16, palette: Palette) -> usize {
    usize::from(width) * if palette.braille() { 2 } else { 1 }
}

/// Draws the last points of a curve from 0 to `top`, the newest at the right edge. Gaps stay empty.
pub fn curve(points: &[Option<f64>], top: f64, palette: Palette, area: Rect, buf: &mut Buffer) {
    let (per_column, per_row) = if palette.braille() { (2, 4) } else { (1, 2) };
    let columns = usize::from(area.width) * per_column;
    let dots = usize::from(area.height) * per_row;
    if columns == 0 || dots == 0 || top.is_nan() || top <= 0.0 {
        return;
    }
    let mut cells = vec![[false; 8]; usize::from(area.width) * usize::from(area.height)];
    let skip = points.len().saturating_sub(columns);
    let first = columns - (points.len() - skip);
    let mut before: Option<usize> = None;
    for (column, point) in points.iter().skip(skip).enumerate().map(|(at, point)| (first + at, point)) {
        let height = point.map(|value| ((value / top).clamp(0.0, 1.0) * (dots - 1) as f64).round() as usize);
        if let Some(height) = height {
            let from = if palette.braille() { before.unwrap_or(height) } else { 0 };
            for dot in from.min(height)..=from.max(height) {
                let row = dots - 1 - dot;
                let cell = row / per_row * usize::from(area.width) + column / per_column;
                cells[cell][row % per_row * per_column + column % per_column] = true;
            }
        }
        before = height;
    }
    for (at, cell) in cells.into_iter().enumerate() {
        let glyph = if palette.braille() { braille(cell) } else { half_blocks(cell) };
        let Some(glyph) = glyph else { continue };
        let (x, y) = (at % usize::from(area.width), at / usize::from(area.width));
        if let Some(slot) = buf.cell_mut((area.x + x as u16, area.y + y as u16)) {
            slot.set_char(glyph).set_style(palette.curve());
        }
    }
}

fn braille(cell: [bool; 8]) -> Option<char> {
    let bits = DOTS.as_flattened().iter().zip(cell).filter(|&(_, set)| set).map(|(bit, _)| bit).sum::<u32>();
    (bits > 0).then(|| char::from_u32(BRAILLE + bits)).flatten()
}

fn half_blocks(cell: [bool; 8]) -> Option<char> {
    match (cell[0], cell[1]) {
        (true, true) => Some('█'),
        (true, false) => Some('▀'),
        (false, true) => Some('▄'),
        (false, false) => None,
    }
}

/// The last values in one row, scaled from their minimum to their maximum, or from 0 to `top`.
pub fn sparkline(
    values: impl DoubleEndedIterator<Item = Option<f64>>,
    width: usize,
    top: Option<f64>,
    palette: Palette,
) -> Span<'static> {
    let mut values: Vec<_> = values.rev().take(width).collect();
    values.reverse();
    let present = || values.iter().flatten().copied();
    let low = if top.is_some() { 0.0 } else { present().fold(f64::INFINITY, f64::min) };
    let high = top.unwrap_or_else(|| present().fold(f64::NEG_INFINITY, f64::max));
    let levels = palette.levels();
    let glyph = |value: f64| {
        // A constant value is a line through the middle.
        let place = if high > low { ((value - low) / (high - low)).clamp(0.0, 1.0) } else { 0.5 };
        levels[((place * levels.len() as f64) as usize).min(levels.len() - 1)]
    };
    let mut text = " ".repeat(width - values.len());
    text.extend(values.iter().map(|value| value.map_or(" ", glyph)));
    Span::styled(text, palette.curve())
}

/// A bar of `width` columns, filled up to `share`; empty if there is none.
pub fn gauge(share: Option<f64>, width: usize, style: Style, palette: Palette) -> [Span<'static>; 2] {
    let full = (share.unwrap_or(0.0).clamp(0.0, 1.0) * width as f64).round() as usize;
    [Span::styled("█".repeat(full), style), Span::styled("·".repeat(width - full), palette.dim())]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(points: &[Option<f64>], palette: Palette, width: u16, height: u16) -> Vec<String> {
        let area = Rect::new(0, 0, width, height);
        let mut buf = Buffer::empty(area);
        curve(points, 1.0, palette, area, &mut buf);
        let row = |y| (0..width).map(|x| buf[(x, y)].symbol().to_owned()).collect();
        (0..height).map(row).collect()
    }

    #[test]
    fn a_gap_is_a_gap() {
        let points = [Some(0.0), Some(0.0), None, None, Some(0.0), Some(0.0)];
        assert_eq!(drawn(&points, Palette::new(true, false), 3, 1), ["⣀ ⣀"]);
        let points = [Some(1.0), None, Some(0.0)];
        assert_eq!(drawn(&points, Palette::new(true, true), 3, 1), ["█ ▄"]);
    }

    #[test]
    fn the_newest_point_stands_right_and_jumps_are_joined() {
        let palette = Palette::new(true, false);
        assert_eq!(drawn(&[Some(0.0), Some(1.0)], palette, 2, 1), [" ⣸"]);
        assert_eq!(drawn(&[Some(1.0); 9], palette, 1, 2), ["⠉", " "]);
    }

    #[test]
    fn sparklines_scale_to_what_they_show() {
        let palette = Palette::new(false, false);
        let line = |values: &[Option<f64>], top| {
            sparkline(values.iter().copied(), 4, top, palette).content.into_owned()
        };
        assert_eq!(line(&[Some(1.0), None, Some(2.0)], None), " ▁ █");
        assert_eq!(line(&[Some(3.0); 6], None), "▅▅▅▅");
        assert_eq!(line(&[Some(0.0), Some(0.5), Some(1.0)], Some(1.0)), " ▁▅█");
        assert_eq!(line(&[], None), "    ");
    }
}
