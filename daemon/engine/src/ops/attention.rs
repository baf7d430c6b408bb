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
//! across a vector. Up to [`ROWS`] rows share what is read: in decode the query heads of one key and value
//! head, in prefill neighbouring positions of one head.

mod tile;

use super::Simd;
use super::simd::{Element, Plain};
pub use tile::{BLOCK, ROWS, TILE};

/// Where the keys and values of one head lie.
#[derive(Debug, Clone, Copy)]
pub struct HeadCache<'a, E> {
    /// `[blocks][key_dim][16]`
    pub keys: &'a [E],
    /// `[positions][value_stride]`
    pub values: &'a [E],
    /// Elements of a key.
    pub key_dim: usize,
    /// Elements of a value.
    pub value_dim: usize,
}

impl<E> HeadCache<'_, E> {
    /// Elements from one value to the next.
    pub fn value_stride(&self) -> usize {
        self.value_dim.next_multiple_of(BLOCK)
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

/// Up to [`ROWS`] queries of one key and value head, and the stretch of positions that is looked at.
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
    /// Query `r` at `r * value_stride`.
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
    assert!(job.q.len() >= (rows - 1) * job.stride + cache.key_dim);
    assert!(cache.keys.len() >= stop.next_multiple_of(BLOCK) * cache.key_dim);
    assert!(cache.values.len() >= stop * cache.value_stride());
    assert!(mixed.values.len() >= rows * cache.value_stride());
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
