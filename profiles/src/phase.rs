//! Phases: the stages of a run that have times of their own.

use serde::{Deserialize, Serialize};

/// A stage of a run. The numbers stand for the phases in the op ring and are not used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Phase {
    /// Opening files, making weights, allocating.
    Load = 1,
    /// Unmeasured forward passes, and filling the context to the requested depth.
    Warmup = 3,
    /// The prompt.
    Prefill = 4,
    /// One token at a time.
    Decode = 5,
    /// The same token again and again, recorder on and off: what recording costs. In no total.
    Overhead = 6,
}

impl Phase {
    /// All of them, in the order in which they run.
    pub const ALL: [Self; 5] = [Self::Load, Self::Warmup, Self::Prefill, Self::Decode, Self::Overhead];

    /// As spelled in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Warmup => "warmup",
            Self::Prefill => "prefill",
            Self::Decode => "decode",
            Self::Overhead => "overhead",
        }
    }

    /// From its number in the op ring.
    pub fn from_u8(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|&phase| phase as u8 == number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_words_are_fixed() {
        for (phase, number, word) in [
            (Phase::Load, 1, "load"),
            (Phase::Warmup, 3, "warmup"),
            (Phase::Prefill, 4, "prefill"),
            (Phase::Decode, 5, "decode"),
            (Phase::Overhead, 6, "overhead"),
        ] {
            assert_eq!((phase as u8, Phase::from_u8(number), phase.as_str()), (number, Some(phase), word));
            assert_eq!(serde_json::to_string(&phase).unwrap(), format!("\"{word}\""));
        }
        assert_eq!((Phase::from_u8(0), Phase::from_u8(2), Phase::from_u8(7)), (None, None, None));
    }
}
