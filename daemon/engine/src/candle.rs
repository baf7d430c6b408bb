//! The executor on candle's stock CPU kernels: the reference that other executors are measured against.
//!
//! Slots hold whatever tensor the last step left there. Queries, keys and values are `[rows, width]` when
//! they come from their projections and `[heads, rows, head_dim]` once they are turned. All activations are
//! f32; every op allocates its result, as candle does.

mod attention;
mod blocks;
mod cache;
mod memory;
mod rope;
mod weight;

use candle_core::{DType, Result, Storage, Tensor};
use slmscope_profiles::plan::{Op, Plan, Rows, SlotId, Step, TensorId};
use slmscope_profiles::spec::Activation;

use crate::error::{EngineError, LoadError};
use crate::executor::{EngineMemory, Executor};
use crate::weights::{Loading, TensorBytes};
use attention::{Masks, Span};
use cache::LayerCache;
use rope::RopeTables;
use weight::Weight;

pub(crate) use memory::requirements;
pub use weight::dequantize;

/// Most rows of one pass. Longer prompts are cut into chunks: scores and activations grow with the rows, the
/// stock kernels gain nothing from more of them, and whoever watches or cancels waits for a chunk's end.
pub const PREFILL_ROWS: usize = 128;

/// Runs a plan with candle.
pub struct CandleExecutor {
    weights: Vec<Weight>,
    mapped: bool,
    slots: Vec<Option<Tensor>>,
    caches: Vec<LayerCache>,
    ropes: Vec<RopeTables>,
    masks: Masks,
    ids: Vec<u32>,
    context: u32,
    /// Tokens in the cache, the ones of the running pass included.
    filled: u32,
    capacity: u32,
    vocab: u32,
    logits: Vec<f32>,
    memory: EngineMemory,
}

impl CandleExecutor {
    /// Loads the weights of `plan`, whose bytes `tensor_bytes` gives or makes by their number, and allocates
    /// a cache for `capacity` tokens. `mapped` if the bytes belong to a file.
    pub(crate) fn load(
        plan: &Plan,
        capacity: u32,
        mapped: bool,
        loading: &mut Loading<'_>,
        mut tensor_bytes: impl FnMut(usize, &mut Loading<'_>) -> std::result::Result<TensorBytes, LoadError>,
    ) -> std::result::Result<Self, LoadError> {
        let mut weights = Vec::with_capacity(plan.tensors.len());
        for (id, (tensor, format)) in plan.tensors.iter().enumerate() {
            let bytes = tensor_bytes(id, loading)?;
            weights.push(Weight::load(tensor, *format, bytes, loading)?);
        }
        let mut executor = Self {
            weights,
            mapped,
            slots: vec![None; plan.slots.len()],
            caches: Vec::new(),
            ropes: Vec::new(),
            masks: Masks::default(),
            ids: Vec::with_capacity(PREFILL_ROWS),
            context: 0,
            filled: 0,
            capacity: 0,
            vocab: plan.vocab,
            logits: vec![0.0; plan.vocab as usize],
            memory: EngineMemory::default(),
        };
        executor.reserve(plan, capacity)?;
        Ok(executor)
    }

    /// Empties the cache and makes it as large as `capacity` tokens need.
    pub(crate) fn reserve(&mut self, plan: &Plan, capacity: u32) -> std::result::Result<(), LoadError> {
        let tokens = capacity as usize;
        // Given back before the new ones are taken.
        (self.caches, self.ropes) = (Vec::new(), Vec::new());
        (self.filled, self.capacity) = (0, 0);
        self.slots.fill(None);
        for step in &plan.steps {
            if let Op::Attention { layer, kv_heads, head_dim, .. } = step.op {
                let cache = LayerCache::new(kv_heads as usize, tokens, head_dim as usize, plan.kv_format);
                self.caches.push(cache.map_err(LoadError::kernel(&format!("cache of layer {layer}")))?);
            }
        }
        for rope in &plan.ropes {
            self.ropes.push(RopeTables::new(rope, tokens).map_err(LoadError::kernel("rotary table"))?);
        }
        self.capacity = capacity;
        self.memory = requirements(plan, capacity, self.mapped);
        Ok(())
    }

    fn run(&mut self, plan: &Plan, step: &Step) -> Result<()> {
        let span = Span { context: self.context as usize, rows: self.ids.len() };
        match &step.op {
            Op::Embed { table, scale, out } => {
                let rows = self.weight(*table).table().rows(&self.ids)?;
                let rows = scale.map_or(Ok(rows.clone()), |scale| rows * f64::from(scale))?;
                self.put(*out, rows);
            }
            Op::Norm { gain, norm, input, out } => {
                let input = self.input(*input, step.rows)?;
                let normed = candle_nn::ops::rms_norm(&input, self.weight(*gain).vector(), norm.eps)?;
                self.put(*out, normed);
            }
            Op::HeadNorm { parts, head_dim, norm } => {
                for &(slot, gain) in parts {
                    let input = self.slot(slot)?;
                    let heads = input.reshape(((), *head_dim as usize))?;
                    let normed = candle_nn::ops::rms_norm(&heads, self.weight(gain).vector(), norm.eps)?;
                    let normed = normed.reshape(input.shape())?;
                    self.put(slot, normed);
                }
            }
            Op::MatMul { input, parts } => {
                let input = self.input(*input, step.rows)?;
                for part in parts {
                    let mut product = self.weight(part.weight).matrix().forward(&input)?;
                    if let Some(bias) = part.bias {
                        product = product.broadcast_add(self.weight(bias).vector())?;
                    }
                    if part.out == plan.logits {
                        self.read_logits(&product)?;
                    } else {
                        self.put(part.out, product);
                    }
                }
            }
            Op::Rope { parts, head_dim, rope } => {
                for &slot in parts {
                    let heads = by_head(self.slot(slot)?, *head_dim as usize)?;
                    let turned = self.ropes[*rope as usize].turn(&heads, span.context)?;
                    self.put(slot, turned);
                }
            }
            Op::KvAppend { layer, k, v } => {
                let k = self.slot(*k)?;
                let v = by_head(self.slot(*v)?, k.dim(2)?)?;
                self.caches[*layer as usize].append(k, &v, span.context)?;
            }
            Op::Attention { layer, q, out, kv_heads, scale, window, .. } => {
                let q = self.slot(*q)?.clone();
                let cache = &self.caches[*layer as usize];
                let masks = &mut self.masks;
                let mixed = attention::attend(&q, cache, *kv_heads as usize, *scale, *window, span, masks)?;
                self.put(*out, mixed);
            }
            Op::Gate { activation, gate, up, out } => {
                let gate = self.slot(*gate)?;
                let open = match activation {
                    Activation::Silu => gate.silu()?,
                    Activation::GeluTanh => gate.gelu()?,
                };
                let gated = (open * self.slot(*up)?)?;
                self.put(*out, gated);
            }
            Op::Add { stream, branch } => {
                let sum = (self.slot(*stream)? + self.slot(*branch)?)?;
                self.put(*stream, sum);
            }
        }
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
                self.logits.copy_from_slice(&values[start..start + self.vocab as usize]);
                Ok(())
            }
            (_, dtype) => candle_core::bail!("logits are {dtype:?}, not f32 on the CPU"),
        }
    }
}

