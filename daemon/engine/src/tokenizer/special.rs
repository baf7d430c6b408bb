//! Finds special tokens such as `<|im_end|>` in the text, before any merging.

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

use super::error::TokenizerError;
use super::vocabulary::{self, Vocabulary};

/// What all special tokens of a file may take, in bytes: real ones come to 100 KB, and the automaton is
/// larger than its patterns.
const MAX_BYTES: usize = 1 << 20;

/// A segment of a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Segment<'t> {
    /// Text for the merges.
    Text(&'t str),
    /// A special token.
    Token(u32),
}

/// The special tokens of a vocabulary.
pub(super) struct Specials {
    automaton: AhoCorasick,
    /// The token of each pattern.
    tokens: Vec<u32>,
}

impl Specials {
    pub(super) fn of(vocabulary: &Vocabulary, file: &str) -> Result<Self, TokenizerError> {
        let specials = || vocabulary.iter().filter(|(_, text, kind)| kind.is_special() && !text.is_empty());
        let too_large = || vocabulary::too_large(file, "the text of special tokens", MAX_BYTES);
        if specials().map(|(_, text, _)| text.len()).sum::<usize>() > MAX_BYTES {
            return Err(too_large());
        }
        let automaton = AhoCorasick::builder()
            // A DFA, the library's own choice for few patterns, takes up to 1 KiB for each of their bytes.
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .match_kind(MatchKind::LeftmostLongest)
            .build(specials().map(|(_, text, _)| text))
            .map_err(|_| too_large())?;
        Ok(Self { automaton, tokens: specials().map(|(id, _, _)| id).collect() })
    }

    /// Cuts `text` at its special tokens; the longest wins where several start at one place.
    pub(super) fn split<'t>(&self, text: &'t str) -> Vec<Segment<'t>> {
        let mut parts = Vec::new();
        let mut done = 0;
        for found in self.automaton.find_iter(text) {
            if let Some(&token) = self.tokens.get(found.pattern().as_usize()) {
                if found.start() > done {
                    parts.push(Segment::Text(&text[done..found.start()]));
                }
                parts.push(Segment::Token(token));
                done = found.end();
            }
        }
        if done < text.len() {
            parts.push(Segment::Text(&text[done..]));
        }
        parts
    }
}
