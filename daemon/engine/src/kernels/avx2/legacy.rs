//! One row of activations times rows in formats with blocks of 32.

use std::arch::x86_64::{
    __m128, __m256i, _mm_cvtph_ps, _mm_cvtsi32_si128, _mm_cvtss_f32, _mm_fmadd_ps, _mm_movehdup_ps,
    _mm_mul_ss, _mm_set_ss, _mm_setr_ps, _mm_setzero_ps, _mm256_and_si256, _mm256_broadcastss_ps,
    _mm256_cmpeq_epi8, _mm256_cvtepi32_ps, _mm256_fmadd_ps, _mm256_or_si256, _mm256_set1_epi8,
    _mm256_set1_epi32, _mm256_set1_epi64x, _mm256_setr_epi64x, _mm256_setzero_ps, _mm256_shuffle_epi8,
    _mm256_srlv_epi64, _mm256_sub_epi32,
};

use slmscope_profiles::format::WeightFormat;

use super::{at, dots, load, load_twice, signed_dots, total};
use crate::kernels::activations::Tile;
use crate::kernels::streams::{STREAMS, by_streams, prefetch};

/// The bias of quants that are signed.
const SIGNED: i8 = i8::MIN;

/// A block of weights.
struct Unpacked {
    /// Unsigned, but for Q8_0.
    quants: __m256i,
    /// The scale, then the minimum of formats that have one.
    numbers: __m128,
}

/// One row of activations times rows of weights.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn gemv(format: WeightFormat, rows: &[u8], row_bytes: usize, input: &Tile, out: &mut [f32]) {
    match format {
        WeightFormat::Q4_0 => gemv_blocks::<18, 8>(rows, row_bytes, input, out, |block| Unpacked {
            quants: nibbles(at(block, 2)),
            numbers: one(*at(block, 0)),
        }),
        WeightFormat::Q4_1 => gemv_blocks::<20, 0>(rows, row_bytes, input, out, |block| Unpacked {
            quants: nibbles(at(block, 4)),
            numbers: two(*at(block, 0)),
        }),
        WeightFormat::Q5_0 => gemv_blocks::<22, 16>(rows, row_bytes, input, out, |block| Unpacked {
            quants: _mm256_or_si256(nibbles(at(block, 6)), fifth_bits(*at(block, 2))),
            numbers: one(*at(block, 0)),
        }),
        WeightFormat::Q5_1 => gemv_blocks::<24, 0>(rows, row_bytes, input, out, |block| Unpacked {
            quants: _mm256_or_si256(nibbles(at(block, 8)), fifth_bits(*at(block, 4))),
            numbers: two(*at(block, 0)),
        }),
        WeightFormat::Q8_0 => gemv_blocks::<34, SIGNED>(rows, row_bytes, input, out, |block| Unpacked {
            quants: load(at::<32, _>(block, 2)),
            numbers: one(*at(block, 0)),
        }),
        _ => unreachable!("formats with blocks of 32"),
    }
}

/// `BYTES` a block, `BIAS` is what is to be taken from its quants; 0 means minimums.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn gemv_blocks<const BYTES: usize, const BIAS: i8>(
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
        |rows| products::<STREAMS, BYTES, BIAS>(rows, input, &unpack),
        |row| products::<1, BYTES, BIAS>([row], input, &unpack)[0],
    );
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn products<const N: usize, const BYTES: usize, const BIAS: i8>(
    rows: [&[u8]; N],
    input: &Tile,
    unpack: &impl Fn(&[u8; BYTES]) -> Unpacked,
) -> [f32; N] {
    let (mut sums, mut mins) = ([_mm256_setzero_ps(); N], [_mm_setzero_ps(); N]);
    let blocks = rows.map(|row| row.as_chunks::<BYTES>().0);
    let inputs = input.quants.iter().zip(&input.scales).zip(&input.sums);
    for (index, ((quants, scale), input_sum)) in inputs.enumerate().take(blocks[0].len()) {
        for row in rows {
            prefetch(row, index * BYTES);
        }
        let (quants, scale) = (load(quants), _mm_set_ss(*scale));
        let bias = dots(_mm256_set1_epi8(BIAS.max(0)), quants);
        // Where the minimum is among the numbers of a block.
        let sum = _mm_setr_ps(0.0, *input_sum, 0.0, 0.0);
        for row in 0..N {
            let weights = unpack(&blocks[row][index]);
            let dots = match BIAS {
                SIGNED => signed_dots(weights.quants, quants),
                0 => dots(weights.quants, quants),
                _ => _mm256_sub_epi32(dots(weights.quants, quants), bias),
            };
            let scale = _mm256_broadcastss_ps(_mm_mul_ss(weights.numbers, scale));
            sums[row] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dots), scale, sums[row]);
            if BIAS == 0 {
                mins[row] = _mm_fmadd_ps(weights.numbers, sum, mins[row]);
            }
        }
    }
    std::array::from_fn(|row| total(sums[row]) + _mm_cvtss_f32(_mm_movehdup_ps(mins[row])))
}

/// An f16, then zeroes.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn one(bytes: [u8; 2]) -> __m128 {
    _mm_cvtph_ps(_mm_cvtsi32_si128(i32::from(u16::from_le_bytes(bytes))))
}

/// Two f16, then zeroes.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn two(bytes: [u8; 4]) -> __m128 {
    _mm_cvtph_ps(_mm_cvtsi32_si128(i32::from_le_bytes(bytes)))
}

/// The quants of 16 bytes: the low ones, then the high ones.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn nibbles(bytes: &[u8; 16]) -> __m256i {
    let bytes = load_twice(bytes);
    let shifted = _mm256_srlv_epi64(bytes, _mm256_setr_epi64x(0, 0, 4, 4));
    _mm256_and_si256(shifted, _mm256_set1_epi8(0x0f))
}

/// 16 where bit `i` is set, for each `i`.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn fifth_bits(bits: [u8; 4]) -> __m256i {
    // Each byte of the bits eight times, then the one bit that counts.
    let spread = _mm256_setr_epi64x(0, 0x0101_0101_0101_0101, 0x0202_0202_0202_0202, 0x0303_0303_0303_0303);
    let bytes = _mm256_shuffle_epi8(_mm256_set1_epi32(i32::from_le_bytes(bits)), spread);
    let one = _mm256_set1_epi64x(0x8040_2010_0804_0201_u64 as i64);
    let set = _mm256_cmpeq_epi8(_mm256_and_si256(bytes, one), one);
    _mm256_and_si256(set, _mm256_set1_epi8(16))
}
