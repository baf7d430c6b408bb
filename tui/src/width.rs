//! Columns that text takes on a terminal: two for a wide character, none for a combining one.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Columns of `text`.
pub fn columns(text: &str) -> usize {
    text.width()
}

/// The beginning of `text` that takes at most `columns` columns.
pub fn cut(text: &str, columns: usize) -> &str {
    let mut used = 0;
    let end = text.char_indices().find(|&(_, letter)| {
        used += letter.width().unwrap_or(0);
        used > columns
    });
    end.map_or(text, |(at, _)| text.get(..at).unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_characters_take_two_columns() {
        assert_eq!([columns("模型"), columns("e\u{301}"), columns("abc")], [4, 1, 3]);
        assert_eq!([cut("模型", 3), cut("模型", 4), cut("e\u{301}x", 1)], ["模", "模型", "e\u{301}"]);
        assert_eq!([cut("abc", 0), cut("", 5)], ["", ""]);
    }
}
