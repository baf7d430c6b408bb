//! Colours, emphasis and glyphs: the appearance, without the layout.

use std::fmt;
use std::str::FromStr;

use ratatui::style::{Color, Modifier, Style};
use slmscope_profiles::words::nearest;

use super::glyphs::Glyphs;

/// A set of colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Theme {
    /// For a dark background, in the terminal's own sixteen colours.
    Dark,
    /// For a light background.
    Light,
    /// Blues and oranges that people tell apart who do not see red and green as others do; parts differ by their
    /// fillings too.
    ColourBlind,
    /// No colours.
    Mono,
}

impl Theme {
    /// All of them, by name.
    pub const ALL: [(&'static str, Self); 4] = [
        ("dark", Self::Dark),
        ("light", Self::Light),
        ("colour-blind", Self::ColourBlind),
        ("mono", Self::Mono),
    ];
}

/// A word that is no theme.
#[derive(Debug, thiserror::Error)]
#[error("{}the themes are dark, light, colour-blind and mono", .near.map_or_else(String::new, |near| format!("did you mean {near}? ")))]
pub struct NoTheme {
    near: Option<&'static str>,
}

impl FromStr for Theme {
    type Err = NoTheme;

    fn from_str(word: &str) -> Result<Self, NoTheme> {
        // As it is spelled elsewhere.
        let word = word.to_ascii_lowercase().replace('_', "-").replace("color", "colour");
        let found = Self::ALL.iter().find(|(name, _)| *name == word).map(|(_, theme)| *theme);
        found.ok_or_else(|| NoTheme { near: nearest(&word, Self::ALL.map(|(name, _)| name)) })
    }
}

impl fmt::Display for Theme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::ALL[*self as usize].0)
    }
}

/// The parts of a bar.
const PARTS: usize = 7;

/// What the terminal can show, and how the user wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Palette {
    theme: Theme,
    /// The terminal has 256 colours, and not sixteen.
    has_256: bool,
    glyphs: Glyphs,
}

/// The colours of a theme.
struct Colours {
    dim: Color,
    curve: Color,
    good: Color,
    warning: Color,
    bad: Color,
    /// Of the parts of a bar, the last one for unattributed time. Neighbours differ in brightness too.
    parts: [Color; PARTS],
}

const DARK: Colours = Colours {
    dim: Color::DarkGray,
    curve: Color::Cyan,
    good: Color::Green,
    warning: Color::Yellow,
    bad: Color::LightRed,
    parts: [
        Color::LightBlue,
        Color::Cyan,
        Color::LightGreen,
        Color::Yellow,
        Color::Magenta,
        Color::Gray,
        Color::LightRed,
    ],
};

/// Dark ones, which a light background does not swallow.
const LIGHT: Colours = Colours {
    dim: Color::DarkGray,
    curve: Color::Blue,
    good: Color::Green,
    warning: Color::Magenta,
    bad: Color::Red,
    parts: [
        Color::Blue,
        Color::Cyan,
        Color::Green,
        Color::Yellow,
        Color::Magenta,
        Color::DarkGray,
        Color::Red,
    ],
};

/// The colours that Okabe and Ito chose (<https://jfly.uni-koeln.de/color/>), as the nearest of 256.
const COLOUR_BLIND: Colours = Colours {
    dim: Color::Indexed(245),
    curve: Color::Indexed(74),
    good: Color::Indexed(74),
    warning: Color::Indexed(214),
    bad: Color::Indexed(166),
    parts: [
        Color::Indexed(74),
        Color::Indexed(25),
        Color::Indexed(36),
        Color::Indexed(214),
        Color::Indexed(175),
        Color::Indexed(248),
        Color::Indexed(166),
    ],
};

/// The same of sixteen colours.
const COLOUR_BLIND_16: Colours = Colours {
    dim: Color::DarkGray,
    curve: Color::LightBlue,
    good: Color::LightBlue,
    warning: Color::Yellow,
    bad: Color::LightYellow,
    parts: [
        Color::LightBlue,
        Color::Blue,
        Color::Cyan,
        Color::Yellow,
        Color::Magenta,
        Color::Gray,
        Color::LightYellow,
    ],
};

/// Fillings that distinguish the parts without colours.
const FILLINGS: [&str; PARTS] = ["█", "▓", "▒", "░", "+", ".", "!"];

