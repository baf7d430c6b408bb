//! A row of the Ops screen and its figures.

use slmscope_profiles::above_roof::AboveRoof;
use slmscope_profiles::op::Phase;
use slmscope_profiles::plan::SiteId;
use slmscope_profiles::plan::site::{OpKind, OpSite};
use slmscope_profiles::roofline::{Bound, Roofs};
use slmscope_profiles::totals::{EventPlace, GroupTotals, OpTotals};

use super::state::Group;

/// What a row stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Module,
    Kind,
    Format,
    Op,
    Layer,
    /// Time outside of ops.
    Other,
    /// Time that nothing explains.
    Unattributed,
    /// The whole phase.
    Total,
}

/// One row.
#[derive(Debug, Clone)]
pub struct Row {
    /// Identifies the row as long as the plan stays the same.
    pub key: String,
    pub level: Level,
    /// Steps of indentation.
    pub depth: usize,
    /// Whether it has parts.
    pub opens: bool,
    /// Whether it is open, so that its parts follow.
    pub open: bool,
    pub phase: Phase,
    /// Empty if the row has none or several.
    pub module: &'static str,
    pub name: String,
    /// Empty if the row has none or several.
    pub kind: &'static str,
    /// Format of the weights; empty without weights.
    pub format: String,
    /// Totals of its ops. Of time outside ops it is only the time; of the whole phase it is the wall time, bytes and
    /// FLOPs.
    pub(super) group: GroupTotals,
    /// Kind of its ops; `None` if it has none or several.
    pub(super) op_kind: Option<OpKind>,
    /// Why it is above its roof; `None` where it is not.
    pub above_roof: Option<AboveRoof>,
    /// The 99th percentile of its calls as far as events were seen, ns.
    pub p99_ns: Option<u64>,
    /// Its sites.
    pub sites: Vec<SiteId>,
    /// Its time per token in the figures that are pinned, ns.
    pub(super) pinned_ns: Option<f64>,
    /// Wall time of the phase in its lane, ns.
    pub(super) wall_ns: u64,
    /// Tokens of the phase.
    pub(super) tokens: u64,
    /// Place in the plan.
    pub place: u16,
}

impl Row {
    /// Its time, ns.
    pub fn time_ns(&self) -> u64 {
        self.group.totals.time_ns
    }

    /// Its share of the phase's wall time; `None` if no time passed.
    pub fn share(&self) -> Option<f64> {
        (self.wall_ns > 0).then(|| self.time_ns() as f64 / self.wall_ns as f64)
    }

    /// Totals with events, `None` where there are none to count.
    fn events(&self) -> Option<&OpTotals> {
        (!self.sites.is_empty()).then_some(&self.group.totals)
    }

    /// Number of events; `None` where events are not counted.
    pub fn count(&self) -> Option<u64> {
        Some(self.events()?.count)
    }

    /// Time of an event on average, ns; `None` where events are not counted.
    pub fn mean_ns(&self) -> Option<u64> {
        self.events()?.mean_ns()
    }

    /// When the longest event ran; `None` where that is not known.
    pub fn max_at(&self) -> Option<EventPlace> {
        self.events()?.max_at
    }

    /// Layer of the longest event; `None` if it was in none.
    pub fn max_layer(&self) -> Option<u32> {
        self.events().and(self.group.max_layer)
    }

    /// The longest event, ns; `None` where events are not counted.
    pub fn max_ns(&self) -> Option<u64> {
        Some(self.events()?.max_ns)
    }

    /// Time per token, ns.
    pub fn time_per_token(&self) -> Option<u64> {
        self.time_ns().checked_div(self.tokens)
    }

    /// Bytes per token; `None` where the plan counts none.
    pub fn bytes_per_token(&self) -> Option<f64> {
        let bytes = self.group.totals.bytes;
        (self.tokens > 0 && bytes > 0).then(|| bytes as f64 / self.tokens as f64)
    }

    /// FLOPs per token; `None` where the plan counts none.
    pub fn flops_per_token(&self) -> Option<f64> {
        let flops = self.group.totals.flops;
        (self.tokens > 0 && flops > 0).then(|| flops as f64 / self.tokens as f64)
    }

    /// Change of the time per token since the pin, as a ratio; `None` where the pinned figures have no such row.
    pub fn change(&self) -> Option<f64> {
        let now = (self.tokens > 0).then(|| self.time_ns() as f64 / self.tokens as f64)?;
        self.pinned_ns.filter(|&ns| ns > 0.0).map(|ns| now / ns - 1.0)
    }

    /// Bytes divided by the row's time, B/s; `None` where the plan counts none.
    pub fn bytes_per_second(&self) -> Option<f64> {
        self.group.totals.bytes_per_second()
    }

    /// FLOPs divided by the row's time, FLOP/s; `None` where the plan counts none.
    pub fn flops_per_second(&self) -> Option<f64> {
        self.group.totals.flops_per_second()
    }

    /// Share of the roof that bounds it, and which one that is; `None` without roofs, or where the plan counts nothing.
    pub fn roof(&self) -> Option<(f64, Bound)> {
        self.group.roof()
    }

    /// Adds a site.
    pub(super) fn add(&mut self, site: &OpSite, totals: &OpTotals, roofs: Option<&Roofs>) {
        let is_first = self.sites.is_empty();
        self.group.add_site(site, totals, roofs);
        self.sites.push(site.id);
        self.place = self.place.min(site.id);
        let (module, kind) = (site.module.as_str(), site.kind.as_str());
        if is_first {
            (self.module, self.kind, self.op_kind) = (module, kind, Some(site.kind));
        }
        if self.module != module {
            self.module = "";
        }
        if self.op_kind != Some(site.kind) {
            (self.kind, self.op_kind) = ("", None);
        }
        let format = site.weights.first().map_or("", |weight| weight.format.name());
        if is_first {
            format.clone_into(&mut self.format);
        } else if self.format != format && !format.is_empty() {
            "mixed".clone_into(&mut self.format);
        }
    }
}

impl From<Group> for Level {
    fn from(group: Group) -> Self {
        match group {
            Group::Op => Self::Op,
            Group::Module => Self::Module,
            Group::Kind => Self::Kind,
            Group::Layer => Self::Layer,
            Group::Format => Self::Format,
        }
    }
}
