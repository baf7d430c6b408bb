//! Matrix products: activations times the transpose of a weight matrix that stays in its file's layout.
//!
//! ```text
//! input rows ──Tile::fill──▶ Activations ──┐
//!                                          ├─▶ Kernels::matmul ──▶ columns of the output
//! weight bytes, a range of their rows ─────┘
//! ```
//!
//! [`Kernels`] are the functions of one instruction set that this machine has. No function here starts a
//! thread or allocates: the caller fills the tiles of [`Activations`] and multiplies ranges of weight rows on
//! whatever threads it likes, each with a [`Scratch`] of its own. An element of the output depends on its
//! row of weights and on the input alone, to the last bit: not on the ranges, nor on what else is multiplied
//! in the same call.
//!
//! - One row of input ([`Kernels::gemv`]): a single pass over the stored bytes, unpacked in registers.
//! - A few rows: one after the other, over weights that stay in the first-level cache.
//! - More rows ([`Kernels::matmul`]): sixteen rows of weights at a time are repacked into scratch memory and stay
//!   in the cache while all input rows are multiplied with them.
//!
//! Block formats multiply in int8: the input is rounded once, in blocks of 32 values with a scale each
//! ([`Form::Quantized`]), and shared by all matrices that it is multiplied with. Plain formats multiply in f32
//! ([`Form::Plain`]).

#![expect(clippy::inline_always, reason = "plain code is compiled anew with the instructions of each caller")]

mod activations;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod blocks;
mod isa;
mod k_quants;
mod legacy;
#[cfg(target_arch = "aarch64")]
mod neon;
mod output;
mod panel;
mod plain;
mod scalar;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod streams;
#[cfg(test)]
mod tests;

use std::ops::Range;

use slmscope_profiles::format::WeightFormat;

pub use activations::{Activations, FEW, Form, TILE, Tile};
pub use blocks::dequantize;
pub use isa::{Isa, detect, is_available};
#[cfg(target_arch = "aarch64")]
pub(crate) use neon::widen_f16;
pub use output::{Columns, Output};
pub use panel::{PANEL, Scratch};

/// Weights that stay in the first-level cache while a few rows pass by, bytes.
const FEW_BYTES: usize = 16 << 10;

/// The kernels of one instruction set, which this machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kernels {
    isa: Isa,
}

/// A weight matrix as it is stored: rows of whole blocks, one after the other.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a> {
    /// How it is stored.
    pub format: WeightFormat,
    /// All of its rows.
    pub bytes: &'a [u8],
    /// Elements of a row.
    pub columns: usize,
}

impl Matrix<'_> {
    /// Bytes of one row.
    pub fn row_bytes(&self) -> usize {
        self.format.bytes(1, self.columns as u64) as usize
    }
}

impl Default for Kernels {
    /// Those of the fastest instruction set of this machine.
    fn default() -> Self {
        Self { isa: isa::detect() }
    }
}

impl Kernels {
    /// The kernels of `isa`. `None` if this machine lacks it or this build has none for it.
    pub fn new(isa: Isa) -> Option<Self> {
        is_available(isa).then_some(Self { isa })
    }

    /// Their instruction set.
    pub fn isa(self) -> Isa {
        self.isa
    }

    /// One row of input times the transpose of `rows` of `matrix`; `out` has an element for each of these.
    ///
    /// # Panics
    /// If sizes do not fit each other, or the activations are in the wrong form for the format.
    pub fn gemv(self, matrix: Matrix<'_>, rows: Range<usize>, input: &Activations, out: &mut [f32]) {
        check(matrix, &rows, input, out.len());
        assert_eq!(input.rows(), 1, "gemv multiplies one row");
        self.row(matrix, rows, &input.tiles()[0], out);
    }

    /// A tile of one row times the transpose of `rows` of `matrix`.
    fn row(self, matrix: Matrix<'_>, rows: Range<usize>, input: &Tile, out: &mut [f32]) {
        let row_bytes = matrix.row_bytes();
        let bytes = &matrix.bytes[rows.start * row_bytes..rows.end * row_bytes];
        let format = matrix.format;
        match self.isa {
            #[cfg(target_arch = "x86_64")]
            #[expect(unsafe_code, reason = "instructions that were detected")]
            // SAFETY: `Kernels` exist for instruction sets of this machine only.
            Isa::Avx512Vnni => unsafe { avx512::gemv(format, bytes, row_bytes, input, out) },
            #[cfg(target_arch = "x86_64")]
            #[expect(unsafe_code, reason = "instructions that were detected")]
            // SAFETY: as above.
            Isa::Avx2 => unsafe { avx2::gemv(format, bytes, row_bytes, input, out) },
            #[cfg(target_arch = "aarch64")]
            #[expect(unsafe_code, reason = "instructions that were detected")]
            // SAFETY: as above.
            Isa::Neon | Isa::Dotprod | Isa::I8mm => unsafe {
                neon::gemv(self.isa, format, bytes, row_bytes, input, out);
            },
            _ => scalar::gemv(format, bytes, row_bytes, input, out),
        }
    }

