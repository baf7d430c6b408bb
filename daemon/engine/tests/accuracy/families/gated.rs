//! Llama and the families that changed a part of it.

use super::*;
use crate::names::{LLAMA, PHI3, QWEN1};
use slmscope_profiles::spec::{Gain, NormKind, QkNorm};

pub(super) fn llama(draw: &mut Draw) -> Family {
    let figures = Figures::own(draw);
    let (scaling, spelt) = scaling(draw);
    let (bias, mlp_bias) = (draw.coin(), draw.coin());
    let rope = Positions::Rope(Rope { scaling, ..figures.rope(1.0) });
    let attention = Attention { qkv_bias: bias, out_bias: bias, ..figures.attention(rope) };
    Family {
        config: figures
            .config("llama")
            .and(&json!({"head_dim": figures.head_dim, "attention_bias": bias, "mlp_bias": mlp_bias}))
            .and(&figures.rope_keys(draw, &json!({}), &spelt))
            .value(),
        spec: figures.spec(
            Norm::rms(figures.eps),
            Mixer::Attention(attention),
            figures.ffn(true, Activation::Silu, mlp_bias),
        ),
        names: &LLAMA,
    }
}

/// A llama that stores one feed-forward, which all layers use.
pub(super) fn mobillama(draw: &mut Draw) -> Family {
    let mut family = llama(draw);
    for layer in family.spec.layers.iter_mut().skip(1) {
        layer.ffn.shared_with = Some(0);
    }
    family
}

/// Every layer sees a window.
pub(super) fn mistral(draw: &mut Draw) -> Family {
    let figures = Figures::shared(draw);
    let window = draw.of(&[3, 7, 50]);
    let attention = Attention { window: Some(window), ..figures.turned() };
    Family {
        config: figures
            .config("mistral")
            .and(&json!({"sliding_window": window}))
            .and(&figures.rope_keys(draw, &json!({}), &Value::Null))
            .value(),
        spec: figures.spec(
            Norm::rms(figures.eps),
            Mixer::Attention(attention),
            figures.ffn(true, Activation::Silu, false),
        ),
        names: &LLAMA,
    }
}

/// Biases on queries, keys and values; upper layers may see a window.
pub(super) fn qwen2(draw: &mut Draw) -> Family {
    let figures = Figures::shared(draw);
    let (slides, window, full) = (draw.coin(), draw.of(&[3, 6]), draw.of(&[0, 1]));
    let attention = Attention { qkv_bias: true, ..figures.turned() };
    let mut spec = figures.spec(
        Norm::rms(figures.eps),
        Mixer::Attention(attention),
        figures.ffn(true, Activation::Silu, false),
    );
    for layer in spec.layers.iter_mut().skip(full).filter(|_| slides) {
        layer.mixer.attention_mut().unwrap().window = Some(window);
    }
    Family {
        config: figures
            .config("qwen2")
            .and(&json!({
                "use_sliding_window": slides, "sliding_window": window, "max_window_layers": full,
            }))
            .and(&figures.rope_keys(draw, &json!({}), &Value::Null))
            .value(),
        spec,
        names: &LLAMA,
    }
}

/// Normed heads.
pub(super) fn qwen3(draw: &mut Draw) -> Family {
    let figures = Figures::own(draw);
    let norm = Norm::rms(figures.eps);
    let attention = Attention { qk_norm: Some(QkNorm::Head(norm)), ..figures.turned() };
    Family {
        config: figures
            .config("qwen3")
            .and(&json!({"head_dim": figures.head_dim, "attention_bias": false, "use_sliding_window": false}))
            .and(&figures.rope_keys(draw, &json!({}), &Value::Null))
            .value(),
        spec: figures.spec(norm, Mixer::Attention(attention), figures.ffn(true, Activation::Silu, false)),
        names: &LLAMA,
    }
}

