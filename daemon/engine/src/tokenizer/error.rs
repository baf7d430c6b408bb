//! Errors of tokenizers and chat templates.

use thiserror::Error;

use crate::gguf::GgufError;

/// Why a file gives no tokenizer. Every message names the file, the key and what helps.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// The file has no tokenizer.
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
    /// A file of a model's directory that is not what its name promises.
    #[error("{file}: {problem}")]
    File {
        /// Name of the file as the user knows it.
        file: String,
        /// What is wrong, where, and what helps.
        problem: String,
    },
    /// A text that the vocabulary cannot spell.
    #[error("{file}: cannot turn the prompt into tokens: {problem}")]
    Encode {
        /// Name of the file as the user knows it.
        file: String,
        /// The library's error.
        problem: String,
    },
    /// A tokenizer of another model.
    #[error(
        "{file}: {tokens} tokens do not fit the {rows} rows of the model's embedding: use the tokenizer of this \
         model, or give the prompt as a number of tokens"
    )]
    Vocabulary {
        /// Name of the file as the user knows it.
        file: String,
        /// Ordinary tokens, those that are not added to the vocabulary afterwards.
        tokens: usize,
        /// Rows of the embedding table.
        rows: u32,
    },
    /// A token that the model was never given a row for.
    #[error(
        "{file}: the prompt holds `{text}`, token {id}, and the model's embedding has {rows} rows: leave it out of \
         the prompt"
    )]
    Row {
        /// Name of the file as the user knows it.
        file: String,
        /// The token.
        id: u32,
        /// As the vocabulary spells it.
        text: String,
        /// Rows of the embedding table.
        rows: u32,
    },
    /// A model without a way to write conversations.
    #[error(
        "{file}: has no chat template; give the prompt as plain text, or use the model's instruct version"
    )]
    NoTemplate {
        /// Name of the file as the user knows it.
        file: String,
    },
    /// A chat template that cannot be read, or that fails on a single user message.
    #[error("{file}: the chat template {problem}; give the prompt as plain text")]
    Template {
        /// Name of the file as the user knows it.
        file: String,
        /// What is wrong, with the line.
        problem: String,
    },
}
