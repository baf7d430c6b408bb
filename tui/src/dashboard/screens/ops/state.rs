//! Which rows the table of ops shows, and in which order.

use std::collections::BTreeSet;

use slmscope_profiles::op::Phase;

use super::columns::Column;
use crate::dashboard::data::Data;
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
    /// Adds ops up by the next property.
    Group,
    /// Switches between one row per op and one row per module.
    Modules,
    /// Compares from here on with the figures of this moment.
    Pin,
    /// Ends the comparison.
    Unpin,
}

/// By what ops are added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// One row for each op, which opens into layers.
    Op,
    /// For each part of the model.
    Module,
    /// For each kind of work.
    Kind,
    /// For each layer.
    Layer,
    /// For each format of weights.
    Format,
}

impl Group {
    const ALL: [Self; 5] = [Self::Op, Self::Module, Self::Kind, Self::Layer, Self::Format];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Op => "op",
            Self::Module => "module",
            Self::Kind => "kind",
            Self::Layer => "layer",
            Self::Format => "format",
        }
    }

    /// What a row opens into, level by level, itself first.
    pub fn levels(self) -> &'static [Self] {
        match self {
            Self::Op => &[Self::Op, Self::Layer],
            Self::Module => &[Self::Module, Self::Op, Self::Layer],
            Self::Kind => &[Self::Kind, Self::Op, Self::Layer],
            Self::Layer => &[Self::Layer, Self::Op],
            Self::Format => &[Self::Format, Self::Op, Self::Layer],
        }
    }

    fn next(self) -> Self {
        Self::ALL[(self as usize + 1) % Self::ALL.len()]
    }
}

/// Figures to compare with.
#[derive(Debug, Clone)]
pub struct Baseline {
    /// What they are of.
    pub name: String,
    /// Plan and totals.
    pub data: Box<Data>,
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
    /// By what ops are added up.
    pub group: Group,
    /// Keys of opened rows.
    pub open: BTreeSet<String>,
    /// What times are compared with.
    pub baseline: Option<Baseline>,
}

impl Default for OpsTable {
    fn default() -> Self {
        Self {
            list: List::default(),
            phase: Some(Phase::Decode),
            sort: Column::Share,
            reversed: false,
            group: Group::Op,
            open: BTreeSet::new(),
            baseline: None,
        }
    }
}

impl OpsTable {
    /// Sorts by a column, the other way round if it is sorted by that already.
    pub fn sort_by(&mut self, order: Column) {
        self.reversed = self.sort == order && !self.reversed;
        self.sort = order;
    }

    /// Applies an action; `selected` is the key of the selected row, and `data` what is shown.
    pub fn act(&mut self, action: Action, selected: Option<String>, data: &Data) {
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
            Action::Group => self.group = self.group.next(),
            Action::Modules => {
                self.group = if self.group == Group::Module { Group::Op } else { Group::Module };
            }
            Action::Pin => self.baseline = baseline(data),
            Action::Unpin => self.baseline = None,
        }
    }
}

/// The figures of this moment; `None` if there are none.
pub(in crate::dashboard) fn baseline(data: &Data) -> Option<Baseline> {
    let job = data.job.as_ref()?;
    data.plan.as_ref()?;
    let format = job.format.map_or_else(String::new, |format| format!(" {}", format.name()));
    let name = format!("{}{format}, job {}, {} steps", job.model, job.job, data.totals.decode.rows);
    let kept = Data { plan: data.plan.clone(), totals: data.totals.clone(), ..Data::default() };
    Some(Baseline { name, data: Box::new(kept) })
}
