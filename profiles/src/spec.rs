//! What a decoder-only model computes, along the axes in which small language models differ.
//!
//! A spec is shapes and rules, no weights. Three readers make one: a catalogue row ([`crate::catalogue`]), a
//! GGUF header and a Hugging Face configuration (both the engine's). Everything behind the readers works on
//! the spec alone; a new model is a new spec.
//!
//! | axis | here |
//! |---|---|
//! | token mixer | [`Attention`] (MHA, GQA, MQA), [`LatentAttention`] (MLA), [`Recurrent`] (RG-LRU) |
//! | positions | [`Positions`]: none, rotary, ALiBi; [`LearnedPositions`] in the embedding |
//! | channel mixer | [`Ffn`]: gated or not, own weights or another layer's |
//! | norms | [`Norm`]: RMS or layer norm, with and without gains and biases |
//! | where norms and sums are | [`Residual`] and the post-norms of a [`Layer`] |

pub mod attention;
pub mod norm;
pub mod rope;
pub mod tensors;
mod validate;

use serde::{Deserialize, Serialize};

pub use attention::{Attention, LatentAttention, Positions, QkNorm, alibi_slopes};
pub use norm::{Gain, Norm, NormKind};
pub use rope::{Lengths, Rope, RopePairing, RopeScaling};
pub use validate::{MAX_LAYERS, SpecError};

/// A decoder: token ids in, logits out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DecoderSpec {
    /// Rows of the embedding table.
    pub vocab: u32,
    /// Width of the residual stream.
    pub hidden: u32,
    /// Longest context that the model was trained for, tokens.
    pub max_context: u32,
    /// From ids to the residual stream.
    pub embedding: Embedding,
    /// The blocks, first to last.
    pub layers: Vec<Layer>,
    /// Before the LM head; `None` where the last block's own norm is the last (OPT-350M).
    pub final_norm: Option<Norm>,
    /// From the residual stream to logits.
    pub head: Head,
}

/// How token ids become rows of the residual stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Embedding {
    /// Width of the table. Other than the stream's, a matrix projects rows into the stream and another one
    /// what comes out of it back (OPT-350M).
    pub width: u32,
    /// Factor on embedded tokens (`sqrt(hidden)` in Gemma, 12 in MiniCPM); `None` for 1.
    pub scale: Option<f32>,
    /// A table of positions that is added.
    pub positions: Option<LearnedPositions>,
    /// On the sum (BLOOM).
    pub norm: Option<Norm>,
}

impl Embedding {
    /// A plain table of the stream's width.
    pub fn plain(width: u32) -> Self {
        Self { width, scale: None, positions: None, norm: None }
    }
}

/// A table of learned positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LearnedPositions {
    /// Rows that are stored.
    pub rows: u32,
    /// Row of position 0 (2 in OPT).
    pub offset: u32,
}

/// How the residual stream becomes logits.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Head {
    /// Logits are products with the embedding table; no matrix of their own is stored.
    pub tied: bool,
    /// A bias per vocabulary entry (Phi-1 to 2).
    pub bias: bool,
    /// Factor on logits; `None` for 1.
    pub scale: Option<f32>,
    /// Logits become `cap * tanh(logits / cap)`.
    pub softcap: Option<f32>,
}

impl Head {
    /// A head without bias, factor and cap.
    pub fn plain(tied: bool) -> Self {
        Self { tied, bias: false, scale: None, softcap: None }
    }
}

/// One block: a token mixer and a feed-forward, added to the residual stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Layer {
    /// How norms, branches and sums are connected.
    pub residual: Residual,
    /// Factor on each branch before it is added (MiniCPM, Granite); `None` for 1.
    pub residual_scale: Option<f32>,
    /// Of the token mixer; see [`Residual`].
    pub attn_norm: Norm,
    /// The token mixer.
    pub mixer: Mixer,
    /// On the mixer's output, before it is added (Gemma 2 and 3).
    pub attn_post_norm: Option<Norm>,
    /// Of the feed-forward; see [`Residual`]. `None` only where it shares the mixer's.
    pub ffn_norm: Option<Norm>,
    /// The channel mixer.
    pub ffn: Ffn,
    /// On the feed-forward's output, before it is added (Gemma 2 and 3).
    pub ffn_post_norm: Option<Norm>,
}

