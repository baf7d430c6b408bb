//! The figures of a run that people quote.

use serde::{Deserialize, Serialize};

use crate::stats::Estimate;

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
    pub token_ns: Option<TokenTimes>,
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

/// Percentiles of decode steps, ns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenTimes {
    /// Half are faster.
    pub median: u64,
    /// 95 of 100 are faster.
    pub p95: u64,
    /// 99 of 100 are faster.
    pub p99: u64,
}
