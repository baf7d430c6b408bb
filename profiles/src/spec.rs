//! What a decoder-only model computes, along the axes in which small language models differ.
//!
//! A spec is shapes and rules, no weights. Three readers make one: a catalogue row ([`crate::catalogue`]),
//! a GGUF header (the engine's), and later a Hugging Face configuration. Everything behind the readers works
//! on the spec alone; a new model is a new spec.

pub mod tensors;

use serde::{Deserialize, Serialize};

/// A decoder: token ids in, logits out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DecoderSpec {
    /// Rows of the embedding table.
    pub vocab: u32,
    /// Width of the residual stream.
    pub hidden: u32,
    /// Longest context that the model was made for, tokens.
    pub max_context: u32,
    /// Factor on embedded tokens (`sqrt(hidden)` in Gemma); `None` for 1.
    pub embedding_scale: Option<f32>,
    /// The blocks, first to last.
    pub layers: Vec<Layer>,
    /// Before the LM head.
    pub final_norm: Norm,
    /// Logits are products with the embedding table; no matrix of their own is stored.
    pub tied_head: bool,
}

/// One block: attention, then feed-forward, each added to the residual stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Layer {
    /// Before attention.
    pub attn_norm: Norm,
    /// The token mixer.
    pub attention: Attention,
    /// On the attention's output, before it is added (Gemma 2 and 3).
    pub attn_post_norm: Option<Norm>,
    /// Before the feed-forward.
    pub ffn_norm: Norm,
    /// The channel mixer.
    pub ffn: Ffn,
    /// On the feed-forward's output, before it is added (Gemma 2 and 3).
    pub ffn_post_norm: Option<Norm>,
}

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
    /// RMS normalisation of every query and key head (Qwen 3, Gemma 3).
    pub qk_norm: Option<Norm>,
    /// Rotary positions.
    pub rope: Rope,
    /// Tokens that a query sees, itself included; `None` for all before it.
    pub window: Option<u32>,
    /// Factor on scores.
    pub scale: f32,
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
}

/// Rotary position embedding (Su et al., arXiv 2104.09864).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rope {
    /// Base of the geometric series of angles.
    pub theta: f32,
    /// Leading elements of a head that turn; even.
    pub dim: u32,
    /// Which elements form a pair.
    pub pairing: RopePairing,
    /// Change of the angles for longer contexts.
    pub scaling: RopeScaling,
}

/// Which two elements of a head turn together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RopePairing {
    /// `(i, i + dim/2)`, as in GPT-NeoX.
    Halves,
    /// `(2i, 2i + 1)`, as in the original paper and in GGUF files of the llama architecture.
    Adjacent,
}

/// How angles are stretched beyond the trained context.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RopeScaling {
    /// Not at all.
    None,
    /// Positions divided by a factor.
    Linear {
        /// Above 0.
        factor: f32,
    },
    /// Llama 3.1: low frequencies divided by `factor`, high ones kept, a ramp between.
    Llama3 {
        /// Divisor of low frequencies.
        factor: f32,
        /// Wavelengths above `original_context / low` are low frequencies.
        low: f32,
        /// Wavelengths below `original_context / high` are high frequencies.
        high: f32,
        /// Context of the first training stage, tokens.
        original_context: u32,
    },
    /// One divisor per pair, stored in the file as the tensor `rope_freqs.weight`.
    Factors(Vec<f32>),
}

impl Rope {
    /// Angle per position of every pair, `dim / 2` values, radians.
    pub fn frequencies(&self) -> Vec<f32> {
        let plain = |pair: u32| f64::from(self.theta).powf(-2.0 * f64::from(pair) / f64::from(self.dim));
        (0..self.dim / 2)
            .map(|pair| {
                let angle = plain(pair);
                let scaled = match &self.scaling {
                    RopeScaling::None => angle,
                    RopeScaling::Linear { factor } => angle / f64::from(*factor),
                    RopeScaling::Factors(factors) => angle / f64::from(factors[pair as usize]),
                    RopeScaling::Llama3 { factor, low, high, original_context } => {
                        let turns = f64::from(*original_context) * angle / std::f64::consts::TAU;
                        let (low, high) = (f64::from(*low), f64::from(*high));
                        let keep = ((turns - low) / (high - low)).clamp(0.0, 1.0);
                        angle * (keep + (1.0 - keep) / f64::from(*factor))
                    }
                };
                scaled as f32
            })
            .collect()
    }
}

