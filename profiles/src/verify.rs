//! The result of comparing the engine with reference logits: the object that `slmscope verify --json` prints.
//!
//! The standard deviation is that of all the reference's logits; distances are to the reference, in units of
//! it. What does not apply to a kind of reference is null, and so is a distance that is NaN or infinite.

use serde::{Deserialize, Serialize};

use crate::format::KvFormat;
use crate::setup::Setup;

/// Schema name of [`VerifyReport`].
pub const VERIFY_SCHEMA: &str = "slmscope.verify/1";

/// How far the engine is from a reference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VerifyReport {
    /// [`VERIFY_SCHEMA`].
    pub schema: String,
    /// All cases pass, and the best ids agree often enough where that has a limit.
    pub pass: bool,
    /// Least share of the positions of all cases that must agree in the best id; null where none must.
    pub top1_least: Option<f64>,
    /// That share, 0 to 1; see [`VerifyCase::top1`].
    pub top1: f64,
    /// One prompt each.
    pub cases: Vec<VerifyCase>,
    /// What computed the logits; null where the caller of the engine did not say.
    #[serde(default)]
    pub computed_by: Option<ComputedBy>,
}

/// What computed logits that were compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComputedBy {
    /// Executor, threads and instruction set.
    #[serde(flatten)]
    pub setup: Setup,
    /// Format of the KV cache.
    pub kv: KvFormat,
}

/// One prompt of a reference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VerifyCase {
    /// The reference file, or the number of the text in it.
    pub name: String,
    /// Ids of the prompt.
    pub tokens: u64,
    /// What the distances may be.
    pub tolerances: Tolerances,
    /// Every distance is within its tolerance, nothing that must be equal differs.
    pub pass: bool,
    /// Greatest difference of a logit.
    pub max_abs_over_std: Option<f64>,
    /// Root mean square of the differences.
    pub rms_over_std: Option<f64>,
    /// Kullback-Leibler divergence of our distribution from the reference's, nats, mean over the positions.
    pub kl_mean: Option<f64>,
    /// As `rms_over_std`, to the logits of exact arithmetic on the same weights.
    pub exact_rms_over_std: Option<f64>,
    /// Share of the positions whose best id is the reference's, 0 to 1; for real text, or one whose exact
    /// log-probability is within 0.15 of the best.
    pub top1: f64,
    /// Generated ids are equal up to the first close decision.
    pub greedy_equal: bool,
    /// Generated ids that were compared before it.
    pub greedy_compared: u64,
    /// The model's own tokenizer makes the same ids of the text; null without a text or a tokenizer.
    pub ids_equal: Option<bool>,
    /// Mean difference of the log-probabilities of the reference's best ids from exact ones, nats.
    pub mean_abs_logprob: Option<f64>,
    /// The prompt in chunks against token by token.
    pub prefill: Vec<PrefillCheck>,
}

/// Greatest distances that pass; null where a distance has no limit.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Tolerances {
    /// For [`VerifyCase::max_abs_over_std`].
    pub max_abs_over_std: Option<f64>,
    /// For [`VerifyCase::rms_over_std`].
    pub rms_over_std: Option<f64>,
    /// For [`VerifyCase::kl_mean`].
    pub kl_mean: Option<f64>,
    /// For [`VerifyCase::exact_rms_over_std`].
    pub exact_rms_over_std: Option<f64>,
    /// For [`VerifyCase::mean_abs_logprob`].
    pub mean_abs_logprob: Option<f64>,
}

/// A prompt that was read in chunks, against the same prompt read token by token.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PrefillCheck {
    /// Ids of a chunk.
    pub rows: u64,
    /// Distance of the logits at the chunks' ends, by the measure that decides for this kind of reference:
    /// greatest difference or root mean square over the standard deviation, or mean difference of the
    /// log-probabilities.
    pub distance: Option<f64>,
    /// It is within the tolerance of that measure.
    pub pass: bool,
}
