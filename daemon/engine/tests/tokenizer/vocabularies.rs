//! Small vocabularies, and GGUF files that hold them.

use slmscope_engine::gguf::Gguf;
use slmscope_engine::tokenizer::{Tokenizer, TokenizerError};

use crate::gguf_builder::{Field, file};

pub(crate) const NORMAL: i32 = 1;
pub(crate) const UNKNOWN: i32 = 2;
pub(crate) const CONTROL: i32 = 3;
pub(crate) const USER_DEFINED: i32 = 4;
pub(crate) const BYTE: i32 = 6;

/// Texts that tokenizers trip over.
pub(crate) const NASTY: [&str; 12] = [
    "",
    " ",
    "   leading and trailing   ",
    "tabs\tand\r\nnewlines\n\n\n",
    "naïve café ÄÖÜß",
    "日本語テキスト 中文",
    "e\u{301}\u{327} combining\u{200d}joiner",
    "👩‍👩‍👧‍👦🏳️‍🌈",
    "\u{feff}bom \u{0}nul \u{7f}del \u{a0}nbsp \u{ad}shy",
    "العربية עברית",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 \u{10ffff}",
    "▁Ġ<0x41>�",
];

pub(crate) fn build(fields: &[(&str, Field)]) -> Result<Tokenizer, TokenizerError> {
    let bytes = file(fields, &[], 0);
    Tokenizer::from_gguf(&Gguf::parse(&bytes, "m.gguf").expect("a right file"))
}

/// A vocabulary under construction: texts, scores and kinds side by side.
#[derive(Clone, Default)]
pub(crate) struct Tokens {
    pub(crate) texts: Vec<String>,
    pub(crate) scores: Vec<f32>,
    pub(crate) kinds: Vec<i32>,
}

impl Tokens {
    pub(crate) fn push(&mut self, text: &str, score: f32, kind: i32) -> u32 {
        self.texts.push(text.to_owned());
        self.scores.push(score);
        self.kinds.push(kind);
        self.texts.len() as u32 - 1
    }

    pub(crate) fn fields(&self, model: &'static str) -> Vec<(&str, Field<'_>)> {
        vec![
            ("tokenizer.ggml.model", Field::Str(model)),
            ("tokenizer.ggml.tokens", Field::Strs(self.texts.iter().map(String::as_str).collect())),
            ("tokenizer.ggml.scores", Field::F32s(self.scores.clone())),
            ("tokenizer.ggml.token_type", Field::I32s(self.kinds.clone())),
        ]
    }
}

/// `<unk>`, `<s>`, `</s>`, then the 256 bytes (id 3 + byte), then pieces from id 259 on.
pub(crate) fn spm() -> Tokens {
    let mut tokens = Tokens::default();
    tokens.push("<unk>", 0.0, UNKNOWN);
    tokens.push("<s>", 0.0, CONTROL);
    tokens.push("</s>", 0.0, CONTROL);
    for byte in 0..=255 {
        tokens.push(&format!("<0x{byte:02X}>"), 0.0, BYTE);
    }
    let pieces =
        [("▁", -9.0), ("a", -9.0), ("b", -9.0), ("ab", -1.0), ("▁a", -2.0), ("aba", -5.0), ("aa", -3.0)];
    for (text, score) in pieces {
        tokens.push(text, score, NORMAL);
    }
    tokens.push("<user>", 0.0, USER_DEFINED);
    tokens
}

pub(crate) const SPACE: u32 = 259;
pub(crate) const A: u32 = 260;
pub(crate) const SPACE_A: u32 = 263;
pub(crate) const ABA: u32 = 264;
pub(crate) const AA: u32 = 265;
pub(crate) const USER: u32 = 266;

pub(crate) fn spm_fields(tokens: &Tokens) -> Vec<(&str, Field<'_>)> {
    let mut fields = tokens.fields("llama");
    fields.push(("tokenizer.ggml.bos_token_id", Field::U32(1)));
    fields.push(("tokenizer.ggml.eos_token_id", Field::U32(2)));
    fields.push(("tokenizer.ggml.unknown_token_id", Field::U32(0)));
    fields
}

/// The 256 bytes (id = byte), then what merges make, then `<|end|>`.
pub(crate) fn bpe(made: &[&str]) -> Tokens {
    let mut tokens = Tokens::default();
    for byte in 0..=255_u8 {
        tokens.push(&spelled(byte).to_string(), 0.0, NORMAL);
    }
    for text in made {
        tokens.push(text, 0.0, NORMAL);
    }
    tokens.push("<|endoftext|>", 0.0, CONTROL);
    tokens
}

/// GPT-2's rule, stated in its own terms: printable Latin-1 is itself, the others count up from U+0100.
pub(crate) fn spelled(byte: u8) -> char {
    let is_printable = |byte: u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    if is_printable(byte) {
        return char::from(byte);
    }
    let others_below = (0..byte).filter(|&other| !is_printable(other)).count() as u32;
    char::from_u32(0x100 + others_below).expect("below U+0144")
}

pub(crate) fn bpe_fields<'a>(
    tokens: &'a Tokens,
    pre: &'a str,
    merges: &[&'a str],
) -> Vec<(&'a str, Field<'a>)> {
    let mut fields = tokens.fields("gpt2");
    fields.push(("tokenizer.ggml.pre", Field::Str(pre)));
    fields.push(("tokenizer.ggml.merges", Field::Strs(merges.to_vec())));
    fields
}
