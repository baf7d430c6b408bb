//! Names and layouts of tensors in checkpoints, family by family.
//!
//! A line of the table has the name of a tensor of the spec there, and how its rows are stored: alone, as a part of a
//! fused tensor, or turned. Names are without `.weight` and `.bias`, which both sides share, unless the line
//! has them.

use super::layout::TensorPart;

/// What a tensor of a block is called in the spec and in the file, and how it lies there.
type Line = (&'static str, &'static str, TensorPart);

/// The names of one family.
pub(super) struct Names {
    /// Outside of the blocks.
    pub(super) top: &'static [(&'static str, &'static str)],
    /// Begin of a block's names; the number follows.
    pub(super) block: &'static str,
    /// Within a block.
    pub(super) parts: &'static [Line],
    /// The same for what `parts` does not name.
    pub(super) base: &'static [Line],
    /// Ends of names that the computation does not need: masks and tables made anew.
    pub(super) ignored: &'static [&'static str],
}

use TensorPart::{GateUp, Qkv, QkvByHead, Turned, TurnedBlocks, TurnedQkv, Whole};

const LLAMA_TOP: &[(&str, &str)] =
    &[("token_embd", "model.embed_tokens"), ("output_norm", "model.norm"), ("output", "lm_head")];

/// What most families call things since Llama.
const LLAMA_PARTS: &[Line] = &[
    ("attn_norm", "input_layernorm", Whole),
    ("attn_q", "self_attn.q_proj", Whole),
    ("attn_k", "self_attn.k_proj", Whole),
    ("attn_v", "self_attn.v_proj", Whole),
    ("attn_q_norm", "self_attn.q_norm", Whole),
    ("attn_k_norm", "self_attn.k_norm", Whole),
    ("attn_output", "self_attn.o_proj", Whole),
    ("ffn_norm", "post_attention_layernorm", Whole),
    ("ffn_gate", "mlp.gate_proj", Whole),
    ("ffn_up", "mlp.up_proj", Whole),
    ("ffn_down", "mlp.down_proj", Whole),
];

pub(super) const LLAMA: Names = Names {
    top: LLAMA_TOP,
    block: "model.layers.",
    parts: &[],
    base: LLAMA_PARTS,
    ignored: &[".rotary_emb.inv_freq"],
};

/// Norms behind the branches as well.
pub(super) const GEMMA2: Names = Names {
    parts: &[
        ("post_attention_norm", "post_attention_layernorm", Whole),
        ("ffn_norm", "pre_feedforward_layernorm", Whole),
        ("post_ffw_norm", "post_feedforward_layernorm", Whole),
    ],
    ..LLAMA
};

pub(super) const MINICPM3: Names = Names {
    parts: &[
        ("attn_q_a", "self_attn.q_a_proj", Whole),
        ("attn_q_a_norm", "self_attn.q_a_layernorm", Whole),
        ("attn_q_b", "self_attn.q_b_proj", Whole),
        ("attn_kv_a_mqa", "self_attn.kv_a_proj_with_mqa", Whole),
        ("attn_kv_a_norm", "self_attn.kv_a_layernorm", Whole),
        ("attn_kv_b", "self_attn.kv_b_proj", Whole),
    ],
    ..LLAMA
};

pub(super) const PHI3: Names = Names {
    parts: &[
        ("attn_q", "self_attn.qkv_proj", Qkv(0)),
        ("attn_k", "self_attn.qkv_proj", Qkv(1)),
        ("attn_v", "self_attn.qkv_proj", Qkv(2)),
        ("ffn_gate", "mlp.gate_up_proj", GateUp(0)),
        ("ffn_up", "mlp.gate_up_proj", GateUp(1)),
    ],
    ..LLAMA
};

pub(super) const PHI: Names = Names {
    top: &[
        ("token_embd", "model.embed_tokens"),
        ("output_norm", "model.final_layernorm"),
        ("output", "lm_head"),
    ],
    parts: &[
        ("attn_output", "self_attn.dense", Whole),
        ("ffn_up", "mlp.fc1", Whole),
        ("ffn_down", "mlp.fc2", Whole),
    ],
    ..LLAMA
};

pub(super) const GPT_NEOX: Names = Names {
    top: &[
        ("token_embd", "gpt_neox.embed_in"),
        ("output_norm", "gpt_neox.final_layer_norm"),
        ("output", "embed_out"),
        ("output", "lm_head"),
    ],
    block: "gpt_neox.layers.",
    parts: &[
        ("attn_norm", "input_layernorm", Whole),
        ("attn_q", "attention.query_key_value", QkvByHead(0)),
        ("attn_k", "attention.query_key_value", QkvByHead(1)),
        ("attn_v", "attention.query_key_value", QkvByHead(2)),
        ("attn_output", "attention.dense", Whole),
        ("ffn_norm", "post_attention_layernorm", Whole),
        ("ffn_up", "mlp.dense_h_to_4h", Whole),
        ("ffn_down", "mlp.dense_4h_to_h", Whole),
    ],
    base: &[],
    ignored: &[".rotary_emb.inv_freq", ".attention.bias", ".attention.masked_bias"],
};

