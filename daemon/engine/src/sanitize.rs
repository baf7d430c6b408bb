//! Text of files in messages.

/// Characters that are shown of a longer text.
const LONGEST: usize = 80;

/// `text` as a message shows it: on one line, with control characters spelled out so that a terminal is not
/// told anything by them, and cut off where nobody would read on.
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
