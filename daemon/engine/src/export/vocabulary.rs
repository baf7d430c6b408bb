//! A synthetic vocabulary, so that programs that need text can use a file of synthetic weights.
//!
//! It has three special tokens, the 256 bytes, one token for the start of a word, and then all words of small letters
//! by length and alphabet: `a` … `z`, `aa` … . Every word begins with a shorter one and has a better score than those
//! after it, so the merges of a SentencePiece tokenizer reach them, and every text decodes to itself.

use crate::gguf::write::Field;

/// Special tokens, bytes and the word border.
const FIRST_WORD: u32 = 3 + 256 + 1;

// Kinds of tokens, as numbered in files.
const NORMAL: i32 = 1;
const UNKNOWN: i32 = 2;
const CONTROL: i32 = 3;
const BYTE: i32 = 6;

/// The keys of a tokenizer of `size` tokens.
pub(super) fn keys(size: u32) -> Vec<(&'static str, Field)> {
    if size < FIRST_WORD + 26 {
        // Too small for text; ids can be fed all the same.
        return vec![("tokenizer.ggml.model", "no_vocab".into())];
    }
    let mut tokens: Vec<String> = ["<unk>", "<s>", "</s>"].map(str::to_owned).to_vec();
    tokens.extend((0..=255_u8).map(|byte| format!("<0x{byte:02X}>")));
    tokens.push("\u{2581}".to_owned());
    tokens.extend((0..size - FIRST_WORD).map(word));
    let kinds = (0..size).map(|id| match id {
        0 => UNKNOWN,
        1 | 2 => CONTROL,
        3..259 => BYTE,
        _ => NORMAL,
    });
    let scores = (0..size).map(|id| if id < FIRST_WORD { 0.0 } else { -((id - FIRST_WORD) as f32) });
    vec![
        ("tokenizer.ggml.model", "llama".into()),
        ("tokenizer.ggml.tokens", Field::Strings(tokens)),
        ("tokenizer.ggml.scores", Field::F32s(scores.collect())),
        ("tokenizer.ggml.token_type", Field::I32s(kinds.collect())),
        ("tokenizer.ggml.bos_token_id", 1_u32.into()),
        ("tokenizer.ggml.eos_token_id", 2_u32.into()),
        ("tokenizer.ggml.unknown_token_id", 0_u32.into()),
        ("tokenizer.ggml.add_bos_token", true.into()),
        ("tokenizer.ggml.add_eos_token", false.into()),
    ]
}

/// The `index`th word of small letters: numbers in base 26 without a zero.
fn word(index: u32) -> String {
    let mut letters = Vec::new();
    let mut left = index + 1;
    while left > 0 {
        left -= 1;
        letters.push(b'a' + (left % 26) as u8);
        left /= 26;
    }
    letters.iter().rev().map(|&letter| char::from(letter)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_all_words_in_order() {
        let found: Vec<_> = [0, 25, 26, 27, 701, 702, 18_277, 18_278].map(word).to_vec();
        assert_eq!(found, ["a", "z", "aa", "ab", "zz", "aaa", "zzz", "aaaa"]);
    }

    #[test]
    fn lists_are_as_long_as_the_vocabulary() {
        for size in [286, 32_000, 262_144] {
            let mut lists = 0;
            for (key, field) in keys(size) {
                let length = match field {
                    Field::Strings(list) => list.len(),
                    Field::F32s(list) => list.len(),
                    Field::I32s(list) => list.len(),
                    _ => continue,
                };
                assert_eq!(length, size as usize, "{key}");
                lists += 1;
            }
            assert_eq!(lists, 3);
        }
        assert_eq!(keys(285), [("tokenizer.ggml.model", "no_vocab".into())]);
    }
}
