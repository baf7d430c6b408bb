//! Which channels the Hardware screen shows, in which order, and which of them as charts.

use std::collections::BTreeSet;

use crate::dashboard::list::List;

/// What a key of the screen changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Shows or hides raw counters.
    RawCounters,
    /// Draws the selected channel as a chart, or no longer.
    Chart,
    /// Orders the channels by the next property.
    View,
}

/// By what the channels are ordered, and which of them there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum View {
    /// All, by what they measure.
    #[default]
    Families,
    /// Those of one CPU each, CPU by CPU.
    Cores,
    /// Those of the worker's threads.
    Threads,
    /// Power and energy, by what it is of: a package, a rail, a battery.
    Rails,
}

impl View {
    const ALL: [Self; 4] = [Self::Families, Self::Cores, Self::Threads, Self::Rails];

    fn next(self) -> Self {
        Self::ALL[(self as usize + 1) % Self::ALL.len()]
    }

    /// The words for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Families => "all channels",
            Self::Cores => "per core",
            Self::Threads => "threads of the worker",
            Self::Rails => "power, per rail",
        }
    }
}

/// Settings of the screen.
#[derive(Debug, Clone, Default)]
pub struct Hardware {
    /// Filter and selection.
    pub list: List,
    /// Raw counters are among the rows.
    pub raw_counters: bool,
    /// Ids of the channels that are drawn as charts.
    pub charted: BTreeSet<String>,
    /// Which channels there are.
    pub view: View,
}

impl Hardware {
    /// Applies an action; `selected` is the id of the selected channel.
    pub fn act(&mut self, action: Action, selected: Option<String>) {
        match action {
            Action::RawCounters => self.raw_counters = !self.raw_counters,
            Action::View => self.view = self.view.next(),
            Action::Chart => {
                if let Some(id) = selected
                    && !self.charted.remove(&id)
                {
                    self.charted.insert(id);
                }
            }
        }
    }
}
