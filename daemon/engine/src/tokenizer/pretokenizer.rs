//! How byte-level tokenizers split text into words, by the name in `tokenizer.ggml.pre`.
//!
//! A pretokenizer is a list of patterns. Each pattern splits every piece that the patterns before it have left: a
//! match becomes a piece, and so does the text between two matches.
//!
//! The published patterns end in `\s+(?!\S)|\s+`: the last space of a run belongs to the word after it. Here they
//! end in `\s+`, and [`Pattern::trim`] cuts the last space off again. So matching needs no lookahead and takes time
//! linear in the length of any text.

use regex::Regex;

/// The patterns that a name stands for, and what else follows from it.
struct Rules {
    names: &'static [&'static str],
    patterns: &'static [&'static str],
    /// A word that is a token becomes that token, even if the merges would not produce it.
    whole_words: bool,
    /// Text begins with BOS unless the file says otherwise.
    adds_bos: bool,
}

/// Begins the patterns of the cl100k family: contractions in either case.
macro_rules! contractions {
    () => {
        "'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]"
    };
}

/// Ends the patterns of the cl100k family: newlines with the space before them, then other space.
macro_rules! newlines_then_space {
    () => {
        r"|\s*[\r\n]+|\s+"
    };
}

/// The o200k family distinguishes upper and lower case; `$suffix` may follow a word.
macro_rules! cased_words {
    ($suffix:expr) => {
        concat!(
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+",
            $suffix,
            r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*",
            $suffix
        )
    };
}

const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+";
const DIGIT: &str = r"\p{N}";
const LLAMA3: &str = concat!(
    contractions!(),
    r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*",
    newlines_then_space!()
);
const QWEN2: &str = concat!(
    contractions!(),
    r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*",
    newlines_then_space!()
);
const QWEN35: &str = concat!(
    contractions!(),
    r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*",
    newlines_then_space!()
);
const MINICPM5: &str = concat!(
    contractions!(),
    r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+| ?[^\s\p{L}\p{N}]+[\r\n]*",
    newlines_then_space!()
);
const SEED_CODER: &str = concat!(
    contractions!(),
    r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}\r\n]+",
    newlines_then_space!()
);
const TEKKEN: &str = concat!(cased_words!(""), r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*", newlines_then_space!());
const GPT4O: &str = concat!(
    cased_words!(concat!("(?:", contractions!(), ")?")),
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*",
    newlines_then_space!()
);
const DEEPSEEK3: &str = concat!(
    r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"##,
    r"| ?[\p{P}\p{S}]+[\r\n]*",
    newlines_then_space!()
);
const BLOOM: &str = " ?[^(\\s|.,!?…。，、।۔،)]+";

const RULES: &[Rules] = &[
    rules(
        &[
            "gpt-2",
            "phi-2",
            "olmo",
            "mpt",
            "jais",
            "exaone4",
            "trillion",
            "granite-docling",
            "mellum",
            "gigachat",
        ],
        &[GPT2],
    ),
    rules(
        &["smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b", "mellum2"],
        &[DIGIT, GPT2],
    ),
    rules(&["qwen2", "stablelm2", "deepseek-r1-qwen", "megrez", "hunyuan", "solar-open", "grok-2"], &[QWEN2]),
    rules(&["qwen35"], &[QWEN35]),
    Rules {
        whole_words: true,
        adds_bos: true,
        ..rules(&["llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "lfm2"], &[LLAMA3])
    },
    rules(&["dbrx", "smaug-bpe", "glm4", "chatglm-bpe"], &[LLAMA3]),
    Rules { whole_words: true, ..rules(&["minicpm5"], &[r"\p{N}{1,3}", MINICPM5]) },
    rules(&["seed-coder"], &[SEED_CODER]),
    Rules { whole_words: true, adds_bos: true, ..rules(&["tekken"], &[TEKKEN]) },
    rules(&["gpt-4o", "llama4", "kanana2"], &[GPT4O]),
    rules(
        &["deepseek-v3", "hunyuan-dense"],
        &[r"\p{N}{1,3}", "[一-龥\u{3040}-\u{309f}\u{30a0}-\u{30ff}]+", DEEPSEEK3],
    ),
    rules(
        &["deepseek-coder"],
        &[r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥\u{800}-一가-\u{d7ff}]+", DIGIT],
    ),
    rules(&["falcon"], &[r"[\p{P}$+<=>^~|`]+", GPT2, "[0-9][0-9][0-9]"]),
    rules(&["bloom", "poro-chat", "gpt3-finnish"], &[BLOOM]),
    rules(&["viking"], &[BLOOM, DIGIT]),
    rules(&["default"], &[r"[\p{P}$+<=>^~|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"]),
];

const fn rules(names: &'static [&'static str], patterns: &'static [&'static str]) -> Rules {
    Rules { names, patterns, whole_words: false, adds_bos: false }
}

/// Splits text into words.
pub(super) struct Pretokenizer {
    rules: &'static Rules,
    patterns: Vec<Pattern>,
}

impl Pretokenizer {
    /// The pretokenizer with this name. `None` if it is not known.
    pub(super) fn named(name: &str) -> Option<Self> {
        let rules = RULES.iter().find(|rules| rules.names.contains(&name))?;
        Some(Self { rules, patterns: rules.patterns.iter().map(|pattern| Pattern::new(pattern)).collect() })
    }

    /// All names, for a message.
    pub(super) fn known() -> String {
        RULES.iter().flat_map(|rules| rules.names).copied().collect::<Vec<_>>().join(", ")
    }

    pub(super) fn prefers_whole_words(&self) -> bool {
        self.rules.whole_words
    }

    pub(super) fn adds_bos(&self) -> bool {
        self.rules.adds_bos
    }

    /// Splits `text` into words, which together are the text.
    pub(super) fn split<'t>(&self, text: &'t str) -> Vec<&'t str> {
        let mut pieces = vec![text];
        for pattern in &self.patterns {
            let mut finer = Vec::with_capacity(pieces.len());
            for piece in pieces {
                pattern.cut(piece, &mut finer);
            }
            pieces = finer;
        }
        pieces
    }
}

