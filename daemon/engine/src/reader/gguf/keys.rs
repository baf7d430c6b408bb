//! The metadata keys of one architecture in one file.

use slmscope_profiles::spec::SpecError;
use slmscope_profiles::spec::tensors::EMBEDDING;

use super::rope::FACTORS;
use super::{at, unsupported};
use crate::error::LoadError;
use crate::gguf::Gguf;
use crate::sanitize::sanitize;

/// Reads keys that begin with the architecture's name.
pub(super) struct Keys<'a> {
    pub(super) gguf: &'a Gguf<'a>,
    pub(super) prefix: &'static str,
}

impl Keys<'_> {
    pub(super) fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }

    pub(super) fn number(&self, name: &str) -> Result<Option<u32>, LoadError> {
        Ok(self.gguf.get_u32(&self.key(name))?)
    }

    pub(super) fn need(&self, name: &str) -> Result<u32, LoadError> {
        self.number(name)?.ok_or_else(|| self.missing(name))
    }

    pub(super) fn float(&self, name: &str) -> Result<Option<f32>, LoadError> {
        Ok(self.gguf.get_f32(&self.key(name))?)
    }

    /// One number for all layers, or an array with one for each.
    pub(super) fn per_layer(&self, name: &str, layers: u32) -> Result<Option<Vec<u32>>, LoadError> {
        let key = self.key(name);
        let Ok(Some(array)) = self.gguf.get_array(&key) else {
            return Ok(self.number(name)?.map(|number| vec![number; layers as usize]));
        };
        let wrong = || self.gguf.wrong_type(&key, "an integer, or an array with one for each layer");
        let numbers = array.integers().filter(|_| array.len() == layers as usize).ok_or_else(wrong)?;
        let numbers: Result<Vec<u32>, _> = numbers.map(u32::try_from).collect();
        Ok(Some(numbers.map_err(|_| wrong())?))
    }

    pub(super) fn present(&self, tensor: &str) -> bool {
        self.gguf.tensor(tensor).is_some()
    }

    pub(super) fn missing(&self, name: &str) -> LoadError {
        self.gguf.missing(&self.key(name)).into()
    }

    /// The error for a figure that cannot be.
    pub(super) fn contradiction(&self, contradiction: SpecError) -> LoadError {
        let names = self.keys_of(contradiction.field_of_layer());
        let keys = names.iter().filter_map(|name| {
            let key = self.key(name);
            let offset = self.gguf.key_offset(&key).map(|offset| format!("{key} (at byte {offset})"));
            offset.or_else(|| self.gguf.tensor(name).map(at))
        });
        LoadError::Spec { model: self.gguf.file().to_owned(), keys: keys.collect(), contradiction }
    }

    /// The keys and tensors that a field of the spec is made of.
    fn keys_of(&self, field: &str) -> &'static [&'static str] {
        match field {
            "vocab" => &[EMBEDDING],
            "hidden" => &["embedding_length"],
            "layers" => &["block_count"],
            "max_context" => &["context_length"],
            "embedding.scale" => &["embedding_scale"],
            "head.scale" => &["logit_scale"],
            "head.softcap" => &["final_logit_softcapping"],
            "residual_scale" => &["residual_scale"],
            "norm" | "attn_norm" | "attention.qk_norm" | "latent.norm" => {
                &["attention.layer_norm_rms_epsilon", "attention.layer_norm_epsilon"]
            }
            "attention" | "latent.heads" => &["attention.head_count", "attention.head_count_kv"],
            "attention.head_dim" if self.gguf.get(&self.key("attention.key_length")).is_some() => {
                &["attention.key_length"]
            }
            "attention.head_dim" => &["embedding_length", "attention.head_count"],
            "attention.clip" => &["attention.clamp_kqv"],
            "attention.softcap" => &["attn_logit_softcapping"],
            "attention.scale" => &["attention.scale"],
            "attention.window" => &["attention.sliding_window"],
            "latent.q_rank" => &["attention.q_lora_rank"],
            "latent.kv_rank" => &["attention.kv_lora_rank"],
            "latent.nope_dim" | "latent.scale" => &["attention.key_length", "rope.dimension_count"],
            "latent.value_dim" => &["attention.value_length"],
            "latent.rope_dim" | "latent.rope.dim" => &["rope.dimension_count"],
            "attention.rope.dim" => &["rope.dimension_count", "attention.key_length"],
            "attention.rope.theta" | "latent.rope.theta" => &["rope.freq_base"],
            "attention.rope.scaling.short" => &[FACTORS[1]],
            "attention.rope.scaling.long" => &[FACTORS[2]],
            _ if field.contains("rope.scaling") => {
                &[FACTORS[0], "rope.scaling.factor", "rope.scaling.original_context_length"]
            }
            "ffn.dim" => &["feed_forward_length"],
            _ => &[],
        }
    }

    pub(super) fn unsupported(&self, name: &str, found: &str, remedy: &'static str) -> LoadError {
        unsupported(self.gguf, format!("{} = {}", self.key(name), sanitize(found)), remedy)
    }
}
