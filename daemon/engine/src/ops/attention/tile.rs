//! The inner loops: a few queries against a tile of keys and values, over a vector type.

use super::{GROUP, HeadCache, HeadDims, Job, Mixed, Query};
use crate::ops::LANES;
use crate::ops::math::{exp, tanh};
use crate::ops::simd::{Element, Vector};

/// Positions of a block of keys; the widest vector.
pub const BLOCK: usize = 16;
/// Keys whose scores are in memory at a time: a few blocks, so that the softmax's bookkeeping is seldom, and
/// few enough that scores, keys and values of a tile stay in the first cache.
pub const TILE: usize = 128;
/// Most queries of a job: with four vectors side by side their sums fill 24 of 32 registers.
pub const ROWS: usize = 6;

/// Bytes that memory is asked for at a time.
const LINE: usize = 64;

/// Computes `job`.
///
/// # Safety
/// The CPU has the instruction set of `V`; slices are as long as [`super::attend`] checks.
#[expect(unsafe_code, reason = "reads and writes through pointers, in vector types")]
#[inline(always)]
pub(super) unsafe fn attend<V: Vector, E: Element>(
    job: &Job<'_>,
    cache: &HeadCache<'_, E>,
    scores: &mut [f32],
    mixed: &mut Mixed<'_>,
) {
    // SAFETY: the caller's promise.
    unsafe {
        match job.queries.len() {
            1 => rows::<V, E, 1>(job, cache, scores, mixed),
            2 => rows::<V, E, 2>(job, cache, scores, mixed),
            3 => rows::<V, E, 3>(job, cache, scores, mixed),
            4 => rows::<V, E, 4>(job, cache, scores, mixed),
            5 => rows::<V, E, 5>(job, cache, scores, mixed),
            _ => rows::<V, E, 6>(job, cache, scores, mixed),
        }
    }
}

/// # Safety
/// See [`attend`]; `job` has `R` queries.
#[expect(unsafe_code, reason = "reads and writes through pointers, in vector types")]
#[inline(always)]
unsafe fn rows<V: Vector, E: Element, const R: usize>(
    job: &Job<'_>,
    cache: &HeadCache<'_, E>,
    scores: &mut [f32],
    mixed: &mut Mixed<'_>,
) {
    let stride = cache.dims.mixed();
    mixed.most[..R].fill(f32::NEG_INFINITY);
    mixed.sum[..R].fill(0.0);
    mixed.values[..R * stride].fill(0.0);
    let first = job.queries.iter().map(|query| query.first).min().unwrap_or(0).max(job.start) as usize;
    let last = job.queries.iter().map(|query| query.position + 1).max().unwrap_or(0).min(job.stop) as usize;
    let mut at = first / BLOCK * BLOCK;
    while at < last {
        let keys = TILE.min(last - at);
        // SAFETY: `at + keys` is at most `stop`, up to whose block the caches reach; the other slices were
        // checked.
        unsafe {
            if cache.dims.latent {
                score_rows::<V, E, R>(job, cache, at, keys, scores);
            } else {
                score::<V, E, R>(job, cache, at, keys, scores);
            }
            for row in 0..R {
                let line = &mut scores[row * TILE..row * TILE + keys];
                let factor =
                    soften(&job.queries[row], job, at, line, &mut mixed.most[row], &mut mixed.sum[row]);
                if factor < 1.0 {
                    mixed.values[row * stride..][..stride].iter_mut().for_each(|value| *value *= factor);
                }
            }
            mix::<V, E, R>(cache, at, keys, scores, mixed.values, at + keys < last);
        }
        at += keys;
    }
}

/// Products of the queries with the keys of a tile, which starts at a block.
#[expect(unsafe_code, reason = "reads and writes through pointers, in vector types")]
#[inline(always)]
unsafe fn score<V: Vector, E: Element, const R: usize>(
    job: &Job<'_>,
    cache: &HeadCache<'_, E>,
    at: usize,
    keys: usize,
    scores: &mut [f32],
) {
    let HeadDims { key: depth, .. } = cache.dims;
    let (stride, groups) = (cache.dims.stride(), cache.dims.key_groups());
    let keys = keys.next_multiple_of(BLOCK);
    let mut key = 0;
    // SAFETY: blocks up to the one of the last key are in `cache.keys`, and its scales if it has any; a line of
    // scores has `TILE` elements, a whole number of blocks.
    unsafe {
        while key < keys {
            let place = (at + key) / BLOCK;
            let product = Product {
                a: job.q.as_ptr(),
                a_stride: job.stride,
                b: cache.keys.as_ptr().add(place * depth * BLOCK),
                b_stride: BLOCK,
                depth,
                out: scores.as_mut_ptr().add(key),
                out_stride: TILE,
                // The values of the same keys are read next.
                next: cache.values.as_ptr().wrapping_add((at + key) * stride),
            };
            let scales = cache.key_scales.as_ptr().wrapping_add(place * groups * BLOCK);
            // Where a vector begins whose lanes are positions: in which of the blocks that `width` apart.
            let column = |index: usize, width: usize| {
                index * V::LANES / BLOCK * width * BLOCK + index * V::LANES % BLOCK
            };
            let scale = |k: usize, scales_of: &mut [V]| {
                if k.is_multiple_of(GROUP) {
                    for (index, scale) in scales_of.iter_mut().enumerate() {
                        *scale = V::load_f16(scales.add(k / GROUP * BLOCK + column(index, groups)));
                    }
                }
            };
            if V::WIDE == 4 && key + 4 * V::LANES <= keys {
                let columns = std::array::from_fn(|index| column(index, depth));
                product.run::<V, R, 4>(columns, false, scale);
                key += 4 * V::LANES;
            } else if V::LANES == BLOCK {
                product.run::<V, R, 1>([0], false, scale);
                key += BLOCK;
            } else {
                product.run::<V, R, 2>([0, V::LANES], false, scale);
                key += BLOCK;
            }
        }
    }
}

