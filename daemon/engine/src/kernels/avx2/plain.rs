//! Products with weights stored in f32, f16 or bf16.

use std::arch::x86_64::{
    __m128i, __m256, _mm256_add_ps, _mm256_castsi256_ps, _mm256_castsi256_si128, _mm256_cvtepu16_epi32,
    _mm256_cvtph_ps, _mm256_fmadd_ps, _mm256_set1_ps, _mm256_setzero_ps, _mm256_slli_epi32,
};

use slmscope_profiles::format::WeightFormat;

use super::{at, load_floats, store_floats, total};
use crate::kernels::activations::{Activations, Tile};
use crate::kernels::blocks::widen;
use crate::kernels::output::Columns;
use crate::kernels::panel::{self, PANEL};
use crate::kernels::plain::plain_gemm;
use crate::kernels::streams::{STREAMS, by_streams, prefetch};

/// Columns of a step.
const STEP: usize = 8;

/// One row of activations times rows of weights.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn gemv(format: WeightFormat, rows: &[u8], row_bytes: usize, input: &Tile, out: &mut [f32]) {
    match format {
        WeightFormat::F16 => gemv_steps::<{ 2 * STEP }>(format, rows, row_bytes, input, out, |bytes| {
            _mm256_cvtph_ps(load_128(bytes))
        }),
        WeightFormat::Bf16 => gemv_steps::<{ 2 * STEP }>(format, rows, row_bytes, input, out, |bytes| {
            let words = _mm256_cvtepu16_epi32(load_128(bytes));
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(words))
        }),
        _ => gemv_steps::<{ 4 * STEP }>(format, rows, row_bytes, input, out, |bytes| {
            _mm256_castsi256_ps(super::load(bytes))
        }),
    }
}

/// `BYTES` a step; `widen_step` gets that many.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn gemv_steps<const BYTES: usize>(
    format: WeightFormat,
    rows: &[u8],
    row_bytes: usize,
    input: &Tile,
    out: &mut [f32],
    widen_step: impl Fn(&[u8; BYTES]) -> __m256,
) {
    let values = &input.values[..row_bytes * STEP / BYTES];
    by_streams(
        rows,
        row_bytes,
        out,
        |rows| products::<STREAMS, BYTES>(format, rows, values, &widen_step),
        |row| products::<1, BYTES>(format, [row], values, &widen_step)[0],
    );
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn products<const N: usize, const BYTES: usize>(
    format: WeightFormat,
    rows: [&[u8]; N],
    values: &[f32],
    widen_step: &impl Fn(&[u8; BYTES]) -> __m256,
) -> [f32; N] {
    // Even and odd steps, so that additions wait less for each other.
    let mut sums = [[_mm256_setzero_ps(); 2]; N];
    let steps = rows.map(|row| row.as_chunks::<BYTES>());
    let (values, rest) = values.as_chunks::<STEP>();
    for (index, values) in values.iter().enumerate() {
        for row in rows {
            prefetch(row, index * BYTES);
        }
        let values = load_floats(values);
        for (sums, (steps, _)) in sums.iter_mut().zip(&steps) {
            sums[index % 2] = _mm256_fmadd_ps(widen_step(&steps[index]), values, sums[index % 2]);
        }
    }
    std::array::from_fn(|row| {
        let [even, odd] = sums[row];
        let mut widened = [0.0; STEP];
        widen(format, steps[row].1, &mut widened);
        let rest = widened.iter().zip(rest).fold(0.0, |sum, (weight, value)| sum + weight * value);
        total(_mm256_add_ps(even, odd)) + rest
    })
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn load_128<const BYTES: usize>(bytes: &[u8; BYTES]) -> __m128i {
    _mm256_castsi256_si128(super::load_twice(at(bytes, 0)))
}

plain_gemm!("avx2,fma,f16c", 4, 2);

/// Multiplies `N` rows of a tile from `first` on with a panel. Returns how many these are.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn part<const N: usize>(
    panel: &[[f32; PANEL]],
    tile: &Tile,
    first: usize,
    place: panel::Place,
    out: &mut Columns<'_>,
) -> usize {
    let mut sums = [[_mm256_setzero_ps(); 2]; N];
    for (weights, values) in panel.iter().zip(tile.values.chunks_exact(tile.rows)) {
        let (left, right) = (load_floats(at(weights, 0)), load_floats(at(weights, 8)));
        for ([first, second], value) in sums.iter_mut().zip(at::<N, _>(values, first)) {
            let value = _mm256_set1_ps(*value);
            *first = _mm256_fmadd_ps(left, value, *first);
            *second = _mm256_fmadd_ps(right, value, *second);
        }
    }
    for (row, sums) in sums.into_iter().enumerate() {
        let mut values = [[0.0; 8]; 2];
        values.iter_mut().zip(sums).for_each(|(values, sums)| store_floats(values, sums));
        let out = &mut out.row_mut(place.row + first + row)[place.column..][..place.width];
        out.copy_from_slice(&values.as_flattened()[..place.width]);
    }
    N
}
