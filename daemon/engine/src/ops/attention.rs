//! Fused attention: scores, softmax and mixing of values in one pass over the cache, the scores of at most
//! [`TILE`] keys in memory at a time (online softmax, Milakov and Gimelshein, arXiv 1805.02867).
//!
//! Keys of a head are cached in blocks of [`BLOCK`] positions, elements outside and positions inside; values
//! lie position by position, padded to whole vectors:
//!
//! ```text
//! keys    [block][element][16 positions]      values    [position][element, padded to 16]
//! ```
//!
//! So both products, queries with keys and weights with values, are the same one: rows of f32 numbers, one
//! broadcast at a time, times vectors that are read from the cache as they lie and widened. No sum runs
//! across a vector. Where values are the leading elements of the keys (latent attention) both lie there once,
//! as values do, and scores are sums across vectors.
//!
//! Elements of f32 and f16 are kept as they are; i8 ones with an f16 scale for each [`GROUP`] elements of a key or
//! value, in arrays of their own that are laid out like the elements. Up to [`ROWS`] rows share what is read: in
//! decode the query heads of one key and value head, in prefill neighbouring positions of one head.

mod tile;

use half::f16;

use super::Simd;
use super::simd::{Element, Plain};
pub use tile::{BLOCK, ROWS, TILE};

/// Elements of a key or value that share a scale.
pub const GROUP: usize = 32;

/// Sizes of the keys and values of a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadDims {
    /// Elements of a key.
    pub key: usize,
    /// Elements of a value.
    pub value: usize,
    /// Values are the leading elements of keys, which lie where values do.
    pub latent: bool,
}

/// Where the keys and values of one head lie.
#[derive(Debug, Clone, Copy)]
pub struct HeadCache<'a, E> {
    /// `[blocks][key][16]`; empty for latent attention.
    pub keys: &'a [E],
    /// `[positions][stride]`
    pub values: &'a [E],
    /// `[blocks][key_groups][16]`, if elements have scales.
    pub key_scales: &'a [f16],
    /// `[positions][value_groups]`, if elements have scales.
    pub value_scales: &'a [f16],
    /// Their sizes.
    pub dims: HeadDims,
}

impl HeadDims {
    /// Elements from one stored value to the next.
    pub fn stride(&self) -> usize {
        if self.latent { self.key.next_multiple_of(BLOCK) } else { self.mixed() }
    }

    /// Elements from one mixed value to the next.
    pub fn mixed(&self) -> usize {
        self.value.next_multiple_of(BLOCK)
    }

    /// Scales of a key in blocks; none for latent attention.
    pub fn key_groups(&self) -> usize {
        if self.latent { 0 } else { self.key.div_ceil(GROUP) }
    }

    /// Scales of what is stored as a value.
    pub fn value_groups(&self) -> usize {
        if self.latent { self.key.div_ceil(GROUP) } else { self.value.div_ceil(GROUP) }
    }
}

/// One query.
#[derive(Debug, Clone, Copy, Default)]
pub struct Query {
    /// First position that it sees.
    pub first: u32,
    /// Its own position: the last that it sees.
    pub position: u32,
    /// Factor on its scores.
    pub scale: f32,
    /// Taken off a score for each token of distance; 0 without ALiBi.
    pub slope: f32,
}

/// Up to [`ROWS`] queries of one key and value head, and the range of positions that they attend to.
#[derive(Debug, Clone, Copy)]
pub struct Job<'a> {
    /// The queries.
    pub queries: &'a [Query],
    /// Their elements: query `r` begins at `r * stride`.
    pub q: &'a [f32],
    /// Elements from one query to the next.
    pub stride: usize,
    /// Positions below are left to others.
    pub start: u32,
    /// Positions from here on are left to others.
    pub stop: u32,
    /// Scores become `cap * tanh(score / cap)`.
    pub softcap: Option<f32>,
}

/// What a job comes to: mixed values that are not divided yet, and what that takes.
#[derive(Debug)]
pub struct Mixed<'a> {
    /// Query `r` at `r` times [`HeadDims::mixed`].
    pub values: &'a mut [f32],
    /// The largest score of each query; negative infinity if it saw nothing.
    pub most: &'a mut [f32],
    /// Sum of `exp(score - most)` of each.
    pub sum: &'a mut [f32],
}

