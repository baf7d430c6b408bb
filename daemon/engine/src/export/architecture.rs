//! The GGUF architecture that computes a spec, and the header that describes it.
//!
//! ggml knows an architecture by name; what the name implies is not in the file. So the name is chosen by the
//! differences between architectures, and the keys hold the rest:
//!
//! | difference | `general.architecture` |
//! |---|---|
//! | latent attention | `minicpm3` |
//! | ALiBi | `bloom` |
//! | learned positions | `gpt2` |
//! | both branches at once, with a norm each, with one norm | `gptneox`, `phi2` |
//! | norms behind the branches; normed heads as well | `gemma2`, `gemma3` |
//! | scaled embeddings and GELU | `gemma` |
//! | scaled branches; scores by a factor of their own | `minicpm`, `granite` |
//! | normed heads; of another number or width in every layer | `qwen3`, `openelm` |
//! | queries that grow with the context | `qwen` |
//! | layers without positions between those with | `smollm3` |
//! | layer norm; without gains; with ReLU² | `stablelm`, `olmo`, `nemotron` |
//! | rotary pairs in halves; with biases on q, k, v | `phi3`, `qwen2` |
//! | none of these | `llama` |
//!
//! A name that implies more than the spec has would make another model. So the writer of a file reads it back and
//! compares.

use slmscope_profiles::spec::{
    Activation, Attention, DecoderSpec, Gain, LatentAttention, Layer, Mixer, Norm, NormKind, Positions,
    QkNorm, Residual, Rope, RopePairing, RopeScaling,
};

use crate::gguf::write::Field;

/// The metadata of a GGUF header that describes a model.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Described {
    /// `general.architecture`, and the prefix of its keys.
    pub(crate) architecture: &'static str,
    /// Keys without that prefix.
    pub(crate) keys: Vec<(&'static str, Field)>,
    /// Small f32 tensors beside the weights: divisors of rotary angles.
    pub(crate) divisors: Vec<(&'static str, Vec<f32>)>,
    /// The spec that a reader of the file gets.
    pub(crate) spec: DecoderSpec,
    /// Differences from the spec that was asked for, as text.
    pub(crate) notes: Vec<String>,
}

/// A property of a spec that no architecture of ggml computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoArchitecture(pub &'static str);

/// Describes `spec` as GGUF metadata.
///
/// # Errors
/// If no architecture of ggml computes `spec`.
pub(crate) fn describe(spec: &DecoderSpec) -> Result<Described, NoArchitecture> {
    let (mut spec, mut notes) = (spec.clone(), Vec::new());
    let architecture = choose(&spec)?;
    if !matches!(architecture, "gemma2" | "gemma3") {
        shorten(&mut spec, &mut notes);
    }
    as_stored(&mut spec, &mut notes);
    let divisors = divisors(&mut spec);
    let mut keys = Keys { list: Vec::new(), layers: &spec.layers };
    keys.shape(&spec);
    keys.architecture(architecture, &spec);
    let keys = keys.list;
    Ok(Described { architecture, keys, divisors, spec, notes })
}

fn choose(spec: &DecoderSpec) -> Result<&'static str, NoArchitecture> {
    let layer = spec.layers.first().ok_or(NoArchitecture("a model without layers"))?;
    let any = |has: fn(&Layer) -> bool| spec.layers.iter().any(has);
    if spec.projects_embedding() {
        return Err(NoArchitecture("projected embeddings"));
    }
    if any(|layer| layer.ffn.shared_with.is_some()) {
        return Err(NoArchitecture("a feed-forward that several layers share"));
    }
    if any(|layer| matches!(layer.mixer, Mixer::Recurrent(_))) {
        return Err(NoArchitecture("gated linear recurrences"));
    }
    if any(|layer| layer.residual == Residual::PostNorm) {
        return Err(NoArchitecture("norms on the sums"));
    }
    let Mixer::Attention(attention) = &layer.mixer else { return Ok("minicpm3") };
    if matches!(attention.qk_norm, Some(QkNorm::All(_))) {
        return Err(NoArchitecture("queries and keys that are normed over all heads"));
    }
    let normed_heads = attention.qk_norm.is_some();
    let halves = attention.rope().is_some_and(|rope| rope.pairing == RopePairing::Halves);
    if let Some(positions) = spec.embedding.positions {
        let gelu = matches!(layer.ffn.activation, Activation::Gelu | Activation::GeluTanh);
        return if positions.offset == 0 && gelu && !layer.ffn.gated {
            Ok("gpt2")
        } else {
            Err(NoArchitecture("learned positions with an offset, or without GELU"))
        };
    }
    Ok(match (layer.residual, layer.attn_norm.kind) {
        _ if attention.positions == Positions::Alibi => "bloom",
        (Residual::Parallel, _) => "gptneox",
        (Residual::ParallelSharedNorm, NormKind::Layer) if !layer.ffn.gated => "phi2",
        (_, NormKind::Layer) if layer.ffn.activation == Activation::Relu2 => "nemotron",
        (_, NormKind::Layer) if !layer.attn_norm.bias && !halves => "olmo",
        (_, NormKind::Layer) if layer.ffn.gated && halves => "stablelm",
        (_, NormKind::Layer) => return Err(NoArchitecture("layer norms between these parts")),
        _ if layer.attn_post_norm.is_some() && normed_heads => "gemma3",
        _ if layer.attn_post_norm.is_some() => "gemma2",
        _ if spec.embedding.scale.is_some() && layer.ffn.activation == Activation::GeluTanh => "gemma",
        _ if layer.residual_scale.is_some() && has_own_scale(attention) => "granite",
        _ if layer.residual_scale.is_some() => "minicpm",
        _ if attention.log_n.is_some() => "qwen",
        _ if any(|layer| layer.mixer.attention().is_some_and(|found| found.positions == Positions::None)) => {
            "smollm3"
        }
        _ if normed_heads && !uniform(spec) => "openelm",
        _ if normed_heads => "qwen3",
        _ if attention.qkv_bias && halves => "qwen2",
        _ if halves => "phi3",
        _ => "llama",
    })
}

