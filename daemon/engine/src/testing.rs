//! What unit tests of several modules share.

use slmscope_profiles::spec::{
    Activation, Attention, DecoderSpec, Ffn, Layer, Norm, Rope, RopePairing, RopeScaling,
};

/// A llama of two layers whose rows every block format divides.
pub(crate) fn tiny_spec() -> DecoderSpec {
    let norm = Norm { eps: 1e-5 };
    let rope = Rope { theta: 10_000.0, dim: 64, pairing: RopePairing::Adjacent, scaling: RopeScaling::None };
    let layer = Layer {
        attn_norm: norm,
        attention: Attention {
            q_heads: 4,
            kv_heads: 2,
            head_dim: 64,
            qkv_bias: true,
            qk_norm: None,
            rope,
            window: None,
            scale: 0.125,
        },
        attn_post_norm: None,
        ffn_norm: norm,
        ffn: Ffn { dim: 512, activation: Activation::Silu },
        ffn_post_norm: None,
    };
    DecoderSpec {
        vocab: 96,
        hidden: 256,
        max_context: 128,
        embedding_scale: None,
        layers: vec![layer; 2],
        final_norm: norm,
        tied_head: true,
    }
}
