//! Quantized blocks, decoded in plain code: the reference for the vector kernels.

use half::bf16;
use slmscope_profiles::format::WeightFormat;

use super::activations::BLOCK;

/// 32 neighbours of a row: `scale * (quant - bias) + min`, with a scale and a minimum for each half.
#[derive(Debug, Clone, Copy)]
pub(super) struct Group {
    pub(super) quants: [u8; BLOCK],
    pub(super) scales: [f32; 2],
    pub(super) mins: [f32; 2],
}

impl Group {
    pub(super) const ZERO: Self = Self { quants: [0; BLOCK], scales: [0.0; 2], mins: [0.0; 2] };
}

/// A format of blocks.
pub(super) trait Block {
    /// Bytes of a block.
    const BYTES: usize;
    /// Groups of 32 elements in a block.
    const GROUPS: usize;
    /// What is taken from a quant; 0 if and only if the format has minimums.
    const BIAS: u8;
    /// The largest quant.
    #[cfg_attr(
        not(any(target_arch = "x86_64", target_arch = "aarch64")),
        expect(dead_code, reason = "what AVX2 and NEON ask for")
    )]
    const MOST: u8;
    /// Whether the halves of a group have scales (and minimums) of their own.
    const HALVES: bool;

    /// Takes apart `block`, [`Self::BYTES`] long, into the first [`Self::GROUPS`] of `groups`.
    fn decode(block: &[u8], groups: &mut [Group]);
}

/// Calls a generic function with the [`Block`] of a format.
macro_rules! with_block {
    ($format:expr, $block:ident => $call:expr, plain => $plain:expr) => {{
        use crate::kernels::{k_quants, legacy};
        match $format {
            WeightFormat::Q4_0 => {
                type $block = legacy::Q4_0;
                $call
            }
            WeightFormat::Q4_1 => {
                type $block = legacy::Q4_1;
                $call
            }
            WeightFormat::Q5_0 => {
                type $block = legacy::Q5_0;
                $call
            }
            WeightFormat::Q5_1 => {
                type $block = legacy::Q5_1;
                $call
            }
            WeightFormat::Q8_0 => {
                type $block = legacy::Q8_0;
                $call
            }
            WeightFormat::Q2K => {
                type $block = k_quants::Q2K;
                $call
            }
            WeightFormat::Q3K => {
                type $block = k_quants::Q3K;
                $call
            }
            WeightFormat::Q4K => {
                type $block = k_quants::Q4K;
                $call
            }
            WeightFormat::Q5K => {
                type $block = k_quants::Q5K;
                $call
            }
            WeightFormat::Q6K => {
                type $block = k_quants::Q6K;
                $call
            }
            WeightFormat::F32 | WeightFormat::F16 | WeightFormat::Bf16 => $plain,
        }
    }};
}
pub(super) use with_block;

/// Chooses among the functions for one row of input: `plain` formats have no blocks, `legacy` ones have blocks of 32,
/// `k_quants` blocks of 256. Instruction sets with a kernel of its own for Q4_0 name it apart.
macro_rules! by_family {
    ($format:expr, plain => $plain:expr, legacy => $legacy:expr, k_quants => $k_quants:expr $(,)?) => {
        match $format {
            WeightFormat::F32 | WeightFormat::F16 | WeightFormat::Bf16 => $plain,
            WeightFormat::Q4_0
            | WeightFormat::Q4_1
            | WeightFormat::Q5_0
            | WeightFormat::Q5_1
            | WeightFormat::Q8_0 => $legacy,
            WeightFormat::Q2K
            | WeightFormat::Q3K
            | WeightFormat::Q4K
            | WeightFormat::Q5K
            | WeightFormat::Q6K => $k_quants,
        }
    };
    ($format:expr, q4_0 => $q4_0:expr, $($family:ident => $call:expr),+ $(,)?) => {
        if $format == WeightFormat::Q4_0 {
            $q4_0
        } else {
            $crate::kernels::blocks::by_family!($format, $($family => $call),+)
        }
    };
}
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(super) use by_family;

