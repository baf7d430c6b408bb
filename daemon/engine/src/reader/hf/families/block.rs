//! One block of a Hugging Face configuration.

use slmscope_profiles::spec::{
    Attention, Ffn, LatentAttention, Layer, Mixer, Norm, Positions, QkNorm, Recurrent, Residual, Rope,
    RopeScaling,
};

use super::{Biases, Family, Present, Shapes, Special, open_lm};
use crate::error::LoadError;
use crate::reader::hf::config::Config;
use crate::reader::hf::keys;
use crate::reader::hf::rope::Defaults;

impl Family {
    pub(super) fn layer(
        &self,
        config: Config<'_>,
        shapes: &Shapes,
        index: u32,
        present: Present<'_>,
    ) -> Result<Layer, LoadError> {
        let residual = match self.special {
            Special::Phi => Residual::ParallelSharedNorm,
            Special::GptNeoX if config.flag(&["use_parallel_residual"])?.unwrap_or(true) => {
                Residual::Parallel
            }
            _ if self.model_type == "stablelm" && config.flag(&["use_parallel_residual"])? == Some(true) => {
                Residual::ParallelSharedNorm
            }
            _ if self.post_norm(config)? => Residual::PostNorm,
            _ => Residual::PreNorm,
        };
        let depth = (shapes.layers as f32).sqrt();
        let residual_scale = match self.special {
            Special::Granite => config.float(&["residual_multiplier"])?,
            Special::MiniCpm | Special::MiniCpm3 => {
                config.float(&["scale_depth"])?.map(|scale| scale / depth)
            }
            _ => None,
        };
        let post = matches!(self.special, Special::Gemma2 | Special::Gemma3).then_some(shapes.norm);
        let mixer = match self.special {
            Special::MiniCpm3 => Mixer::Latent(latent(config, shapes)?),
            Special::RecurrentGemma if is_recurrent(config, index)? => Mixer::Recurrent(Recurrent {
                width: config.number(&["lru_width"])?.unwrap_or(shapes.hidden),
                conv: config.number(&["conv1d_width"])?.unwrap_or(4),
                blocks: shapes.q_heads,
            }),
            _ => Mixer::Attention(self.attention(config, shapes, index)?),
        };
        Ok(Layer {
            residual,
            residual_scale,
            attn_norm: shapes.norm,
            mixer,
            attn_post_norm: post,
            ffn_norm: (residual != Residual::ParallelSharedNorm).then_some(shapes.norm),
            ffn: self.ffn(config, shapes, index, present)?,
            ffn_post_norm: post,
        })
    }

    fn ffn(
        &self,
        config: Config<'_>,
        shapes: &Shapes,
        index: u32,
        present: Present<'_>,
    ) -> Result<Ffn, LoadError> {
        let stated = config.number(keys::FFN)?;
        let dim = match self.special {
            // Both halves, gate and up, in one figure.
            Special::Qwen1 | Special::RecurrentGemma => stated.map(|both| both / 2),
            Special::OpenElm => Some(open_elm_width(config, shapes, index)?),
            Special::OpenLm => Some(open_lm::ffn_width(shapes.hidden)),
            Special::Bloom | Special::Gpt2 => stated.or(Some(shapes.hidden.saturating_mul(4))),
            _ => stated,
        };
        let dim = dim.ok_or_else(|| config.problem("has no intermediate_size".to_owned()))?;
        let bias = match self.biases {
            Biases::All => config.flag(&["enable_bias"])?.unwrap_or(true),
            Biases::Outputs => true,
            Biases::Qkv => false,
            Biases::Keys => config.flag(&["mlp_bias"])?.unwrap_or(false),
        };
        // MobiLlama stores one feed-forward for all layers.
        let own = present(&format!("blk.{index}.ffn_up.weight"));
        let shared = index > 0 && !own && present("blk.0.ffn_up.weight") && !present("blk.1.ffn_up.weight");
        let shared_with = shared.then_some(0);
        Ok(Ffn { dim, gated: self.gated, activation: shapes.activation, bias, shared_with })
    }

