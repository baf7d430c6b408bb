//! The executor on candle's stock CPU kernels: the reference that other executors are measured against.
//!
//! A slot holds the tensor that the last step wrote to it. Queries, keys and values are `[rows, width]` when
//! they come from their projections and may be `[heads, rows, head_dim]` after a step that works on heads.
//! All activations are f32; every op allocates its result, as candle does.

mod attention;
mod blocks;
mod cache;
mod latent;
mod memory;
mod norm;
mod recurrence;
mod rope;
mod steps;
mod weight;

use candle_core::{DType, Result, Storage, Tensor};
use slmscope_profiles::plan::{Plan, Rows, SlotId, TensorId};
use slmscope_profiles::spec::Lengths;

use crate::error::{EngineError, LoadError};
use crate::executor::{EngineMemory, Executor, Sequence};
use crate::weights::{Loading, TensorBytes};
use attention::Masks;
use cache::LayerCache;
use recurrence::Recurrences;
use rope::RopeTables;
use weight::{Weight, dense};

pub(crate) use blocks::quantize_blocks;
pub(crate) use memory::requirements;
pub use weight::dequantize;

/// The limit on rows of one pass. Longer prompts are cut into chunks: scores and activations grow with the rows,
/// the stock kernels gain nothing from more of them, and progress and cancelling wait for the end of a chunk.
pub(crate) const PREFILL_ROWS: usize = 128;

/// Runs a plan with candle.
pub struct CandleExecutor {
    weights: Vec<Weight>,
    slots: Vec<Option<Tensor>>,
    caches: Vec<LayerCache>,
    recurrences: Recurrences,
    ropes: Vec<RopeTables>,
    masks: Masks,
    sequence: Sequence,
    logits: Vec<f32>,
    memory: EngineMemory,
}

impl CandleExecutor {
    /// Loads the weights of `plan` and allocates a cache for a sequence. `tensor_bytes` returns the bytes of a tensor
    /// by its number in the plan.
    pub(crate) fn load(
        plan: &Plan,
        lengths: Lengths,
        loading: &mut Loading<'_>,
        mut tensor_bytes: impl FnMut(usize, &mut Loading<'_>) -> std::result::Result<TensorBytes, LoadError>,
    ) -> std::result::Result<Self, LoadError> {
        let mut weights = Vec::with_capacity(plan.tensors.len());
        let dense = dense(plan);
        // Then no weight is read in place, so the pages of small tensors can be released.
        let widened = plan.tensors.iter().all(|(_, format)| format.block_elements() == 1);
        for (id, (tensor, format)) in plan.tensors.iter().enumerate() {
            let bytes = tensor_bytes(id, loading)?;
            weights.push(Weight::load(tensor, *format, dense[id], bytes.clone(), loading)?);
            if widened && tensor.role.is_small() {
                bytes.release();
            }
        }
        let mut executor = Self {
            weights,
            slots: vec![None; plan.slots.len()],
            caches: Vec::new(),
            recurrences: Recurrences::default(),
            ropes: Vec::new(),
            masks: Masks::default(),
            sequence: Sequence::new(plan.vocab, PREFILL_ROWS),
            logits: vec![0.0; plan.vocab as usize],
            memory: EngineMemory::default(),
        };
        executor.reserve(plan, lengths)?;
        Ok(executor)
    }

    /// The pass is complete: its tokens count and its logits can be read.
    fn end(&mut self, plan: &Plan) -> Result<()> {
        let logits = self.slot(plan.logits)?.clone();
        self.read_logits(&logits)?;
        self.recurrences.end_pass(self.sequence.end());
        Ok(())
    }

    fn weight(&self, id: TensorId) -> &Weight {
        &self.weights[id as usize]
    }

    fn put(&mut self, slot: SlotId, tensor: Tensor) {
        self.slots[usize::from(slot)] = Some(tensor);
    }

    fn slot(&self, slot: SlotId) -> Result<&Tensor> {
        match &self.slots[usize::from(slot)] {
            Some(tensor) => Ok(tensor),
            None => candle_core::bail!("slot {slot} is read before a step has written it"),
        }
    }

    /// What a step reads: all rows, or the last where only that is computed on.
    fn input(&self, slot: SlotId, rows: Rows) -> Result<Tensor> {
        let tensor = self.slot(slot)?;
        match (rows, tensor.dim(0)?) {
            (Rows::Last, count) if count > 1 => tensor.narrow(0, count - 1, 1),
            _ => Ok(tensor.clone()),
        }
    }

    fn read_logits(&mut self, row: &Tensor) -> Result<()> {
        let (storage, layout) = row.storage_and_layout();
        match (&*storage, row.dtype()) {
            (Storage::Cpu(storage), DType::F32) => {
                let start = layout.start_offset();
                let values = storage.as_slice::<f32>()?;
                let vocab = self.logits.len();
                self.logits.copy_from_slice(&values[start..start + vocab]);
                Ok(())
            }
            (_, dtype) => candle_core::bail!("logits are {dtype:?}, not f32 on the CPU"),
        }
    }
}

/// `[rows, heads * head_dim]` as `[heads, rows, head_dim]`; as it is if it has that shape already.
fn by_head(rows: &Tensor, heads: u32, head_dim: u32) -> Result<Tensor> {
    if rows.rank() == 3 {
        return Ok(rows.clone());
    }
    let count = rows.dim(0)?;
    rows.reshape((count, heads as usize, head_dim as usize))?.transpose(0, 1)?.contiguous()
}

/// `[heads, rows, head_dim]` as `[rows, heads * head_dim]`.
fn by_row(heads: &Tensor) -> Result<Tensor> {
    let (count, rows, head_dim) = heads.dims3()?;
    heads.transpose(0, 1)?.reshape((rows, count * head_dim))
}

/// `cap * tanh(values / cap)`
fn softcapped(values: &Tensor, cap: f32) -> Result<Tensor> {
    (values / f64::from(cap))?.tanh()? * f64::from(cap)
}

impl Executor for CandleExecutor {
    fn begin(&mut self, ids: &[u32], context: u32) -> std::result::Result<(), EngineError> {
        self.sequence.begin(ids, context, |context| self.recurrences.begin_pass(context))?;
        self.masks.clear();
        Ok(())
    }

