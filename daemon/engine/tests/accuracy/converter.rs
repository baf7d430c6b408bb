//! GGUF files made of Hugging Face checkpoints as llama.cpp's converter makes them (`convert_hf_to_gguf.py`): its
//! names, its keys, and what it does to tensors. Nothing here is shared with the engine's own writer.

mod config;

use serde_json::Value;
use slmscope_engine::gguf::GgufFile;
use slmscope_engine::model::Model;
use slmscope_profiles::format::KvFormat;

use crate::gguf_builder::{Field, whole};
use crate::names::{self, Names};
use crate::reference::positions::{inverse_powers, llama3};
use crate::tensors::{Tensor, Tensors, for_gguf, mapped};

use config::Config;

type Keys = Vec<(&'static str, Field<'static>)>;

/// How one architecture is converted.
pub(crate) struct Conversion {
    architecture: &'static str,
    names: &'static Names,
    rms: bool,
    /// Makes of a tensor what the file holds; told its name there.
    change: fn(&Config, &str, Tensor) -> Tensor,
    /// Keys that not all architectures have.
    keys: fn(&Config) -> Keys,
}

fn u32s<const N: usize>(keys: [(&'static str, u32); N]) -> Keys {
    keys.into_iter().map(|(key, value)| (key, Field::U32(value))).collect()
}

fn f32s<const N: usize>(keys: [(&'static str, f64); N]) -> Keys {
    keys.into_iter().map(|(key, value)| (key, Field::F32(value as f32))).collect()
}

/// Keys of heads that are not as wide as the stream allows.
fn own_heads(config: &Config) -> Keys {
    u32s([("attention.key_length", config.head_dim()), ("attention.value_length", config.head_dim())])
}

/// Elements of a head that turn.
fn turned_part(config: &Config) -> Keys {
    let share = config.float(&["partial_rotary_factor", "rotary_pct"]);
    u32s([("rope.dimension_count", (f64::from(config.head_dim()) * share) as u32)])
}

fn window(config: &Config) -> Keys {
    u32s([("attention.sliding_window", config.find(&["sliding_window"]).unwrap_or(0.0) as u32)])
}

fn parallel(config: &Config) -> Keys {
    vec![("use_parallel_residual", Field::Bool(config.flag("use_parallel_residual")))]
}

fn stretched(config: &Config) -> Keys {
    if config.text("rope_type") != Some("linear") {
        return Keys::new();
    }
    let mut keys = vec![("rope.scaling.type", Field::Str("linear"))];
    keys.extend(f32s([("rope.scaling.factor", config.float(&["factor"]))]));
    keys
}

fn no_keys(_: &Config) -> Keys {
    Keys::new()
}

fn as_it_is(_: &Config, _: &str, tensor: Tensor) -> Tensor {
    tensor
}

/// Gains are stored as what they are multiplied with.
fn gains_and_one(_: &Config, name: &str, tensor: Tensor) -> Tensor {
    if name.ends_with("norm.weight") { tensor.map(|gain| gain + 1.0) } else { tensor }
}

/// The converter's `permute`: rows of a head from halves to pairs.
fn in_pairs(config: &Config, name: &str, tensor: Tensor) -> Tensor {
    let heads = if name.contains(".attn_q.") {
        config.heads()
    } else if name.contains(".attn_k.") {
        config.kv_heads()
    } else {
        return tensor;
    };
    let length = tensor.shape[0] / heads as usize;
    let of_head =
        move |first| (0..length / 2).flat_map(move |pair| [first + pair, first + length / 2 + pair]);
    let rows = tensor.shape[0];
    tensor.reordered((0..rows).step_by(length).flat_map(of_head))
}

/// Queries of all heads, then keys, then values.
fn sorted(config: &Config, name: &str, tensor: Tensor) -> Tensor {
    if !name.contains(".attn_qkv.") {
        return tensor;
    }
    let heads = config.heads() as usize;
    let length = tensor.shape[0] / heads / 3;
    let firsts = (0..3).flat_map(|part| (0..heads).map(move |head| (head * 3 + part) * length));
    tensor.reordered(firsts.flat_map(|first| first..first + length))
}

fn outputs_first(_: &Config, name: &str, tensor: Tensor) -> Tensor {
    if name.starts_with("blk.") { tensor.transposed() } else { tensor }
}

/// What scores are multiplied with beside the share of the head, which alone ggml knows for sizes below 27B. The
/// queries have to bring it along.
fn own_scale(config: &Config) -> f32 {
    (f64::from(config.head_dim()) / config.float(&["query_pre_attn_scalar"])).sqrt() as f32
}

fn gemma2(config: &Config, name: &str, tensor: Tensor) -> Tensor {
    let tensor = gains_and_one(config, name, tensor);
    if name.contains(".attn_q.") { tensor.map(|weight| weight * own_scale(config)) } else { tensor }
}

fn gemma3(config: &Config, name: &str, tensor: Tensor) -> Tensor {
    let tensor = gains_and_one(config, name, tensor);
    if name.contains(".attn_q_norm.") { tensor.map(|gain| gain * own_scale(config)) } else { tensor }
}

const PLAIN: Conversion =
    Conversion { architecture: "llama", names: &names::LLAMA, rms: true, change: as_it_is, keys: no_keys };

pub(crate) const LLAMA: Conversion =
    Conversion { change: in_pairs, keys: |config| [own_heads(config), stretched(config)].concat(), ..PLAIN };

pub(crate) const QWEN: Conversion = Conversion { architecture: "qwen", names: &names::QWEN1, ..PLAIN };

pub(crate) const QWEN2: Conversion = Conversion { architecture: "qwen2", ..PLAIN };

pub(crate) const QWEN3: Conversion = Conversion { architecture: "qwen3", keys: own_heads, ..PLAIN };

pub(crate) const SMOLLM3: Conversion = Conversion { architecture: "smollm3", change: in_pairs, ..PLAIN };

pub(crate) const GEMMA: Conversion =
    Conversion { architecture: "gemma", change: gains_and_one, keys: own_heads, ..PLAIN };

pub(crate) const GEMMA2: Conversion = Conversion {
    architecture: "gemma2",
    names: &names::GEMMA2,
    change: gemma2,
    keys: |config| {
        let caps = ["attn_logit_softcapping", "final_logit_softcapping"];
        [own_heads(config), window(config), f32s(caps.map(|cap| (cap, config.float(&[cap]))))].concat()
    },
    ..PLAIN
};

pub(crate) const GEMMA3: Conversion = Conversion {
    architecture: "gemma3",
    names: &names::GEMMA2,
    change: gemma3,
    keys: |config| {
        let pattern = config.number(&["sliding_window_pattern"]);
        let local = config.float(&["rope_local_base_freq"]);
        let kinds = u32s([("attention.sliding_window_pattern", pattern)]);
        let base = f32s([("rope.freq_base_swa", local)]);
        [own_heads(config), window(config), stretched(config), kinds, base].concat()
    },
    ..PLAIN
};

pub(crate) const PHI2: Conversion =
    Conversion { architecture: "phi2", names: &names::PHI, rms: false, keys: turned_part, ..PLAIN };

pub(crate) const PHI3: Conversion = Conversion {
    architecture: "phi3",
    names: &names::PHI3,
    keys: |config| {
        let original = config.float(&["original_max_position_embeddings"]);
        let grown = config.float(&["max_position_embeddings"]) / original;
        let mut keys = window(config);
        keys.extend(u32s([
            ("rope.dimension_count", config.head_dim()),
            ("rope.scaling.original_context_length", original as u32),
        ]));
        if config.floats("long_factor").is_some() {
            let factor = (1.0 + grown.ln() / original.ln()).sqrt();
            keys.extend(f32s([("rope.scaling.attn_factor", factor)]));
        }
        keys
    },
    ..PLAIN
};

pub(crate) const GPT_NEOX: Conversion = Conversion {
    architecture: "gptneox",
    names: &names::GPT_NEOX,
    rms: false,
    change: sorted,
    keys: |config| [turned_part(config), parallel(config)].concat(),
};

pub(crate) const GPT2: Conversion = Conversion {
    architecture: "gpt2",
    names: &names::GPT2,
    rms: false,
    change: outputs_first,
    keys: no_keys,
};

pub(crate) const BLOOM: Conversion =
    Conversion { architecture: "bloom", names: &names::BLOOM, rms: false, change: sorted, keys: no_keys };

pub(crate) const STABLELM: Conversion = Conversion {
    architecture: "stablelm",
    rms: false,
    keys: |config| [turned_part(config), parallel(config)].concat(),
    ..PLAIN
};

pub(crate) const OLMO: Conversion = Conversion {
    architecture: "olmo",
    rms: false,
    change: in_pairs,
    keys: |config| {
        config.find(&["clip_qkv"]).map_or(Keys::new(), |clip| f32s([("attention.clamp_kqv", clip)]))
    },
    ..PLAIN
};

pub(crate) const NEMOTRON: Conversion = Conversion {
    architecture: "nemotron",
    rms: false,
    change: gains_and_one,
    keys: |config| [own_heads(config), turned_part(config)].concat(),
    ..PLAIN
};

pub(crate) const GRANITE: Conversion = Conversion {
    architecture: "granite",
    change: in_pairs,
    keys: |config| {
        f32s([
            ("attention.scale", config.float(&["attention_multiplier"])),
            ("embedding_scale", config.float(&["embedding_multiplier"])),
            ("residual_scale", config.float(&["residual_multiplier"])),
            ("logit_scale", config.float(&["logits_scaling"])),
        ])
    },
    ..PLAIN
};

pub(crate) const MINICPM: Conversion = Conversion {
    architecture: "minicpm",
    change: in_pairs,
    keys: |config| {
        let depth = config.float(&["scale_depth"]) / f64::from(config.layers()).sqrt();
        let divisor = f64::from(config.hidden()) / config.float(&["dim_model_base"]);
        f32s([
            ("embedding_scale", config.float(&["scale_emb"])),
            ("residual_scale", depth),
            ("logit_scale", divisor),
        ])
    },
    ..PLAIN
};

pub(crate) const MINICPM3: Conversion = Conversion {
    architecture: "minicpm3",
    names: &names::MINICPM3,
    keys: |config| {
        let turned = config.number(&["qk_rope_head_dim"]);
        u32s([
            ("attention.q_lora_rank", config.number(&["q_lora_rank"])),
            ("attention.kv_lora_rank", config.number(&["kv_lora_rank"])),
            ("attention.key_length", config.number(&["qk_nope_head_dim"]) + turned),
            // The trained sizes are as wide as the stream allows, for which the converter needs no key.
            ("attention.value_length", config.number(&["v_head_dim"])),
            ("rope.dimension_count", turned),
        ])
    },
    ..PLAIN
};

impl Conversion {
    /// The model in the file that the checkpoint of `config` and `tensors` becomes.
    pub(crate) fn model(&self, config: &Value, tensors: &Tensors) -> Model {
        let config = Config::new(config);
        let mut stored = Tensors::new();
        for (name, tensor) in tensors {
            let name = self.names.in_gguf(name);
            let tensor = (self.change)(&config, &name, tensor.clone());
            stored.insert(name, tensor);
        }
        for (key, name) in
            [("short_factor", "rope_factors_short.weight"), ("long_factor", "rope_factors_long.weight")]
        {
            let factors = config.floats(key).map(|factors| (name.to_owned(), Tensor::vector(factors)));
            stored.extend(factors);
        }
        stored.extend(llama3_factors(&config).map(|factors| ("rope_freqs.weight".to_owned(), factors)));

        let keys: Vec<_> = (common_keys(&config, self.rms).into_iter().chain((self.keys)(&config)))
            .map(|(key, field)| (format!("{}.{key}", self.architecture), field))
            .collect();
        let mut fields = vec![("general.architecture", Field::Str(self.architecture))];
        fields.extend(keys.iter().map(|(key, field)| (key.as_str(), field.clone())));
        let file = GgufFile::open(mapped("converted.gguf", &whole(&fields, &for_gguf(&stored)))).unwrap();
        Model::gguf(&file, KvFormat::F32).unwrap_or_else(|error| panic!("{}: {error}", self.architecture))
    }
}

fn common_keys(config: &Config, rms: bool) -> Keys {
    let hidden = config.hidden();
    let eps = config.find(&["rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon", "norm_eps"]);
    let eps_key = if rms { "attention.layer_norm_rms_epsilon" } else { "attention.layer_norm_epsilon" };
    let context = config.find(&["max_position_embeddings", "n_positions"]).unwrap_or(2048.0);
    let width = config.find(&["intermediate_size", "n_inner"]).map_or(4 * hidden, |width| width as u32);
    let mut keys = u32s([
        ("context_length", context as u32),
        ("embedding_length", hidden),
        ("block_count", config.layers()),
        ("feed_forward_length", width),
        ("attention.head_count", config.heads()),
        ("attention.head_count_kv", config.kv_heads()),
    ]);
    keys.extend(f32s([
        (eps_key, eps.unwrap_or(1e-5)),
        ("rope.freq_base", config.find(&["rope_theta", "rotary_emb_base"]).unwrap_or(10_000.0)),
    ]));
    keys
}

/// The divisors that stand for Llama 3's rule.
fn llama3_factors(config: &Config) -> Option<Tensor> {
    if config.text("rope_type") != Some("llama3") {
        return None;
    }
    let bounds = (config.float(&["low_freq_factor"]), config.float(&["high_freq_factor"]));
    let original = config.number(&["original_max_position_embeddings"]);
    let divisor =
        |frequency: f64| (frequency / llama3(frequency, config.float(&["factor"]), bounds, original)) as f32;
    let plain = inverse_powers(config.float(&["rope_theta"]), config.head_dim());
    Some(Tensor::vector(plain.into_iter().map(divisor).collect()))
}
