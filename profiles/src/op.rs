//! Op events: what the engine's recording loop writes, and the batches in which they travel.
//!
//! A batch holds the events of one token (decode) or one chunk (prefill). Times inside a batch are gaps and
//! durations in `tick_ns`; the batch's `begin_ns` ties them to CLOCK_MONOTONIC.
//!
//! ```text
//! begin_ns            t0                                                     end_ns
//!    |--(before)------|--gap--[op]--gap--[op]--gap--[op]--(after)--[sample]---|
//! ```
//!
//! The first event's gap counts from `begin_ns`. Named spans ([`crate::span`]) hold what is no op, like
//! sampling. A batch is of one lane ([`crate::lane`]); a device's lane has its own clock ([`crate::clock`]). An
//! engine that reports tokens alone sends batches without events.

use serde::{Deserialize, Serialize};

use crate::clock::ClockSource;
use crate::job::JobId;
use crate::lane::LaneId;
pub use crate::phase::Phase;
use crate::plan::SiteId;
use crate::span::NamedSpan;
use crate::words::open_words;

/// One step of the plan, run once. 12 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct OpEvent {
    /// The step.
    pub site: SiteId,
    /// Zero; keeps the layout free of padding.
    pub reserved: u16,
    /// Ticks since the end of the event before, or since the batch's begin.
    pub gap: u32,
    /// Ticks that it took.
    pub duration: u32,
}

/// How fine the events of a run are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Granularity {
    /// Every step of the plan is an event.
    #[default]
    Op,
    /// Batches have no events: only the wall time of a token and its named spans are known.
    Token,
    /// Another one, of a newer build: the plan is still read.
    #[serde(other)]
    Unknown,
}

/// What the events of a batch have in common.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchHead {
    /// The job.
    #[serde(default)]
    pub job: JobId,
    /// The plan whose sites the events name.
    pub plan: u32,
    /// Index into the plan's lanes: where the events ran.
    #[serde(default)]
    pub lane: LaneId,
    /// Repetition, from 0.
    #[serde(rename = "run")]
    pub repetition: u32,
    /// Phase.
    pub phase: Phase,
    /// Number of the token or chunk within its phase.
    pub token: u32,
    /// Rows computed: 1 in decode.
    pub rows: u32,
    /// Tokens in the cache before.
    pub context: u32,
    /// Counts the batches that the engine made, lost ones included.
    pub seq: u64,
    /// Begin of the token, CLOCK_MONOTONIC ns: the end of the one before.
    pub begin_ns: u64,
    /// End of the token, CLOCK_MONOTONIC ns.
    pub end_ns: u64,
    /// Nanoseconds per tick of `gap` and `duration`.
    pub tick_ns: u32,
    /// The clock that `gap` and `duration` were taken with.
    #[serde(default)]
    pub clock: ClockSource,
}

/// The events of one token or chunk in one lane.
#[derive(Debug, Clone, PartialEq)]
pub struct OpBatch {
    /// What they share.
    pub head: BatchHead,
    /// Time in named spans; each name at most once.
    pub spans: Vec<NamedSpan>,
    /// What else is known of the events; mostly nothing.
    pub columns: Vec<ColumnValue>,
    /// In the order in which they ran; none if the engine reports tokens alone.
    pub events: Vec<OpEvent>,
}

open_words! {
    /// What a column of a batch holds.
    pub enum ColumnQuantity {
        /// Experts of a mixture that ran, a count.
        Experts = "experts",
        /// Time that the op's threads waited for each other, ns, summed over the threads.
        BarrierWait = "barrier_wait_ns",
    }
}

impl ColumnQuantity {
    /// The quantity that has this number; `None` if no known one has.
    pub fn from_number(number: u32) -> Option<Self> {
        Self::KNOWN.get(number as usize).cloned()
    }

    /// Its number; `None` for quantities that this build does not know.
    pub fn number(&self) -> Option<u32> {
        Self::KNOWN.iter().position(|known| known == self).map(|at| at as u32)
    }
}

/// One value beside the events of a batch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ColumnValue {
    /// Index of its event in the batch; `None` for a value of the whole batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<u32>,
    /// What the value is.
    pub quantity: ColumnQuantity,
    /// Finite.
    pub value: f64,
}
