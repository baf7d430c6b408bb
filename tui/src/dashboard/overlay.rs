//! What is drawn over a screen until it is closed.

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overlay {
    /// Keys and terms of the open screen.
    Help,
    /// All that stands out.
    Findings,
    /// The choice of a model to run.
    Picker,
}
