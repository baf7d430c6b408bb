//! One block of a GGUF file.

use slmscope_profiles::spec::{
    Attention, Ffn, LatentAttention, Layer, Mixer, Positions, QkNorm, Residual, Rope, RopeScaling,
};

use super::{Architecture, DAMAGED, Local, PositionStyle, Shapes, Special};
use crate::error::LoadError;
use crate::reader::gguf::keys::Keys;

/// Gemma 3's local layers have Gemma 2's base of rotary embeddings.
const GEMMA_LOCAL_THETA: f32 = 10_000.0;
/// In SmolLM3 every fourth layer has no position encoding.
const SMOLLM3_NO_ROPE: u32 = 4;

impl Keys<'_> {
    pub(super) fn layer(
        &self,
        architecture: &Architecture,
        shapes: &Shapes,
        index: u32,
    ) -> Result<Layer, LoadError> {
        let at = index as usize;
        let norm = shapes.norm;
        let present = |name: &str| self.present(&format!("blk.{index}.{name}"));
        let post = matches!(architecture.special, Special::Gemma2 | Special::Gemma3).then_some(norm);
        let residual = self.residual(architecture, present("ffn_norm.weight"))?;
        let mixer = if architecture.special == Special::MiniCpm3 {
            Mixer::Latent(self.latent(shapes)?)
        } else {
            Mixer::Attention(self.attention(architecture, shapes, index)?)
        };
        Ok(Layer {
            residual,
            residual_scale: shapes.scales.residual,
            attn_norm: norm,
            mixer,
            attn_post_norm: post,
            ffn_norm: (residual != Residual::ParallelSharedNorm).then_some(norm),
            ffn: Ffn {
                dim: shapes.ffn_dims[at],
                gated: architecture.gated,
                activation: architecture.activation,
                bias: present("ffn_up.bias"),
                shared_with: None,
            },
            ffn_post_norm: post,
        })
    }

    fn residual(&self, architecture: &Architecture, ffn_norm: bool) -> Result<Residual, LoadError> {
        let parallel = self.gguf.get_bool(&self.key("use_parallel_residual"))?;
        Ok(match architecture.special {
            Special::SharedNorm => Residual::ParallelSharedNorm,
            Special::Parallel if parallel.unwrap_or(true) => Residual::Parallel,
            // StableLM 2 12B stores no norm for the feed-forward, which then shares the attention's.
            _ if architecture.name == "stablelm" && !ffn_norm => Residual::ParallelSharedNorm,
            _ => Residual::PreNorm,
        })
    }

    fn attention(
        &self,
        architecture: &Architecture,
        shapes: &Shapes,
        index: u32,
    ) -> Result<Attention, LoadError> {
        let at = index as usize;
        let present = |name: &str| self.present(&format!("blk.{index}.{name}"));
        let local = shapes.local.as_ref().filter(|local| local.layers[at]);
        let rope = local.map_or(&shapes.rope, |local| &local.rope).clone();
        let blind = architecture.special == Special::SmolLm3 && (index + 1).is_multiple_of(SMOLLM3_NO_ROPE);
        let positions = match rope {
            Some(rope) if !blind => Positions::Rope(rope),
            _ if architecture.positions == PositionStyle::Alibi => Positions::Alibi,
            _ => Positions::None,
        };
        let qk_norm = matches!(architecture.special, Special::QkNorm | Special::Gemma3);
        let softcap = match architecture.special {
            Special::Gemma2 => self.float("attn_logit_softcapping")?.or(Some(50.0)),
            _ => None,
        };
        let plain = Attention::plain(shapes.q_heads[at], shapes.kv_heads[at], shapes.head_dim, positions);
        Ok(Attention {
            qkv_bias: present("attn_q.bias") || present("attn_qkv.bias"),
            out_bias: present("attn_output.bias"),
            clip: self.float("attention.clamp_kqv")?.filter(|clip| *clip > 0.0),
            qk_norm: qk_norm.then_some(QkNorm::Head(shapes.norm)),
            window: local.map(|local| local.window),
            scale: shapes.scales.scores.unwrap_or(plain.scale),
            softcap,
            ..plain
        })
    }

    fn latent(&self, shapes: &Shapes) -> Result<LatentAttention, LoadError> {
        let query_dim = self.need("attention.key_length")?;
        let rope_dim = self.need("rope.dimension_count")?;
        let Some(rope) = shapes.rope.clone() else { return Err(self.missing("rope.dimension_count")) };
        let heads = shapes.q_heads.first().copied().unwrap_or(0);
        // The converter leaves the default: as wide as a share of the stream.
        let even = shapes.hidden.checked_div(heads).unwrap_or(0);
        Ok(LatentAttention {
            heads,
            q_rank: self.need("attention.q_lora_rank")?,
            kv_rank: self.need("attention.kv_lora_rank")?,
            nope_dim: query_dim.saturating_sub(rope_dim),
            rope_dim,
            value_dim: self.number("attention.value_length")?.unwrap_or(even),
            norm: shapes.norm,
            rope,
            scale: 1.0 / (query_dim as f32).sqrt(),
        })
    }

    /// What the windowed layers have of their own. `None` if all layers see everything.
    pub(super) fn local(
        &self,
        architecture: &Architecture,
        global: Option<&Rope>,
        count: u32,
    ) -> Result<Option<Local>, LoadError> {
        let key = "attention.sliding_window";
        let (default_window, default_pattern) = match architecture.special {
            Special::Gemma2 => (Some(4096), 2),
            Special::Gemma3 => (None, 6),
            Special::Windowed => (Some(0), 0),
            _ => return Ok(None),
        };
        let window = self.number(key)?.or(default_window).ok_or_else(|| self.missing(key))?;
        if window == 0 {
            return Ok(None);
        }
        let pattern_key = "attention.sliding_window_pattern";
        let layers = if let Ok(Some(array)) = self.gguf.get_array(&self.key(pattern_key)) {
            let flags = array.integers().filter(|flags| flags.len() == count as usize);
            let wrong = || self.gguf.wrong_type(&self.key(pattern_key), "one truth value for each layer");
            flags.ok_or_else(wrong)?.map(|flag| flag != 0).collect()
        } else {
            let pattern = self.number(pattern_key)?.unwrap_or(default_pattern);
            if pattern == 0 && default_pattern != 0 {
                return Err(self.unsupported(pattern_key, "0", DAMAGED));
            }
            // Without a pattern all are.
            (1..=count).map(|place| pattern == 0 || !place.is_multiple_of(pattern)).collect()
        };
        let rope = if architecture.special == Special::Gemma3 {
            let theta = self.float("rope.freq_base_swa")?.unwrap_or(GEMMA_LOCAL_THETA);
            // Stretching for longer contexts is the global layers' affair.
            global.map(|rope| Rope { theta, scaling: RopeScaling::None, ..rope.clone() })
        } else {
            global.cloned()
        };
        Ok(Some(Local { window, layers, rope }))
    }
}
