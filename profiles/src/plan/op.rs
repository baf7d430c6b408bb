//! The operations that steps consist of.

use serde::{Deserialize, Serialize};

use super::{SlotId, TensorId};
use crate::spec::{Activation, Norm};

/// One step of the forward pass.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// What is computed.
    pub op: Op,
    /// For which rows.
    pub rows: Rows,
}

/// Which rows of the chunk a step computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rows {
    /// All of them.
    All,
    /// Only the last: what follows has one row.
    Last,
}

/// A norm with its learned parameters, each as wide as the rows that are normalised.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NormWeights {
    /// The rule.
    pub norm: Norm,
    /// Factors; present unless [`Norm::gain`] is absent.
    pub gain: Option<TensorId>,
    /// Summands; present if [`Norm::bias`].
    pub bias: Option<TensorId>,
}

/// Leading elements of each row of a slot that are normalised in groups.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HeadNormPart {
    /// Changed in place.
    pub slot: SlotId,
    /// Groups from the start of the row.
    pub groups: u32,
    /// Elements of a group.
    pub width: u32,
    /// Shared by all groups.
    pub weights: NormWeights,
}

/// One matrix of a projection step.
#[derive(Debug, Clone, PartialEq)]
pub struct Projection {
    /// The matrix.
    pub weight: TensorId,
    /// Added to each row of the result.
    pub bias: Option<TensorId>,
    /// Receives the result.
    pub out: SlotId,
}

/// Heads of a slot that are turned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RopePart {
    /// Changed in place.
    pub slot: SlotId,
    /// Heads in a row; the last one ends with the row or before.
    pub heads: u32,
    /// Elements from one head to the next.
    pub head_dim: u32,
    /// First element of a head that turns.
    pub offset: u32,
}

/// The operations.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// Looks the chunk's token ids up: `out = table[ids] * scale`.
    Embed {
        /// The embedding table.
        table: TensorId,
        /// 1 if `None`.
        scale: Option<f32>,
        /// Receives the rows.
        out: SlotId,
    },
    /// Adds a row of a table of positions: `slot += table[position + offset]`.
    AddPositions {
        /// The table.
        table: TensorId,
        /// Row of position 0.
        offset: u32,
        /// Changed in place.
        slot: SlotId,
    },
    /// Normalises each row.
    Norm {
        /// The norm.
        weights: NormWeights,
        /// Read.
        input: SlotId,
        /// May be the same slot as `input`.
        out: SlotId,
    },
    /// Normalises groups of elements in place.
    HeadNorm {
        /// What.
        parts: Vec<HeadNormPart>,
    },
    /// Products of one input with one or more matrices.
    MatMul {
        /// Read.
        input: SlotId,
        /// The matrices.
        parts: Vec<Projection>,
        /// Results, biases included, are cut to ± this.
        clip: Option<f32>,
    },
    /// Rotates heads in place by their position.
    Rope {
        /// The heads: queries and keys.
        parts: Vec<RopePart>,
        /// Index into [`Plan::ropes`](super::Plan::ropes).
        rope: u32,
    },
    /// Appends the chunk's keys and values to a cache.
    KvAppend {
        /// Index into [`Plan::caches`](super::Plan::caches).
        cache: u32,
        /// Keys.
        k: SlotId,
        /// Values; `None` where the cache keeps none.
        v: Option<SlotId>,
    },
    /// Causal attention of the chunk's queries over a cache.
    Attention(AttentionOp),
    /// Brings queries into the latent space (see [`crate::spec::LatentAttention`]). For each head:
    /// `out[..kv_rank] = Σ_n q[n] W[n]` over the first `nope_dim` elements of the query and the first
    /// `nope_dim` rows of the head's part of the matrix; the rest of the query follows as it is.
    LatentQuery {
        /// `heads * (nope_dim + value_dim)` rows of `kv_rank`.
        weight: TensorId,
        /// Shapes.
        shape: LatentShape,
        /// `heads * (nope_dim + rope_dim)` wide.
        q: SlotId,
        /// `heads * (kv_rank + rope_dim)` wide.
        out: SlotId,
    },
    /// Brings results out of the latent space: for each head `out[v] = W[nope_dim + v] · mixed`.
    LatentValue {
        /// As in [`Op::LatentQuery`].
        weight: TensorId,
        /// Shapes.
        shape: LatentShape,
        /// `heads * kv_rank` wide.
        mixed: SlotId,
        /// `heads * value_dim` wide.
        out: SlotId,
    },
    /// `out = activation(gate) * up`, element by element; without `up` the activation alone.
    Gate {
        /// The function.
        activation: Activation,
        /// Read.
        gate: SlotId,
        /// Read.
        up: Option<SlotId>,
        /// May be one of them.
        out: SlotId,
    },
    /// `stream += scale * norm(Σ branches)`.
    Add {
        /// The residual stream.
        stream: SlotId,
        /// What is added: one slot, or two of parallel branches.
        branches: Vec<SlotId>,
        /// On the single branch before it is added.
        norm: Option<NormWeights>,
        /// 1 if `None`.
        scale: Option<f32>,
    },
    /// Causal convolution of each channel over the last `conv` tokens, with a bias:
    /// `out[c] = b[c] + Σ_t w[c][t] x[c][now - (conv - 1) + t]`; inputs before the first token are 0.
    Conv1d {
        /// Index into [`Plan::states`](super::Plan::states).
        state: u32,
        /// `width` rows of `conv`, oldest token first.
        weight: TensorId,
        /// One a channel.
        bias: TensorId,
        /// Read.
        input: SlotId,
        /// Another slot.
        out: SlotId,
    },
    /// Products with block-diagonal matrices: `out[b] = W[b] input[b] + bias[b]` for each of `blocks` blocks.
    BlockMatMul {
        /// Blocks on the diagonal.
        blocks: u32,
        /// Read.
        input: SlotId,
        /// The matrices, each stored as `width` rows of `width / blocks`.
        parts: Vec<Projection>,
    },
    /// The recurrence of [`crate::spec::Recurrent`] token by token: gates are taken before their sigmoid.
    Scan {
        /// Index into [`Plan::states`](super::Plan::states).
        state: u32,
        /// `p` of the rule, one a channel.
        decay: TensorId,
        /// `u` of the rule.
        input: SlotId,
        /// Products of the input gate.
        input_gate: SlotId,
        /// Products of the recurrence gate.
        recurrence_gate: SlotId,
        /// Receives `h`; may be any of the slots read.
        out: SlotId,
    },
    /// `slot = cap * tanh(scale * slot / cap)`, or `scale * slot` without a cap.
    ScaleLogits {
        /// Changed in place.
        slot: SlotId,
        /// 1 if `None`.
        scale: Option<f32>,
        /// No cap if `None`.
        softcap: Option<f32>,
    },
}

