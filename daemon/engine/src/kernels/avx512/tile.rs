//! Tiles of activations times panels of weights.

use std::arch::x86_64::{
    __m512, __m512i, _mm512_add_epi8, _mm512_castsi256_si512, _mm512_cvtepi32_ps, _mm512_dpbusd_epi32,
    _mm512_fmadd_ps, _mm512_inserti64x4, _mm512_mul_ps, _mm512_permutex2var_epi64, _mm512_set1_epi8,
    _mm512_set1_epi32, _mm512_set1_ps, _mm512_setr_epi64, _mm512_setzero_ps, _mm512_setzero_si512,
    _mm512_unpackhi_epi32, _mm512_unpackhi_epi64, _mm512_unpacklo_epi32, _mm512_unpacklo_epi64,
};

use super::{at, load, load_floats, load_half, store, store_some_floats};
use crate::kernels::activations::{Activations, BLOCK, Tile};
use crate::kernels::blocks::Block;
use crate::kernels::output::Columns;
use crate::kernels::panel::{self, Bias, PANEL, Record};

/// Rows of activations times rows of weights.
#[inline]
#[target_feature(enable = "avx512dq,avx512vl,avx512vbmi,avx512vnni")]
pub(in crate::kernels) fn gemm<B: Block>(
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
        |records, tile, place| match (B::HALVES, panel::biased::<B>()) {
            (true, _) => multiply::<true, false>(records, tile, place, out),
            (false, true) => multiply::<false, true>(records, tile, place, out),
            (false, false) => multiply::<false, false>(records, tile, place, out),
        },
    );
}

#[target_feature(enable = "avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn pack<B: Block>(rows: &[u8], row_bytes: usize, records: &mut [Record]) {
    panel::pack::<B>(rows, row_bytes, records, Bias::by_128::<B>(), |rows, bias, out| {
        transpose(rows, bias, out);
    });
}

/// Multiplies a tile with a panel.
#[target_feature(enable = "avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn multiply<const HALVES: bool, const BIASED: bool>(
    records: &[Record],
    tile: &Tile,
    place: panel::Place,
    out: &mut Columns<'_>,
) {
    let mut row = 0;
    while row < tile.rows {
        row += match tile.rows - row {
            16.. => part::<16, HALVES, BIASED>(records, tile, row, place, out),
            8.. => part::<8, HALVES, BIASED>(records, tile, row, place, out),
            4.. => part::<4, HALVES, BIASED>(records, tile, row, place, out),
            2.. => part::<2, HALVES, BIASED>(records, tile, row, place, out),
            _ => part::<1, HALVES, BIASED>(records, tile, row, place, out),
        };
    }
}

/// Multiplies `ROWS` rows of a tile from `first` on with a panel. Returns how many these are.
#[inline]
#[target_feature(enable = "avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn part<const ROWS: usize, const HALVES: bool, const BIASED: bool>(
    records: &[Record],
    tile: &Tile,
    first: usize,
    place: panel::Place,
    out: &mut Columns<'_>,
) -> usize {
    let sums = products::<ROWS, HALVES, BIASED>(records, tile, first);
    for (row, sums) in sums.into_iter().enumerate() {
        let out = &mut out.row_mut(place.row + first + row)[place.column..][..place.width];
        store_some_floats(out, sums);
    }
    ROWS
}

