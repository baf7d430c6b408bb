//! What runs are compared by.

use std::str::FromStr;

use serde::Serialize;

use super::amount::Kind;
use crate::display;
use crate::words::UnknownWord;

/// A figure of a run by which one may be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Measure {
    /// Decode steps per second.
    Decode,
    /// Prompt tokens per second.
    Prefill,
    /// Time to the first token, without loading, ns.
    Ttft,
    /// The time that 99 of 100 decode steps stay below, ns.
    TokenP99,
    /// From opening the model to the first step, ns.
    Load,
    /// The most that was ever resident of the worker, bytes.
    Memory,
    /// Energy of decode divided by its steps, J.
    JoulesPerToken,
    /// Decode steps for a joule.
    TokensPerJoule,
}

/// Which values are better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    /// Larger ones.
    More,
    /// Smaller ones.
    Less,
}

impl Measure {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Decode,
        Self::Prefill,
        Self::Ttft,
        Self::TokenP99,
        Self::Load,
        Self::Memory,
        Self::JoulesPerToken,
        Self::TokensPerJoule,
    ];

    /// The name in flags.
    pub fn name(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::Prefill => "prefill",
            Self::Ttft => "ttft",
            Self::TokenP99 => "token_p99",
            Self::Load => "load",
            Self::Memory => "memory",
            Self::JoulesPerToken => "joules_per_token",
            Self::TokensPerJoule => "tokens_per_joule",
        }
    }

    /// The name in JSON and tables, which ends in its unit.
    pub fn key(self) -> &'static str {
        match self {
            Self::Decode => "decode_tokens_per_s",
            Self::Prefill => "prefill_tokens_per_s",
            Self::Ttft => "ttft_ns",
            Self::TokenP99 => "token_p99_ns",
            Self::Load => "load_ns",
            Self::Memory => "memory_bytes",
            Self::JoulesPerToken => "joules_per_token",
            Self::TokensPerJoule => "tokens_per_joule",
        }
    }

    /// Which values are better.
    pub fn better(self) -> Better {
        match self {
            Self::Decode | Self::Prefill | Self::TokensPerJoule => Better::More,
            Self::Ttft | Self::TokenP99 | Self::Load | Self::Memory | Self::JoulesPerToken => Better::Less,
        }
    }

    pub(super) fn kind(self) -> Kind {
        match self {
            Self::Decode | Self::Prefill | Self::TokensPerJoule => Kind::Number,
            Self::Ttft | Self::TokenP99 | Self::Load => Kind::Time,
            Self::Memory => Kind::Memory,
            Self::JoulesPerToken => Kind::Energy,
        }
    }

    /// Whether `a` is better than `b`.
    pub fn is_better(self, a: f64, b: f64) -> bool {
        match self.better() {
            Better::More => a > b,
            Better::Less => a < b,
        }
    }

    /// A value with its unit: `23.4 tok/s`, `1.20 s`, `412 MiB`, `62.5 mJ`.
    pub fn show(self, value: f64) -> String {
        match self {
            Self::Decode | Self::Prefill => format!("{} tok/s", display::significant(value)),
            Self::Ttft | Self::TokenP99 | Self::Load => display::duration(value as u64),
            Self::Memory => display::bytes(value as u64),
            Self::JoulesPerToken if value.abs() < 1.0 => {
                format!("{} mJ", display::significant(value * 1e3))
            }
            Self::JoulesPerToken => format!("{} J", display::significant(value)),
            Self::TokensPerJoule => format!("{} tok/J", display::significant(value)),
        }
    }
}

impl FromStr for Measure {
    type Err = UnknownWord;

    /// Reads the name in flags, or that of tables.
    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        let found = Self::ALL.into_iter().find(|measure| [measure.name(), measure.key()].contains(&text));
        found.ok_or_else(|| UnknownWord::new("measure", text, Self::ALL.map(Self::name)))
    }
}

impl Serialize for Measure {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.key())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_measure_is_known_by_both_of_its_names_and_a_wrong_one_is_told_the_nearest() {
        for measure in Measure::ALL {
            assert_eq!(measure.name().parse(), Ok(measure));
            assert_eq!(measure.key().parse(), Ok(measure));
        }
        let told = "tokens_per_jule".parse::<Measure>().unwrap_err().to_string();
        assert!(told.contains("did you mean tokens_per_joule?"), "{told}");
    }

    #[test]
    fn values_carry_their_unit() {
        let shown = [
            Measure::Decode.show(23.44),
            Measure::Ttft.show(1.2e9),
            Measure::Memory.show(432_013_312.0),
            Measure::JoulesPerToken.show(0.0625),
            Measure::TokensPerJoule.show(16.0),
        ];
        assert_eq!(shown, ["23.4 tok/s", "1.20 s", "412 MiB", "62.5 mJ", "16.0 tok/J"]);
        assert!(Measure::Ttft.is_better(1.0, 2.0) && Measure::Decode.is_better(2.0, 1.0));
    }
}
