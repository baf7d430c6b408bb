//! Instruction sets that kernels are written for, and which of them this machine has.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A set of instructions that one kernel path needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
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

    /// The fastest one that this machine has.
    pub fn detect() -> Self {
        let available = Self::ALL.into_iter().rev().find(|isa| isa.is_available());
        available.unwrap_or(Self::Scalar)
    }

    /// Whether this machine has it and this build has kernels for it.
    #[cfg(target_arch = "x86_64")]
    pub fn is_available(self) -> bool {
        let avx2 = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c");
        match self {
            Self::Scalar => true,
            Self::Avx2 => avx2,
            Self::Avx512Vnni => {
                avx2 && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512vbmi")
                    && is_x86_feature_detected!("avx512vnni")
            }
            Self::Neon | Self::Dotprod | Self::I8mm => false,
        }
    }

    /// Whether this machine has it and this build has kernels for it.
    #[cfg(target_arch = "aarch64")]
    pub fn is_available(self) -> bool {
        let dotprod = std::arch::is_aarch64_feature_detected!("dotprod");
        match self {
            Self::Scalar | Self::Neon => true,
            Self::Dotprod => dotprod,
            Self::I8mm => dotprod && std::arch::is_aarch64_feature_detected!("i8mm"),
            Self::Avx2 | Self::Avx512Vnni => false,
        }
    }

    /// Whether this machine has it and this build has kernels for it.
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    pub fn is_available(self) -> bool {
        self == Self::Scalar
    }

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
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|isa| isa.name().eq_ignore_ascii_case(text)).ok_or_else(|| {
            format!("unknown instruction set `{text}`; known: {}", Self::ALL.map(Self::name).join(", "))
        })
    }
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
        assert!("sse9".parse::<Isa>().unwrap_err().contains("avx2"));
    }

    #[test]
    fn the_best_one_is_available() {
        assert!(Isa::detect().is_available());
        assert!(Isa::Scalar.is_available());
    }
}
