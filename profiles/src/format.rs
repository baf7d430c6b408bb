//! Storage formats of weights and of the KV cache: block sizes and bytes, as ggml lays them out.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::words::UnknownWord;

/// How the numbers of a weight tensor are stored.
///
/// Quantized formats store blocks of a row; a row whose length the block does not divide cannot be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", try_from = "String")]
#[expect(missing_docs, reason = "the names are ggml's own; `name` spells them")]
pub enum WeightFormat {
    F32,
    F16,
    Bf16,
    #[serde(rename = "q4_0")]
    Q4_0,
    #[serde(rename = "q4_1")]
    Q4_1,
    #[serde(rename = "q5_0")]
    Q5_0,
    #[serde(rename = "q5_1")]
    Q5_1,
    Q8_0,
    #[serde(rename = "q2_k")]
    Q2K,
    #[serde(rename = "q3_k")]
    Q3K,
    #[serde(rename = "q4_k")]
    Q4K,
    #[serde(rename = "q5_k")]
    Q5K,
    #[serde(rename = "q6_k")]
    Q6K,
}

impl WeightFormat {
    /// All formats, plain ones first.
    pub const ALL: [Self; 13] = [
        Self::F32,
        Self::F16,
        Self::Bf16,
        Self::Q8_0,
        Self::Q6K,
        Self::Q5_1,
        Self::Q5_0,
        Self::Q5K,
        Self::Q4_1,
        Self::Q4_0,
        Self::Q4K,
        Self::Q3K,
        Self::Q2K,
    ];

    /// The formats that are proposed where another one would fit or run faster, the smallest first. Their blocks of 32
    /// divide the rows of nearly every model, and the engine has kernels for them on every CPU. Below 4 bits the answers
    /// of small models fall apart.
    pub const PROPOSED: [Self; 3] = [Self::Q4_0, Self::Q5_0, Self::Q8_0];

    /// The same for a model whose rows are whole blocks of 256: k-quants are nearer to the weights than other formats of
    /// as many bits (llama.cpp, pull request 1684), and files have them more often.
    pub const PROPOSED_K: [Self; 3] = [Self::Q4K, Self::Q6K, Self::Q8_0];

    /// Bits of an element, scales included: 4.5 for q4_0.
    pub fn bits(self) -> f64 {
        self.block_bytes() as f64 * 8.0 / self.block_elements() as f64
    }

    /// Elements per block; 1 for plain formats.
    pub fn block_elements(self) -> u64 {
        match self {
            Self::F32 | Self::F16 | Self::Bf16 => 1,
            Self::Q4_0 | Self::Q4_1 | Self::Q5_0 | Self::Q5_1 | Self::Q8_0 => 32,
            Self::Q2K | Self::Q3K | Self::Q4K | Self::Q5K | Self::Q6K => 256,
        }
    }

    /// Bytes per block.
    pub fn block_bytes(self) -> u64 {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::Q4_0 => 18,
            Self::Q4_1 => 20,
            Self::Q5_0 => 22,
            Self::Q5_1 => 24,
            Self::Q8_0 => 34,
            Self::Q2K => 84,
            Self::Q3K => 110,
            Self::Q4K => 144,
            Self::Q5K => 176,
            Self::Q6K => 210,
        }
    }

    /// Whether it stores single numbers, which any row can hold.
    pub fn is_plain(self) -> bool {
        self.block_elements() == 1
    }

    /// Whether a row of `columns` elements is a whole number of blocks.
    pub fn divides(self, columns: u64) -> bool {
        columns.is_multiple_of(self.block_elements())
    }

    /// Bytes of `rows` rows of `columns` elements; a last block that is not full counts as a whole one.
    pub fn bytes(self, rows: u64, columns: u64) -> u64 {
        rows * columns.div_ceil(self.block_elements()) * self.block_bytes()
    }

    /// The name in files, flags and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::Q4_0 => "q4_0",
            Self::Q4_1 => "q4_1",
            Self::Q5_0 => "q5_0",
            Self::Q5_1 => "q5_1",
            Self::Q8_0 => "q8_0",
            Self::Q2K => "q2_k",
            Self::Q3K => "q3_k",
            Self::Q4K => "q4_k",
            Self::Q5K => "q5_k",
            Self::Q6K => "q6_k",
        }
    }
}

impl fmt::Display for WeightFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for WeightFormat {
    type Err = UnknownWord;

    /// Reads a name without regard to case, and other spellings of it: `Q4-0`, `q4k`, `Q8`, `fp16`.
    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        let wanted = plain_spelling(text);
        let found = Self::ALL.into_iter().find(|format| plain_spelling(format.name()) == wanted);
        let unknown = || UnknownWord::new("weight format", text, Self::ALL.map(Self::name));
        found.ok_or_else(|| near(&wanted).map_or_else(unknown, |hint| unknown().with_hint(hint)))
    }
}

impl TryFrom<String> for WeightFormat {
    type Error = UnknownWord;

    fn try_from(text: String) -> Result<Self, UnknownWord> {
        text.parse()
    }
}

