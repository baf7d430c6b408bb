//! The weight tensors of a spec, under the names that GGUF gives them, and what can be counted from them.

use serde::{Deserialize, Serialize};

use super::{Attention, DecoderSpec, Ffn, Gain, LatentAttention, Layer, Mixer, Norm, QkNorm, Recurrent};
use crate::format::WeightFormat;

/// Name of the embedding table, which is the LM head as well where the two are tied.
pub const EMBEDDING: &str = "token_embd.weight";

/// One weight tensor: `rows` outputs of `columns` inputs each; a vector has one row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorSpec {
    /// As in a GGUF file: `blk.0.attn_q.weight`.
    pub name: String,
    /// Outputs; 1 for a vector.
    pub rows: u32,
    /// Inputs.
    pub columns: u32,
    /// What it is for, which decides its format in a uniformly quantized model.
    pub role: Role,
}

/// What a tensor does in a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Rows are looked up.
    Table,
    /// Rows are looked up, and all of it is multiplied to make logits.
    TiedTable,
    /// All of it is multiplied.
    Matrix,
    /// Gains of a norm.
    Gain,
    /// Gains of a norm that adds 1 to what is stored.
    GainLessOne,
    /// Added to a projection or a normed row.
    Bias,
    /// A short filter per channel.
    Filter,
    /// How fast the channels of a recurrence forget.
    Decay,
}

impl Role {
    /// Whether it is kept in f32 whatever the model's format.
    pub fn is_small(self) -> bool {
        matches!(self, Self::Gain | Self::GainLessOne | Self::Bias | Self::Filter | Self::Decay)
    }
}

impl TensorSpec {
    /// Elements.
    pub fn elements(&self) -> u64 {
        u64::from(self.rows) * u64::from(self.columns)
    }

    /// Its format in a model "in `format`": tables and matrices in that format, or in f16 where its block
    /// does not divide the row; gains, biases, filters and decays in f32.
    pub fn format_in(&self, format: WeightFormat) -> WeightFormat {
        match self.role {
            role if role.is_small() => WeightFormat::F32,
            _ if format.divides(u64::from(self.columns)) => format,
            _ => WeightFormat::F16,
        }
    }

    /// Bytes when stored in `format`.
    pub fn bytes(&self, format: WeightFormat) -> u64 {
        format.bytes(u64::from(self.rows), u64::from(self.columns))
    }
}

/// Parameters, counted three ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParamCounts {
    /// Elements in the file.
    pub stored: u64,
    /// Elements that differ: a head that repeats the embedding table counts once.
    pub unique: u64,
    /// Elements of the matrices that one token is multiplied with.
    pub multiplied: u64,
}

/// The tensors of a block that a list is being made of.
struct Block<'a> {
    list: &'a mut Vec<TensorSpec>,
    /// `blk.0.`, or empty outside of the blocks.
    prefix: String,
}

impl Block<'_> {
    fn push(&mut self, name: &str, rows: u32, columns: u32, role: Role) {
        self.list.push(TensorSpec { name: format!("{}{name}", self.prefix), rows, columns, role });
    }

    /// A matrix, and its bias if it has one.
    fn matrix(&mut self, name: &str, rows: u32, columns: u32, bias: bool) {
        self.push(&format!("{name}.weight"), rows, columns, Role::Matrix);
        if bias {
            self.push(&format!("{name}.bias"), 1, rows, Role::Bias);
        }
    }

    fn norm(&mut self, name: &str, norm: Norm, width: u32) {
        let role = match norm.gain {
            Gain::Absent => None,
            Gain::Plain => Some(Role::Gain),
            Gain::PlusOne => Some(Role::GainLessOne),
        };
        if let Some(role) = role {
            self.push(&format!("{name}.weight"), 1, width, role);
        }
        if norm.bias {
            self.push(&format!("{name}.bias"), 1, width, Role::Bias);
        }
    }

    fn attention(&mut self, attention: &Attention, hidden: u32) {
        let (q, kv) = (attention.q_width(), attention.kv_width());
        for (name, rows) in [("attn_q", q), ("attn_k", kv), ("attn_v", kv)] {
            self.matrix(name, rows, hidden, attention.qkv_bias);
        }
        let (norm, widths) = match &attention.qk_norm {
            Some(QkNorm::Head(norm)) => (Some(*norm), [attention.head_dim; 2]),
            Some(QkNorm::All(norm)) => (Some(*norm), [q, kv]),
            None => (None, [0; 2]),
        };
        if let Some(norm) = norm {
            self.norm("attn_q_norm", norm, widths[0]);
            self.norm("attn_k_norm", norm, widths[1]);
        }
        self.matrix("attn_output", hidden, q, attention.out_bias);
    }

    fn latent(&mut self, latent: &LatentAttention, hidden: u32) {
        let LatentAttention { heads, q_rank, kv_rank, nope_dim, value_dim, .. } = *latent;
        self.matrix("attn_q_a", q_rank, hidden, false);
        self.matrix("attn_kv_a_mqa", latent.cache_width(), hidden, false);
        self.norm("attn_q_a_norm", latent.norm, q_rank);
        self.norm("attn_kv_a_norm", latent.norm, kv_rank);
        self.matrix("attn_q_b", heads * latent.query_dim(), q_rank, false);
        self.matrix("attn_kv_b", heads * (nope_dim + value_dim), kv_rank, false);
        self.matrix("attn_output", hidden, heads * value_dim, false);
    }

    fn recurrent(&mut self, recurrent: &Recurrent, hidden: u32) {
        let Recurrent { width, conv, blocks } = *recurrent;
        self.matrix("rec_y", width, hidden, true);
        self.matrix("rec_x", width, hidden, true);
        self.push("rec_conv1d.weight", width, conv, Role::Filter);
        self.push("rec_conv1d.bias", 1, width, Role::Bias);
        // Block-diagonal: a row holds the part of its block.
        self.matrix("rec_input_gate", width, width / blocks, true);
        self.matrix("rec_recurrence_gate", width, width / blocks, true);
        self.push("rec_decay", 1, width, Role::Decay);
        self.matrix("rec_output", hidden, width, true);
    }

    fn ffn(&mut self, ffn: &Ffn, hidden: u32) {
        if ffn.gated {
            self.matrix("ffn_gate", ffn.dim, hidden, ffn.bias);
        }
        self.matrix("ffn_up", ffn.dim, hidden, ffn.bias);
        self.matrix("ffn_down", hidden, ffn.dim, ffn.bias);
    }
}

