//! Quantizes plain rows, as loading a checkpoint "in q4_0" does.
//!
//! Rows are distributed over the threads, and each row is read, checked and stored while it is in a cache. Blocks are
//! rounded as by ggml's reference quantizers, which candle has ported.

use half::{bf16, f16};
use rayon::prelude::*;
use slmscope_profiles::format::WeightFormat;
use slmscope_profiles::spec::tensors::TensorSpec;

use crate::candle::quantize_blocks;
use crate::error::LoadError;
use crate::validate_weights::first_not_finite;
use crate::weights::{AlignedBytes, Loading, PIECE};

/// Values that one thread stores in one go, about.
const STRETCH: usize = 64 << 10;

/// Stores `tensor` in `format`; `row` writes the values of the row of that number. `file` is the source that
/// messages name.
///
/// # Errors
/// [`LoadError::NotFinite`] for a value that is infinite or NaN, or becomes so in the format;
/// [`LoadError::Memory`] and [`LoadError::Cancelled`].
pub fn quantize(
    tensor: &TensorSpec,
    format: WeightFormat,
    file: &str,
    row: impl Fn(usize, &mut [f32]) + Sync,
    loading: &mut Loading<'_>,
) -> Result<AlignedBytes, LoadError> {
    let columns = tensor.columns as usize;
    let row_bytes = format.bytes(1, u64::from(tensor.columns)) as usize;
    let mut stored = AlignedBytes::zeroed(tensor.bytes(format) as usize, &tensor.name)?;
    // All of them are whole rows.
    let stretch_rows = (STRETCH / columns.max(1)).max(1);
    let stretch = stretch_rows * row_bytes;
    let piece = (PIECE / stretch.max(1)).max(1) * stretch;
    for (index, bytes) in stored.as_mut_slice().chunks_mut(piece).enumerate() {
        let first = index * (piece / stretch) * stretch_rows;
        bytes.par_chunks_mut(stretch).enumerate().try_for_each_init(
            || vec![0.0; columns],
            |values, (number, bytes)| {
                for (index, bytes) in bytes.chunks_mut(row_bytes).enumerate() {
                    let number = first + number * stretch_rows + index;
                    row(number, values);
                    store(format, values, bytes).map_err(|refused| refused.error(tensor, file, number))?;
                }
                Ok::<_, LoadError>(())
            },
        )?;
        loading.advance(bytes.len())?;
    }
    Ok(stored)
}

/// Why a row cannot be stored.
enum Refused {
    /// This value, in this column, is NaN or infinite, or too large for the format.
    Value(usize, f32),
    /// The scale of a block is too large for an f16, in this byte.
    Scale(usize, f32),
    /// candle's error.
    Kernel(candle_core::Error),
}

impl Refused {
    fn error(self, tensor: &TensorSpec, file: &str, row: usize) -> LoadError {
        let not_finite = |what, found| LoadError::NotFinite {
            file: file.to_owned(),
            tensor: tensor.name.clone(),
            what,
            found,
        };
        match self {
            Self::Value(column, found) => not_finite(format!("element {column} of row {row}"), found),
            Self::Scale(byte, found) => {
                not_finite(format!("the scale in byte {byte} of the quantized row {row}"), found)
            }
            Self::Kernel(source) => LoadError::kernel(&tensor.name)(source),
        }
    }
}

/// Stores one row.
fn store(format: WeightFormat, values: &[f32], bytes: &mut [u8]) -> Result<(), Refused> {
    if let Some(column) = values.iter().position(|value| !value.is_finite()) {
        return Err(Refused::Value(column, values[column]));
    }
    match format {
        WeightFormat::F32 => {
            for (place, value) in bytes.chunks_exact_mut(4).zip(values) {
                place.copy_from_slice(&value.to_le_bytes());
            }
        }
        WeightFormat::F16 => {
            for (place, value) in bytes.chunks_exact_mut(2).zip(values) {
                place.copy_from_slice(&f16::from_f32(*value).to_le_bytes());
            }
        }
        WeightFormat::Bf16 => {
            for (place, value) in bytes.chunks_exact_mut(2).zip(values) {
                place.copy_from_slice(&bf16::from_f32(*value).to_le_bytes());
            }
        }
        _ => quantize_blocks(format, values, bytes).map_err(Refused::Kernel)?,
    }
    match first_not_finite(format, bytes) {
        None => Ok(()),
        Some((at, found)) if format.block_elements() > 1 => Err(Refused::Scale(at, found)),
        Some((at, found)) => Err(Refused::Value(at / format.block_bytes() as usize, found)),
    }
}

