//! The architectures that this engine reads from GGUF, and what each means by its keys.
//!
//! | `general.architecture` | pairs turn | biases | norms of q, k | after the blocks | windows |
//! |---|---|---|---|---|---|
//! | `llama` | adjacent (the converter reorders q and k) | if in the file | no | no | no |
//! | `qwen2` | halves | q, k, v | no | no | no |
//! | `qwen3` | halves | if in the file | yes | no | no |
//! | `gemma3` | halves | if in the file | yes | norms | 5 of 6 layers |
//!
//! Gemma's norms multiply by 1 + gain; its converter stores the sum.

use slmscope_profiles::spec::{
    Activation, Attention, DecoderSpec, Ffn, Layer, Norm, Rope, RopePairing, RopeScaling,
};

use super::{ROPE_FACTORS, unsupported, vocabulary};
use crate::error::LoadError;
use crate::gguf::{GgmlType, Gguf};

const KNOWN: &str = "this engine runs llama, qwen2, qwen3 and gemma3";
const OTHER_ENGINE: &str = "choose a model without it";
/// Layers beyond any model of this class: a damaged header would otherwise ask for gigabytes of spec.
const MOST_LAYERS: u32 = 1024;
/// Gemma 3's local layers keep the base of Gemma 2.
const GEMMA_LOCAL_THETA: f32 = 10_000.0;
/// In Gemma 3 every sixth layer is global.
const GEMMA_PATTERN: u32 = 6;
/// Gemma 3 27B alone scales queries by `hidden / q_heads` in place of the head's width.
const GEMMA_27B_LAYERS: u32 = 62;

#[derive(Clone, Copy, PartialEq)]
enum Architecture {
    Llama,
    Qwen2,
    Qwen3,
    Gemma3,
}

/// The keys of one architecture in one file.
struct Keys<'a> {
    gguf: &'a Gguf<'a>,
    prefix: &'static str,
}

/// Reads the spec of the model that `gguf` describes.
pub(super) fn spec(gguf: &Gguf<'_>) -> Result<DecoderSpec, LoadError> {
    let name = gguf.get_str("general.architecture")?;
    let (architecture, prefix) = match name {
        Some("llama") => (Architecture::Llama, "llama"),
        Some("qwen2") => (Architecture::Qwen2, "qwen2"),
        Some("qwen3") => (Architecture::Qwen3, "qwen3"),
        Some("gemma3") => (Architecture::Gemma3, "gemma3"),
        Some(other) => return Err(unsupported(gguf, format!("general.architecture {other}"), KNOWN)),
        None => return Err(gguf.missing("general.architecture").into()),
    };
    let keys = Keys { gguf, prefix };
    keys.refuse_features(architecture)?;
    let spec = keys.decoder(architecture)?;
    spec.validate().map_err(|source| LoadError::Spec { model: gguf.file().to_owned(), source })?;
    Ok(spec)
}

