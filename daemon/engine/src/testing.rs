//! What unit tests of several modules share.

use slmscope_profiles::spec::{
    Activation, Attention, DecoderSpec, Embedding, Ffn, Head, Layer, Mixer, Norm, Positions, Residual, Rope,
    RopePairing,
};

/// A llama of two layers whose rows every block format divides.
pub(crate) fn tiny_spec() -> DecoderSpec {
    let norm = Norm::rms(1e-5);
    let rope = Positions::Rope(Rope::plain(10_000.0, 64, RopePairing::Adjacent));
    let layer = Layer {
        residual: Residual::PreNorm,
        residual_scale: None,
        attn_norm: norm,
        mixer: Mixer::Attention(Attention { qkv_bias: true, ..Attention::plain(4, 2, 64, rope) }),
        attn_post_norm: None,
        ffn_norm: Some(norm),
        ffn: Ffn::gated(512, Activation::Silu),
        ffn_post_norm: None,
    };
    DecoderSpec {
        vocab: 96,
        hidden: 256,
        max_context: 128,
        embedding: Embedding::plain(256),
        layers: vec![layer; 2],
        final_norm: Some(norm),
        head: Head::plain(true),
    }
}
