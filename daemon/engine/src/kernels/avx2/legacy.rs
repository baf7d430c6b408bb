//! One row of activations times rows in formats with blocks of 32.

use std::arch::x86_64::{
    __m256i, _mm256_and_si256, _mm256_cmpeq_epi8, _mm256_cvtepi32_ps, _mm256_fmadd_ps, _mm256_or_si256,
    _mm256_set1_epi8, _mm256_set1_epi32, _mm256_set1_epi64x, _mm256_set1_ps, _mm256_setr_epi64x,
    _mm256_setzero_ps, _mm256_shuffle_epi8, _mm256_srlv_epi64,
};

use slmscope_profiles::format::WeightFormat;

use super::{at, dots, f16, load, load_twice, prefetch, signed_dots, total};
use crate::kernels::activations::Tile;
use crate::kernels::streams::{STREAMS, by_streams};

/// A block of weights.
struct Unpacked {
    /// Unsigned, but for Q8_0.
    quants: __m256i,
    scale: f32,
    /// What is added, the bias of the quants included.
    min: f32,
}

/// One row of activations times rows of weights.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn gemv(format: WeightFormat, rows: &[u8], row_bytes: usize, input: &Tile, out: &mut [f32]) {
    match format {
        WeightFormat::Q4_0 => gemv_blocks::<18, false>(rows, row_bytes, input, out, |block| {
            let scale = f16(block, 0);
            Unpacked { quants: nibbles(at(block, 2)), scale, min: -8.0 * scale }
        }),
        WeightFormat::Q4_1 => gemv_blocks::<20, false>(rows, row_bytes, input, out, |block| Unpacked {
            quants: nibbles(at(block, 4)),
            scale: f16(block, 0),
            min: f16(block, 2),
        }),
        WeightFormat::Q5_0 => gemv_blocks::<22, false>(rows, row_bytes, input, out, |block| {
            let scale = f16(block, 0);
            let quants = _mm256_or_si256(nibbles(at(block, 6)), fifth_bits(*at(block, 2)));
            Unpacked { quants, scale, min: -16.0 * scale }
        }),
        WeightFormat::Q5_1 => gemv_blocks::<24, false>(rows, row_bytes, input, out, |block| Unpacked {
            quants: _mm256_or_si256(nibbles(at(block, 8)), fifth_bits(*at(block, 4))),
            scale: f16(block, 0),
            min: f16(block, 2),
        }),
        WeightFormat::Q8_0 => gemv_blocks::<34, true>(rows, row_bytes, input, out, |block| Unpacked {
            quants: load(at::<32, _>(block, 2)),
            scale: f16(block, 0),
            min: 0.0,
        }),
        _ => unreachable!("formats with blocks of 32"),
    }
}

/// `BYTES` a block.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn gemv_blocks<const BYTES: usize, const SIGNED: bool>(
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
        |rows| products::<STREAMS, BYTES, SIGNED>(rows, input, &unpack),
        |row| products::<1, BYTES, SIGNED>([row], input, &unpack)[0],
    );
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn products<const N: usize, const BYTES: usize, const SIGNED: bool>(
    rows: [&[u8]; N],
    input: &Tile,
    unpack: &impl Fn(&[u8; BYTES]) -> Unpacked,
) -> [f32; N] {
    let (mut sums, mut mins) = ([_mm256_setzero_ps(); N], [0.0_f32; N]);
    let blocks = rows.map(|row| row.as_chunks::<BYTES>().0);
    let inputs = input.quants.iter().zip(&input.scales).zip(&input.sums);
    for (index, ((quants, scale), input_sum)) in inputs.enumerate().take(blocks[0].len()) {
        for row in rows {
            prefetch(row, index * BYTES);
        }
        let quants = load(quants);
        for row in 0..N {
            let weights = unpack(&blocks[row][index]);
            let dots =
                if SIGNED { signed_dots(weights.quants, quants) } else { dots(weights.quants, quants) };
            let scale = _mm256_set1_ps(weights.scale * scale);
            sums[row] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dots), scale, sums[row]);
            if !SIGNED {
                mins[row] = weights.min.mul_add(*input_sum, mins[row]);
            }
        }
    }
    std::array::from_fn(|row| total(sums[row]) + mins[row])
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
