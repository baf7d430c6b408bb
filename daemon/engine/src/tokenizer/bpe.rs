//! Byte-level BPE (GPT-2 and most models since): a ranked list of merges over bytes.
//!
//! Text is cut into words ([`super::words`]), every word into its bytes. In the file a byte is spelled as one
//! printable character, so that vocabularies are readable text: printable Latin-1 stands for itself, the 68
//! others are U+0100 and up in order (a space is `Ġ`).

use std::cmp::Reverse;
use std::collections::HashMap;

use super::error::TokenizerError;
use super::merge;
use super::vocabulary::Vocabulary;
use super::words::Words;
use crate::gguf::Gguf;
use crate::shown::shown;

const MERGES: &str = "tokenizer.ggml.merges";
const PRE: &str = "tokenizer.ggml.pre";

/// Rank and resulting token for the ids of left and right.
type Merges = HashMap<(u32, u32), (u32, u32)>;

/// Words, merges and the tokens of single bytes.
pub(super) struct Bpe {
    words: Words,
    merges: Merges,
    /// By byte. `None` where the vocabulary has no token for it.
    bytes: Vec<Option<u32>>,
}

impl Bpe {
    pub(super) fn from_gguf(gguf: &Gguf<'_>, vocabulary: &Vocabulary) -> Result<Self, TokenizerError> {
        // Files from before the key existed: llama.cpp reads them in the same way.
        let pre = gguf.get_str(PRE)?.unwrap_or("default");
        let words = Words::named(pre).ok_or_else(|| TokenizerError::UnknownPre {
            file: gguf.file().to_owned(),
            pre: shown(pre),
            known: Words::known(),
        })?;
        let byte_token = |byte| vocabulary.id(character_of(byte).encode_utf8(&mut [0; 4]));
        let bytes = (0..=255).map(byte_token).collect();
        Ok(Self { words, merges: merges(gguf, vocabulary)?, bytes })
    }

    /// Whether text begins with BOS if the file does not say.
    pub(super) fn adds_bos(&self) -> bool {
        self.words.adds_bos()
    }

    /// Appends the ids of a text that holds no special tokens. Bytes without a token are left out.
    pub(super) fn encode(&self, vocabulary: &Vocabulary, text: &str, ids: &mut Vec<u32>) {
        for word in self.words.split(text) {
            if self.words.prefers_whole_words()
                && let Some(token) = vocabulary.id(&word.bytes().map(character_of).collect::<String>())
            {
                ids.push(token);
                continue;
            }
            let mut symbols = Vec::with_capacity(word.len());
            for byte in word.bytes() {
                merge::push(&mut symbols, 1, self.bytes.get(usize::from(byte)).copied().flatten());
            }
            merge::merge(&mut symbols, |left, right| {
                let &(rank, token) = self.merges.get(&(left.token?, right.token?))?;
                Some((Reverse(rank), token))
            });
            ids.extend(symbols.iter().filter(|symbol| symbol.length > 0).filter_map(|symbol| symbol.token));
        }
    }
}

fn merges(gguf: &Gguf<'_>, vocabulary: &Vocabulary) -> Result<Merges, TokenizerError> {
    let lines = gguf.get_strings(MERGES)?.ok_or_else(|| gguf.missing(MERGES))?;
    let mut merges = Merges::with_capacity(lines.len());
    let mut joined = String::new();
    for (index, line) in lines.enumerate() {
        let wrong = |detail| TokenizerError::Merge {
            file: gguf.file().to_owned(),
            index,
            merge: shown(&String::from_utf8_lossy(line.get(..64).unwrap_or(line))),
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
