//! Keys and values of one layer, kept in place for the whole run.

use candle_core::{DType, Device, Result, Tensor};
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

    /// Keys and values of `length` positions from `start` on, in f32. A view for an f32 cache, a converted
    /// copy for f16.
    pub(super) fn read(&self, start: usize, length: usize) -> Result<(Tensor, Tensor)> {
        let read = |cache: &Tensor| cache.narrow(1, start, length)?.to_dtype(DType::F32);
        Ok((read(&self.k)?, read(&self.v)?))
    }
}
