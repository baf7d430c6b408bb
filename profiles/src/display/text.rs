//! Text of others, made safe to show: names of files and models, texts of tokenizers, what a client sent.

use std::borrow::Cow;

/// `text` on one line, without what a terminal would act on: line ends and tabs become spaces; other control
/// characters, and those that reverse the direction of text, are left out.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unprintable) {
        return Cow::Borrowed(text);
    }
    let letters = text.chars().filter_map(|letter| match letter {
        '\n' | '\t' => Some(' '),
        letter => (!is_unprintable(letter)).then_some(letter),
    });
    Cow::Owned(letters.collect())
}

/// As [`printable`], at most `max` bytes long: a longer text is cut, and ends in `…` and its length.
pub fn excerpt(text: &str, max: usize) -> String {
    if text.len() <= max {
        return printable(text).into_owned();
    }
    let mark = format!("… ({} bytes)", text.len());
    let end = text.floor_char_boundary(max.saturating_sub(mark.len()));
    format!("{}{mark}", printable(&text[..end]))
}

/// Control characters, and those of Unicode that turn the direction of what follows.
fn is_unprintable(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_acts_on_is_left() {
        assert!(matches!(printable("模型 ß 👩‍👧"), Cow::Borrowed("模型 ß 👩‍👧")));
        assert_eq!(printable("a\u{1b}[2J\u{9b}1m\u{7f}b\r\nc\td"), "a[2J1mb c d");
        assert_eq!(printable("a\u{202e}gfug.\u{2066}b"), "agfug.b");
    }

    #[test]
    fn an_excerpt_is_short_and_says_how_long_the_text_is() {
        assert_eq!(excerpt("a\u{1b}b", 200), "ab");
        let long = "é".repeat(5_000_000);
        let shown = excerpt(&long, 200);
        assert!(shown.len() <= 200 && shown.ends_with("é… (10000000 bytes)"), "{shown}");
    }
}
