//! What is drawn over a screen until it is closed.

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overlay {
    /// Keys and terms of the open screen.
    Help,
    /// All that stands out.
    Findings,
    /// The choice of a model to run, or of a session to replay.
    Picker,
    /// The options of a workload.
    Form,
    /// A text, such as a comparison.
    Page,
    /// The file that an export goes to.
    Export,
}

impl Overlay {
    /// Whether keys go into it: letters are typed there and mean nothing else.
    pub fn takes_letters(self) -> bool {
        matches!(self, Self::Picker | Self::Form | Self::Export)
    }
}

/// A text over a screen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// What it is.
    pub title: String,
    /// Its lines, already as wide as they are shown.
    pub text: String,
}
