//! Colours, emphasis and glyphs: the appearance, without the layout.

use ratatui::style::{Color, Modifier, Style};

/// What the terminal can show.
#[derive(Debug, Clone, Copy)]
pub(super) struct Palette {
    colours: bool,
    plain: bool,
}

/// Colours of the parts of a bar, the last one for unattributed time. Neighbours differ in brightness too.
const PARTS: [Color; 7] = [
    Color::LightBlue,
    Color::Cyan,
    Color::LightGreen,
    Color::Yellow,
    Color::Magenta,
    Color::Gray,
    Color::LightRed,
];

/// Fillings that distinguish the parts without colours.
const FILLINGS: [&str; 7] = ["█", "▓", "▒", "░", "+", ".", "!"];

impl Palette {
    /// For a terminal with or without colours; `plain` if its font lacks fine glyphs.
    pub(super) fn new(colours: bool, plain: bool) -> Self {
        Self { colours, plain }
    }

    fn coloured(self, colour: Color) -> Style {
        if self.colours { Style::new().fg(colour) } else { Style::new() }
    }

    /// The most important figures, and headings.
    pub(super) fn strong() -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// Units, labels, provenance.
    pub(super) fn dim(self) -> Style {
        self.coloured(Color::DarkGray)
    }

    /// Curves and bars.
    pub(super) fn curve(self) -> Style {
        self.coloured(Color::Cyan)
    }

    /// Normal states.
    pub(super) fn good(self) -> Style {
        self.coloured(Color::Green)
    }

    /// What needs attention: stale, paused, synthetic.
    pub(super) fn warning(self) -> Style {
        self.coloured(Color::Yellow).add_modifier(Modifier::BOLD)
    }

    /// Losses, failures and exceeded limits.
    pub(super) fn bad(self) -> Style {
        if self.colours {
            Style::new().fg(Color::LightRed).add_modifier(Modifier::BOLD)
        } else {
            Style::new().add_modifier(Modifier::BOLD | Modifier::REVERSED)
        }
    }

    /// The selected row, the open tab.
    pub(super) fn selected() -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// Style and filling of part `index` of a bar.
    pub(super) fn part(self, index: usize) -> (Style, &'static str) {
        let index = index % PARTS.len();
        if self.colours { (Style::new().fg(PARTS[index]), "█") } else { (Style::new(), FILLINGS[index]) }
    }

    /// Glyphs of increasing height.
    pub(super) fn levels(self) -> &'static [&'static str] {
        if self.plain { &["▄", "█"] } else { &["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"] }
    }

    /// Whether curves may use braille dots.
    pub(super) fn braille(self) -> bool {
        !self.plain
    }
}
