//! Products in plain code: the reference that the vector kernels are tested against, and the kernels of machines
//! without vector instructions that are used here.

use slmscope_profiles::format::WeightFormat;

use super::activations::{Activations, BLOCK, Tile};
use super::blocks::{Block, Group, with_block};
use super::output::Columns;
use super::panel::{self, Bias, PANEL, Record, Scratch, biased, pack, transpose};
use super::plain;

/// One row of activations times rows of weights.
pub(super) fn gemv(format: WeightFormat, rows: &[u8], row_bytes: usize, input: &Tile, out: &mut [f32]) {
    with_block!(
        format,
        B => rows.chunks_exact(row_bytes).zip(out).for_each(|(row, out)| *out = dot::<B>(row, input)),
        plain => plain::gemv(format, rows, row_bytes, input, out)
    );
}

fn dot<B: Block>(row: &[u8], input: &Tile) -> f32 {
    let mut groups = [Group::ZERO; 8];
    let mut sum = 0.0;
    let activations = input.quants.chunks_exact(B::GROUPS).zip(input.scales.chunks_exact(B::GROUPS));
    for (block, (quants, scales)) in row.chunks_exact(B::BYTES).zip(activations) {
        B::decode(block, &mut groups);
        for (group, (quants, scale)) in groups.iter().zip(quants.iter().zip(scales)) {
            for half in 0..2 {
                let range = half * BLOCK / 2..(half + 1) * BLOCK / 2;
                let (mut dot, mut total) = (0, 0);
                for (&weight, &quant) in group.quants[range.clone()].iter().zip(&quants[range]) {
                    dot += (i32::from(weight) - i32::from(B::BIAS)) * i32::from(quant);
                    total += i32::from(quant);
                }
                sum += scale * (group.scales[half] * dot as f32 + group.mins[half] * total as f32);
            }
        }
    }
    sum
}

/// Rows of activations times rows of weights.
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
        B => gemm_blocks::<B>(rows, row_bytes, input, out, &mut scratch.records),
        plain => plain::gemm(format, rows, row_bytes, input, out, &mut scratch.values)
    );
}

fn gemm_blocks<B: Block>(
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
        |rows, records| pack::<B>(rows, row_bytes, records, Bias::by_128::<B>(), transpose),
        |records, tile, place| {
            for row in 0..tile.rows {
                let sums = row_of_tile::<B>(records, tile, row);
                let out = &mut out.row_mut(place.row + row)[place.column..][..place.width];
                out.copy_from_slice(&sums[..place.width]);
            }
        },
    );
}

/// Sixteen outputs of a row of a tile.
fn row_of_tile<B: Block>(records: &[Record], tile: &Tile, row: usize) -> [f32; PANEL] {
    let mut sums = [0.0; PANEL];
    for (block, record) in records.iter().enumerate() {
        let at = block * tile.rows + row;
        let start = if biased::<B>() { tile.offsets[at] } else { 0 };
        let mut dots = [[start; PANEL], [0; PANEL]];
        for (group, (weights, quants)) in
            record.quants.iter().zip(tile.quants[at].as_chunks::<4>().0).enumerate()
        {
            let dots = &mut dots[usize::from(B::HALVES) * group / 4];
            for (dot, weights) in dots.iter_mut().zip(weights.as_chunks::<4>().0) {
                for (&weight, &quant) in weights.iter().zip(quants) {
                    *dot += i32::from(weight) * i32::from(quant);
                }
            }
        }
        for (half, dots) in dots.iter().enumerate().take(1 + usize::from(B::HALVES)) {
            let total = if B::HALVES { tile.halves[at][half] } else { tile.sums[at] };
            for (output, sum) in sums.iter_mut().enumerate() {
                *sum += dots[output] as f32 * (record.scales[half][output] * tile.scales[at]);
                if !biased::<B>() {
                    *sum += record.mins[half][output] * total;
                }
            }
        }
    }
    sums
}