/// The first Qwen. Its rules for long contexts begin beyond the trained one, which may be shorter than the prompt.
pub(super) fn qwen(draw: &mut Draw) -> Family {
    let figures = Figures::shared(draw).multi_head();
    let (ntk, log_n) = (draw.coin(), draw.coin());
    let trained = draw.of(&[5, 11, figures.context]);
    let mut rope = figures.rope(1.0);
    if ntk {
        rope.scaling = RopeScaling::DynamicNtk { trained_context: trained };
    }
    let attention = Attention {
        qkv_bias: true,
        log_n: log_n.then_some(trained),
        ..figures.attention(Positions::Rope(rope))
    };
    Family {
        config: json!({
            "model_type": "qwen", "vocab_size": figures.vocab, "hidden_size": figures.hidden,
            // Both halves, of gate and up.
            "intermediate_size": 2 * figures.ffn, "num_hidden_layers": figures.layers,
            "num_attention_heads": figures.heads, "kv_channels": figures.head_dim,
            "max_position_embeddings": figures.context, "seq_length": trained,
            "layer_norm_epsilon": figures.eps, "rotary_emb_base": figures.theta, "rotary_pct": 1.0,
            "use_dynamic_ntk": ntk, "use_logn_attn": log_n, "no_bias": true, "scale_attn_weights": true,
            "tie_word_embeddings": figures.tied,
        }),
        spec: figures.spec(
            Norm::rms(figures.eps),
            Mixer::Attention(attention),
            figures.ffn(true, Activation::Silu, false),
        ),
        names: &QWEN1,
    }
}

/// Some layers know no positions.
pub(super) fn smollm3(draw: &mut Draw) -> Family {
    let figures = Figures { layers: 5, ..Figures::shared(draw) };
    let bias = draw.coin();
    let (every, listed) = (draw.of(&[2, 3, 4]), draw.coin());
    let knows = |index: u32| {
        if listed {
            [true, false, true, true, false][index as usize]
        } else {
            !(index + 1).is_multiple_of(every)
        }
    };
    let attention = Attention { qkv_bias: bias, out_bias: bias, ..figures.turned() };
    let mut spec = figures.spec(
        Norm::rms(figures.eps),
        Mixer::Attention(attention),
        figures.ffn(true, Activation::Silu, false),
    );
    for (_, layer) in (0..).zip(&mut spec.layers).filter(|(index, _)| !knows(*index)) {
        layer.mixer.attention_mut().unwrap().positions = Positions::None;
    }
    let blind = if listed {
        json!({"no_rope_layers": [1, 0, 1, 1, 0]})
    } else {
        json!({"no_rope_layer_interval": every})
    };
    Family {
        config: figures
            .config("smollm3")
            .and(&json!({"attention_bias": bias, "mlp_bias": false, "use_sliding_window": false}))
            .and(&blind)
            .and(&figures.rope_keys(draw, &json!({}), &Value::Null))
            .value(),
        spec,
        names: &LLAMA,
    }
}

/// Queries, keys and values in one tensor, gate and up in another; windows; `LongRoPE`.
pub(super) fn phi3(draw: &mut Draw) -> Family {
    let figures = Figures::shared(draw);
    let window = draw.of(&[None, Some(4)]);
    let (long, original) = (draw.coin(), draw.of(&[8_u32, 32]));
    let pairs = figures.head_dim / 2;
    let factors = |step: f32| (0..pairs).map(|pair| 1.0 + step * pair as f32).collect::<Vec<_>>();
    let (short_factor, long_factor) = (factors(0.125), factors(0.5));
    let mut rope = figures.rope(1.0);
    let mut spelt = Value::Null;
    if long {
        spelt = json!({
            "rope_type": "longrope", "short_factor": short_factor, "long_factor": long_factor,
        });
        let grown = f64::from(figures.context) / f64::from(original);
        rope.scaling = RopeScaling::LongRope {
            short: short_factor,
            long: long_factor,
            original_context: original,
            magnitude: (1.0 + grown.ln() / f64::from(original).ln()).sqrt() as f32,
        };
    }
    let attention = Attention { window, ..figures.attention(Positions::Rope(rope)) };
    Family {
        config: figures
            .config("phi3")
            .and(&json!({"sliding_window": window, "original_max_position_embeddings": original}))
            .and(&figures.rope_keys(draw, &json!({}), &spelt))
            .value(),
        spec: figures.spec(
            Norm::rms(figures.eps),
            Mixer::Attention(attention),
            figures.ffn(true, Activation::Silu, false),
        ),
        names: &PHI3,
    }
}

