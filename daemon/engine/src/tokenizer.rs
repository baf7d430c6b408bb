//! Text to token ids and back: with the vocabulary of a GGUF file or a SentencePiece model, which is read here, or
//! with a `tokenizer.json`, which is read by the library that defines the format.

mod bpe;
mod chat;
mod config;
mod decoder;
mod directory;
mod embedded;
mod ends;
mod error;
mod files;
mod library;
mod merge;
mod pretokenizer;
mod sentencepiece;
mod special;
mod spm;
mod tiktoken;
mod vocabulary;
mod window;

use crate::gguf::Gguf;
use decoder::EmbeddedDecoder;
use embedded::Embedded;
use library::Library;
use window::LibraryDecoder;

pub use chat::ChatTemplate;
pub use error::TokenizerError;
pub use files::Files;

/// A tokenizer, independent of the file that it was read from.
pub struct Tokenizer(Implementation);

enum Implementation {
    Embedded(Box<Embedded>),
    Library(Box<Library>),
}

impl Tokenizer {
    /// Builds the tokenizer that `gguf` describes.
    ///
    /// # Errors
    /// [`TokenizerError::Missing`] if it describes none; the others for kinds that are not supported and for
    /// files that contradict themselves.
    pub fn from_gguf(gguf: &Gguf<'_>) -> Result<Self, TokenizerError> {
        Ok(Self(Implementation::Embedded(Box::new(Embedded::from_gguf(gguf)?))))
    }

    /// Whether a GGUF file holds a tokenizer, of whichever kind.
    pub fn is_in_gguf(gguf: &Gguf<'_>) -> bool {
        !matches!(embedded::kind(gguf), Err(TokenizerError::Missing { .. }))
    }

    /// Whether a model's directory holds the files of a tokenizer.
    pub fn is_in_directory(files: &Files) -> bool {
        directory::is_there(files)
    }

    /// Builds the tokenizer that a model's directory holds, from `tokenizer.json` or, where there is none,
    /// from `tokenizer.model`, from `qwen.tiktoken`, or from `vocab.json` and `merges.txt`.
    ///
    /// # Errors
    /// [`TokenizerError::Missing`] if it holds none; [`TokenizerError::File`] for files that cannot be read.
    pub fn from_directory(files: &Files) -> Result<Self, TokenizerError> {
        Ok(Self(directory::read(files)?))
    }

