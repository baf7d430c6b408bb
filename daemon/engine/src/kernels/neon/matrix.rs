//! Tiles of activations times panels of weights by the int8 matrix product of ARMv8.6, which multiplies two
//! rows of eight columns with two others and adds to a square of four sums.
//!
//! Its panels have another order: eight columns of two neighbouring rows lie side by side.
//!
//! ```text
//! quants, 128 bytes:  columns 0–7 of row 0 │ columns 0–7 of row 1 │ columns 0–7 of row 2 │ … row 15
//!                     columns 8–15 of row 0 │ …
//! ```

use std::arch::aarch64::{
    float32x4_t, int8x16_t, int32x4_t, vaddq_u8, vcombine_f32, vcvtq_f32_s32, vdup_n_f32, vdupq_laneq_f64,
    vdupq_n_f32, vdupq_n_s8, vdupq_n_u8, vfmaq_f32, vmulq_f32, vreinterpretq_f32_f64, vreinterpretq_f64_f32,
    vreinterpretq_s8_s64, vreinterpretq_s8_u8, vreinterpretq_s64_s8, vreinterpretq_u8_u64,
    vreinterpretq_u64_u8, vtrn1q_f64, vtrn1q_s64, vtrn1q_u64, vtrn2q_f64, vtrn2q_s64, vtrn2q_u64,
};
use std::arch::asm;

use super::dot::zero;
use super::tile::{LANES, has_mins, signed, write};
use super::{at, load, load_floats, load_signed, store};
use crate::kernels::activations::{Activations, BLOCK, Tile};
use crate::kernels::blocks::Block;
use crate::kernels::output::Columns;
use crate::kernels::panel::{self, PANEL, Record};

/// Pairs of outputs that are computed together.
const PAIRS: usize = LANES / 2;

/// The matrix product. A value of it is proof that the CPU has it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Smmla(());

impl Smmla {
    /// # Safety
    /// The CPU has the int8 matrix product.
    #[expect(unsafe_code, reason = "a promise about the CPU")]
    pub(super) unsafe fn new() -> Self {
        Self(())
    }

    /// Adds the products of two rows of eight quants with two of weights: of the first row of quants with
    /// both, then of the second.
    #[inline(always)]
    #[expect(unsafe_code, reason = "std's function is not stable")]
    fn add(self, mut sums: int32x4_t, quants: int8x16_t, weights: int8x16_t) -> int32x4_t {
        // SAFETY: `self` is proof of the instruction, which works on registers alone.
        unsafe {
            asm!(
                ".arch_extension i8mm",
                "smmla {sums:v}.4s, {quants:v}.16b, {weights:v}.16b",
                sums = inout(vreg) sums,
                quants = in(vreg) quants,
                weights = in(vreg) weights,
                options(pure, nomem, nostack, preserves_flags)
            );
        }
        sums
    }
}

/// Rows of activations times rows of weights.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn gemm<B: Block>(
    product: Smmla,
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
        |records, tile, place| match (B::HALVES, has_mins::<B>()) {
            (false, true) => multiply::<false, true>(product, records, tile, place, out),
            (false, false) => multiply::<false, false>(product, records, tile, place, out),
            (true, true) => multiply::<true, true>(product, records, tile, place, out),
            (true, false) => multiply::<true, false>(product, records, tile, place, out),
        },
    );
}

#[target_feature(enable = "neon")]
fn pack<B: Block>(rows: &[u8], row_bytes: usize, records: &mut [Record]) {
    panel::pack::<B>(rows, row_bytes, records, const { signed::<B>() }, |rows, bias, out| {
        transpose(rows, bias, out);
    });
}

/// Multiplies a tile with a panel.
#[target_feature(enable = "neon")]
fn multiply<const HALVES: bool, const MINS: bool>(
    product: Smmla,
    records: &[Record],
    tile: &Tile,
    place: panel::Place,
    out: &mut Columns<'_>,
) {
    for half in 0..place.width.div_ceil(LANES) {
        let mut row = 0;
        while row < tile.rows {
            row += match tile.rows - row {
                3.. => part::<2, HALVES, MINS>(product, records, tile, row, half, place, out),
                _ => part::<1, HALVES, MINS>(product, records, tile, row, half, place, out),
            };
        }
    }
}

