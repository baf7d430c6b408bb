//! Decodes ids of a GGUF file's vocabulary to text, one token at a time.

use super::embedded::{Embedded, Model};
use super::vocabulary::TokenKind;
use super::{bpe, spm};

/// Turns ids into text as they are generated.
///
/// A character may be spread over several tokens: its bytes are held back until it is whole, so the pieces
/// are always valid text and together the text of all ids.
pub(super) struct EmbeddedDecoder<'t> {
    tokenizer: &'t Embedded,
    /// The beginning of a character: at most 3 bytes between two calls.
    pending: Vec<u8>,
    after_special: bool,
}

impl<'t> EmbeddedDecoder<'t> {
    pub(super) fn new(tokenizer: &'t Embedded) -> Self {
        Self { tokenizer, pending: Vec::new(), after_special: false }
    }

    /// The text that `id` completes; empty for control tokens and for a character's first bytes.
    /// Bytes that can be no part of a text, and ids outside of the vocabulary, become U+FFFD.
    pub(super) fn push(&mut self, id: u32) -> String {
        let special = self.tokenizer.vocabulary.kind(id).is_some_and(TokenKind::is_special);
        let begin = self.pending.len();
        self.tokenizer.append_bytes(id, &mut self.pending);
        // Encoding put a space before text that follows a special token; a continuation has its own.
        let drops_space = self.tokenizer.space_prefix && self.after_special && !special;
        if drops_space && self.pending.get(begin) == Some(&b' ') {
            self.pending.remove(begin);
        }
        self.after_special = special;
        self.take_text()
    }

    /// The rest: U+FFFD if the last character is not whole, else nothing.
    pub(super) fn finish(self) -> String {
        if self.pending.is_empty() { String::new() } else { char::REPLACEMENT_CHARACTER.to_string() }
    }

    fn take_text(&mut self) -> String {
        let mut text = String::new();
        let mut rest = self.pending.as_slice();
        loop {
            match std::str::from_utf8(rest) {
                Ok(valid) => {
                    text.push_str(valid);
                    rest = &[];
                    break;
                }
                Err(error) => {
                    let (valid, invalid) = rest.split_at(error.valid_up_to());
                    text.push_str(std::str::from_utf8(valid).unwrap_or_default());
                    rest = invalid;
                    // None: these bytes may still become a character.
                    let Some(length) = error.error_len() else { break };
                    text.push(char::REPLACEMENT_CHARACTER);
                    rest = &rest[length..];
                }
            }
        }
        self.pending = rest.to_vec();
        text
    }
}

impl Embedded {
    /// Appends the bytes that token `id` stands for in text.
    fn append_bytes(&self, id: u32, bytes: &mut Vec<u8>) {
        let (Some(text), Some(kind)) = (self.vocabulary.text(id), self.vocabulary.kind(id)) else {
            bytes.extend("\u{fffd}".bytes());
            return;
        };
        match (kind, &self.model) {
            (TokenKind::Control | TokenKind::Unknown, _) => {}
            (TokenKind::UserDefined, Model::Bpe(_)) => bytes.extend(text.bytes()),
            (_, Model::Bpe(_)) => {
                for character in text.chars() {
                    match bpe::byte_of(character) {
                        Some(byte) => bytes.push(byte),
                        None => bytes.extend(character.encode_utf8(&mut [0; 4]).bytes()),
                    }
                }
            }
            (_, Model::Spm(_)) => match spm::byte_of(text) {
                Some(byte) => bytes.push(byte),
                None => bytes.extend(text.replace(spm::SPACE, " ").bytes()),
            },
        }
    }
}
