//! The line in which the file of an export is typed.

use crossterm::event::{KeyCode, KeyEvent};

/// Longest name of a file.
const LENGTH: usize = 200;

/// Where an export comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExportFrom {
    /// A recording as commands name it: a session's number or a file.
    Session(String),
    /// What the daemon keeps in memory of the loop that runs.
    Recent,
}

/// The line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExportLine {
    /// The name of the file so far.
    pub path: String,
    /// What is exported; `None` while the line is closed.
    pub from: Option<ExportFrom>,
}

impl ExportLine {
    /// Edits the name.
    pub fn type_key(&mut self, key: KeyEvent) {
        match key.code {
            KeyCode::Char(letter) if self.path.len() + letter.len_utf8() <= LENGTH => self.path.push(letter),
            KeyCode::Backspace => {
                self.path.pop();
            }
            _ => {}
        }
    }
}