    /// The ids of `text`. Special tokens that it spells out (`<|im_start|>`) become their ids; with
    /// `add_special`, BOS and EOS are added as the file asks for.
    ///
    /// # Errors
    /// [`TokenizerError::Encode`] where a `tokenizer.json` has no token for a part of the text and none for
    /// the unknown either. Vocabularies of GGUF files give ids for every text.
    pub fn encode(&self, text: &str, add_special: bool) -> Result<Vec<u32>, TokenizerError> {
        match &self.0 {
            Implementation::Embedded(embedded) => Ok(embedded.encode(text, add_special)),
            Implementation::Library(library) => library.encode(text, add_special),
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
        Decoder(match &self.0 {
            Implementation::Embedded(embedded) => {
                DecoderImplementation::Embedded(EmbeddedDecoder::new(embedded))
            }
            Implementation::Library(library) => DecoderImplementation::Library(LibraryDecoder::new(library)),
        })
    }

    /// Whether `id` ends a generation: end of text, of turn or of message.
    pub fn is_eog(&self, id: u32) -> bool {
        let ends = match &self.0 {
            Implementation::Embedded(embedded) => &embedded.ends,
            Implementation::Library(library) => &library.special.ends,
        };
        ends.binary_search(&id).is_ok()
    }

    /// The token that begins a text. `None` if the file names none.
    pub fn bos(&self) -> Option<u32> {
        match &self.0 {
            Implementation::Embedded(embedded) => embedded.bos,
            Implementation::Library(library) => library.special.bos,
        }
    }

    /// The token that ends a text. `None` if the file names none.
    pub fn eos(&self) -> Option<u32> {
        match &self.0 {
            Implementation::Embedded(embedded) => embedded.eos,
            Implementation::Library(library) => library.special.eos,
        }
    }

    /// Number of tokens. The model may have a few more, which pad its matrices.
    pub fn vocab_size(&self) -> usize {
        match &self.0 {
            Implementation::Embedded(embedded) => embedded.vocabulary.len(),
            Implementation::Library(library) => library.vocab_size(),
        }
    }

    /// The token `id` as the vocabulary spells it: `▁Paris`, `<|im_end|>`. `None` outside of it.
    pub fn token_text(&self, id: u32) -> Option<String> {
        match &self.0 {
            Implementation::Embedded(embedded) => embedded.vocabulary.text(id).map(str::to_owned),
            Implementation::Library(library) => library.token_text(id),
        }
    }

    /// Checks that this can be the tokenizer of a model whose embedding has `rows` rows.
    ///
    /// Matrices may be padded beyond the vocabulary, and a directory's tokenizer may add tokens that its
    /// text model was never given rows for (Gemma 3 has one for images); a prompt that holds such a token is
    /// refused when it is encoded.
    ///
    /// # Errors
    /// [`TokenizerError::Vocabulary`] if ordinary tokens have no row, or if so many rows have no token that
    /// it cannot be padding.
    pub fn check_rows(&self, rows: u32) -> Result<(), TokenizerError> {
        let (file, tokens) = match &self.0 {
            Implementation::Embedded(embedded) => (&embedded.file, embedded.vocabulary.len()),
            Implementation::Library(library) => (&library.file, library.ordinary_tokens()),
        };
        let most_padded = self.vocab_size().saturating_mul(5) / 4 + MAX_PADDING;
        if tokens > rows as usize || rows as usize > most_padded {
            return Err(TokenizerError::Vocabulary { file: file.clone(), tokens, rows });
        }
        Ok(())
    }

    /// Checks that a model whose embedding has `rows` rows can be fed `ids`.
    ///
    /// # Errors
    /// [`TokenizerError::Row`] for the first id that has no row.
    pub fn check_ids(&self, ids: &[u32], rows: u32) -> Result<(), TokenizerError> {
        let Some(&id) = ids.iter().find(|&&id| id >= rows) else { return Ok(()) };
        let file = match &self.0 {
            Implementation::Embedded(embedded) => embedded.file.clone(),
            Implementation::Library(library) => library.file.clone(),
        };
        Err(TokenizerError::Row { file, id, text: self.token_text(id).unwrap_or_default(), rows })
    }
}

/// Rows that may pad the embedding of a small vocabulary; beyond a quarter of a large one it is another
/// model's. Real ones pad by at most 905 rows of 51,200.
const MAX_PADDING: usize = 1024;

/// Turns ids into text as they are generated.
///
/// A character may be spread over several tokens: it is held back until it is whole, so the pieces are always
/// valid text and together the text of all ids.
pub struct Decoder<'t>(DecoderImplementation<'t>);

enum DecoderImplementation<'t> {
    Embedded(EmbeddedDecoder<'t>),
    Library(LibraryDecoder<'t>),
}

impl Decoder<'_> {
    /// The text that `id` completes; empty for control tokens and for a character's first bytes.
    /// Bytes that can be no part of a text, and ids outside of the vocabulary, become U+FFFD.
    pub fn push(&mut self, id: u32) -> String {
        match &mut self.0 {
            DecoderImplementation::Embedded(decoder) => decoder.push(id),
            DecoderImplementation::Library(decoder) => decoder.push(id),
        }
    }

    /// The rest: U+FFFD if the last character is not whole, else nothing.
    pub fn finish(self) -> String {
        match self.0 {
            DecoderImplementation::Embedded(decoder) => decoder.finish(),
            DecoderImplementation::Library(decoder) => decoder.finish(),
        }
    }
}