    /// All rows of input times the transpose of `rows` of `matrix`. Best called with ranges that start and
    /// end at multiples of [`PANEL`].
    ///
    /// # Panics
    /// If sizes do not fit each other, or the activations are in the wrong form for the format.
    pub fn matmul(
        self,
        matrix: Matrix<'_>,
        rows: Range<usize>,
        input: &Activations,
        out: &mut Columns<'_>,
        scratch: &mut Scratch,
    ) {
        check(matrix, &rows, input, out.width());
        assert_eq!(input.rows(), out.rows(), "a row of output for each of input");
        if input.tile_rows() == 1 {
            return self.few(matrix, rows, input, out);
        }
        let row_bytes = matrix.row_bytes();
        let bytes = &matrix.bytes[rows.start * row_bytes..rows.end * row_bytes];
        let format = matrix.format;
        match self.isa {
            #[cfg(target_arch = "x86_64")]
            #[expect(unsafe_code, reason = "instructions that were detected")]
            // SAFETY: `Kernels` exist for instruction sets of this machine only.
            Isa::Avx512Vnni => unsafe { avx512::gemm(format, bytes, row_bytes, input, out, scratch) },
            #[cfg(target_arch = "x86_64")]
            #[expect(unsafe_code, reason = "instructions that were detected")]
            // SAFETY: as above.
            Isa::Avx2 => unsafe { avx2::gemm(format, bytes, row_bytes, input, out, scratch) },
            #[cfg(target_arch = "aarch64")]
            #[expect(unsafe_code, reason = "instructions that were detected")]
            // SAFETY: as above.
            Isa::Neon | Isa::Dotprod | Isa::I8mm => unsafe {
                neon::gemm(self.isa, format, bytes, row_bytes, input, out, scratch);
            },
            _ => scalar::gemm(format, bytes, row_bytes, input, out, scratch),
        }
    }
}

impl Kernels {
    /// Rows of input that have a tile each.
    fn few(self, matrix: Matrix<'_>, rows: Range<usize>, input: &Activations, out: &mut Columns<'_>) {
        let size = match input.rows() {
            1 => rows.len(),
            _ => (FEW_BYTES / matrix.row_bytes()).max(1).next_multiple_of(PANEL),
        };
        for start in rows.clone().step_by(size.max(1)) {
            let stretch = start..(start + size).min(rows.end);
            let columns = start - rows.start..stretch.end - rows.start;
            for (row, tile) in input.tiles().iter().enumerate() {
                self.row(matrix, stretch.clone(), tile, &mut out.row_mut(row)[columns.clone()]);
            }
        }
    }

    /// Writes the values of whole blocks of `format` to `out`: the same as the function of this name.
    ///
    /// # Panics
    /// If `bytes` and `out` are not the same whole number of blocks.
    pub fn dequantize(self, format: WeightFormat, bytes: &[u8], out: &mut [f32]) {
        match self.isa {
            #[cfg(target_arch = "x86_64")]
            #[expect(unsafe_code, reason = "instructions that were detected")]
            // SAFETY: `Kernels` exist for instruction sets of this machine only.
            Isa::Avx512Vnni => unsafe { avx512::dequantize(format, bytes, out) },
            #[cfg(target_arch = "x86_64")]
            #[expect(unsafe_code, reason = "instructions that were detected")]
            // SAFETY: as above.
            Isa::Avx2 => unsafe { avx2::dequantize(format, bytes, out) },
            _ => dequantize(format, bytes, out),
        }
    }
}

fn check(matrix: Matrix<'_>, rows: &Range<usize>, input: &Activations, width: usize) {
    assert!(matrix.format.divides(matrix.columns as u64), "rows of whole blocks");
    assert_eq!(input.form(), Form::of(matrix.format), "activations in the format's form");
    assert_eq!(input.columns(), matrix.columns, "as many columns in the input as in the weights");
    assert!(rows.end * matrix.row_bytes() <= matrix.bytes.len(), "rows of the matrix");
    assert_eq!(rows.len(), width, "an output for each row of weights");
}