/// The values of `bytes`, numbers of the plain `format` at any alignment. Formats in blocks have none here.
pub fn widen(format: WeightFormat, bytes: &[u8], values: &mut [f32]) {
    match format {
        WeightFormat::F32 => {
            for (value, bytes) in values.iter_mut().zip(bytes.as_chunks().0) {
                *value = f32::from_le_bytes(*bytes);
            }
        }
        WeightFormat::F16 => {
            for (value, bytes) in values.iter_mut().zip(bytes.as_chunks().0) {
                *value = f16::from_le_bytes(*bytes).to_f32();
            }
        }
        WeightFormat::Bf16 => {
            for (value, bytes) in values.iter_mut().zip(bytes.as_chunks().0) {
                *value = bf16::from_le_bytes(*bytes).to_f32();
            }
        }
        _ => values.fill(f32::NAN),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use slmscope_profiles::spec::tensors::Role;

    use super::*;
    use crate::candle::dequantize;

    const ROWS: u32 = 67;
    const COLUMNS: u32 = 1024;

    fn stored(format: WeightFormat, row: impl Fn(usize, &mut [f32]) + Sync) -> Result<Vec<u8>, LoadError> {
        let name = "blk.0.attn_q.weight".to_owned();
        let tensor = TensorSpec { name, rows: ROWS, columns: COLUMNS, role: Role::Matrix };
        let (cancel, mut done) = (AtomicBool::new(false), 0);
        let mut report = |now, _| done = now;
        let bytes = quantize(&tensor, format, "m.safetensors", row, &mut Loading::new(&cancel, &mut report))?;
        assert_eq!(done, tensor.bytes(format));
        Ok(bytes.as_slice().to_vec())
    }

    /// Numbers of a bell curve, about, of deviation 0.02.
    fn value(row: usize, column: usize) -> f32 {
        let mut state = (row * COLUMNS as usize + column) as u64 + 1;
        let mut sum = 0.0;
        for _ in 0..4 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            sum += (state >> 40) as f32 / (1 << 24) as f32 - 0.5;
        }
        sum * 0.02 * 3.0_f32.sqrt()
    }

    fn bell(row: usize, values: &mut [f32]) {
        values.iter_mut().enumerate().for_each(|(column, place)| *place = value(row, column));
    }

    /// Errors of uniform steps over what a block of 32 or 256 such numbers spans; the limits are a quarter
    /// above what ggml's own quantizers leave.
    #[test]
    fn rows_come_back_as_exactly_as_the_format_can_hold_them() {
        for (format, limit) in [
            (WeightFormat::F32, 0.0),
            (WeightFormat::F16, 4e-4),
            (WeightFormat::Bf16, 3e-3),
            (WeightFormat::Q8_0, 7e-3),
            (WeightFormat::Q6K, 0.022),
            (WeightFormat::Q5_1, 0.045),
            (WeightFormat::Q5_0, 0.05),
            (WeightFormat::Q5K, 0.045),
            (WeightFormat::Q4_1, 0.09),
            (WeightFormat::Q4_0, 0.11),
            (WeightFormat::Q4K, 0.09),
            (WeightFormat::Q3K, 0.2),
            (WeightFormat::Q2K, 0.4),
        ] {
            let values = dequantize(format, &stored(format, bell).unwrap()).unwrap();
            let (mut error, mut square) = (0.0_f64, 0.0_f64);
            for (index, found) in values.iter().enumerate() {
                let exact = value(index / COLUMNS as usize, index % COLUMNS as usize);
                error += f64::from(exact - found).powi(2);
                square += f64::from(exact).powi(2);
            }
            let relative = (error / square).sqrt();
            assert!(relative <= limit && (limit == 0.0 || relative > limit / 3.0), "{format}: {relative}");
        }
    }

    #[test]
    fn what_is_no_number_is_refused_with_its_place() {
        for format in WeightFormat::ALL {
            for wild in [f32::NAN, f32::INFINITY] {
                let row = |row: usize, values: &mut [f32]| {
                    bell(row, values);
                    if row == 66 {
                        values[1000] = wild;
                    }
                };
                let error = stored(format, row).unwrap_err().to_string();
                let says = "m.safetensors: tensor blk.0.attn_q.weight: element 1000 of row 66 is ";
                assert!(error.starts_with(says), "{error}");
            }
        }
    }

    #[test]
    fn extremes_give_numbers_or_an_error_and_never_a_panic() {
        for format in WeightFormat::ALL {
            for size in [0.0, f32::MIN_POSITIVE / 2.0, 1e-30, 60_000.0, 1e6, 1e30, f32::MAX] {
                for sign in [1.0, -1.0] {
                    let row = |_: usize, values: &mut [f32]| {
                        values.fill(sign * size);
                        values[3] = -size;
                        values[500] = 0.0;
                    };
                    let Ok(bytes) = stored(format, row) else {
                        assert!(size > 65_504.0 && format != WeightFormat::F32, "{format} {size}");
                        continue;
                    };
                    let values = dequantize(format, &bytes).unwrap();
                    assert!(values.iter().all(|value| value.is_finite()), "{format} {size}");
                }
            }
        }
    }

    #[test]
    fn numbers_are_widened_from_any_place() {
        let values = [1.5_f32, -2.0, 0.25];
        let odd = |bytes: Vec<u8>| [&[7], bytes.as_slice()].concat();
        let f32s = odd(values.iter().flat_map(|value| value.to_le_bytes()).collect());
        let f16s = odd(values.iter().flat_map(|value| f16::from_f32(*value).to_le_bytes()).collect());
        let bf16s = odd(values.iter().flat_map(|value| bf16::from_f32(*value).to_le_bytes()).collect());
        for (format, bytes) in
            [(WeightFormat::F32, f32s), (WeightFormat::F16, f16s), (WeightFormat::Bf16, bf16s)]
        {
            let mut found = [0.0; 3];
            widen(format, &bytes[1..], &mut found);
            assert_eq!(found.map(f32::to_bits), values.map(f32::to_bits), "{format}");
        }
    }
}
