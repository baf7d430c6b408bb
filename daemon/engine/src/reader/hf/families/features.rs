//! Features that this engine does not compute, by the keys that ask for them.

use super::OTHER;
use crate::error::LoadError;
use crate::reader::hf::config::{Config, value_text};

/// Keys for the number of experts, family by family.
const EXPERTS: [&str; 4] = ["num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts"];

/// Refuses mixtures of experts, of whatever family: they are named before the family is looked up.
pub(super) fn refuse_experts(config: Config<'_>) -> Result<(), LoadError> {
    let refused = |key, found| Err(LoadError::Experts { file: config.file.to_owned(), key, found });
    // OpenLM states how many experts there would be, and which layers have them: 0 for none.
    match config.float(&["moe_freq"])? {
        Some(0.0) => return Ok(()),
        Some(every) => return refused(config.key("moe_freq"), every.to_string()),
        None => {}
    }
    let inner = ["text_config", "ffn_config"].map(|part| config.part(&[part]));
    for part in [Some(config)].into_iter().chain(inner.into_iter().filter_map(Result::ok)).flatten() {
        let mut there = EXPERTS.iter().filter_map(|&key| part.find(&[key]));
        if let Some((key, count)) = there.find(|(_, count)| count.as_u64() != Some(0)) {
            return refused(part.key(key), value_text(count));
        }
    }
    Ok(())
}

/// Refuses what else would change the computation and is not in the spec.
pub(super) fn refuse(config: Config<'_>) -> Result<(), LoadError> {
    for (key, harmless) in [
        ("qk_layernorm", false),
        ("scale_attn_by_inverse_layer_idx", false),
        ("scale_attn_weights", true),
        ("add_cross_attention", false),
        ("is_encoder_decoder", false),
        ("apply_residual_connection_post_layernorm", false),
        ("use_bidirectional_attention", false),
        // Every block twice in a row (MobileLLM-LS).
        ("layer_sharing", false),
    ] {
        if let Some(found) = config.flag(&[key])?.filter(|found| *found != harmless) {
            return Err(config.unsupported(format!("{} = {found}", config.key(key)), OTHER));
        }
    }
    if config.part(&["quantization_config"])?.is_some() {
        let remedy = "take the original checkpoint and name a format with --format, or a GGUF file";
        return Err(config.unsupported("a checkpoint with quantization_config".to_owned(), remedy));
    }
    Ok(())
}
