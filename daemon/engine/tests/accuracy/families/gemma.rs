//! The Gemmas: gains less 1, scaled embeddings, GELU on the gate.

use super::*;
use crate::names::{GEMMA2, LLAMA, RECURRENT_GEMMA};
use slmscope_profiles::spec::{Gain, QkNorm, Recurrent};

fn norm(figures: &Figures) -> Norm {
    Norm { gain: Gain::PlusOne, ..Norm::rms(figures.eps) }
}

/// What all of them have.
fn spec(figures: &Figures, attention: Attention) -> DecoderSpec {
    let ffn = figures.ffn(true, Activation::GeluTanh, false);
    let mut spec = figures.spec(norm(figures), Mixer::Attention(attention), ffn);
    spec.embedding.scale = Some((figures.hidden as f32).sqrt());
    spec
}

pub(super) fn gemma(draw: &mut Draw) -> Family {
    let figures = Figures { tied: true, ..Figures::own(draw) };
    // The first configurations said one and meant the other.
    let activation = draw.of(&["gelu", "gelu_pytorch_tanh"]);
    Family {
        config: figures
            .config("gemma")
            .and(&json!({"head_dim": figures.head_dim, "hidden_act": activation}))
            .and(&figures.rope_keys(draw, &json!({}), &Value::Null))
            .value(),
        spec: spec(&figures, figures.turned()),
        names: &LLAMA,
    }
}

/// Norms behind the branches, caps, a window in every second layer.
pub(super) fn gemma2(draw: &mut Draw) -> Family {
    let figures = Figures { tied: true, ..Figures::own(draw) };
    let (width, window) = (draw.of(&[7, 24]), draw.of(&[3, 8]));
    let (scores, logits) = (draw.of(&[1.5, 50.0]), draw.of(&[2.0, 30.0]));
    let scale = 1.0 / (width as f32).sqrt();
    let attention = Attention { scale, softcap: Some(scores), ..figures.turned() };
    let mut spec = spec(&figures, attention);
    spec.head.softcap = Some(logits);
    for (index, layer) in spec.layers.iter_mut().enumerate() {
        (layer.attn_post_norm, layer.ffn_post_norm) = (Some(norm(&figures)), Some(norm(&figures)));
        layer.mixer.attention_mut().unwrap().window = (index % 2 == 0).then_some(window);
    }
    Family {
        config: figures
            .config("gemma2")
            .and(&json!({
                "head_dim": figures.head_dim, "hidden_activation": "gelu_pytorch_tanh",
                "query_pre_attn_scalar": width, "sliding_window": window,
                "attn_logit_softcapping": scores, "final_logit_softcapping": logits,
            }))
            .and(&figures.rope_keys(draw, &json!({}), &Value::Null))
            .value(),
        spec,
        names: &GEMMA2,
    }
}

/// Normed heads in place of the caps; windowed layers turn by a base of their own and are never stretched.
pub(super) fn gemma3(draw: &mut Draw) -> Family {
    let figures = Figures { tied: true, ..Figures::own(draw) };
    let (width, window, pattern) = (draw.of(&[7, 24]), draw.of(&[3, 8]), draw.of(&[2, 3]));
    let (local, factor) = (draw.of(&[700.0, 10_000.0]), draw.of(&[None, Some(8.0)]));
    let scale = 1.0 / (width as f32).sqrt();
    let qk_norm = Some(QkNorm::Head(norm(&figures)));
    let mut spec = spec(&figures, Attention { scale, qk_norm, ..figures.turned() });
    for (index, layer) in (1..).zip(&mut spec.layers) {
        (layer.attn_post_norm, layer.ffn_post_norm) = (Some(norm(&figures)), Some(norm(&figures)));
        let attention = layer.mixer.attention_mut().unwrap();
        let rope = attention.rope_mut().unwrap();
        if index % pattern == 0 {
            rope.scaling = factor.map_or(RopeScaling::None, |factor| RopeScaling::Linear { factor });
        } else {
            rope.theta = local;
            attention.window = Some(window);
        }
    }
    let stretch = factor.map(|factor| json!({"rope_type": "linear", "factor": factor}));
    Family {
        config: figures
            .config("gemma3_text")
            .and(&json!({
                "head_dim": figures.head_dim, "hidden_activation": "gelu_pytorch_tanh",
                "query_pre_attn_scalar": width, "sliding_window": window, "sliding_window_pattern": pattern,
                "rope_theta": figures.theta, "rope_local_base_freq": local, "rope_scaling": stretch,
            }))
            .value(),
        spec,
        names: &GEMMA2,
    }
}

/// Two recurrent layers for each that attends, all with biases behind the mixer.
pub(super) fn recurrent_gemma(draw: &mut Draw) -> Family {
    let (heads, head_dim) = draw.of(&[(2, 8), (3, 4), (5, 8), (9, 4)]);
    let figures = Figures {
        hidden: heads * head_dim,
        layers: draw.of(&[3, 5]),
        heads,
        kv_heads: 1,
        head_dim,
        tied: true,
        ..Figures::shared(draw)
    };
    let (window, conv, cap) = (draw.of(&[4, 11]), draw.of(&[2, 4]), draw.of(&[2.0, 30.0]));
    let width = figures.heads * draw.of(&[5, 8]);
    let attention = Attention {
        out_bias: true,
        window: Some(window),
        ..figures.attention(Positions::Rope(figures.rope(0.5)))
    };
    let mut spec = spec(&figures, attention);
    spec.head.softcap = Some(cap);
    // transformers keeps this one in bf16.
    spec.embedding.scale = Some(half::bf16::from_f32((figures.hidden as f32).sqrt()).to_f32());
    for (index, layer) in spec.layers.iter_mut().enumerate() {
        layer.ffn.bias = true;
        if index % 3 < 2 {
            layer.mixer = Mixer::Recurrent(Recurrent { width, conv, blocks: figures.heads });
        }
    }
    Family {
        config: figures
            .config("recurrent_gemma")
            .without("max_position_embeddings")
            .and(&json!({
                // Both halves, of gate and up.
                "intermediate_size": 2 * figures.ffn,
                "head_dim": figures.head_dim, "hidden_activation": "gelu_pytorch_tanh", "lru_width": width,
                "conv1d_width": conv, "attention_window_size": window, "logits_soft_cap": cap,
                "block_types": ["recurrent", "recurrent", "attention"], "attention_bias": false,
            }))
            .and(&figures.rope_keys(draw, &json!({"partial_rotary_factor": 0.5}), &Value::Null))
            .value(),
        spec: DecoderSpec { max_context: 8192, ..spec },
        names: &RECURRENT_GEMMA,
    }
}