/// Writes the values of whole blocks of `format` to `out`.
///
/// # Panics
/// If `bytes` and `out` are not the same whole number of blocks.
#[inline(always)]
pub fn dequantize(format: WeightFormat, bytes: &[u8], out: &mut [f32]) {
    let (block, elements) = (format.block_bytes() as usize, format.block_elements() as usize);
    assert!(bytes.len().is_multiple_of(block), "whole blocks");
    assert_eq!(bytes.len() / block * elements, out.len(), "a place for each element");
    with_block!(format, B => dequantize_blocks::<B>(bytes, out), plain => widen(format, bytes, out));
}

#[inline(always)]
fn dequantize_blocks<B: Block>(bytes: &[u8], out: &mut [f32]) {
    let mut groups = [Group::ZERO; 8];
    for (block, out) in bytes.chunks_exact(B::BYTES).zip(out.chunks_exact_mut(BLOCK * B::GROUPS)) {
        B::decode(block, &mut groups);
        for (group, out) in groups.iter().zip(out.chunks_exact_mut(BLOCK)) {
            for (index, (place, &quant)) in out.iter_mut().zip(&group.quants).enumerate() {
                let half = index / (BLOCK / 2);
                let quant = f32::from(i16::from(quant) - i16::from(B::BIAS));
                *place = group.scales[half] * quant + group.mins[half];
            }
        }
    }
}

/// Writes the f32 values of a plain format to `out`.
#[inline(always)]
pub(super) fn widen(format: WeightFormat, bytes: &[u8], out: &mut [f32]) {
    match format {
        WeightFormat::F16 => {
            for (place, bytes) in out.iter_mut().zip(bytes.as_chunks().0) {
                *place = f16_to_f32(u16::from_le_bytes(*bytes));
            }
        }
        WeightFormat::Bf16 => {
            for (place, bytes) in out.iter_mut().zip(bytes.as_chunks().0) {
                *place = bf16::from_le_bytes(*bytes).to_f32();
            }
        }
        _ => {
            for (place, bytes) in out.iter_mut().zip(bytes.as_chunks().0) {
                *place = f32::from_le_bytes(*bytes);
            }
        }
    }
}

/// The f16 at `at`.
#[inline(always)]
pub(super) fn f16_at(block: &[u8], at: usize) -> f32 {
    f16_to_f32(u16::from_le_bytes([block[at], block[at + 1]]))
}

/// Widens an f16 without branches, so that loops over it become vector code, and without denormal operands,
/// which the engine's threads take for zero.
#[inline(always)]
fn f16_to_f32(bits: u16) -> f32 {
    const EXPONENT: u32 = 0x1f << 23;
    let (sign, magnitude) = (u32::from(bits & 0x8000) << 16, u32::from(bits & 0x7fff) << 13);
    let normal = magnitude + ((127 - 15) << 23);
    let special = normal + ((128 - 16) << 23);
    // With the exponent of 2^-14 the fraction of a denormal is that of `1 + fraction`.
    let denormal = f32::from_bits(magnitude + (113 << 23)) - f32::from_bits(113 << 23);
    let magnitude = match magnitude & EXPONENT {
        EXPONENT => special,
        0 => denormal.to_bits(),
        _ => normal,
    };
    f32::from_bits(sign | magnitude)
}

#[cfg(test)]
mod tests {
    use half::f16;

    use super::*;

    #[test]
    fn every_f16_is_widened_as_the_standard_says() {
        for bits in 0..=u16::MAX {
            let (ours, theirs) = (f16_to_f32(bits), f16::from_bits(bits).to_f32());
            assert!(ours.to_bits() == theirs.to_bits() || ours.is_nan() && theirs.is_nan(), "{bits:#06x}");
        }
    }

    #[test]
    fn blocks_have_the_sizes_of_their_formats() {
        for format in WeightFormat::ALL {
            let (bytes, elements, bias) = with_block!(
                format, B => (B::BYTES, B::GROUPS * BLOCK, usize::from(B::BIAS)), plain => continue
            );
            assert_eq!((bytes as u64, elements as u64), (format.block_bytes(), format.block_elements()));
            assert!(bias <= 128);
        }
    }
}