/// Multiplies `N` pairs of rows of a tile from `first` on, as far as they exist, with half a panel. Returns
/// how many rows that covers.
#[inline]
#[target_feature(enable = "neon")]
fn part<const N: usize, const HALVES: bool, const MINS: bool>(
    product: Smmla,
    records: &[Record],
    tile: &Tile,
    first: usize,
    half: usize,
    place: panel::Place,
    out: &mut Columns<'_>,
) -> usize {
    let mut pairs = [[0; 2]; N];
    for (pair, rows) in pairs.iter_mut().enumerate() {
        // A row without a partner is its own.
        *rows = [first + 2 * pair, (first + 2 * pair + 1).min(tile.rows - 1)];
    }
    let sums = products::<N, HALVES, MINS>(product, records, tile, &pairs, half);
    for (rows, sums) in pairs.iter().zip(sums) {
        let ([a, b], [c, d]) = (rows_of(sums[0], sums[1]), rows_of(sums[2], sums[3]));
        write(out, place, half, rows[0], [a, c]);
        write(out, place, half, rows[1], [b, d]);
    }
    2 * N
}

/// Squares of outputs: of each pair of rows with each pair of half a panel.
#[inline]
#[target_feature(enable = "neon")]
fn products<const N: usize, const HALVES: bool, const MINS: bool>(
    product: Smmla,
    records: &[Record],
    tile: &Tile,
    pairs: &[[usize; 2]; N],
    half_panel: usize,
) -> [[float32x4_t; PAIRS]; N] {
    let mut sums = [[vdupq_n_f32(0.0); PAIRS]; N];
    for (block, record) in records.iter().enumerate() {
        let start = block * tile.rows;
        let (mut scales, mut totals) = ([vdupq_n_f32(0.0); N], [vdupq_n_f32(0.0); N]);
        for (scales, rows) in scales.iter_mut().zip(pairs) {
            *scales = twice(tile.scales[start + rows[0]], tile.scales[start + rows[1]]);
        }
        let mut dots = [[zero(); PAIRS]; N];
        for half in 0..2 {
            let mut quants = [[vdupq_n_s8(0); 2]; N];
            for (quants, rows) in quants.iter_mut().zip(pairs) {
                *quants = by_eights(&tile.quants[start + rows[0]], &tile.quants[start + rows[1]], half);
            }
            for eight in 0..2 {
                let weights = &record.quants[4 * half + 2 * eight + half_panel].as_chunks::<16>().0;
                for (pair, weights) in weights.iter().enumerate() {
                    let weights = vreinterpretq_s8_u8(load(weights));
                    for (dots, quants) in dots.iter_mut().zip(&quants) {
                        dots[pair] = product.add(dots[pair], quants[eight], weights);
                    }
                }
            }
            if HALVES {
                for (totals, rows) in totals.iter_mut().zip(pairs) {
                    *totals = twice(tile.halves[start + rows[0]][half], tile.halves[start + rows[1]][half]);
                }
                add::<N, MINS>(&mut sums, dots, record, half, half_panel, &scales, &totals);
                dots = [[zero(); PAIRS]; N];
            }
        }
        if !HALVES {
            for (totals, rows) in totals.iter_mut().zip(pairs) {
                *totals = twice(tile.sums[start + rows[0]], tile.sums[start + rows[1]]);
            }
            add::<N, MINS>(&mut sums, dots, record, 0, half_panel, &scales, &totals);
        }
    }
    sums
}

