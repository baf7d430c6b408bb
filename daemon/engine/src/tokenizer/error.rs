//! What can be wrong with the tokenizer in a model file.

use thiserror::Error;

use crate::gguf::GgufError;

/// Why a file gives no tokenizer. Every message names the file, the key and what helps.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// The file brings no tokenizer at all.
    #[error("{file}: has no tokenizer; give the prompt as a number of tokens, or use a file with one")]
    Missing {
        /// Name of the file as the user knows it.
        file: String,
    },
    /// A metadata entry is absent or of a wrong type.
    #[error(transparent)]
    Metadata(#[from] GgufError),
    /// A kind of tokenizer that is not built here.
    #[error(
        "{file}: tokenizer.ggml.model `{model}` is not supported; known: llama, gpt2. Give the prompt as a \
         number of tokens"
    )]
    UnknownModel {
        /// Name of the file as the user knows it.
        file: String,
        /// What the file asks for.
        model: String,
    },
    /// A way to split text into words that is not built here. Guessing one would give wrong ids silently.
    #[error(
        "{file}: tokenizer.ggml.pre `{pre}` is not supported; known: {known}. Give the prompt as a number of \
         tokens"
    )]
    UnknownPre {
        /// Name of the file as the user knows it.
        file: String,
        /// What the file asks for.
        pre: String,
        /// The names that are known, separated by commas.
        known: String,
    },
    /// Two arrays that describe the same tokens differ in length.
    #[error("{file}: {key} has {found} entries for {expected} tokens; convert the model again")]
    Count {
        /// Name of the file as the user knows it.
        file: String,
        /// The key of the array.
        key: &'static str,
        /// Its entries.
        found: usize,
        /// Tokens in the vocabulary.
        expected: usize,
    },
    /// A token that cannot be one.
    #[error("{file}: token {id} {detail}; convert the model again")]
    Token {
        /// Name of the file as the user knows it.
        file: String,
        /// Its place in tokenizer.ggml.tokens.
        id: usize,
        /// What is wrong with it.
        detail: String,
    },
    /// A merge that cannot be one.
    #[error("{file}: merge {index} (`{merge}`) {detail}; convert the model again")]
    Merge {
        /// Name of the file as the user knows it.
        file: String,
        /// Its place in tokenizer.ggml.merges.
        index: usize,
        /// The merge as the file spells it.
        merge: String,
        /// What is wrong with it.
        detail: &'static str,
    },
    /// A special token outside of the vocabulary.
    #[error("{file}: {key} is {found}, but the vocabulary has {size} tokens; convert the model again")]
    Range {
        /// Name of the file as the user knows it.
        file: String,
        /// The key.
        key: &'static str,
        /// The id in the file.
        found: u32,
        /// Tokens in the vocabulary.
        size: usize,
    },
    /// A vocabulary larger than any model's.
    #[error("{file}: {what} exceeds {limit}; the file is damaged or was not made by a GGUF writer")]
    TooLarge {
        /// Name of the file as the user knows it.
        file: String,
        /// What is too large, in words.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
}
