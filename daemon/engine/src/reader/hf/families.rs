//! Families of Hugging Face configurations, and what each means by its keys.
//!
//! [`FAMILIES`] is the table; one function turns a line and a configuration into a spec. Where a key is absent
//! the family's own default holds, which the line or the function states.

use slmscope_profiles::spec::{
    Activation, Attention, DecoderSpec, Embedding, Ffn, Gain, Head, LatentAttention, Layer, LearnedPositions,
    MOST_LAYERS, Mixer, Norm, NormKind, Positions, QkNorm, Recurrent, Residual, Rope, RopeScaling,
};

use super::config::Config;
use super::names::{self, Names};
use super::rope::Defaults;
use crate::error::LoadError;

const OTHER: &str = "choose a model without it";

/// A family of configurations: the `model_type` and what no key says.
pub(super) struct Family {
    pub(super) model_type: &'static str,
    pub(super) names: &'static Names,
    norm: NormStyle,
    gated: bool,
    /// Whether biases are there when no key says so.
    biases: Biases,
    rope: Option<Defaults>,
    special: Special,
}

#[derive(Clone, Copy, PartialEq)]
enum NormStyle {
    Rms,
    /// RMS norm whose gains are stored less 1.
    RmsPlusOne,
    Layer,
    /// Layer norm whose gains are stored less 1.
    LayerPlusOne,
    /// Layer norm without parameters.
    Bare,
}

#[derive(Clone, Copy, PartialEq)]
enum Biases {
    /// `attention_bias` and `mlp_bias` say so.
    Keys,
    /// On query, key and value.
    Qkv,
    /// On everything.
    All,
    /// On the output of the mixer and on the feed-forward.
    Outputs,
}

#[derive(Clone, Copy, PartialEq)]
enum Special {
    No,
    Bloom,
    Gemma,
    Gemma2,
    Gemma3,
    Gpt2,
    GptNeoX,
    Granite,
    MiniCpm,
    MiniCpm3,
    OpenElm,
    Opt,
    Phi,
    Qwen1,
    QkNorm,
    RecurrentGemma,
    SmolLm3,
    /// `sliding_window` holds for all layers.
    Windowed,
}

const fn turned(share: f32) -> Defaults {
    Defaults { theta: 10_000.0, share }
}

const fn family(
    model_type: &'static str,
    names: &'static Names,
    norm: NormStyle,
    gated: bool,
    biases: Biases,
    rope: Option<Defaults>,
    special: Special,
) -> Family {
    Family { model_type, names, norm, gated, biases, rope, special }
}

