//! Byte-level BPE (GPT-2 and most models since): merges over bytes, by a ranked list or by the ranks of tokens.
//!
//! Text is cut into words ([`super::pretokenizer`]), every word into its bytes. In the file a byte is spelled as one
//! printable character, so that vocabularies are readable text: printable Latin-1 stands for itself, the 68
//! others are U+0100 and up in order (a space is `Ġ`).

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::HashMap;

use tokenizers::normalizers::unicode::NFC;
use tokenizers::{NormalizedString, Normalizer as _};

use super::error::TokenizerError;
use super::merge;
use super::pretokenizer::Pretokenizer;
use super::vocabulary::Vocabulary;

use crate::gguf::Gguf;
use crate::sanitize::sanitize;

const MERGES: &str = "tokenizer.ggml.merges";
const PRE: &str = "tokenizer.ggml.pre";

/// Rank and resulting token for the ids of left and right.
type Merges = HashMap<(u32, u32), (u32, u32)>;

/// Which neighbours merge.
enum Rule {
    /// Those that the file lists.
    Listed(Merges),
    /// Those that are a token together, by its id; and a word that is one is taken as it is.
    ByRank,
}

/// Words, merges and the tokens of single bytes.
pub(super) struct Bpe {
    pretokenizer: Pretokenizer,
    rule: Rule,
    /// By byte. `None` where the vocabulary has no token for it.
    bytes: Vec<Option<u32>>,
}

impl Bpe {
    pub(super) fn from_gguf(gguf: &Gguf<'_>, vocabulary: &Vocabulary) -> Result<Self, TokenizerError> {
        // Files from before the key existed: llama.cpp reads them in the same way.
        let pre = gguf.get_str(PRE)?.unwrap_or("default");
        let pretokenizer = Pretokenizer::named(pre).ok_or_else(|| TokenizerError::UnknownPre {
            file: gguf.file().to_owned(),
            pre: sanitize(pre),
            known: Pretokenizer::known(),
        })?;
        Ok(Self {
            pretokenizer,
            rule: Rule::Listed(merges(gguf, vocabulary)?),
            bytes: byte_tokens(vocabulary),
        })
    }

    /// Merges by the ids of the tokens of `vocabulary`, in words as `pre` splits them.
    pub(super) fn by_rank(pre: &str, vocabulary: &Vocabulary) -> Self {
        let pretokenizer = Pretokenizer::named(pre).expect("callers name a pretokenizer that a test knows");
        Self { pretokenizer, rule: Rule::ByRank, bytes: byte_tokens(vocabulary) }
    }

    /// The text as it is before it is cut.
    pub(super) fn composed<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if matches!(self.rule, Rule::Listed(_)) || text.is_ascii() {
            return Cow::Borrowed(text);
        }
        let mut composed = NormalizedString::from(text);
        // Composing refuses no text.
        if NFC.normalize(&mut composed).is_ok() {
            Cow::Owned(composed.get().to_owned())
        } else {
            Cow::Borrowed(text)
        }
    }

    /// Whether text begins with BOS if the file does not say.
    pub(super) fn adds_bos(&self) -> bool {
        self.pretokenizer.adds_bos()
    }

    /// Appends the ids of a text that holds no special tokens. Bytes without a token are left out.
    pub(super) fn encode(&self, vocabulary: &Vocabulary, text: &str, ids: &mut Vec<u32>) {
        let whole_words = self.pretokenizer.prefers_whole_words() || matches!(self.rule, Rule::ByRank);
        let mut spelling = String::new();
        for word in self.pretokenizer.split(text) {
            spelling.clear();
            spelling.extend(spelled(word.as_bytes()));
            if whole_words && let Some(token) = vocabulary.id(&spelling) {
                ids.push(token);
                continue;
            }
            let mut symbols = Vec::with_capacity(word.len());
            for (byte, character) in word.bytes().zip(spelling.chars()) {
                let token = self.bytes.get(usize::from(byte)).copied().flatten();
                merge::push(&mut symbols, character.len_utf8(), token);
            }
            match &self.rule {
                Rule::Listed(merges) => merge::merge(&mut symbols, |left, right| {
                    let &(rank, token) = merges.get(&(left.token?, right.token?))?;
                    Some((Reverse(rank), token))
                }),
                Rule::ByRank => merge::merge(&mut symbols, |left, right| {
                    let token = vocabulary.id(&spelling[left.start..right.end()])?;
                    Some((Reverse(token), token))
                }),
            }
            ids.extend(symbols.iter().filter(|symbol| symbol.length > 0).filter_map(|symbol| symbol.token));
        }
    }
}

