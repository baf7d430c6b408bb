//! One row of activations times rows in formats with blocks of 32.

use std::arch::aarch64::{
    int8x16_t, uint8x16_t, vaddvq_f32, vandq_u8, vcvtq_f32_s32, vdupq_n_f32, vdupq_n_s8, vdupq_n_s32,
    vdupq_n_u8, vdupq_n_u32, vfmaq_n_f32, vorrq_u8, vqtbl1q_u8, vreinterpretq_s8_u8, vreinterpretq_u8_u32,
    vshrq_n_u8, vsubq_s8, vtstq_u8,
};

use slmscope_profiles::format::WeightFormat;

use super::dot::Dot;
use super::{at, f16, load, load_signed};
use crate::kernels::activations::Tile;
use crate::kernels::streams::{STREAMS, by_streams, prefetch};

/// A block of weights.
struct Unpacked {
    quants: [int8x16_t; 2],
    scale: f32,
    /// What is added; 0 in formats without minimums.
    min: f32,
}

/// One row of activations times rows of weights.
#[target_feature(enable = "neon")]
pub(super) fn gemv<D: Dot>(
    dot: D,
    format: WeightFormat,
    rows: &[u8],
    row_bytes: usize,
    input: &Tile,
    out: &mut [f32],
) {
    match format {
        WeightFormat::Q4_0 => {
            gemv_blocks::<D, 18, false>(dot, rows, row_bytes, input, out, |block| Unpacked {
                quants: signed(nibbles(at(block, 2)), 8),
                scale: f16(block, 0),
                min: 0.0,
            });
        }
        WeightFormat::Q4_1 => {
            gemv_blocks::<D, 20, true>(dot, rows, row_bytes, input, out, |block| Unpacked {
                quants: signed(nibbles(at(block, 4)), 0),
                scale: f16(block, 0),
                min: f16(block, 2),
            });
        }
        WeightFormat::Q5_0 => {
            gemv_blocks::<D, 22, false>(dot, rows, row_bytes, input, out, |block| Unpacked {
                quants: signed(fifth_bits(nibbles(at(block, 6)), *at(block, 2)), 16),
                scale: f16(block, 0),
                min: 0.0,
            });
        }
        WeightFormat::Q5_1 => {
            gemv_blocks::<D, 24, true>(dot, rows, row_bytes, input, out, |block| Unpacked {
                quants: signed(fifth_bits(nibbles(at(block, 8)), *at(block, 4)), 0),
                scale: f16(block, 0),
                min: f16(block, 2),
            });
        }
        WeightFormat::Q8_0 => {
            gemv_blocks::<D, 34, false>(dot, rows, row_bytes, input, out, |block| Unpacked {
                quants: signed([load(at(block, 2)), load(at(block, 18))], 0),
                scale: f16(block, 0),
                min: 0.0,
            });
        }
        _ => unreachable!("formats with blocks of 32"),
    }
}

/// `BYTES` a block; `MINS` if the format has minimums.
#[inline]
#[target_feature(enable = "neon")]
fn gemv_blocks<D: Dot, const BYTES: usize, const MINS: bool>(
    dot: D,
    rows: &[u8],
    row_bytes: usize,
    input: &Tile,
    out: &mut [f32],
    unpack: impl Fn(&[u8; BYTES]) -> Unpacked,
) {
    by_streams(
        rows,
        row_bytes,
        out,
        |rows| products::<D, STREAMS, BYTES, MINS>(dot, rows, input, &unpack),
        |row| products::<D, 1, BYTES, MINS>(dot, [row], input, &unpack)[0],
    );
}

#[inline]
#[target_feature(enable = "neon")]
fn products<D: Dot, const N: usize, const BYTES: usize, const MINS: bool>(
    dot: D,
    rows: [&[u8]; N],
    input: &Tile,
    unpack: &impl Fn(&[u8; BYTES]) -> Unpacked,
) -> [f32; N] {
    let (mut sums, mut mins) = ([vdupq_n_f32(0.0); N], [0.0_f32; N]);
    let blocks = rows.map(|row| row.as_chunks::<BYTES>().0);
    let inputs = input.quants.iter().zip(&input.scales).zip(&input.sums);
    for (index, ((quants, scale), input_sum)) in inputs.enumerate().take(blocks[0].len()) {
        for row in rows {
            prefetch(row, index * BYTES);
        }
        let quants = [load_signed(at(quants, 0)), load_signed(at(quants, 16))];
        for row in 0..N {
            let weights = unpack(&blocks[row][index]);
            let dots = dot.add(vdupq_n_s32(0), weights.quants[0], quants[0]);
            let dots = dot.add(dots, weights.quants[1], quants[1]);
            sums[row] = vfmaq_n_f32(sums[row], vcvtq_f32_s32(dots), weights.scale * scale);
            if MINS {
                mins[row] = weights.min.mul_add(*input_sum, mins[row]);
            }
        }
    }
    let mut totals = mins;
    for (total, sum) in totals.iter_mut().zip(sums) {
        *total += vaddvq_f32(sum);
    }
    totals
}

/// Takes `bias` off.
#[inline]
#[target_feature(enable = "neon")]
fn signed(quants: [uint8x16_t; 2], bias: i8) -> [int8x16_t; 2] {
    let (left, right) = (vreinterpretq_s8_u8(quants[0]), vreinterpretq_s8_u8(quants[1]));
    [vsubq_s8(left, vdupq_n_s8(bias)), vsubq_s8(right, vdupq_n_s8(bias))]
}

/// The quants of 16 bytes: the low ones, then the high ones.
#[inline]
#[target_feature(enable = "neon")]
fn nibbles(bytes: &[u8; 16]) -> [uint8x16_t; 2] {
    let bytes = load(bytes);
    [vandq_u8(bytes, vdupq_n_u8(0x0f)), vshrq_n_u8::<4>(bytes)]
}

/// Adds bit `i` of `bits` to quant `i`, as its fifth.
#[inline]
#[target_feature(enable = "neon")]
fn fifth_bits(quants: [uint8x16_t; 2], bits: [u8; 4]) -> [uint8x16_t; 2] {
    // Each byte of the bits eight times, then the one bit that counts.
    const SPREAD: [[u8; 16]; 2] =
        [[0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1], [2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3]];
    const ONE: [u8; 16] = [1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128];
    let bits = vreinterpretq_u8_u32(vdupq_n_u32(u32::from_le_bytes(bits)));
    let part = |part: usize| {
        let set = vtstq_u8(vqtbl1q_u8(bits, load(&SPREAD[part])), load(&ONE));
        vorrq_u8(quants[part], vandq_u8(set, vdupq_n_u8(16)))
    };
    [part(0), part(1)]
}