/// Whether scores have another factor than the usual one.
fn has_own_scale(attention: &Attention) -> bool {
    attention.scale.to_bits() != (1.0 / (attention.head_dim as f32).sqrt()).to_bits()
}

/// Whether all layers have the same heads and widths.
fn uniform(spec: &DecoderSpec) -> bool {
    let shape = |layer: &Layer| {
        (layer.ffn.dim, layer.mixer.attention().map(|attention| (attention.q_heads, attention.kv_heads)))
    };
    spec.layers.windows(2).all(|pair| shape(&pair[0]) == shape(&pair[1]))
}

/// Ends the context where windows and rules for long contexts begin to matter: ggml computes these
/// architectures without them.
fn shorten(spec: &mut DecoderSpec, notes: &mut Vec<String>) {
    let mut shortest = spec.max_context;
    for attention in spec.layers.iter_mut().filter_map(|layer| layer.mixer.attention_mut()) {
        let mut rules = [attention.window.take(), attention.log_n.take(), None];
        if let Some(rope) = attention.rope_mut()
            && let RopeScaling::DynamicNtk { trained_context } = rope.scaling
        {
            rope.scaling = RopeScaling::None;
            rules[2] = Some(trained_context);
        }
        shortest = rules.into_iter().flatten().fold(shortest, u32::min);
    }
    if shortest < spec.max_context {
        notes.push(format!(
            "the context ends at {shortest} tokens (the model's is {}): GGUF files of this architecture know no \
             windows and no rules for longer ones",
            spec.max_context
        ));
        spec.max_context = shortest;
    }
}

