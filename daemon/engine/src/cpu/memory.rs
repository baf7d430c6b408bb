//! The memory that a plan needs, computed before anything is loaded, and allocated.

use std::num::NonZeroUsize;

use slmscope_profiles::plan::{Op, Plan};
use slmscope_profiles::spec::Lengths;

use super::PREFILL_ROWS;
use super::arena::Arena;
use super::attention::Attention;
use super::cache::{Cache, Dims};
use super::products::Inputs;
use super::recurrence::Recurrences;
use super::rope::Table;
use super::slots::Slots;
use super::weight::Weights;
use super::workers::{LaneSize, Workers};
use crate::error::LoadError;
use crate::executor::EngineMemory;
use crate::kernels::Form;

/// Sizes of everything that depends on the lengths or the threads.
pub(super) struct Sizes {
    lengths: Lengths,
    /// Rows of the longest pass.
    rows: usize,
    threads: usize,
    lane: LaneSize,
    /// Bytes of keys and values.
    kv: usize,
    /// Bytes of the arena, and of the kernels' buffers beside it.
    arena: usize,
    beside: usize,
    /// Bytes of the arena that are tables and recurrent state.
    tables: usize,
}

/// Everything but the weights that steps read and write.
#[derive(Default)]
pub(super) struct State {
    pub(super) slots: Slots,
    pub(super) inputs: Inputs,
    pub(super) caches: Vec<Cache>,
    pub(super) attention: Attention,
    pub(super) recurrences: Recurrences,
    pub(super) ropes: Vec<Table>,
}

/// Memory of an executor for `plan` with room for a sequence and that many threads.
pub(crate) fn requirements(plan: &Plan, lengths: Lengths, threads: NonZeroUsize) -> EngineMemory {
    let weights = plan.tensors.iter().map(|(tensor, format)| Weights::memory(tensor, *format)).sum();
    Sizes::of(plan, lengths, threads).memory(weights)
}

impl Sizes {
    pub(super) fn of(plan: &Plan, lengths: Lengths, threads: NonZeroUsize) -> Self {
        let (rows, threads) = (PREFILL_ROWS.min(lengths.total as usize), threads.get());
        let lane = LaneSize::of(plan, rows);
        let tables = Recurrences::bytes(plan) + Table::bytes(plan, rows);
        let arena = Slots::bytes(plan, rows) + Attention::bytes(plan) + threads * lane.bytes() + tables;
        let [plain, quantized] = widest_inputs(plan);
        let beside = Inputs::new(rows, plain, quantized).memory() + threads * lane.kernel_bytes();
        let kv = Dims::of(plan, lengths.total).iter().map(|dims| dims.bytes(plan.kv_format)).sum();
        Self { lengths, rows, threads, lane, kv, arena, beside, tables }
    }

    pub(super) fn memory(&self, weights: u64) -> EngineMemory {
        EngineMemory {
            weights,
            packed: 0,
            kv: self.kv as u64,
            scratch: (self.arena - self.tables + self.beside) as u64,
            tables: self.tables as u64,
        }
    }
}

impl State {
    /// Takes the memory, and gives the workers their lanes.
    pub(super) fn new(plan: &Plan, sizes: &Sizes, workers: &mut Workers) -> Result<Self, LoadError> {
        let mut arena = Arena::new(sizes.arena, "activations")?;
        let mut kv = Arena::new(sizes.kv, "keys and values")?;
        let Sizes { lengths, rows, .. } = *sizes;
        let [plain, quantized] = widest_inputs(plan);
        workers.lanes = (0..sizes.threads).map(|_| sizes.lane.lane(&mut arena)).collect();
        Ok(Self {
            slots: Slots::new(plan, rows, &mut arena),
            inputs: Inputs::new(rows, plain, quantized),
            caches: Dims::of(plan, lengths.total)
                .into_iter()
                .map(|dims| Cache::new(dims, plan.kv_format, &mut kv))
                .collect(),
            attention: Attention::new(plan, &mut arena),
            recurrences: Recurrences::new(plan, &mut arena),
            ropes: plan.ropes.iter().map(|rope| Table::new(rope, lengths, rows, &mut arena)).collect(),
        })
    }
}

/// The widest input of a product with plain weights, and with quantized ones; 0 if there is none.
fn widest_inputs(plan: &Plan) -> [usize; 2] {
    let mut widest = [0; 2];
    for step in &plan.steps {
        if let Op::MatMul { parts, .. } = &step.op {
            for part in parts {
                let (tensor, format) = &plan.tensors[part.weight as usize];
                let form = usize::from(Form::of(*format) == Form::Quantized);
                widest[form] = widest[form].max(tensor.columns as usize);
            }
        }
    }
    widest
}
