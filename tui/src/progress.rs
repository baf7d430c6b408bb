//! Progress as one line on standard error that is overwritten. Without a terminal nothing is printed.

use std::io::{IsTerminal, Write};
#[cfg(feature = "embedded-daemon")]
use std::time::Duration;
use std::time::Instant;

use slmscope_profiles::display::printable;

use crate::width::{cut_parts, terminal_columns};

/// A line is not made narrower than this.
const LEAST_COLUMNS: usize = 20;

/// Time between two updates of progress that changes all the time.
#[cfg(feature = "embedded-daemon")]
const PERIOD: Duration = Duration::from_millis(100);

/// The line.
pub struct ProgressLine {
    on_terminal: bool,
    /// When it was last written; `None` if it is not shown.
    shown: Option<Instant>,
}

impl ProgressLine {
    /// A line that is not shown yet.
    pub fn new() -> Self {
        Self { on_terminal: std::io::stderr().is_terminal(), shown: None }
    }

    /// Whether there is a terminal.
    pub fn on_terminal(&self) -> bool {
        self.on_terminal
    }

    /// Replaces the line by `text`, unless that was done a moment ago.
    #[cfg(feature = "embedded-daemon")]
    pub fn update(&mut self, text: impl FnOnce() -> String) {
        if self.on_terminal && self.shown.is_none_or(|shown| shown.elapsed() >= PERIOD) {
            self.show(&text());
        }
    }

    /// Replaces the line by `text`.
    pub fn show(&mut self, text: &str) {
        if self.on_terminal {
            // A line wider than the terminal would wrap and stay.
            let width = terminal_columns(std::io::stderr()).max(LEAST_COLUMNS);
            note!("\r\x1b[K{}", cut_parts(&printable(text), width - 1));
            let _ = std::io::stderr().flush();
            self.shown = Some(Instant::now());
        }
    }

    /// Removes the line.
    pub fn clear(&mut self) {
        if self.shown.take().is_some() {
            note!("\r\x1b[K");
            let _ = std::io::stderr().flush();
        }
    }
}
