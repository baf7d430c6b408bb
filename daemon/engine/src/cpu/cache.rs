//! Keys and values of one attention layer, in the layout of [`crate::ops::attention`].

use half::f16;
use half::slice::HalfFloatSliceExt;
use slmscope_profiles::format::KvFormat;
use slmscope_profiles::plan::{CacheShape, Op, Plan};

use super::arena::{Arena, Buffer, Plain, room};
use super::slots::Shape;
use super::workers::Workers;
use crate::ops::Element;
use crate::ops::attention::{BLOCK, GROUP, HeadCache, HeadDims};
use crate::pool::Parts;

/// Rounds activations to the element type of the cache.
pub(super) trait Stored: Element + Plain + Default {
    /// Rounds elements and returns their scale. Types with scales take at most a [`GROUP`] at a time.
    fn narrow(from: &[f32], to: &mut [Self]) -> f16;
}

impl Stored for f32 {
    fn narrow(from: &[f32], to: &mut [Self]) -> f16 {
        to.copy_from_slice(from);
        f16::ONE
    }
}

impl Stored for f16 {
    fn narrow(from: &[f32], to: &mut [Self]) -> f16 {
        to.convert_from_f32_slice(from);
        f16::ONE
    }
}

impl Stored for i8 {
    /// The scale is the largest magnitude divided by 127. It is rounded to f16 before quants are computed with
    /// it.
    fn narrow(from: &[f32], to: &mut [Self]) -> f16 {
        let most = from.iter().fold(0.0, |most: f32, value| {
            let size = value.abs();
            // NaN is kept: the scale is then NaN.
            if most.is_nan() || size <= most { most } else { size }
        });
        let scale = f16::from_f32(most / 127.0);
        let inverse = if scale == f16::ZERO { 0.0 } else { 1.0 / scale.to_f32() };
        // The cast saturates. With a rounded scale -128 does not occur.
        to.iter_mut().zip(from).for_each(|(to, from)| *to = (from * inverse).round_ties_even() as i8);
        scale
    }
}

/// Shapes of a cache.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dims {
    heads: usize,
    capacity: usize,
    head: HeadDims,
}

impl Dims {
    /// Of every cache of the plan.
    pub(super) fn of(plan: &Plan, capacity: u32) -> Vec<Self> {
        let latent = |index: usize| {
            plan.steps.iter().find_map(|step| match &step.op {
                Op::Attention(op) if op.cache as usize == index => Some(op.value_dim),
                _ => None,
            })
        };
        let dims = |(index, shape): (usize, &CacheShape)| {
            let [key, value] = [shape.key_dim, shape.value_dim].map(|dim| dim as usize);
            let head = match value {
                0 => HeadDims { key, value: latent(index).unwrap_or(0) as usize, latent: true },
                _ => HeadDims { key, value, latent: false },
            };
            Self { heads: shape.heads as usize, capacity: capacity as usize, head }
        };
        plan.caches.iter().enumerate().map(dims).collect()
    }

    /// Bytes of keys and values.
    pub(super) fn bytes(&self, format: KvFormat) -> usize {
        let [keys, values] = [self.keys(), self.values()].map(|elements| self.heads * elements);
        let scales =
            room::<f16>(self.heads * self.key_scales()) + room::<f16>(self.heads * self.value_scales());
        match format {
            KvFormat::F32 => room::<f32>(keys) + room::<f32>(values),
            KvFormat::F16 => room::<f16>(keys) + room::<f16>(values),
            KvFormat::Q8_0 => room::<i8>(keys) + room::<i8>(values) + scales,
        }
    }

    fn blocks(&self) -> usize {
        self.capacity.div_ceil(BLOCK)
    }

    /// Elements of the keys of a head.
    fn keys(&self) -> usize {
        if self.head.latent { 0 } else { self.blocks() * BLOCK * self.head.key }
    }

    fn values(&self) -> usize {
        self.capacity * self.head.stride()
    }

    fn key_scales(&self) -> usize {
        self.blocks() * BLOCK * self.head.key_groups()
    }

    fn value_scales(&self) -> usize {
        self.capacity * self.head.value_groups()
    }

    /// Elements of a mixed value.
    pub(super) fn mixed(&self) -> usize {
        self.head.mixed()
    }
}

/// A cache whose elements are known. Scales are empty where elements have none.
pub(super) struct Typed<T> {
    dims: Dims,
    keys: Buffer<T>,
    values: Buffer<T>,
    key_scales: Buffer<f16>,
    value_scales: Buffer<f16>,
}

/// A cache.
pub(super) enum Cache {
    F32(Typed<f32>),
    F16(Typed<f16>),
    Q8(Typed<i8>),
}

impl Cache {
    pub(super) fn new(dims: Dims, format: KvFormat, arena: &mut Arena) -> Self {
        match format {
            KvFormat::F32 => Self::F32(Typed::new(dims, arena)),
            KvFormat::F16 => Self::F16(Typed::new(dims, arena)),
            KvFormat::Q8_0 => Self::Q8(Typed::new(dims, arena)),
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
            Self::Q8(cache) => cache.append(workers, context, k, v),
        }
    }
}