pub(super) const GPT2: Names = Names {
    top: &[
        ("token_embd", "transformer.wte"),
        ("position_embd", "transformer.wpe"),
        ("output_norm", "transformer.ln_f"),
        ("output", "lm_head"),
    ],
    block: "transformer.h.",
    parts: &[
        ("attn_norm", "ln_1", Whole),
        ("attn_q", "attn.c_attn", TurnedQkv(0)),
        ("attn_k", "attn.c_attn", TurnedQkv(1)),
        ("attn_v", "attn.c_attn", TurnedQkv(2)),
        ("attn_output", "attn.c_proj", Turned),
        ("ffn_norm", "ln_2", Whole),
        ("ffn_up", "mlp.c_fc", Turned),
        ("ffn_down", "mlp.c_proj", Turned),
    ],
    base: &[],
    ignored: &[".attn.bias", ".attn.masked_bias"],
};

pub(super) const BLOOM: Names = Names {
    top: &[
        ("token_embd", "transformer.word_embeddings"),
        ("token_embd_norm", "transformer.word_embeddings_layernorm"),
        ("output_norm", "transformer.ln_f"),
        ("output", "lm_head"),
    ],
    block: "transformer.h.",
    parts: &[
        ("attn_norm", "input_layernorm", Whole),
        ("attn_q", "self_attention.query_key_value", QkvByHead(0)),
        ("attn_k", "self_attention.query_key_value", QkvByHead(1)),
        ("attn_v", "self_attention.query_key_value", QkvByHead(2)),
        ("attn_output", "self_attention.dense", Whole),
        ("ffn_norm", "post_attention_layernorm", Whole),
        ("ffn_up", "mlp.dense_h_to_4h", Whole),
        ("ffn_down", "mlp.dense_4h_to_h", Whole),
    ],
    base: &[],
    ignored: &[],
};

pub(super) const OPT: Names = Names {
    top: &[
        ("token_embd", "model.decoder.embed_tokens"),
        ("token_embd_in", "model.decoder.project_in"),
        ("token_embd_out", "model.decoder.project_out"),
        ("position_embd", "model.decoder.embed_positions"),
        ("output_norm", "model.decoder.final_layer_norm"),
        ("output", "lm_head"),
    ],
    block: "model.decoder.layers.",
    parts: &[
        ("attn_norm", "self_attn_layer_norm", Whole),
        ("attn_output", "self_attn.out_proj", Whole),
        ("ffn_norm", "final_layer_norm", Whole),
        ("ffn_up", "fc1", Whole),
        ("ffn_down", "fc2", Whole),
    ],
    base: LLAMA_PARTS,
    ignored: &[],
};

pub(super) const RECURRENT_GEMMA: Names = Names {
    top: &[("token_embd", "model.embed_tokens"), ("output_norm", "model.final_norm"), ("output", "lm_head")],
    parts: &[
        ("attn_norm", "temporal_pre_norm", Whole),
        ("attn_q", "temporal_block.q_proj", Whole),
        ("attn_k", "temporal_block.k_proj", Whole),
        ("attn_v", "temporal_block.v_proj", Whole),
        ("attn_output", "temporal_block.o_proj", Whole),
        ("rec_y", "temporal_block.linear_y", Whole),
        ("rec_x", "temporal_block.linear_x", Whole),
        ("rec_conv1d", "temporal_block.conv_1d", Whole),
        ("rec_input_gate.weight", "temporal_block.rg_lru.input_gate_weight", TurnedBlocks),
        ("rec_input_gate.bias", "temporal_block.rg_lru.input_gate_bias", Whole),
        ("rec_recurrence_gate.weight", "temporal_block.rg_lru.recurrent_gate_weight", TurnedBlocks),
        ("rec_recurrence_gate.bias", "temporal_block.rg_lru.recurrent_gate_bias", Whole),
        ("rec_decay", "temporal_block.rg_lru.recurrent_param", Whole),
        ("rec_output", "temporal_block.linear_out", Whole),
        ("ffn_norm", "channel_pre_norm", Whole),
        ("ffn_gate", "mlp_block.gate_proj", Whole),
        ("ffn_up", "mlp_block.up_proj", Whole),
        ("ffn_down", "mlp_block.down_proj", Whole),
    ],
    ..LLAMA
};

