//! What batches are about: the sites of a plan, the lanes that it runs in and the roofs beside it.

use serde::{Deserialize, Serialize};

use crate::lane::{Lane, LaneId};
use crate::op::Granularity;
use crate::plan::site::OpSite;
use crate::roofline::Roofs;

/// What the batches with its number are about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlanRecord {
    /// Its number.
    pub plan: u32,
    /// The model.
    pub model: String,
    /// Engine threads.
    pub threads: u32,
    /// Which kernels run.
    pub path: String,
    /// Whether batches have events.
    #[serde(default)]
    pub granularity: Granularity,
    /// Where ops run; indexed by the batches' `lane`. Lane 0 is the host's.
    #[serde(default)]
    pub lanes: Vec<Lane>,
    /// What the machine can do at most, as far as it was measured: the plan comes again when it was.
    #[serde(default)]
    pub roofs: Roofs,
    /// Indexed by site id; empty if the engine reports tokens alone.
    pub sites: Vec<OpSite>,
}

impl PlanRecord {
    /// The lane of that number; `None` if the plan has none.
    pub fn lane(&self, lane: LaneId) -> Option<&Lane> {
        self.lanes.iter().find(|known| known.lane == lane)
    }
}