/// Computes `job`. `scores` is scratch of [`ROWS`] × [`TILE`] elements.
///
/// # Panics
/// If a slice is shorter than its description.
pub fn attend<E: Element>(
    simd: Simd,
    job: &Job<'_>,
    cache: &HeadCache<'_, E>,
    scores: &mut [f32],
    mixed: &mut Mixed<'_>,
) {
    let rows = job.queries.len();
    let stop = job.stop as usize;
    assert!((1..=ROWS).contains(&rows) && scores.len() >= ROWS * TILE);
    let (dims, blocks) = (&cache.dims, stop.div_ceil(BLOCK));
    assert!(job.q.len() >= (rows - 1) * job.stride + dims.key);
    assert!(dims.latent || cache.keys.len() >= blocks * BLOCK * dims.key);
    assert!(!dims.latent || dims.key >= dims.value);
    assert!(cache.values.len() >= stop * dims.stride());
    if E::SCALED {
        assert!(cache.key_scales.len() >= blocks * BLOCK * dims.key_groups());
        assert!(cache.value_scales.len() >= stop * dims.value_groups());
    }
    assert!(mixed.values.len() >= rows * dims.mixed());
    assert!(mixed.most.len() >= rows && mixed.sum.len() >= rows);
    #[expect(unsafe_code, reason = "the tiles read and write through pointers, in vector types")]
    match simd {
        // SAFETY: the lengths were checked above; `Simd` names an instruction set only if the CPU has it.
        #[cfg(target_arch = "x86_64")]
        Simd::Avx512 => unsafe { avx512(job, cache, scores, mixed) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Simd::Avx2 => unsafe { avx2(job, cache, scores, mixed) },
        // SAFETY: as above.
        #[cfg(target_arch = "aarch64")]
        Simd::Neon => unsafe {
            tile::attend::<std::arch::aarch64::float32x4_t, E>(job, cache, scores, mixed);
        },
        // SAFETY: as above.
        Simd::Baseline => unsafe { tile::attend::<Plain, E>(job, cache, scores, mixed) },
    }
}

/// Divides what [`attend`] mixed: `out = values / sum`.
pub fn finish(values: &[f32], sum: f32, out: &mut [f32]) {
    let factor = 1.0 / sum;
    out.iter_mut().zip(values).for_each(|(out, value)| *out = value * factor);
}

/// Brings together what several jobs found for one query over stretches of positions: `parts` gives the
/// largest score, the sum and the values of each, always in the same order. The result is in `out`.
pub fn merge<'a>(parts: impl Iterator<Item = (f32, f32, &'a [f32])> + Clone, out: &mut [f32]) {
    let most = parts.clone().map(|part| part.0).fold(f32::NEG_INFINITY, f32::max);
    let weight = |part: f32| if part == f32::NEG_INFINITY { 0.0 } else { (part - most).exp() };
    let sum: f32 = parts.clone().map(|(part, sum, _)| weight(part) * sum).sum();
    out.fill(0.0);
    for (part, _, values) in parts {
        let factor = weight(part) / sum;
        out.iter_mut().zip(values).for_each(|(out, value)| *out += factor * value);
    }
}

/// # Safety
/// The CPU has AVX2, FMA and F16C; the lengths are those that [`attend`] checks.
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "the tiles read and write through pointers, in vector types")]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn avx2<E: Element>(
    job: &Job<'_>,
    cache: &HeadCache<'_, E>,
    scores: &mut [f32],
    mixed: &mut Mixed<'_>,
) {
    // SAFETY: the caller's promise.
    unsafe { tile::attend::<std::arch::x86_64::__m256, E>(job, cache, scores, mixed) }
}

/// # Safety
/// The CPU has AVX-512 F, BW, DQ and VL; the lengths are those that [`attend`] checks.
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "the tiles read and write through pointers, in vector types")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
unsafe fn avx512<E: Element>(
    job: &Job<'_>,
    cache: &HeadCache<'_, E>,
    scores: &mut [f32],
    mixed: &mut Mixed<'_>,
) {
    // SAFETY: the caller's promise.
    unsafe { tile::attend::<std::arch::x86_64::__m512, E>(job, cache, scores, mixed) }
}

#[cfg(test)]
mod tests;
