//! One row of activations times rows in formats with blocks of 256.
//!
//! Scales of a block are made for all groups (or halves of groups) at once, and multiplied with those of the
//! activations; quants are unpacked group by group.

use std::arch::aarch64::{
    float32x4_t, int8x16_t, int16x8_t, uint8x16_t, vaddvq_f32, vandq_u8, vcombine_u8, vcreate_u8,
    vcvtq_f32_s32, vdupq_n_f32, vdupq_n_s8, vdupq_n_s32, vdupq_n_u8, vfmaq_f32, vfmaq_n_f32, vget_low_s8,
    vget_low_s16, vget_low_u8, vmovl_high_s8, vmovl_high_s16, vmovl_high_u8, vmovl_s8, vmovl_s16, vmovl_u8,
    vmulq_f32, vmulq_n_f32, vorrq_u8, vreinterpretq_s8_u8, vreinterpretq_s16_u16, vshlq_n_u8, vshlq_u8,
    vshrq_n_u8, vsubq_s8, vzip1q_f32, vzip2q_f32,
};

use slmscope_profiles::format::WeightFormat;

use super::dot::Dot;
use super::{at, f16, load, load_floats, load_signed, store_floats};
use crate::kernels::activations::Tile;
use crate::kernels::k_quants::{six_bit_pairs, three_bit_scales};
use crate::kernels::streams::{STREAMS, by_streams, prefetch};

/// Scales and minimums of the eight groups of a block, or of their sixteen halves.
struct Scales {
    scales: [float32x4_t; 4],
    /// What is added.
    mins: [float32x4_t; 4],
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
    let all = (rows, row_bytes, input);
    match format {
        WeightFormat::Q2K => {
            let (scales, quants) = (|block: &_| q2_k_scales(block), |block: &_, group| q2_k(block, group));
            gemv_blocks::<D, 84, true, true>(dot, all, out, scales, quants);
        }
        WeightFormat::Q3K => {
            let (scales, quants) = (|block: &_| q3_k_scales(block), |block: &_, group| q3_k(block, group));
            gemv_blocks::<D, 110, true, false>(dot, all, out, scales, quants);
        }
        WeightFormat::Q4K => {
            let (scales, quants) = (|block: &[u8; 144]| pairs(block), |block: &_, group| q4_k(block, group));
            gemv_blocks::<D, 144, false, true>(dot, all, out, scales, quants);
        }
        WeightFormat::Q5K => {
            let (scales, quants) = (|block: &[u8; 176]| pairs(block), |block: &_, group| q5_k(block, group));
            gemv_blocks::<D, 176, false, true>(dot, all, out, scales, quants);
        }
        WeightFormat::Q6K => {
            let (scales, quants) = (|block: &_| q6_k_scales(block), |block: &_, group| q6_k(block, group));
            gemv_blocks::<D, 210, true, false>(dot, all, out, scales, quants);
        }
        _ => unreachable!("formats with blocks of 256"),
    }
}

/// `BYTES` a block; `HALVES` if halves of groups have scales of their own, `MINS` if the format has minimums.
#[inline]
#[target_feature(enable = "neon")]
fn gemv_blocks<D: Dot, const BYTES: usize, const HALVES: bool, const MINS: bool>(
    dot: D,
    (rows, row_bytes, input): (&[u8], usize, &Tile),
    out: &mut [f32],
    scales: impl Fn(&[u8; BYTES]) -> Scales,
    quants: impl Fn(&[u8; BYTES], usize) -> [int8x16_t; 2],
) {
    by_streams(
        rows,
        row_bytes,
        out,
        |rows| products::<D, STREAMS, BYTES, HALVES, MINS>(dot, rows, input, &scales, &quants),
        |row| products::<D, 1, BYTES, HALVES, MINS>(dot, [row], input, &scales, &quants)[0],
    );
}

