//! The figures of a run that people quote.

use serde::{Deserialize, Serialize};

use super::durations::{Durations, Room};
use crate::phase::Phase;
use crate::stats::{Estimate, ends, resampled};

/// The figures that people quote. Medians over repetitions.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Figures {
    /// Time to first token: tokenize, prefill and the first sample; null without a prompt or a token.
    pub ttft_ns: Option<u64>,
    /// Prompt tokens divided by the wall time of prefill.
    pub prefill_tokens_per_s: Option<Estimate>,
    /// Steps divided by the wall time of decode, sampling included.
    pub decode_tokens_per_s: Option<Estimate>,
    /// The same without sampling: of decode, or of prefill where nothing was decoded.
    pub forward_tokens_per_s: Option<Estimate>,
    /// Wall time of single decode steps, all repetitions.
    pub token_ns: Option<Percentiles>,
    /// How sure these percentiles are; null below 6 repetitions, and above 1,000.
    #[serde(default)]
    pub token_ns_intervals: Option<PercentileIntervals>,
    /// Repetitions whose speed is far from that of the others ([`stats::outliers`](crate::stats::outliers)). They count
    /// like all others.
    #[serde(default)]
    pub outliers: Vec<Outlier>,
    /// Opening or making the weights, to the first step ready.
    pub load_ns: Option<u64>,
    /// What that time was spent on.
    #[serde(default)]
    pub load: Option<LoadTimes>,
}

/// What loading took, ns. `open_ns`, `weights_ns` and `waited_ns` add up to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LoadTimes {
    /// Reading headers or a configuration, and planning the steps.
    pub open_ns: u64,
    /// Mapping, reading, quantizing or making the weights, and room for cache and activations.
    pub weights_ns: u64,
    /// Reading the tokenizer, on a thread of its own: beside the weights where those are mapped from a GGUF file,
    /// before them otherwise. Null without text.
    pub tokenizer_ns: Option<u64>,
    /// How long the tokenizer was waited for.
    pub waited_ns: u64,
}

impl LoadTimes {
    /// From opening to the first step ready.
    pub fn total_ns(&self) -> u64 {
        self.open_ns.saturating_add(self.weights_ns).saturating_add(self.waited_ns)
    }
}

/// Percentiles of times, ns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Percentiles {
    /// Half are faster.
    pub median: u64,
    /// 95 of 100 are faster.
    pub p95: u64,
    /// 99 of 100 are faster.
    pub p99: u64,
}

/// 95 % intervals of percentiles, by bootstrap over the repetitions ([`stats::resampled`](crate::stats::resampled)), ns.
/// Lower end first. The interval of a high percentile of few repetitions is rather too narrow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PercentileIntervals {
    /// Of the median.
    pub median: [u64; 2],
    /// Of the 95th percentile.
    pub p95: [u64; 2],
    /// Of the 99th percentile.
    pub p99: [u64; 2],
}

impl PercentileIntervals {
    /// Repetitions of which intervals are made at most.
    const MOST: usize = 1000;

    /// Of the times of single steps, by repetition.
    pub(super) fn of(repetitions: &[Vec<u64>]) -> Option<Self> {
        if repetitions.len() > Self::MOST {
            return None;
        }
        let mut room = Room::default();
        let histogram = |times: &Vec<u64>| {
            let mut durations = Durations::default();
            for &ns in times {
                durations.add(ns, &mut room);
            }
            durations
        };
        let histograms: Vec<Durations> = repetitions.iter().map(histogram).collect();
        let longest_ns = repetitions.iter().flatten().copied().max()?;
        let found = resampled(histograms.len(), |drawn| {
            let mut sum = Durations::default();
            for &at in drawn {
                sum.merge(&histograms[at]);
            }
            sum.percentiles(longest_ns)
        })?;
        let ends = |of: fn(&Percentiles) -> u64| ends(&mut found.iter().map(of).collect::<Vec<_>>());
        Some(Self { median: ends(|all| all.median)?, p95: ends(|all| all.p95)?, p99: ends(|all| all.p99)? })
    }
}

/// A repetition whose speed is far from that of the others.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Outlier {
    /// Phase.
    pub phase: Phase,
    /// Repetition, from 0.
    #[serde(rename = "run")]
    pub repetition: u32,
    /// Its speed.
    pub tokens_per_s: f64,
}