/// Rewrites `spec` the way ggml computes it: GELU in its tanh form, gains with the 1 added.
fn as_stored(spec: &mut DecoderSpec, notes: &mut Vec<String>) {
    let plain = |norm: &mut Norm| {
        if norm.gain == Gain::PlusOne {
            norm.gain = Gain::Plain;
        }
    };
    let mut exact = false;
    for layer in &mut spec.layers {
        plain(&mut layer.attn_norm);
        let others = [&mut layer.attn_post_norm, &mut layer.ffn_norm, &mut layer.ffn_post_norm];
        others.into_iter().flatten().for_each(plain);
        if let Some(QkNorm::Head(norm)) = layer.mixer.attention_mut().and_then(|found| found.qk_norm.as_mut())
        {
            plain(norm);
        }
        if layer.ffn.activation == Activation::Gelu {
            layer.ffn.activation = Activation::GeluTanh;
            exact = true;
        }
    }
    spec.final_norm.iter_mut().chain(&mut spec.embedding.norm).for_each(plain);
    if exact {
        notes.push("GELU is computed in its tanh form; the model's is the exact one".to_owned());
    }
}

/// Takes the divisors of rotary angles out of the spec, where they are tensors of a file.
fn divisors(spec: &mut DecoderSpec) -> Vec<(&'static str, Vec<f32>)> {
    let ropes = spec.layers.iter_mut().filter_map(|layer| match &mut layer.mixer {
        Mixer::Attention(attention) => attention.rope_mut(),
        Mixer::Latent(latent) => Some(&mut latent.rope),
        Mixer::Recurrent(_) => None,
    });
    let mut list = Vec::new();
    for rope in ropes {
        let found = match &rope.scaling {
            RopeScaling::Llama3 { .. } => {
                let plain = Rope { scaling: RopeScaling::None, ..rope.clone() };
                // Of no length: the rule does not depend on it.
                let pairs = plain.frequencies(0.into()).into_iter().zip(rope.frequencies(0.into()));
                let factors: Vec<f32> = pairs.map(|(plain, scaled)| plain / scaled).collect();
                rope.scaling = RopeScaling::Factors(factors.clone());
                vec![("rope_freqs.weight", factors)]
            }
            RopeScaling::Factors(factors) => vec![("rope_freqs.weight", factors.clone())],
            RopeScaling::LongRope { short, long, .. } => {
                vec![("rope_factors_short.weight", short.clone()), ("rope_factors_long.weight", long.clone())]
            }
            RopeScaling::None | RopeScaling::Linear { .. } | RopeScaling::DynamicNtk { .. } => Vec::new(),
        };
        // All layers that have some have the same.
        if list.is_empty() {
            list = found;
        }
    }
    list
}

/// The keys of a header that is being described.
struct Keys<'a> {
    list: Vec<(&'static str, Field)>,
    layers: &'a [Layer],
}