/// In alphabetical order.
const FAMILIES: [Family; 23] = [
    family("bloom", &names::BLOOM, NormStyle::Layer, false, Biases::All, None, Special::Bloom),
    family(
        "gemma",
        &names::LLAMA,
        NormStyle::RmsPlusOne,
        true,
        Biases::Keys,
        Some(turned(1.0)),
        Special::Gemma,
    ),
    family(
        "gemma2",
        &names::GEMMA2,
        NormStyle::RmsPlusOne,
        true,
        Biases::Keys,
        Some(turned(1.0)),
        Special::Gemma2,
    ),
    family(
        "gemma3_text",
        &names::GEMMA2,
        NormStyle::RmsPlusOne,
        true,
        Biases::Keys,
        Some(turned(1.0)),
        Special::Gemma3,
    ),
    family("gpt2", &names::GPT2, NormStyle::Layer, false, Biases::All, None, Special::Gpt2),
    family(
        "gpt_neox",
        &names::GPT_NEOX,
        NormStyle::Layer,
        false,
        Biases::All,
        Some(turned(0.25)),
        Special::GptNeoX,
    ),
    family("granite", &names::LLAMA, NormStyle::Rms, true, Biases::Keys, Some(turned(1.0)), Special::Granite),
    family("llama", &names::LLAMA, NormStyle::Rms, true, Biases::Keys, Some(turned(1.0)), Special::No),
    family("minicpm", &names::LLAMA, NormStyle::Rms, true, Biases::Keys, Some(turned(1.0)), Special::MiniCpm),
    family(
        "minicpm3",
        &names::MINICPM3,
        NormStyle::Rms,
        true,
        Biases::Keys,
        Some(turned(1.0)),
        Special::MiniCpm3,
    ),
    family(
        "mistral",
        &names::LLAMA,
        NormStyle::Rms,
        true,
        Biases::Keys,
        Some(turned(1.0)),
        Special::Windowed,
    ),
    family(
        "nemotron",
        &names::LLAMA,
        NormStyle::LayerPlusOne,
        false,
        Biases::Keys,
        Some(turned(0.5)),
        Special::No,
    ),
    family("olmo", &names::LLAMA, NormStyle::Bare, true, Biases::Keys, Some(turned(1.0)), Special::No),
    family(
        "openelm",
        &names::OPENELM,
        NormStyle::Rms,
        true,
        Biases::Keys,
        Some(turned(1.0)),
        Special::OpenElm,
    ),
    family("opt", &names::OPT, NormStyle::Layer, false, Biases::All, None, Special::Opt),
    family("phi", &names::PHI, NormStyle::Layer, false, Biases::All, Some(turned(0.5)), Special::Phi),
    family("phi3", &names::PHI3, NormStyle::Rms, true, Biases::Keys, Some(turned(1.0)), Special::Windowed),
    family("qwen", &names::QWEN1, NormStyle::Rms, true, Biases::Qkv, Some(turned(1.0)), Special::Qwen1),
    family("qwen2", &names::LLAMA, NormStyle::Rms, true, Biases::Qkv, Some(turned(1.0)), Special::No),
    family("qwen3", &names::LLAMA, NormStyle::Rms, true, Biases::Keys, Some(turned(1.0)), Special::QkNorm),
    family(
        "recurrent_gemma",
        &names::RECURRENT_GEMMA,
        NormStyle::RmsPlusOne,
        true,
        Biases::Outputs,
        Some(turned(0.5)),
        Special::RecurrentGemma,
    ),
    family("smollm3", &names::LLAMA, NormStyle::Rms, true, Biases::Keys, Some(turned(1.0)), Special::SmolLm3),
    family("stablelm", &names::LLAMA, NormStyle::Layer, true, Biases::Keys, Some(turned(0.25)), Special::No),
];

