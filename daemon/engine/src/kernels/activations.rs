//! Activations as the kernels read them: tiles of up to sixteen rows, plain or rounded to int8.
//!
//! A quantized tile holds blocks of 32 values of a row, and the blocks of the same columns of its rows side by
//! side: block `b` of row `m` of `r` rows is number `b * r + m`. A block's value is `scale * quant`, with
//! quants of [-127, 127] and `scale = max |value| / 127`; a block of nothing but (nearly) zeroes has scale 0,
//! one with a value that is not finite has scale NaN. Sums of quants are kept beside it, since products with
//! weights that have a minimum or a bias need them:
//!
//! | array | content | for weights |
//! |---|---|---|
//! | `offsets` | -128 × sum of 32 quants | signed, stored biased by 128 |
//! | `sums` | scale × sum of 32 quants | with a minimum per 32 |
//! | `halves` | scale × sums of 16 quants each | with a scale or minimum per 16 |
//! | `octets` | quants of eight blocks: first quarters of all, second ones … | in Q4_0, with AVX-512 and one row |
//!
//! A plain tile holds the values of one column of its rows side by side. In both forms a tile of one row is
//! that row. A [`FEW`] rows have a tile each, because re-laying weights takes longer than they do.

use slmscope_profiles::format::WeightFormat;

use super::Kernels;

/// Rows of a full tile.
pub const TILE: usize = 16;
/// Rows that are multiplied one by one.
pub const FEW: usize = 8;
/// Values of a block.
pub(super) const BLOCK: usize = 32;
/// Values of eight blocks.
pub(super) const OCTET: usize = 8 * BLOCK;

/// What activations are converted to before they are multiplied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// Kept in f32.
    Plain,
    /// Rounded to int8 in blocks of 32.
    Quantized,
}

impl Form {
    /// The form that weights of `format` are multiplied with.
    pub fn of(format: WeightFormat) -> Self {
        if format.block_elements() == 1 { Self::Plain } else { Self::Quantized }
    }
}

/// Rows of activations in one form.
#[derive(Debug)]
pub struct Activations {
    form: Form,
    rows: usize,
    columns: usize,
    most_columns: usize,
    tiles: Vec<Tile>,
}

/// Up to [`TILE`] rows of activations.
#[derive(Debug, Default)]
pub struct Tile {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) quants: Vec<[i8; BLOCK]>,
    pub(super) scales: Vec<f32>,
    pub(super) offsets: Vec<i32>,
    pub(super) sums: Vec<f32>,
    pub(super) halves: Vec<[f32; 2]>,
    /// Whether weights follow for which AVX-512 reads `octets`; they are filled there alone.
    pub(super) in_octets: bool,
    pub(super) octets: Vec<[i8; OCTET]>,
    pub(super) values: Vec<f32>,
}

impl Activations {
    /// Room for `rows` rows of up to `columns` columns.
    pub fn new(form: Form, rows: usize, columns: usize) -> Self {
        let tile = |index: usize| {
            let elements = rows.saturating_sub(index * TILE).clamp(1, TILE) * columns;
            let (blocks, values) = match form {
                Form::Plain => (0, elements),
                Form::Quantized => (elements / BLOCK, 0),
            };
            let octets = if index < FEW { blocks.min(columns / BLOCK).div_ceil(OCTET / BLOCK) } else { 0 };
            Tile {
                rows: 0,
                columns: 0,
                quants: vec![[0; BLOCK]; blocks],
                scales: vec![0.0; blocks],
                offsets: vec![0; blocks],
                sums: vec![0.0; blocks],
                halves: vec![[0.0; 2]; blocks],
                in_octets: false,
                octets: vec![[0; OCTET]; octets],
                values: vec![0.0; values],
            }
        };
        let tiles = (0..rows.div_ceil(TILE).max(rows.min(FEW))).map(tile).collect();
        Self { form, rows: 0, columns: 0, most_columns: columns, tiles }
    }

    /// Sets the shape of what is filled in next, and the formats of the weights that it is multiplied with
    /// then. What was there before is lost.
    ///
    /// # Panics
    /// If there is no room for it, or `columns` is no multiple of 32 and the form quantized.
    pub fn reshape(&mut self, rows: usize, columns: usize, weights: impl IntoIterator<Item = WeightFormat>) {
        let in_octets = weights.into_iter().any(|format| format == WeightFormat::Q4_0);
        (self.rows, self.columns) = (rows, columns);
        let height = self.tile_rows();
        assert!(
            rows.div_ceil(height) <= self.tiles.len() && columns <= self.most_columns,
            "room for the input"
        );
        assert!(self.form == Form::Plain || columns.is_multiple_of(BLOCK), "whole blocks");
        for (index, tile) in self.tiles_mut().iter_mut().enumerate() {
            (tile.rows, tile.columns) = ((rows - index * height).min(height), columns);
            tile.in_octets = in_octets && tile.rows == 1 && !tile.octets.is_empty();
            let room = tile.quants.len() * BLOCK + tile.values.len();
            assert!(tile.rows * columns <= room, "room for the input");
        }
    }

