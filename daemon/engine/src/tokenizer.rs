//! Text to token ids and back, with the vocabulary that a GGUF file brings.
//!
//! ```text
//! text ─▶ special tokens cut out ─▶ SPM: characters, merged by score      ─▶ ids
//!                                └▶ BPE: words, bytes, merged by rank     ─▶
//! ```
//! The ids are those of llama.cpp for the same file. Everything a file says is checked when the tokenizer is
//! built; after that nothing can fail.

mod bpe;
mod decoder;
mod error;
mod merge;
mod special;
mod spm;
mod vocabulary;
mod words;

use crate::gguf::Gguf;
use bpe::Bpe;
use special::{Part, Specials};
use spm::Spm;
use vocabulary::{Kind, Vocabulary};

pub use decoder::Decoder;
pub use error::TokenizerError;

const MODEL: &str = "tokenizer.ggml.model";
const BOS: &str = "tokenizer.ggml.bos_token_id";
const EOS: &str = "tokenizer.ggml.eos_token_id";
const UNKNOWN: &str = "tokenizer.ggml.unknown_token_id";
/// Further tokens that end a generation, where a file names them.
const ENDS: [&str; 2] = ["tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"];

/// Spellings of tokens that end a text or a turn. Files name only one or two of theirs by id, and a chat
/// model may well end with another.
const END_TEXTS: [&str; 19] = [
    "</s>",
    "<eos>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|calls|>",
    "<end_of_turn>",
    "<turn|>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<｜end▁of▁sentence｜>",
];

/// A tokenizer, independent of the file that it was read from.
pub struct Tokenizer {
    vocabulary: Vocabulary,
    specials: Specials,
    model: Model,
    bos: Option<u32>,
    eos: Option<u32>,
    /// Sorted.
    ends: Vec<u32>,
    adds_bos: bool,
    adds_eos: bool,
    /// A space goes before text at the start and after a special token.
    space_prefix: bool,
}

enum Model {
    Spm(Spm),
    Bpe(Bpe),
}

impl Tokenizer {
    /// Builds the tokenizer that `gguf` describes.
    ///
    /// # Errors
    /// [`TokenizerError::Missing`] if it describes none; the others for kinds that are not supported and for
    /// files that contradict themselves.
    pub fn from_gguf(gguf: &Gguf<'_>) -> Result<Self, TokenizerError> {
        let file = gguf.file();
        let missing = || TokenizerError::Missing { file: file.to_owned() };
        let model = gguf.get_str(MODEL)?.ok_or_else(missing)?;
        if !matches!(model, "llama" | "gpt2") {
            return Err(match model {
                "none" | "no_vocab" => missing(),
                _ => TokenizerError::UnknownModel { file: file.to_owned(), model: model.to_owned() },
            });
        }
        let vocabulary = Vocabulary::from_gguf(gguf)?;
        let id = |key| token_id(gguf, key, vocabulary.len());
        let (bos, eos) = (id(BOS)?, id(EOS)?);
        let mut ends: Vec<u32> = eos.into_iter().collect();
        for key in ENDS {
            ends.extend(id(key)?);
        }
        let is_end = |&id: &u32| vocabulary.kind(id).is_some_and(|kind| kind != Kind::Normal);
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
    pub fn encode(&self, text: &str, add_special: bool) -> Vec<u32> {
        let mut ids = Vec::new();
        ids.extend(self.bos.filter(|_| add_special && self.adds_bos));
        let mut after_special = true;
        for part in self.specials.split(text) {
            match part {
                Part::Token(id) => ids.push(id),
                Part::Text(text) => self.encode_plain(text, after_special, &mut ids),
            }
            after_special = matches!(part, Part::Token(_));
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

    /// The text of `ids`, without control tokens. What is no valid text becomes U+FFFD.
    ///
    /// Where encoding adds a space before text, it is taken away again behind BOS and other special tokens;
    /// ids without one before them are a continuation and keep their space.
    pub fn decode(&self, ids: &[u32]) -> String {
        let mut decoder = self.decoder();
        let mut text: String = ids.iter().map(|&id| decoder.push(id)).collect();
        text.push_str(&decoder.finish());
        text
    }

    /// Decodes ids as they come.
    pub fn decoder(&self) -> Decoder<'_> {
        Decoder::new(self)
    }

    /// Whether `id` ends a generation: end of text, of turn or of message.
    pub fn is_eog(&self, id: u32) -> bool {
        self.ends.binary_search(&id).is_ok()
    }

    /// The token that begins a text. `None` if the file names none.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// The token that ends a text. `None` if the file names none.
    pub fn eos(&self) -> Option<u32> {
        self.eos
    }

    /// Number of tokens. The model may have a few more, which pad its matrices.
    pub fn vocab_size(&self) -> usize {
        self.vocabulary.len()
    }

    /// The token `id` as the vocabulary spells it: `▁Paris`, `<|im_end|>`. `None` outside of it.
    pub fn token_text(&self, id: u32) -> Option<&str> {
        self.vocabulary.text(id)
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