/// The same for keys that lie as values do, each the sum across a row.
#[expect(unsafe_code, reason = "reads and writes through pointers, in vector types")]
#[inline(always)]
unsafe fn score_rows<V: Vector, E: Element, const R: usize>(
    job: &Job<'_>,
    cache: &HeadCache<'_, E>,
    at: usize,
    keys: usize,
    scores: &mut [f32],
) {
    let (depth, stride, groups) = (cache.dims.key, cache.dims.stride(), cache.dims.value_groups());
    let whole = depth / V::LANES * V::LANES;
    // SAFETY: rows up to the last key are in `cache.values`, and its scales if it has any; queries have `depth`
    // elements, a line of scores has `TILE`.
    unsafe {
        let q = job.q.as_ptr();
        for key in 0..keys {
            let row = cache.values.as_ptr().add((at + key) * stride);
            let scales = cache.value_scales.as_ptr().wrapping_add((at + key) * groups);
            let mut sums = [V::zero(); R];
            for element in (0..whole).step_by(V::LANES) {
                let mut vector = E::load::<V>(row.add(element));
                if E::SCALED {
                    vector = vector.mul_add(V::splat_f16(scales.add(element / GROUP)), V::zero());
                }
                for (r, sum) in sums.iter_mut().enumerate() {
                    *sum = V::load(q.add(r * job.stride + element)).mul_add(vector, *sum);
                }
            }
            for (r, sum) in sums.into_iter().enumerate() {
                let mut score = sum.sum();
                for element in whole..depth {
                    let scale = if E::SCALED { (*scales.add(element / GROUP)).to_f32() } else { 1.0 };
                    score += *q.add(r * job.stride + element) * (scale * (*row.add(element)).widen());
                }
                scores[r * TILE + key] = score;
            }
        }
    }
}

/// Adds the products of a tile's weights with its values. Whether the next tile is to follow is in `more`.
#[expect(unsafe_code, reason = "reads and writes through pointers, in vector types")]
#[inline(always)]
unsafe fn mix<V: Vector, E: Element, const R: usize>(
    cache: &HeadCache<'_, E>,
    at: usize,
    keys: usize,
    weights: &[f32],
    values: &mut [f32],
    more: bool,
) {
    let dims = cache.dims;
    let (stride, mixed, groups) = (dims.stride(), dims.mixed(), dims.value_groups());
    let mut element = 0;
    // SAFETY: values are stored up to the last key, padded to whole blocks of elements, with their scales if
    // they have any; results are as wide.
    unsafe {
        // The keys of the next tile are read next. Prefetching what is not read would take bandwidth from what is.
        let next = match (more, dims.latent) {
            (true, false) => cache.keys.as_ptr().wrapping_add((at + keys) * dims.key),
            (true, true) => cache.values.as_ptr().wrapping_add((at + keys) * stride),
            (false, _) => cache.values.as_ptr().wrapping_add(at * stride),
        };
        while element < mixed {
            let product = Product {
                a: weights.as_ptr(),
                a_stride: TILE,
                b: cache.values.as_ptr().add(at * stride + element),
                b_stride: stride,
                depth: keys,
                out: values.as_mut_ptr().add(element),
                out_stride: mixed,
                next: next.wrapping_add(element * keys),
            };
            let scales = cache.value_scales.as_ptr().wrapping_add(at * groups + element / GROUP);
            let scale = |k: usize, scales_of: &mut [V]| {
                // Neighbouring pairs of vectors are in one group, whatever their width.
                for (pair, scale) in scales_of.chunks_mut(2).enumerate() {
                    scale.fill(V::splat_f16(scales.add(k * groups + 2 * pair * V::LANES / GROUP)));
                }
            };
            if V::WIDE == 4 && element + 4 * V::LANES <= mixed {
                let columns = std::array::from_fn(|index| index * V::LANES);
                product.run::<V, R, 4>(columns, true, scale);
                element += 4 * V::LANES;
            } else if V::LANES == BLOCK {
                product.run::<V, R, 1>([0], true, scale);
                element += BLOCK;
            } else {
                product.run::<V, R, 2>([0, V::LANES], true, scale);
                element += BLOCK;
            }
        }
    }
}

