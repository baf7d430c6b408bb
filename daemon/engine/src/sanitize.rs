//! Text from files, made safe for messages.

/// Characters of a longer text that are kept.
const LONGEST: usize = 80;

/// `text` for a message: on one line, with control characters escaped, so that a terminal does not act on them, and
/// cut off after [`LONGEST`] characters.
pub(crate) fn sanitize(text: &str) -> String {
    let mut left = text.chars();
    let mut shown = String::new();
    for char in left.by_ref().take(LONGEST) {
        if char.is_control() { shown.extend(char.escape_default()) } else { shown.push(char) }
    }
    if left.next().is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_spelled_and_long_texts_cut() {
        assert_eq!(sanitize("phi3 ß"), "phi3 ß");
        assert_eq!(sanitize("a\u{1b}[2J\n"), "a\\u{1b}[2J\\n");
        assert_eq!(sanitize(&"x".repeat(200)), format!("{}…", "x".repeat(80)));
    }
}