/// Adds dot products with the scales of `half` of a record, and its minimums.
#[inline]
#[target_feature(enable = "neon")]
fn add<const N: usize, const MINS: bool>(
    sums: &mut [[float32x4_t; PAIRS]; N],
    dots: [[int32x4_t; PAIRS]; N],
    record: &Record,
    half: usize,
    half_panel: usize,
    scales: &[float32x4_t; N],
    totals: &[float32x4_t; N],
) {
    let weight_scales = by_pairs(at(&record.scales[half], LANES * half_panel));
    let mins = by_pairs(at(&record.mins[half], LANES * half_panel));
    for row in 0..N {
        for pair in 0..PAIRS {
            let scale = vmulq_f32(weight_scales[pair], scales[row]);
            let mut sum = vfmaq_f32(sums[row][pair], vcvtq_f32_s32(dots[row][pair]), scale);
            if MINS {
                sum = vfmaq_f32(sum, mins[pair], totals[row]);
            }
            sums[row][pair] = sum;
        }
    }
}

/// Four outputs of each of two rows: of their squares with two pairs.
#[inline]
#[target_feature(enable = "neon")]
fn rows_of(left: float32x4_t, right: float32x4_t) -> [float32x4_t; 2] {
    let (left, right) = (vreinterpretq_f64_f32(left), vreinterpretq_f64_f32(right));
    [vreinterpretq_f32_f64(vtrn1q_f64(left, right)), vreinterpretq_f32_f64(vtrn2q_f64(left, right))]
}

/// Half a block of two rows of activations: eight columns of both, then the other eight.
#[inline]
#[target_feature(enable = "neon")]
fn by_eights(first: &[i8; BLOCK], second: &[i8; BLOCK], half: usize) -> [int8x16_t; 2] {
    let first = vreinterpretq_s64_s8(load_signed(at(first, 16 * half)));
    let second = vreinterpretq_s64_s8(load_signed(at(second, 16 * half)));
    [vreinterpretq_s8_s64(vtrn1q_s64(first, second)), vreinterpretq_s8_s64(vtrn2q_s64(first, second))]
}

/// Each value twice: what the rows of a square of sums are multiplied with.
#[inline]
#[target_feature(enable = "neon")]
fn twice(first: f32, second: f32) -> float32x4_t {
    vcombine_f32(vdup_n_f32(first), vdup_n_f32(second))
}

/// Each pair of values twice: what the columns of squares of sums are multiplied with.
#[inline]
#[target_feature(enable = "neon")]
fn by_pairs(values: &[f32; LANES]) -> [float32x4_t; PAIRS] {
    let left = vreinterpretq_f64_f32(load_floats(at(values, 0)));
    let right = vreinterpretq_f64_f32(load_floats(at(values, 4)));
    [
        vreinterpretq_f32_f64(vdupq_laneq_f64::<0>(left)),
        vreinterpretq_f32_f64(vdupq_laneq_f64::<1>(left)),
        vreinterpretq_f32_f64(vdupq_laneq_f64::<0>(right)),
        vreinterpretq_f32_f64(vdupq_laneq_f64::<1>(right)),
    ]
}

/// Moves groups of eight quants of two rows beside each other and adds `bias` to each.
#[inline]
#[target_feature(enable = "neon")]
fn transpose(rows: &[[u8; BLOCK]; PANEL], bias: u8, out: &mut [[u8; 4 * PANEL]; BLOCK / 4]) {
    let bias = vdupq_n_u8(bias);
    for (pair, [first, second]) in rows.as_chunks::<2>().0.iter().enumerate() {
        for half in 0..2 {
            let a = vreinterpretq_u64_u8(load(at(first, 16 * half)));
            let b = vreinterpretq_u64_u8(load(at(second, 16 * half)));
            for (eight, quants) in [vtrn1q_u64(a, b), vtrn2q_u64(a, b)].into_iter().enumerate() {
                let place =
                    &mut out[4 * half + 2 * eight + pair / PAIRS].as_chunks_mut::<16>().0[pair % PAIRS];
                store(place, vaddq_u8(vreinterpretq_u8_u64(quants), bias));
            }
        }
    }
}