#[inline]
#[target_feature(enable = "avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn products<const ROWS: usize, const HALVES: bool, const BIASED: bool>(
    records: &[Record],
    tile: &Tile,
    first: usize,
) -> [__m512; ROWS] {
    let mut sums = [_mm512_setzero_ps(); ROWS];
    for (block, record) in records.iter().enumerate() {
        let start = block * tile.rows + first;
        let quants: &[[i8; BLOCK]; ROWS] = at(&tile.quants, start);
        let scales: &[f32; ROWS] = at(&tile.scales, start);
        let weights: [__m512i; 8] = [
            load(&record.quants[0]),
            load(&record.quants[1]),
            load(&record.quants[2]),
            load(&record.quants[3]),
            load(&record.quants[4]),
            load(&record.quants[5]),
            load(&record.quants[6]),
            load(&record.quants[7]),
        ];
        let dots = |start: __m512i, row: usize, groups: std::ops::Range<usize>| {
            let mut dots = start;
            for group in groups {
                let [a, b, c, d] = *at::<4, _>(&quants[row], 4 * group);
                let four = i32::from_ne_bytes([a as u8, b as u8, c as u8, d as u8]);
                dots = _mm512_dpbusd_epi32(dots, weights[group], _mm512_set1_epi32(four));
            }
            _mm512_cvtepi32_ps(dots)
        };
        let weight_scales = load_floats(&record.scales[0]);
        if HALVES {
            let right_scales = load_floats(&record.scales[1]);
            let (left_mins, right_mins) = (load_floats(&record.mins[0]), load_floats(&record.mins[1]));
            let halves: &[[f32; 2]; ROWS] = at(&tile.halves, start);
            for row in 0..ROWS {
                let (left, right) =
                    (dots(_mm512_setzero_si512(), row, 0..4), dots(_mm512_setzero_si512(), row, 4..8));
                let scale = _mm512_set1_ps(scales[row]);
                let sum = _mm512_fmadd_ps(left, _mm512_mul_ps(weight_scales, scale), sums[row]);
                let sum = _mm512_fmadd_ps(right, _mm512_mul_ps(right_scales, scale), sum);
                let sum = _mm512_fmadd_ps(left_mins, _mm512_set1_ps(halves[row][0]), sum);
                sums[row] = _mm512_fmadd_ps(right_mins, _mm512_set1_ps(halves[row][1]), sum);
            }
        } else if BIASED {
            let offsets: &[i32; ROWS] = at(&tile.offsets, start);
            for row in 0..ROWS {
                let dots = dots(_mm512_set1_epi32(offsets[row]), row, 0..8);
                let scale = _mm512_mul_ps(weight_scales, _mm512_set1_ps(scales[row]));
                sums[row] = _mm512_fmadd_ps(dots, scale, sums[row]);
            }
        } else {
            let mins = load_floats(&record.mins[0]);
            let totals: &[f32; ROWS] = at(&tile.sums, start);
            for row in 0..ROWS {
                let dots = dots(_mm512_setzero_si512(), row, 0..8);
                let scale = _mm512_mul_ps(weight_scales, _mm512_set1_ps(scales[row]));
                let sum = _mm512_fmadd_ps(dots, scale, sums[row]);
                sums[row] = _mm512_fmadd_ps(mins, _mm512_set1_ps(totals[row]), sum);
            }
        }
    }
    sums
}

/// Moves groups of four quants of sixteen rows beside each other and adds `bias` to each.
///
/// The 16-byte lanes of register `i` hold the first and second half of row `i`, then of row `i + 8`. Two
/// rounds of unpacking gather one group from four registers in each lane, and a permutation puts the lanes of
/// two sets of four registers into order.
#[inline]
#[target_feature(enable = "avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn transpose(rows: &[[u8; BLOCK]; PANEL], bias: u8, out: &mut [[u8; 4 * PANEL]; BLOCK / 4]) {
    let pair = |row: usize| {
        let first = _mm512_castsi256_si512(load_half(&rows[row]));
        _mm512_inserti64x4::<1>(first, load_half(&rows[row + 8]))
    };
    // Groups 0–3 of the first halves of rows `first..first + 4` and of the others in these registers.
    let gathered = |first: usize| {
        let (a, b, c, d) = (pair(first), pair(first + 1), pair(first + 2), pair(first + 3));
        let (ab, cd) = (_mm512_unpacklo_epi32(a, b), _mm512_unpacklo_epi32(c, d));
        let (ab_high, cd_high) = (_mm512_unpackhi_epi32(a, b), _mm512_unpackhi_epi32(c, d));
        [
            _mm512_unpacklo_epi64(ab, cd),
            _mm512_unpackhi_epi64(ab, cd),
            _mm512_unpacklo_epi64(ab_high, cd_high),
            _mm512_unpackhi_epi64(ab_high, cd_high),
        ]
    };
    let (upper, lower) = (gathered(0), gathered(4));
    let first_halves = _mm512_setr_epi64(0, 1, 8, 9, 4, 5, 12, 13);
    let second_halves = _mm512_setr_epi64(2, 3, 10, 11, 6, 7, 14, 15);
    let bias = _mm512_set1_epi8(bias as i8);
    for group in 0..4 {
        let (a, b) = (upper[group], lower[group]);
        let first = _mm512_permutex2var_epi64(a, first_halves, b);
        let second = _mm512_permutex2var_epi64(a, second_halves, b);
        store(&mut out[group], _mm512_add_epi8(first, bias));
        store(&mut out[group + 4], _mm512_add_epi8(second, bias));
    }
}