    /// Rows of a tile but the last: [`TILE`], or one if there are a [`FEW`].
    pub fn tile_rows(&self) -> usize {
        if self.rows <= FEW { 1 } else { TILE }
    }

    /// The tiles to be filled: tile `t` with rows `t` times [`Self::tile_rows`] and on. They can be filled on
    /// different threads.
    pub fn tiles_mut(&mut self) -> &mut [Tile] {
        let used = self.rows.div_ceil(self.tile_rows());
        &mut self.tiles[..used]
    }

    /// Fills all tiles with `input`, rows of [`Self::columns`] values.
    ///
    /// # Panics
    /// If `input` has another number of values.
    pub fn fill(&mut self, kernels: Kernels, input: &[f32]) {
        assert_eq!(input.len(), self.rows * self.columns, "whole rows");
        let stretch = (self.tile_rows() * self.columns).max(1);
        for (tile, input) in self.tiles_mut().iter_mut().zip(input.chunks(stretch)) {
            tile.fill(kernels, input);
        }
    }

    pub(super) fn tiles(&self) -> &[Tile] {
        &self.tiles[..self.rows.div_ceil(self.tile_rows())]
    }

    /// Their form.
    pub fn form(&self) -> Form {
        self.form
    }

    /// Rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Values of a row.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Bytes that they keep, used or not.
    pub fn memory(&self) -> usize {
        self.tiles.iter().map(Tile::memory).sum()
    }
}