/// A format's name as it is compared: small letters and digits, with the usual other names of plain formats, and of
/// quantized ones of which there is one with so many bits.
fn plain_spelling(text: &str) -> String {
    let text: String = text.to_ascii_lowercase().chars().filter(|c| !matches!(c, '_' | '-' | ' ')).collect();
    match &*text {
        "fp32" | "float32" | "float" => "f32".to_owned(),
        "fp16" | "float16" | "half" => "f16".to_owned(),
        "bfloat16" => "bf16".to_owned(),
        "q8" | "int8" => "q80".to_owned(),
        "q6" => "q6k".to_owned(),
        "q3" => "q3k".to_owned(),
        "q2" => "q2k".to_owned(),
        _ => text,
    }
}

/// What may be meant by a spelling that is no format's: one of llama.cpp's mixtures, or several formats.
fn near(wanted: &str) -> Option<String> {
    let bits: String = wanted.strip_prefix("iq").or(wanted.strip_prefix('q'))?.chars().take(1).collect();
    let alike: Vec<_> = WeightFormat::ALL
        .into_iter()
        .map(WeightFormat::name)
        .filter(|name| {
            name.strip_prefix('q').is_some_and(|rest| !bits.is_empty() && rest.starts_with(&*bits))
        })
        .collect();
    let k = alike.iter().find(|name| name.ends_with('k'));
    let is_mixture = ["ks", "km", "kl", "kxl"].iter().any(|end| wanted.ends_with(end));
    match k.filter(|_| is_mixture) {
        Some(k) => Some(format!(
            " (a mixture of formats that llama.cpp writes into files; here all matrices have one format, and {k} is \
             the nearest)"
        )),
        None if alike.is_empty() => None,
        None => Some(format!(" (did you mean {}?)", alike.join(" or "))),
    }
}

/// How keys and values are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", try_from = "String")]
pub enum KvFormat {
    /// 4 bytes an element.
    F32,
    /// 2 bytes an element.
    F16,
    /// Bytes with an f16 scale for each 32 elements of a key or value, as in the weights' format of this name.
    Q8_0,
}

impl KvFormat {
    /// Every format, the most precise first.
    pub const ALL: [Self; 3] = [Self::F32, Self::F16, Self::Q8_0];

    /// Bytes of a key or value of `elements`.
    pub fn bytes(self, elements: u64) -> u64 {
        match self {
            Self::F32 => 4 * elements,
            Self::F16 => 2 * elements,
            Self::Q8_0 => elements + 2 * elements.div_ceil(32),
        }
    }

    /// The name in flags and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Q8_0 => "q8_0",
        }
    }
}

impl fmt::Display for KvFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for KvFormat {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        let wanted = plain_spelling(text);
        let found = Self::ALL.into_iter().find(|format| plain_spelling(format.name()) == wanted);
        found.ok_or_else(|| UnknownWord::new("KV cache format", text, Self::ALL.map(Self::name)))
    }
}

impl TryFrom<String> for KvFormat {
    type Error = UnknownWord;

    fn try_from(text: String) -> Result<Self, UnknownWord> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_agree_between_display_parsing_and_json() {
        for format in WeightFormat::ALL {
            assert_eq!(format.name().parse(), Ok(format));
            assert_eq!(serde_json::to_string(&format).unwrap(), format!("\"{format}\""));
        }
    }

    #[test]
    fn other_spellings_are_understood_or_the_nearest_format_is_named() {
        use WeightFormat::{Bf16, F16, Q2K, Q4_0, Q4K, Q8_0};
        for (text, format) in [
            ("Q4_0", Q4_0),
            ("q4-0", Q4_0),
            ("Q4K", Q4K),
            ("Q8", Q8_0),
            ("fp16", F16),
            ("BF16", Bf16),
            ("q2", Q2K),
        ] {
            assert_eq!(text.parse(), Ok(format), "{text}");
        }
        assert_eq!("FP16".parse(), Ok(KvFormat::F16));
        let told = |text: &str| text.parse::<WeightFormat>().unwrap_err().to_string();
        for (text, says) in [
            ("q4_k_m", "and q4_k is the nearest); known: f32"),
            ("Q5_K_S", "and q5_k is the nearest"),
            ("q4", "did you mean q4_1 or q4_0 or q4_k?)"),
            ("iq3_xxs", "did you mean q3_k?)"),
        ] {
            assert!(told(text).contains(says), "{}", told(text));
        }
        for text in ["q9_9", "", "q", "é", "iq", "_"] {
            assert!(
                told(text).starts_with(&format!("unknown weight format `{text}`; known")),
                "{}",
                told(text)
            );
        }
    }

    #[test]
    fn bytes_count_whole_blocks() {
        assert_eq!(WeightFormat::Q4_0.bytes(2, 64), 2 * 2 * 18);
        assert_eq!(WeightFormat::Q6K.bytes(1, 640), 3 * 210);
        assert!(!WeightFormat::Q4K.divides(640));
    }
}
