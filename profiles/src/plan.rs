//! The plan: a spec compiled into a flat list of steps over numbered slots.
//!
//! One loop of an executor runs the steps in order and reads the clock at each border, so a step is also the
//! unit of attribution: every step has a site, and the site carries the rules by which bytes and FLOPs of
//! any chunk length are known without running anything.
//!
//! Projections that read the same input are one step (`attn.qkv_proj`, `ffn.gate_up_proj`): an executor can
//! prepare the input once. A norm behind a branch is part of the addition. So a layer of attention and
//! feed-forward costs 12 events, one more where queries and keys are normalised.
//!
//! Bytes are what has to come from memory whatever the engine does: weights that are multiplied, rows that
//! are looked up, keys and values read and written, recurrent state. Activations are not counted: at the
//! widths of these models they stay in the caches.

mod build;
pub mod op;
pub mod site;

use std::collections::HashMap;

use crate::format::{KvFormat, WeightFormat};
use crate::spec::tensors::TensorSpec;
use crate::spec::{DecoderSpec, Recurrent, Rope};
pub use op::{HeadNormPart, NormWeights, Op, Projection, RopePart, Rows, Step};
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
    /// The KV caches, one an attention layer, in layer order; steps refer to them by index.
    pub caches: Vec<CacheShape>,
    /// The recurrences, one a recurrent layer, in layer order; steps refer to them by index.
    pub states: Vec<Recurrent>,
    /// How the caches keep keys and values.
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

/// What one layer caches of a token: `heads` keys of `key_dim` elements, and as many values of `value_dim`;
/// no values where they are the leading elements of the keys (latent attention).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheShape {
    /// The layer.
    pub layer: u32,
    /// Key and value heads.
    pub heads: u32,
    /// Elements of a key.
    pub key_dim: u32,
    /// Elements of a value that is stored; 0 for none.
    pub value_dim: u32,
}

impl CacheShape {
    /// Bytes of a token whose keys and values are kept in `format`.
    pub fn bytes(&self, format: KvFormat) -> u64 {
        u64::from(self.heads) * (format.bytes(self.key_dim.into()) + format.bytes(self.value_dim.into()))
    }
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
        self.caches.iter().map(|cache| cache.bytes(self.kv_format)).sum::<u64>() * tokens
    }

    /// Bytes of recurrent state, f32.
    pub fn state_bytes(&self) -> u64 {
        self.states.iter().map(|state| 4 * state.state_elements()).sum()
    }

    /// Bytes of f32 activations for chunks of up to `rows` rows; the logits are those of one row.
    pub fn scratch_bytes(&self, rows: u64) -> u64 {
        let once = u64::from(self.slots[usize::from(self.logits)].width);
        let per_row = self.slots.iter().map(|slot| u64::from(slot.width)).sum::<u64>() - once;
        4 * (per_row * rows + once)
    }
}
