//! Tiles of activations times panels of weights.

use std::arch::aarch64::{
    float32x4_t, int32x4_t, uint32x4_t, vaddq_u8, vcvtq_f32_s32, vdupq_n_f32, vdupq_n_u8, vfmaq_f32,
    vfmaq_n_f32, vmulq_n_f32, vreinterpretq_u8_u64, vreinterpretq_u32_u8, vreinterpretq_u64_u32, vtrn1q_u32,
    vtrn1q_u64, vtrn2q_u32, vtrn2q_u64,
};

use super::dot::{Dot, zero};
use super::{at, load, load_floats, load_signed, store, store_floats};
use crate::kernels::activations::{Activations, BLOCK, Tile};
use crate::kernels::blocks::Block;
use crate::kernels::output::Columns;
use crate::kernels::panel::{self, Bias, PANEL, Record};

/// Outputs of a row that are computed together: with four rows of activations their sums, in integers and in
/// f32, leave registers for the operands.
pub(super) const LANES: usize = 8;

/// Rows of activations times rows of weights.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn gemm<B: Block, D: Dot>(
    dot: D,
    rows: &[u8],
    row_bytes: usize,
    input: &Activations,
    out: &mut Columns<'_>,
    records: &mut [Record],
) {
    panel::for_each(
        rows,
        row_bytes,
        input,
        records,
        input.columns() / BLOCK,
        |rows, records| pack::<B>(rows, row_bytes, records),
        |records, tile, place| match (B::HALVES, has_mins::<B>(), B::MOST) {
            (false, true, _) => multiply::<D, false, true, false>(dot, records, tile, place, out),
            (false, false, 255) => multiply::<D, false, false, true>(dot, records, tile, place, out),
            (false, false, _) => multiply::<D, false, false, false>(dot, records, tile, place, out),
            (true, true, _) => multiply::<D, true, true, false>(dot, records, tile, place, out),
            (true, false, _) => multiply::<D, true, false, false>(dot, records, tile, place, out),
        },
    );
}

/// Whether the format has minimums.
pub(super) const fn has_mins<B: Block>() -> bool {
    B::BIAS == 0
}

/// Nothing is left of a bias: quants are multiplied signed.
pub(super) const fn signed<B: Block>() -> Bias {
    Bias { add: B::BIAS.wrapping_neg(), in_mins: 0.0 }
}

#[target_feature(enable = "neon")]
fn pack<B: Block>(rows: &[u8], row_bytes: usize, records: &mut [Record]) {
    panel::pack::<B>(rows, row_bytes, records, const { signed::<B>() }, |rows, bias, out| {
        transpose(rows, bias, out);
    });
}

/// Multiplies a tile with a panel. `WIDE` if weights have 8 bits.
#[target_feature(enable = "neon")]
fn multiply<D: Dot, const HALVES: bool, const MINS: bool, const WIDE: bool>(
    dot: D,
    records: &[Record],
    tile: &Tile,
    place: panel::Place,
    out: &mut Columns<'_>,
) {
    for half in 0..place.width.div_ceil(LANES) {
        let mut row = 0;
        while row < tile.rows {
            row += match tile.rows - row {
                4.. => part::<D, 4, HALVES, MINS, WIDE>(dot, records, tile, row, half, place, out),
                2.. => part::<D, 2, HALVES, MINS, WIDE>(dot, records, tile, row, half, place, out),
                _ => part::<D, 1, HALVES, MINS, WIDE>(dot, records, tile, row, half, place, out),
            };
        }
    }
}

/// Multiplies `ROWS` rows of a tile from `first` on with half a panel. Returns how many these are.
#[inline]
#[target_feature(enable = "neon")]
fn part<D: Dot, const ROWS: usize, const HALVES: bool, const MINS: bool, const WIDE: bool>(
    dot: D,
    records: &[Record],
    tile: &Tile,
    first: usize,
    half: usize,
    place: panel::Place,
    out: &mut Columns<'_>,
) -> usize {
    let sums = products::<D, ROWS, HALVES, MINS, WIDE>(dot, records, tile, first, half * LANES);
    for (row, sums) in sums.into_iter().enumerate() {
        write(out, place, half, first + row, sums);
    }
    ROWS
}

/// Writes eight outputs of `row` of a tile, as far as they exist.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn write(
    out: &mut Columns<'_>,
    place: panel::Place,
    half: usize,
    row: usize,
    sums: [float32x4_t; 2],
) {
    let mut values = [[0.0; 4]; 2];
    values.iter_mut().zip(sums).for_each(|(values, sums)| store_floats(values, sums));
    let width = (place.width - half * LANES).min(LANES);
    let out = &mut out.row_mut(place.row + row)[place.column + half * LANES..][..width];
    out.copy_from_slice(&values.as_flattened()[..width]);
}

