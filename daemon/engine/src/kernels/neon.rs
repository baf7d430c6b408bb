//! Products with NEON: int8 dot products for block formats, fused multiply-adds for plain ones.
//!
//! Quants are multiplied signed: a format's bias is subtracted when they are unpacked. What remains beside their scale
//! is the minimum, in formats that have one.
//!
//! | file | multiplies | with |
//! |---|---|---|
//! | `legacy`, `k_quants` | one row, block formats | a [`Dot`] |
//! | `tile` | more rows, block formats | a [`Dot`] |
//! | `matrix` | more rows, block formats | the int8 matrix product |
//! | `plain` | formats without blocks | f32 |
//!
//! Inner loops pass no closures to `array::map` and the like: the compiler has left these as calls.
//!
//! NEON itself is in the baseline of every aarch64 target that this is built for. A [`Dot`] stands for the
//! instructions beyond that.

mod dot;
mod k_quants;
mod legacy;
mod matrix;
mod plain;
mod tile;

use std::arch::aarch64::{
    float32x4_t, int8x16_t, uint8x16_t, uint16x4_t, vld1q_f32, vld1q_s8, vld1q_u8, vst1q_f32, vst1q_u8,
};
use std::arch::asm;

use slmscope_profiles::format::WeightFormat;

use super::Isa;
use super::activations::{Activations, Tile};
use super::blocks::{by_family, with_block};
use super::output::Columns;
use super::panel::Scratch;
use dot::{Dot, Sdot, Widening};
use matrix::Smmla;

/// One row of activations times rows of weights.
///
/// # Safety
/// The CPU has `isa`.
#[expect(unsafe_code, reason = "instructions that were detected")]
#[target_feature(enable = "neon")]
pub(super) unsafe fn gemv(
    isa: Isa,
    format: WeightFormat,
    rows: &[u8],
    row_bytes: usize,
    input: &Tile,
    out: &mut [f32],
) {
    match isa {
        Isa::Neon => gemv_by(Widening, format, rows, row_bytes, input, out),
        // SAFETY: the other sets have the dot product.
        _ => gemv_by(unsafe { Sdot::new() }, format, rows, row_bytes, input, out),
    }
}

#[inline]
#[target_feature(enable = "neon")]
fn gemv_by<D: Dot>(
    dot: D,
    format: WeightFormat,
    rows: &[u8],
    row_bytes: usize,
    input: &Tile,
    out: &mut [f32],
) {
    by_family!(
        format,
        plain => plain::gemv(format, rows, row_bytes, input, out),
        legacy => legacy::gemv(dot, format, rows, row_bytes, input, out),
        k_quants => k_quants::gemv(dot, format, rows, row_bytes, input, out),
    );
}

/// Rows of activations times rows of weights.
///
/// # Safety
/// The CPU has `isa`.
#[expect(unsafe_code, reason = "instructions that were detected")]
#[target_feature(enable = "neon")]
pub(super) unsafe fn gemm(
    isa: Isa,
    format: WeightFormat,
    rows: &[u8],
    row_bytes: usize,
    input: &Activations,
    out: &mut Columns<'_>,
    scratch: &mut Scratch,
) {
    let records = &mut scratch.records;
    with_block!(
        format,
        B => match isa {
            Isa::Neon => tile::gemm::<B, _>(Widening, rows, row_bytes, input, out, records),
            Isa::Dotprod => {
                // SAFETY: the CPU has the dot product.
                let dot = unsafe { Sdot::new() };
                tile::gemm::<B, _>(dot, rows, row_bytes, input, out, records);
            }
            _ => {
                // SAFETY: the CPU has the matrix product.
                let product = unsafe { Smmla::new() };
                matrix::gemm::<B>(product, rows, row_bytes, input, out, records);
            }
        },
        plain => plain::gemm(format, rows, row_bytes, input, out, &mut scratch.values)
    );
}

#[inline]
#[target_feature(enable = "neon")]
#[expect(unsafe_code, reason = "a load")]
fn load(bytes: &[u8; 16]) -> uint8x16_t {
    // SAFETY: as many bytes as are read; no alignment is needed.
    unsafe { vld1q_u8(bytes.as_ptr()) }
}

#[inline]
#[target_feature(enable = "neon")]
#[expect(unsafe_code, reason = "a load")]
fn load_signed(bytes: &[i8; 16]) -> int8x16_t {
    // SAFETY: as many bytes as are read; no alignment is needed.
    unsafe { vld1q_s8(bytes.as_ptr()) }
}

#[inline]
#[target_feature(enable = "neon")]
#[expect(unsafe_code, reason = "a store")]
fn store(out: &mut [u8; 16], bytes: uint8x16_t) {
    // SAFETY: as many bytes as are written; no alignment is needed.
    unsafe { vst1q_u8(out.as_mut_ptr(), bytes) }
}

#[inline]
#[target_feature(enable = "neon")]
#[expect(unsafe_code, reason = "a load")]
fn load_floats(values: &[f32; 4]) -> float32x4_t {
    // SAFETY: as many values as are read; no alignment is needed.
    unsafe { vld1q_f32(values.as_ptr()) }
}

#[inline]
#[target_feature(enable = "neon")]
#[expect(unsafe_code, reason = "a store")]
fn store_floats(out: &mut [f32; 4], values: float32x4_t) {
    // SAFETY: as many values as are written; no alignment is needed.
    unsafe { vst1q_f32(out.as_mut_ptr(), values) }
}

/// `N` values of `values` from `start` on.
#[inline(always)]
fn at<const N: usize, T>(values: &[T], start: usize) -> &[T; N] {
    values[start..].first_chunk().expect("arrays are long enough for what is read of them")
}

/// The f16 at `at`. The conversion is in the baseline, unlike arithmetic in f16.
#[inline(always)]
#[expect(unsafe_code, reason = "std has no stable f16")]
fn f16(block: &[u8], start: usize) -> f32 {
    let bytes: &[u8; 2] = at(block, start);
    let value: f32;
    // SAFETY: reads the two bytes; no alignment is needed.
    unsafe {
        asm!(
            "ldr {value:h}, [{bytes}]",
            "fcvt {value:s}, {value:h}",
            value = out(vreg) value,
            bytes = in(reg) bytes.as_ptr(),
            options(pure, readonly, nostack, preserves_flags)
        );
    }
    value
}

/// Four f16 as f32.
#[inline(always)]
#[expect(unsafe_code, reason = "std has no stable f16")]
pub(crate) fn widen_f16(bits: uint16x4_t) -> float32x4_t {
    let values: float32x4_t;
    // SAFETY: an instruction of the baseline, on registers alone.
    unsafe {
        asm!(
            "fcvtl {values:v}.4s, {bits:v}.4h",
            values = out(vreg) values,
            bits = in(vreg) bits,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    values
}
