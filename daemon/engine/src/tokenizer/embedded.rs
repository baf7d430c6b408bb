//! A tokenizer of our own, on the vocabulary of a GGUF file, of a SentencePiece model ([`super::sentencepiece`]) or of
//! a tiktoken file ([`super::tiktoken`]).
//!
//! ```text
//! text ─▶ special tokens cut out ─▶ SPM: characters, merged by score      ─▶ ids
//!                                └▶ BPE: words, bytes, merged by rank     ─▶
//! ```
//! The ids are those of llama.cpp for the same file. Everything a file says is checked when it is read; after
//! that nothing can fail.

use std::borrow::Cow;

use super::bpe::Bpe;
use super::ends::END_TEXTS;
use super::error::TokenizerError;
use super::special::{Segment, Specials};
use super::spm::Spm;
use super::vocabulary::{TokenKind, Vocabulary};
use crate::gguf::Gguf;
use crate::sanitize::sanitize;

const MODEL: &str = "tokenizer.ggml.model";
const BOS: &str = "tokenizer.ggml.bos_token_id";
const EOS: &str = "tokenizer.ggml.eos_token_id";
const UNKNOWN: &str = "tokenizer.ggml.unknown_token_id";
/// Further tokens that end a generation, where a file names them.
const ENDS: [&str; 2] = ["tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"];

/// Vocabulary and merges, independent of the file that they were read from.
pub(super) struct Embedded {
    /// Name of the file, for messages.
    pub(super) file: String,
    pub(super) vocabulary: Vocabulary,
    pub(super) specials: Specials,
    pub(super) model: Model,
    pub(super) bos: Option<u32>,
    pub(super) eos: Option<u32>,
    /// Tokens that end a generation, sorted.
    pub(super) ends: Vec<u32>,
    pub(super) adds_bos: bool,
    pub(super) adds_eos: bool,
    /// A space goes before text at the start and after a special token.
    pub(super) space_prefix: bool,
}

pub(super) enum Model {
    Spm(Spm),
    Bpe(Bpe),
}

impl Embedded {
    /// Builds the tokenizer that `gguf` describes.
    ///
    /// # Errors
    /// [`TokenizerError::Missing`] if it describes none; the others for kinds that are not supported and for
    /// files that contradict themselves.
    pub(super) fn from_gguf(gguf: &Gguf<'_>) -> Result<Self, TokenizerError> {
        let (file, model) = (gguf.file(), kind(gguf)?);
        let vocabulary = Vocabulary::from_gguf(gguf)?;
        let id = |key| token_id(gguf, key, vocabulary.len());
        let (bos, eos) = (id(BOS)?, id(EOS)?);
        let mut ends: Vec<u32> = eos.into_iter().collect();
        for key in ENDS {
            ends.extend(id(key)?);
        }
        let is_end = |&id: &u32| vocabulary.kind(id).is_some_and(|kind| kind != TokenKind::Normal);
        ends.extend(END_TEXTS.iter().filter_map(|text| vocabulary.id(text)).filter(is_end));
        ends.sort_unstable();
        ends.dedup();

        let (model, adds_bos, space_prefix) = if model == "llama" {
            (Model::Spm(Spm::from_gguf(gguf, &vocabulary, id(UNKNOWN)?)?), true, true)
        } else {
            let bpe = Bpe::from_gguf(gguf, &vocabulary)?;
            let adds_bos = bpe.adds_bos();
            (Model::Bpe(bpe), adds_bos, false)
        };
        let flag = |key, default| gguf.get_bool(key).map(|found| found.unwrap_or(default));
        Ok(Self {
            file: file.to_owned(),
            specials: Specials::of(&vocabulary, file)?,
            adds_bos: flag("tokenizer.ggml.add_bos_token", adds_bos)?,
            adds_eos: flag("tokenizer.ggml.add_eos_token", false)?,
            // Byte-level tokenizers carry the key as well, and llama.cpp lets it have no effect there.
            space_prefix: flag("tokenizer.ggml.add_space_prefix", space_prefix)? && space_prefix,
            vocabulary,
            model,
            bos,
            eos,
            ends,
        })
    }

    /// The ids of `text`. Special tokens that it spells out (`<|im_start|>`) become their ids; with
    /// `add_special`, BOS and EOS are added as the file asks for.
    pub(super) fn encode(&self, text: &str, add_special: bool) -> Vec<u32> {
        let mut ids = Vec::new();
        ids.extend(self.bos.filter(|_| add_special && self.adds_bos));
        let mut after_special = true;
        let text = match &self.model {
            Model::Spm(_) => Cow::Borrowed(text),
            Model::Bpe(bpe) => bpe.composed(text),
        };
        for segment in self.specials.split(&text) {
            match segment {
                Segment::Token(id) => ids.push(id),
                Segment::Text(text) => self.encode_plain(text, after_special, &mut ids),
            }
            after_special = matches!(segment, Segment::Token(_));
        }
        ids.extend(self.eos.filter(|_| add_special && self.adds_eos));
        ids
    }

    fn encode_plain(&self, text: &str, after_special: bool, ids: &mut Vec<u32>) {
        match &self.model {
            Model::Spm(spm) if self.space_prefix && after_special => {
                spm.encode(&self.vocabulary, &format!(" {text}"), ids);
            }
            Model::Spm(spm) => spm.encode(&self.vocabulary, text, ids),
            Model::Bpe(bpe) => bpe.encode(&self.vocabulary, text, ids),
        }
    }
}

fn token_id(gguf: &Gguf<'_>, key: &'static str, size: usize) -> Result<Option<u32>, TokenizerError> {
    match gguf.get_u32(key)? {
        Some(found) if found as usize >= size => {
            Err(TokenizerError::Range { file: gguf.file().to_owned(), key, found, size })
        }
        found => Ok(found),
    }
}

/// The kind of tokenizer that a GGUF file holds, if it is one that is read here.
pub(super) fn kind<'f>(gguf: &Gguf<'f>) -> Result<&'f str, TokenizerError> {
    let file = gguf.file();
    let missing = || TokenizerError::Missing { file: file.to_owned() };
    match gguf.get_str(MODEL)?.ok_or_else(missing)? {
        model @ ("llama" | "gpt2") => Ok(model),
        "none" | "no_vocab" => Err(missing()),
        model => Err(TokenizerError::UnknownModel { file: file.to_owned(), model: sanitize(model) }),
    }
}
