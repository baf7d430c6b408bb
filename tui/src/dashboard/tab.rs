//! The screens by name.

/// A screen, in the order of the tabs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tab {
    Live,
    Ops,
    Hardware,
}

impl Tab {
    pub const ALL: [Self; 3] = [Self::Live, Self::Ops, Self::Hardware];

    pub fn title(self) -> &'static str {
        match self {
            Self::Live => "Live",
            Self::Ops => "Ops",
            Self::Hardware => "Hardware",
        }
    }

    /// The tab `step` places further, around the end.
    pub fn step(self, step: usize) -> Self {
        Self::ALL[(self as usize + step) % Self::ALL.len()]
    }
}
