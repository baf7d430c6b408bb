//! Weights repacked for many rows of input: sixteen rows of a matrix, transposed in groups of four.
//!
//! ```text
//! record (32 columns):  quants[0]: columns 0–3 of row 0 │ columns 0–3 of row 1 │ … row 15     64 bytes
//!                       quants[1]: columns 4–7 of row 0 │ …
//!                       …
//!                       quants[7]
//!                       scales, mins: of rows 0–15, for each half of the columns
//! ```
//!
//! An int8 dot product over four neighbours then gives sixteen outputs at once from one group of four
//! activations that is broadcast. How quants are stored depends on what the dot product of an instruction set
//! wants; a bias that is left in them is taken off with the minimum, or by the sums of the activations.
//!
//! The panel of a plain format is f32: the values of one column of the sixteen rows, column by column.

use super::activations::{Activations, BLOCK, TILE, Tile};
use super::blocks::{Block, Group};

/// Rows of weights that are multiplied together.
pub const PANEL: usize = 16;
/// What the panels of a chunk may take: a part of a core's second-level cache that leaves room for a tile of
/// activations.
const CHUNK_BYTES: usize = 192 << 10;

/// Memory that a thread needs to multiply.
#[derive(Debug)]
pub struct Scratch {
    pub(super) records: Vec<Record>,
    pub(super) values: Vec<[f32; PANEL]>,
}

/// Sixteen rows of 32 columns.
#[derive(Debug, Clone)]
#[repr(C, align(64))]
pub(super) struct Record {
    pub(super) quants: [[u8; 4 * PANEL]; BLOCK / 4],
    pub(super) scales: [[f32; PANEL]; 2],
    pub(super) mins: [[f32; PANEL]; 2],
}

impl Record {
    const ZERO: Self =
        Self { quants: [[0; 4 * PANEL]; BLOCK / 4], scales: [[0.0; PANEL]; 2], mins: [[0.0; PANEL]; 2] };
}

impl Scratch {
    /// Room for block formats whose rows have up to `quantized` columns and plain ones of up to `plain`; 0 for
    /// none.
    pub fn new(quantized: usize, plain: usize) -> Self {
        let records = room(quantized / BLOCK, size_of::<Record>());
        let values = room(plain, size_of::<[f32; PANEL]>());
        Self { records: vec![Record::ZERO; records], values: vec![[0.0; PANEL]; values] }
    }

    /// Bytes that it keeps.
    pub fn memory(&self) -> usize {
        self.records.len() * size_of::<Record>() + self.values.len() * size_of::<[f32; PANEL]>()
    }
}

/// Most panels that are kept at once.
const MAX_PANELS: usize = 8;

/// How many panels of `bytes` each are kept at once.
fn panels(bytes: usize) -> usize {
    (CHUNK_BYTES / bytes.max(1)).clamp(1, MAX_PANELS)
}

/// Items of `size` bytes that panels of up to `length` items need. Narrower panels are kept in greater number,
/// so the widest alone does not decide it.
fn room(length: usize, size: usize) -> usize {
    length.max((CHUNK_BYTES / size).min(MAX_PANELS * length))
}

/// What is done about the bias of a format's quants when they are re-laid.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bias {
    /// Added to each quant, modulo 256.
    pub(super) add: u8,
    /// Taken off again with the minimum: how many times the scale.
    pub(super) in_mins: f32,
}

impl Bias {
    /// Left to the minimum.
    pub(super) const fn in_mins<B: Block>() -> Self {
        Self { add: 0, in_mins: B::BIAS as f32 }
    }

    /// Made 128, where [`biased`] says so.
    pub(super) const fn by_128<B: Block>() -> Self {
        if biased::<B>() { Self { add: 128 - B::BIAS, in_mins: 0.0 } } else { Self::in_mins::<B>() }
    }
}

/// Whether quants biased by 128 suit the format: those that are signed and have a scale per 32.
pub(super) const fn biased<B: Block>() -> bool {
    B::BIAS > 0 && !B::HALVES
}

/// Where the products of a tile and a panel go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// Row of the output of the tile's first row.
    pub(super) row: usize,
    /// Column of the output of the panel's first row.
    pub(super) column: usize,
    /// Rows of weights in the panel.
    pub(super) width: usize,
}

/// Packs all `rows` of weights, a few panels at a time, and multiplies each of these with all tiles. A panel has
/// `length` records.
#[inline(always)]
pub(super) fn for_each<R>(
    rows: &[u8],
    row_bytes: usize,
    input: &Activations,
    records: &mut [R],
    length: usize,
    pack: impl Fn(&[u8], &mut [R]),
    mut multiply: impl FnMut(&[R], &Tile, Place),
) {
    let chunk = panels(length * size_of::<R>());
    let records = &mut records[..chunk * length];
    for (number, rows) in rows.chunks(chunk * PANEL * row_bytes).enumerate() {
        let packed = records.chunks_exact_mut(length).zip(rows.chunks(PANEL * row_bytes));
        packed.for_each(|(records, rows)| pack(rows, records));
        let outputs = rows.len() / row_bytes;
        for (tile, activations) in input.tiles().iter().enumerate() {
            for (panel, records) in records.chunks_exact(length).take(outputs.div_ceil(PANEL)).enumerate() {
                let place = Place {
                    row: tile * TILE,
                    column: (number * chunk + panel) * PANEL,
                    width: (outputs - panel * PANEL).min(PANEL),
                };
                multiply(records, activations, place);
            }
        }
    }
}

/// Re-lays up to sixteen rows of `B`. Rows that are missing count as zero. `transpose` moves the quants of 32
/// columns and adds a number to each.
#[inline(always)]
pub(super) fn pack<B: Block>(
    rows: &[u8],
    row_bytes: usize,
    records: &mut [Record],
    bias: Bias,
    transpose: impl Fn(&[[u8; BLOCK]; PANEL], u8, &mut [[u8; 4 * PANEL]; BLOCK / 4]),
) {
    let mut groups = [[Group::ZERO; 8]; PANEL];
    for (index, records) in records.chunks_exact_mut(B::GROUPS).enumerate() {
        for (groups, row) in groups.iter_mut().zip(rows.chunks_exact(row_bytes)) {
            B::decode(&row[index * B::BYTES..][..B::BYTES], groups);
        }
        for (group, record) in records.iter_mut().enumerate() {
            let mut quants = [[0; BLOCK]; PANEL];
            for (row, groups) in groups.iter().enumerate() {
                let from = &groups[group];
                quants[row] = from.quants;
                for half in 0..=usize::from(B::HALVES) {
                    record.scales[half][row] = from.scales[half];
                    record.mins[half][row] = from.mins[half] - bias.in_mins * from.scales[half];
                }
            }
            transpose(&quants, bias.add, &mut record.quants);
        }
    }
}

/// Moves groups of four quants.
#[inline(always)]
pub(super) fn transpose(rows: &[[u8; BLOCK]; PANEL], bias: u8, out: &mut [[u8; 4 * PANEL]; BLOCK / 4]) {
    for (row, quants) in rows.iter().enumerate() {
        for (out, quants) in out.iter_mut().zip(quants.as_chunks::<4>().0) {
            out[4 * row..][..4].copy_from_slice(&quants.map(|quant| quant.wrapping_add(bias)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scratch_for_wide_rows_holds_the_panels_of_narrower_ones() {
        for size in [size_of::<Record>(), size_of::<[f32; PANEL]>()] {
            for widest in 1..400 {
                let room = room(widest, size);
                assert!((1..=widest).all(|length| length * panels(length * size) <= room), "{widest}");
            }
        }
    }
}
