//! The formats of ggml with blocks of 32: a scale (f16), a minimum (f16) in the `_1` ones, the fifth bits of
//! all quants in the `5` ones, then quants; of two that share a byte the low one is of the first half.

use super::activations::BLOCK;
use super::blocks::{Block, Group, f16_at};

pub(super) struct Q4_0;
pub(super) struct Q4_1;
pub(super) struct Q5_0;
pub(super) struct Q5_1;
pub(super) struct Q8_0;

impl Block for Q4_0 {
    const BYTES: usize = 18;
    const GROUPS: usize = 1;
    const BIAS: u8 = 8;
    const MOST: u8 = 15;
    const HALVES: bool = false;

    #[inline(always)]
    fn decode(block: &[u8], groups: &mut [Group]) {
        let scale = f16_at(block, 0);
        groups[0] = Group { quants: nibbles(&block[2..18]), scales: [scale; 2], mins: [0.0; 2] };
    }
}

impl Block for Q4_1 {
    const BYTES: usize = 20;
    const GROUPS: usize = 1;
    const BIAS: u8 = 0;
    const MOST: u8 = 15;
    const HALVES: bool = false;

    #[inline(always)]
    fn decode(block: &[u8], groups: &mut [Group]) {
        let (scale, min) = (f16_at(block, 0), f16_at(block, 2));
        groups[0] = Group { quants: nibbles(&block[4..20]), scales: [scale; 2], mins: [min; 2] };
    }
}

impl Block for Q5_0 {
    const BYTES: usize = 22;
    const GROUPS: usize = 1;
    const BIAS: u8 = 16;
    const MOST: u8 = 31;
    const HALVES: bool = false;

    #[inline(always)]
    fn decode(block: &[u8], groups: &mut [Group]) {
        let scale = f16_at(block, 0);
        let quants = fifth_bits(nibbles(&block[6..22]), &block[2..6]);
        groups[0] = Group { quants, scales: [scale; 2], mins: [0.0; 2] };
    }
}

impl Block for Q5_1 {
    const BYTES: usize = 24;
    const GROUPS: usize = 1;
    const BIAS: u8 = 0;
    const MOST: u8 = 31;
    const HALVES: bool = false;

    #[inline(always)]
    fn decode(block: &[u8], groups: &mut [Group]) {
        let (scale, min) = (f16_at(block, 0), f16_at(block, 2));
        let quants = fifth_bits(nibbles(&block[8..24]), &block[4..8]);
        groups[0] = Group { quants, scales: [scale; 2], mins: [min; 2] };
    }
}

impl Block for Q8_0 {
    const BYTES: usize = 34;
    const GROUPS: usize = 1;
    const BIAS: u8 = 128;
    const MOST: u8 = 255;
    const HALVES: bool = false;

    #[inline(always)]
    fn decode(block: &[u8], groups: &mut [Group]) {
        let scale = f16_at(block, 0);
        // Two's complement plus 128 is the same byte with its top bit turned.
        let quants = std::array::from_fn(|index| block[2 + index] ^ 0x80);
        groups[0] = Group { quants, scales: [scale; 2], mins: [0.0; 2] };
    }
}

/// The 32 quants of 16 bytes.
#[inline(always)]
fn nibbles(bytes: &[u8]) -> [u8; BLOCK] {
    let mut quants = [0; BLOCK];
    for (index, &byte) in bytes[..16].iter().enumerate() {
        quants[index] = byte & 0x0f;
        quants[index + 16] = byte >> 4;
    }
    quants
}

/// Adds bit `i` of `bits` to quant `i`, as its fifth.
#[inline(always)]
fn fifth_bits(mut quants: [u8; BLOCK], bits: &[u8]) -> [u8; BLOCK] {
    let bits = u32::from_le_bytes([bits[0], bits[1], bits[2], bits[3]]);
    for (index, quant) in quants.iter_mut().enumerate() {
        *quant |= (((bits >> index) & 1) << 4) as u8;
    }
    quants
}