/// Layer norms without parameters, clipped projections.
pub(super) fn olmo(draw: &mut Draw) -> Family {
    // The configuration has no key for it.
    let figures = Figures { eps: 1e-5, ..Figures::shared(draw) };
    let clip = draw.of(&[None, Some(0.5_f32)]);
    let attention = Attention { clip, ..figures.turned() };
    let norm = Norm { kind: NormKind::Layer, eps: figures.eps, gain: Gain::Absent, bias: false };
    Family {
        config: figures
            .config("olmo")
            .without("rms_norm_eps")
            .and(&json!({"clip_qkv": clip}))
            .and(&figures.rope_keys(draw, &json!({}), &Value::Null))
            .value(),
        spec: figures.spec(norm, Mixer::Attention(attention), figures.ffn(true, Activation::Silu, false)),
        names: &LLAMA,
    }
}

/// Layer norms, a part of each head turned, and a feed-forward beside the attention in some.
pub(super) fn stablelm(draw: &mut Draw) -> Family {
    let figures = Figures { head_dim: 8, ..Figures::shared(draw) };
    let figures = Figures { hidden: figures.heads * figures.head_dim, ..figures };
    let (share, bias, parallel) = (draw.of(&[0.25, 0.5, 1.0]), draw.coin(), draw.coin());
    let rope = Positions::Rope(figures.rope(share));
    let attention = Attention { qkv_bias: bias, ..figures.attention(rope) };
    let mut spec = figures.spec(
        Norm::layer(figures.eps),
        Mixer::Attention(attention),
        figures.ffn(true, Activation::Silu, false),
    );
    for layer in spec.layers.iter_mut().filter(|_| parallel) {
        (layer.residual, layer.ffn_norm) = (Residual::ParallelSharedNorm, None);
    }
    Family {
        config: figures
            .config("stablelm")
            .without("rms_norm_eps")
            .and(&json!({
                "layer_norm_eps": figures.eps, "use_qkv_bias": bias, "use_parallel_residual": parallel,
                "qk_layernorm": false,
            }))
            .and(&figures.rope_keys(draw, &json!({"partial_rotary_factor": share}), &Value::Null))
            .value(),
        spec,
        names: &LLAMA,
    }
}

/// Layer norms with gains less 1 and squared ReLU, no gate.
pub(super) fn nemotron(draw: &mut Draw) -> Family {
    let figures = Figures { head_dim: draw.of(&[8, 16]), ..Figures::own(draw) };
    let (share, bias, mlp_bias) = (draw.of(&[0.25, 0.5, 1.0]), draw.coin(), draw.coin());
    let rope = Positions::Rope(figures.rope(share));
    let attention = Attention { qkv_bias: bias, out_bias: bias, ..figures.attention(rope) };
    let norm = Norm { gain: Gain::PlusOne, ..Norm::layer(figures.eps) };
    Family {
        config: figures
            .config("nemotron")
            .without("rms_norm_eps")
            .and(&json!({
                "norm_eps": figures.eps, "head_dim": figures.head_dim, "hidden_act": "relu2",
                "attention_bias": bias, "mlp_bias": mlp_bias,
            }))
            .and(&figures.rope_keys(draw, &json!({"partial_rotary_factor": share}), &Value::Null))
            .value(),
        spec: figures.spec(
            norm,
            Mixer::Attention(attention),
            figures.ffn(false, Activation::Relu2, mlp_bias),
        ),
        names: &LLAMA,
    }
}