/// A product of matrices, one of them in the cache.
struct Product<E> {
    /// Rows of `depth` factors.
    a: *const f32,
    a_stride: usize,
    /// `depth` rows of what is cached.
    b: *const E,
    b_stride: usize,
    depth: usize,
    out: *mut f32,
    out_stride: usize,
    /// What is read after this: each row of `b` asks for as much of it.
    next: *const E,
}

impl<E: Element> Product<E> {
    /// `out[r][c] = Σ_k a[r][k] b[k][c]`, added to what is there if `add`, for `R` rows and `N` vectors of
    /// columns whose starts in a row of `b` are `columns`. `scale` makes the scales of row `k` out of those of
    /// the row before, if elements have any.
    ///
    /// # Safety
    /// The matrices are as large as that: `R` rows of `depth`, `depth` rows of the columns, and `R` rows of
    /// `N` vectors that follow each other.
    #[expect(unsafe_code, reason = "reads and writes through pointers, in vector types")]
    #[inline(always)]
    unsafe fn run<V: Vector, const R: usize, const N: usize>(
        self,
        columns: [usize; N],
        add: bool,
        scale: impl Fn(usize, &mut [V]),
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            let mut sums = [[V::zero(); N]; R];
            let mut scales = [V::zero(); N];
            for k in 0..self.depth {
                for line in 0..(N * V::LANES * size_of::<E>()).div_ceil(LINE) {
                    let next = self.next.wrapping_add(k * N * V::LANES);
                    V::prefetch(next.cast::<u8>().wrapping_add(line * LINE));
                }
                let row = self.b.add(k * self.b_stride);
                let mut vectors: [V; N] = std::array::from_fn(|column| E::load(row.add(columns[column])));
                if E::SCALED {
                    scale(k, &mut scales);
                    for (vector, scale) in vectors.iter_mut().zip(scales) {
                        *vector = vector.mul_add(scale, V::zero());
                    }
                }
                for (r, sums) in sums.iter_mut().enumerate() {
                    let factor = V::splat(*self.a.add(r * self.a_stride + k));
                    for (sum, vector) in sums.iter_mut().zip(vectors) {
                        *sum = factor.mul_add(vector, *sum);
                    }
                }
            }
            for (r, sums) in sums.into_iter().enumerate() {
                for (n, sum) in sums.into_iter().enumerate() {
                    let place = self.out.add(r * self.out_stride + n * V::LANES);
                    let sum = if add { V::splat(1.0).mul_add(V::load(place), sum) } else { sum };
                    sum.store(place);
                }
            }
        }
    }
}

/// Turns the scores of a tile into weights relative to the largest score so far; gives the factor that takes
/// what was mixed before to the same scale.
#[inline(always)]
fn soften(query: &Query, job: &Job<'_>, at: usize, line: &mut [f32], most: &mut f32, sum: &mut f32) -> f32 {
    let from = (query.first.max(job.start) as usize).saturating_sub(at).min(line.len());
    let to = (query.position as usize + 1).min(job.stop as usize).saturating_sub(at).clamp(from, line.len());
    line[..from].fill(0.0);
    line[to..].fill(0.0);
    let seen = &mut line[from..to];
    if seen.is_empty() {
        return 1.0;
    }
    let scale = query.scale;
    match job.softcap {
        Some(cap) => {
            let inner = scale / cap;
            for score in &mut *seen {
                *score = cap * tanh(*score * inner);
            }
        }
        None => seen.iter_mut().for_each(|score| *score *= scale),
    }
    if query.slope != 0.0 {
        let distance = query.position as usize - (at + from);
        for (index, score) in seen.iter_mut().enumerate() {
            *score -= query.slope * (distance as i32 - index as i32) as f32;
        }
    }
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let mut pieces = seen.chunks_exact(LANES);
    for piece in &mut pieces {
        lanes
            .iter_mut()
            .zip(piece)
            .for_each(|(lane, score)| *lane = if *score > *lane { *score } else { *lane });
    }
    for (lane, score) in lanes.iter_mut().zip(pieces.remainder()) {
        *lane = if *score > *lane { *score } else { *lane };
    }
    let here = lanes.iter().copied().fold(*most, f32::max);
    let factor = if *most == f32::NEG_INFINITY { 1.0 } else { exp(*most - here) };
    let mut lanes = [0.0_f32; LANES];
    let mut pieces = seen.chunks_exact_mut(LANES);
    for piece in &mut pieces {
        for (lane, score) in lanes.iter_mut().zip(piece) {
            *score = exp(*score - here);
            *lane += *score;
        }
    }
    for (lane, score) in lanes.iter_mut().zip(pieces.into_remainder()) {
        *score = exp(*score - here);
        *lane += *score;
    }
    *sum = *sum * factor + lanes.iter().sum::<f32>();
    *most = here;
    factor
}
