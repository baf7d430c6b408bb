//! The inner loops: a few queries against a tile of keys and values, over a vector type.

use super::{HeadCache, Job, Mixed, Query};
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
    let stride = cache.value_stride();
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
            score::<V, E, R>(job, cache, at, keys, scores);
            for row in 0..R {
                let line = &mut scores[row * TILE..row * TILE + keys];
                let factor =
                    soften(&job.queries[row], job, at, line, &mut mixed.most[row], &mut mixed.sum[row]);
                if factor < 1.0 {
                    mixed.values[row * stride..][..stride].iter_mut().for_each(|value| *value *= factor);
                }
            }
            mix::<V, E, R>(cache, at, keys, scores, mixed.values);
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
    let depth = cache.key_dim;
    let block = depth * BLOCK;
    let column = |index: usize| index * V::LANES / BLOCK * block + index * V::LANES % BLOCK;
    let (mut key, step) = (0, V::WIDE * V::LANES);
    let keys = keys.next_multiple_of(BLOCK);
    // SAFETY: blocks up to the one of the last key are in `cache.keys`; a line of scores has `TILE` elements,
    // a whole number of blocks.
    unsafe {
        let b = cache.keys.as_ptr().add(at * depth);
        let (a, out) = (job.q.as_ptr(), scores.as_mut_ptr());
        while key < keys {
            let b = b.add(key * depth);
            if V::WIDE == 4 && key + step <= keys {
                let columns = [column(0), column(1), column(2), column(3)];
                product::<V, E, R, 4>(a, job.stride, b, BLOCK, columns, depth, out.add(key), TILE, false);
                key += 4 * V::LANES;
            } else if V::LANES == BLOCK {
                product::<V, E, R, 1>(a, job.stride, b, BLOCK, [0], depth, out.add(key), TILE, false);
                key += BLOCK;
            } else {
                let columns = [column(0), column(1)];
                product::<V, E, R, 2>(a, job.stride, b, BLOCK, columns, depth, out.add(key), TILE, false);
                key += BLOCK;
            }
        }
    }
}

/// Adds the products of a tile's weights with its values.
#[expect(unsafe_code, reason = "reads and writes through pointers, in vector types")]
#[inline(always)]
unsafe fn mix<V: Vector, E: Element, const R: usize>(
    cache: &HeadCache<'_, E>,
    at: usize,
    keys: usize,
    weights: &[f32],
    values: &mut [f32],
) {
    let stride = cache.value_stride();
    let mut element = 0;
    // SAFETY: values are stored up to the last key, padded to whole blocks of elements; results are as wide.
    unsafe {
        let b = cache.values.as_ptr().add(at * stride);
        let (a, out) = (weights.as_ptr(), values.as_mut_ptr());
        while element < stride {
            let (b, out) = (b.add(element), out.add(element));
            if V::WIDE == 4 && element + 4 * V::LANES <= stride {
                let columns = [0, V::LANES, 2 * V::LANES, 3 * V::LANES];
                product::<V, E, R, 4>(a, TILE, b, stride, columns, keys, out, stride, true);
                element += 4 * V::LANES;
            } else if V::LANES == BLOCK {
                product::<V, E, R, 1>(a, TILE, b, stride, [0], keys, out, stride, true);
                element += BLOCK;
            } else {
                product::<V, E, R, 2>(a, TILE, b, stride, [0, V::LANES], keys, out, stride, true);
                element += BLOCK;
            }
        }
    }
}

/// `out[r][c] = Σ_k a[r][k] b[k][c]`, added to what is there if `add`, for `R` rows and `N` vectors of columns
/// whose starts in a row of `b` are `columns`.
#[expect(unsafe_code, reason = "reads and writes through pointers, in vector types")]
#[expect(clippy::too_many_arguments, reason = "the strides of three matrices")]
#[inline(always)]
unsafe fn product<V: Vector, E: Element, const R: usize, const N: usize>(
    a: *const f32,
    a_stride: usize,
    b: *const E,
    b_stride: usize,
    columns: [usize; N],
    depth: usize,
    out: *mut f32,
    out_stride: usize,
    add: bool,
) {
    // SAFETY: the caller's matrices have `R` rows of `depth`, `depth` rows of the columns, and `R` rows of
    // `N` vectors that follow each other.
    unsafe {
        let mut sums = [[V::zero(); N]; R];
        for k in 0..depth {
            let row = b.add(k * b_stride);
            let vectors: [V; N] = std::array::from_fn(|column| E::load(row.add(columns[column])));
            for (r, sums) in sums.iter_mut().enumerate() {
                let factor = V::splat(*a.add(r * a_stride + k));
                for (sum, vector) in sums.iter_mut().zip(vectors) {
                    *sum = factor.mul_add(vector, *sum);
                }
            }
        }
        for (r, sums) in sums.into_iter().enumerate() {
            for (n, sum) in sums.into_iter().enumerate() {
                let place = out.add(r * out_stride + n * V::LANES);
                let sum = if add { V::splat(1.0).mul_add(V::load(place), sum) } else { sum };
                sum.store(place);
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
