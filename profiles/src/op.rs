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
//! The first event's gap counts from `begin_ns`. Named spans (`other`) hold what is no op: sampling,
//! detokenizing.

use serde::{Deserialize, Serialize};

use crate::plan::SiteId;

/// The stages of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Baseline before anything runs.
    Idle,
    /// Opening files, making weights, allocating.
    Load,
    /// Text to ids.
    Tokenize,
    /// Unmeasured forward passes, and filling the context to the asked depth.
    Warmup,
    /// The prompt.
    Prefill,
    /// One token at a time.
    Decode,
    /// The same token again and again, recorder on and off: what recording costs. In no total.
    Overhead,
    /// After the work.
    Cooldown,
}

impl Phase {
    /// As spelled in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Load => "load",
            Self::Tokenize => "tokenize",
            Self::Warmup => "warmup",
            Self::Prefill => "prefill",
            Self::Decode => "decode",
            Self::Overhead => "overhead",
            Self::Cooldown => "cooldown",
        }
    }

    /// From its number in the ring.
    pub fn from_u8(number: u8) -> Option<Self> {
        const ALL: [Phase; 8] = [
            Phase::Idle,
            Phase::Load,
            Phase::Tokenize,
            Phase::Warmup,
            Phase::Prefill,
            Phase::Decode,
            Phase::Overhead,
            Phase::Cooldown,
        ];
        ALL.get(usize::from(number)).copied()
    }
}

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

/// A stretch inside a token that is no op.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OtherSpan {
    /// Choosing the next id from the logits.
    Sample,
    /// Ids to text.
    Detokenize,
}

impl OtherSpan {
    /// All of them, in the order in which a batch counts them.
    pub const ALL: [Self; 2] = [Self::Sample, Self::Detokenize];

    /// As spelled in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sample => "sample",
            Self::Detokenize => "detokenize",
        }
    }
}

/// What the events of a batch have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchHead {
    /// The plan whose sites the events name.
    pub plan: u32,
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
    /// End of the token.
    pub end_ns: u64,
    /// Nanoseconds per tick of `gap` and `duration`.
    pub tick_ns: u32,
    /// Time in named spans, ns, in the order of [`OtherSpan::ALL`].
    pub other_ns: [u64; 2],
}

/// The events of one token or chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpBatch {
    /// What they share.
    pub head: BatchHead,
    /// In the order in which they ran.
    pub events: Vec<OpEvent>,
}
