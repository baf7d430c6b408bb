//! From a row to its spec.

use super::{QkNormRow, RopeRow, Row, SecondCopy};
use crate::spec::tensors::ParamCounts;
use crate::spec::{
    Attention, DecoderSpec, Embedding, Ffn, Gain, Head, LatentAttention, Layer, Mixer, Norm, Positions,
    QkNorm, Recurrent, Residual, Rope, RopeScaling,
};

impl Row {
    /// What the model computes. Gains and pairs of rotary positions are those of its GGUF file.
    pub fn spec(&self) -> DecoderSpec {
        let post_norm = self.residual.form == Residual::PostNorm;
        DecoderSpec {
            vocab: self.vocab,
            hidden: self.hidden,
            max_context: self.max_context,
            embedding: Embedding {
                width: self.embedding.width.unwrap_or(self.hidden),
                scale: self.embedding.scale,
                positions: self.embedding.positions,
                norm: self.embedding.norm.then(|| self.norm()),
            },
            layers: (0..self.layers).map(|index| self.layer(index)).collect(),
            final_norm: (!post_norm).then(|| self.norm()),
            head: Head {
                tied: self.head.tied,
                bias: self.head.bias,
                scale: self.head.scale,
                softcap: self.head.softcap,
            },
        }
    }

    /// Parameters, where `stored` counts what the checkpoint holds twice.
    pub fn params(&self) -> ParamCounts {
        let counts = self.spec().params();
        let table = u64::from(self.vocab) * u64::from(self.embedding.width.unwrap_or(self.hidden));
        let copied = self.head.second_copy == Some(SecondCopy::Checkpoint);
        ParamCounts { stored: counts.stored + u64::from(copied) * table, ..counts }
    }

    fn norm(&self) -> Norm {
        let gain = if self.norm.gain { Gain::Plain } else { Gain::Absent };
        Norm { kind: self.norm.kind, eps: self.norm.eps, gain, bias: self.norm.bias }
    }

    fn layer(&self, index: u32) -> Layer {
        let post_norm = self.residual.post_norms.then(|| self.norm());
        let shared_norm = self.residual.form == Residual::ParallelSharedNorm;
        Layer {
            residual: self.residual.form,
            residual_scale: self.residual.scale,
            attn_norm: self.norm(),
            mixer: self.mixer(index),
            attn_post_norm: post_norm,
            ffn_norm: (!shared_norm).then(|| self.norm()),
            ffn: Ffn {
                dim: self.ffn.dim.at(index),
                gated: self.ffn.gated,
                activation: self.ffn.activation,
                bias: self.ffn.bias,
                shared_with: (self.ffn.shared && index > 0).then_some(0),
            },
            ffn_post_norm: post_norm,
        }
    }

    fn mixer(&self, index: u32) -> Mixer {
        if let Some(row) = self.recurrent.filter(|row| !falls_on(Some(row.attention_every), index)) {
            return Mixer::Recurrent(Recurrent { width: row.width, conv: row.conv, blocks: row.blocks });
        }
        match (self.latent(index), self.attention(index)) {
            (Some(latent), _) => Mixer::Latent(latent),
            (None, attention) => Mixer::Attention(attention),
        }
    }

    fn attention(&self, index: u32) -> Attention {
        let row = &self.attention;
        let window = row.window.filter(|window| !falls_on(window.full_every, index));
        let positions = match &self.rope {
            _ if self.alibi => Positions::Alibi,
            Some(rope) if !falls_on(rope.skip_every, index) => {
                Positions::Rope(rope.rope(row.head_dim, window.is_some()))
            }
            _ => Positions::None,
        };
        // Norms of queries and keys have no biases in any of these models.
        let norm = Norm { bias: false, ..self.norm() };
        let plain = Attention::plain(row.q_heads.at(index), row.kv_heads.at(index), row.head_dim, positions);
        Attention {
            qkv_bias: row.qkv_bias,
            out_bias: row.out_bias,
            clip: row.clip,
            qk_norm: row.qk_norm.map(|kind| match kind {
                QkNormRow::Head => QkNorm::Head(norm),
                QkNormRow::All => QkNorm::All(norm),
            }),
            window: window.map(|window| window.tokens),
            scale: row.scale.unwrap_or(plain.scale),
            softcap: row.softcap,
            log_n: row.log_n,
            ..plain
        }
    }

    fn latent(&self, index: u32) -> Option<LatentAttention> {
        let row = self.attention.latent.as_ref()?;
        Some(LatentAttention {
            heads: self.attention.q_heads.at(index),
            q_rank: row.q_rank,
            kv_rank: row.kv_rank,
            nope_dim: row.nope_dim,
            rope_dim: row.rope_dim,
            value_dim: row.value_dim,
            norm: self.norm(),
            rope: self.rope.as_ref()?.rope(row.rope_dim, false),
            scale: self.attention.scale.unwrap_or(1.0 / (self.attention.head_dim as f32).sqrt()),
        })
    }
}

impl RopeRow {
    fn rope(&self, head_dim: u32, windowed: bool) -> Rope {
        let local = self.windowed_theta.filter(|_| windowed);
        Rope {
            theta: local.unwrap_or(self.theta),
            dim: self.dim.unwrap_or(head_dim),
            pairing: self.pairing,
            scaling: if local.is_some() { RopeScaling::None } else { self.scaling.clone() },
        }
    }
}

/// Whether a layer is one of those that a field like `every` selects.
fn falls_on(every: Option<u32>, layer: u32) -> bool {
    every.is_some_and(|every| (layer + 1).is_multiple_of(every))
}
