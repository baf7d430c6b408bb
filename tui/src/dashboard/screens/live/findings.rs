//! The findings of the last result on the Live screen, the most useful first.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use slmscope_profiles::finding::Finding;

use crate::dashboard::palette::Palette;
use crate::dashboard::view::put;
use crate::dashboard::view::table::fit;

/// Most rows, where the screen is high.
const MOST: usize = 3;
/// Heights of the screen from which on there is room for a second and for a third row.
const HIGH: [u16; 2] = [28, 36];
/// Width of the label.
const LABEL: usize = 10;

/// Rows that the findings take on a screen of this area; 0 without any.
pub(super) fn height(findings: &[Finding], area: Rect) -> u16 {
    let room = 1 + HIGH.iter().filter(|&&height| area.height >= height).count();
    findings.len().min(room).min(MOST) as u16
}

/// Draws as many findings as there are rows; the last row says how many more there are.
pub(super) fn draw(findings: &[Finding], palette: Palette, area: Rect, buf: &mut Buffer) {
    let rows = usize::from(area.height);
    let width = usize::from(area.width);
    for (row, finding) in findings.iter().take(rows).enumerate() {
        let hidden = findings.len().saturating_sub(rows);
        let more = if row + 1 == rows && hidden > 0 { format!("  +{hidden}") } else { String::new() };
        let label = if row == 0 { " findings" } else { "" };
        let room = width.saturating_sub(LABEL + more.len() + 1);
        let line = Line::from(vec![
            Span::styled(fit(label, LABEL, false), palette.dim()),
            Span::styled(fit(&finding.reason, room, false), palette.warning()),
            Span::styled(more, palette.dim()),
        ]);
        put(line, row, area, buf);
    }
}
