//! The weight tensors of a spec, under the names that GGUF gives them, and what can be counted from them.

use serde::{Deserialize, Serialize};

use super::DecoderSpec;
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
    /// Added to a projection.
    Bias,
}

impl TensorSpec {
    /// Elements.
    pub fn elements(&self) -> u64 {
        u64::from(self.rows) * u64::from(self.columns)
    }

    /// Its format in a model "in `format`": tables and matrices in that format, or in f16 where its block
    /// does not divide the row; gains and biases in f32.
    pub fn format_in(&self, format: WeightFormat) -> WeightFormat {
        match self.role {
            Role::Gain | Role::Bias => WeightFormat::F32,
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

impl DecoderSpec {
    /// Every weight tensor, in the order of the computation.
    pub fn tensors(&self) -> Vec<TensorSpec> {
        let mut list = Vec::with_capacity(self.layers.len() * 16 + 3);
        let table = if self.tied_head { Role::TiedTable } else { Role::Table };
        list.push(tensor(EMBEDDING.to_owned(), self.vocab, self.hidden, table));
        for (index, layer) in self.layers.iter().enumerate() {
            let attention = &layer.attention;
            let (q, kv) = (attention.q_width(), attention.kv_width());
            let mut push = |name: &str, rows, columns, role| {
                list.push(tensor(format!("blk.{index}.{name}"), rows, columns, role));
            };
            push("attn_norm.weight", 1, self.hidden, Role::Gain);
            for (name, rows) in [("attn_q", q), ("attn_k", kv), ("attn_v", kv)] {
                push(&format!("{name}.weight"), rows, self.hidden, Role::Matrix);
                if attention.qkv_bias {
                    push(&format!("{name}.bias"), 1, rows, Role::Bias);
                }
            }
            if attention.qk_norm.is_some() {
                push("attn_q_norm.weight", 1, attention.head_dim, Role::Gain);
                push("attn_k_norm.weight", 1, attention.head_dim, Role::Gain);
            }
            push("attn_output.weight", self.hidden, q, Role::Matrix);
            if layer.attn_post_norm.is_some() {
                push("post_attention_norm.weight", 1, self.hidden, Role::Gain);
            }
            push("ffn_norm.weight", 1, self.hidden, Role::Gain);
            push("ffn_gate.weight", layer.ffn.dim, self.hidden, Role::Matrix);
            push("ffn_up.weight", layer.ffn.dim, self.hidden, Role::Matrix);
            push("ffn_down.weight", self.hidden, layer.ffn.dim, Role::Matrix);
            if layer.ffn_post_norm.is_some() {
                push("post_ffw_norm.weight", 1, self.hidden, Role::Gain);
            }
        }
        list.push(tensor("output_norm.weight".to_owned(), 1, self.hidden, Role::Gain));
        if !self.tied_head {
            list.push(tensor("output.weight".to_owned(), self.vocab, self.hidden, Role::Matrix));
        }
        list
    }

    /// Parameters of this spec as it is stored without repetition. A file that stores a tied head a second
    /// time has more `stored` elements; its reader says so.
    pub fn params(&self) -> ParamCounts {
        let tensors = self.tensors();
        let stored = tensors.iter().map(TensorSpec::elements).sum();
        let multiplied = tensors
            .iter()
            .filter(|tensor| matches!(tensor.role, Role::Matrix | Role::TiedTable))
            .map(TensorSpec::elements)
            .sum();
        ParamCounts { stored, unique: stored, multiplied }
    }

    /// Bytes of all weights of a model "in `format`" (see [`TensorSpec::format_in`]).
    pub fn weight_bytes(&self, format: WeightFormat) -> u64 {
        self.tensors().iter().map(|tensor| tensor.bytes(tensor.format_in(format))).sum()
    }
}

fn tensor(name: String, rows: u32, columns: u32, role: Role) -> TensorSpec {
    TensorSpec { name, rows, columns, role }
}
