//! Tokenizers in the format of Hugging Face's library, run by that library.
//!
//! It is made for trusted files: it panics on some that contradict themselves. Every call catches panics, so that
//! such a file ends in an error that names it.
//!
//! A limit of its patterns: one that gives up on a text (a run of about a million spaces) leaves the rest of that text
//! unsplit, without an error.

use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tokenizers::Model as _;

use super::config::SpecialIds;
use super::error::TokenizerError;

/// Ids among which a token is looked for that leads a continuation in.
const LEAD_CANDIDATES: u32 = 2000;

/// A tokenizer and what belongs to it.
pub(super) struct Library {
    /// Name of the file, for messages.
    pub(super) file: String,
    tokenizer: tokenizers::Tokenizer,
    pub(super) special: SpecialIds,
    /// A token of plain letters. Some decoders take the first space of a text away; text that continues
    /// another is decoded behind this one, and keeps its space.
    pub(super) lead: Option<u32>,
}

impl Library {
    /// The tokenizer in the bytes of a `tokenizer.json`.
    pub(super) fn parse(file: &str, bytes: &[u8]) -> Result<Self, TokenizerError> {
        let parsed = catch_panic(|| {
            let mut tokenizer = tokenizers::Tokenizer::from_bytes(bytes)?;
            // Files carry what their training cut and filled; a prompt is neither cut nor filled.
            tokenizer.with_truncation(None)?;
            tokenizer.with_padding(None);
            Ok(tokenizer)
        });
        match parsed {
            Ok(tokenizer) => Ok(Self::new(file, tokenizer)),
            Err(problem) => Err(TokenizerError::File {
                file: file.to_owned(),
                problem: format!("is no tokenizer that can be used: {problem}; fetch the file again"),
            }),
        }
    }

    /// A tokenizer that is built already.
    pub(super) fn new(file: &str, tokenizer: tokenizers::Tokenizer) -> Self {
        let mut library =
            Self { file: file.to_owned(), tokenizer, special: SpecialIds::default(), lead: None };
        let leads = |&id: &u32| {
            let text = library.text(&[id]);
            !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphabetic())
        };
        library.lead = (0..LEAD_CANDIDATES).find(leads);
        library
    }

    pub(super) fn encode(&self, text: &str, add_special: bool) -> Result<Vec<u32>, TokenizerError> {
        catch_panic(|| Ok(self.tokenizer.encode_fast(text, add_special)?.get_ids().to_vec()))
            .map_err(|error| TokenizerError::Encode { file: self.file.clone(), problem: error.to_string() })
    }

    /// The text of `ids` together, without control tokens and without ids that it does not know.
    pub(super) fn text(&self, ids: &[u32]) -> String {
        catch_panic(|| self.tokenizer.decode(ids, true))
            .unwrap_or_else(|_| char::REPLACEMENT_CHARACTER.to_string())
    }

    /// Whether `id` is a control token: structure, never text.
    pub(super) fn is_special(&self, id: u32) -> bool {
        let added = self.tokenizer.get_added_vocabulary();
        added.simple_id_to_token(id).is_some_and(|text| added.is_special_token(&text))
    }

    pub(super) fn id(&self, text: &str) -> Option<u32> {
        self.tokenizer.token_to_id(text)
    }

    pub(super) fn token_text(&self, id: u32) -> Option<String> {
        self.tokenizer.id_to_token(id)
    }

    /// Tokens with those that were added.
    pub(super) fn vocab_size(&self) -> usize {
        self.tokenizer.get_vocab_size(true)
    }

    /// Tokens without those that were added.
    pub(super) fn ordinary_tokens(&self) -> usize {
        self.tokenizer.get_model().get_vocab_size()
    }
}

/// Why the library gives no result.
#[derive(Debug, thiserror::Error)]
pub(super) enum LibraryError {
    #[error("{0}")]
    Refused(Box<dyn Error + Send + Sync>),
    #[error("{0}")]
    Panicked(String),
}

/// Runs `work`, whose panics become errors.
pub(super) fn catch_panic<T>(
    work: impl FnOnce() -> Result<T, Box<dyn Error + Send + Sync>>,
) -> Result<T, LibraryError> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(LibraryError::Refused),
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
            Err(LibraryError::Panicked(text.unwrap_or_else(|| "it contradicts itself".to_owned())))
        }
    }
}
