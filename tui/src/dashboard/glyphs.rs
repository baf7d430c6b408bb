//! Glyphs for terminals that do not have all of Unicode: what is drawn is replaced cell by cell by what they have.

use ratatui::buffer::Buffer;

/// What the terminal's font has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Glyphs {
    /// Unicode, with braille dots and eighths of blocks.
    Fine,
    /// What fonts of the Linux console have: Latin letters, frames and blocks.
    Console,
    /// ASCII.
    Ascii,
}

impl Glyphs {
    /// All of them, by name.
    pub const ALL: [(&'static str, Self); 3] =
        [("fine", Self::Fine), ("console", Self::Console), ("ascii", Self::Ascii)];
}

/// What stands for a glyph that fonts of the console lack.
const CONSOLE: [(char, char); 16] = [
    ('…', '~'),
    ('—', '-'),
    ('–', '-'),
    ('●', '•'),
    ('▸', '►'),
    ('▶', '►'),
    ('▾', '▼'),
    ('▴', '▲'),
    ('▏', '│'),
    ('▁', '_'),
    ('▂', '_'),
    ('▃', '▄'),
    ('▅', '▄'),
    ('▆', '█'),
    ('▇', '█'),
    ('⁹', '9'),
];

/// Glyphs beyond Latin-1 that the fonts of the Linux console have.
const CONSOLE_HAS: &str = "•○►◄▲▼↑↓→←─│┌┐└┘├┤┬┴┼═║╔╗╚╝╠╣╦╩╬░▒▓█▄▀▌▐■≤≥≈√∞";

/// What stands for a glyph in ASCII.
const ASCII: [(&str, char); 24] = [
    ("─═", '-'),
    ("│║▏▌▐", '|'),
    ("┌┐└┘├┤┬┴┼╔╗╚╝╠╣╦╩╬", '+'),
    ("·•", '.'),
    ("█■▇▆", '#'),
    ("▓", '%'),
    ("▒", '='),
    ("░", '-'),
    ("▅▄▃", ':'),
    ("▂▁", '_'),
    ("▀", '\''),
    ("●", '*'),
    ("○", 'o'),
    ("▸▶►→", '>'),
    ("←◄", '<'),
    ("▾▼↓", 'v'),
    ("▴▲↑", '^'),
    ("—–≈±", '-'),
    ("…", '~'),
    ("×", 'x'),
    ("µ", 'u'),
    ("°", ' '),
    ("≤", '<'),
    ("≥", '>'),
];

/// Replaces what the terminal does not have. Widths stay as they are.
pub fn replace(buf: &mut Buffer, glyphs: Glyphs) {
    if glyphs == Glyphs::Fine {
        return;
    }
    let width = usize::from(buf.area.width).max(1);
    let mut hidden = 0;
    for (at, cell) in buf.content.iter_mut().enumerate() {
        // The second half of a wide character has a cell of its own, in the same row.
        if hidden > 0 && at % width > 0 {
            hidden -= 1;
            cell.set_char('?');
            continue;
        }
        hidden = 0;
        let symbol = cell.symbol();
        if symbol.is_ascii() {
            continue;
        }
        let wide = crate::width::columns(symbol);
        let mut letters = symbol.chars();
        let stand_in = match (letters.next(), letters.next()) {
            (Some(letter), None) if wide == 1 => stand_in(letter, glyphs),
            _ => '?',
        };
        hidden = wide.saturating_sub(1);
        cell.set_char(stand_in);
    }
}

/// What stands for a letter.
fn stand_in(letter: char, glyphs: Glyphs) -> char {
    if glyphs == Glyphs::Console {
        let other = CONSOLE.iter().find(|(known, _)| *known == letter).map(|(_, other)| *other);
        let is_latin = ('\u{a0}'..='\u{ff}').contains(&letter);
        return match other {
            Some(other) => other,
            None if is_latin || CONSOLE_HAS.contains(letter) => letter,
            None => '?',
        };
    }
    ASCII.iter().find(|(known, _)| known.contains(letter)).map_or('?', |(_, ascii)| *ascii)
}

#[cfg(test)]
mod tests {
    use ratatui::layout::Rect;
    use ratatui::style::Style;

    use super::*;

    fn replaced(text: &str, glyphs: Glyphs) -> String {
        let area = Rect::new(0, 0, 24, 1);
        let mut buf = Buffer::empty(area);
        buf.set_string(0, 0, text, Style::new());
        replace(&mut buf, glyphs);
        buf.content.iter().map(ratatui::buffer::Cell::symbol).collect::<String>().trim_end().to_owned()
    }

    #[test]
    fn what_a_terminal_lacks_has_a_stand_in_of_the_same_width() {
        let text = "● 54.0 °C · 3 µs … ▁▅█ ─";
        assert_eq!(replaced(text, Glyphs::Fine), text);
        assert_eq!(replaced(text, Glyphs::Console), "• 54.0 °C · 3 µs ~ _▄█ ─");
        assert_eq!(replaced(text, Glyphs::Ascii), "* 54.0  C . 3 us ~ _:# -");
        for glyphs in [Glyphs::Console, Glyphs::Ascii] {
            assert_eq!(replaced("模型 x e\u{301} y", glyphs), "???? x ? y", "{glyphs:?}");
        }
    }

    #[test]
    fn every_stand_in_is_one_that_the_terminal_has() {
        for (_, other) in CONSOLE {
            assert!(other.is_ascii() || CONSOLE_HAS.contains(other), "{other}");
        }
        assert!(ASCII.iter().all(|(_, other)| other.is_ascii()));
    }
}
