//! Where a tensor lies in a GGUF file, and how it is loaded.
//!
//! Blocks that an executor has kernels for are read in place. The two formats that ggml uses for activations are
//! converted when they are loaded, without loss for a product:
//!
//! | in the file | in memory |
//! |---|---|
//! | q8_1: scale f16, sum f16, 32 × i8 | q8_0: the sum is left out |
//! | q8_K: scale f32, 256 × i8, 16 sums of i16 | f32: an f16 could not hold the scale |

use std::ops::Range;
use std::sync::Arc;

use half::f16;
use slmscope_profiles::format::WeightFormat;
use slmscope_profiles::spec::tensors::TensorSpec;

use crate::error::LoadError;
use crate::gguf::{GgmlType, TensorInfo};
use crate::map::MappedFile;
use crate::quantize::quantize;
use crate::weights::{AlignedBytes, Loading, PIECE, TensorBytes};

/// A tensor of the spec in a file.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// Its bytes there.
    pub(crate) range: Range<usize>,
    stored: GgmlType,
    /// How it is kept in memory.
    pub(crate) format: WeightFormat,
}

impl Place {
    /// The place of `tensor`, which begins `first` elements into `info`. `None` if no executor computes with the
    /// type, or its blocks do not divide the rows.
    pub(super) fn new(info: &TensorInfo, first: u64, tensor: &TensorSpec) -> Option<Self> {
        let stored = info.ggml_type();
        let format = match stored {
            GgmlType::Q8_1 => WeightFormat::Q8_0,
            GgmlType::Q8_K => WeightFormat::F32,
            other => other.format()?,
        };
        stored.bytes_of(u64::from(tensor.columns))?;
        let start = info.range().start + stored.bytes_of(first)? as usize;
        let range = start..start + stored.bytes_of(tensor.elements())? as usize;
        Some(Self { range, stored, format })
    }

    /// Whether the bytes are as many as `tensor` takes.
    pub(crate) fn holds(&self, tensor: &TensorSpec) -> bool {
        self.stored.bytes_of(tensor.elements()) == Some(self.range.len() as u64)
    }

    /// The bytes of the tensor, in its format: in the map, or stored anew.
    pub(crate) fn bytes(
        &self,
        tensor: &TensorSpec,
        file: &Arc<MappedFile>,
        loading: &mut Loading<'_>,
    ) -> Result<TensorBytes, LoadError> {
        let bytes = match self.stored {
            GgmlType::Q8_1 => self.without_sums(tensor, file, loading)?,
            GgmlType::Q8_K => self.widened(tensor, file, loading)?,
            _ => {
                let bytes = TensorBytes::Mapped(Arc::clone(file), self.range.clone());
                bytes.check(&tensor.name, self.format, loading)?;
                return Ok(bytes);
            }
        };
        // Else the process would hold the weights twice.
        file.release(self.range.clone());
        Ok(TensorBytes::Owned(Arc::new(bytes)))
    }

    fn without_sums(
        &self,
        tensor: &TensorSpec,
        file: &MappedFile,
        loading: &mut Loading<'_>,
    ) -> Result<AlignedBytes, LoadError> {
        const FROM: usize = 36;
        const TO: usize = 34;
        const BLOCKS: usize = PIECE / TO;
        let mut kept = AlignedBytes::zeroed(tensor.bytes(self.format) as usize, &tensor.name)?;
        let stored = &file.bytes()[self.range.clone()];
        let pieces = kept.as_mut_slice().chunks_mut(BLOCKS * TO).zip(stored.chunks(BLOCKS * FROM));
        for (piece, (to, from)) in pieces.enumerate() {
            for (index, (to, from)) in to.chunks_exact_mut(TO).zip(from.chunks_exact(FROM)).enumerate() {
                let scale = f16::from_le_bytes([from[0], from[1]]);
                if !scale.is_finite() {
                    let at = self.range.start + (piece * BLOCKS + index) * FROM;
                    return Err(LoadError::NotFinite {
                        file: file.name().to_owned(),
                        tensor: tensor.name.clone(),
                        what: format!("the scale at byte {at}"),
                        found: scale.to_f32(),
                    });
                }
                to[..2].copy_from_slice(&from[..2]);
                to[2..].copy_from_slice(&from[4..]);
            }
            loading.advance(to.len())?;
        }
        Ok(kept)
    }

    fn widened(
        &self,
        tensor: &TensorSpec,
        file: &MappedFile,
        loading: &mut Loading<'_>,
    ) -> Result<AlignedBytes, LoadError> {
        const BLOCK: usize = 292;
        const QUANTS: usize = 256;
        let stored = file.bytes().get(self.range.clone()).unwrap_or_default();
        let row_bytes = tensor.columns as usize / QUANTS * BLOCK;
        let row = |row: usize, values: &mut [f32]| {
            // A file that was cut off meanwhile reads as NaN, which is refused.
            values.fill(f32::NAN);
            let blocks = stored.get(row * row_bytes..(row + 1) * row_bytes).unwrap_or_default();
            for (block, values) in blocks.chunks_exact(BLOCK).zip(values.chunks_exact_mut(QUANTS)) {
                let scale = f32::from_le_bytes([block[0], block[1], block[2], block[3]]);
                for (value, &quant) in values.iter_mut().zip(&block[4..]) {
                    *value = scale * f32::from(quant.cast_signed());
                }
            }
        };
        quantize(tensor, self.format, file.name(), row, loading)
    }
}

/// Notes for the user about tensors that are converted.
pub(super) fn notes<'a>(places: impl Iterator<Item = &'a Place> + Clone) -> Vec<String> {
    let note = |stored: GgmlType, kept: WeightFormat| {
        let count = places.clone().filter(|place| place.stored == stored).count();
        (count > 0).then(|| format!("tensors in {stored} that are kept in {kept}, without loss: {count}"))
    };
    [note(GgmlType::Q8_1, WeightFormat::Q8_0), note(GgmlType::Q8_K, WeightFormat::F32)]
        .into_iter()
        .flatten()
        .collect()
}
