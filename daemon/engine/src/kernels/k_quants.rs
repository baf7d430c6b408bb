//! The formats of ggml with blocks of 256: groups of 32 (Q4_K, Q5_K) or 16 (the others) whose scales are
//! small integers times the block's f16 scale. Q2_K, Q4_K and Q5_K have minimums made in the same way, which
//! are subtracted.

use super::activations::BLOCK;
use super::blocks::{Block, Group, f16_at};

pub(super) struct Q2K;
pub(super) struct Q3K;
pub(super) struct Q4K;
pub(super) struct Q5K;
pub(super) struct Q6K;

/// 16 × (scale and minimum of 4 bits), quants of 2 bits, scale, scale of the minimums.
impl Block for Q2K {
    const BYTES: usize = 84;
    const GROUPS: usize = 8;
    const BIAS: u8 = 0;
    const MOST: u8 = 3;
    const HALVES: bool = true;

    #[inline(always)]
    fn decode(block: &[u8], groups: &mut [Group]) {
        let (scale, min) = (f16_at(block, 80), f16_at(block, 82));
        let pair = |index: usize| {
            let pair = block[index];
            (scale * f32::from(pair & 0x0f), -(min * f32::from(pair >> 4)))
        };
        for (index, group) in groups[..8].iter_mut().enumerate() {
            group.quants = crumbs(&block[16..80], index);
            let (left, right) = (pair(2 * index), pair(2 * index + 1));
            (group.scales, group.mins) = ([left.0, right.0], [left.1, right.1]);
        }
    }
}

/// Third bits (bit `g` of byte `i` belongs to quant `i` of group `g`), low two bits, 16 scales of 6 bits biased
/// by 32, scale.
impl Block for Q3K {
    const BYTES: usize = 110;
    const GROUPS: usize = 8;
    const BIAS: u8 = 4;
    const MOST: u8 = 7;
    const HALVES: bool = true;

    #[inline(always)]
    fn decode(block: &[u8], groups: &mut [Group]) {
        let scale = f16_at(block, 108);
        let scales = three_bit_scales(&block[96..108]);
        let scale = |index: usize| scale * f32::from((scales[index / 8] >> (index % 8 * 8)) as i8 - 32);
        for (index, group) in groups[..8].iter_mut().enumerate() {
            group.quants = crumbs(&block[32..96], index);
            for (quant, high) in group.quants.iter_mut().zip(&block[..32]) {
                *quant |= (high >> index & 1) << 2;
            }
            (group.scales, group.mins) = ([scale(2 * index), scale(2 * index + 1)], [0.0; 2]);
        }
    }
}

/// Scale, scale of the minimums, 8 × (scale and minimum of 6 bits), quants of 4 bits.
impl Block for Q4K {
    const BYTES: usize = 144;
    const GROUPS: usize = 8;
    const BIAS: u8 = 0;
    const MOST: u8 = 15;
    const HALVES: bool = false;

    #[inline(always)]
    fn decode(block: &[u8], groups: &mut [Group]) {
        six_bit_scales(block, groups);
        for (index, group) in groups[..8].iter_mut().enumerate() {
            group.quants = nibble_row(&block[16..144], index);
        }
    }
}

/// The same with the fifth bits before the quants; bit `g` of byte `i` belongs to quant `i` of group `g`.
impl Block for Q5K {
    const BYTES: usize = 176;
    const GROUPS: usize = 8;
    const BIAS: u8 = 0;
    const MOST: u8 = 31;
    const HALVES: bool = false;

    #[inline(always)]
    fn decode(block: &[u8], groups: &mut [Group]) {
        six_bit_scales(block, groups);
        for (index, group) in groups[..8].iter_mut().enumerate() {
            group.quants = nibble_row(&block[48..176], index);
            for (quant, high) in group.quants.iter_mut().zip(&block[16..48]) {
                *quant |= (high >> index & 1) << 4;
            }
        }
    }
}

/// Low four bits, upper two bits, 16 scales of i8, scale. Each half of 128 elements has 64 bytes of low bits
/// (groups 0 and 1 in the low, 2 and 3 in the high nibbles) and 32 bytes of upper ones.
impl Block for Q6K {
    const BYTES: usize = 210;
    const GROUPS: usize = 8;
    const BIAS: u8 = 32;
    const MOST: u8 = 63;
    const HALVES: bool = true;

