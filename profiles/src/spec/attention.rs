//! Attention in its variants.

use serde::{Deserialize, Serialize};

use super::norm::Norm;
use super::rope::Rope;

/// Grouped-query attention; multi-head when `kv_heads == q_heads`, multi-query when it is 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attention {
    /// Query heads.
    pub q_heads: u32,
    /// Key and value heads; divides `q_heads`.
    pub kv_heads: u32,
    /// Elements of a head.
    pub head_dim: u32,
    /// The query, key and value projections have biases (Qwen 1 to 2.5).
    pub qkv_bias: bool,
    /// The output projection has a bias.
    pub out_bias: bool,
    /// Queries, keys and values are cut to ± this (OLMo 7B).
    pub clip: Option<f32>,
    /// Normalisation of queries and keys.
    pub qk_norm: Option<QkNorm>,
    /// How positions enter the scores.
    pub positions: Positions,
    /// Tokens that a query sees, itself included; `None` for all before it.
    pub window: Option<u32>,
    /// Factor on scores.
    pub scale: f32,
    /// Scores become `cap * tanh(score / cap)` (Gemma 2).
    pub softcap: Option<f32>,
    /// Trained context, tokens: the query of the `n`th token is multiplied by `log(n) / log(context)` once
    /// that is above 1 (Qwen 1).
    pub log_n: Option<u32>,
}

impl Attention {
    /// Width of all query heads.
    pub fn q_width(&self) -> u32 {
        self.q_heads * self.head_dim
    }

    /// Width of all key heads; the same for values.
    pub fn kv_width(&self) -> u32 {
        self.kv_heads * self.head_dim
    }

    /// Plain attention: scores by `1 / sqrt(head_dim)`, no biases, norms, windows or caps.
    pub fn plain(q_heads: u32, kv_heads: u32, head_dim: u32, positions: Positions) -> Self {
        Self {
            q_heads,
            kv_heads,
            head_dim,
            qkv_bias: false,
            out_bias: false,
            clip: None,
            qk_norm: None,
            positions,
            window: None,
            scale: 1.0 / (head_dim as f32).sqrt(),
            softcap: None,
            log_n: None,
        }
    }

    /// The rotary embedding, if there is one.
    pub fn rope(&self) -> Option<&Rope> {
        match &self.positions {
            Positions::Rope(rope) => Some(rope),
            _ => None,
        }
    }

    /// The rotary embedding, if there is one, to be changed.
    pub fn rope_mut(&mut self) -> Option<&mut Rope> {
        match &mut self.positions {
            Positions::Rope(rope) => Some(rope),
            _ => None,
        }
    }
}

/// How the positions of tokens enter attention scores.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Positions {
    /// They do not; the embedding has positions.
    None,
    /// Queries and keys are turned.
    Rope(Rope),
    /// A slope per head times the distance is taken off the score (Press et al., arXiv 2108.12409).
    Alibi,
}

/// Normalisation of queries and keys before they are turned.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QkNorm {
    /// Each head by itself, with the same gains for all heads (Qwen 3, Gemma 3, OpenELM).
    Head(Norm),
    /// All heads as one row (DCLM).
    All(Norm),
}

/// Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434; MiniCPM3): a token's keys and values of all
/// heads are one short latent row, and one rotary key that all heads share.
///
/// The cache holds latent and rotary key. Queries are multiplied into the latent space and results out of it,
/// so that nothing is expanded per cached token.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LatentAttention {
    /// Query heads.
    pub heads: u32,
    /// Width of the latent query.
    pub q_rank: u32,
    /// Width of the latent row of keys and values.
    pub kv_rank: u32,
    /// Elements of a head's query that meet the latent row.
    pub nope_dim: u32,
    /// Elements of a head's query that are turned.
    pub rope_dim: u32,
    /// Elements of a head's value.
    pub value_dim: u32,
    /// On both latent rows.
    pub norm: Norm,
    /// Of the turned elements; its `dim` is `rope_dim`.
    pub rope: Rope,
    /// Factor on scores.
    pub scale: f32,
}

impl LatentAttention {
    /// Elements of a head's query.
    pub fn query_dim(&self) -> u32 {
        self.nope_dim + self.rope_dim
    }

    /// Elements that the cache keeps of a token.
    pub fn cache_width(&self) -> u32 {
        self.kv_rank + self.rope_dim
    }
}

/// ALiBi's slopes: a geometric series that ends at 2^-8. For a number of heads that is no power of two, the
/// series of the next lower one is followed by every other slope of the next higher one, as in the authors'
/// code.
pub fn alibi_slopes(heads: u32) -> Vec<f32> {
    let lower = if heads == 0 { 0 } else { 1 << heads.ilog2() };
    let series = |count: u32, place: u32| (-8.0 * f64::from(place) / f64::from(count)).exp2() as f32;
    let first = (1..=lower).map(|place| series(lower, place));
    let rest = (0..heads - lower).map(|index| series(2 * lower, 2 * index + 1));
    first.chain(rest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slopes_of_powers_of_two_halve_evenly_and_others_fill_in() {
        assert_eq!(
            alibi_slopes(8),
            [0.5, 0.25, 0.125, 0.0625, 0.03125, 0.015_625, 0.007_812_5, 0.003_906_25]
        );
        let twelve = alibi_slopes(12);
        assert_eq!(twelve[..8], alibi_slopes(8));
        let sixteen = alibi_slopes(16);
        assert_eq!(twelve[8..], [sixteen[0], sixteen[2], sixteen[4], sixteen[6]]);
        assert_eq!(alibi_slopes(1), [0.003_906_25]);
        assert!(alibi_slopes(0).is_empty());
    }
}
