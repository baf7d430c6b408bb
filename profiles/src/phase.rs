//! Phases: the stages of a run that have times of their own.

use serde::{Deserialize, Serialize};

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
