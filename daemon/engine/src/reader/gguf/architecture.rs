//! The architectures that are read from GGUF, and the meaning of the keys of each.
//!
//! [`ARCHITECTURES`] is the table. It leaves out what can be read from the file: biases and an output head are used if
//! they are stored, and numbers come from the keys. Three choices are ggml's, not
//! the model's authors': GELU is always its tanh form, Gemma's and Nemotron's gains are stored with 1 added,
//! and rows of q and k are reordered where pairs are adjacent.

mod block;

use slmscope_profiles::spec::tensors::EMBEDDING;
use slmscope_profiles::spec::{
    Activation, DecoderSpec, Embedding, Gain, Head, LearnedPositions, MAX_LAYERS, Norm, NormKind, Rope,
    RopePairing, SpecError,
};

use super::keys::Keys;
use super::unsupported;
use crate::error::LoadError;
use crate::gguf::Gguf;
use crate::sanitize::sanitize;

/// The texts of all tokens.
const TOKENS: &str = "tokenizer.ggml.tokens";
const OTHER_ENGINE: &str = "choose a model without it";
const DAMAGED: &str = "the file is damaged";
/// MiniCPM's fixed figures: factor on embedded tokens, depth scale, and the width its logits are scaled to.
const MINICPM_EMBEDDING: f32 = 12.0;
const MINICPM_DEPTH: f32 = 1.4;
const MINICPM_BASE: f32 = 256.0;

/// What an architecture is, apart from numbers.
struct Architecture {
    name: &'static str,
    norm: NormStyle,
    positions: PositionStyle,
    gated: bool,
    activation: Activation,
    special: Special,
}

#[derive(Clone, Copy, PartialEq)]
enum NormStyle {
    Rms,
    /// Layer norm with gains and biases.
    Layer,
    /// Layer norm without parameters.
    Bare,
}

#[derive(Clone, Copy, PartialEq)]
enum PositionStyle {
    Turned(RopePairing),
    Learned,
    Alibi,
}

/// What the other columns cannot say.
#[derive(Clone, Copy, PartialEq)]
enum Special {
    No,
    /// Queries and keys are normed head by head.
    QkNorm,
    /// Norms of attention and feed-forward are computed from the same stream.
    Parallel,
    /// One norm for attention and feed-forward.
    SharedNorm,
    /// Factors on embedding, branches, logits and scores.
    Scales,
    /// Scaled embedding.
    Gemma,
    /// Scaled embedding, post-norms, caps, every second layer windowed.
    Gemma2,
    /// Scaled embedding, post-norms, normed heads, five of six layers windowed.
    Gemma3,
    /// Latent attention and MiniCPM's factors.
    MiniCpm3,
    /// The width that is stated is that of gate and up together.
    Qwen1,
    /// All layers windowed.
    Windowed,
    /// Layers without positions between those with.
    SmolLm3,
}

const fn architecture(
    name: &'static str,
    norm: NormStyle,
    positions: PositionStyle,
    (gated, activation): (bool, Activation),
    special: Special,
) -> Architecture {
    Architecture { name, norm, positions, gated, activation, special }
}

const ADJACENT: PositionStyle = PositionStyle::Turned(RopePairing::Adjacent);
const HALVES: PositionStyle = PositionStyle::Turned(RopePairing::Halves);
const SWIGLU: (bool, Activation) = (true, Activation::Silu);
const GEGLU: (bool, Activation) = (true, Activation::GeluTanh);
const GELU: (bool, Activation) = (false, Activation::GeluTanh);
const RELU2: (bool, Activation) = (false, Activation::Relu2);

