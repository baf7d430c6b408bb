//! Tiles of activations times panels of weights.

use std::arch::x86_64::{
    __m256, __m256i, _mm256_add_epi16, _mm256_add_epi32, _mm256_cvtepi32_ps, _mm256_fmadd_ps,
    _mm256_madd_epi16, _mm256_maddubs_epi16, _mm256_mul_ps, _mm256_set1_epi16, _mm256_set1_epi32,
    _mm256_set1_ps, _mm256_setzero_ps, _mm256_setzero_si256,
};

use super::{at, load, load_floats, signed_dots, store_floats};
use crate::kernels::activations::{Activations, BLOCK, Tile};
use crate::kernels::blocks::Block;
use crate::kernels::output::Columns;
use crate::kernels::panel::{self, Bias, Record, transpose};

/// Outputs of a register.
const LANES: usize = 8;
/// Quants of 8 bits are kept signed.
const SIGNED: usize = 0;

/// Rows of activations times rows of weights.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn gemm<B: Block>(
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
        // How many products of pairs of the format's quants with activations fit into 16 bits, added up:
        // 2 * 127 * most * count < 32768.
        |records, tile, place| match (B::HALVES, B::MOST) {
            (false, 255) => multiply::<false, SIGNED>(records, tile, place, out),
            (false, 31) => multiply::<false, 4>(records, tile, place, out),
            (false, _) => multiply::<false, 8>(records, tile, place, out),
            (true, 63) => multiply::<true, 2>(records, tile, place, out),
            (true, _) => multiply::<true, 4>(records, tile, place, out),
        },
    );
}

#[target_feature(enable = "avx2,fma,f16c")]
fn pack<B: Block>(rows: &[u8], row_bytes: usize, records: &mut [Record]) {
    // Q8_0's bias of 128 and 128 more make its quants signed again.
    let signed = Bias { add: 128, in_mins: 0.0 };
    let bias = if B::MOST == 255 { signed } else { Bias::in_mins::<B>() };
    panel::pack::<B>(rows, row_bytes, records, bias, transpose);
}

/// Multiplies a tile with a panel. `RUN` groups of four are added up in 16 bits.
#[target_feature(enable = "avx2,fma,f16c")]
fn multiply<const HALVES: bool, const RUN: usize>(
    records: &[Record],
    tile: &Tile,
    place: panel::Place,
    out: &mut Columns<'_>,
) {
    for half in 0..place.width.div_ceil(LANES) {
        let mut row = 0;
        while row < tile.rows {
            row += match tile.rows - row {
                4.. => part::<4, HALVES, RUN>(records, tile, row, half, place, out),
                _ => part::<1, HALVES, RUN>(records, tile, row, half, place, out),
            };
        }
    }
}

/// Multiplies `ROWS` rows of a tile from `first` on with half a panel. Returns how many these are.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn part<const ROWS: usize, const HALVES: bool, const RUN: usize>(
    records: &[Record],
    tile: &Tile,
    first: usize,
    half: usize,
    place: panel::Place,
    out: &mut Columns<'_>,
) -> usize {
    let sums = products::<ROWS, HALVES, RUN>(records, tile, first, half * LANES);
    let width = (place.width - half * LANES).min(LANES);
    for (row, sums) in sums.into_iter().enumerate() {
        let mut values = [0.0; LANES];
        store_floats(&mut values, sums);
        let out = &mut out.row_mut(place.row + first + row)[place.column + half * LANES..][..width];
        out.copy_from_slice(&values[..width]);
    }
    ROWS
}

/// Outputs from `lane` on.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn products<const ROWS: usize, const HALVES: bool, const RUN: usize>(
    records: &[Record],
    tile: &Tile,
    first: usize,
    lane: usize,
) -> [__m256; ROWS] {
    let mut sums = [_mm256_setzero_ps(); ROWS];
    for (block, record) in records.iter().enumerate() {
        let start = block * tile.rows + first;
        let quants: &[[i8; BLOCK]; ROWS] = at(&tile.quants, start);
        let scales: &[f32; ROWS] = at(&tile.scales, start);
        let weight_scales = [0, 1].map(|half| load_floats(at(&record.scales[half], lane)));
        let mins = [0, 1].map(|half| load_floats(at(&record.mins[half], lane)));
        for row in 0..ROWS {
            let scale = _mm256_set1_ps(scales[row]);
            let mut sum = sums[row];
            if HALVES {
                let totals = tile.halves[start + row];
                for half in 0..2 {
                    let dots = dots::<RUN>(record, &quants[row], lane, 4 * half..4 * half + 4);
                    sum = _mm256_fmadd_ps(dots, _mm256_mul_ps(weight_scales[half], scale), sum);
                    sum = _mm256_fmadd_ps(mins[half], _mm256_set1_ps(totals[half]), sum);
                }
            } else {
                let dots = dots::<RUN>(record, &quants[row], lane, 0..8);
                sum = _mm256_fmadd_ps(dots, _mm256_mul_ps(weight_scales[0], scale), sum);
                if RUN != SIGNED {
                    sum = _mm256_fmadd_ps(mins[0], _mm256_set1_ps(tile.sums[start + row]), sum);
                }
            }
            sums[row] = sum;
        }
    }
    sums
}

/// Dot products of a row of activations with eight outputs over some groups of a record.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn dots<const RUN: usize>(
    record: &Record,
    quants: &[i8; BLOCK],
    lane: usize,
    groups: std::ops::Range<usize>,
) -> __m256 {
    let mut dots = _mm256_setzero_si256();
    let (begin, end) = (groups.start, groups.end);
    let mut group = begin;
    while group < end {
        let (weights, values) = operands(record, quants, lane, group);
        if RUN == SIGNED {
            dots = _mm256_add_epi32(dots, signed_dots(weights, values));
            group += 1;
            continue;
        }
        let mut pairs = _mm256_maddubs_epi16(weights, values);
        for next in 1..RUN {
            let (weights, values) = operands(record, quants, lane, group + next);
            pairs = _mm256_add_epi16(pairs, _mm256_maddubs_epi16(weights, values));
        }
        dots = _mm256_add_epi32(dots, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
        group += RUN;
    }
    _mm256_cvtepi32_ps(dots)
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn operands(record: &Record, quants: &[i8; BLOCK], lane: usize, group: usize) -> (__m256i, __m256i) {
    let [a, b, c, d] = *at::<4, _>(quants, 4 * group);
    let four = i32::from_ne_bytes([a as u8, b as u8, c as u8, d as u8]);
    (load(at::<32, _>(&record.quants[group], 4 * lane)), _mm256_set1_epi32(four))
}
