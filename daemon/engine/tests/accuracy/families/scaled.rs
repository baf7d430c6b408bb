//! Families with factors on embedding, branches, scores and logits, and OpenELM, whose layers differ.

use super::*;
use crate::names::{LLAMA, MINICPM3, OPENELM};
use slmscope_profiles::spec::{LatentAttention, QkNorm};

pub(super) fn granite(draw: &mut Draw) -> Family {
    let figures = Figures::shared(draw);
    let [embedding, residual, scores, logits] =
        [&[1.0, 6.0], &[0.5, 0.25], &[0.5, 0.125], &[2.0, 0.5]].map(|choices| draw.of(choices));
    let attention = Attention { scale: scores, ..figures.turned() };
    let mut spec = figures.spec(
        Norm::rms(figures.eps),
        Mixer::Attention(attention),
        figures.ffn(true, Activation::Silu, false),
    );
    spec.embedding.scale = Some(embedding);
    spec.head.scale = Some(1.0 / logits);
    spec.layers.iter_mut().for_each(|layer| layer.residual_scale = Some(residual));
    Family {
        config: figures
            .config("granite")
            .and(&json!({
                "embedding_multiplier": embedding, "residual_multiplier": residual,
                "attention_multiplier": scores, "logits_scaling": logits,
            }))
            .and(&figures.rope_keys(draw, &json!({}), &Value::Null))
            .value(),
        spec,
        names: &LLAMA,
    }
}

/// MiniCPM's three factors, and how its configurations give them.
fn minicpm_factors(draw: &mut Draw, figures: &Figures, spec: &mut DecoderSpec) -> Value {
    let (embedding, depth, base) = (draw.of(&[4.0, 12.0]), draw.of(&[1.4, 0.7]), draw.of(&[9, 256]));
    spec.embedding.scale = Some(embedding);
    spec.head.scale = Some(base as f32 / figures.hidden as f32);
    let branch = depth / f64::from(figures.layers).sqrt();
    spec.layers.iter_mut().for_each(|layer| layer.residual_scale = Some(branch as f32));
    json!({"scale_emb": embedding, "scale_depth": depth, "dim_model_base": base})
}

pub(super) fn minicpm(draw: &mut Draw) -> Family {
    let figures = Figures::shared(draw);
    let mut spec = figures.spec(
        Norm::rms(figures.eps),
        Mixer::Attention(figures.turned()),
        figures.ffn(true, Activation::Silu, false),
    );
    let factors = minicpm_factors(draw, &figures, &mut spec);
    Family {
        config: figures
            .config("minicpm")
            .and(&factors)
            .and(&figures.rope_keys(draw, &json!({}), &Value::Null))
            .value(),
        spec,
        names: &LLAMA,
    }
}

pub(super) fn minicpm3(draw: &mut Draw) -> Family {
    let figures = Figures::shared(draw).multi_head();
    let (q_rank, kv_rank) = (draw.of(&[7, 12]), draw.of(&[5, 8]));
    let (nope_dim, rope_dim, value_dim) = (draw.of(&[3, 8]), draw.of(&[4, 6]), draw.of(&[5, 9]));
    let latent = LatentAttention {
        heads: figures.heads,
        q_rank,
        kv_rank,
        nope_dim,
        rope_dim,
        value_dim,
        // The modelling code builds these two without the configuration's figure.
        norm: Norm::rms(1e-6),
        rope: Rope::plain(figures.theta, rope_dim, RopePairing::Halves),
        scale: 1.0 / ((nope_dim + rope_dim) as f32).sqrt(),
    };
    let mut spec = figures.spec(
        Norm::rms(figures.eps),
        Mixer::Latent(latent),
        figures.ffn(true, Activation::Silu, false),
    );
    let factors = minicpm_factors(draw, &figures, &mut spec);
    Family {
        config: figures
            .config("minicpm3")
            .and(&json!({
                "q_lora_rank": q_rank, "kv_lora_rank": kv_rank, "qk_nope_head_dim": nope_dim,
                "qk_rope_head_dim": rope_dim, "v_head_dim": value_dim,
                // What turns, in transformers' own configurations.
                "head_dim": rope_dim,
            }))
            .and(&factors)
            .and(&figures.rope_keys(draw, &json!({}), &Value::Null))
            .value(),
        spec,
        names: &MINICPM3,
    }
}

/// Another number of heads and another width in every layer.
pub(super) fn openelm(draw: &mut Draw) -> Family {
    // The configuration has no key for the epsilon.
    let figures = Figures { eps: 1e-6, ..Figures::own(draw) };
    let norm = Norm::rms(figures.eps);
    let (normed, divisor) = (draw.coin(), draw.of(&[4, 16]));
    let attention = Attention { qk_norm: normed.then_some(QkNorm::Head(norm)), ..figures.turned() };
    let mut spec =
        figures.spec(norm, Mixer::Attention(attention), figures.ffn(true, Activation::Silu, false));
    let (mut q_heads, mut kv_heads, mut multipliers) = (Vec::new(), Vec::new(), Vec::new());
    for layer in &mut spec.layers {
        let attention = layer.mixer.attention_mut().unwrap();
        attention.kv_heads = draw.of(&[1, 2, 3]);
        attention.q_heads = attention.kv_heads * draw.of(&[1, 2, 4]);
        let multiplier = draw.of(&[0.5, 1.3, 2.9]);
        layer.ffn.dim = divisible(multiplier * f64::from(figures.hidden), divisor);
        q_heads.push(attention.q_heads);
        kv_heads.push(attention.kv_heads);
        multipliers.push(multiplier);
    }
    Family {
        config: json!({
            "model_type": "openelm", "vocab_size": figures.vocab, "model_dim": figures.hidden,
            "num_transformer_layers": figures.layers, "num_query_heads": q_heads, "num_kv_heads": kv_heads,
            "head_dim": figures.head_dim, "ffn_multipliers": multipliers, "ffn_dim_divisor": divisor,
            "activation_fn_name": "swish", "ffn_with_glu": true, "normalize_qk_projections": normed,
            "normalization_layer_name": "rms_norm", "share_input_output_layers": figures.tied,
            "max_context_length": figures.context, "rope_freq_constant": figures.theta,
            "rope_max_length": 2 * figures.context,
        }),
        spec,
        names: &OPENELM,
    }
}

/// `make_divisible` of OpenELM's code: the nearest multiple, never less than nine tenths.
fn divisible(width: f64, divisor: u32) -> u32 {
    let nearest = (width + f64::from(divisor) / 2.0) as u32 / divisor * divisor;
    let found = nearest.max(divisor);
    if f64::from(found) < 0.9 * width { found + divisor } else { found }
}
