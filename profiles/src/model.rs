//! What kind of model is measured.

use serde::{Deserialize, Serialize};

/// Where weights are from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelSource {
    /// Made from a seed: right shapes and cost, meaningless text.
    Synthetic,
    /// A GGUF file.
    Gguf,
    /// A Hugging Face directory.
    Hf,
}

impl ModelSource {
    /// Where a model of so many files comes from: one is a GGUF file, more are a directory.
    pub fn of_files(count: usize) -> Self {
        if count > 1 { Self::Hf } else { Self::Gguf }
    }
}