    fn attention(&self, config: Config<'_>, shapes: &Shapes, index: u32) -> Result<Attention, LoadError> {
        let (mut q_heads, mut kv_heads) = (shapes.q_heads, shapes.kv_heads);
        let mut head_dim = shapes.head_dim;
        if self.special == Special::OpenElm {
            let of = |keys: &[&'static str]| -> Result<u32, LoadError> {
                let list = config.numbers(keys)?;
                let found = list.and_then(|list| list.get(index as usize).copied());
                found.ok_or_else(|| config.problem(format!("{} has no number for layer {index}", keys[0])))
            };
            (q_heads, kv_heads) = (of(&["num_query_heads"])?, of(&["num_kv_heads"])?);
            head_dim = config.need(&["head_dim"])?;
        }
        let window = self.window(config, index)?;
        let positions = self.positions(config, shapes, head_dim, index, window.is_some())?;
        let plain = Attention::plain(q_heads, kv_heads, head_dim, positions);
        let attention_bias = config.flag(&["attention_bias", "use_qkv_bias"])?;
        let (qkv_bias, out_bias) = match self.biases {
            Biases::Keys => {
                let all = attention_bias.unwrap_or(false);
                // StableLM's key is for query, key and value only.
                (all, all && self.model_type != "stablelm")
            }
            Biases::Qkv => (true, false),
            Biases::All => {
                let all = attention_bias.unwrap_or(true) && config.flag(&["enable_bias"])?.unwrap_or(true);
                (all, all)
            }
            Biases::Outputs => (attention_bias.unwrap_or(false), true),
        };
        let norm = shapes.norm;
        let qk_norm = match self.special {
            Special::QkNorm | Special::Gemma3 => Some(QkNorm::Head(norm)),
            Special::OpenElm if config.flag(&["normalize_qk_projections"])?.unwrap_or(true) => {
                Some(QkNorm::Head(norm))
            }
            Special::OpenLm if config.flag(&["apply_qk_norm"])? == Some(true) => Some(QkNorm::All(norm)),
            _ => None,
        };
        let scale = match self.special {
            Special::Gemma2 | Special::Gemma3 => {
                config.float(&["query_pre_attn_scalar"])?.map(|width| 1.0 / width.sqrt())
            }
            Special::Granite => config.float(&["attention_multiplier"])?,
            _ => None,
        };
        let log_n = (self.special == Special::Qwen1 && config.flag(&["use_logn_attn"])?.unwrap_or(true))
            .then(|| trained_context(config, shapes))
            .transpose()?;
        Ok(Attention {
            qkv_bias,
            out_bias,
            clip: config.float(&["clip_qkv"])?,
            qk_norm,
            window,
            scale: scale.unwrap_or(plain.scale),
            softcap: config.float(&["attn_logit_softcapping"])?,
            log_n,
            ..plain
        })
    }

    fn positions(
        &self,
        config: Config<'_>,
        shapes: &Shapes,
        head_dim: u32,
        index: u32,
        windowed: bool,
    ) -> Result<Positions, LoadError> {
        let Some(defaults) = self.rope else {
            return Ok(if self.special == Special::Bloom { Positions::Alibi } else { Positions::None });
        };
        if self.special == Special::SmolLm3 {
            // 1 for layers that know positions; else every so many do not.
            let listed = config.numbers(&["no_rope_layers"])?;
            let knows = listed.and_then(|list| list.get(index as usize).map(|&knows| knows != 0));
            let every = config.number(&["no_rope_layer_interval"])?.unwrap_or(4).max(1);
            if !knows.unwrap_or(!(index + 1).is_multiple_of(every)) {
                return Ok(Positions::None);
            }
        }
        let gemma3 = self.special == Special::Gemma3;
        let kind = gemma3.then_some(if windowed { "sliding_attention" } else { "full_attention" });
        let defaults = if gemma3 { Defaults { theta: 1e6, ..defaults } } else { defaults };
        let mut rope = config.rope(head_dim, shapes.context, kind, defaults)?;
        if gemma3 && windowed && config.part(&["rope_parameters"])?.is_none() {
            // Stretching is the full layers' affair.
            let theta = config.float(&["rope_local_base_freq"])?.unwrap_or(10_000.0);
            rope = Rope { theta, scaling: RopeScaling::None, ..rope };
        }
        if self.special == Special::Qwen1 && config.flag(&["use_dynamic_ntk"])?.unwrap_or(true) {
            rope.scaling = RopeScaling::DynamicNtk { trained_context: trained_context(config, shapes)? };
        }
        Ok(Positions::Rope(rope))
    }

