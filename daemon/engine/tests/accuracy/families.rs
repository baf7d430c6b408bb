//! Families of Hugging Face configurations with figures drawn at random: for each a configuration, and what it
//! means written down beside it from the family's own modelling code.
//!
//! Widths, heads, windows and factors differ from seed to seed, and so do the spellings of keys that have two.

mod early;
mod gated;
mod gemma;
mod scaled;

use serde_json::{Map, Value, json};
use slmscope_profiles::spec::{
    Activation, Attention, DecoderSpec, Embedding, Ffn, Head, Layer, Mixer, Norm, Positions, Residual, Rope,
    RopePairing, RopeScaling,
};
use slmscope_profiles::stats::SplitMix;

use crate::names::Names;

/// A configuration and what it means.
pub(crate) struct Family {
    pub(crate) config: Value,
    pub(crate) spec: DecoderSpec,
    pub(crate) names: &'static Names,
}

/// Draws one model of a family.
type Author = fn(&mut Draw) -> Family;

/// All of them, by `model_type`; MobiLlama's is llama.
pub(crate) const FAMILIES: [(&str, Author); 24] = [
    ("bloom", early::bloom),
    ("gemma", gemma::gemma),
    ("gemma2", gemma::gemma2),
    ("gemma3_text", gemma::gemma3),
    ("gpt2", early::gpt2),
    ("gpt_neox", early::gpt_neox),
    ("granite", scaled::granite),
    ("llama", gated::llama),
    ("minicpm", scaled::minicpm),
    ("minicpm3", scaled::minicpm3),
    ("mistral", gated::mistral),
    ("mobillama", gated::mobillama),
    ("nemotron", gated::nemotron),
    ("olmo", gated::olmo),
    ("openelm", scaled::openelm),
    ("opt", early::opt),
    ("phi", early::phi),
    ("phi3", gated::phi3),
    ("qwen", gated::qwen),
    ("qwen2", gated::qwen2),
    ("qwen3", gated::qwen3),
    ("recurrent_gemma", gemma::recurrent_gemma),
    ("smollm3", gated::smollm3),
    ("stablelm", gated::stablelm),
];

/// The family of this name, drawn by `seed`.
pub(crate) fn draw(family: &str, seed: u64) -> Family {
    let (_, author) = FAMILIES.into_iter().find(|(name, _)| *name == family).unwrap();
    author(&mut Draw(SplitMix(seed)))
}

/// Chooses by a seed.
pub(crate) struct Draw(SplitMix);

impl Draw {
    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.0.below(choices.len())]
    }

    fn coin(&mut self) -> bool {
        self.0.below(2) == 0
    }
}

/// Figures that every family has.
#[derive(Clone, Copy)]
struct Figures {
    vocab: u32,
    hidden: u32,
    layers: u32,
    heads: u32,
    kv_heads: u32,
    head_dim: u32,
    ffn: u32,
    context: u32,
    /// Large enough to be seen.
    eps: f32,
    theta: f32,
    tied: bool,
}

impl Figures {
    /// The stream is as wide as all heads.
    fn shared(draw: &mut Draw) -> Self {
        let kv_heads = draw.of(&[1, 2, 3]);
        let heads = kv_heads * draw.of(&[1, 2, 3]);
        let head_dim = draw.of(&[4, 6, 8, 12]);
        Self {
            vocab: draw.of(&[41, 64]),
            hidden: heads * head_dim,
            layers: draw.of(&[2, 3, 5]),
            heads,
            kv_heads,
            head_dim,
            ffn: draw.of(&[13, 40]),
            context: draw.of(&[64, 96]),
            eps: draw.of(&[1e-6, 1e-3, 0.02]),
            theta: draw.of(&[10_000.0, 500.0]),
            tied: draw.coin(),
        }
    }

    /// Heads are as wide as they like.
    fn own(draw: &mut Draw) -> Self {
        Self { hidden: draw.of(&[18, 32, 40]), ..Self::shared(draw) }
    }

    /// As many keys as queries.
    fn multi_head(self) -> Self {
        Self { kv_heads: self.heads, ..self }
    }

    /// Rotary positions over a share of each head.
    fn rope(&self, share: f32) -> Rope {
        Rope::plain(self.theta, (self.head_dim as f32 * share) as u32, RopePairing::Halves)
    }

    fn attention(&self, positions: Positions) -> Attention {
        Attention::plain(self.heads, self.kv_heads, self.head_dim, positions)
    }

    /// Turned in full.
    fn turned(&self) -> Attention {
        self.attention(Positions::Rope(self.rope(1.0)))
    }

    fn ffn(&self, gated: bool, activation: Activation, bias: bool) -> Ffn {
        Ffn { dim: self.ffn, gated, activation, bias, shared_with: None }
    }

    /// Blocks with two norms in front, all alike, and a norm behind them.
    fn spec(&self, norm: Norm, mixer: Mixer, ffn: Ffn) -> DecoderSpec {
        let layer = Layer {
            residual: Residual::PreNorm,
            residual_scale: None,
            attn_norm: norm,
            mixer,
            attn_post_norm: None,
            ffn_norm: Some(norm),
            ffn,
            ffn_post_norm: None,
        };
        DecoderSpec {
            vocab: self.vocab,
            hidden: self.hidden,
            max_context: self.context,
            embedding: Embedding::plain(self.hidden),
            layers: vec![layer; self.layers as usize],
            final_norm: Some(norm),
            head: Head::plain(self.tied),
        }
    }

    /// The keys of Llama, which most families use.
    fn config(&self, model_type: &str) -> Config {
        Config::new(&json!({
            "model_type": model_type, "vocab_size": self.vocab, "hidden_size": self.hidden,
            "intermediate_size": self.ffn, "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads, "num_key_value_heads": self.kv_heads,
            "max_position_embeddings": self.context, "rms_norm_eps": self.eps,
            "tie_word_embeddings": self.tied,
        }))
    }

    /// The keys of rotary positions, as today or as before. `own` are those that both have.
    fn rope_keys(&self, draw: &mut Draw, own: &Value, scaling: &Value) -> Value {
        let mut keys = Config::new(&json!({"rope_theta": self.theta})).and(own);
        if draw.coin() {
            keys = keys.and(&json!({"rope_scaling": scaling}));
            return keys.value();
        }
        let scaling = if scaling.is_null() { &json!({"rope_type": "default"}) } else { scaling };
        json!({"rope_parameters": keys.and(scaling).value()})
    }
}

/// A configuration in the making.
struct Config(Map<String, Value>);

impl Config {
    fn new(keys: &Value) -> Self {
        Self(keys.as_object().unwrap().clone())
    }

    fn and(mut self, keys: &Value) -> Self {
        self.0.extend(keys.as_object().unwrap().clone());
        self
    }

    fn without(mut self, key: &str) -> Self {
        self.0.remove(key).unwrap();
        self
    }

    fn value(self) -> Value {
        Value::Object(self.0)
    }
}

/// A way to longer contexts and how configurations spell it.
fn scaling(draw: &mut Draw) -> (RopeScaling, Value) {
    match draw.0.below(3) {
        0 => (RopeScaling::None, Value::Null),
        1 => (RopeScaling::Linear { factor: 2.5 }, json!({"rope_type": "linear", "factor": 2.5})),
        _ => (
            RopeScaling::Llama3 { factor: 4.0, low: 1.0, high: 4.0, original_context: 32 },
            json!({
                "rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                "original_max_position_embeddings": 32,
            }),
        ),
    }
}
