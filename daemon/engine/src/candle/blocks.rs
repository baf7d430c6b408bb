//! Quantized weights for candle, without a copy of their bytes.
//!
//! candle's own tensors copy their data. But its trait for quantized storage is public, so a view of a mapped file can
//! be a `QTensor`, which the stock kernels multiply.

use std::marker::PhantomData;

use candle_core::quantized::k_quants::{
    self, BlockQ2K, BlockQ3K, BlockQ4_0, BlockQ4_1, BlockQ4K, BlockQ5_0, BlockQ5_1, BlockQ5K, BlockQ6K,
    BlockQ8_0, GgmlType,
};
use candle_core::quantized::{GgmlDType, QStorage, QTensor, QuantizedType};
use candle_core::{CpuStorage, Result};
use half::f16;
use slmscope_profiles::format::WeightFormat;

use crate::weights::TensorBytes;

/// A quantized matrix of `rows` × `columns` over `bytes`.
///
/// # Errors
/// A plain format, or bytes whose number or alignment is not that of such a matrix.
pub(super) fn tensor(
    bytes: TensorBytes,
    format: WeightFormat,
    rows: usize,
    columns: usize,
) -> Result<QTensor> {
    let storage: Box<dyn QuantizedType> = match format {
        WeightFormat::Q4_0 => Blocks::<BlockQ4_0>::over(bytes, rows * columns)?,
        WeightFormat::Q4_1 => Blocks::<BlockQ4_1>::over(bytes, rows * columns)?,
        WeightFormat::Q5_0 => Blocks::<BlockQ5_0>::over(bytes, rows * columns)?,
        WeightFormat::Q5_1 => Blocks::<BlockQ5_1>::over(bytes, rows * columns)?,
        WeightFormat::Q8_0 => Blocks::<BlockQ8_0>::over(bytes, rows * columns)?,
        WeightFormat::Q2K => Blocks::<BlockQ2K>::over(bytes, rows * columns)?,
        WeightFormat::Q3K => Blocks::<BlockQ3K>::over(bytes, rows * columns)?,
        WeightFormat::Q4K => Blocks::<BlockQ4K>::over(bytes, rows * columns)?,
        WeightFormat::Q5K => Blocks::<BlockQ5K>::over(bytes, rows * columns)?,
        WeightFormat::Q6K => Blocks::<BlockQ6K>::over(bytes, rows * columns)?,
        WeightFormat::F32 | WeightFormat::F16 | WeightFormat::Bf16 => {
            candle_core::bail!("{format} is no block format")
        }
    };
    QTensor::new(QStorage::Cpu(storage), (rows, columns))
}

/// candle's name of a format.
pub(super) fn dtype(format: WeightFormat) -> GgmlDType {
    match format {
        WeightFormat::F32 => GgmlDType::F32,
        WeightFormat::F16 => GgmlDType::F16,
        WeightFormat::Bf16 => GgmlDType::BF16,
        WeightFormat::Q4_0 => GgmlDType::Q4_0,
        WeightFormat::Q4_1 => GgmlDType::Q4_1,
        WeightFormat::Q5_0 => GgmlDType::Q5_0,
        WeightFormat::Q5_1 => GgmlDType::Q5_1,
        WeightFormat::Q8_0 => GgmlDType::Q8_0,
        WeightFormat::Q2K => GgmlDType::Q2K,
        WeightFormat::Q3K => GgmlDType::Q3K,
        WeightFormat::Q4K => GgmlDType::Q4K,
        WeightFormat::Q5K => GgmlDType::Q5K,
        WeightFormat::Q6K => GgmlDType::Q6K,
    }
}

/// Stores `values` as blocks of `format` in `bytes`, rounded as ggml's reference quantizers do.
///
/// # Errors
/// A plain format, and bytes whose number or alignment is not that of such blocks.
pub(crate) fn quantize_blocks(format: WeightFormat, values: &[f32], bytes: &mut [u8]) -> Result<()> {
    match format {
        WeightFormat::Q4_0 => from_float::<BlockQ4_0>(values, bytes),
        WeightFormat::Q4_1 => from_float::<BlockQ4_1>(values, bytes),
        WeightFormat::Q5_0 => from_float::<BlockQ5_0>(values, bytes),
        WeightFormat::Q5_1 => from_float::<BlockQ5_1>(values, bytes),
        WeightFormat::Q8_0 => from_float::<BlockQ8_0>(values, bytes),
        WeightFormat::Q2K => from_float::<BlockQ2K>(values, bytes),
        WeightFormat::Q3K => from_float::<BlockQ3K>(values, bytes),
        WeightFormat::Q4K => from_float::<BlockQ4K>(values, bytes),
        WeightFormat::Q5K => from_float::<BlockQ5K>(values, bytes),
        WeightFormat::Q6K => from_float::<BlockQ6K>(values, bytes),
        WeightFormat::F32 | WeightFormat::F16 | WeightFormat::Bf16 => {
            candle_core::bail!("{format} is no block format")
        }
    }
}