pub(super) const OPENELM: Names = Names {
    top: &[
        ("token_embd", "transformer.token_embeddings"),
        ("output_norm", "transformer.norm"),
        ("output", "lm_head"),
    ],
    block: "transformer.layers.",
    parts: &[
        ("attn_norm", "attn_norm", Whole),
        ("attn_q", "attn.qkv_proj", Qkv(0)),
        ("attn_k", "attn.qkv_proj", Qkv(1)),
        ("attn_v", "attn.qkv_proj", Qkv(2)),
        ("attn_q_norm", "attn.q_norm", Whole),
        ("attn_k_norm", "attn.k_norm", Whole),
        ("attn_output", "attn.out_proj", Whole),
        ("ffn_norm", "ffn_norm", Whole),
        ("ffn_gate", "ffn.proj_1", GateUp(0)),
        ("ffn_up", "ffn.proj_1", GateUp(1)),
        ("ffn_down", "ffn.proj_2", Whole),
    ],
    base: &[],
    ignored: &[".rotary_emb.inv_freq", ".pos_embedding.inv_freq"],
};

/// The SiLU is on the first half of `w12`.
pub(super) const OPEN_LM: Names = Names {
    top: &[
        ("token_embd", "model.tok_embeddings"),
        ("token_embd_norm", "model.post_embed_norm"),
        ("output_norm", "model.norm"),
        ("output", "model.output"),
    ],
    block: "model.layers.",
    parts: &[
        ("attn_norm", "attention_norm", Whole),
        ("attn_q", "attention.in_proj", Qkv(0)),
        ("attn_k", "attention.in_proj", Qkv(1)),
        ("attn_v", "attention.in_proj", Qkv(2)),
        ("attn_q_norm", "attention.q_norm", Whole),
        ("attn_k_norm", "attention.k_norm", Whole),
        ("attn_output", "attention.out_proj", Whole),
        ("ffn_norm", "ffn_norm", Whole),
        ("ffn_gate", "feed_forward.w12", GateUp(0)),
        ("ffn_up", "feed_forward.w12", GateUp(1)),
        ("ffn_down", "feed_forward.w3", Whole),
    ],
    base: &[],
    ignored: &[".pos_embed.inv_freq"],
};

/// The SiLU is on `w2`.
pub(super) const QWEN1: Names = Names {
    top: &[("token_embd", "transformer.wte"), ("output_norm", "transformer.ln_f"), ("output", "lm_head")],
    block: "transformer.h.",
    parts: &[
        ("attn_norm", "ln_1", Whole),
        ("attn_q", "attn.c_attn", Qkv(0)),
        ("attn_k", "attn.c_attn", Qkv(1)),
        ("attn_v", "attn.c_attn", Qkv(2)),
        ("attn_output", "attn.c_proj", Whole),
        ("ffn_norm", "ln_2", Whole),
        ("ffn_gate", "mlp.w2", Whole),
        ("ffn_up", "mlp.w1", Whole),
        ("ffn_down", "mlp.c_proj", Whole),
    ],
    base: &[],
    ignored: &[".rotary_emb.inv_freq"],
};

/// A tensor of the spec as the file has it.
pub(super) struct Stored {
    /// Names that it may have, the usual one first.
    pub(super) names: Vec<String>,
    pub(super) part: TensorPart,
    /// Block it belongs to.
    pub(super) layer: Option<usize>,
}

impl Names {
    /// Where `tensor` is. `None` if the family has no such tensor.
    pub(super) fn find(&self, tensor: &str) -> Option<Stored> {
        let (layer, rest) = match tensor.strip_prefix("blk.") {
            Some(rest) => {
                let (layer, rest) = rest.split_once('.')?;
                (Some(layer.parse().ok()?), rest)
            }
            None => (None, tensor),
        };
        let (stem, ending) = rest.rsplit_once('.').map_or((rest, ""), |(stem, kind)| (stem, kind));
        let full = |name: &str, exact: bool| match (exact, ending) {
            (true, _) | (_, "") => name.to_owned(),
            (false, ending) => format!("{name}.{ending}"),
        };
        let Some(index) = layer else {
            let known = self.top.iter().filter(|(ours, _)| *ours == stem || *ours == rest);
            let names = known.flat_map(|(ours, name)| spellings(&full(name, *ours == rest && *ours != stem)));
            let names: Vec<_> = names.collect();
            return (!names.is_empty()).then_some(Stored { names, part: TensorPart::Whole, layer });
        };
        let mut lines = self.parts.iter().chain(self.base);
        let known = lines.find(|(ours, ..)| *ours == rest || *ours == stem);
        known.map(|(ours, name, part)| {
            let name = full(&format!("{}{index}.{name}", self.block), *ours == rest);
            Stored { names: spellings(&name), part: *part, layer }
        })
    }
}

/// A name with the name of the whole model in front, and without it as checkpoints of bare models have it.
fn spellings(name: &str) -> Vec<String> {
    let mut all = vec![name.to_owned()];
    for prefix in ["model.", "transformer.", "gpt_neox."] {
        all.extend(name.strip_prefix(prefix).map(str::to_owned));
    }
    all
}
