//! The keys of configurations, each with its names in different years and families.

use slmscope_profiles::spec::SpecError;

use super::config::Config;
use crate::error::LoadError;

/// Names of one figure; a configuration has one of them.
pub(super) type Key = &'static [&'static str];

pub(super) const HIDDEN: Key = &["hidden_size", "n_embd", "model_dim", "dim"];
pub(super) const LAYERS: Key = &["num_hidden_layers", "n_layer", "num_transformer_layers", "n_layers"];
pub(super) const HEADS: Key = &["num_attention_heads", "n_head", "n_heads"];
pub(super) const KV_HEADS: Key = &["num_key_value_heads"];
pub(super) const CONTEXT: Key =
    &["max_position_embeddings", "n_positions", "max_context_length", "seq_length", "seq_len"];
pub(super) const FFN: Key = &["intermediate_size", "ffn_dim", "n_inner"];
pub(super) const EPSILON: Key = &["rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon", "norm_eps"];
pub(super) const THETA: Key = &["rope_theta", "rotary_emb_base", "rope_freq_constant"];
pub(super) const TURNED_SHARE: Key = &["partial_rotary_factor", "rotary_pct", "rope_pct"];
pub(super) const LOGITS_CAP: Key = &["final_logit_softcapping", "logits_soft_cap"];

/// The keys that a field of the spec is made of, without the number of its layer.
fn keys_of(field: &str) -> &'static [Key] {
    match field {
        "vocab" => &[&["vocab_size"]],
        "hidden" => &[HIDDEN],
        "layers" => &[LAYERS],
        "max_context" => &[CONTEXT],
        "embedding.width" => &[&["word_embed_proj_dim"]],
        "embedding.scale" => &[&["embedding_multiplier", "scale_emb"]],
        "head.scale" => &[&["logits_scaling", "dim_model_base"]],
        "head.softcap" => &[LOGITS_CAP],
        "residual_scale" => &[&["residual_multiplier", "scale_depth"]],
        "norm" | "attn_norm" | "attention.qk_norm" => &[EPSILON],
        "attention" => &[HEADS, KV_HEADS, &["num_query_heads"], &["num_kv_heads"]],
        "attention.head_dim" => &[&["head_dim"], HIDDEN, HEADS],
        "attention.clip" => &[&["clip_qkv"]],
        "attention.softcap" => &[&["attn_logit_softcapping"]],
        "attention.scale" => &[&["query_pre_attn_scalar", "attention_multiplier"]],
        "attention.window" => &[&["sliding_window", "attention_window_size"]],
        "attention.log_n" => &[&["seq_length"]],
        "latent.heads" => &[HEADS],
        "latent.q_rank" => &[&["q_lora_rank"]],
        "latent.kv_rank" => &[&["kv_lora_rank"]],
        "latent.nope_dim" => &[&["qk_nope_head_dim"]],
        "latent.rope_dim" | "latent.rope.dim" => &[&["qk_rope_head_dim"]],
        "latent.value_dim" => &[&["v_head_dim"]],
        "latent.scale" => &[&["qk_nope_head_dim"], &["qk_rope_head_dim"]],
        "recurrent.width" => &[&["lru_width"]],
        "recurrent.conv" => &[&["conv1d_width"]],
        "recurrent.blocks" => &[&["lru_width"], HEADS],
        "ffn.dim" => &[FFN, &["ffn_multipliers"]],
        "attention.rope.dim" => &[&["head_dim"], TURNED_SHARE],
        "attention.rope.theta" | "latent.rope.theta" => &[THETA],
        _ if field.contains("rope.scaling") => &[&["rope_scaling"], &["rope_parameters"]],
        _ => &[],
    }
}

impl Config<'_> {
    /// The error for a figure that cannot be.
    pub(super) fn contradiction(&self, contradiction: SpecError) -> LoadError {
        let within = contradiction.field_of_layer();
        let found = keys_of(within).iter().filter_map(|names| self.find(names));
        let keys = found.map(|(name, _)| self.key(name)).collect();
        LoadError::Spec { model: self.file.to_owned(), keys, contradiction }
    }
}