/// In alphabetical order.
const ARCHITECTURES: [Architecture; 20] = [
    architecture("bloom", NormStyle::Layer, PositionStyle::Alibi, GELU, Special::No),
    architecture("gemma", NormStyle::Rms, HALVES, GEGLU, Special::Gemma),
    architecture("gemma2", NormStyle::Rms, HALVES, GEGLU, Special::Gemma2),
    architecture("gemma3", NormStyle::Rms, HALVES, GEGLU, Special::Gemma3),
    architecture("gpt2", NormStyle::Layer, PositionStyle::Learned, GELU, Special::No),
    architecture("gptneox", NormStyle::Layer, HALVES, GELU, Special::Parallel),
    architecture("granite", NormStyle::Rms, ADJACENT, SWIGLU, Special::Scales),
    architecture("llama", NormStyle::Rms, ADJACENT, SWIGLU, Special::No),
    architecture("minicpm", NormStyle::Rms, ADJACENT, SWIGLU, Special::Scales),
    architecture("minicpm3", NormStyle::Rms, HALVES, SWIGLU, Special::MiniCpm3),
    architecture("nemotron", NormStyle::Layer, HALVES, RELU2, Special::No),
    architecture("olmo", NormStyle::Bare, ADJACENT, SWIGLU, Special::No),
    architecture("openelm", NormStyle::Rms, HALVES, SWIGLU, Special::QkNorm),
    architecture("phi2", NormStyle::Layer, HALVES, GELU, Special::SharedNorm),
    architecture("phi3", NormStyle::Rms, HALVES, SWIGLU, Special::Windowed),
    architecture("qwen", NormStyle::Rms, HALVES, SWIGLU, Special::Qwen1),
    architecture("qwen2", NormStyle::Rms, HALVES, SWIGLU, Special::No),
    architecture("qwen3", NormStyle::Rms, HALVES, SWIGLU, Special::QkNorm),
    architecture("smollm3", NormStyle::Rms, ADJACENT, SWIGLU, Special::SmolLm3),
    architecture("stablelm", NormStyle::Layer, HALVES, SWIGLU, Special::No),
];

/// Refuses mixtures of experts, of architectures that are unknown as well: most have a name of their own.
fn refuse_experts(gguf: &Gguf<'_>, architecture: &str) -> Result<(), LoadError> {
    for name in ["expert_count", "expert_used_count"] {
        let key = format!("{architecture}.{name}");
        if let Some(found) = gguf.get_u32(&key)?.filter(|count| *count > 0) {
            let (file, key, found) = (gguf.file().to_owned(), sanitize(&key), found.to_string());
            return Err(LoadError::Experts { file, key, found });
        }
    }
    Ok(())
}

/// Reads the spec of the model that `gguf` describes.
pub(super) fn spec(gguf: &Gguf<'_>) -> Result<DecoderSpec, LoadError> {
    let Some(name) = gguf.get_str("general.architecture")? else {
        return Err(gguf.missing("general.architecture").into());
    };
    refuse_experts(gguf, name)?;
    let Some(architecture) = ARCHITECTURES.iter().find(|known| known.name == name) else {
        return Err(unsupported(
            gguf,
            format!("general.architecture {}", sanitize(name)),
            "`slmscope models` lists the families that run",
        ));
    };
    let keys = Keys { gguf, prefix: architecture.name };
    keys.refuse_features(architecture)?;
    let spec = keys.decoder(architecture)?;
    spec.validate().map_err(|contradiction| keys.contradiction(contradiction))?;
    Ok(spec)
}

/// Numbers that are one for all layers or one for each.
struct Shapes {
    hidden: u32,
    q_heads: Vec<u32>,
    kv_heads: Vec<u32>,
    ffn_dims: Vec<u32>,
    head_dim: u32,
    norm: Norm,
    /// Of layers that see everything; `None` where nothing is turned.
    rope: Option<Rope>,
    local: Option<Local>,
    scales: Scales,
}

/// The windowed layers of a model.
struct Local {
    window: u32,
    /// For each layer whether it is one.
    layers: Vec<bool>,
    rope: Option<Rope>,
}

/// Factors; `None` for 1.
#[derive(Default)]
struct Scales {
    embedding: Option<f32>,
    residual: Option<f32>,
    logits: Option<f32>,
    scores: Option<f32>,
}

