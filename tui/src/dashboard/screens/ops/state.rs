//! Which rows the table of ops shows, and in which order.

use std::collections::BTreeSet;

use slmscope_profiles::op::Phase;

use crate::dashboard::list::List;

/// What a key of the screen changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Sorts by the next column.
    Sort,
    /// Reverses the order.
    Reverse,
    /// Opens or closes the selected row.
    Open,
    /// Switches between decode, prefill and both.
    Phase,
    /// Switches between one row per op and one row per module.
    Modules,
}

/// Orders of the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    Share,
    Plan,
    Name,
    Count,
    Longest,
    Bandwidth,
    Compute,
}

impl Column {
    const ALL: [Self; 7] =
        [Self::Share, Self::Plan, Self::Name, Self::Count, Self::Longest, Self::Bandwidth, Self::Compute];

    pub fn title(self) -> &'static str {
        match self {
            Self::Share => "time",
            Self::Plan => "plan order",
            Self::Name => "name",
            Self::Count => "count",
            Self::Longest => "max",
            Self::Bandwidth => "GB/s",
            Self::Compute => "GFLOP/s",
        }
    }

    fn next(self) -> Self {
        Self::ALL[(self as usize + 1) % Self::ALL.len()]
    }
}

/// Settings of the table.
#[derive(Debug, Clone)]
pub struct OpsTable {
    /// Filter and selection.
    pub list: List,
    /// `None` for both prefill and decode.
    pub phase: Option<Phase>,
    /// Order of the rows.
    pub sort: Column,
    /// Smallest first.
    pub reversed: bool,
    /// One row per module, which opens into ops, instead of one row per op.
    pub by_module: bool,
    /// Keys of opened rows.
    pub open: BTreeSet<String>,
}

impl Default for OpsTable {
    fn default() -> Self {
        Self {
            list: List::default(),
            phase: Some(Phase::Decode),
            sort: Column::Share,
            reversed: false,
            by_module: false,
            open: BTreeSet::new(),
        }
    }
}

impl OpsTable {
    /// Applies an action; `selected` is the key of the selected row.
    pub fn act(&mut self, action: Action, selected: Option<String>) {
        match action {
            Action::Sort => self.sort = self.sort.next(),
            Action::Reverse => self.reversed = !self.reversed,
            Action::Open => {
                if let Some(key) = selected
                    && !self.open.remove(&key)
                {
                    self.open.insert(key);
                }
            }
            Action::Phase => {
                self.phase = match self.phase {
                    Some(Phase::Decode) => Some(Phase::Prefill),
                    Some(_) => None,
                    None => Some(Phase::Decode),
                };
            }
            Action::Modules => self.by_module = !self.by_module,
        }
    }
}
