//! The rows of a result that come from op events: books of phases and lanes, and ops.

use serde::{Deserialize, Serialize};

use super::Percentiles;
use crate::books::Books;
use crate::lane::{Lane, LaneId};
use crate::phase::Phase;
use crate::plan::SiteId;
use crate::plan::site::{Module, OpKind};
use crate::roofline::{OpRoof, RoofBound};
use crate::span::NamedSpan;
use crate::totals::{EventPlace, GroupTotals, OpTotals};

/// The books of one phase of one repetition. ops + gap + Σ other + unattributed = recorded wall.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PhaseBooks {
    /// Which phase.
    pub phase: Phase,
    /// Repetition, from 0.
    #[serde(rename = "run")]
    pub repetition: u32,
    /// Prompt tokens in prefill, steps in decode.
    pub tokens: u64,
    /// Those of them whose events were recorded.
    pub recorded_tokens: u64,
    /// Begin to end, ns.
    pub wall_ns: u64,
    /// The part of it that the recorded tokens took.
    pub recorded_wall_ns: u64,
    /// In steps of the plan.
    pub ops_ns: u64,
    /// Between steps, up to 1 µs a border.
    pub gap_ns: u64,
    /// What nothing explains.
    pub unattributed_ns: u64,
    /// In named spans.
    pub other: Vec<NamedSpan>,
}

impl PhaseBooks {
    /// Where the time of its recorded tokens went.
    pub(super) fn books(&self) -> Books {
        Books {
            wall_ns: self.recorded_wall_ns,
            ops_ns: self.ops_ns,
            gap_ns: self.gap_ns,
            other: self.other.clone(),
            unattributed_ns: self.unattributed_ns,
        }
    }
}

/// The books of a lane beside the host's in one phase of one repetition. ops + gap + Σ other + unattributed =
/// wall. The host's time in waiting for it is a named span of the phase's own books: the two are not added up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LaneBooks {
    /// Which lane.
    #[serde(flatten)]
    pub lane: Lane,
    /// Which phase.
    pub phase: Phase,
    /// Repetition, from 0.
    #[serde(rename = "run")]
    pub repetition: u32,
    /// Prompt tokens in prefill, steps in decode, as far as they were recorded.
    pub recorded_tokens: u64,
    /// What the recorded tokens took in this lane, ns.
    pub wall_ns: u64,
    /// In steps of the plan.
    pub ops_ns: u64,
    /// Between steps, up to 1 µs a border.
    pub gap_ns: u64,
    /// What nothing explains.
    pub unattributed_ns: u64,
    /// In named spans.
    pub other: Vec<NamedSpan>,
    /// Begin and end of its batches lie within this of the truth, ns; null if one of them was not placed on the
    /// host's clock, or they are of it.
    pub placement_error_ns: Option<u64>,
}

/// One step of the plan in one phase, summed over the measured repetitions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OpRow {
    /// Site.
    pub id: SiteId,
    /// Phase.
    pub phase: Phase,
    /// Lane that it ran in; 0 is the host's.
    #[serde(default)]
    pub lane: LaneId,
    /// Part of the model.
    pub module: Module,
    /// Name, the same in every layer.
    pub name: String,
    /// Kind of work.
    pub kind: OpKind,
    /// Block; null before the first and after the last.
    pub layer: Option<u32>,
    /// Which kernels ran.
    pub path: String,
    /// Repetitions that it was recorded in.
    pub runs: u64,
    /// Events.
    pub count: u64,
    /// Their time.
    pub time_ns: u64,
    /// Percentiles of single events, within 0.8 %; null where they were not kept.
    #[serde(default)]
    pub call_ns: Option<Percentiles>,
    /// The longest, ns.
    #[serde(default)]
    pub max_ns: u64,
    /// When that one ran; null if it is not known.
    #[serde(default)]
    pub max_at: Option<EventPlace>,
    /// Bytes by the plan's rule.
    pub bytes: u64,
    /// FLOPs by the plan's rule.
    pub flops: u64,
    /// Of its lane's recorded wall time in the phase, 0 to 1; above 1 where ops overlap.
    pub share: f64,
    /// How near the roofs it came; null without roofs, or where the plan counts neither bytes nor FLOPs.
    #[serde(default)]
    pub roof: Option<OpRoof>,
}

impl OpRow {
    /// What its events add up to, with the least time that the roofs allow for them.
    pub fn totals(&self) -> GroupTotals {
        let &Self { count, time_ns, max_ns, max_at, bytes, flops, layer, .. } = self;
        let bound = self.roof.map_or_else(RoofBound::default, |roof| roof.at_median());
        let totals = OpTotals { count, time_ns, max_ns, max_at, bytes, flops };
        GroupTotals { totals, bound, max_layer: layer }
    }
}
