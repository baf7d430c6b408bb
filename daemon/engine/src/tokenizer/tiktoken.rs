//! Vocabularies of tiktoken (`qwen.tiktoken`, the first Qwen): a line for every token, its bytes in base64 and its
//! rank, which is its id. There is no list of merges: neighbours may merge if their bytes are a token, the lowest
//! rank first. Special tokens are not in the file; they follow the others, and are those of the program that goes
//! with it.
//!
//! Words are cut as in Qwen 2. Text is composed first (Unicode's form C).

use super::bpe::{self, Bpe};
use super::config::{TokenizerConfig, special_ids};
use super::embedded::{Embedded, Model};
use super::error::TokenizerError;
use super::files::Files;
use super::special::Specials;
use super::vocabulary::{self, TokenKind, Vocabulary};

/// Behind `<|endoftext|>`, `<|im_start|>` and `<|im_end|>` there is room for tokens of one's own.
const EXTRAS: usize = 205;

/// The tokenizer in the bytes of `qwen.tiktoken`, known as `file`.
pub(super) fn read(
    files: &Files,
    config: &TokenizerConfig,
    file: &str,
    bytes: &[u8],
) -> Result<Embedded, TokenizerError> {
    let mut tokens = tokens(bytes).map_err(|problem| TokenizerError::File {
        file: file.to_owned(),
        problem: format!("{problem}; fetch the file again"),
    })?;
    let ordinary = tokens.len();
    tokens.extend(["<|endoftext|>", "<|im_start|>", "<|im_end|>"].map(str::to_owned));
    tokens.extend((0..EXTRAS).map(|number| format!("<|extra_{number}|>")));
    vocabulary::check_count(file, tokens.len())?;
    let kinds =
        (0..tokens.len()).map(|id| if id < ordinary { TokenKind::Normal } else { TokenKind::Control });
    let vocabulary = Vocabulary::new(file, kinds.collect(), tokens.iter().map(String::as_bytes))?;
    let is_special = |id| vocabulary.kind(id).is_some_and(|kind| kind != TokenKind::Normal);
    let special_ids = special_ids(files, config, vocabulary.len(), &|text| vocabulary.id(text), &is_special)?;
    Ok(Embedded {
        file: file.to_owned(),
        specials: Specials::of(&vocabulary, file)?,
        model: Model::Bpe(Bpe::by_rank("qwen2", &vocabulary)),
        bos: special_ids.bos,
        eos: special_ids.eos,
        ends: special_ids.ends,
        adds_bos: false,
        adds_eos: false,
        space_prefix: false,
        vocabulary,
    })
}

/// Why bytes are no vocabulary. Lines count from 1.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Problem {
    #[error("line {0} is no token and rank separated by a space")]
    Line(usize),
    #[error("line {line} does not have rank {rank}, which follows")]
    Rank { line: usize, rank: usize },
    #[error("line {0} has a token that is no base64")]
    Base64(usize),
    #[error("has no token")]
    Empty,
}

/// The tokens of a file by rank, each byte spelled as one character.
fn tokens(bytes: &[u8]) -> Result<Vec<String>, Problem> {
    let mut tokens = Vec::new();
    for (index, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            continue;
        }
        let (number, rank) = (index + 1, tokens.len());
        let mut parts = line.split(|&byte| byte == b' ');
        let (Some(code), Some(found), None) = (parts.next(), parts.next(), parts.next()) else {
            return Err(Problem::Line(number));
        };
        if std::str::from_utf8(found).ok().and_then(|found| found.parse().ok()) != Some(rank) {
            return Err(Problem::Rank { line: number, rank });
        }
        let token = base64(code).ok_or(Problem::Base64(number))?;
        tokens.push(bpe::spelled(&token).collect());
    }
    if tokens.is_empty() { Err(Problem::Empty) } else { Ok(tokens) }
}

/// Decodes base64 (RFC 4648, padded). `None` if `text` is not base64.
fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (groups, []) = text.as_chunks::<4>() else { return None };
    for (index, group) in groups.iter().enumerate() {
        let padding = group.iter().rev().take_while(|&&letter| letter == b'=').count();
        if padding > 2 || padding > 0 && index + 1 < groups.len() {
            return None;
        }
        let mut bits = 0;
        for &letter in &group[..4 - padding] {
            let six = match letter {
                b'A'..=b'Z' => letter - b'A',
                b'a'..=b'z' => letter - b'a' + 26,
                b'0'..=b'9' => letter - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                _ => return None,
            };
            bits = bits << 6 | u32::from(six);
        }
        bits <<= 6 * padding;
        bytes.extend_from_slice(&bits.to_be_bytes()[1..4 - padding]);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read_strictly() {
        for (text, bytes) in [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYg==", "foob")]
        {
            assert_eq!(base64(text.as_bytes()).as_deref(), Some(bytes.as_bytes()), "{text}");
        }
        assert_eq!(base64(b"+/+/"), Some(vec![0xfb, 0xff, 0xbf]));
        for wrong in ["Z", "Zm9", "Zg==Zg==", "====", "Z===", "Zm9*", "Zm-_", "=m9v"] {
            assert_eq!(base64(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn lines_have_their_ranks_in_order() {
        assert_eq!(tokens(b"YQ== 0\nIGI= 1\r\n\n").unwrap(), ["a", "\u{120}b"]);
        for (wrong, what) in [
            (&b"YQ==\n"[..], "line 1 is no token"),
            (b"YQ== 0 1\n", "line 1 is no token"),
            (b"YQ== 0\nYg== 0\n", "line 2 does not have rank 1"),
            (b"YQ== 0\nYg== x\n", "line 2 does not have rank 1"),
            (b"YQ= 0\n", "line 1 has a token that is no base64"),
            (b"\n", "has no token"),
        ] {
            let error = tokens(wrong).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        }
    }
}