impl DecoderSpec {
    /// Every weight tensor, in the order of the computation.
    ///
    /// Names are those of GGUF files where such a file exists for the architecture; parts that ggml does not
    /// know have names in the same manner.
    pub fn tensors(&self) -> Vec<TensorSpec> {
        let mut list = Vec::with_capacity(self.layers.len() * 16 + 8);
        let mut top = Block { list: &mut list, prefix: String::new() };
        let (hidden, width) = (self.hidden, self.embedding.width);
        let table = if self.head.tied { Role::TiedTable } else { Role::Table };
        top.push(EMBEDDING, self.vocab, width, table);
        if self.projects_embedding() {
            top.matrix("token_embd_in", hidden, width, false);
        }
        if let Some(positions) = self.embedding.positions {
            top.push("position_embd.weight", positions.rows, hidden, Role::Table);
        }
        if let Some(norm) = self.embedding.norm {
            top.norm("token_embd_norm", norm, hidden);
        }
        for (index, layer) in self.layers.iter().enumerate() {
            let mut block = Block { list: &mut list, prefix: format!("blk.{index}.") };
            block.norm("attn_norm", layer.attn_norm, hidden);
            match &layer.mixer {
                Mixer::Attention(attention) => block.attention(attention, hidden),
                Mixer::Latent(latent) => block.latent(latent, hidden),
                Mixer::Recurrent(recurrent) => block.recurrent(recurrent, hidden),
            }
            if let Some(norm) = layer.attn_post_norm {
                block.norm("post_attention_norm", norm, hidden);
            }
            if let Some(norm) = layer.ffn_norm {
                block.norm("ffn_norm", norm, hidden);
            }
            if layer.ffn.shared_with.is_none() {
                block.ffn(&layer.ffn, hidden);
            }
            if let Some(norm) = layer.ffn_post_norm {
                block.norm("post_ffw_norm", norm, hidden);
            }
        }
        let mut top = Block { list: &mut list, prefix: String::new() };
        if let Some(norm) = self.final_norm {
            top.norm("output_norm", norm, hidden);
        }
        if self.projects_embedding() {
            top.matrix("token_embd_out", width, hidden, false);
        }
        if !self.head.tied {
            top.push("output.weight", self.vocab, width, Role::Matrix);
        }
        if self.head.bias {
            top.push("output.bias", 1, self.vocab, Role::Bias);
        }
        list
    }

    /// Parameters of this spec as it is stored without repetition. A file that stores a tied head a second
    /// time has more `stored` elements; its reader says so.
    pub fn params(&self) -> ParamCounts {
        let tensors = self.tensors();
        let stored = tensors.iter().map(TensorSpec::elements).sum();
        let once: u64 = tensors
            .iter()
            .filter(|tensor| matches!(tensor.role, Role::Matrix | Role::TiedTable))
            .map(TensorSpec::elements)
            .sum();
        // A shared feed-forward is multiplied by every layer that uses it.
        let again = |layer: &Layer| {
            let matrices = if layer.ffn.gated { 3 } else { 2 };
            let uses = u64::from(layer.ffn.shared_with.is_some());
            uses * matrices * u64::from(layer.ffn.dim) * u64::from(self.hidden)
        };
        let multiplied = once + self.layers.iter().map(again).sum::<u64>();
        ParamCounts { stored, unique: stored, multiplied }
    }

    /// Bytes of all weights of a model "in `format`" (see [`TensorSpec::format_in`]).
    pub fn weight_bytes(&self, format: WeightFormat) -> u64 {
        self.tensors().iter().map(|tensor| tensor.bytes(tensor.format_in(format))).sum()
    }

    /// Bytes of the matrices that are kept in f16 in a model in `format`, whose blocks do not divide their rows; 0 for
    /// plain formats.
    pub fn f16_bytes(&self, format: WeightFormat) -> u64 {
        let tensors = self.tensors();
        let odd = tensors.iter().filter(|tensor| !tensor.role.is_small());
        odd.filter(|tensor| tensor.format_in(format) != format)
            .map(|tensor| tensor.bytes(tensor.format_in(format)))
            .sum()
    }
}
