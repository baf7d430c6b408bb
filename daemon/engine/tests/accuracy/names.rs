//! What tensors are called in Hugging Face checkpoints and in GGUF files, and how the former lie.
//!
//! Taken from the state dictionaries of the models' own code, and from the table that llama.cpp's converter
//! goes by; the golden checkpoints hold them to it in both directions.

use slmscope_profiles::spec::DecoderSpec;

use crate::tensors::{Tensor, Tensors};

/// Names of one family. Lists are of names there and here, which ends of `.weight` and `.bias` follow.
pub(crate) struct Names {
    top: &'static [(&'static str, &'static str)],
    /// Begin of a block's names; its number follows.
    block: &'static str,
    parts: &'static [(&'static str, &'static str)],
    /// For what `parts` does not have.
    base: &'static [(&'static str, &'static str)],
    lie: Lie,
}

/// How projections of one input lie.
#[derive(Clone, Copy)]
struct Lie {
    qkv: Qkv,
    /// Gate and up projection are one tensor.
    gate_up: bool,
    /// Matrices of blocks have inputs as rows.
    inputs_first: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Qkv {
    Apart,
    /// One tensor: all queries, all keys, all values.
    Stacked,
    /// One tensor: query, key and value of the first head, of the second, and so on.
    ByHead,
}

const APART: Lie = Lie { qkv: Qkv::Apart, gate_up: false, inputs_first: false };

pub(crate) const LLAMA: Names = Names {
    top: &[("model.embed_tokens", "token_embd"), ("model.norm", "output_norm"), ("lm_head", "output")],
    block: "model.layers.",
    parts: &[],
    base: &[
        ("input_layernorm", "attn_norm"),
        ("self_attn.q_proj", "attn_q"),
        ("self_attn.k_proj", "attn_k"),
        ("self_attn.v_proj", "attn_v"),
        ("self_attn.q_norm", "attn_q_norm"),
        ("self_attn.k_norm", "attn_k_norm"),
        ("self_attn.o_proj", "attn_output"),
        ("post_attention_layernorm", "ffn_norm"),
        ("mlp.gate_proj", "ffn_gate"),
        ("mlp.up_proj", "ffn_up"),
        ("mlp.down_proj", "ffn_down"),
    ],
    lie: APART,
};

pub(crate) const GEMMA2: Names = Names {
    parts: &[
        ("post_attention_layernorm", "post_attention_norm"),
        ("pre_feedforward_layernorm", "ffn_norm"),
        ("post_feedforward_layernorm", "post_ffw_norm"),
    ],
    ..LLAMA
};

pub(crate) const MINICPM3: Names = Names {
    parts: &[
        ("self_attn.q_a_proj", "attn_q_a"),
        ("self_attn.q_a_layernorm", "attn_q_a_norm"),
        ("self_attn.q_b_proj", "attn_q_b"),
        ("self_attn.kv_a_proj_with_mqa", "attn_kv_a_mqa"),
        ("self_attn.kv_a_layernorm", "attn_kv_a_norm"),
        ("self_attn.kv_b_proj", "attn_kv_b"),
    ],
    ..LLAMA
};

pub(crate) const PHI3: Names = Names {
    parts: &[("self_attn.qkv_proj", "attn_qkv"), ("mlp.gate_up_proj", "ffn_up")],
    lie: Lie { qkv: Qkv::Stacked, gate_up: true, ..APART },
    ..LLAMA
};

pub(crate) const PHI: Names = Names {
    top: &[
        ("model.embed_tokens", "token_embd"),
        ("model.final_layernorm", "output_norm"),
        ("lm_head", "output"),
    ],
    parts: &[("self_attn.dense", "attn_output"), ("mlp.fc1", "ffn_up"), ("mlp.fc2", "ffn_down")],
    ..LLAMA
};

pub(crate) const GPT_NEOX: Names = Names {
    top: &[
        ("gpt_neox.embed_in", "token_embd"),
        ("gpt_neox.final_layer_norm", "output_norm"),
        ("embed_out", "output"),
        // As transformers has renamed it.
        ("lm_head", "output"),
    ],
    block: "gpt_neox.layers.",
    parts: &[
        ("input_layernorm", "attn_norm"),
        ("attention.query_key_value", "attn_qkv"),
        ("attention.dense", "attn_output"),
        ("post_attention_layernorm", "ffn_norm"),
        ("mlp.dense_h_to_4h", "ffn_up"),
        ("mlp.dense_4h_to_h", "ffn_down"),
    ],
    base: &[],
    lie: Lie { qkv: Qkv::ByHead, ..APART },
};

pub(crate) const GPT2: Names = Names {
    top: &[
        ("transformer.wte", "token_embd"),
        ("transformer.wpe", "position_embd"),
        ("transformer.ln_f", "output_norm"),
        ("lm_head", "output"),
    ],
    block: "transformer.h.",
    parts: &[
        ("ln_1", "attn_norm"),
        ("attn.c_attn", "attn_qkv"),
        ("attn.c_proj", "attn_output"),
        ("ln_2", "ffn_norm"),
        ("mlp.c_fc", "ffn_up"),
        ("mlp.c_proj", "ffn_down"),
    ],
    base: &[],
    lie: Lie { qkv: Qkv::Stacked, inputs_first: true, ..APART },
};

pub(crate) const BLOOM: Names = Names {
    top: &[
        ("transformer.word_embeddings", "token_embd"),
        ("transformer.word_embeddings_layernorm", "token_embd_norm"),
        ("transformer.ln_f", "output_norm"),
        ("lm_head", "output"),
    ],
    block: "transformer.h.",
    parts: &[
        ("input_layernorm", "attn_norm"),
        ("self_attention.query_key_value", "attn_qkv"),
        ("self_attention.dense", "attn_output"),
        ("post_attention_layernorm", "ffn_norm"),
        ("mlp.dense_h_to_4h", "ffn_up"),
        ("mlp.dense_4h_to_h", "ffn_down"),
    ],
    base: &[],
    lie: Lie { qkv: Qkv::ByHead, ..APART },
};

pub(crate) const OPT: Names = Names {
    top: &[
        ("model.decoder.embed_tokens", "token_embd"),
        ("model.decoder.project_in", "token_embd_in"),
        ("model.decoder.project_out", "token_embd_out"),
        ("model.decoder.embed_positions", "position_embd"),
        ("model.decoder.final_layer_norm", "output_norm"),
    ],
    block: "model.decoder.layers.",
    parts: &[
        ("self_attn_layer_norm", "attn_norm"),
        ("self_attn.out_proj", "attn_output"),
        ("final_layer_norm", "ffn_norm"),
        ("fc1", "ffn_up"),
        ("fc2", "ffn_down"),
    ],
    ..LLAMA
};

pub(crate) const RECURRENT_GEMMA: Names = Names {
    top: &[("model.embed_tokens", "token_embd"), ("model.final_norm", "output_norm")],
    parts: &[
        ("temporal_pre_norm", "attn_norm"),
        ("temporal_block.q_proj", "attn_q"),
        ("temporal_block.k_proj", "attn_k"),
        ("temporal_block.v_proj", "attn_v"),
        ("temporal_block.o_proj", "attn_output"),
        ("temporal_block.linear_y", "rec_y"),
        ("temporal_block.linear_x", "rec_x"),
        ("temporal_block.conv_1d", "rec_conv1d"),
        ("temporal_block.rg_lru.input_gate_weight", "rec_input_gate.weight"),
        ("temporal_block.rg_lru.input_gate_bias", "rec_input_gate.bias"),
        ("temporal_block.rg_lru.recurrent_gate_weight", "rec_recurrence_gate.weight"),
        ("temporal_block.rg_lru.recurrent_gate_bias", "rec_recurrence_gate.bias"),
        ("temporal_block.rg_lru.recurrent_param", "rec_decay"),
        ("temporal_block.linear_out", "rec_output"),
        ("channel_pre_norm", "ffn_norm"),
        ("mlp_block.gate_proj", "ffn_gate"),
        ("mlp_block.up_proj", "ffn_up"),
        ("mlp_block.down_proj", "ffn_down"),
    ],
    ..LLAMA
};

pub(crate) const OPENELM: Names = Names {
    top: &[
        ("transformer.token_embeddings", "token_embd"),
        ("transformer.norm", "output_norm"),
        ("lm_head", "output"),
    ],
    block: "transformer.layers.",
    parts: &[
        ("attn_norm", "attn_norm"),
        ("attn.qkv_proj", "attn_qkv"),
        ("attn.q_norm", "attn_q_norm"),
        ("attn.k_norm", "attn_k_norm"),
        ("attn.out_proj", "attn_output"),
        ("ffn_norm", "ffn_norm"),
        ("ffn.proj_1", "ffn_up"),
        ("ffn.proj_2", "ffn_down"),
    ],
    base: &[],
    lie: Lie { qkv: Qkv::Stacked, gate_up: true, ..APART },
};

/// `w1(x) * silu(w2(x))`.
pub(crate) const QWEN1: Names = Names {
    top: &[("transformer.wte", "token_embd"), ("transformer.ln_f", "output_norm"), ("lm_head", "output")],
    block: "transformer.h.",
    parts: &[
        ("ln_1", "attn_norm"),
        ("attn.c_attn", "attn_qkv"),
        ("attn.c_proj", "attn_output"),
        ("ln_2", "ffn_norm"),
        ("mlp.w1", "ffn_up"),
        ("mlp.w2", "ffn_gate"),
        ("mlp.c_proj", "ffn_down"),
    ],
    base: &[],
    lie: Lie { qkv: Qkv::Stacked, ..APART },
};

impl Names {
    /// What a GGUF file calls the tensor that a checkpoint calls `name`.
    pub(crate) fn in_gguf(&self, name: &str) -> String {
        let found = match name.strip_prefix(self.block).and_then(|rest| rest.split_once('.')) {
            Some((index, part)) => {
                let lines = self.parts.iter().chain(self.base);
                renamed(lines.map(|(there, here)| (*there, *here)), part)
                    .map(|part| format!("blk.{index}.{part}"))
            }
            None => renamed(self.top.iter().map(|(there, here)| (*there, *here)), name),
        };
        found.unwrap_or_else(|| panic!("no name for {name}"))
    }