impl Palette {
    /// Of a theme, on a terminal of sixteen or 256 colours.
    pub fn of(theme: Theme, has_256: bool, glyphs: Glyphs) -> Self {
        Self { theme, has_256, glyphs }
    }

    /// For a dark terminal with or without colours; `plain` if its font lacks fine glyphs.
    #[cfg(test)]
    pub fn new(colours: bool, plain: bool) -> Self {
        let theme = if colours { Theme::Dark } else { Theme::Mono };
        Self::of(theme, false, if plain { Glyphs::Console } else { Glyphs::Fine })
    }

    /// For measuring text, which has the same width in each, and for seeing what is selected: only that is reversed.
    pub fn any() -> Self {
        Self::of(Theme::Dark, false, Glyphs::Fine)
    }

    /// The glyphs that the terminal has.
    pub fn glyphs(self) -> Glyphs {
        self.glyphs
    }

    fn colours(self) -> Option<&'static Colours> {
        match self.theme {
            Theme::Dark => Some(&DARK),
            Theme::Light => Some(&LIGHT),
            Theme::ColourBlind if self.has_256 => Some(&COLOUR_BLIND),
            Theme::ColourBlind => Some(&COLOUR_BLIND_16),
            Theme::Mono => None,
        }
    }

    fn coloured(self, colour: impl Fn(&Colours) -> Color) -> Style {
        self.colours().map_or_else(Style::new, |colours| Style::new().fg(colour(colours)))
    }

    /// The most important figures, and headings.
    pub fn strong() -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// Units, labels, provenance.
    pub fn dim(self) -> Style {
        self.coloured(|colours| colours.dim)
    }

    /// Curves and bars.
    pub fn curve(self) -> Style {
        self.coloured(|colours| colours.curve)
    }

    /// Normal states.
    pub fn good(self) -> Style {
        self.coloured(|colours| colours.good)
    }

    /// What needs attention: stale, paused, synthetic.
    pub fn warning(self) -> Style {
        self.coloured(|colours| colours.warning).add_modifier(Modifier::BOLD)
    }

    /// Losses, failures and exceeded limits.
    pub fn bad(self) -> Style {
        let style = self.coloured(|colours| colours.bad).add_modifier(Modifier::BOLD);
        match self.theme {
            Theme::Dark | Theme::Light => style,
            // Where the colour alone does not say it.
            Theme::ColourBlind | Theme::Mono => style.add_modifier(Modifier::REVERSED),
        }
    }

    /// The selected row, the open tab.
    pub fn selected() -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// Style and filling of part `index` of a bar.
    pub fn part(self, index: usize) -> (Style, &'static str) {
        let index = index % PARTS;
        let filling = match self.theme {
            Theme::Dark | Theme::Light => FILLINGS[0],
            Theme::ColourBlind | Theme::Mono => FILLINGS[index],
        };
        (self.coloured(|colours| colours.parts[index]), filling)
    }

    /// Glyphs of increasing height.
    pub fn levels(self) -> &'static [&'static str] {
        match self.glyphs {
            Glyphs::Fine => &["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"],
            Glyphs::Console => &["▄", "█"],
            Glyphs::Ascii => &["_", ".", ":", "|"],
        }
    }

    /// Whether curves may use braille dots.
    pub fn braille(self) -> bool {
        self.glyphs == Glyphs::Fine
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_theme_is_known_by_its_name_however_it_is_spelled() {
        for (name, theme) in Theme::ALL {
            assert_eq!((name.parse().ok(), theme.to_string().as_str()), (Some(theme), name));
        }
        assert_eq!("Color_Blind".parse().ok(), Some(Theme::ColourBlind));
        let told = "ligh".parse::<Theme>().unwrap_err().to_string();
        assert_eq!(told, "did you mean light? the themes are dark, light, colour-blind and mono");
    }

    #[test]
    fn parts_and_states_differ_in_every_theme() {
        for (name, theme) in Theme::ALL {
            for has_256 in [false, true] {
                let palette = Palette::of(theme, has_256, Glyphs::Fine);
                let parts: Vec<_> = (0..PARTS).map(|part| palette.part(part)).collect();
                for (at, part) in parts.iter().enumerate() {
                    assert!(!parts[..at].contains(part), "{name}: part {at}");
                }
                let states = [palette.good(), palette.warning(), palette.bad()];
                assert!(states[0] != states[1] && states[1] != states[2] && states[0] != states[2], "{name}");
            }
        }
    }
}
