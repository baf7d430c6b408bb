//! Products with AVX2: int8 dot products of two steps for block formats, FMA for plain ones.
//!
//! The first step multiplies unsigned bytes with signed ones and adds pairs in 16 bits, where quants of up to 7
//! bits fit. Those of 8 bits are multiplied by their size, with the sign moved to the activation.

mod k_quants;
mod legacy;
mod plain;
mod tile;

use std::arch::x86_64::{
    __m256, __m256i, _mm_add_ps, _mm_add_ss, _mm_cvtph_ps, _mm_cvtsi32_si128, _mm_cvtss_f32, _mm_loadu_si128,
    _mm_movehdup_ps, _mm_movehl_ps, _mm256_abs_epi8, _mm256_broadcastsi128_si256, _mm256_castps256_ps128,
    _mm256_extractf128_ps, _mm256_loadu_ps, _mm256_loadu_si256, _mm256_madd_epi16, _mm256_maddubs_epi16,
    _mm256_set1_epi16, _mm256_sign_epi8, _mm256_storeu_ps,
};

use slmscope_profiles::format::WeightFormat;

use super::activations::{Activations, Tile};
use super::blocks::{self, by_family, with_block};
use super::output::Columns;
use super::panel::Scratch;

/// One row of activations times rows of weights.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn gemv(format: WeightFormat, rows: &[u8], row_bytes: usize, input: &Tile, out: &mut [f32]) {
    by_family!(
        format,
        plain => plain::gemv(format, rows, row_bytes, input, out),
        legacy => legacy::gemv(format, rows, row_bytes, input, out),
        k_quants => k_quants::gemv(format, rows, row_bytes, input, out),
    );
}

/// Values of whole blocks.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn dequantize(format: WeightFormat, bytes: &[u8], out: &mut [f32]) {
    blocks::dequantize(format, bytes, out);
}

/// Rows of activations times rows of weights.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn gemm(
    format: WeightFormat,
    rows: &[u8],
    row_bytes: usize,
    input: &Activations,
    out: &mut Columns<'_>,
    scratch: &mut Scratch,
) {
    with_block!(
        format,
        B => tile::gemm::<B>(rows, row_bytes, input, out, &mut scratch.records),
        plain => plain::gemm(format, rows, row_bytes, input, out, &mut scratch.values)
    );
}

/// A byte, signed or not.
trait Byte {}
impl Byte for u8 {}
impl Byte for i8 {}

/// 32 bytes.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
#[expect(unsafe_code, reason = "a load")]
fn load<B: Byte>(bytes: &[B; 32]) -> __m256i {
    // SAFETY: as many bytes as are read; no alignment is needed.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

/// 16 bytes, in both lanes.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
#[expect(unsafe_code, reason = "a load")]
fn load_twice(bytes: &[u8; 16]) -> __m256i {
    // SAFETY: as many bytes as are read; no alignment is needed.
    _mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) })
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
#[expect(unsafe_code, reason = "a load")]
fn load_floats(values: &[f32; 8]) -> __m256 {
    // SAFETY: as many values as are read; no alignment is needed.
    unsafe { _mm256_loadu_ps(values.as_ptr()) }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
#[expect(unsafe_code, reason = "a store")]
fn store_floats(out: &mut [f32; 8], values: __m256) {
    // SAFETY: as many values as are written; no alignment is needed.
    unsafe { _mm256_storeu_ps(out.as_mut_ptr(), values) }
}

/// `N` values of `values` from `start` on.
#[inline(always)]
fn at<const N: usize, T>(values: &[T], start: usize) -> &[T; N] {
    values[start..].first_chunk().expect("arrays are long enough for what is read of them")
}

/// The f16 at `at`.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn f16(block: &[u8], at: usize) -> f32 {
    let bits = u16::from_le_bytes([block[at], block[at + 1]]);
    _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(i32::from(bits))))
}

/// Adds up the values of a register.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn total(values: __m256) -> f32 {
    let four = _mm_add_ps(_mm256_castps256_ps128(values), _mm256_extractf128_ps::<1>(values));
    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
}

/// Dot products of four neighbours each, of unsigned `weights` of up to 7 bits.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn dots(weights: __m256i, quants: __m256i) -> __m256i {
    _mm256_madd_epi16(_mm256_maddubs_epi16(weights, quants), _mm256_set1_epi16(1))
}

/// Dot products of four neighbours each, of signed `weights`.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn signed_dots(weights: __m256i, quants: __m256i) -> __m256i {
    dots(_mm256_abs_epi8(weights), _mm256_sign_epi8(quants, weights))
}
