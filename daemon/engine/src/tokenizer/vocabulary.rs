//! The tokens of a model: their texts, what kind each is, and the way back from text to id.

use std::hash::{BuildHasher as _, RandomState};

use hashbrown::HashTable;

use super::error::TokenizerError;
use crate::gguf::Gguf;
use crate::sanitize::sanitize;

const TOKENS: &str = "tokenizer.ggml.tokens";
const TYPES: &str = "tokenizer.ggml.token_type";
/// The largest vocabularies known have a quarter of a million tokens.
const MAX_TOKENS: usize = 1 << 22;
/// The longest tokens known are runs of some hundred spaces.
const LONGEST_TOKEN: usize = 4096;
/// The largest vocabularies known have 3 MB of text.
const MAX_TEXT: usize = 1 << 28;

/// What a token stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// A piece of text that merges lead to.
    Normal,
    /// Stands for text that no other token covers.
    Unknown,
    /// Structure, never text: `<s>`.
    Control,
    /// A text that is always one token, found before merges begin.
    UserDefined,
    /// A single byte: `<0x0A>`.
    Byte,
}

impl TokenKind {
    /// As GGUF files and SentencePiece models number them.
    pub(super) fn from_file(number: i128) -> Self {
        match number {
            2 => Self::Unknown,
            3 => Self::Control,
            4 => Self::UserDefined,
            6 => Self::Byte,
            // 1; 5 (unused), which merges may still pass through; 0 and numbers to come.
            _ => Self::Normal,
        }
    }

    /// Whether it is looked for in the text before any merging.
    pub(super) fn is_special(self) -> bool {
        matches!(self, Self::Unknown | Self::Control | Self::UserDefined)
    }
}

/// A vocabulary in three allocations, however many tokens there are.
pub(super) struct Vocabulary {
    /// All texts, one behind the other.
    text: String,
    /// Where each text ends in `text`.
    ends: Vec<u32>,
    kinds: Vec<TokenKind>,
    /// Ids by the hash of their text. The hash is keyed at random, so no file can be made to collide.
    ids: HashTable<u32>,
    hasher: RandomState,
    longest: usize,
}

impl Vocabulary {
    pub(super) fn from_gguf(gguf: &Gguf<'_>) -> Result<Self, TokenizerError> {
        let file = gguf.file();
        let Some(tokens) = gguf.get_strings(TOKENS)? else {
            return Err(TokenizerError::Missing { file: file.to_owned() });
        };
        check_count(file, tokens.len())?;
        Self::new(file, kinds(gguf, tokens.len())?, tokens)
    }

    /// The vocabulary of these tokens, as many as `kinds`.
    pub(super) fn new<'t>(
        file: &str,
        kinds: Vec<TokenKind>,
        tokens: impl Iterator<Item = &'t [u8]>,
    ) -> Result<Self, TokenizerError> {
        let count = kinds.len();
        let mut vocabulary = Self {
            text: String::new(),
            ends: Vec::with_capacity(count),
            kinds,
            ids: HashTable::with_capacity(count),
            hasher: RandomState::new(),
            longest: 0,
        };
        for (id, bytes) in tokens.enumerate() {
            let wrong = |detail: String| TokenizerError::Token { file: file.to_owned(), id, detail };
            if bytes.len() > LONGEST_TOKEN {
                return Err(wrong(format!(
                    "is {} bytes long; at most {LONGEST_TOKEN} are allowed",
                    bytes.len()
                )));
            }
            let text = std::str::from_utf8(bytes).map_err(|_| wrong("is not UTF-8".to_owned()))?;
            if vocabulary.text.len() + text.len() > MAX_TEXT {
                return Err(too_large(file, "the text of all tokens", MAX_TEXT));
            }
            if let Some(other) = vocabulary.push(text) {
                return Err(wrong(format!("repeats token {other}, `{}`", sanitize(text))));
            }
        }
        Ok(vocabulary)
    }

    /// Appends a token. Gives the id that has the same text already, if one has.
    fn push(&mut self, text: &str) -> Option<u32> {
        let id = self.ends.len() as u32;
        self.text.push_str(text);
        self.ends.push(self.text.len() as u32);
        self.longest = self.longest.max(text.len());
        if text.is_empty() {
            return None; // fills a hole in the numbering; nothing encodes to it
        }
        let hash = self.hasher.hash_one(text);
        let (ends, all) = (&self.ends, &self.text);
        let same = self.ids.find(hash, |&other| text_of(all, ends, other) == Some(text)).copied();
        if same.is_none() {
            let hasher = &self.hasher;
            self.ids
                .insert_unique(hash, id, |&other| hasher.hash_one(text_of(all, ends, other).unwrap_or("")));
        }
        same
    }

    /// Number of tokens.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The text of token `id` as the file spells it. `None` outside of the vocabulary.
    pub(super) fn text(&self, id: u32) -> Option<&str> {
        text_of(&self.text, &self.ends, id)
    }

    pub(super) fn kind(&self, id: u32) -> Option<TokenKind> {
        self.kinds.get(id as usize).copied()
    }

    /// The token that is spelled `text`.
    pub(super) fn id(&self, text: &str) -> Option<u32> {
        // Spares the hash of texts that are longer than any token.
        if text.len() > self.longest {
            return None;
        }
        let hash = self.hasher.hash_one(text);
        self.ids.find(hash, |&id| self.text(id) == Some(text)).copied()
    }

    /// All tokens as id, text and kind.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &str, TokenKind)> {
        (0..self.len() as u32).filter_map(|id| Some((id, self.text(id)?, self.kind(id)?)))
    }
}

/// Refuses more tokens than any model has.
pub(super) fn check_count(file: &str, count: usize) -> Result<(), TokenizerError> {
    if count > MAX_TOKENS { Err(too_large(file, "the count of tokens", MAX_TOKENS)) } else { Ok(()) }
}

fn text_of<'a>(text: &'a str, ends: &[u32], id: u32) -> Option<&'a str> {
    let id = id as usize;
    let start = if id == 0 { 0 } else { *ends.get(id - 1)? };
    text.get(start as usize..*ends.get(id)? as usize)
}

fn kinds(gguf: &Gguf<'_>, count: usize) -> Result<Vec<TokenKind>, TokenizerError> {
    let Some(types) = gguf.get_array(TYPES)? else { return Ok(vec![TokenKind::Normal; count]) };
    if types.len() != count {
        return Err(count_differs(gguf.file(), TYPES, types.len(), count));
    }
    let Some(types) = types.integers() else {
        return Err(gguf.wrong_type(TYPES, "an array of integers").into());
    };
    Ok(types.map(TokenKind::from_file).collect())
}

pub(super) fn count_differs(file: &str, key: &'static str, found: usize, expected: usize) -> TokenizerError {
    TokenizerError::Count { file: file.to_owned(), key, found, expected }
}

pub(super) fn too_large(file: &str, what: &'static str, limit: usize) -> TokenizerError {
    TokenizerError::TooLarge { file: file.to_owned(), what, limit }
}
