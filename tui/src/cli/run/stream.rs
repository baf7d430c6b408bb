//! The text that a model generates, while it does.

use std::io::{self, Write};

use super::super::jobs::plain;

/// Prints text as it grows.
#[derive(Debug)]
pub struct TextStream<W> {
    out: W,
    /// What is on the screen.
    shown: String,
    /// The line is not finished.
    is_open: bool,
}

impl<W: Write> TextStream<W> {
    /// Nothing has been printed to `out`.
    pub fn new(out: W) -> Self {
        Self { out, shown: String::new(), is_open: false }
    }

    /// Prints what `text`, all text so far, has beyond what was printed. The first text that is whole is the last one:
    /// another repetition generates the same.
    pub fn show(&mut self, text: &str) -> io::Result<()> {
        // A character whose bytes are not all there yet.
        let text = text.trim_end_matches(char::REPLACEMENT_CHARACTER);
        let Some(more) = text.strip_prefix(self.shown.as_str()).filter(|more| !more.is_empty()) else {
            return Ok(());
        };
        let lines: Vec<_> = more.split('\n').map(plain).collect();
        self.out.write_all(lines.join("\n").as_bytes())?;
        self.shown.push_str(more);
        self.is_open = true;
        self.out.flush()
    }

    /// Ends the line, so that something else can be printed; whether text was printed before.
    pub fn end(&mut self) -> io::Result<bool> {
        if std::mem::take(&mut self.is_open) {
            self.out.write_all(b"\n")?;
            self.out.flush()?;
        }
        Ok(!self.shown.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(texts: &[&str]) -> String {
        let mut out = Vec::new();
        let mut stream = TextStream::new(&mut out);
        for text in texts {
            stream.show(text).unwrap();
        }
        stream.end().unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn text_grows_and_is_not_printed_twice() {
        assert_eq!(shown(&["Be", "Because", "Because\nof it", "Because\nof it"]), "Because\nof it\n");
        assert_eq!(shown(&[]), "");
    }

    #[test]
    fn half_a_character_waits_for_its_rest_and_escape_codes_are_left_out() {
        assert_eq!(shown(&["a\u{fffd}", "aé\u{1b}[31m"]), "aé[31m\n");
    }
}