impl Keys<'_> {
    fn decoder(&self, architecture: Architecture) -> Result<DecoderSpec, LoadError> {
        let gemma = architecture == Architecture::Gemma3;
        let count = self.need("block_count")?;
        if count > MOST_LAYERS {
            return Err(self.unsupported("block_count", &count.to_string(), "the file is damaged"));
        }
        let hidden = self.need("embedding_length")?;
        let q_heads = self.need("attention.head_count")?;
        let kv_heads = self.number("attention.head_count_kv")?.unwrap_or(q_heads);
        let even = hidden.checked_div(q_heads).unwrap_or(0);
        let head_dim = self.number("attention.key_length")?.unwrap_or(even);
        if let Some(values) = self.number("attention.value_length")?.filter(|values| *values != head_dim) {
            let what = format!("{values}, not the length {head_dim} of keys,");
            return Err(self.unsupported("attention.value_length", &what, OTHER_ENGINE));
        }
        let eps = self.float("attention.layer_norm_rms_epsilon")?;
        let eps = eps.ok_or_else(|| self.gguf.missing(&self.key("attention.layer_norm_rms_epsilon")))?;
        let norm = Norm { eps };
        let present = |name: &str| self.gguf.tensor(name).is_some();
        let rope = self.rope(architecture, head_dim)?;
        let local = self.local(architecture, &rope)?;
        let scaled_by = if gemma && count == GEMMA_27B_LAYERS { even } else { head_dim };
        let ffn_dim = self.need("feed_forward_length")?;
        let layer = |index: u32| {
            let local = local.as_ref().filter(|local| !(index + 1).is_multiple_of(local.pattern));
            Layer {
                attn_norm: norm,
                attention: Attention {
                    q_heads,
                    kv_heads,
                    head_dim,
                    qkv_bias: present(&format!("blk.{index}.attn_q.bias")),
                    qk_norm: matches!(architecture, Architecture::Qwen3 | Architecture::Gemma3)
                        .then_some(norm),
                    rope: local.map_or(&rope, |local| &local.rope).clone(),
                    window: local.map(|local| local.window),
                    scale: 1.0 / (scaled_by as f32).sqrt(),
                },
                attn_post_norm: gemma.then_some(norm),
                ffn_norm: norm,
                ffn: Ffn {
                    dim: ffn_dim,
                    activation: if gemma { Activation::GeluTanh } else { Activation::Silu },
                },
                ffn_post_norm: gemma.then_some(norm),
            }
        };
        Ok(DecoderSpec {
            vocab: vocabulary(self.gguf)?,
            hidden,
            max_context: self.need("context_length")?,
            embedding_scale: gemma.then(|| (hidden as f32).sqrt()),
            layers: (0..count).map(layer).collect(),
            final_norm: norm,
            tied_head: !present("output.weight"),
        })
    }

    fn rope(&self, architecture: Architecture, head_dim: u32) -> Result<Rope, LoadError> {
        let pairing = match architecture {
            Architecture::Llama => RopePairing::Adjacent,
            _ => RopePairing::Halves,
        };
        Ok(Rope {
            theta: self.float("rope.freq_base")?.unwrap_or(10_000.0),
            dim: self.number("rope.dimension_count")?.unwrap_or(head_dim),
            pairing,
            scaling: self.scaling()?,
        })
    }

    fn scaling(&self) -> Result<RopeScaling, LoadError> {
        if let Some(factors) = self.factors()? {
            return Ok(RopeScaling::Factors(factors));
        }
        let kind = self.gguf.get_str(&self.key("rope.scaling.type"))?;
        // The name of the key before scaling had types.
        let old = self.float("rope.scale_linear")?;
        let factor = self.float("rope.scaling.factor")?.or(old).unwrap_or(1.0);
        match kind {
            Some("linear") | None if factor > 0.0 && (factor - 1.0).abs() > f32::EPSILON => {
                Ok(RopeScaling::Linear { factor })
            }
            Some("linear" | "none") | None if factor > 0.0 => Ok(RopeScaling::None),
            Some("linear" | "none") | None => {
                Err(self.unsupported("rope.scaling.factor", &factor.to_string(), "the file is damaged"))
            }
            Some(other) => Err(self.unsupported("rope.scaling.type", other, OTHER_ENGINE)),
        }
    }

    fn factors(&self) -> Result<Option<Vec<f32>>, LoadError> {
        let Some(tensor) = self.gguf.tensor(ROPE_FACTORS) else { return Ok(None) };
        if tensor.ggml_type() != GgmlType::F32 {
            let what = format!("tensor {ROPE_FACTORS} in {}", tensor.ggml_type());
            return Err(unsupported(self.gguf, what, "convert the model again"));
        }
        let values = self.gguf.data(tensor).chunks_exact(4);
        Ok(Some(values.map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])).collect()))
    }

    /// What the windowed layers have of their own. `None` if all layers see everything.
    fn local(&self, architecture: Architecture, global: &Rope) -> Result<Option<Local>, LoadError> {
        if architecture != Architecture::Gemma3 {
            return Ok(None);
        }
        let window = self.need("attention.sliding_window")?;
        let pattern = self.number("attention.sliding_window_pattern")?.unwrap_or(GEMMA_PATTERN);
        if pattern == 0 {
            return Err(self.unsupported("attention.sliding_window_pattern", "0", "the file is damaged"));
        }
        let theta = self.float("rope.freq_base_swa")?.unwrap_or(GEMMA_LOCAL_THETA);
        // Stretching for longer contexts is the global layers' affair.
        let rope = Rope { theta, scaling: RopeScaling::None, ..global.clone() };
        Ok(Some(Local { window, pattern, rope }))
    }

    /// Refuses what would change the computation and is not in the spec.
    fn refuse_features(&self, architecture: Architecture) -> Result<(), LoadError> {
        for key in ["expert_count", "expert_used_count"] {
            if let Some(found) = self.number(key)?.filter(|count| *count > 0) {
                return Err(self.unsupported(key, &found.to_string(), "choose a model without experts"));
            }
        }
        let factors = ["attn_logit_softcapping", "final_logit_softcapping", "rope.scaling.attn_factor"];
        let scales = ["logit_scale", "residual_scale", "embedding_scale", "attention.scale"];
        for (keys, neutral) in [(&factors[..2], 0.0), (&factors[2..], 1.0), (&scales[..], 1.0)] {
            for key in keys {
                if let Some(found) = self.float(key)?.filter(|value| (value - neutral).abs() > f32::EPSILON) {
                    return Err(self.unsupported(key, &found.to_string(), OTHER_ENGINE));
                }
            }
        }
        if self.gguf.get_bool(&self.key("attention.causal"))? == Some(false) {
            return Err(self.unsupported("attention.causal", "false", "choose a generative model"));
        }
        if architecture != Architecture::Gemma3
            && let Some(window) = self.number("attention.sliding_window")?
            && window > 0
            && window < self.need("context_length")?
        {
            return Err(self.unsupported("attention.sliding_window", &window.to_string(), OTHER_ENGINE));
        }
        Ok(())
    }

    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }

    fn number(&self, name: &str) -> Result<Option<u32>, LoadError> {
        Ok(self.gguf.get_u32(&self.key(name))?)
    }

    fn need(&self, name: &str) -> Result<u32, LoadError> {
        self.number(name)?.ok_or_else(|| self.gguf.missing(&self.key(name)).into())
    }

    fn float(&self, name: &str) -> Result<Option<f32>, LoadError> {
        Ok(self.gguf.get_f32(&self.key(name))?)
    }

    fn unsupported(&self, name: &str, found: &str, remedy: &'static str) -> LoadError {
        unsupported(self.gguf, format!("{} = {found}", self.key(name)), remedy)
    }
}

/// The windowed layers of a model that has both kinds.
struct Local {
    window: u32,
    /// Every so many layers one is global.
    pattern: u32,
    rope: Rope,
}