    #[inline(always)]
    fn decode(block: &[u8], groups: &mut [Group]) {
        let scale = f16_at(block, 208);
        let scale = |index: usize| scale * f32::from(block[192 + index] as i8);
        for (index, group) in groups[..8].iter_mut().enumerate() {
            let (half, part) = (index / 4, index % 4);
            let low = &block[half * 64 + part % 2 * 32..][..BLOCK];
            let high = &block[128 + half * 32..][..BLOCK];
            for ((quant, low), high) in group.quants.iter_mut().zip(low).zip(high) {
                *quant = (low >> (part / 2 * 4) & 0x0f) | (high >> (part * 2) & 0x03) << 4;
            }
            (group.scales, group.mins) = ([scale(2 * index), scale(2 * index + 1)], [0.0; 2]);
        }
    }
}

/// Quants of 2 bits of a group: four groups share 32 bytes.
#[inline(always)]
fn crumbs(bytes: &[u8], group: usize) -> [u8; BLOCK] {
    let bytes = &bytes[group / 4 * BLOCK..][..BLOCK];
    std::array::from_fn(|index| bytes[index] >> (group % 4 * 2) & 0x03)
}

/// Quants of 4 bits of a group: two groups share 32 bytes.
#[inline(always)]
fn nibble_row(bytes: &[u8], group: usize) -> [u8; BLOCK] {
    let bytes = &bytes[group / 2 * BLOCK..][..BLOCK];
    std::array::from_fn(|index| bytes[index] >> (group % 2 * 4) & 0x0f)
}

/// Scales and minimums of Q4_K and Q5_K.
#[inline(always)]
fn six_bit_scales(block: &[u8], groups: &mut [Group]) {
    let (scale, min) = (f16_at(block, 0), f16_at(block, 2));
    let (scales, mins) = six_bit_pairs(block);
    for (group, (a, b)) in groups.iter_mut().zip(scales.iter().zip(mins)) {
        group.scales = [scale * f32::from(*a); 2];
        group.mins = [-(min * f32::from(b)); 2];
    }
}

/// The 8 scales and 8 minimums of 6 bits in bytes 4–15 of a block: the low bits of the first four are bytes
/// 0–3 and 4–7 of these, the upper two bits there and the nibbles of bytes 8–11 belong to the last four.
#[inline(always)]
pub(super) fn six_bit_pairs(block: &[u8]) -> ([u8; 8], [u8; 8]) {
    let word = |at: usize| u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]);
    let (scales, mins, shared) = (word(4), word(8), word(12));
    let first = |word: u32| u64::from(word & 0x3f3f_3f3f);
    let last =
        |nibbles: u32, upper: u32| u64::from(nibbles & 0x0f0f_0f0f | (upper >> 6 & 0x0303_0303) << 4) << 32;
    let scales_last = last(shared, scales);
    let mins_last = last(shared >> 4, mins);
    ((first(scales) | scales_last).to_le_bytes(), (first(mins) | mins_last).to_le_bytes())
}

/// The 16 scales of Q3_K, biased by 32, of the first four groups and of the others: low nibbles of scales 0–7 in
/// the low, of 8–15 in the high halves of bytes 0–7; the upper two bits of scale `s` at bit `2 * (s / 4)` of
/// byte `8 + s % 4`.
#[inline(always)]
pub(super) fn three_bit_scales(packed: &[u8]) -> [u64; 2] {
    let low = u64::from_le_bytes(std::array::from_fn(|index| packed[index]));
    let upper = u64::from(u32::from_le_bytes(std::array::from_fn(|index| packed[8 + index])));
    // Of scales `s` and `s + 4`, which have the same byte, at once.
    let upper = |shift: u32| (upper >> shift & 0x0303_0303 | (upper >> (shift + 2) & 0x0303_0303) << 32) << 4;
    [low & 0x0f0f_0f0f_0f0f_0f0f | upper(0), low >> 4 & 0x0f0f_0f0f_0f0f_0f0f | upper(4)]
}