/// The family that a configuration names.
pub(super) fn find(config: Config<'_>) -> Result<&'static Family, LoadError> {
    let Some(name) = config.text(&["model_type"])? else {
        return Err(config.problem("has no model_type".to_owned()));
    };
    // Text models within configurations that could have other parts.
    let name = if name == "gemma3" { "gemma3_text" } else { name };
    let known = FAMILIES.iter().find(|family| family.model_type == name);
    known.ok_or_else(|| {
        config.unsupported(format!("model_type {name}"), "`slmscope models` lists the families that run")
    })
}

/// What is known of the stored tensors before the spec is: whether one of the spec's names is there.
pub(super) type Present<'a> = &'a dyn Fn(&str) -> bool;

/// Figures that all families have, under whatever key.
struct Shapes {
    hidden: u32,
    layers: u32,
    q_heads: u32,
    kv_heads: u32,
    head_dim: u32,
    context: u32,
    norm: Norm,
    activation: Activation,
}

impl Family {
    /// Reads the spec. Tensors decide only what no key does: whether the head is stored and whether
    /// feed-forwards are shared.
    pub(super) fn spec(&self, config: Config<'_>, present: Present<'_>) -> Result<DecoderSpec, LoadError> {
        Self::refuse_features(config)?;
        let shapes = self.shapes(config)?;
        let layers = (0..shapes.layers)
            .map(|index| self.layer(config, &shapes, index, present))
            .collect::<Result<_, _>>()?;
        let bare = config.flag(&["_remove_final_layer_norm"])?.unwrap_or(false);
        let post_norm = self.post_norm(config)?;
        Ok(DecoderSpec {
            vocab: config.need(&["vocab_size"])?,
            hidden: shapes.hidden,
            max_context: shapes.context,
            embedding: self.embedding(config, &shapes)?,
            layers,
            final_norm: (!post_norm && !bare).then_some(shapes.norm),
            head: self.head(config, &shapes, present)?,
        })
    }

    fn shapes(&self, config: Config<'_>) -> Result<Shapes, LoadError> {
        let hidden = config.need(&["hidden_size", "n_embd", "model_dim"])?;
        let layers = config.need(&["num_hidden_layers", "n_layer", "num_transformer_layers"])?;
        if layers > MOST_LAYERS {
            return Err(config.problem(format!("{layers} layers; at most {MOST_LAYERS} are possible")));
        }
        // OpenELM has a list of heads, read layer by layer.
        let each = self.special == Special::OpenElm;
        let q_heads = if each { 1 } else { config.need(&["num_attention_heads", "n_head"])? };
        let kv_heads = if each { None } else { config.number(&["num_key_value_heads"])? };
        let even = hidden.checked_div(q_heads).unwrap_or(0);
        // MiniCPM3's `head_dim` is the turned part.
        let own = if self.special == Special::MiniCpm3 { None } else { config.number(&["head_dim"])? };
        if own.is_none() && q_heads > 0 && !hidden.is_multiple_of(q_heads) {
            return Err(config.problem(format!("hidden_size {hidden} is no multiple of {q_heads} heads")));
        }
        let context =
            config.number(&["max_position_embeddings", "n_positions", "max_context_length", "seq_length"])?;
        let default_context = match self.special {
            // These two configurations know no maximum; their models were trained with it.
            Special::Bloom => 2048,
            Special::RecurrentGemma => 8192,
            _ => 0,
        };
        Ok(Shapes {
            hidden,
            layers,
            q_heads,
            kv_heads: kv_heads.unwrap_or(q_heads),
            head_dim: own.unwrap_or(even),
            context: context.unwrap_or(default_context),
            norm: self.norm(config)?,
            activation: self.activation(config)?,
        })
    }

    fn norm(&self, config: Config<'_>) -> Result<Norm, LoadError> {
        let stated = config.float(&["rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon", "norm_eps"])?;
        let (kind, gain, bias, default) = match self.norm {
            NormStyle::Rms => (NormKind::Rms, Gain::Plain, false, 1e-6),
            NormStyle::RmsPlusOne => (NormKind::Rms, Gain::PlusOne, false, 1e-6),
            NormStyle::Layer => (NormKind::Layer, Gain::Plain, true, 1e-5),
            NormStyle::LayerPlusOne => (NormKind::Layer, Gain::PlusOne, true, 1e-5),
            NormStyle::Bare => (NormKind::Layer, Gain::Absent, false, 1e-5),
        };
        let eps = stated.unwrap_or(default);
        if config.flag(&["layer_norm_elementwise_affine"])? == Some(false) {
            return Ok(Norm { kind, eps, gain: Gain::Absent, bias: false });
        }
        Ok(Norm { kind, eps, gain, bias })
    }

    fn activation(&self, config: Config<'_>) -> Result<Activation, LoadError> {
        let gemma = matches!(
            self.special,
            Special::Gemma | Special::Gemma2 | Special::Gemma3 | Special::RecurrentGemma
        );
        let keys = ["hidden_activation", "hidden_act", "activation_function", "activation_fn_name"];
        let default = match self.special {
            _ if gemma => "gelu_pytorch_tanh",
            Special::Bloom | Special::Gpt2 | Special::Phi => "gelu_new",
            Special::GptNeoX => "gelu",
            Special::Opt => "relu",
            Special::OpenElm => "swish",
            _ if self.model_type == "nemotron" => "relu2",
            _ => "silu",
        };
        match config.text(&keys)?.unwrap_or(default) {
            // The first Gemma's configurations say gelu and mean the tanh form.
            "gelu" if gemma => Ok(Activation::GeluTanh),
            "silu" | "swish" => Ok(Activation::Silu),
            "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" => Ok(Activation::GeluTanh),
            "gelu" => Ok(Activation::Gelu),
            "relu" => Ok(Activation::Relu),
            "relu2" => Ok(Activation::Relu2),
            other => Err(config.unsupported(format!("activation {other}"), OTHER)),
        }
    }

    fn embedding(&self, config: Config<'_>, shapes: &Shapes) -> Result<Embedding, LoadError> {
        let root = (shapes.hidden as f32).sqrt();
        let scale = match self.special {
            Special::Gemma | Special::Gemma2 | Special::Gemma3 | Special::RecurrentGemma => Some(root),
            Special::Granite => config.float(&["embedding_multiplier"])?,
            Special::MiniCpm | Special::MiniCpm3 => config.float(&["scale_emb"])?,
            _ => None,
        };
        let positions = match self.special {
            Special::Gpt2 => Some(LearnedPositions { rows: shapes.context, offset: 0 }),
            Special::Opt => Some(LearnedPositions { rows: shapes.context.saturating_add(2), offset: 2 }),
            _ => None,
        };
        let width = config.number(&["word_embed_proj_dim"])?.unwrap_or(shapes.hidden);
        let norm = (self.special == Special::Bloom).then_some(shapes.norm);
        Ok(Embedding { width, scale, positions, norm })
    }

    fn head(&self, config: Config<'_>, shapes: &Shapes, present: Present<'_>) -> Result<Head, LoadError> {
        let tied = config.flag(&["tie_word_embeddings", "share_input_output_layers"])?;
        let scale = match self.special {
            Special::Granite => config.float(&["logits_scaling"])?.map(|divisor| 1.0 / divisor),
            Special::MiniCpm | Special::MiniCpm3 => {
                config.number(&["dim_model_base"])?.map(|base| base as f32 / shapes.hidden as f32)
            }
            _ => None,
        };
        Ok(Head {
            tied: tied.unwrap_or_else(|| !present("output.weight")),
            bias: self.special == Special::Phi,
            scale,
            softcap: config.float(&["final_logit_softcapping", "logits_soft_cap"])?,
        })
    }

    /// OPT-350M alone norms behind its sums.
    fn post_norm(&self, config: Config<'_>) -> Result<bool, LoadError> {
        let before = config.flag(&["do_layer_norm_before"])?.unwrap_or(true);
        Ok(self.special == Special::Opt && !before)
    }

    fn layer(
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
        let stated = config.number(&["intermediate_size", "ffn_dim", "n_inner"])?;
        let dim = match self.special {
            // Both halves, gate and up, in one figure.
            Special::Qwen1 | Special::RecurrentGemma => stated.map(|both| both / 2),
            Special::OpenElm => Some(open_elm_width(config, shapes, index)?),
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
            .then_some(shapes.context);
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
            rope.scaling = RopeScaling::DynamicNtk { trained_context: shapes.context };
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

    /// Refuses what would change the computation and is not in the spec.
    fn refuse_features(config: Config<'_>) -> Result<(), LoadError> {
        let experts = config.number(&["num_local_experts", "num_experts", "n_routed_experts"])?;
        if let Some(experts) = experts.filter(|experts| *experts > 0) {
            let what = format!("mixture of experts ({experts} of them)");
            return Err(config.unsupported(what, "choose a model without experts"));
        }
        for (key, harmless) in [
            ("qk_layernorm", false),
            ("scale_attn_by_inverse_layer_idx", false),
            ("scale_attn_weights", true),
            ("add_cross_attention", false),
            ("is_encoder_decoder", false),
            ("apply_residual_connection_post_layernorm", false),
            ("use_bidirectional_attention", false),
        ] {
            if let Some(found) = config.flag(&[key])?.filter(|found| *found != harmless) {
                return Err(config.unsupported(format!("{key} = {found}"), OTHER));
            }
        }
        if config.part(&["quantization_config"])?.is_some() {
            let remedy = "take the original checkpoint and name a format with --format, or a GGUF file";
            return Err(config.unsupported("a checkpoint with quantization_config".to_owned(), remedy));
        }
        Ok(())
    }
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
