//! Products with weights stored in f32, f16 or bf16.

use std::arch::aarch64::{
    float32x4_t, vaddq_f32, vaddvq_f32, vdupq_n_f32, vfmaq_f32, vfmaq_n_f32, vget_high_u16, vget_low_u16,
    vreinterpretq_f32_u8, vreinterpretq_f32_u32, vreinterpretq_u16_u8, vshll_high_n_u16, vshll_n_u16,
};

use slmscope_profiles::format::WeightFormat;

use super::{at, load, load_floats, store_floats, widen_f16};
use crate::kernels::activations::{Activations, Tile};
use crate::kernels::blocks::widen;
use crate::kernels::output::Columns;
use crate::kernels::panel::{self, PANEL};
use crate::kernels::plain::plain_gemm;
use crate::kernels::streams::{STREAMS, by_streams, prefetch};

/// Columns of a step.
const STEP: usize = 8;

/// One row of activations times rows of weights.
#[target_feature(enable = "neon")]
pub(super) fn gemv(format: WeightFormat, rows: &[u8], row_bytes: usize, input: &Tile, out: &mut [f32]) {
    match format {
        WeightFormat::F16 => gemv_steps::<{ 2 * STEP }>(format, rows, row_bytes, input, out, |bytes| {
            let halves = vreinterpretq_u16_u8(load(bytes));
            [widen_f16(vget_low_u16(halves)), widen_f16(vget_high_u16(halves))]
        }),
        WeightFormat::Bf16 => gemv_steps::<{ 2 * STEP }>(format, rows, row_bytes, input, out, |bytes| {
            let halves = vreinterpretq_u16_u8(load(bytes));
            let (low, high) = (vshll_n_u16::<16>(vget_low_u16(halves)), vshll_high_n_u16::<16>(halves));
            [vreinterpretq_f32_u32(low), vreinterpretq_f32_u32(high)]
        }),
        _ => gemv_steps::<{ 4 * STEP }>(format, rows, row_bytes, input, out, |bytes| {
            [vreinterpretq_f32_u8(load(at(bytes, 0))), vreinterpretq_f32_u8(load(at(bytes, 16)))]
        }),
    }
}

/// `BYTES` a step; `widen_step` gets that many.
#[inline]
#[target_feature(enable = "neon")]
fn gemv_steps<const BYTES: usize>(
    format: WeightFormat,
    rows: &[u8],
    row_bytes: usize,
    input: &Tile,
    out: &mut [f32],
    widen_step: impl Fn(&[u8; BYTES]) -> [float32x4_t; 2],
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
#[target_feature(enable = "neon")]
fn products<const N: usize, const BYTES: usize>(
    format: WeightFormat,
    rows: [&[u8]; N],
    values: &[f32],
    widen_step: &impl Fn(&[u8; BYTES]) -> [float32x4_t; 2],
) -> [f32; N] {
    // Of the two halves of steps, so that additions wait less for each other.
    let mut sums = [[vdupq_n_f32(0.0); 2]; N];
    let steps = rows.map(|row| row.as_chunks::<BYTES>());
    let (values, rest) = values.as_chunks::<STEP>();
    for (index, values) in values.iter().enumerate() {
        for row in rows {
            prefetch(row, index * BYTES);
        }
        let values = [load_floats(at(values, 0)), load_floats(at(values, 4))];
        for (sums, (steps, _)) in sums.iter_mut().zip(&steps) {
            let weights = widen_step(&steps[index]);
            for ((sum, weights), values) in sums.iter_mut().zip(weights).zip(values) {
                *sum = vfmaq_f32(*sum, weights, values);
            }
        }
    }
    let mut totals = [0.0; N];
    for ((total, sums), (_, last)) in totals.iter_mut().zip(sums).zip(steps) {
        let mut widened = [0.0; STEP];
        widen(format, last, &mut widened);
        let rest = widened.iter().zip(rest).fold(0.0, |sum, (weight, value)| sum + weight * value);
        *total = vaddvq_f32(vaddq_f32(sums[0], sums[1])) + rest;
    }
    totals
}

plain_gemm!("neon", 4, 2);

/// Multiplies `N` rows of a tile from `first` on with a panel. Returns how many these are.
#[inline]
#[target_feature(enable = "neon")]
fn part<const N: usize>(
    panel: &[[f32; PANEL]],
    tile: &Tile,
    first: usize,
    place: panel::Place,
    out: &mut Columns<'_>,
) -> usize {
    let mut sums = [[vdupq_n_f32(0.0); PANEL / 4]; N];
    for (weights, values) in panel.iter().zip(tile.values.chunks_exact(tile.rows)) {
        let (a, b) = (load_floats(at(weights, 0)), load_floats(at(weights, 4)));
        let (c, d) = (load_floats(at(weights, 8)), load_floats(at(weights, 12)));
        for (sums, value) in sums.iter_mut().zip(at::<N, _>(values, first)) {
            for (sum, weights) in sums.iter_mut().zip([a, b, c, d]) {
                *sum = vfmaq_n_f32(*sum, weights, *value);
            }
        }
    }
    for (row, sums) in sums.into_iter().enumerate() {
        let mut values = [[0.0; 4]; PANEL / 4];
        values.iter_mut().zip(sums).for_each(|(values, sums)| store_floats(values, sums));
        let out = &mut out.row_mut(place.row + first + row)[place.column..][..place.width];
        out.copy_from_slice(&values.as_flattened()[..place.width]);
    }
    N
}
