//! SentencePiece vocabularies (Llama 2, Gemma, Phi-3): no list of merges, but a score for every token. Two
//! neighbours may merge if their joint text is a token, the highest score first. Spaces are written `▁`;
//! characters without a token become their bytes.

use super::error::TokenizerError;
use super::merge::{self, Symbol};
use super::vocabulary::{self, Vocabulary};
use crate::gguf::Gguf;

const SCORES: &str = "tokenizer.ggml.scores";
/// What a space is written as in the vocabulary.
pub(super) const SPACE: char = '▁';

/// The merging by scores, and the bytes to fall back to.
pub(super) struct Spm {
    /// The score of each token as an integer that orders as the score does.
    order: Vec<i32>,
    bytes: ByteTokens,
    unknown: Option<u32>,
}

impl Spm {
    pub(super) fn from_gguf(
        gguf: &Gguf<'_>,
        vocabulary: &Vocabulary,
        unknown: Option<u32>,
    ) -> Result<Self, TokenizerError> {
        Ok(Self::new(order(gguf, vocabulary.len())?, vocabulary, unknown))
    }

    /// Merges by the score of every token, as [`order_of`] gives it.
    pub(super) fn new(order: Vec<i32>, vocabulary: &Vocabulary, unknown: Option<u32>) -> Self {
        Self { order, bytes: ByteTokens::of(vocabulary), unknown }
    }

    /// Appends the ids of a text that holds no special tokens.
    pub(super) fn encode(&self, vocabulary: &Vocabulary, text: &str, ids: &mut Vec<u32>) {
        let text = text.replace(' ', "▁");
        let mut symbols = Vec::with_capacity(text.len());
        let mut character = [0; 4];
        for one in text.chars() {
            merge::push(&mut symbols, one.len_utf8(), vocabulary.id(one.encode_utf8(&mut character)));
        }
        merge::merge(&mut symbols, |left, right| {
            let token = vocabulary.id(&text[left.start..right.end()])?;
            Some((self.order.get(token as usize).copied()?, token))
        });
        for symbol in symbols.iter().filter(|symbol| symbol.length > 0) {
            self.emit(symbol, &text, ids);
        }
    }

    fn emit(&self, symbol: &Symbol, text: &str, ids: &mut Vec<u32>) {
        if let Some(token) = symbol.token {
            ids.push(token);
        } else {
            // A byte that has no token either is unknown; without an unknown token it is left out.
            let bytes = text[symbol.start..symbol.end()].bytes();
            ids.extend(bytes.filter_map(|byte| self.bytes.id(byte).or(self.unknown)));
        }
    }
}

fn order(gguf: &Gguf<'_>, count: usize) -> Result<Vec<i32>, TokenizerError> {
    // Without scores all merges are equal, and the leftmost goes first.
    let Some(scores) = gguf.get_array(SCORES)? else { return Ok(vec![0; count]) };
    if scores.len() != count {
        return Err(vocabulary::count_differs(gguf.file(), SCORES, scores.len(), count));
    }
    let Some(scores) = scores.floats() else {
        return Err(gguf.wrong_type(SCORES, "an array of floats").into());
    };
    order_of(gguf.file(), scores.map(|score| score as f32))
}

/// Scores as integers that order as they do.
pub(super) fn order_of(file: &str, scores: impl Iterator<Item = f32>) -> Result<Vec<i32>, TokenizerError> {
    let sortable = |(id, score): (usize, f32)| {
        if score.is_nan() {
            let detail = "has a score that is no number".to_owned();
            return Err(TokenizerError::Token { file: file.to_owned(), id, detail });
        }
        Ok(sortable(score))
    };
    scores.enumerate().map(sortable).collect()
}

/// An integer that orders as floats do: the sign bit already does, below it negative numbers run backwards.
fn sortable(score: f32) -> i32 {
    let bits = (score + 0.0).to_bits() as i32; // + 0.0 makes one zero of the two
    if bits < 0 { bits ^ i32::MAX } else { bits }
}

/// The tokens of single bytes, spelled `<0x00>` to `<0xFF>`.
struct ByteTokens(Vec<Option<u32>>);

impl ByteTokens {
    fn of(vocabulary: &Vocabulary) -> Self {
        Self((0..=255).map(|byte| vocabulary.id(&format!("<0x{byte:02X}>"))).collect())
    }

    fn id(&self, byte: u8) -> Option<u32> {
        self.0.get(usize::from(byte)).copied().flatten()
    }
}

/// The byte that a token spelled `<0x0A>` stands for.
pub(super) fn byte_of(text: &str) -> Option<u8> {
    let digits = text.strip_prefix("<0x")?.strip_suffix('>')?;
    // Two digits exactly, because `from_str_radix` would also take a sign.
    (digits.len() == 2 && !digits.starts_with('+')).then(|| u8::from_str_radix(digits, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sortable_orders_as_the_floats_do() {
        let scores = [f32::NEG_INFINITY, -1e30, -2.5, -1.0, -1e-40, 0.0, 1e-40, 3.0, f32::INFINITY];
        assert!(scores.map(sortable).is_sorted_by(|a, b| a < b));
        assert_eq!(sortable(-0.0), sortable(0.0));
    }

    #[test]
    fn byte_tokens_are_read_strictly() {
        assert_eq!(byte_of("<0x0A>"), Some(10));
        for other in ["<0x0>", "<0x+A>", "<0x0AB>", "0x0A", "<0xgg>", "<0x€>"] {
            assert_eq!(byte_of(other), None, "{other}");
        }
    }
}