/// Attention of a chunk's queries over a cache.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AttentionOp {
    /// Index into [`Plan::caches`](super::Plan::caches).
    pub cache: u32,
    /// Queries, `q_heads * key_dim` wide.
    pub q: SlotId,
    /// Receives the mixed values, `q_heads * value_dim` wide.
    pub out: SlotId,
    /// Query heads.
    pub q_heads: u32,
    /// Key and value heads; query head `h` reads number `h / (q_heads / kv_heads)`.
    pub kv_heads: u32,
    /// Elements of a query and of a key.
    pub key_dim: u32,
    /// Elements of a value.
    pub value_dim: u32,
    /// Values are the first `value_dim` elements of the keys, not stored beside them.
    pub values_in_keys: bool,
    /// Factor on scores.
    pub scale: f32,
    /// Scores become `cap * tanh(score / cap)` after the factor.
    pub softcap: Option<f32>,
    /// A slope per query head times the distance is taken off the score; see
    /// [`alibi_slopes`](crate::spec::alibi_slopes).
    pub alibi: bool,
    /// Tokens that a query sees, itself included; `None` for all.
    pub window: Option<u32>,
    /// The query at position `p` is multiplied by `ln(p + 1) / ln(log_n)` where that is above 1.
    pub log_n: Option<u32>,
}

impl AttentionOp {
    /// What the query at `position` is multiplied with before it meets the keys: the factor on scores, and
    /// the growth of [`log_n`](Self::log_n).
    pub fn query_scale(&self, position: u32) -> f32 {
        let growth = |context: u32| (f64::from(position) + 1.0).ln() / f64::from(context).ln();
        self.scale * self.log_n.map_or(1.0, |context| growth(context).max(1.0) as f32)
    }
}

/// Shapes of latent attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LatentShape {
    /// Query heads.
    pub heads: u32,
    /// Width of the latent row.
    pub kv_rank: u32,
    /// Elements of a query that meet the latent row.
    pub nope_dim: u32,
    /// Elements of a query that are turned.
    pub rope_dim: u32,
    /// Elements of a value.
    pub value_dim: u32,
}
