//! Columns that text takes on a terminal: two for a wide character, none for a combining one.

use std::borrow::Cow;
use std::os::fd::AsFd;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Columns of a terminal that does not tell its size, as some that programs make do not.
const USUAL_COLUMNS: u16 = 80;

/// Columns of `terminal`.
pub fn terminal_columns(terminal: impl AsFd) -> usize {
    let told = rustix::termios::tcgetwinsize(terminal).map_or(0, |size| size.ws_col);
    usize::from(if told == 0 { USUAL_COLUMNS } else { told })
}

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

/// `text`, or its beginning up to the last part between commas that takes at most `room` columns, with a mark that some is
/// missing. A single part that is longer is cut between words, a single word within.
pub fn cut_parts(text: &str, room: usize) -> Cow<'_, str> {
    if columns(text) <= room {
        return Cow::Borrowed(text);
    }
    let beginning = cut(text, room.saturating_sub(1));
    // What follows may begin another part, so that the last one is whole.
    let rest = &text[beginning.len()..];
    let last = |separator: &str| {
        let is_whole = rest.starts_with(separator);
        if is_whole { Some(beginning.len()) } else { beginning.rfind(separator) }
    };
    let end = last(", ").or_else(|| last(" ")).unwrap_or(beginning.len());
    Cow::Owned(format!("{}…", beginning[..end].trim_end_matches([' ', ',', ':', ';'])))
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

    #[test]
    fn a_line_loses_whole_parts_and_no_word_is_cut_but_one_that_is_longer_than_the_line() {
        let text = "m: repetition 2 of 6, about 9 s left, decode 25 tok/s";
        for (room, expected) in [
            (53, text),
            (52, "m: repetition 2 of 6, about 9 s left…"),
            (37, "m: repetition 2 of 6, about 9 s left…"),
            (36, "m: repetition 2 of 6…"),
            (21, "m: repetition 2 of 6…"),
            (20, "m: repetition 2 of…"),
            (10, "m…"),
            (1, "…"),
        ] {
            assert_eq!(cut_parts(text, room), expected, "{room}");
        }
        assert_eq!(cut_parts("SmolLM2-135M-Instruct", 10), "SmolLM2-1…");
        assert_eq!(cut_parts("模型模型", 5), "模型…");
    }

    /// Every line was cut to nothing there.
    #[test]
    fn a_terminal_that_tells_no_size_has_80_columns() {
        // A new terminal has no size until a program sets one.
        let Ok(terminal) = std::fs::File::options().read(true).write(true).open("/dev/ptmx") else {
            println!("skipped: no terminals can be made here");
            return;
        };
        assert_eq!(terminal_columns(&terminal), 80);
        let size = rustix::termios::Winsize { ws_row: 24, ws_col: 132, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&terminal, size).unwrap();
        assert_eq!(terminal_columns(&terminal), 132);
        assert_eq!(terminal_columns(std::fs::File::open("/dev/null").unwrap()), 80, "no terminal");
    }
}
