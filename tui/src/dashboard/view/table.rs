//! Tables with columns of fixed width that scroll to the selected row.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use slmscope_profiles::display::printable;

use super::put;
use crate::width::{columns, cut};

/// `text` in exactly `width` columns, cut with `…`; control characters are left out.
pub fn fit(text: &str, width: usize, right: bool) -> String {
    let mut text = printable(text).into_owned();
    if columns(&text) > width {
        let mark = if width > 0 { "…" } else { "" };
        text = format!("{}{mark}", cut(&text, width.saturating_sub(1)));
    }
    let padding = " ".repeat(width.saturating_sub(columns(&text)));
    if right { padding + &text } else { text + &padding }
}

/// One column of a table.
#[derive(Clone, Copy)]
pub struct Column {
    /// Heading.
    pub title: &'static str,
    /// Columns of the terminal.
    pub width: usize,
    /// Aligned right, for numbers.
    pub right: bool,
}

/// The cells of a row as spans, each followed by a space.
pub fn cells(columns: &[Column], texts: &[&str], style: Style) -> Vec<Span<'static>> {
    let cells = columns.iter().zip(texts);
    cells.map(|(column, text)| Span::styled(fit(text, column.width, column.right) + " ", style)).collect()
}

/// The headings.
pub fn titles(columns: &[Column], style: Style) -> Line<'static> {
    let texts: Vec<_> = columns.iter().map(|column| column.title).collect();
    Line::from(cells(columns, &texts, style))
}

/// The first of `count` rows that [`scroll`] draws.
pub fn first(selected: usize, count: usize, height: usize) -> usize {
    selected.saturating_sub(height / 2).min(count.saturating_sub(height))
}

/// Draws as many of `rows` around `selected` as fit; `line` turns one into text.
pub fn scroll<T>(
    rows: &[T],
    selected: usize,
    area: Rect,
    buf: &mut Buffer,
    mut line: impl FnMut(&T) -> Line<'static>,
) {
    let height = usize::from(area.height);
    let first = first(selected, rows.len(), height);
    for (at, row) in rows.iter().skip(first).take(height).enumerate() {
        put(line(row), at, area, buf);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_fits_whatever_it_is() {
        assert_eq!(fit("abc", 5, false), "abc  ");
        assert_eq!(fit("abc", 5, true), "  abc");
        assert_eq!(fit("abcdef", 4, false), "abc…");
        assert_eq!(fit("a\u{1b}[31m", 9, false), "a[31m    ");
        for text in ["模型模型模型", "e\u{301}e\u{301}e\u{301}", "👩‍👩‍👧‍👦x", "\u{200b}", ""]
        {
            for width in 0..8 {
                assert!(Span::raw(fit(text, width, false)).width() <= width.max(1), "{text:?} {width}");
            }
        }
        assert_eq!(fit("abc", 0, false), "");
    }
}