#[inline]
#[target_feature(enable = "neon")]
fn products<D: Dot, const N: usize, const BYTES: usize, const HALVES: bool, const MINS: bool>(
    dot: D,
    rows: [&[u8]; N],
    input: &Tile,
    scales: &impl Fn(&[u8; BYTES]) -> Scales,
    quants: &impl Fn(&[u8; BYTES], usize) -> [int8x16_t; 2],
) -> [f32; N] {
    let mut sums = [vdupq_n_f32(0.0); N];
    let blocks = rows.map(|row| row.as_chunks::<BYTES>().0);
    for index in 0..rows[0].len() / BYTES {
        for row in rows {
            prefetch(row, index * BYTES);
        }
        let first = index * 8;
        let (input_scales, totals) = input_scales::<HALVES>(input, first);
        // Of each row: the products of its scales with those of the activations.
        let mut all = [[0.0; 16]; N];
        for row in 0..N {
            let weights = scales(&blocks[row][index]);
            for part in 0..if HALVES { 4 } else { 2 } {
                let place = all[row].as_chunks_mut::<4>().0;
                store_floats(&mut place[part], vmulq_f32(weights.scales[part], input_scales[part]));
                if MINS {
                    sums[row] = vfmaq_f32(sums[row], weights.mins[part], totals[part]);
                }
            }
        }
        for (group, values) in at::<8, _>(&input.quants, first).iter().enumerate() {
            let values = [load_signed(at(values, 0)), load_signed(at(values, 16))];
            for row in 0..N {
                let [left, right] = quants(&blocks[row][index], group);
                let dots = dot.add(vdupq_n_s32(0), left, values[0]);
                sums[row] = if HALVES {
                    let sum = vfmaq_n_f32(sums[row], vcvtq_f32_s32(dots), all[row][2 * group]);
                    let dots = dot.add(vdupq_n_s32(0), right, values[1]);
                    vfmaq_n_f32(sum, vcvtq_f32_s32(dots), all[row][2 * group + 1])
                } else {
                    let dots = dot.add(dots, right, values[1]);
                    vfmaq_n_f32(sums[row], vcvtq_f32_s32(dots), all[row][group])
                };
            }
        }
    }
    let mut totals = [0.0; N];
    for (total, sum) in totals.iter_mut().zip(sums) {
        *total = vaddvq_f32(sum);
    }
    totals
}

/// Scales and sums of eight blocks of activations from `first` on: scales twice each for `HALVES`.
#[inline]
#[target_feature(enable = "neon")]
fn input_scales<const HALVES: bool>(input: &Tile, first: usize) -> ([float32x4_t; 4], [float32x4_t; 4]) {
    let scales = at::<8, _>(&input.scales, first);
    let (left, right) = (load_floats(at(scales, 0)), load_floats(at(scales, 4)));
    if HALVES {
        let halves = at::<8, _>(&input.halves, first).as_flattened();
        let twice = [
            vzip1q_f32(left, left),
            vzip2q_f32(left, left),
            vzip1q_f32(right, right),
            vzip2q_f32(right, right),
        ];
        let (a, b) = (load_floats(at(halves, 0)), load_floats(at(halves, 4)));
        let (c, d) = (load_floats(at(halves, 8)), load_floats(at(halves, 12)));
        (twice, [a, b, c, d])
    } else {
        let sums = at::<8, _>(&input.sums, first);
        let (none, totals) = (vdupq_n_f32(0.0), [load_floats(at(sums, 0)), load_floats(at(sums, 4))]);
        ([left, right, none, none], [totals[0], totals[1], none, none])
    }
}

#[inline]
#[target_feature(enable = "neon")]
fn q2_k_scales(block: &[u8; 84]) -> Scales {
    let pairs = load(at(block, 0));
    let low = floats(vandq_u8(pairs, vdupq_n_u8(0x0f)));
    let high = floats(vshrq_n_u8::<4>(pairs));
    Scales { scales: times(low, f16(block, 80)), mins: times(high, -f16(block, 82)) }
}

#[inline]
#[target_feature(enable = "neon")]
fn q2_k(block: &[u8; 84], group: usize) -> [int8x16_t; 2] {
    let [left, right] = crumbs(at(block, 16), group);
    [signed(left, 0), signed(right, 0)]
}

#[inline]
#[target_feature(enable = "neon")]
fn q3_k_scales(block: &[u8; 110]) -> Scales {
    let [first, last] = three_bit_scales(&block[96..108]);
    let biased = vcombine_u8(vcreate_u8(first), vcreate_u8(last));
    let scales = signed_floats(signed(biased, 32));
    Scales { scales: times(scales, f16(block, 108)), mins: [vdupq_n_f32(0.0); 4] }
}

#[inline]
#[target_feature(enable = "neon")]
fn q3_k(block: &[u8; 110], group: usize) -> [int8x16_t; 2] {
    let [left, right] = crumbs(at(block, 32), group);
    let (left_bits, right_bits) = (bits(at(block, 0), group), bits(at(block, 16), group));
    [
        signed(vorrq_u8(left, vshlq_n_u8::<2>(left_bits)), 4),
        signed(vorrq_u8(right, vshlq_n_u8::<2>(right_bits)), 4),
    ]
}

#[inline]
#[target_feature(enable = "neon")]
fn q4_k(block: &[u8; 144], group: usize) -> [int8x16_t; 2] {
    let [left, right] = nibbles(at(block, 16), group);
    [signed(left, 0), signed(right, 0)]
}

#[inline]
#[target_feature(enable = "neon")]
fn q5_k(block: &[u8; 176], group: usize) -> [int8x16_t; 2] {
    let [left, right] = nibbles(at(block, 48), group);
    let (left_bits, right_bits) = (bits(at(block, 16), group), bits(at(block, 32), group));
    [
        signed(vorrq_u8(left, vshlq_n_u8::<4>(left_bits)), 0),
        signed(vorrq_u8(right, vshlq_n_u8::<4>(right_bits)), 0),
    ]
}

#[inline]
#[target_feature(enable = "neon")]
fn q6_k_scales(block: &[u8; 210]) -> Scales {
    let scales = signed_floats(signed(load(at(block, 192)), 0));
    Scales { scales: times(scales, f16(block, 208)), mins: [vdupq_n_f32(0.0); 4] }
}