/// `[rows, heads * head_dim]` as `[heads, rows, head_dim]`.
fn by_head(rows: &Tensor, head_dim: usize) -> Result<Tensor> {
    let count = rows.dim(0)?;
    rows.reshape((count, (), head_dim))?.transpose(0, 1)?.contiguous()
}

impl Executor for CandleExecutor {
    fn begin(&mut self, ids: &[u32], context: u32) -> std::result::Result<(), EngineError> {
        if ids.is_empty() || ids.len() > PREFILL_ROWS {
            return Err(EngineError::Rows { rows: ids.len(), limit: PREFILL_ROWS });
        }
        if let Some(&id) = ids.iter().find(|id| **id >= self.vocab) {
            return Err(EngineError::Token { id, vocab: self.vocab });
        }
        if context > self.filled {
            return Err(EngineError::Hole { context, filled: self.filled });
        }
        let needed = u64::from(context) + ids.len() as u64;
        if needed > u64::from(self.capacity) {
            return Err(EngineError::Context { needed, capacity: self.capacity });
        }
        self.masks.clear();
        self.ids.clear();
        self.ids.extend_from_slice(ids);
        self.context = context;
        // Grows with the last step only: a pass that ends early leaves no tokens.
        self.filled = context;
        Ok(())
    }

    fn step(&mut self, plan: &Plan, index: usize) -> std::result::Result<(), EngineError> {
        self.run(plan, &plan.steps[index]).map_err(|source| EngineError::Kernel {
            step: index,
            site: plan.sites[index].name.clone(),
            source: Box::new(source),
        })?;
        if index + 1 == plan.steps.len() {
            self.filled = self.context + self.ids.len() as u32;
        }
        Ok(())
    }

    fn logits(&self) -> &[f32] {
        &self.logits
    }

    fn truncate(&mut self, context: u32) {
        self.filled = self.filled.min(context);
    }

    fn memory(&self) -> EngineMemory {
        self.memory
    }
}
