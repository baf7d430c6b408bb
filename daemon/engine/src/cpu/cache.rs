//! Keys and values of one attention layer, in the layout of [`crate::ops::attention`].

use half::f16;
use half::slice::HalfFloatSliceExt;
use slmscope_profiles::format::KvFormat;
use slmscope_profiles::plan::{CacheShape, Op, Plan};

use super::arena::{Arena, Buffer, Plain, room};
use super::slots::Shape;
use super::workers::Workers;
use crate::ops::Element;
use crate::ops::attention::{BLOCK, HeadCache};
use crate::pool::Parts;

/// Rounds activations to what is cached.
pub(super) trait Stored: Element + Plain + Default {
    fn narrow(from: &[f32], to: &mut [Self]);
}

impl Stored for f32 {
    fn narrow(from: &[f32], to: &mut [Self]) {
        to.copy_from_slice(from);
    }
}

impl Stored for f16 {
    fn narrow(from: &[f32], to: &mut [Self]) {
        to.convert_from_f32_slice(from);
    }
}

/// Shapes of a cache.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dims {
    heads: usize,
    capacity: usize,
    key_dim: usize,
    value_dim: usize,
}

impl Dims {
    /// Of every cache of the plan. Values that are part of the keys (latent attention) are kept once more:
    /// the products read keys and values in different orders.
    pub(super) fn of(plan: &Plan, capacity: u32) -> Vec<Self> {
        let value_dim = |index: usize, shape: &CacheShape| {
            let reader = plan.steps.iter().find_map(|step| match &step.op {
                Op::Attention(op) if op.cache as usize == index => Some(op.value_dim),
                _ => None,
            });
            reader.unwrap_or(shape.value_dim) as usize
        };
        let dims = |(index, shape): (usize, &CacheShape)| Self {
            heads: shape.heads as usize,
            capacity: capacity as usize,
            key_dim: shape.key_dim as usize,
            value_dim: value_dim(index, shape),
        };
        plan.caches.iter().enumerate().map(dims).collect()
    }

    /// Bytes of keys and values.
    pub(super) fn bytes(&self, format: KvFormat) -> usize {
        let of = |elements| match format {
            KvFormat::F32 => room::<f32>(elements),
            KvFormat::F16 => room::<f16>(elements),
        };
        of(self.heads * self.head_keys()) + of(self.heads * self.head_values())
    }

    fn head_keys(&self) -> usize {
        self.capacity.next_multiple_of(BLOCK) * self.key_dim
    }

    fn head_values(&self) -> usize {
        self.capacity * self.value_stride()
    }

    pub(super) fn value_stride(&self) -> usize {
        self.value_dim.next_multiple_of(BLOCK)
    }
}

/// A cache whose elements are known.
pub(super) struct Typed<T> {
    dims: Dims,
    keys: Buffer<T>,
    values: Buffer<T>,
}

/// A cache.
pub(super) enum Cache {
    F32(Typed<f32>),
    F16(Typed<f16>),
}

impl Cache {
    pub(super) fn new(dims: Dims, format: KvFormat, arena: &mut Arena) -> Self {
        match format {
            KvFormat::F32 => Self::F32(Typed::new(dims, arena)),
            KvFormat::F16 => Self::F16(Typed::new(dims, arena)),
        }
    }

    /// Writes the keys and values of a chunk after `context` tokens: rows of the heads' elements. Without
    /// `v` the values are the leading elements of the keys.
    pub(super) fn append(
        &mut self,
        workers: &mut Workers,
        context: usize,
        k: (&[f32], Shape),
        v: Option<&[f32]>,
    ) {
        match self {
            Self::F32(cache) => cache.append(workers, context, k, v),
            Self::F16(cache) => cache.append(workers, context, k, v),
        }
    }
}

impl<T: Stored> Typed<T> {
    fn new(dims: Dims, arena: &mut Arena) -> Self {
        let keys = arena.cut(dims.heads * dims.head_keys());
        let values = arena.cut(dims.heads * dims.head_values());
        Self { dims, keys, values }
    }

    pub(super) fn dims(&self) -> &Dims {
        &self.dims
    }

    /// What attention reads of one head.
    pub(super) fn head(&self, head: usize) -> HeadCache<'_, T> {
        let Dims { key_dim, value_dim, .. } = self.dims;
        let (keys, values) = (self.dims.head_keys(), self.dims.head_values());
        HeadCache {
            keys: &self.keys[head * keys..][..keys],
            values: &self.values[head * values..][..values],
            key_dim,
            value_dim,
        }
    }

    fn append(
        &mut self,
        workers: &mut Workers,
        context: usize,
        (k, shape): (&[f32], Shape),
        v: Option<&[f32]>,
    ) {
        let dims = self.dims;
        let Dims { heads, key_dim, value_dim, .. } = dims;
        let (first, last) = (context / BLOCK, (context + shape.rows - 1) / BLOCK);
        let (keys, values) = (Parts::new(&mut self.keys), Parts::new(&mut self.values));
        // A chunk of work is what falls into one block of one head.
        let blocks = last - first + 1;
        let work = |chunk: usize| {
            let (head, block) = (chunk % heads, first + chunk / heads);
            let from = (block * BLOCK).max(context);
            let to = ((block + 1) * BLOCK).min(context + shape.rows);
            let start = head * dims.head_keys() + block * BLOCK * key_dim;
            let value_start = head * dims.head_values() + from * dims.value_stride();
            #[expect(unsafe_code, reason = "chunks write parts of their own")]
            // SAFETY: a chunk has a block of a head to itself, whose keys and values follow each other.
            let (keys, values) = unsafe {
                (
                    keys.part(start..start + BLOCK * key_dim),
                    values.part(value_start..value_start + (to - from) * dims.value_stride()),
                )
            };
            for position in from..to {
                let row = position - context;
                let key = &k[row * shape.width + head * key_dim..][..key_dim];
                scatter(key, &mut keys[position % BLOCK..]);
                let value = match v {
                    Some(v) => &v[(row * heads + head) * value_dim..][..value_dim],
                    None => &key[..value_dim],
                };
                let to = (position - from) * dims.value_stride();
                T::narrow(value, &mut values[to..to + value_dim]);
            }
        };
        if shape.rows * heads * key_dim < 8192 {
            (0..blocks * heads).for_each(work);
        } else {
            workers.pool.run(blocks * heads, |chunk, _| work(chunk));
        }
    }
}

/// Writes a key to every [`BLOCK`]th element.
fn scatter<T: Stored>(key: &[f32], places: &mut [T]) {
    let mut narrowed: [T; 64] = [T::default(); 64];
    for (index, piece) in key.chunks(64).enumerate() {
        let narrowed = &mut narrowed[..piece.len()];
        T::narrow(piece, narrowed);
        let places = places[index * 64 * BLOCK..].iter_mut().step_by(BLOCK);
        places.zip(narrowed).for_each(|(place, value)| *place = *value);
    }
}
