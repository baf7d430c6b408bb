//! What a converter asks a configuration for.

use serde_json::{Map, Value};

/// A configuration whose rotary keys lie on one level, whatever its spelling.
pub(crate) struct Config(Map<String, Value>);

impl Config {
    pub(super) fn new(config: &Value) -> Self {
        let mut keys = config.as_object().unwrap().clone();
        if let Some(Value::Object(rope)) = keys.get("rope_parameters").cloned() {
            keys.extend(rope);
        }
        if let Some(Value::Object(scaling)) = keys.get("rope_scaling").cloned() {
            keys.extend(scaling);
        }
        Self(keys)
    }

    /// The number under the first of the keys that is there.
    pub(super) fn find(&self, keys: &[&str]) -> Option<f64> {
        keys.iter().find_map(|key| self.0.get(*key)?.as_f64())
    }

    pub(super) fn float(&self, keys: &[&str]) -> f64 {
        self.find(keys).unwrap_or_else(|| panic!("no {keys:?}"))
    }

    pub(super) fn number(&self, keys: &[&str]) -> u32 {
        self.float(keys) as u32
    }

    pub(super) fn hidden(&self) -> u32 {
        self.number(&["hidden_size", "n_embd"])
    }

    pub(super) fn layers(&self) -> u32 {
        self.number(&["num_hidden_layers", "n_layer"])
    }

    pub(super) fn heads(&self) -> u32 {
        self.number(&["num_attention_heads", "n_head"])
    }

    pub(super) fn kv_heads(&self) -> u32 {
        self.find(&["num_key_value_heads"]).map_or(self.heads(), |heads| heads as u32)
    }

    pub(super) fn head_dim(&self) -> u32 {
        self.find(&["head_dim"]).map_or(self.hidden() / self.heads(), |length| length as u32)
    }

    pub(super) fn floats(&self, key: &str) -> Option<Vec<f32>> {
        let list = self.0.get(key)?.as_array()?;
        Some(list.iter().map(|value| value.as_f64().unwrap() as f32).collect())
    }

    pub(super) fn flag(&self, key: &str) -> bool {
        self.0.get(key).and_then(Value::as_bool).unwrap()
    }

    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.as_str()
    }
}
