//! Keys and values of one layer, kept in place for the whole run.

use candle_core::{DType, Device, Result, Storage, Tensor};
use half::f16;
use half::slice::HalfFloatSliceExt;
use slmscope_profiles::format::KvFormat;
use slmscope_profiles::plan::CacheShape;

/// Keys `[heads, capacity, key_dim]`, and values `[heads, capacity, value_dim]` where they are stored beside
/// them.
pub(super) struct LayerCache {
    k: Tensor,
    v: Option<Tensor>,
}

impl LayerCache {
    pub(super) fn new(shape: &CacheShape, capacity: usize, format: KvFormat) -> Result<Self> {
        let dtype = match format {
            KvFormat::F32 => DType::F32,
            KvFormat::F16 => DType::F16,
            KvFormat::Q8_0 => candle_core::bail!("candle keeps keys and values in f32 or f16, not q8_0"),
        };
        let zeros =
            |dim: u32| Tensor::zeros((shape.heads as usize, capacity, dim as usize), dtype, &Device::Cpu);
        let v = (shape.value_dim > 0).then(|| zeros(shape.value_dim)).transpose()?;
        Ok(Self { k: zeros(shape.key_dim)?, v })
    }

    /// Writes `[heads, rows, dim]` keys and values at position `context`.
    pub(super) fn append(&self, k: &Tensor, v: Option<&Tensor>, context: usize) -> Result<()> {
        let write = |cache: &Tensor, rows: &Tensor| {
            cache.slice_set(&rows.to_dtype(cache.dtype())?.contiguous()?, 1, context)
        };
        write(&self.k, k)?;
        match (&self.v, v) {
            (Some(cache), Some(v)) => write(cache, v),
            (None, None) => Ok(()),
            _ => candle_core::bail!("a cache keeps values or it does not"),
        }
    }

    /// Keys and values of `length` positions from `start` on, in f32. A view for an f32 cache, a widened copy
    /// for f16. Values that are not stored are the first `value_dim` elements of the keys.
    pub(super) fn read(&self, start: usize, length: usize, value_dim: usize) -> Result<(Tensor, Tensor)> {
        let read = |cache: &Tensor| match cache.dtype() {
            DType::F16 => widened(cache, start, length),
            _ => cache.narrow(1, start, length),
        };
        let k = read(&self.k)?;
        let v = match &self.v {
            Some(v) => read(v)?,
            None => k.narrow(2, 0, value_dim)?.contiguous()?,
        };
        Ok((k, v))
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