/// RMS normalisation (Zhang and Sennrich, arXiv 1910.07467) with learned gains.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Norm {
    /// Added to the mean square.
    pub eps: f32,
}

/// Gated feed-forward: `down(activation(gate(x)) * up(x))`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Ffn {
    /// Width between the projections.
    pub dim: u32,
    /// On the gate.
    pub activation: Activation,
}

/// Pointwise functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// `x * sigmoid(x)`
    Silu,
    /// GELU in its tanh form.
    GeluTanh,
}

/// A contradiction inside a spec: the reader's source describes no model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct SpecError {
    /// The figure at fault, as this module names it.
    pub field: String,
    /// What is wrong with it.
    pub problem: String,
}

/// The largest figures that any model of this size class comes near to; what lies beyond is a damaged file.
const LIMITS: [(&str, u32); 4] =
    [("vocab", 4 << 20), ("hidden", 1 << 17), ("layers", 1024), ("head_dim", 4096)];

impl DecoderSpec {
    /// Checks that the shapes fit each other, so that arithmetic on them cannot overflow or divide by zero.
    ///
    /// # Errors
    /// Names the first figure that cannot be.
    pub fn validate(&self) -> Result<(), SpecError> {
        let fail = |field: &str, problem: String| Err(SpecError { field: field.to_owned(), problem });
        let head_dim = self.layers.iter().map(|layer| layer.attention.head_dim).max().unwrap_or(0);
        let found = [self.vocab, self.hidden, self.layers.len() as u32, head_dim];
        for ((field, limit), found) in LIMITS.into_iter().zip(found) {
            if found == 0 || found > limit {
                return fail(field, format!("{found} is outside 1 to {limit}"));
            }
        }
        if self.max_context == 0 {
            return fail("max_context", "0 tokens".to_owned());
        }
        for (index, layer) in self.layers.iter().enumerate() {
            let Attention { q_heads, kv_heads, head_dim, rope, .. } = &layer.attention;
            if *kv_heads == 0 || *q_heads == 0 || *q_heads > 1024 || !q_heads.is_multiple_of(*kv_heads) {
                return fail(
                    &format!("layers[{index}].attention"),
                    format!("{q_heads} query heads cannot share {kv_heads} key/value heads"),
                );
            }
            if *head_dim == 0 || rope.dim == 0 || rope.dim > *head_dim || rope.dim % 2 == 1 {
                return fail(
                    &format!("layers[{index}].attention.rope.dim"),
                    format!("{} of {head_dim} elements cannot turn in pairs", rope.dim),
                );
            }
            if let RopeScaling::Factors(factors) = &rope.scaling
                && (factors.len() != rope.dim as usize / 2
                    || !factors.iter().all(|f| f.is_normal() && *f > 0.0))
            {
                return fail(
                    &format!("layers[{index}].attention.rope.scaling"),
                    format!("needs {} divisors above 0, one a pair", rope.dim / 2),
                );
            }
            if !(rope.theta.is_finite() && rope.theta > 0.0) {
                return fail(&format!("layers[{index}].attention.rope.theta"), format!("{}", rope.theta));
            }
            if layer.attention.window == Some(0) {
                return fail(&format!("layers[{index}].attention.window"), "0 tokens".to_owned());
            }
            if layer.ffn.dim == 0 || layer.ffn.dim > 1 << 20 {
                return fail(
                    &format!("layers[{index}].ffn.dim"),
                    format!("{} is outside 1 to {}", layer.ffn.dim, 1 << 20),
                );
            }
        }
        Ok(())
    }

    /// Elements that one token adds to the KV cache, keys and values of all layers.
    pub fn kv_elements_per_token(&self) -> u64 {
        self.layers.iter().map(|layer| 2 * u64::from(layer.attention.kv_width())).sum()
    }
}
