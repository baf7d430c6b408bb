//! Products with weights stored in f32, f16 or bf16, in f32.

use slmscope_profiles::format::WeightFormat;

use super::activations::{Activations, Tile};
use super::blocks::widen;
use super::output::Columns;
use super::panel::{self, PANEL};

/// Columns that are widened at a time.
const STRETCH: usize = 64;
/// Sums that a row is added up in, so that additions need not wait for each other.
const LANES: usize = 16;

/// One row of activations times rows of weights.
pub(super) fn gemv(format: WeightFormat, rows: &[u8], row_bytes: usize, input: &Tile, out: &mut [f32]) {
    let element = format.block_bytes() as usize;
    for (row, out) in rows.chunks_exact(row_bytes).zip(out) {
        let mut sums = [0.0; LANES];
        for (weights, values) in row.chunks(STRETCH * element).zip(input.values.chunks(STRETCH)) {
            let mut widened = [0.0; STRETCH];
            widen(format, weights, &mut widened);
            let products = widened.iter().zip(values).take(weights.len() / element);
            for (index, (weight, value)) in products.enumerate() {
                sums[index % LANES] += weight * value;
            }
        }
        *out = sums.iter().sum();
    }
}

/// Defines `gemm`: as it is, in a module that has a `multiply`; or for the instructions of `features`, with a `multiply`
/// for a module that has a `part` for these numbers of rows, the largest first (one row is always among them).
///
/// A macro, because functions and closures have to be compiled with the instructions of the module.
macro_rules! plain_gemm {
    ($($features:literal)?) => {
        /// Rows of activations times rows of weights.
        $(#[target_feature(enable = $features)])?
        pub(super) fn gemm(
            format: WeightFormat,
            rows: &[u8],
            row_bytes: usize,
            input: &Activations,
            out: &mut Columns<'_>,
            values: &mut [[f32; PANEL]],
        ) {
            panel::for_each(
                rows,
                row_bytes,
                input,
                values,
                input.columns(),
                |rows, values| $crate::kernels::plain::pack(format, rows, row_bytes, values),
                |values, tile, place| multiply(values, tile, place, out),
            );
        }
    };
    ($features:literal, $($rows:tt),+) => {
        $crate::kernels::plain::plain_gemm!($features);

        /// Multiplies a tile with a panel.
        #[inline]
        #[target_feature(enable = $features)]
        fn multiply(panel: &[[f32; PANEL]], tile: &Tile, place: panel::Place, out: &mut Columns<'_>) {
            let mut row = 0;
            while row < tile.rows {
                row += match tile.rows - row {
                    $($rows.. => part::<$rows>(panel, tile, row, place, out),)+
                    _ => part::<1>(panel, tile, row, place, out),
                };
            }
        }
    };
}
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(super) use plain_gemm;

plain_gemm!();

/// Multiplies a tile with a panel.
#[inline(always)]
fn multiply(panel: &[[f32; PANEL]], tile: &Tile, place: panel::Place, out: &mut Columns<'_>) {
    for row in 0..tile.rows {
        let mut sums = [0.0; PANEL];
        for (weights, inputs) in panel.iter().zip(tile.values.chunks_exact(tile.rows)) {
            for (sum, weight) in sums.iter_mut().zip(weights) {
                *sum += weight * inputs[row];
            }
        }
        let out = &mut out.row_mut(place.row + row)[place.column..][..place.width];
        out.copy_from_slice(&sums[..place.width]);
    }
}

/// Re-lays up to sixteen rows. Rows that are missing count as zero.
#[inline(always)]
pub(super) fn pack(format: WeightFormat, rows: &[u8], row_bytes: usize, panel: &mut [[f32; PANEL]]) {
    let element = format.block_bytes() as usize;
    let count = rows.len() / row_bytes;
    for (number, panel) in panel.chunks_mut(STRETCH).enumerate() {
        let mut widened = [[0.0; STRETCH]; PANEL];
        for (row, widened) in widened.iter_mut().enumerate().take(count) {
            let start = row * row_bytes + number * STRETCH * element;
            widen(format, &rows[start..][..panel.len() * element], widened);
        }
        for (column, out) in panel.iter_mut().enumerate() {
            *out = std::array::from_fn(|row| widened[row][column]);
        }
    }
}
