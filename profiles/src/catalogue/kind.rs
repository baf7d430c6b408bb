//! The survey's word for a token mixer.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Row;
use crate::spec::{DecoderSpec, Mixer};
use crate::words::UnknownWord;

/// How a model mixes tokens, by the heads that share keys and values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AttentionKind {
    /// Multi-head: each query head has its own keys and values.
    #[serde(rename = "MHA")]
    Mha,
    /// Grouped-query: some share theirs.
    #[serde(rename = "GQA")]
    Gqa,
    /// Multi-query: all share theirs.
    #[serde(rename = "MQA")]
    Mqa,
    /// Multi-head latent: keys and values are kept compressed.
    #[serde(rename = "MLA")]
    Mla,
    /// A recurrence in most layers.
    #[serde(rename = "recurrent")]
    Recurrent,
}

impl AttentionKind {
    /// All kinds.
    pub const ALL: [Self; 5] = [Self::Mha, Self::Gqa, Self::Mqa, Self::Mla, Self::Recurrent];

    /// As spelled in flags and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mha => "MHA",
            Self::Gqa => "GQA",
            Self::Mqa => "MQA",
            Self::Mla => "MLA",
            Self::Recurrent => "recurrent",
        }
    }
}

impl fmt::Display for AttentionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for AttentionKind {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        let found = Self::ALL.into_iter().find(|kind| kind.as_str().eq_ignore_ascii_case(text));
        found.ok_or_else(|| UnknownWord::new("kind of attention", text, Self::ALL.map(Self::as_str)))
    }
}

impl AttentionKind {
    /// How the layers of `spec` mix tokens.
    pub fn of(spec: &DecoderSpec) -> Self {
        let mixers = || spec.layers.iter().map(|layer| &layer.mixer);
        let mut attentions = mixers().filter_map(Mixer::attention);
        if mixers().any(|mixer| matches!(mixer, Mixer::Recurrent(_))) {
            Self::Recurrent
        } else if mixers().any(|mixer| matches!(mixer, Mixer::Latent(_))) {
            Self::Mla
        } else if attentions.clone().all(|attention| attention.q_heads == attention.kv_heads) {
            Self::Mha
        } else if attentions.all(|attention| attention.kv_heads == 1) {
            Self::Mqa
        } else {
            Self::Gqa
        }
    }
}

impl Row {
    /// How it mixes tokens.
    pub fn attention_kind(&self) -> AttentionKind {
        AttentionKind::of(&self.spec())
    }
}