    /// The other way round.
    fn in_checkpoint(&self, name: &str) -> String {
        let found = match name.strip_prefix("blk.").and_then(|rest| rest.split_once('.')) {
            Some((index, part)) => {
                let lines = self.parts.iter().chain(self.base);
                renamed(lines.map(|(there, here)| (*here, *there)), part)
                    .map(|part| format!("{}{index}.{part}", self.block))
            }
            None => renamed(self.top.iter().map(|(there, here)| (*here, *there)), name),
        };
        found.unwrap_or_else(|| panic!("no name for {name}"))
    }

    /// The tensors of `spec` as a checkpoint has them.
    pub(crate) fn checkpoint(&self, spec: &DecoderSpec, tensors: &Tensors) -> Tensors {
        let mut tensors = tensors.clone();
        for (index, layer) in spec.layers.iter().enumerate() {
            for kind in ["weight", "bias"] {
                let mut join = |parts: &[&str], whole: &str, order: &dyn Fn(Tensor) -> Tensor| {
                    let taken =
                        parts.iter().map(|part| tensors.remove(&format!("blk.{index}.{part}.{kind}")));
                    if let Some(parts) = taken.collect::<Option<Vec<_>>>() {
                        tensors.insert(format!("blk.{index}.{whole}.{kind}"), order(Tensor::stacked(&parts)));
                    }
                };
                if self.lie.qkv != Qkv::Apart {
                    let heads = layer.mixer.attention().unwrap().q_heads as usize;
                    let by_head = self.lie.qkv == Qkv::ByHead;
                    join(&["attn_q", "attn_k", "attn_v"], "attn_qkv", &|all| {
                        if by_head { interleaved(&all, heads) } else { all }
                    });
                }
                if self.lie.gate_up {
                    join(&["ffn_gate", "ffn_up"], "ffn_up", &|all| all);
                }
            }
        }
        let stored = |(name, tensor): (String, Tensor)| {
            let block = name.starts_with("blk.");
            let tensor = if block && self.lie.inputs_first { tensor.transposed() } else { tensor };
            let tensor = if name.contains("_gate.weight") && name.contains(".rec_") {
                blocks_transposed(&tensor)
            } else {
                tensor
            };
            (self.in_checkpoint(&name), tensor)
        };
        tensors.into_iter().map(stored).collect()
    }
}

/// `name`, or `name` up to its last point, by the first pair that has it.
fn renamed(mut pairs: impl Iterator<Item = (&'static str, &'static str)>, name: &str) -> Option<String> {
    let (stem, kind) = name.rsplit_once('.').unwrap_or((name, ""));
    pairs.find_map(|(from, to)| {
        if from == name {
            return Some(to.to_owned());
        }
        (from == stem).then(|| format!("{to}.{kind}"))
    })
}

/// From all queries, all keys, all values to those of each head.
fn interleaved(stacked: &Tensor, heads: usize) -> Tensor {
    let length = stacked.shape[0] / (3 * heads);
    let order = (0..heads).flat_map(|head| (0..3).map(move |part| (part * heads + head) * length));
    stacked.reordered(order.flat_map(|first| first..first + length))
}

/// Square blocks, one behind the other, each with its inputs as rows.
fn blocks_transposed(tensor: &Tensor) -> Tensor {
    let length = tensor.shape[1];
    let blocks = tensor
        .values
        .chunks_exact(length * length)
        .flat_map(|block| Tensor { shape: vec![length, length], values: block.to_vec() }.transposed().values);
    Tensor { shape: vec![tensor.shape[0] / length, length, length], values: blocks.collect() }
}