/// The tokens of the single bytes.
fn byte_tokens(vocabulary: &Vocabulary) -> Vec<Option<u32>> {
    (0..=255).map(|byte| vocabulary.id(character_of(byte).encode_utf8(&mut [0; 4]))).collect()
}

/// The characters that spell `bytes`.
pub(super) fn spelled(bytes: &[u8]) -> impl Iterator<Item = char> {
    bytes.iter().map(|&byte| character_of(byte))
}

fn merges(gguf: &Gguf<'_>, vocabulary: &Vocabulary) -> Result<Merges, TokenizerError> {
    let lines = gguf.get_strings(MERGES)?.ok_or_else(|| gguf.missing(MERGES))?;
    let mut merges = Merges::with_capacity(lines.len());
    let mut joined = String::new();
    for (index, line) in lines.enumerate() {
        let wrong = |detail| TokenizerError::Merge {
            file: gguf.file().to_owned(),
            index,
            merge: sanitize(&String::from_utf8_lossy(line.get(..64).unwrap_or(line))),
            detail,
        };
        let text = std::str::from_utf8(line).map_err(|_| wrong("is not UTF-8"))?;
        // A left part has at least one byte, which may be the space itself.
        let space = line.iter().skip(1).position(|&byte| byte == b' ').map(|at| at + 1);
        let Some((left, right)) = space.and_then(|at| Some((text.get(..at)?, text.get(at + 1..)?))) else {
            return Err(wrong("is no pair separated by a space"));
        };
        joined.clear();
        joined.push_str(left);
        joined.push_str(right);
        let ids = (vocabulary.id(left), vocabulary.id(right), vocabulary.id(&joined));
        let (Some(left), Some(right), Some(result)) = ids else {
            return Err(wrong("names what is no token"));
        };
        // Where a pair is listed twice, its first rank holds.
        merges.entry((left, right)).or_insert((index as u32, result));
    }
    Ok(merges)
}

/// The character that spells a byte.
fn character_of(byte: u8) -> char {
    let code = u32::from(byte);
    let spelled = match byte {
        b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff => code,
        0..=b' ' => 0x100 + code,
        0x7f..=0xa0 => 0x121 + (code - 0x7f),
        0xad => 0x143,
    };
    char::from_u32(spelled).expect("all codes below 0x144 are characters")
}

/// The byte that a character spells. `None` for characters that spell none.
pub(super) fn byte_of(character: char) -> Option<u8> {
    let code = u32::from(character);
    match code {
        0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff => u8::try_from(code).ok(),
        0x100..=0x120 => u8::try_from(code - 0x100).ok(),
        0x121..=0x142 => u8::try_from(code - 0x121 + 0x7f).ok(),
        0x143 => Some(0xad),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_its_own_character() {
        for byte in 0..=255 {
            assert_eq!(byte_of(character_of(byte)), Some(byte));
        }
        assert_eq!((character_of(b' '), character_of(b'\n'), character_of(0x7f)), ('Ġ', 'Ċ', 'ġ'));
        assert_eq!(byte_of('\u{144}'), None);
        assert_eq!(byte_of(' '), None);
    }
}