/// One pattern, ready to match.
struct Pattern {
    regex: Regex,
    /// It ends in `\s+`: the last space of a run is cut off again.
    ends_in_space: bool,
    /// It matches newlines with the space before them before it looks for other space.
    newlines_first: bool,
}

impl Pattern {
    fn new(pattern: &str) -> Self {
        Self {
            regex: Regex::new(pattern).expect("the patterns are constants, which a test compiles"),
            ends_in_space: pattern.ends_with(r"|\s+"),
            newlines_first: pattern.ends_with(newlines_then_space!()),
        }
    }

    /// Appends the pieces of `text`: matches and what lies between them.
    fn cut<'t>(&self, text: &'t str, pieces: &mut Vec<&'t str>) {
        let mut done = 0;
        while let Some(found) = self.regex.find_at(text, done) {
            let end = self.trim(text, found.range());
            if found.start() > done {
                pieces.push(&text[done..found.start()]);
            }
            pieces.push(&text[found.start()..end]);
            done = end;
        }
        if done < text.len() {
            pieces.push(&text[done..]);
        }
    }

    /// The end of a match: one character earlier for a run of two or more spaces before another character.
    fn trim(&self, text: &str, found: std::ops::Range<usize>) -> usize {
        let matched = &text[found.clone()];
        let mut characters = matched.chars();
        let Some(last) = characters.next_back() else { return found.end };
        let run = self.ends_in_space && found.end < text.len() && matched.chars().all(char::is_whitespace);
        let by_newline = self.newlines_first && matches!(last, '\r' | '\n');
        if run && !by_newline && !characters.as_str().is_empty() {
            found.end - last.len_utf8()
        } else {
            found.end
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split<'t>(name: &str, text: &'t str) -> Vec<&'t str> {
        Pretokenizer::named(name).expect("a known name").split(text)
    }

    #[test]
    fn all_patterns_compile_and_no_name_is_listed_twice() {
        let mut names: Vec<_> = RULES.iter().flat_map(|rules| rules.names).collect();
        for name in &names {
            let pretokenizer = Pretokenizer::named(name).expect("a known name");
            let text = "Hi there,  it's\t\t10234 ÄÖ日本\u{301}語 \r\n\r\n x  ";
            assert_eq!(pretokenizer.split(text).concat(), text, "{name}");
            assert!(pretokenizer.split("").is_empty() || pretokenizer.split("") == [""], "{name}");
        }
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
        assert!(Pretokenizer::named("no-such").is_none());
    }

    #[test]
    fn gpt2_keeps_the_last_space_for_the_word() {
        assert_eq!(
            split("gpt-2", "I'll  go\n\nto 12 "),
            ["I", "'ll", " ", " go", "\n", "\n", "to", " 12", " "]
        );
        assert_eq!(split("gpt-2", "a   "), ["a", "   "]);
    }

    #[test]
    fn smollm_takes_digits_one_by_one_and_space_before_them_whole() {
        assert_eq!(split("smollm", "a  12 b"), ["a", "  ", "1", "2", " b"]);
    }

    #[test]
    fn llama3_groups_digits_by_three_and_newlines_with_their_space() {
        assert_eq!(
            split("llama-bpe", "I'LL 12345 \n\n  x_y!\n"),
            ["I", "'LL", " ", "123", "45", " \n\n", " ", " x", "_y", "!\n"]
        );
        assert_eq!(split("qwen2", "a 12"), ["a", " ", "1", "2"]);
    }

    #[test]
    fn cased_words_part_where_the_case_rises() {
        assert_eq!(split("gpt-4o", "fooBar's 1234"), ["foo", "Bar's", " ", "123", "4"]);
        assert_eq!(split("tekken", "fooBAR 12"), ["foo", "BAR", " ", "1", "2"]);
    }

    #[test]
    fn long_runs_take_linear_time() {
        let spaces = " ".repeat(1 << 20) + "x";
        assert_eq!(split("gpt-2", &spaces).len(), 2);
        assert_eq!(split("qwen2", &spaces).len(), 2);
    }
}