#[inline]
#[target_feature(enable = "neon")]
fn q6_k(block: &[u8; 210], group: usize) -> [int8x16_t; 2] {
    let (part, quarter) = (group / 4, group % 4);
    let (low, high) = (part * 64 + quarter % 2 * 32, 128 + part * 32);
    [
        six_bits(at(block, low), at(block, high), quarter),
        six_bits(at(block, low + 16), at(block, high + 16), quarter),
    ]
}

/// Quants of Q6_K of a quarter of 128: four low bits of one of its halves and two upper ones, without bias.
#[inline]
#[target_feature(enable = "neon")]
fn six_bits(low: &[u8; 16], high: &[u8; 16], quarter: usize) -> int8x16_t {
    let low = vandq_u8(shift_right(load(low), quarter / 2 * 4), vdupq_n_u8(0x0f));
    let high = vandq_u8(shift_right(load(high), quarter * 2), vdupq_n_u8(0x03));
    signed(vorrq_u8(low, vshlq_n_u8::<4>(high)), 32)
}

/// Quants of 2 bits of a group: four groups share 32 bytes.
#[inline]
#[target_feature(enable = "neon")]
fn crumbs(bytes: &[u8; 64], group: usize) -> [uint8x16_t; 2] {
    let (start, shift, mask) = (group / 4 * 32, group % 4 * 2, vdupq_n_u8(0x03));
    let (left, right) = (load(at(bytes, start)), load(at(bytes, start + 16)));
    [vandq_u8(shift_right(left, shift), mask), vandq_u8(shift_right(right, shift), mask)]
}

/// Quants of 4 bits of a group: two groups share 32 bytes.
#[inline]
#[target_feature(enable = "neon")]
fn nibbles(bytes: &[u8; 128], group: usize) -> [uint8x16_t; 2] {
    let (start, shift, mask) = (group / 2 * 32, group % 2 * 4, vdupq_n_u8(0x0f));
    let (left, right) = (load(at(bytes, start)), load(at(bytes, start + 16)));
    [vandq_u8(shift_right(left, shift), mask), vandq_u8(shift_right(right, shift), mask)]
}

/// Bit `group` of each byte.
#[inline]
#[target_feature(enable = "neon")]
fn bits(bytes: &[u8; 16], group: usize) -> uint8x16_t {
    vandq_u8(shift_right(load(bytes), group), vdupq_n_u8(1))
}

/// Shifts each byte.
#[inline]
#[target_feature(enable = "neon")]
fn shift_right(bytes: uint8x16_t, count: usize) -> uint8x16_t {
    vshlq_u8(bytes, vdupq_n_s8(-(count as i8)))
}

/// Takes `bias` off.
#[inline]
#[target_feature(enable = "neon")]
fn signed(quants: uint8x16_t, bias: i8) -> int8x16_t {
    vsubq_s8(vreinterpretq_s8_u8(quants), vdupq_n_s8(bias))
}

/// Scales and minimums of Q4_K and Q5_K, of eight groups.
#[inline]
#[target_feature(enable = "neon")]
fn pairs(block: &[u8]) -> Scales {
    let (scales, mins) = six_bit_pairs(block);
    let of = |bytes| vcombine_u8(vcreate_u8(u64::from_le_bytes(bytes)), vcreate_u8(0));
    Scales { scales: times(floats(of(scales)), f16(block, 0)), mins: times(floats(of(mins)), -f16(block, 2)) }
}

#[inline]
#[target_feature(enable = "neon")]
fn times(values: [float32x4_t; 4], factor: f32) -> [float32x4_t; 4] {
    let [a, b, c, d] = values;
    [vmulq_n_f32(a, factor), vmulq_n_f32(b, factor), vmulq_n_f32(c, factor), vmulq_n_f32(d, factor)]
}

#[inline]
#[target_feature(enable = "neon")]
fn floats(bytes: uint8x16_t) -> [float32x4_t; 4] {
    let (low, high) = (vmovl_u8(vget_low_u8(bytes)), vmovl_high_u8(bytes));
    wide(vreinterpretq_s16_u16(low), vreinterpretq_s16_u16(high))
}

#[inline]
#[target_feature(enable = "neon")]
fn signed_floats(bytes: int8x16_t) -> [float32x4_t; 4] {
    wide(vmovl_s8(vget_low_s8(bytes)), vmovl_high_s8(bytes))
}

#[inline]
#[target_feature(enable = "neon")]
fn wide(low: int16x8_t, high: int16x8_t) -> [float32x4_t; 4] {
    [
        vcvtq_f32_s32(vmovl_s16(vget_low_s16(low))),
        vcvtq_f32_s32(vmovl_high_s16(low)),
        vcvtq_f32_s32(vmovl_s16(vget_low_s16(high))),
        vcvtq_f32_s32(vmovl_high_s16(high)),
    ]
}