    /// Tokens that a layer sees; `None` for all.
    fn window(&self, config: Config<'_>, index: u32) -> Result<Option<u32>, LoadError> {
        let window = || config.number(&["sliding_window"]);
        let kinds = config.texts(&["layer_types"])?;
        let kind = kinds.as_ref().and_then(|kinds| kinds.get(index as usize).copied());
        let pattern = config.number(&["sliding_window_pattern", "_sliding_window_pattern"])?;
        match self.special {
            Special::Windowed => window(),
            Special::Gemma2 | Special::Gemma3 => {
                let every = pattern.unwrap_or(if self.special == Special::Gemma2 { 2 } else { 6 }).max(1);
                let slides =
                    kind.map_or(!(index + 1).is_multiple_of(every), |kind| kind == "sliding_attention");
                if slides { window() } else { Ok(None) }
            }
            Special::RecurrentGemma => Ok(Some(config.number(&["attention_window_size"])?.unwrap_or(2048))),
            // Qwen's upper layers may slide.
            _ if config.flag(&["use_sliding_window"])? == Some(true) => {
                let full = config.number(&["max_window_layers"])?.unwrap_or(0);
                let slides = kind.map_or(index >= full, |kind| kind == "sliding_attention");
                if slides { window() } else { Ok(None) }
            }
            _ => Ok(None),
        }
    }
}

/// The context that a Qwen 1 was trained with, beyond which its two rules begin; it runs up to a longer one.
fn trained_context(config: Config<'_>, shapes: &Shapes) -> Result<u32, LoadError> {
    Ok(config.number(&["seq_length"])?.unwrap_or(shapes.context))
}

fn latent(config: Config<'_>, shapes: &Shapes) -> Result<LatentAttention, LoadError> {
    let rope_dim = config.need(&["qk_rope_head_dim"])?;
    let nope_dim = config.need(&["qk_nope_head_dim"])?;
    let rope = config.rope(rope_dim, shapes.context, None, Defaults { theta: 10_000.0, share: 1.0 })?;
    let query_dim = nope_dim.saturating_add(rope_dim);
    Ok(LatentAttention {
        heads: shapes.q_heads,
        q_rank: config.need(&["q_lora_rank"])?,
        kv_rank: config.need(&["kv_lora_rank"])?,
        nope_dim,
        rope_dim,
        value_dim: config.number(&["v_head_dim"])?.unwrap_or(shapes.head_dim),
        // transformers builds these two norms with its default, not with the key's value.
        norm: Norm { eps: 1e-6, ..shapes.norm },
        rope,
        scale: 1.0 / (query_dim as f32).sqrt(),
    })
}

/// Whether a layer of a RecurrentGemma is a recurrent one; the pattern repeats.
fn is_recurrent(config: Config<'_>, index: u32) -> Result<bool, LoadError> {
    let kinds = config.texts(&["block_types", "_block_types"])?;
    let kinds = kinds.filter(|kinds| !kinds.is_empty());
    let kinds = kinds.unwrap_or_else(|| vec!["recurrent", "recurrent", "attention"]);
    Ok(kinds[index as usize % kinds.len()] == "recurrent")
}

/// Width of a feed-forward in OpenELM: a multiple of the stream, rounded to a multiple of the divisor and
/// never down by more than a tenth.
fn open_elm_width(config: Config<'_>, shapes: &Shapes, index: u32) -> Result<u32, LoadError> {
    let multipliers = config.floats(&["ffn_multipliers"])?;
    let multiplier = multipliers.and_then(|list| list.get(index as usize).copied());
    let Some(multiplier) = multiplier.filter(|multiplier| (0.0..1000.0).contains(multiplier)) else {
        return Err(config.problem(format!("ffn_multipliers has no usable number for layer {index}")));
    };
    let divisor = config.number(&["ffn_dim_divisor"])?.unwrap_or(256).max(1);
    let exact = f64::from(multiplier) * f64::from(shapes.hidden);
    let rounded = ((exact + f64::from(divisor) / 2.0) as u32 / divisor * divisor).max(divisor);
    Ok(if f64::from(rounded) < 0.9 * exact { rounded.saturating_add(divisor) } else { rounded })
}