impl Tile {
    /// How many rows it holds.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Converts `input`, its rows one after the other.
    ///
    /// # Panics
    /// If `input` has another number of values.
    pub fn fill(&mut self, kernels: Kernels, input: &[f32]) {
        assert_eq!(input.len(), self.rows * self.columns, "the tile's rows");
        match kernels.isa() {
            #[cfg(target_arch = "x86_64")]
            #[expect(unsafe_code, reason = "instructions that were detected")]
            // SAFETY: `Kernels` exist for instruction sets of this machine only.
            super::Isa::Avx512Vnni => unsafe { self.fill_avx512(input) },
            #[cfg(target_arch = "x86_64")]
            #[expect(unsafe_code, reason = "instructions that were detected")]
            // SAFETY: as above.
            super::Isa::Avx2 => unsafe { self.fill_avx2(input) },
            _ => self.fill_with(input),
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
    fn fill_avx512(&mut self, input: &[f32]) {
        self.fill_with(input);
        if self.in_octets {
            self.arrange();
        }
    }

    /// Fills `octets` from `quants`. What a last one has beyond the row is left as it is; weights are 0 there.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn arrange(&mut self) {
        const QUARTER: usize = BLOCK / 4;
        let blocks = self.columns / BLOCK;
        for (octet, quants) in self.octets.iter_mut().zip(self.quants[..blocks].chunks(OCTET / BLOCK)) {
            for (block, quants) in quants.iter().enumerate() {
                for (number, quarter) in quants.as_chunks::<QUARTER>().0.iter().enumerate() {
                    let at = (number * (OCTET / BLOCK) + block) * QUARTER;
                    octet[at..at + QUARTER].copy_from_slice(quarter);
                }
            }
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    fn fill_avx2(&mut self, input: &[f32]) {
        self.fill_with(input);
    }

    #[inline(always)]
    fn fill_with(&mut self, input: &[f32]) {
        if self.values.is_empty() { self.quantize(input) } else { self.transpose(input) }
    }

    #[inline(always)]
    fn transpose(&mut self, input: &[f32]) {
        if self.rows == 1 {
            return self.values[..input.len()].copy_from_slice(input);
        }
        for (row, input) in input.chunks_exact(self.columns).enumerate() {
            for (place, &value) in self.values[row..].iter_mut().step_by(self.rows).zip(input) {
                *place = value;
            }
        }
    }

    #[inline(always)]
    fn quantize(&mut self, input: &[f32]) {
        let per_row = self.columns / BLOCK;
        for (number, values) in input.as_chunks::<BLOCK>().0.iter().enumerate() {
            let at = number % per_row * self.rows + number / per_row;
            let (quants, scale) = round(values);
            let half = |quants: &[i8]| quants.iter().map(|&quant| i32::from(quant)).sum::<i32>();
            let (left, right) = (half(&quants[..BLOCK / 2]), half(&quants[BLOCK / 2..]));
            self.quants[at] = quants;
            self.scales[at] = scale;
            self.offsets[at] = -128 * (left + right);
            self.sums[at] = scale * (left + right) as f32;
            self.halves[at] = [scale * left as f32, scale * right as f32];
        }
    }

    fn memory(&self) -> usize {
        self.quants.len() * (BLOCK + 4 + 4 + 4 + 8) + self.octets.len() * OCTET + self.values.len() * 4
    }
}

/// Rounds a block to int8; also gives its scale.
#[inline(always)]
fn round(values: &[f32; BLOCK]) -> ([i8; BLOCK], f32) {
    const INFINITE: u32 = f32::INFINITY.to_bits();
    // Adding it leaves an integer, rounded to the nearest even one, in the low bits of the sum.
    const ROUND: f32 = 12_582_912.0;
    // Bits of positive numbers are in the order of the numbers, and those of infinity and NaN come last.
    let most = values.iter().map(|value| value.to_bits() & 0x7fff_ffff).fold(0, u32::max);
    if most >= INFINITE {
        return ([0; BLOCK], f32::NAN);
    }
    let most = f32::from_bits(most);
    let scale = most / 127.0;
    if scale < f32::MIN_POSITIVE {
        return ([0; BLOCK], 0.0);
    }
    let inverse = 127.0 / most;
    (values.map(|value| (value * inverse + ROUND).to_bits() as i8), scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(first: f32, rest: f32) -> [f32; BLOCK] {
        std::array::from_fn(|index| if index == 0 { first } else { rest })
    }

    #[test]
    fn blocks_are_rounded_to_the_nearest_step() {
        let (quants, scale) = round(&block(-12.7, 0.26));
        assert_eq!((quants[0], quants[1]), (-127, 3));
        assert!((scale - 0.1).abs() < 1e-7);
        for most in [f32::MAX, 1.0, 1e-30] {
            let (quants, scale) = round(&block(most, -most));
            assert_eq!((quants[0], quants[1]), (127, -127));
            assert!((f64::from(scale) * 127.0 / f64::from(most) - 1.0).abs() < 1e-6);
        }
    }

    #[test]
    fn nothing_and_nearly_nothing_is_zero() {
        assert_eq!(round(&[0.0; BLOCK]), ([0; BLOCK], 0.0));
        assert_eq!(round(&block(1e-39, -1e-38)), ([0; BLOCK], 0.0));
    }

    #[test]
    fn what_is_not_finite_stays_so() {
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let (quants, scale) = round(&block(value, 1.0));
            assert!(quants == [0; BLOCK] && scale.is_nan());
        }
    }

    #[test]
    fn a_few_rows_lie_apart() {
        let mut plain = Activations::new(Form::Plain, 40, 3);
        plain.reshape(2, 3, []);
        plain.fill(Kernels::default(), &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let [first, second] = plain.tiles() else { panic!("two tiles") };
        assert_eq!((&first.values[..3], &second.values[..3]), (&[1.0, 2.0, 3.0][..], &[4.0, 5.0, 6.0][..]));
    }

    #[test]
    fn a_tile_lies_by_columns() {
        let rows = FEW + 1;
        let mut plain = Activations::new(Form::Plain, 40, 3);
        plain.reshape(rows, 2, []);
        plain.fill(Kernels::default(), &(0..2 * rows).map(|value| value as f32).collect::<Vec<_>>());
        let columns = |value: usize| (value % rows * 2 + value / rows) as f32;
        assert_eq!(plain.tiles()[0].values[..2 * rows], (0..2 * rows).map(columns).collect::<Vec<_>>());

        let mut rounded = Activations::new(Form::Quantized, 40, 64);
        rounded.reshape(34, 64, []);
        let input: Vec<f32> = (0..34 * 64).map(|index| (index / 32) as f32).collect();
        rounded.fill(Kernels::default(), &input);
        let [full, _, rest] = rounded.tiles() else { panic!("three tiles") };
        assert_eq!((full.rows, rest.rows), (16, 2));
        let scales = |tile: &Tile, count: usize| -> Vec<f32> {
            tile.scales[..count].iter().map(|scale| (scale * 127.0).round()).collect()
        };
        assert_eq!(scales(rest, 4), [64.0, 66.0, 65.0, 67.0]);
        assert_eq!(scales(full, 17)[14..], [28.0, 30.0, 1.0]);
        assert_eq!(rest.offsets[0], -128 * 127 * 32);
        assert!((rest.halves[1][0] - 66.0 * 16.0).abs() < 1e-3);
    }
}
