//! Text that fits: nothing is cut in the middle of a word.

use ratatui::text::{Line, Span};
use slmscope_profiles::display::printable;

use super::table::fit;
use crate::width::columns;

/// `text` in lines of at most `width` columns, broken between words, and at most `most` lines: the last one then ends in
/// `…`. A word that is longer than a line is cut.
pub fn wrap(text: &str, width: usize, most: usize) -> Vec<String> {
    let text = printable(text);
    let mut lines: Vec<String> = Vec::new();
    if width == 0 || most == 0 {
        return lines;
    }
    let mut words = text.split_whitespace().peekable();
    let mut line = String::new();
    while let Some(word) = words.next() {
        let room = width.saturating_sub(columns(&line) + usize::from(!line.is_empty()));
        if columns(word) > room && !line.is_empty() {
            if lines.len() + 1 == most {
                lines.push(ended(line, width));
                return lines;
            }
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(fit(word, columns(word).min(width), false).as_str());
        if words.peek().is_none() {
            lines.push(std::mem::take(&mut line));
        }
    }
    lines
}

/// `line` with `…` in place of the words that do not follow.
fn ended(mut line: String, width: usize) -> String {
    while columns(&line) + 2 > width {
        match line.rfind(' ') {
            Some(at) => line.truncate(at),
            None => return fit(&line, width.saturating_sub(1), false).trim_end().to_owned() + "…",
        }
    }
    line + " …"
}

/// A piece of a line that is shown whole or not at all.
pub type Piece = Vec<Span<'static>>;

/// As many of `pieces` as fit `width`, the first ones, with `separator` between them.
pub fn pieces(
    pieces: impl IntoIterator<Item = Piece>,
    separator: &'static str,
    width: usize,
) -> Line<'static> {
    let mut line = Line::default();
    for piece in pieces {
        let gap = if line.spans.is_empty() { 0 } else { columns(separator) };
        let wide: usize = piece.iter().map(Span::width).sum();
        if line.width() + gap + wide > width {
            continue;
        }
        if gap > 0 {
            line.push_span(Span::raw(separator));
        }
        line.extend(piece);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words() {
        assert_eq!(wrap("one two three", 7, 9), ["one two", "three"]);
        assert_eq!(wrap("one two three", 8, 1), ["one …"]);
        assert_eq!(wrap("one two three", 9, 1), ["one two …"]);
        assert_eq!(wrap("overlong word", 5, 9), ["over…", "word"]);
        assert_eq!(wrap("a\u{1b}[31mb  c", 40, 1), ["a[31mb c"]);
        assert!([wrap("", 5, 5), wrap("x", 0, 5), wrap("x", 5, 0)].iter().all(Vec::is_empty));
        for width in 1..20 {
            for line in wrap("the quick 模型 jumps over e\u{301}verything", width, 3) {
                assert!(columns(&line) <= width.max(2), "{line:?} {width}");
            }
        }
    }

    #[test]
    fn a_piece_that_does_not_fit_is_left_out_whole() {
        let piece = |text: &'static str| vec![Span::raw(text)];
        let line = |width| pieces(["abc", "defgh", "ij"].map(piece), " · ", width).to_string();
        assert_eq!([line(14), line(10), line(2), line(0)], ["abc · defgh", "abc · ij", "ij", ""]);
    }
}