/// Outputs from `lane` on.
#[inline]
#[target_feature(enable = "neon")]
fn products<D: Dot, const ROWS: usize, const HALVES: bool, const MINS: bool, const WIDE: bool>(
    dot: D,
    records: &[Record],
    tile: &Tile,
    first: usize,
    lane: usize,
) -> [[float32x4_t; 2]; ROWS] {
    let mut sums = [[vdupq_n_f32(0.0); 2]; ROWS];
    for (block, record) in records.iter().enumerate() {
        let start = block * tile.rows + first;
        let quants: &[[i8; BLOCK]; ROWS] = at(&tile.quants, start);
        let scales: &[f32; ROWS] = at(&tile.scales, start);
        let mut dots = [[zero(); 2]; ROWS];
        for half in 0..2 {
            let weights = at::<4, _>(&record.quants, 4 * half);
            let mut values = [load_signed(at(&quants[0], 16 * half)); ROWS];
            for (values, quants) in values.iter_mut().zip(quants) {
                *values = load_signed(at(quants, 16 * half));
            }
            dots = dot.outputs::<ROWS, WIDE>(dots, weights, lane, values);
            if HALVES {
                let halves: &[[f32; 2]; ROWS] = at(&tile.halves, start);
                let mut totals = [0.0; ROWS];
                totals.iter_mut().zip(halves).for_each(|(total, halves)| *total = halves[half]);
                add::<ROWS, MINS>(&mut sums, dots, record, half, lane, scales, &totals);
                dots = [[zero(); 2]; ROWS];
            }
        }
        if !HALVES {
            add::<ROWS, MINS>(&mut sums, dots, record, 0, lane, scales, at(&tile.sums, start));
        }
    }
    sums
}

/// Adds dot products with the scales of `half` of a record, and its minimums.
#[inline]
#[target_feature(enable = "neon")]
fn add<const ROWS: usize, const MINS: bool>(
    sums: &mut [[float32x4_t; 2]; ROWS],
    dots: [[int32x4_t; 2]; ROWS],
    record: &Record,
    half: usize,
    lane: usize,
    scales: &[f32; ROWS],
    totals: &[f32; ROWS],
) {
    for side in 0..2 {
        let weight_scales = load_floats(at(&record.scales[half], lane + 4 * side));
        let mins = load_floats(at(&record.mins[half], lane + 4 * side));
        for row in 0..ROWS {
            let scale = vmulq_n_f32(weight_scales, scales[row]);
            let mut sum = vfmaq_f32(sums[row][side], vcvtq_f32_s32(dots[row][side]), scale);
            if MINS {
                sum = vfmaq_n_f32(sum, mins, totals[row]);
            }
            sums[row][side] = sum;
        }
    }
}

/// Moves groups of four quants of sixteen rows beside each other and adds `bias` to each.
#[inline]
#[target_feature(enable = "neon")]
fn transpose(rows: &[[u8; BLOCK]; PANEL], bias: u8, out: &mut [[u8; 4 * PANEL]; BLOCK / 4]) {
    let bias = vdupq_n_u8(bias);
    for (four, rows) in rows.as_chunks::<4>().0.iter().enumerate() {
        for half in 0..2 {
            let (a, b) = (words(&rows[0], half), words(&rows[1], half));
            let (c, d) = (words(&rows[2], half), words(&rows[3], half));
            // Groups 0 and 2, 1 and 3 of two rows, then each of all four.
            let even = (vreinterpretq_u64_u32(vtrn1q_u32(a, b)), vreinterpretq_u64_u32(vtrn1q_u32(c, d)));
            let odd = (vreinterpretq_u64_u32(vtrn2q_u32(a, b)), vreinterpretq_u64_u32(vtrn2q_u32(c, d)));
            let groups = [
                vtrn1q_u64(even.0, even.1),
                vtrn1q_u64(odd.0, odd.1),
                vtrn2q_u64(even.0, even.1),
                vtrn2q_u64(odd.0, odd.1),
            ];
            for (group, quants) in groups.into_iter().enumerate() {
                let place = &mut out[4 * half + group].as_chunks_mut::<16>().0[four];
                store(place, vaddq_u8(vreinterpretq_u8_u64(quants), bias));
            }
        }
    }
}

#[inline]
#[target_feature(enable = "neon")]
fn words(row: &[u8; BLOCK], half: usize) -> uint32x4_t {
    vreinterpretq_u32_u8(load(at(row, 16 * half)))
}
