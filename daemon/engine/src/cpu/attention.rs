//! Attention shared among the threads.
//!
//! One row of queries (decode) is cut by key and value heads, and long contexts by stretches of positions
//! whose results are merged; more rows (prefill) are cut by query heads and rows. The cuts depend on the
//! shapes alone, so results are the same bits for any number of threads.

use slmscope_profiles::plan::op::AttentionOp;
use slmscope_profiles::plan::{Op, Plan};
use slmscope_profiles::spec::alibi_slopes;

use super::arena::{Arena, Buffer, room};
use super::cache::{Cache, Dims, Stored, Typed};
use super::slots::{Shape, Slots};
use super::workers::Workers;
use crate::ops::attention::{BLOCK, Job, Mixed, Query, ROWS, attend, finish, merge};
use crate::pool::Parts;

/// Jobs that a row of queries is cut into, if the context gives them enough to do.
const JOBS: usize = 16;
/// The fewest positions of a job.
const LEAST_STRETCH: usize = 128;
/// Groups of rows that a job of prefill computes one after the other.
const GROUPS: usize = 4;

/// Memory of attention steps in addition to the slots.
#[derive(Default)]
pub(super) struct Attention {
    /// Slopes by attention step's cache; empty without ALiBi.
    slopes: Vec<Vec<f32>>,
    /// Results of the jobs of one row of queries: [`ROWS`] rows of values for each job.
    values: Buffer<f32>,
    /// For each job the largest scores, then the sums.
    weights: Buffer<f32>,
}

/// How one row of queries is cut: the query heads of a key and value head into groups of `rows`, the
/// positions into `stretches`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cut {
    groups: usize,
    rows: usize,
    stretches: usize,
    /// Positions of a stretch, a multiple of [`BLOCK`].
    length: usize,
}

impl Cut {
    fn new(kv_heads: usize, shared: usize, positions: usize) -> Self {
        let groups = shared.div_ceil(ROWS);
        let wanted = JOBS.div_ceil(kv_heads * groups);
        let stretches = wanted.min(positions / LEAST_STRETCH).max(1);
        let length = positions.div_ceil(stretches).next_multiple_of(BLOCK);
        Self { groups, rows: shared.div_ceil(groups), stretches: positions.div_ceil(length), length }
    }

    /// The most jobs of any number of positions.
    fn most_jobs(kv_heads: usize, shared: usize) -> usize {
        let cut = Self::new(kv_heads, shared, usize::MAX / 2);
        kv_heads * cut.groups * JOBS.div_ceil(kv_heads * cut.groups)
    }
}

/// Jobs and elements of a value for the widest attention of the plan.
fn widest(plan: &Plan) -> (usize, usize) {
    let dims = Dims::of(plan, 1);
    let steps = plan.steps.iter().filter_map(|step| match &step.op {
        Op::Attention(op) => Some(op),
        _ => None,
    });
    let sizes = steps.map(|op| {
        let jobs = Cut::most_jobs(op.kv_heads as usize, (op.q_heads / op.kv_heads) as usize);
        (jobs, dims[op.cache as usize].mixed())
    });
    sizes.fold((0, 0), |(jobs, stride), size| (jobs.max(size.0), stride.max(size.1)))
}

impl Attention {
    /// Bytes in the arena.
    pub(super) fn bytes(plan: &Plan) -> usize {
        let (jobs, stride) = widest(plan);
        room::<f32>(jobs * ROWS * stride) + room::<f32>(jobs * 2 * ROWS)
    }

    pub(super) fn new(plan: &Plan, arena: &mut Arena) -> Self {
        let (jobs, stride) = widest(plan);
        let mut slopes = vec![Vec::new(); plan.caches.len()];
        for step in &plan.steps {
            if let Op::Attention(op) = &step.op
                && op.alibi
            {
                slopes[op.cache as usize] = alibi_slopes(op.q_heads);
            }
        }
        Self { slopes, values: arena.cut(jobs * ROWS * stride), weights: arena.cut(jobs * 2 * ROWS) }
    }

