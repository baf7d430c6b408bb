//! The plan: a spec compiled into a flat list of steps over numbered slots.
//!
//! One loop of an executor runs the steps in order and reads the clock at each border, so a step is also the
//! unit of attribution: every step has a site, and the site carries the rules by which bytes and FLOPs of
//! any chunk length are known without running anything.
//!
//! Projections that read the same input are one step (`attn.qkv_proj`, `ffn.gate_up_proj`): an executor can
//! prepare the input once, and a layer of attention and feed-forward costs 12 events instead of 15.
//!
//! Bytes are what has to come from memory whatever the engine does: weights that are multiplied, rows that
//! are looked up, keys and values read and written. Activations are not counted: at the widths of these
//! models they stay in the caches.

mod build;
pub mod site;

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::format::{KvFormat, WeightFormat};
use crate::spec::tensors::TensorSpec;
use crate::spec::{Activation, DecoderSpec, Norm, Rope};
use site::OpSite;

/// Index into [`Plan::tensors`].
pub type TensorId = u32;
/// Index into [`Plan::slots`].
pub type SlotId = u16;
/// Index into [`Plan::sites`], and of the step itself.
pub type SiteId = u16;

/// A compiled model.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The steps of one forward pass; `sites[i]` belongs to `steps[i]`.
    pub steps: Vec<Step>,
    /// What each step is called, and its cost rules.
    pub sites: Vec<OpSite>,
    /// Buffers for activations.
    pub slots: Vec<Slot>,
    /// The weights, each with the format it is stored in.
    pub tensors: Vec<(TensorSpec, WeightFormat)>,
    /// Distinct rotary embeddings; steps refer to them by index.
    pub ropes: Vec<Rope>,
    /// Key and value width of every attention layer, in layer order.
    pub kv_widths: Vec<u32>,
    /// How the cache keeps them.
    pub kv_format: KvFormat,
    /// Width of the residual stream.
    pub hidden: u32,
    /// Width of the logits.
    pub vocab: u32,
    /// Slot of the logits after the last step.
    pub logits: SlotId,
}

/// A buffer of `rows` × `width` f32 values, where `rows` is the chunk length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// For people.
    pub name: &'static str,
    /// Elements of a row.
    pub width: u32,
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

/// One step of the forward pass.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// What is computed.
    pub op: Op,
    /// For which rows.
    pub rows: Rows,
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
    /// RMS norm of each row.
    Norm {
        /// Gains, one an element.
        gain: TensorId,
        /// Epsilon.
        norm: Norm,
        /// Read.
        input: SlotId,
        /// May be the same slot as `input`.
        out: SlotId,
    },
    /// RMS norm of each head in place.
    HeadNorm {
        /// Slot and gains (`head_dim` elements, shared by all heads).
        parts: Vec<(SlotId, TensorId)>,
        /// Elements of a head.
        head_dim: u32,
        /// Epsilon.
        norm: Norm,
    },
    /// Products of one input with one or more matrices.
    MatMul {
        /// Read.
        input: SlotId,
        /// The matrices.
        parts: Vec<Projection>,
    },
    /// Turns heads in place by their position.
    Rope {
        /// The slots: queries and keys.
        parts: Vec<SlotId>,
        /// Elements of a head.
        head_dim: u32,
        /// Index into [`Plan::ropes`].
        rope: u32,
    },
    /// Appends the chunk's keys and values to a layer's cache.
    KvAppend {
        /// The layer.
        layer: u32,
        /// Keys.
        k: SlotId,
        /// Values.
        v: SlotId,
    },
    /// Causal attention of the chunk's queries over the layer's cache.
    Attention {
        /// The layer.
        layer: u32,
        /// Queries.
        q: SlotId,
        /// Receives the mixed values, `q_heads * head_dim` wide.
        out: SlotId,
        /// Query heads.
        q_heads: u32,
        /// Key and value heads.
        kv_heads: u32,
        /// Elements of a head.
        head_dim: u32,
        /// Factor on scores.
        scale: f32,
        /// Tokens that a query sees, itself included; `None` for all.
        window: Option<u32>,
    },
    /// `out = activation(gate) * up`, element by element.
    Gate {
        /// The function.
        activation: Activation,
        /// Read.
        gate: SlotId,
        /// Read.
        up: SlotId,
        /// May be one of them.
        out: SlotId,
    },
    /// `stream += branch`.
    Add {
        /// The residual stream.
        stream: SlotId,
        /// What is added.
        branch: SlotId,
    },
}

impl Plan {
    /// Compiles `spec` with weights in the formats that `format_of` gives, and a cache in `kv_format`.
    ///
    /// The spec must have passed [`DecoderSpec::validate`].
    pub fn compile(
        spec: &DecoderSpec,
        kv_format: KvFormat,
        format_of: impl Fn(&TensorSpec) -> WeightFormat,
    ) -> Self {
        build::compile(spec, kv_format, format_of)
    }

    /// Index of a tensor by name.
    pub fn tensor_ids(&self) -> HashMap<&str, TensorId> {
        self.tensors
            .iter()
            .enumerate()
            .map(|(id, (tensor, _))| (tensor.name.as_str(), id as TensorId))
            .collect()
    }

    /// Bytes of all weights as they are stored.
    pub fn weight_bytes(&self) -> u64 {
        self.tensors.iter().map(|(tensor, format)| tensor.bytes(*format)).sum()
    }

    /// Bytes of keys and values of `tokens` tokens.
    pub fn kv_bytes(&self, tokens: u64) -> u64 {
        let elements: u64 = self.kv_widths.iter().map(|&width| 2 * u64::from(width)).sum();
        elements * self.kv_format.bytes() * tokens
    }

    /// Bytes of f32 activations for chunks of up to `rows` rows; the logits are those of one row.
    pub fn scratch_bytes(&self, rows: u64) -> u64 {
        let once = u64::from(self.slots[usize::from(self.logits)].width);
        let per_row = self.slots.iter().map(|slot| u64::from(slot.width)).sum::<u64>() - once;
        4 * (per_row * rows + once)
    }
}