    fn step(&mut self, plan: &Plan, index: usize) -> std::result::Result<(), EngineError> {
        let failed = |cause| EngineError::Kernel {
            step: index,
            site: plan.sites[index].name.clone(),
            cause: Box::new(cause),
        };
        self.run(plan, &plan.steps[index]).map_err(failed)?;
        if index + 1 == plan.steps.len() {
            self.end(plan).map_err(failed)?;
        }
        Ok(())
    }

    fn logits(&self) -> &[f32] {
        &self.logits
    }

    fn truncate(&mut self, context: u32) -> u32 {
        self.sequence.truncate(context, |context| self.recurrences.rewind(context))
    }

    fn keep(&mut self) {
        self.recurrences.keep();
    }

    fn reserve(&mut self, plan: &Plan, lengths: Lengths) -> std::result::Result<(), LoadError> {
        let tokens = lengths.total as usize;
        // Freed before the new ones are allocated.
        (self.caches, self.ropes) = (Vec::new(), Vec::new());
        self.sequence.reset(0);
        self.slots.fill(None);
        for shape in &plan.caches {
            let cache = LayerCache::new(shape, tokens, plan.kv_format);
            self.caches.push(cache.map_err(LoadError::kernel(&format!("cache of layer {}", shape.layer)))?);
        }
        self.recurrences = Recurrences::new(&plan.states).map_err(LoadError::kernel("recurrent state"))?;
        for rope in &plan.ropes {
            self.ropes.push(RopeTables::new(rope, lengths).map_err(LoadError::kernel("rotary table"))?);
        }
        self.sequence.reset(lengths.total);
        self.memory = requirements(plan, lengths.total);
        Ok(())
    }

    fn context(&self) -> u32 {
        self.sequence.filled()
    }

    fn rows(&self) -> usize {
        PREFILL_ROWS
    }

    fn memory(&self) -> EngineMemory {
        self.memory
    }
}