    /// `Op::Attention`
    pub(super) fn run(
        &mut self,
        workers: &mut Workers,
        slots: &mut Slots,
        caches: &[Cache],
        op: &AttentionOp,
        context: u32,
    ) {
        let rows = slots.shape(op.q).rows;
        let shape = Shape { rows, width: (op.q_heads * op.value_dim) as usize };
        let mut out = slots.take(op.out);
        let step = Step { op, context, q: slots.read(op.q), slopes: &self.slopes[op.cache as usize] };
        let values = &mut out[..rows * shape.width];
        let found = (&mut *self.values, &mut *self.weights);
        match &caches[op.cache as usize] {
            Cache::F32(cache) => step.run(workers, cache, rows, found, values),
            Cache::F16(cache) => step.run(workers, cache, rows, found, values),
            Cache::Q8(cache) => step.run(workers, cache, rows, found, values),
        }
        slots.put(op.out, out, shape);
    }
}

/// What the jobs of one row of queries have left.
struct Stretches<'a> {
    cut: Cut,
    kv_heads: usize,
    /// Query heads of a key and value head.
    shared: usize,
    /// Elements of a job's row of values.
    stride: usize,
    values: &'a [f32],
    weights: &'a [f32],
}

impl Stretches<'_> {
    /// Merges the stretches of each head into its values.
    #[inline]
    fn merge(&self, out: &mut [f32], value_dim: usize) {
        let Self { cut, kv_heads, shared, stride, values, weights } = *self;
        for (head, out) in out.chunks_exact_mut(value_dim).enumerate() {
            let (kv_head, place) = (head / shared, head % shared);
            let (group, row) = (place / cut.rows, place % cut.rows);
            let part = |stretch: usize| {
                let job = (stretch * kv_heads + kv_head) * cut.groups + group;
                let weights = &weights[job * 2 * ROWS..];
                (weights[row], weights[ROWS + row], &values[(job * ROWS + row) * stride..][..value_dim])
            };
            if cut.stretches == 1 {
                let (_, sum, values) = part(0);
                finish(values, sum, out);
            } else {
                merge((0..cut.stretches).map(part), out);
            }
        }
    }
}

/// One attention step.
struct Step<'a> {
    op: &'a AttentionOp,
    context: u32,
    q: &'a [f32],
    slopes: &'a [f32],
}