impl Keys<'_> {
    fn put(&mut self, key: &'static str, value: impl Into<Field>) {
        self.list.push((key, value.into()));
    }

    fn put_some(&mut self, key: &'static str, value: Option<impl Into<Field>>) {
        if let Some(value) = value {
            self.put(key, value);
        }
    }

    /// A figure of every layer: one number if it is the same in all.
    fn per_layer(&mut self, key: &'static str, figure: impl Fn(&Layer) -> u32) {
        let figures: Vec<u32> = self.layers.iter().map(figure).collect();
        if figures.windows(2).all(|pair| pair[0] == pair[1]) {
            self.put_some(key, figures.first().copied());
        } else {
            self.put(key, Field::I32s(figures.into_iter().map(|figure| figure as i32).collect()));
        }
    }

    /// What every architecture has.
    fn shape(&mut self, spec: &DecoderSpec) {
        self.put("vocab_size", spec.vocab);
        self.put("context_length", spec.max_context);
        self.put("embedding_length", spec.hidden);
        self.put("block_count", spec.layers.len() as u32);
        self.per_layer("feed_forward_length", |layer| layer.ffn.dim);
        self.per_layer("attention.head_count", |layer| match &layer.mixer {
            Mixer::Attention(attention) => attention.q_heads,
            Mixer::Latent(latent) => latent.heads,
            Mixer::Recurrent(_) => 0,
        });
        self.per_layer("attention.head_count_kv", |layer| match &layer.mixer {
            Mixer::Attention(attention) => attention.kv_heads,
            Mixer::Latent(latent) => latent.heads,
            Mixer::Recurrent(_) => 0,
        });
        let Some(layer) = self.layers.first() else { return };
        self.put(
            match layer.attn_norm.kind {
                NormKind::Rms => "attention.layer_norm_rms_epsilon",
                NormKind::Layer => "attention.layer_norm_epsilon",
            },
            layer.attn_norm.eps,
        );
        match &layer.mixer {
            Mixer::Attention(attention) => self.attention(attention),
            Mixer::Latent(latent) => self.latent(latent),
            Mixer::Recurrent(_) => {}
        }
    }

    fn attention(&mut self, attention: &Attention) {
        self.put("attention.key_length", attention.head_dim);
        self.put("attention.value_length", attention.head_dim);
        self.put_some("attention.clamp_kqv", attention.clip);
        self.put_some("attn_logit_softcapping", attention.softcap);
        // Layers of several kinds have windows and a rule of their own; the other models state their scaling.
        let layers = self.layers;
        let mut attentions = layers.iter().filter_map(|layer| layer.mixer.attention());
        if let Some(rope) = attentions.find(|attention| attention.window.is_none()).and_then(Attention::rope)
        {
            self.rope(rope);
        }
    }

    fn latent(&mut self, latent: &LatentAttention) {
        self.put("attention.key_length", latent.query_dim());
        self.put("attention.value_length", latent.value_dim);
        self.put("attention.q_lora_rank", latent.q_rank);
        self.put("attention.kv_lora_rank", latent.kv_rank);
        self.rope(&latent.rope);
    }

    fn rope(&mut self, rope: &Rope) {
        self.put("rope.freq_base", rope.theta);
        self.put("rope.dimension_count", rope.dim);
        match rope.scaling {
            RopeScaling::Linear { factor } => {
                self.put("rope.scaling.type", "linear");
                self.put("rope.scaling.factor", factor);
            }
            RopeScaling::LongRope { original_context, magnitude, .. } => {
                self.put("rope.scaling.type", "longrope");
                self.put("rope.scaling.original_context_length", original_context);
                self.put("rope.scaling.attn_factor", magnitude);
            }
            RopeScaling::None
            | RopeScaling::Factors(_)
            | RopeScaling::Llama3 { .. }
            | RopeScaling::DynamicNtk { .. } => {}
        }
    }

    /// What only this architecture has.
    fn architecture(&mut self, architecture: &str, spec: &DecoderSpec) {
        match architecture {
            "gemma2" | "gemma3" => self.windows(),
            "gptneox" => self.put("use_parallel_residual", true),
            "granite" | "minicpm" => {
                let attention = self.layers.first().and_then(|layer| layer.mixer.attention());
                let own = attention.filter(|attention| has_own_scale(attention));
                self.put_some("attention.scale", own.map(|attention| attention.scale));
                self.put_some("embedding_scale", spec.embedding.scale);
                self.put_some("residual_scale", self.layers.first().and_then(|layer| layer.residual_scale));
                // A divisor in these architectures.
                self.put_some("logit_scale", spec.head.scale.map(|scale| 1.0 / scale));
            }
            // Both halves of the gated width.
            "qwen" => {
                self.list.retain(|(key, _)| *key != "feed_forward_length");
                self.per_layer("feed_forward_length", |layer| 2 * layer.ffn.dim);
            }
            _ => {}
        }
        self.put_some("final_logit_softcapping", spec.head.softcap);
    }

    /// Every so many layers one sees everything, the others a window.
    fn windows(&mut self) {
        let layers = self.layers;
        let attentions = || layers.iter().filter_map(|layer| layer.mixer.attention());
        let Some(local) = attentions().find(|attention| attention.window.is_some()) else { return };
        self.put_some("attention.sliding_window", local.window);
        let pattern = attentions().position(|attention| attention.window.is_none());
        let pattern = pattern.map_or(layers.len(), |global| global + 1);
        self.put("attention.sliding_window_pattern", pattern as u32);
        self.put_some("rope.freq_base_swa", local.rope().map(|rope| rope.theta));
    }
}