impl Keys<'_> {
    /// Rows of the embedding table: the vocabulary, which the file's tokenizer and its key have to agree with.
    fn vocabulary(&self) -> Result<u32, LoadError> {
        let table = self.gguf.need_tensor(EMBEDDING)?;
        let (rows, offset) = (table.rows(), table.range().start as u64);
        let disagrees = |key: String, found: u64| {
            let file = self.gguf.file().to_owned();
            LoadError::Vocabulary { file, key, found, rows, offset }
        };
        // llama.cpp pads the tokens of a table that has more rows, and writes the count of both.
        if let Some(tokens) = self.gguf.get_strings(TOKENS)?.map(|tokens| tokens.len() as u64)
            && tokens != rows
        {
            return Err(disagrees(TOKENS.to_owned(), tokens));
        }
        if let Some(size) = self.number("vocab_size")?.map(u64::from).filter(|size| *size != rows) {
            return Err(disagrees(self.key("vocab_size"), size));
        }
        // A number beyond u32 fails the spec's limits like any other that is too large.
        Ok(u32::try_from(rows).unwrap_or(u32::MAX))
    }

    fn decoder(&self, architecture: &Architecture) -> Result<DecoderSpec, LoadError> {
        let count = self.need("block_count")?;
        if count > MAX_LAYERS {
            return Err(self.unsupported("block_count", &count.to_string(), DAMAGED));
        }
        let shapes = self.shapes(architecture, count)?;
        let max_context = self.need("context_length")?;
        let (hidden, norm) = (shapes.hidden, shapes.norm);
        let learned = architecture.positions == PositionStyle::Learned;
        let softcap = match architecture.special {
            Special::Gemma2 => self.float("final_logit_softcapping")?.or(Some(30.0)),
            _ => None,
        };
        Ok(DecoderSpec {
            vocab: self.vocabulary()?,
            hidden,
            max_context,
            embedding: Embedding {
                width: hidden,
                scale: shapes.scales.embedding,
                positions: learned.then_some(LearnedPositions { rows: max_context, offset: 0 }),
                norm: self.present("token_embd_norm.weight").then_some(norm),
            },
            layers: (0..count)
                .map(|index| self.layer(architecture, &shapes, index))
                .collect::<Result<_, _>>()?,
            final_norm: Some(norm),
            head: Head {
                tied: !self.present("output.weight"),
                bias: self.present("output.bias"),
                scale: shapes.scales.logits,
                softcap,
            },
        })
    }

    fn shapes(&self, architecture: &Architecture, count: u32) -> Result<Shapes, LoadError> {
        let missing = |name| move || self.missing(name);
        let hidden = self.need("embedding_length")?;
        let q_heads = self.per_layer("attention.head_count", count)?;
        let q_heads = q_heads.ok_or_else(missing("attention.head_count"))?;
        let kv_heads = self.per_layer("attention.head_count_kv", count)?.unwrap_or_else(|| q_heads.clone());
        let ffn_dims = self.per_layer("feed_forward_length", count)?;
        let mut ffn_dims = ffn_dims.ok_or_else(missing("feed_forward_length"))?;
        if architecture.special == Special::Qwen1 {
            for dim in &mut ffn_dims {
                *dim /= 2;
            }
        }
        let heads = q_heads.first().copied().unwrap_or(0);
        let own = self.number("attention.key_length")?;
        if own.is_none() && heads > 0 && !hidden.is_multiple_of(heads) {
            let problem = format!("a width of {hidden} is no multiple of {heads} heads");
            let field = "attention.head_dim".to_owned();
            return Err(self.contradiction(SpecError { field, problem }));
        }
        let head_dim = own.or(hidden.checked_div(heads)).unwrap_or(0);
        if architecture.special != Special::MiniCpm3
            && let Some(values) = self.number("attention.value_length")?.filter(|values| *values != head_dim)
        {
            let what = format!("{values}, not the length {head_dim} of keys,");
            return Err(self.unsupported("attention.value_length", &what, OTHER_ENGINE));
        }
        let rope = match architecture.positions {
            PositionStyle::Turned(pairing) => Some(self.rope(pairing, head_dim)?),
            _ => None,
        };
        let local = self.local(architecture, rope.as_ref(), count)?;
        Ok(Shapes {
            norm: self.norm(architecture.norm)?,
            scales: self.scales(architecture, hidden, count)?,
            hidden,
            q_heads,
            kv_heads,
            ffn_dims,
            head_dim,
            rope,
            local,
        })
    }

    fn norm(&self, style: NormStyle) -> Result<Norm, LoadError> {
        let (key, kind) = match style {
            NormStyle::Rms => ("attention.layer_norm_rms_epsilon", NormKind::Rms),
            _ => ("attention.layer_norm_epsilon", NormKind::Layer),
        };
        let eps = self.float(key)?.ok_or_else(|| self.missing(key))?;
        let (gain, bias) = match style {
            NormStyle::Rms => (Gain::Plain, false),
            NormStyle::Layer => (Gain::Plain, true),
            NormStyle::Bare => (Gain::Absent, false),
        };
        Ok(Norm { kind, eps, gain, bias })
    }

    fn scales(&self, architecture: &Architecture, hidden: u32, layers: u32) -> Result<Scales, LoadError> {
        let width = hidden as f32;
        let minicpm = Scales {
            embedding: Some(MINICPM_EMBEDDING),
            residual: Some(MINICPM_DEPTH / (layers as f32).sqrt()),
            logits: Some(MINICPM_BASE / width),
            scores: None,
        };
        Ok(match architecture.special {
            Special::Gemma | Special::Gemma2 => Scales { embedding: Some(width.sqrt()), ..Scales::default() },
            Special::Gemma3 => {
                // The 27B sizes alone scale queries by the even share of the stream in place of the head.
                let heads = self.number("attention.head_count")?.unwrap_or(1);
                let scores = (layers == 62).then(|| 1.0 / (width / heads as f32).sqrt());
                Scales { embedding: Some(width.sqrt()), scores, ..Scales::default() }
            }
            Special::MiniCpm3 => minicpm,
            Special::Scales => {
                let defaults = if architecture.name == "minicpm" { minicpm } else { Scales::default() };
                let divisor = self.float("logit_scale")?;
                Scales {
                    embedding: self.float("embedding_scale")?.or(defaults.embedding),
                    residual: self.float("residual_scale")?.or(defaults.residual),
                    logits: divisor.map(|divisor| 1.0 / divisor).or(defaults.logits),
                    scores: self.float("attention.scale")?.filter(|scale| *scale > 0.0),
                }
            }
            _ => Scales::default(),
        })
    }

    /// Refuses what would change the computation and is not in the spec.
    fn refuse_features(&self, architecture: &Architecture) -> Result<(), LoadError> {
        let special = architecture.special;
        let caps = ["attn_logit_softcapping", "final_logit_softcapping"];
        let scales = ["logit_scale", "residual_scale", "embedding_scale", "attention.scale"];
        let long_rope = self.present(super::rope::FACTORS[2]);
        for (keys, neutral, known) in [
            (&caps[..], 0.0, special == Special::Gemma2),
            (&scales[..], 1.0, special == Special::Scales),
            (&["rope.scaling.attn_factor"][..], 1.0, long_rope),
        ] {
            for key in keys.iter().filter(|_| !known) {
                if let Some(found) = self.float(key)?.filter(|value| (value - neutral).abs() > f32::EPSILON) {
                    return Err(self.unsupported(key, &found.to_string(), OTHER_ENGINE));
                }
            }
        }
        if self.gguf.get_bool(&self.key("attention.causal"))? == Some(false) {
            return Err(self.unsupported("attention.causal", "false", "choose a generative model"));
        }
        let windowed = matches!(special, Special::Gemma2 | Special::Gemma3 | Special::Windowed);
        if !windowed
            && let Some(window) = self.number("attention.sliding_window")?
            && window > 0
            && window < self.need("context_length")?
        {
            return Err(self.unsupported("attention.sliding_window", &window.to_string(), OTHER_ENGINE));
        }
        Ok(())
    }
}
