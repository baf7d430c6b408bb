//! What of a recording is exported.

use std::ops::RangeInclusive;
use std::str::FromStr;

use slmscope_profiles::op::{BatchHead, Phase};
use slmscope_profiles::plan::site::{Module, OpKind, OpSite};

/// What is selected; by default everything.
///
/// Times, phases and tokens select whole tokens and chunks; layers, modules and kinds select ops within them. Wall
/// times, and what is computed with them, are those of whole tokens whichever ops are selected, so that a share is
/// always one of all the time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Tokens that begin, and readings that were taken, at this time or later: ns after the recording's first time.
    pub from_ns: Option<u64>,
    /// Those before this time, ns.
    pub to_ns: Option<u64>,
    /// These phases; all if there is none.
    pub phases: Vec<Phase>,
    /// Tokens of decode and chunks of prefill by their numbers within the phase, from 0.
    pub tokens: Option<Numbers>,
    /// Ops of these layers.
    pub layers: Option<Numbers>,
    /// Ops of these parts of the model; all if there is none.
    pub modules: Vec<Module>,
    /// Ops of these kinds; all if there is none.
    pub kinds: Vec<OpKind>,
}

impl Filter {
    /// Whether a moment is selected, `after_ns` after the recording's first time.
    pub fn takes_time(&self, after_ns: u64) -> bool {
        self.from_ns.is_none_or(|from_ns| after_ns >= from_ns)
            && self.to_ns.is_none_or(|to_ns| after_ns < to_ns)
    }

    /// Whether a stretch of time has a part that is selected.
    pub(super) fn takes_stretch(&self, begin_ns: u64, end_ns: u64) -> bool {
        self.from_ns.is_none_or(|from_ns| end_ns > from_ns) && self.to_ns.is_none_or(|to_ns| begin_ns < to_ns)
    }

    /// Whether a phase is selected.
    pub fn takes_phase(&self, phase: Phase) -> bool {
        self.phases.is_empty() || self.phases.contains(&phase)
    }

    /// Whether the token or chunk is, which begins `after_ns` after the recording's first time.
    pub(super) fn takes_batch(&self, head: &BatchHead, after_ns: u64) -> bool {
        self.takes_phase(head.phase)
            && self.tokens.as_ref().is_none_or(|tokens| tokens.contain(head.token))
            && self.takes_time(after_ns)
    }

    /// Whether the ops of a site are selected.
    pub fn takes_site(&self, site: &OpSite) -> bool {
        let in_layers = |layers: &Numbers| site.layer.is_some_and(|layer| layers.contain(layer));
        self.layers.as_ref().is_none_or(in_layers)
            && (self.modules.is_empty() || self.modules.contains(&site.module))
            && (self.kinds.is_empty() || self.kinds.contains(&site.kind))
    }
}

/// Numbers from 0: `7`, or `3..9` with both ends, of which either may be left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Numbers(RangeInclusive<u32>);

impl Numbers {
    /// Whether `number` is one of them.
    pub fn contain(&self, number: u32) -> bool {
        self.0.contains(&number)
    }
}

/// A text that names no numbers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("write a number such as 7, or a range with both ends such as 3..9, ..9 or 3..")]
pub struct UnknownNumbers;

impl FromStr for Numbers {
    type Err = UnknownNumbers;

    fn from_str(text: &str) -> Result<Self, UnknownNumbers> {
        let number = |text: &str| text.trim().parse().map_err(|_| UnknownNumbers);
        let Some((first, last)) = text.split_once("..") else {
            return number(text).map(|number| Self(number..=number));
        };
        let first = if first.is_empty() { 0 } else { number(first)? };
        let last = if last.is_empty() { u32::MAX } else { number(last.trim_start_matches('='))? };
        if first > last { Err(UnknownNumbers) } else { Ok(Self(first..=last)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_one_or_a_range_with_both_ends() {
        let numbers = |text: &str| text.parse::<Numbers>();
        let within = |text: &str| (0..12).filter(|&n| numbers(text).unwrap().contain(n)).collect::<Vec<_>>();
        assert_eq!(within("7"), [7]);
        assert_eq!(
            (within("3..5"), within("..2"), within("10..")),
            (vec![3, 4, 5], vec![0, 1, 2], vec![10, 11])
        );
        assert_eq!(within("3..=5"), [3, 4, 5]);
        for text in ["", "x", "5..3", "-1", "1..2..3", "99999999999"] {
            assert_eq!(numbers(text), Err(UnknownNumbers), "{text}");
        }
    }
}