impl<T: Stored> Typed<T> {
    fn new(dims: Dims, arena: &mut Arena) -> Self {
        let scales = if T::SCALED { dims.heads } else { 0 };
        Self {
            dims,
            keys: arena.cut(dims.heads * dims.keys()),
            values: arena.cut(dims.heads * dims.values()),
            key_scales: arena.cut(scales * dims.key_scales()),
            value_scales: arena.cut(scales * dims.value_scales()),
        }
    }

    pub(super) fn dims(&self) -> &Dims {
        &self.dims
    }

    /// What attention reads of one head.
    pub(super) fn head(&self, head: usize) -> HeadCache<'_, T> {
        fn part<T>(buffer: &[T], head: usize, length: usize) -> &[T] {
            buffer.get(head * length..(head + 1) * length).unwrap_or_default()
        }
        HeadCache {
            keys: part(&self.keys, head, self.dims.keys()),
            values: part(&self.values, head, self.dims.values()),
            key_scales: part(&self.key_scales, head, self.dims.key_scales()),
            value_scales: part(&self.value_scales, head, self.dims.value_scales()),
            dims: self.dims.head,
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
        let (heads, HeadDims { key: key_dim, value: value_dim, latent }) = (dims.heads, dims.head);
        let (key_groups, value_groups) = (dims.head.key_groups(), dims.head.value_groups());
        let (first, last) = (context / BLOCK, (context + shape.rows - 1) / BLOCK);
        let (keys, values) = (Parts::new(&mut self.keys), Parts::new(&mut self.values));
        let (key_scales, value_scales) =
            (Parts::new(&mut self.key_scales), Parts::new(&mut self.value_scales));
        // A chunk of work is one block of one head.
        let blocks = last - first + 1;
        let work = |chunk: usize| {
            let (head, block) = (chunk % heads, first + chunk / heads);
            let from = (block * BLOCK).max(context);
            let to = ((block + 1) * BLOCK).min(context + shape.rows);
            for position in from..to {
                let row = position - context;
                let key = &k[row * shape.width + head * key_dim..][..key_dim];
                let value = match v {
                    Some(v) => &v[(row * heads + head) * value_dim..][..value_dim],
                    None => key,
                };
                let whole = |length: usize, at: usize, width: usize| {
                    let start = head * length + at * width;
                    start..start + width
                };
                #[expect(unsafe_code, reason = "chunks write parts of their own")]
                // SAFETY: a chunk has a block of keys of a head to itself, and the values of its positions.
                unsafe {
                    if !latent {
                        let places = keys.part(whole(dims.keys(), block, BLOCK * key_dim));
                        let scales: &mut [f16] = if T::SCALED {
                            key_scales.part(whole(dims.key_scales(), block, BLOCK * key_groups))
                        } else {
                            &mut []
                        };
                        scatter(key, position % BLOCK, places, scales);
                    }
                    let places = values.part(whole(dims.values(), position, dims.head.stride()));
                    let scales: &mut [f16] = if T::SCALED {
                        value_scales.part(whole(dims.value_scales(), position, value_groups))
                    } else {
                        &mut []
                    };
                    write(value, places, scales);
                }
            }
        };
        if shape.rows * heads * key_dim < 8192 {
            (0..blocks * heads).for_each(work);
        } else {
            workers.pool.run(blocks * heads, |chunk, _| work(chunk));
        }
    }
}

/// Writes a value, or a key in one piece.
fn write<T: Stored>(value: &[f32], places: &mut [T], scales: &mut [f16]) {
    if T::SCALED {
        let groups = value.chunks(GROUP).zip(places.chunks_mut(GROUP)).zip(scales);
        groups.for_each(|((value, places), scale)| *scale = T::narrow(value, &mut places[..value.len()]));
    } else {
        T::narrow(value, &mut places[..value.len()]);
    }
}

/// Writes a key to the places of position `position` of a block.
fn scatter<T: Stored>(key: &[f32], position: usize, places: &mut [T], scales: &mut [f16]) {
    let mut narrowed = [T::default(); GROUP];
    for (group, (key, places)) in key.chunks(GROUP).zip(places.chunks_mut(GROUP * BLOCK)).enumerate() {
        let narrowed = &mut narrowed[..key.len()];
        let scale = T::narrow(key, narrowed);
        if T::SCALED {
            scales[group * BLOCK + position] = scale;
        }
        let places = places[position..].iter_mut().step_by(BLOCK);
        places.zip(narrowed).for_each(|(place, value)| *place = *value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_within_half_a_step() {
        let row: Vec<f32> = (0..GROUP).map(|i| (i as f32 - 11.0) * 0.37).collect();
        let mut quants = [0; GROUP];
        let scale = i8::narrow(&row, &mut quants).to_f32();
        for (quant, value) in quants.iter().zip(&row) {
            assert!((f32::from(*quant) * scale - value).abs() <= 0.5 * scale + 1e-3, "{value}");
        }
        assert_eq!(i8::narrow(&[0.0; 5], &mut quants[..5]), f16::ZERO);
        assert_eq!(quants[..5], [0; 5]);
        assert!(i8::narrow(&[1.0, f32::NAN, 2.0], &mut quants[..3]).is_nan());
    }
}