impl Step<'_> {
    fn query(&self, head: usize, position: u32) -> Query {
        Query {
            first: self.op.window.map_or(0, |window| (position + 1).saturating_sub(window)),
            position,
            scale: self.op.query_scale(position),
            slope: self.slopes.get(head).copied().unwrap_or(0.0),
        }
    }

    fn run<T: Stored>(
        &self,
        workers: &mut Workers,
        cache: &Typed<T>,
        rows: usize,
        found: (&mut [f32], &mut [f32]),
        out: &mut [f32],
    ) {
        if rows == 1 { self.one(workers, cache, found, out) } else { self.many(workers, cache, rows, out) }
    }

    /// One row of queries; `values` and `weights` hold the results of the jobs.
    fn one<T: Stored>(
        &self,
        workers: &mut Workers,
        cache: &Typed<T>,
        (values, weights): (&mut [f32], &mut [f32]),
        out: &mut [f32],
    ) {
        let op = self.op;
        let [q_heads, kv_heads, key_dim, value_dim] =
            [op.q_heads, op.kv_heads, op.key_dim, op.value_dim].map(|count| count as usize);
        let shared = q_heads / kv_heads;
        let template = self.query(0, self.context);
        let origin = template.first as usize / BLOCK * BLOCK;
        let cut = Cut::new(kv_heads, shared, self.context as usize + 1 - origin);
        let stride = cache.dims().mixed();
        let jobs = kv_heads * cut.groups * cut.stretches;
        let simd = workers.simd;
        let lanes = Parts::new(&mut workers.lanes);
        let (value_parts, weight_parts) = (Parts::new(&mut *values), Parts::new(&mut *weights));
        workers.pool.run(jobs, |job, lane| {
            let (stretch, place) = (job / (kv_heads * cut.groups), job % (kv_heads * cut.groups));
            let (kv_head, group) = (place / cut.groups, place % cut.groups);
            let first = kv_head * shared + group * cut.rows;
            let rows = cut.rows.min((kv_head + 1) * shared - first);
            let mut queries = [template; ROWS];
            for (row, query) in queries[..rows].iter_mut().enumerate() {
                query.slope = self.slopes.get(first + row).copied().unwrap_or(0.0);
            }
            let start = origin + stretch * cut.length;
            let description = Job {
                queries: &queries[..rows],
                q: &self.q[first * key_dim..],
                stride: key_dim,
                start: start as u32,
                stop: (start + cut.length).min(self.context as usize + 1) as u32,
                softcap: op.softcap,
            };
            #[expect(unsafe_code, reason = "jobs write parts of their own, threads have lanes of their own")]
            // SAFETY: a job has a part to itself, and no two jobs that run at once have the same lane.
            let (lane, values, weights) = unsafe {
                (
                    lanes.part(lane..lane + 1),
                    value_parts.part(job * ROWS * stride..(job + 1) * ROWS * stride),
                    weight_parts.part(job * 2 * ROWS..(job + 1) * 2 * ROWS),
                )
            };
            let (most, sum) = weights.split_at_mut(ROWS);
            let mut mixed = Mixed { values, most, sum };
            attend(simd, &description, &cache.head(kv_head), &mut lane[0].scores, &mut mixed);
        });
        Stretches { cut, kv_heads, shared, stride, values, weights }.merge(out, value_dim);
    }

    /// Several rows of queries.
    fn many<T: Stored>(&self, workers: &mut Workers, cache: &Typed<T>, rows: usize, out: &mut [f32]) {
        let op = self.op;
        let [q_heads, kv_heads, key_dim, value_dim] =
            [op.q_heads, op.kv_heads, op.key_dim, op.value_dim].map(|count| count as usize);
        let stride = cache.dims().mixed();
        let simd = workers.simd;
        let lanes = Parts::new(&mut workers.lanes);
        let parts = Parts::new(out);
        let stretch = ROWS * GROUPS;
        let stretches = rows.div_ceil(stretch);
        workers.pool.run(q_heads * stretches, |chunk, lane| {
            // Long rows first, so that the last jobs are short.
            let (head, stretch_index) = (chunk % q_heads, stretches - 1 - chunk / q_heads);
            #[expect(unsafe_code, reason = "threads have lanes of their own")]
            // SAFETY: no two jobs that run at once have the same lane.
            let lane = unsafe { &mut lanes.part(lane..lane + 1)[0] };
            let head_cache = cache.head(head / (q_heads / kv_heads));
            let begin = stretch_index * stretch;
            for first in (begin..rows.min(begin + stretch)).step_by(ROWS) {
                let count = ROWS.min(rows - first);
                let query = |row: usize| self.query(head, self.context + (first + row) as u32);
                let queries: [Query; ROWS] = std::array::from_fn(query);
                let job = Job {
                    queries: &queries[..count],
                    q: &self.q[(first * q_heads + head) * key_dim..],
                    stride: q_heads * key_dim,
                    start: 0,
                    stop: self.context + (first + count) as u32,
                    softcap: op.softcap,
                };
                let (mut most, mut sum) = ([0.0; ROWS], [0.0; ROWS]);
                let mut mixed = Mixed { values: &mut lane.mixed, most: &mut most, sum: &mut sum };
                attend(simd, &job, &head_cache, &mut lane.scores, &mut mixed);
                for (row, sum) in sum.iter().enumerate().take(count) {
                    let values = &lane.mixed[row * stride..][..value_dim];
                    let start = ((first + row) * q_heads + head) * value_dim;
                    #[expect(unsafe_code, reason = "jobs write parts of their own")]
                    // SAFETY: a job has its rows of its head to itself.
                    let out = unsafe { parts.part(start..start + value_dim) };
                    finish(values, *sum, out);
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_cut_by_heads_and_then_by_positions() {
        let cut = |kv_heads, shared, positions| {
            let cut = Cut::new(kv_heads, shared, positions);
            (cut.groups, cut.rows, cut.stretches, cut.length)
        };
        assert_eq!(cut(3, 3, 64), (1, 3, 1, 64));
        assert_eq!(cut(3, 3, 2048), (1, 3, 6, 352));
        assert_eq!(cut(4, 8, 100), (2, 4, 1, 112));
        assert_eq!(cut(32, 1, 8192), (1, 1, 1, 8192));
        assert_eq!(cut(1, 40, 1000), (7, 6, 3, 336));
        for positions in 1..3000 {
            let cut = Cut::new(1, 4, positions);
            assert!((cut.stretches - 1) * cut.length < positions && positions <= cut.stretches * cut.length);
            assert!(cut.stretches <= Cut::most_jobs(1, 4));
        }
    }
}