/// How the parts of a block are connected. `n` are its norms, `m` the token mixer, `f` the feed-forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Residual {
    /// `x += m(n1(x)); x += f(n2(x))`
    PreNorm,
    /// `x = n1(x + m(x)); x = n2(x + f(x))` (OPT-350M)
    PostNorm,
    /// `x += m(n1(x)) + f(n2(x))` (GPT-NeoX)
    Parallel,
    /// `x += m(n1(x)) + f(n1(x))` (Phi-1 to 2)
    ParallelSharedNorm,
}

impl Residual {
    /// Both branches are computed from the same stream and added at once.
    pub fn is_parallel(self) -> bool {
        matches!(self, Self::Parallel | Self::ParallelSharedNorm)
    }
}

/// What mixes tokens with those before them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mixer {
    /// Attention with keys and values of its own.
    Attention(Attention),
    /// Attention over a compressed cache.
    Latent(LatentAttention),
    /// A gated linear recurrence.
    Recurrent(Recurrent),
}

impl Mixer {
    /// The attention, if it is a plain one.
    pub fn attention(&self) -> Option<&Attention> {
        match self {
            Self::Attention(attention) => Some(attention),
            _ => None,
        }
    }

    /// The attention, if it is a plain one, to be changed.
    pub fn attention_mut(&mut self) -> Option<&mut Attention> {
        match self {
            Self::Attention(attention) => Some(attention),
            _ => None,
        }
    }

    /// Elements that one token adds to the KV cache.
    pub fn kv_elements_per_token(&self) -> u64 {
        match self {
            Self::Attention(attention) => 2 * u64::from(attention.kv_width()),
            Self::Latent(latent) => u64::from(latent.cache_width()),
            Self::Recurrent(_) => 0,
        }
    }
}

/// The recurrent block of Griffin (De et al., arXiv 2402.19427): a short convolution and a real-gated linear
/// recurrent unit, gated by a second branch.
///
/// ```text
/// y = gelu_tanh(Y x + b)                     u = conv(X x + b)
/// r = sigmoid(R u + b)                       i = sigmoid(I u + b)           R, I block-diagonal
/// a = exp(-8 softplus(p) r)                  h = a h + sqrt(1 - a²) i u     sqrt(..) is 1 at position 0
/// out = O (h y) + b
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recurrent {
    /// Elements of the state.
    pub width: u32,
    /// Tokens that the convolution sees, the present one included.
    pub conv: u32,
    /// Blocks of the gates; divides `width`.
    pub blocks: u32,
}

impl Recurrent {
    /// f32 values that it keeps from token to token: the state, and the convolution's past inputs.
    pub fn state_elements(&self) -> u64 {
        u64::from(self.width) * u64::from(self.conv)
    }
}

/// Feed-forward: `down(activation(gate(x)) * up(x))`, or `down(activation(up(x)))` if it is not gated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ffn {
    /// Width between the projections.
    pub dim: u32,
    /// Whether there is a gate.
    pub gated: bool,
    /// On the gate, or on the only product.
    pub activation: Activation,
    /// All its projections have biases.
    pub bias: bool,
    /// The earlier layer whose weights it uses (MobiLlama); `None` for its own.
    pub shared_with: Option<u32>,
}

impl Ffn {
    /// A gated feed-forward without biases.
    pub fn gated(dim: u32, activation: Activation) -> Self {
        Self { dim, gated: true, activation, bias: false, shared_with: None }
    }
}

/// Pointwise functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// `x * sigmoid(x)`
    Silu,
    /// GELU in its tanh form.
    GeluTanh,
    /// GELU with the error function.
    Gelu,
    /// `max(x, 0)`
    Relu,
    /// `max(x, 0)²`
    Relu2,
}

impl DecoderSpec {
    /// Elements that one token adds to the KV cache, all layers.
    pub fn kv_elements_per_token(&self) -> u64 {
        self.layers.iter().map(|layer| layer.mixer.kv_elements_per_token()).sum()
    }

    /// Bytes of recurrent state, which no token adds to; always f32.
    pub fn state_bytes(&self) -> u64 {
        let state = |layer: &Layer| match &layer.mixer {
            Mixer::Recurrent(recurrent) => 4 * recurrent.state_elements(),
            _ => 0,
        };
        self.layers.iter().map(state).sum()
    }

    /// Whether ids pass a projection on their way into the stream and back.
    pub fn projects_embedding(&self) -> bool {
        self.embedding.width != self.hidden
    }
}
