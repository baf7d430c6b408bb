//! Keys and values of one layer, kept in place for the whole run.

use candle_core::{DType, Device, Result, Storage, Tensor};
use half::f16;
use half::slice::HalfFloatSliceExt;
use slmscope_profiles::format::KvFormat;

/// `[kv_heads, capacity, head_dim]` twice.
pub(super) struct LayerCache {
    k: Tensor,
    v: Tensor,
}

impl LayerCache {
    pub(super) fn new(kv_heads: usize, capacity: usize, head_dim: usize, format: KvFormat) -> Result<Self> {
        let dtype = match format {
            KvFormat::F32 => DType::F32,
            KvFormat::F16 => DType::F16,
        };
        let zeros = || Tensor::zeros((kv_heads, capacity, head_dim), dtype, &Device::Cpu);
        Ok(Self { k: zeros()?, v: zeros()? })
    }

    /// Writes `[kv_heads, rows, head_dim]` keys and values at position `context`.
    pub(super) fn append(&self, k: &Tensor, v: &Tensor, context: usize) -> Result<()> {
        self.k.slice_set(&k.to_dtype(self.k.dtype())?, 1, context)?;
        self.v.slice_set(&v.to_dtype(self.v.dtype())?, 1, context)
    }

    /// Keys and values of `length` positions from `start` on, in f32. A view for an f32 cache, a widened copy
    /// for f16.
    pub(super) fn read(&self, start: usize, length: usize) -> Result<(Tensor, Tensor)> {
        let read = |cache: &Tensor| match cache.dtype() {
            DType::F16 => widened(cache, start, length),
            _ => cache.narrow(1, start, length),
        };
        Ok((read(&self.k)?, read(&self.v)?))
    }
}

/// `length` positions of an f16 cache as f32. candle's own conversion goes element by element, which takes
/// longer than the attention it is for.
fn widened(cache: &Tensor, start: usize, length: usize) -> Result<Tensor> {
    let (heads, capacity, head_dim) = cache.dims3()?;
    let (storage, layout) = cache.storage_and_layout();
    let (Storage::Cpu(storage), Some((first, end))) = (&*storage, layout.contiguous_offsets()) else {
        candle_core::bail!("a cache lies in one piece in the memory of the CPU")
    };
    let stored = &storage.as_slice::<f16>()?[first..end];
    let mut values = vec![0.0; heads * length * head_dim];
    let blocks = stored.chunks_exact(capacity * head_dim).zip(values.chunks_exact_mut(length * head_dim));
    for (stored, values) in blocks {
        stored[start * head_dim..][..length * head_dim].convert_to_f32_slice(values);
    }
    Tensor::from_vec(values, (heads, length, head_dim), &Device::Cpu)
}
