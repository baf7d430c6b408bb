//! JSON that a terminal can be shown: no control character is in it, whatever the texts are.
//!
//! JSON itself escapes the control characters below space. DEL and the 32 above it (C1), of which terminals understand
//! some as commands, may stand in JSON as they are; here they are escaped too, which means the same to every reader.

use std::io;

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter};

/// `value` as one line of JSON, without a line end.
///
/// # Errors
/// If it has a key that is no text, or its own serialization fails.
pub fn to_vec(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(128);
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, Printable))?;
    Ok(bytes)
}

/// Compact JSON in which texts have no control characters.
struct Printable;

impl Formatter for Printable {
    fn write_string_fragment<W: io::Write + ?Sized>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some((at, control)) = rest.char_indices().find(|(_, letter)| letter.is_control()) {
            CompactFormatter.write_string_fragment(writer, &rest[..at])?;
            write!(writer, "\\u{:04x}", u32::from(control))?;
            rest = &rest[at + control.len_utf8()..];
        }
        CompactFormatter.write_string_fragment(writer, rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_hold_no_control_characters_and_mean_the_same() {
        let text = "a\u{1b}[2J\u{7f}\u{9b}31m é\n\"\\";
        let json = String::from_utf8(to_vec(&text).unwrap()).unwrap();
        assert!(!json.contains(char::is_control), "{json:?}");
        assert!(json.contains("\\u007f\\u009b31m é"), "{json}");
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        let key = std::collections::BTreeMap::from([(text, 1)]);
        assert!(!String::from_utf8(to_vec(&key).unwrap()).unwrap().contains(char::is_control));
    }
}