#[expect(unsafe_code, reason = "views bytes as the block structs of candle's quantizers")]
fn from_float<T: GgmlType>(values: &[f32], bytes: &mut [u8]) -> Result<()> {
    let blocks = values.len() / T::BLCK_SIZE;
    let place = bytes.as_mut_ptr().cast::<T>();
    if blocks * T::BLCK_SIZE != values.len() || blocks * size_of::<T>() != bytes.len() || !place.is_aligned()
    {
        candle_core::bail!(
            "{} bytes at {place:p} do not hold {} values as {:?} blocks",
            bytes.len(),
            values.len(),
            T::DTYPE
        )
    }
    // SAFETY: only `quantize_blocks` calls this, with candle's `repr(C)` block structs of integers and f16,
    // for which any bits are valid. Length and alignment were checked above, and `bytes` is borrowed mutably
    // for as long as the slice lives.
    T::from_float(values, unsafe { std::slice::from_raw_parts_mut(place, blocks) });
    Ok(())
}

/// Bytes that are an array of `T`.
struct Blocks<T> {
    bytes: TensorBytes,
    blocks: PhantomData<T>,
}

impl<T: GgmlType + 'static> Blocks<T> {
    fn over(bytes: TensorBytes, elements: usize) -> Result<Box<dyn QuantizedType>> {
        let slice = bytes.as_slice();
        let expected = elements / T::BLCK_SIZE * size_of::<T>();
        if slice.len() != expected || !slice.as_ptr().cast::<T>().is_aligned() {
            candle_core::bail!(
                "{} bytes at {:p} are no {:?} tensor of {elements} elements ({expected} bytes)",
                slice.len(),
                slice.as_ptr(),
                T::DTYPE
            )
        }
        Ok(Box::new(Self { bytes, blocks: PhantomData }))
    }

    #[expect(unsafe_code, reason = "views bytes as the block structs of candle's kernels")]
    fn as_slice(&self) -> &[T] {
        let bytes = self.bytes.as_slice();
        // SAFETY: only `tensor` makes this type, with candle's `repr(C)` block structs of integers and f16,
        // for which any bits are valid. `over` checked the alignment and that the length is a whole number
        // of blocks; neither a map nor owned bytes move or shrink while `self.bytes` lives.
        unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast::<T>(), bytes.len() / size_of::<T>()) }
    }
}

impl<T: GgmlType + 'static> QuantizedType for Blocks<T> {
    fn dtype(&self) -> GgmlDType {
        T::DTYPE
    }

    fn matmul_t(&self, mkn: (usize, usize, usize), lhs: &[f32], dst: &mut [f32]) -> Result<()> {
        k_quants::matmul(mkn, lhs, self.as_slice(), dst)
    }

    fn matmul_t_f16(&self, mkn: (usize, usize, usize), lhs: &[f16], dst: &mut [f16]) -> Result<()> {
        k_quants::matmul_f16(mkn, lhs, self.as_slice(), dst)
    }

    fn embedding(&self, _: &[u32], _: usize, _: usize) -> Result<CpuStorage> {
        candle_core::bail!("rows are looked up in the table's own bytes")
    }

    fn dequantize(&self, elements: usize) -> Result<CpuStorage> {
        let mut values = vec![0.0; elements];
        T::to_float(self.as_slice(), &mut values);
        Ok(CpuStorage::F32(values))
    }

    fn storage_size_in_bytes(&self) -> usize {
        self.bytes.as_slice().len()
    }

    fn as_ptr(&self) -> *const u8 {
        self.bytes.as_slice().as_ptr()
    }

    fn block_size(&self) -> usize {
        T::BLCK_SIZE
    }

    fn from_float(&mut self, _: &[f32]) {
        unreachable!("loaded weights are never written");
    }

    fn from_float_imatrix(&mut self, _: &[f32], _: &[f32], _: usize) {
        unreachable!("loaded weights are never written");
    }

    fn size(&self) -> usize {
        self.storage_size_in_bytes()
    }
}
