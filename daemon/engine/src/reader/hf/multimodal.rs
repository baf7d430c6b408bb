//! Multimodal models: the text model is read, the image model is not.
//!
//! Their configuration keeps the keys of the text model in a section of its own, and their checkpoints put a prefix
//! before the names of its tensors:
//!
//! | | before | today |
//! |---|---|---|
//! | text | `language_model.model.layers.0.…` | `model.language_model.layers.0.…` |
//! | images | `vision_tower.…`, `multi_modal_projector.…` | the same behind `model.` |
//!
//! The tensors for images are skipped: prompts here are text.

use serde_json::{Map, Value, json};

/// Begins of the names of tensors that turn images into rows of the stream.
const IMAGES: [&str; 2] = ["vision_tower.", "multi_modal_projector."];

/// The keys of the text model, if `map` is the configuration of a Gemma 3 with several parts.
///
/// transformers writes only those keys of a part that differ from the defaults of its class, so these stand
/// in for the ones that are absent (`Gemma3TextConfig`).
pub(super) fn text_model(map: &Map<String, Value>) -> Option<Map<String, Value>> {
    let part = map.get("text_config")?.as_object()?;
    if map.get("model_type")?.as_str()? != "gemma3" {
        return None;
    }
    let Value::Object(mut text) = json!({
        "model_type": "gemma3_text",
        "vocab_size": 262_208,
        "hidden_size": 2304,
        "intermediate_size": 9216,
        "num_hidden_layers": 26,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "max_position_embeddings": 131_072,
        "query_pre_attn_scalar": 256,
        "sliding_window": 4096,
    }) else {
        return None;
    };
    // Holds for all parts.
    let whole = map.get_key_value("quantization_config");
    let stated = part.iter().filter(|(_, value)| !value.is_null()).chain(whole);
    text.extend(stated.map(|(key, value)| (key.clone(), value.clone())));
    Some(text)
}

/// What a tensor of a text model may be called in a checkpoint with several parts.
pub(super) fn spellings(name: &str) -> impl Iterator<Item = String> {
    let inner = name.strip_prefix("model.").map(|inner| format!("model.language_model.{inner}"));
    [format!("language_model.{name}")].into_iter().chain(inner)
}

/// Whether a tensor is for images.
pub(super) fn is_for_images(name: &str) -> bool {
    let name = name.strip_prefix("model.").unwrap_or(name);
    IMAGES.iter().any(|begin| name.starts_with(begin))
}
