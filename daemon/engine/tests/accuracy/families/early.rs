//! Families with layer norms and biases everywhere.

use super::*;
use crate::names::{BLOOM, GPT_NEOX, GPT2, OPT, PHI};
use slmscope_profiles::spec::{Gain, LearnedPositions};

/// Biases on all projections.
fn biased(attention: Attention) -> Mixer {
    Mixer::Attention(Attention { qkv_bias: true, out_bias: true, ..attention })
}

pub(super) fn gpt2(draw: &mut Draw) -> Family {
    let figures = Figures::shared(draw).multi_head();
    let stated = draw.coin();
    let figures = if stated { figures } else { Figures { ffn: 4 * figures.hidden, ..figures } };
    let (name, activation) = draw.of(&[("gelu_new", Activation::GeluTanh), ("gelu", Activation::Gelu)]);
    let attention = biased(figures.attention(Positions::None));
    let mut spec = figures.spec(Norm::layer(figures.eps), attention, figures.ffn(false, activation, true));
    spec.embedding.positions = Some(LearnedPositions { rows: figures.context, offset: 0 });
    Family {
        config: json!({
            "model_type": "gpt2", "vocab_size": figures.vocab, "n_embd": figures.hidden,
            "n_head": figures.heads, "n_layer": figures.layers, "n_positions": figures.context,
            "n_inner": stated.then_some(figures.ffn), "layer_norm_epsilon": figures.eps,
            "activation_function": name, "scale_attn_weights": true,
            "scale_attn_by_inverse_layer_idx": false, "tie_word_embeddings": figures.tied,
        }),
        spec,
        names: &GPT2,
    }
}

pub(super) fn gpt_neox(draw: &mut Draw) -> Family {
    let figures = Figures { head_dim: draw.of(&[8, 16]), ..Figures::shared(draw).multi_head() };
    let figures = Figures { hidden: figures.heads * figures.head_dim, ..figures };
    let (share, parallel) = (draw.of(&[0.25, 0.5, 1.0]), draw.coin());
    let attention = biased(figures.attention(Positions::Rope(figures.rope(share))));
    let mut spec =
        figures.spec(Norm::layer(figures.eps), attention, figures.ffn(false, Activation::Gelu, true));
    for layer in spec.layers.iter_mut().filter(|_| parallel) {
        layer.residual = Residual::Parallel;
    }
    Family {
        config: json!({
            "model_type": "gpt_neox", "vocab_size": figures.vocab, "hidden_size": figures.hidden,
            "intermediate_size": figures.ffn, "num_hidden_layers": figures.layers,
            "num_attention_heads": figures.heads, "max_position_embeddings": figures.context,
            "layer_norm_eps": figures.eps, "hidden_act": "gelu", "rotary_pct": share,
            "rotary_emb_base": figures.theta, "use_parallel_residual": parallel,
            "attention_bias": true, "tie_word_embeddings": figures.tied,
        }),
        spec,
        names: &GPT_NEOX,
    }
}

/// Slopes in place of positions, for any number of heads, and a norm on the embedding.
pub(super) fn bloom(draw: &mut Draw) -> Family {
    let figures = Figures::shared(draw).multi_head();
    // The family's context is in no key.
    let figures = Figures { ffn: 4 * figures.hidden, context: 2048, ..figures };
    let norm = Norm::layer(figures.eps);
    let attention = biased(figures.attention(Positions::Alibi));
    let mut spec = figures.spec(norm, attention, figures.ffn(false, Activation::GeluTanh, true));
    spec.embedding.norm = Some(norm);
    let layers = draw.of(&["n_layer", "num_hidden_layers"]);
    Family {
        config: json!({
            "model_type": "bloom", "vocab_size": figures.vocab, "hidden_size": figures.hidden,
            "n_head": figures.heads, layers: figures.layers, "layer_norm_epsilon": figures.eps,
            "apply_residual_connection_post_layernorm": false, "tie_word_embeddings": figures.tied,
        }),
        spec,
        names: &BLOOM,
    }
}

/// Positions from row 2 on; norms in front or behind, with parameters or without; an embedding of another width.
pub(super) fn opt(draw: &mut Draw) -> Family {
    // The configuration has no key for it, and the head is always the table.
    let figures = Figures { eps: 1e-5, tied: true, ..Figures::shared(draw).multi_head() };
    let (bias, affine, before) = (draw.coin(), draw.coin(), draw.coin());
    let (name, activation) = draw.of(&[("relu", Activation::Relu), ("gelu", Activation::Gelu)]);
    let width = if draw.coin() { figures.hidden } else { figures.hidden + 3 };
    let norm = Norm::layer(figures.eps);
    let norm = if affine { norm } else { Norm { gain: Gain::Absent, bias: false, ..norm } };
    let attention = Attention { qkv_bias: bias, out_bias: bias, ..figures.attention(Positions::None) };
    let mut spec = figures.spec(norm, Mixer::Attention(attention), figures.ffn(false, activation, bias));
    spec.embedding.width = width;
    spec.embedding.positions = Some(LearnedPositions { rows: figures.context + 2, offset: 2 });
    if !before {
        spec.final_norm = None;
        spec.layers.iter_mut().for_each(|layer| layer.residual = Residual::PostNorm);
    }
    Family {
        config: json!({
            "model_type": "opt", "vocab_size": figures.vocab, "hidden_size": figures.hidden,
            "ffn_dim": figures.ffn, "num_hidden_layers": figures.layers,
            "num_attention_heads": figures.heads, "max_position_embeddings": figures.context,
            "word_embed_proj_dim": width, "activation_function": name, "do_layer_norm_before": before,
            "enable_bias": bias, "layer_norm_elementwise_affine": affine,
            "_remove_final_layer_norm": false, "tie_word_embeddings": true,
        }),
        spec,
        names: &OPT,
    }
}

/// Both branches from one norm, a part of each head turned, a biased head.
pub(super) fn phi(draw: &mut Draw) -> Family {
    let figures = Figures { head_dim: draw.of(&[8, 16]), tied: false, ..Figures::shared(draw) };
    let figures = Figures { hidden: figures.heads * figures.head_dim, ..figures };
    let share = draw.of(&[0.25, 0.5, 1.0]);
    let attention = biased(figures.attention(Positions::Rope(figures.rope(share))));
    let mut spec =
        figures.spec(Norm::layer(figures.eps), attention, figures.ffn(false, Activation::GeluTanh, true));
    spec.head.bias = true;
    for layer in &mut spec.layers {
        (layer.residual, layer.ffn_norm) = (Residual::ParallelSharedNorm, None);
    }
    Family {
        config: figures
            .config("phi")
            .without("rms_norm_eps")
            .and(&json!({"layer_norm_eps": figures.eps, "hidden_act": "gelu_new", "qk_layernorm": false}))
            .and(&figures.rope_keys(draw, &json!({"partial_rotary_factor": share}), &Value::Null))
            .value(),
        spec,
        names: &PHI,
    }
}
