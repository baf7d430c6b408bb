//! Products with weights stored in f32, f16 or bf16.

use std::arch::x86_64::{
    __m512, __m512i, _mm512_add_ps, _mm512_castsi512_ps, _mm512_castsi512_si256, _mm512_cvtepu16_epi32,
    _mm512_cvtph_ps, _mm512_fmadd_ps, _mm512_reduce_add_ps, _mm512_set1_ps, _mm512_setzero_ps,
    _mm512_slli_epi32,
};

use slmscope_profiles::format::WeightFormat;

use super::{at, load_floats, load_some, load_some_floats, store_some_floats};
use crate::kernels::activations::{Activations, TILE, Tile};
use crate::kernels::output::Columns;
use crate::kernels::panel::{self, PANEL};
use crate::kernels::plain::plain_gemm;
use crate::kernels::streams::{STREAMS, by_streams, prefetch};

/// Columns of a step.
const STEP: usize = 16;

/// One row of activations times rows of weights.
#[target_feature(enable = "avx512dq,avx512vl,avx512vbmi,avx512vnni")]
pub(super) fn gemv(format: WeightFormat, rows: &[u8], row_bytes: usize, input: &Tile, out: &mut [f32]) {
    match format {
        WeightFormat::F16 => gemv_steps::<2>(rows, row_bytes, input, out, |bytes| {
            _mm512_cvtph_ps(_mm512_castsi512_si256(bytes))
        }),
        WeightFormat::Bf16 => gemv_steps::<2>(rows, row_bytes, input, out, |bytes| {
            let words = _mm512_cvtepu16_epi32(_mm512_castsi512_si256(bytes));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(words))
        }),
        _ => gemv_steps::<4>(rows, row_bytes, input, out, |bytes| _mm512_castsi512_ps(bytes)),
    }
}

/// `BYTES` an element; `widen` gets sixteen of them.
#[inline]
#[target_feature(enable = "avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn gemv_steps<const BYTES: usize>(
    rows: &[u8],
    row_bytes: usize,
    input: &Tile,
    out: &mut [f32],
    widen: impl Fn(__m512i) -> __m512,
) {
    let values = &input.values[..row_bytes / BYTES];
    by_streams(
        rows,
        row_bytes,
        out,
        |rows| dots::<STREAMS, BYTES>(rows, values, &widen),
        |row| dots::<1, BYTES>([row], values, &widen)[0],
    );
}

#[inline]
#[target_feature(enable = "avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn dots<const N: usize, const BYTES: usize>(
    rows: [&[u8]; N],
    values: &[f32],
    widen: &impl Fn(__m512i) -> __m512,
) -> [f32; N] {
    // Even and odd steps, so that additions wait less for each other.
    let mut sums = [[_mm512_setzero_ps(); 2]; N];
    let (pairs, rest) = values.as_chunks::<{ 2 * STEP }>();
    for (index, values) in pairs.iter().enumerate() {
        for row in rows {
            prefetch(row, index * 2 * STEP * BYTES);
        }
        for step in 0..2 {
            let values = load_floats(at(values, step * STEP));
            for (sums, row) in sums.iter_mut().zip(&rows) {
                let bytes = &row[(2 * index + step) * STEP * BYTES..][..STEP * BYTES];
                sums[step] = _mm512_fmadd_ps(widen(load_some(bytes)), values, sums[step]);
            }
        }
    }
    for (index, values) in rest.chunks(STEP).enumerate() {
        let start = (2 * pairs.len() + index) * STEP * BYTES;
        for (sums, row) in sums.iter_mut().zip(&rows) {
            let bytes = load_some(&row[start..][..values.len() * BYTES]);
            sums[0] = _mm512_fmadd_ps(widen(bytes), load_some_floats(values), sums[0]);
        }
    }
    sums.map(|[even, odd]| _mm512_reduce_add_ps(_mm512_add_ps(even, odd)))
}

plain_gemm!("avx512dq,avx512vl,avx512vbmi,avx512vnni", TILE, 8, 4, 2);

/// Multiplies `N` rows of a tile from `first` on with a panel. Returns how many these are.
#[inline]
#[target_feature(enable = "avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn part<const N: usize>(
    panel: &[[f32; PANEL]],
    tile: &Tile,
    first: usize,
    place: panel::Place,
    out: &mut Columns<'_>,
) -> usize {
    let mut sums = [_mm512_setzero_ps(); N];
    for (weights, values) in panel.iter().zip(tile.values.chunks_exact(tile.rows)) {
        let (weights, values) = (load_floats(weights), at::<N, _>(values, first));
        for (sum, value) in sums.iter_mut().zip(values) {
            *sum = _mm512_fmadd_ps(weights, _mm512_set1_ps(*value), *sum);
        }
    }
    for (row, sum) in sums.into_iter().enumerate() {
        let out = &mut out.row_mut(place.row + first + row)[place.column..][..place.width];
        store_some_floats(out, sum);
    }
    N
}
