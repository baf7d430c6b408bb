//! One row of activations times rows in formats with blocks of 256.
//!
//! Scales are made for all groups (or halves of groups) at once and spread to their lanes group by group.

use std::arch::x86_64::{
    __m256, __m256i, _mm_cvtsi32_si128, _mm_cvtsi64_si128, _mm256_and_si256, _mm256_cvtepi8_epi32,
    _mm256_cvtepi32_ps, _mm256_cvtepu8_epi32, _mm256_fmadd_ps, _mm256_mul_ps, _mm256_or_si256,
    _mm256_permutevar8x32_ps, _mm256_set1_epi8, _mm256_set1_epi32, _mm256_set1_ps, _mm256_setr_epi32,
    _mm256_setzero_ps, _mm256_setzero_si256, _mm256_slli_epi16, _mm256_srl_epi16, _mm256_srli_epi32,
    _mm256_sub_epi32,
};

use slmscope_profiles::format::WeightFormat;

use super::{at, dots, f16, load, load_floats, total};
use crate::kernels::activations::Tile;
use crate::kernels::k_quants::{six_bit_pairs, three_bit_scales};
use crate::kernels::streams::{STREAMS, by_streams, prefetch};

/// A block of weights. Scales and minimums are those of the eight groups, or of the halves of the first four
/// groups and of the others.
struct Unpacked {
    /// Unsigned.
    quants: [__m256i; 8],
    scales: [__m256; 2],
    /// What is added, the bias of the quants included.
    mins: [__m256; 2],
}

/// One row of activations times rows of weights.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn gemv(format: WeightFormat, rows: &[u8], row_bytes: usize, input: &Tile, out: &mut [f32]) {
    match format {
        WeightFormat::Q2K => gemv_blocks::<84, true>(rows, row_bytes, input, out, |block| q2_k(block)),
        WeightFormat::Q3K => gemv_blocks::<110, true>(rows, row_bytes, input, out, |block| q3_k(block)),
        WeightFormat::Q4K => gemv_blocks::<144, false>(rows, row_bytes, input, out, |block| q4_k(block)),
        WeightFormat::Q5K => gemv_blocks::<176, false>(rows, row_bytes, input, out, |block| q5_k(block)),
        WeightFormat::Q6K => gemv_blocks::<210, true>(rows, row_bytes, input, out, |block| q6_k(block)),
        _ => unreachable!("formats with blocks of 256"),
    }
}

