//! Families of Hugging Face configurations, and the meaning of the keys of each.
//!
//! [`FAMILIES`] is the table; one function turns a line and a configuration into a spec. Where a key is absent
//! the family's own default holds, which the line or the function states.

mod block;
mod features;
mod open_lm;

use slmscope_profiles::spec::{
    Activation, DecoderSpec, Embedding, Gain, Head, LearnedPositions, MAX_LAYERS, Norm, NormKind, SpecError,
};

use super::config::Config;
use super::keys;
use super::names::{self, Names};
use super::rope::Defaults;
use crate::error::LoadError;
use crate::sanitize::sanitize;

const OTHER: &str = "choose a model without it";

/// A family of configurations: the `model_type`, and what is implied by it and has no key.
pub(super) struct Family {
    pub(super) model_type: &'static str,
    pub(super) names: &'static Names,
    norm: NormStyle,
    gated: bool,
    /// Whether there are biases if no key states it.
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
    /// Layer norm with gains and no biases.
    LayerGain,
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
    OpenLm,
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
const FAMILIES: [Family; 25] = [
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
    family("mobilellm", &names::LLAMA, NormStyle::Rms, true, Biases::Keys, Some(turned(1.0)), Special::No),
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
    family(
        "openlm",
        &names::OPEN_LM,
        NormStyle::Layer,
        true,
        Biases::Keys,
        Some(turned(1.0)),
        Special::OpenLm,
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
    features::refuse_experts(config)?;
    let Some(name) = config.text(&["model_type"])? else {
        return Err(config.problem("has no model_type".to_owned()));
    };
    // Text models within configurations that could have other parts.
    let name = if name == "gemma3" { "gemma3_text" } else { name };
    let known = FAMILIES.iter().find(|family| family.model_type == name);
    known.ok_or_else(|| {
        let what = format!("model_type {}", sanitize(name));
        config.unsupported(what, "`slmscope models` lists the families that run")
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
        features::refuse(config)?;
        if self.special == Special::OpenLm {
            open_lm::refuse_features(config)?;
        }
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
        let hidden = config.need(keys::HIDDEN)?;
        let layers = config.need(keys::LAYERS)?;
        if layers > MAX_LAYERS {
            return Err(config.problem(format!("{layers} layers; at most {MAX_LAYERS} are possible")));
        }
        // OpenELM has a list of heads, read layer by layer.
        let each = self.special == Special::OpenElm;
        let q_heads = if each { 1 } else { config.need(keys::HEADS)? };
        let kv_heads = if each { None } else { config.number(keys::KV_HEADS)? };
        let even = hidden.checked_div(q_heads).unwrap_or(0);
        // MiniCPM3's `head_dim` is the turned part.
        let own = if self.special == Special::MiniCpm3 { None } else { config.number(&["head_dim"])? };
        if own.is_none() && q_heads > 0 && !hidden.is_multiple_of(q_heads) {
            let problem = format!("a width of {hidden} is no multiple of {q_heads} heads");
            let field = "attention.head_dim".to_owned();
            return Err(config.contradiction(SpecError { field, problem }));
        }
        let context = match self.special {
            // These two configurations may know no maximum; their models were trained with it.
            Special::Bloom => config.number(keys::CONTEXT)?.unwrap_or(2048),
            Special::RecurrentGemma => config.number(keys::CONTEXT)?.unwrap_or(8192),
            _ => config.need(keys::CONTEXT)?,
        };
        Ok(Shapes {
            hidden,
            layers,
            q_heads,
            kv_heads: kv_heads.unwrap_or(q_heads),
            head_dim: own.unwrap_or(even),
            context,
            norm: self.norm(config)?,
            activation: self.activation(config)?,
        })
    }

    fn norm(&self, config: Config<'_>) -> Result<Norm, LoadError> {
        let stated = config.float(keys::EPSILON)?;
        let style = if self.special == Special::OpenLm { open_lm::norm_style(config)? } else { self.norm };
        let (kind, gain, bias, default) = match style {
            NormStyle::Rms => (NormKind::Rms, Gain::Plain, false, 1e-6),
            NormStyle::RmsPlusOne => (NormKind::Rms, Gain::PlusOne, false, 1e-6),
            NormStyle::Layer => (NormKind::Layer, Gain::Plain, true, 1e-5),
            NormStyle::LayerPlusOne => (NormKind::Layer, Gain::PlusOne, true, 1e-5),
            NormStyle::LayerGain => (NormKind::Layer, Gain::Plain, false, 1e-5),
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
            other => Err(config.unsupported(format!("activation {}", sanitize(other)), OTHER)),
        }
    }

    fn embedding(&self, config: Config<'_>, shapes: &Shapes) -> Result<Embedding, LoadError> {
        let root = (shapes.hidden as f32).sqrt();
        let scale = match self.special {
            Special::Gemma | Special::Gemma2 | Special::Gemma3 => Some(root),
            // Kept in bf16 by transformers, whatever the weights are in.
            Special::RecurrentGemma => Some(half::bf16::from_f32(root).to_f32()),
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
        let normed = self.special == Special::Bloom || config.flag(&["post_embed_norm"])? == Some(true);
        let norm = normed.then_some(shapes.norm);
        Ok(Embedding { width, scale, positions, norm })
    }

    fn head(&self, config: Config<'_>, shapes: &Shapes, present: Present<'_>) -> Result<Head, LoadError> {
        // Of the two keys in MobileLLM's configurations its code looks at this one only.
        let shared = config.flag(&["share_embedding"])?.filter(|shared| *shared);
        let tied = config.flag(&["weight_tying", "tie_word_embeddings", "share_input_output_layers"])?;
        let scale = match self.special {
            Special::Granite => config.float(&["logits_scaling"])?.map(|divisor| 1.0 / divisor),
            Special::MiniCpm | Special::MiniCpm3 => {
                config.number(&["dim_model_base"])?.map(|base| base as f32 / shapes.hidden as f32)
            }
            _ => None,
        };
        Ok(Head {
            tied: shared.or(tied).unwrap_or_else(|| !present("output.weight")),
            bias: self.special == Special::Phi,
            scale,
            softcap: config.float(keys::LOGITS_CAP)?,
        })
    }

    /// OPT-350M alone norms behind its sums.
    fn post_norm(&self, config: Config<'_>) -> Result<bool, LoadError> {
        let before = config.flag(&["do_layer_norm_before"])?.unwrap_or(true);
        Ok(self.special == Special::Opt && !before)
    }
}
