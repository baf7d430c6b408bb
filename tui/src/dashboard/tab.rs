//! The screens by name.

/// A screen, in the order of the tabs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tab {
    Live,
    Ops,
    Timeline,
    Roofline,
    Memory,
    Hardware,
    Sessions,
}

impl Tab {
    pub const ALL: [Self; 7] =
        [Self::Live, Self::Ops, Self::Timeline, Self::Roofline, Self::Memory, Self::Hardware, Self::Sessions];

    pub fn title(self) -> &'static str {
        match self {
            Self::Live => "Live",
            Self::Ops => "Ops",
            Self::Timeline => "Timeline",
            Self::Roofline => "Roofline",
            Self::Memory => "Memory",
            Self::Hardware => "Hardware",
            Self::Sessions => "Sessions",
        }
    }

    /// Whether the screen shows single op events.
    pub fn needs_events(self) -> bool {
        matches!(self, Self::Ops | Self::Timeline)
    }

    /// The tab `step` places further, around the end.
    pub fn step(self, step: usize) -> Self {
        Self::ALL[(self as usize + step) % Self::ALL.len()]
    }
}