/// `BYTES` a block; `HALVES` if halves of groups have scales of their own.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn gemv_blocks<const BYTES: usize, const HALVES: bool>(
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
        |rows| products::<STREAMS, BYTES, HALVES>(rows, input, &unpack),
        |row| products::<1, BYTES, HALVES>([row], input, &unpack)[0],
    );
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn products<const N: usize, const BYTES: usize, const HALVES: bool>(
    rows: [&[u8]; N],
    input: &Tile,
    unpack: &impl Fn(&[u8; BYTES]) -> Unpacked,
) -> [f32; N] {
    let mut sums = [_mm256_setzero_ps(); N];
    let blocks = rows.map(|row| row.as_chunks::<BYTES>().0);
    for index in 0..rows[0].len() / BYTES {
        for row in rows {
            prefetch(row, index * BYTES);
        }
        let quants = at::<8, _>(&input.quants, index * 8);
        let scales = load_floats(at(&input.scales, index * 8));
        let (scales, totals) = if HALVES {
            let halves = at::<8, _>(&input.halves, index * 8).as_flattened();
            let twice = |from: i32| {
                _mm256_permutevar8x32_ps(
                    scales,
                    _mm256_setr_epi32(from, from, from + 1, from + 1, from + 2, from + 2, from + 3, from + 3),
                )
            };
            ([twice(0), twice(4)], [load_floats(at(halves, 0)), load_floats(at(halves, 8))])
        } else {
            let totals = load_floats(at(&input.sums, index * 8));
            ([scales, _mm256_setzero_ps()], [totals, _mm256_setzero_ps()])
        };
        for (row_sum, blocks) in sums.iter_mut().zip(&blocks) {
            let weights = unpack(&blocks[index]);
            let mut sum = _mm256_fmadd_ps(weights.mins[0], totals[0], *row_sum);
            let mut all = [_mm256_mul_ps(weights.scales[0], scales[0]); 2];
            if HALVES {
                sum = _mm256_fmadd_ps(weights.mins[1], totals[1], sum);
                all[1] = _mm256_mul_ps(weights.scales[1], scales[1]);
            }
            for group in 0..8 {
                let dots = dots(weights.quants[group], load(&quants[group]));
                let (from, left, right) = if HALVES {
                    (all[group / 4], group as i32 % 4 * 2, group as i32 % 4 * 2 + 1)
                } else {
                    (all[0], group as i32, group as i32)
                };
                let lanes = _mm256_setr_epi32(left, left, left, left, right, right, right, right);
                let scale = _mm256_permutevar8x32_ps(from, lanes);
                sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dots), scale, sum);
            }
            *row_sum = sum;
        }
    }
    sums.map(|sum| total(sum))
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn q2_k(block: &[u8; 84]) -> Unpacked {
    let quants = crumbs(at(block, 16));
    let pairs = [0, 8].map(|start| wide(*at(block, start)));
    let (scale, min) = (_mm256_set1_ps(f16(block, 80)), _mm256_set1_ps(-f16(block, 82)));
    let low = _mm256_set1_epi32(0x0f);
    let scales = pairs.map(|pairs| _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_and_si256(pairs, low)), scale));
    let mins = pairs.map(|pairs| _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_srli_epi32::<4>(pairs)), min));
    Unpacked { quants, scales, mins }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn q3_k(block: &[u8; 110]) -> Unpacked {
    let (low, high) = (crumbs(at(block, 32)), load(at::<32, _>(block, 0)));
    let mut quants = low;
    for (group, quants) in quants.iter_mut().enumerate() {
        let third = _mm256_and_si256(shift_right(high, group), _mm256_set1_epi8(1));
        *quants = _mm256_or_si256(*quants, _mm256_slli_epi16::<2>(third));
    }
    let scale = _mm256_set1_ps(f16(block, 108));
    let scales = three_bit_scales(&block[96..108]).map(|biased| {
        let scales = _mm256_sub_epi32(wide(biased.to_le_bytes()), _mm256_set1_epi32(32));
        _mm256_mul_ps(_mm256_cvtepi32_ps(scales), scale)
    });
    Unpacked { quants, scales, mins: scales.map(|scales| _mm256_mul_ps(scales, _mm256_set1_ps(-4.0))) }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn q4_k(block: &[u8; 144]) -> Unpacked {
    let (scales, mins) = six_bits(block);
    Unpacked { quants: nibbles(at(block, 16)), scales, mins }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn q5_k(block: &[u8; 176]) -> Unpacked {
    let (low, high) = (nibbles(at(block, 48)), load(at::<32, _>(block, 16)));
    let mut quants = low;
    for (group, quants) in quants.iter_mut().enumerate() {
        let fifth = _mm256_and_si256(shift_right(high, group), _mm256_set1_epi8(1));
        *quants = _mm256_or_si256(*quants, _mm256_slli_epi16::<4>(fifth));
    }
    let (scales, mins) = six_bits(block);
    Unpacked { quants, scales, mins }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn q6_k(block: &[u8; 210]) -> Unpacked {
    let mut quants = [_mm256_setzero_si256(); 8];
    for (group, quants) in quants.iter_mut().enumerate() {
        let (half, part) = (group / 4, group % 4);
        let low = load(at::<32, _>(block, half * 64 + part % 2 * 32));
        let high = load(at::<32, _>(block, 128 + half * 32));
        let low = _mm256_and_si256(shift_right(low, part / 2 * 4), _mm256_set1_epi8(0x0f));
        let high = _mm256_and_si256(shift_right(high, part * 2), _mm256_set1_epi8(0x03));
        *quants = _mm256_or_si256(low, _mm256_slli_epi16::<4>(high));
    }
    let scale = _mm256_set1_ps(f16(block, 208));
    let scales = [192, 200].map(|start| _mm256_mul_ps(wide_signed(*at(block, start)), scale));
    Unpacked { quants, scales, mins: scales.map(|scales| _mm256_mul_ps(scales, _mm256_set1_ps(-32.0))) }
}

/// Quants of 2 bits of eight groups: four groups share 32 bytes.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn crumbs(bytes: &[u8; 64]) -> [__m256i; 8] {
    let mut quants = [_mm256_setzero_si256(); 8];
    for (group, quants) in quants.iter_mut().enumerate() {
        let bytes = load(at::<32, _>(bytes, group / 4 * 32));
        *quants = _mm256_and_si256(shift_right(bytes, group % 4 * 2), _mm256_set1_epi8(0x03));
    }
    quants
}

/// Quants of 4 bits of eight groups: two groups share 32 bytes.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn nibbles(bytes: &[u8; 128]) -> [__m256i; 8] {
    let mut quants = [_mm256_setzero_si256(); 8];
    for (group, quants) in quants.iter_mut().enumerate() {
        let bytes = load(at::<32, _>(bytes, group / 2 * 32));
        *quants = _mm256_and_si256(shift_right(bytes, group % 2 * 4), _mm256_set1_epi8(0x0f));
    }
    quants
}

/// Shifts 16-bit words.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn shift_right(words: __m256i, count: usize) -> __m256i {
    _mm256_srl_epi16(words, _mm_cvtsi32_si128(count as i32))
}

/// Scales and minimums of Q4_K and Q5_K.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn six_bits(block: &[u8]) -> ([__m256; 2], [__m256; 2]) {
    let (scales, mins) = six_bit_pairs(block);
    let scales = _mm256_mul_ps(_mm256_cvtepi32_ps(wide(scales)), _mm256_set1_ps(f16(block, 0)));
    let mins = _mm256_mul_ps(_mm256_cvtepi32_ps(wide(mins)), _mm256_set1_ps(-f16(block, 2)));
    ([scales, _mm256_setzero_ps()], [mins, _mm256_setzero_ps()])
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn wide(bytes: [u8; 8]) -> __m256i {
    _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(i64::from_le_bytes(bytes)))
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn wide_signed(bytes: [u8; 8]) -> __m256 {
    _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_cvtsi64_si128(i64::from_le_bytes(bytes))))
}
