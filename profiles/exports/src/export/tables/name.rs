//! Which tables there are.

use std::str::FromStr;

/// A table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableName {
    /// Op events.
    Events,
    /// Sums by op.
    Ops,
    /// Books of phases.
    Phases,
    /// Tokens and chunks.
    Tokens,
    /// Readings.
    Channels,
    /// Memory of the worker.
    Memory,
    /// A row a run.
    Runs,
}

impl TableName {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Events, Self::Ops, Self::Phases, Self::Tokens, Self::Channels, Self::Memory, Self::Runs];

    /// Its name in flags.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Ops => "ops",
            Self::Phases => "phases",
            Self::Tokens => "tokens",
            Self::Channels => "channels",
            Self::Memory => "memory",
            Self::Runs => "runs",
        }
    }
}

/// A word that names no table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown table `{0}`; known: events, ops, phases, tokens, channels, memory, runs")]
pub struct UnknownTable(pub String);

impl FromStr for TableName {
    type Err = UnknownTable;

    fn from_str(text: &str) -> Result<Self, UnknownTable> {
        let found = Self::ALL.into_iter().find(|table| table.as_str() == text);
        found.ok_or_else(|| UnknownTable(text.to_owned()))
    }
}
