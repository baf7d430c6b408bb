//! The executor on this crate's own kernels.
//!
//! It owns its memory: weights are read in place, activations, scratch and recurrent state are allocated from one
//! arena, keys and values from another, all of it when a model is loaded. A pass allocates nothing. Every step is
//! split into chunks by its shapes and computed by the [`Pool`]; a step that is too small for that is computed by the
//! issuing thread.

mod arena;
mod attention;
mod cache;
mod groups;
mod memory;
mod products;
mod recurrence;
mod rope;
mod rows;
mod slots;
mod weight;
mod workers;

use slmscope_profiles::plan::{Op, Plan, Step};
use slmscope_profiles::spec::Lengths;

use crate::error::{EngineError, LoadError};
use crate::executor::{EngineMemory, Executor, Sequence};
use crate::kernels::Kernels;
use crate::ops::Simd;
use crate::pool::Pool;
use crate::setup::Setup;
use crate::weights::{Loading, TensorBytes};
pub(crate) use memory::requirements;
use memory::{Sizes, State};
use rows::Stage;
use weight::Weights;
use workers::Workers;

/// The limit on rows of one pass. Repacked weights and every wake-up serve all rows of a pass, so more rows are
/// faster, until activations no longer fit the caches; and cancelling waits for the end of a step.
pub const PREFILL_ROWS: usize = 512;

/// Runs a plan with our kernels.
pub struct CpuExecutor {
    workers: Workers,
    weights: Weights,
    state: State,
    sequence: Sequence,
    logits: usize,
    sizes: Sizes,
    weight_bytes: u64,
}

impl CpuExecutor {
    /// Loads the weights of `plan` and allocates a cache for a sequence. `tensor_bytes` returns the bytes of a tensor
    /// by its number in the plan.
    pub(crate) fn load(
        plan: &Plan,
        lengths: Lengths,
        setup: &Setup,
        loading: &mut Loading<'_>,
        tensor_bytes: impl FnMut(usize, &mut Loading<'_>) -> Result<TensorBytes, LoadError>,
    ) -> Result<Self, LoadError> {
        let Setup { threads, isa, .. } = *setup;
        let kernels = Kernels::new(isa).ok_or(LoadError::Isa(isa))?;
        let weights = Weights::load(plan, loading, tensor_bytes)?;
        let pool = Pool::new(threads).map_err(|cause| LoadError::Threads { threads, cause })?;
        let sizes = Sizes::of(plan, lengths, threads);
        let mut workers = Workers { pool, kernels, simd: Simd::with(isa), lanes: Vec::new() };
        let state = State::new(plan, &sizes, &mut workers)?;
        let weight_bytes = plan.tensors.iter().map(|(tensor, format)| Weights::memory(tensor, *format)).sum();
        let mut sequence = Sequence::new(plan.vocab, PREFILL_ROWS);
        sequence.reset(lengths.total);
        let logits = usize::from(plan.logits);
        Ok(Self { workers, weights, state, sequence, logits, sizes, weight_bytes })
    }

    fn run(&mut self, step: &Step) {
        let Self { workers, weights, state, sequence, .. } = self;
        let (ids, context) = (sequence.ids(), sequence.context());
        let State { slots, inputs, caches, attention, recurrences, ropes } = state;
        let simd = workers.simd;
        let mut stage = Stage { workers, weights, slots };
        match &step.op {
            Op::Embed { table, scale, out } => stage.embed(ids, *table, *scale, *out),
            Op::AddPositions { table, offset, slot } => {
                stage.add_positions((context + offset) as usize, *table, *slot);
            }
            Op::Norm { weights, input, out } => stage.norm(weights, step.rows, *input, *out),
            Op::HeadNorm { parts } => stage.head_norm(parts),
            Op::MatMul { input, parts, clip } => {
                products::matmul(workers, weights, inputs, slots, (*input, step.rows), parts, *clip);
            }
            Op::Rope { parts, rope } => {
                ropes[*rope as usize].turn(workers, slots, context, parts);
            }
            Op::KvAppend { cache, k, v } => {
                let keys = (slots.read(*k), slots.shape(*k));
                let values = v.map(|v| slots.read(v));
                caches[*cache as usize].append(workers, context as usize, keys, values);
            }
            Op::Attention(op) => attention.run(workers, slots, caches, op, context),
            Op::LatentQuery { weight, shape, q, out } => {
                groups::latent_query(workers, weights, slots, *weight, shape, (*q, *out));
            }
            Op::LatentValue { weight, shape, mixed, out } => {
                groups::latent_value(workers, weights, slots, *weight, shape, (*mixed, *out));
            }
            Op::Gate { activation, gate, up, out } => stage.gate(*activation, *gate, *up, *out),
            Op::Add { stream, branches, norm, scale } => {
                stage.add(*stream, branches, norm.as_ref(), *scale);
            }
            Op::Conv1d { state, weight, bias, input, out } => {
                recurrences.convolve(simd, weights, slots, *state, (*weight, *bias), (*input, *out));
            }
            Op::BlockMatMul { blocks, input, parts } => {
                groups::block_matmul(workers, weights, slots, *blocks as usize, *input, parts);
            }
            Op::Scan { state, decay, input, input_gate, recurrence_gate, out } => {
                let gates = (*input_gate, *recurrence_gate);
                recurrences.scan(simd, weights.small(*decay), slots, *state, *input, gates, *out);
            }
            Op::ScaleLogits { slot, scale, softcap } => stage.scale_logits(*slot, *scale, *softcap),
        }
    }
}

impl Executor for CpuExecutor {
    fn begin(&mut self, ids: &[u32], context: u32) -> Result<(), EngineError> {
        self.sequence.begin(ids, context, |context| self.state.recurrences.begin_pass(context))
    }

    fn step(&mut self, plan: &Plan, index: usize) -> Result<(), EngineError> {
        self.run(&plan.steps[index]);
        if index + 1 == plan.steps.len() {
            self.state.recurrences.end_pass(self.sequence.end());
        }
        Ok(())
    }

    fn logits(&self) -> &[f32] {
        self.state.slots.read(self.logits as u16)
    }

    fn truncate(&mut self, context: u32) -> u32 {
        self.sequence.truncate(context, |context| self.state.recurrences.rewind(context))
    }

    fn keep(&mut self) {
        self.state.recurrences.keep();
    }

    fn reserve(&mut self, plan: &Plan, lengths: Lengths) -> Result<(), LoadError> {
        let sizes = Sizes::of(plan, lengths, self.workers.pool.threads());
        self.sequence.reset(0);
        // Freed before the new memory is allocated.
        self.state = State::default();
        self.workers.lanes.clear();
        self.state = State::new(plan, &sizes, &mut self.workers)?;
        self.sizes = sizes;
        self.sequence.reset(lengths.total);
        Ok(())
    }

    fn context(&self) -> u32 {
        self.sequence.filled()
    }

    fn rows(&self) -> usize {
        PREFILL_ROWS
    }

    fn memory(&self) -> EngineMemory {
        self.sizes.memory(self.weight_bytes)
    }
}
