//! Instruction sets that kernels are written for. Which of them a machine has, the engine finds out.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::words::UnknownWord;

/// A set of instructions that one kernel path needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", try_from = "String")]
pub enum Isa {
    /// What the compiler makes of plain code for the target's baseline.
    Scalar,
    /// x86-64 with AVX2, FMA and F16C.
    Avx2,
    /// x86-64 with AVX-512 F, BW, DQ, VL, VBMI and VNNI (Ice Lake, Zen 4 and later), and AVX2's set.
    Avx512Vnni,
    /// aarch64's baseline.
    Neon,
    /// NEON with the int8 dot product of ARMv8.2.
    #[serde(rename = "neon-dotprod")]
    Dotprod,
    /// NEON with the int8 matrix product of ARMv8.6, and the dot product.
    #[serde(rename = "neon-i8mm")]
    I8mm,
}

impl Isa {
    /// All of them, plain ones first.
    pub const ALL: [Self; 6] =
        [Self::Scalar, Self::Avx2, Self::Avx512Vnni, Self::Neon, Self::Dotprod, Self::I8mm];

    /// The name in flags and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Avx2 => "avx2",
            Self::Avx512Vnni => "avx512vnni",
            Self::Neon => "neon",
            Self::Dotprod => "neon-dotprod",
            Self::I8mm => "neon-i8mm",
        }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Isa {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        let found = Self::ALL.into_iter().find(|isa| isa.name().eq_ignore_ascii_case(text));
        found.ok_or_else(|| UnknownWord::new("instruction set", text, Self::ALL.map(Self::name)))
    }
}

impl TryFrom<String> for Isa {
    type Error = UnknownWord;

    fn try_from(text: String) -> Result<Self, UnknownWord> {
        text.parse()
    }
}

/// The sets that this build was compiled for, joined by `+`: candle's kernels use these, whatever the processor has.
/// `baseline` if there is none beyond what every processor of the architecture has.
pub fn compiled() -> String {
    let known = [
        ("avx512vnni", cfg!(target_feature = "avx512vnni")),
        ("avx512f", cfg!(target_feature = "avx512f")),
        ("avx2", cfg!(target_feature = "avx2")),
        ("i8mm", cfg!(target_feature = "i8mm")),
        ("dotprod", cfg!(target_feature = "dotprod")),
        ("neon", cfg!(target_feature = "neon")),
    ];
    let built: Vec<_> = known.into_iter().filter(|(_, on)| *on).map(|(name, _)| name).collect();
    if built.is_empty() { "baseline".to_owned() } else { built.join("+") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_agree_between_display_parsing_and_json() {
        for isa in Isa::ALL {
            assert_eq!(isa.name().parse(), Ok(isa));
            assert_eq!(serde_json::to_string(&isa).unwrap(), format!("\"{isa}\""));
        }
        assert!("sse9".parse::<Isa>().unwrap_err().to_string().contains("avx2"));
    }
}
