//! Products with AVX-512: int8 dot products of VNNI for block formats, FMA for plain ones.
//!
//! VNNI multiplies unsigned bytes with signed ones, so weights are kept unsigned. That adds their bias times the sum
//! of the activations, which is subtracted again, where possible in the integers: a dot product starts at minus that
//! number instead of 0.
//!
//! All functions here need the features that [`super::Isa::Avx512Vnni`] stands for; `dq`, `vl`, `vbmi` and
//! `vnni` imply the others.

mod k_quants;
mod legacy;
mod plain;
mod q4_0;
mod tile;

use std::arch::x86_64::{
    __m256i, __m512, __m512i, _mm256_loadu_si256, _mm512_loadu_ps, _mm512_loadu_si512, _mm512_mask_storeu_ps,
    _mm512_maskz_loadu_epi8, _mm512_maskz_loadu_ps, _mm512_storeu_si512,
};

use slmscope_profiles::format::WeightFormat;

use super::activations::{Activations, Tile};
use super::blocks::{self, by_family, with_block};
use super::output::Columns;
use super::panel::Scratch;

/// One row of activations times rows of weights.
#[target_feature(enable = "avx512dq,avx512vl,avx512vbmi,avx512vnni")]
pub(super) fn gemv(format: WeightFormat, rows: &[u8], row_bytes: usize, input: &Tile, out: &mut [f32]) {
    by_family!(
        format,
        q4_0 => q4_0::gemv(rows, row_bytes, input, out),
        plain => plain::gemv(format, rows, row_bytes, input, out),
        legacy => legacy::gemv(format, rows, row_bytes, input, out),
        k_quants => k_quants::gemv(format, rows, row_bytes, input, out),
    );
}

/// Values of whole blocks.
#[target_feature(enable = "avx512dq,avx512vl,avx512vbmi,avx512vnni")]
pub(super) fn dequantize(format: WeightFormat, bytes: &[u8], out: &mut [f32]) {
    blocks::dequantize(format, bytes, out);
}

/// Rows of activations times rows of weights.
#[target_feature(enable = "avx512dq,avx512vl,avx512vbmi,avx512vnni")]
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

/// 64 bytes.
#[inline]
#[target_feature(enable = "avx512f")]
#[expect(unsafe_code, reason = "a load")]
fn load<B: Byte>(bytes: &[B; 64]) -> __m512i {
    // SAFETY: as many bytes as are read; no alignment is needed.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
#[expect(unsafe_code, reason = "a load")]
fn load_half(bytes: &[u8; 32]) -> __m256i {
    // SAFETY: as many bytes as are read; no alignment is needed.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
#[expect(unsafe_code, reason = "a store")]
fn store(out: &mut [u8; 64], value: __m512i) {
    // SAFETY: as many bytes as are written; no alignment is needed.
    unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), value) }
}

#[inline]
#[target_feature(enable = "avx512f")]
#[expect(unsafe_code, reason = "a load")]
fn load_floats(values: &[f32; 16]) -> __m512 {
    // SAFETY: as many values as are read; no alignment is needed.
    unsafe { _mm512_loadu_ps(values.as_ptr()) }
}

/// Up to 64 bytes, then zeroes.
#[inline]
#[target_feature(enable = "avx512bw")]
#[expect(unsafe_code, reason = "a load")]
fn load_some<B: Byte>(bytes: &[B]) -> __m512i {
    let mask = u64::MAX.checked_shr(64 - bytes.len().min(64) as u32).unwrap_or(0);
    // SAFETY: bytes beyond the slice are masked out, which neither reads them nor faults.
    unsafe { _mm512_maskz_loadu_epi8(mask, bytes.as_ptr().cast()) }
}

/// Up to 64 bytes from `start` on, then zeroes. Of nothing, nothing is loaded where `bytes` lie: at an address
/// without memory a load costs hundreds of cycles even if all of it is masked out.
#[inline]
#[target_feature(enable = "avx512bw")]
fn load_from<B: Byte>(bytes: &[B], start: usize) -> __m512i {
    load_some(bytes.get(start..).unwrap_or(&bytes[..0]))
}

/// Up to 16 values, then zeroes.
#[inline]
#[target_feature(enable = "avx512f")]
#[expect(unsafe_code, reason = "a load")]
fn load_some_floats(values: &[f32]) -> __m512 {
    let mask = ((1_u32 << values.len().min(16)) - 1) as u16;
    // SAFETY: values beyond the slice are masked out, which neither reads them nor faults.
    unsafe { _mm512_maskz_loadu_ps(mask, values.as_ptr()) }
}

/// Writes the first values, as many as `out` has room for.
#[inline]
#[target_feature(enable = "avx512f")]
#[expect(unsafe_code, reason = "a store")]
fn store_some_floats(out: &mut [f32], values: __m512) {
    let mask = ((1_u32 << out.len().min(16)) - 1) as u16;
    // SAFETY: places beyond the slice are masked out, which neither writes them nor faults.
    unsafe { _mm512_mask_storeu_ps(out.as_mut_ptr(), mask, values) }
}

/// `N` values of `values` from `start` on.
#[inline(always)]
fn at<const N: usize, T>(values: &[T], start: usize) -> &[T; N] {
    values[start..].first_chunk().expect("arrays are long enough for what is read of them")
}
