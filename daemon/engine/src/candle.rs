//! The executor on candle's stock CPU kernels: the reference that other executors are measured against.
//!
//! Slots hold whatever tensor the last step left there. Queries, keys and values are `[rows, width]` when
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
mod weight;

use candle_core::{DType, Result, Storage, Tensor};
use slmscope_profiles::plan::{Op, Plan, Rows, SlotId, Step, TensorId};
use slmscope_profiles::spec::{Activation, Lengths};

use crate::error::{EngineError, LoadError};
use crate::executor::{EngineMemory, Executor};
use crate::weights::{Loading, TensorBytes};
use attention::{Masks, Span};
use cache::LayerCache;
use recurrence::Recurrences;
use rope::RopeTables;
use weight::{Weight, dense};

pub(crate) use blocks::quantize_blocks;
pub(crate) use memory::requirements;
pub use weight::dequantize;

/// Most rows of one pass. Longer prompts are cut into chunks: scores and activations grow with the rows, the
/// stock kernels gain nothing from more of them, and whoever watches or cancels waits for a chunk's end.
pub(crate) const PREFILL_ROWS: usize = 128;

/// Runs a plan with candle.
pub struct CandleExecutor {
    weights: Vec<Weight>,
    slots: Vec<Option<Tensor>>,
    caches: Vec<LayerCache>,
    recurrences: Recurrences,
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
    /// a cache for a sequence.
    pub(crate) fn load(
        plan: &Plan,
        lengths: Lengths,
        loading: &mut Loading<'_>,
        mut tensor_bytes: impl FnMut(usize, &mut Loading<'_>) -> std::result::Result<TensorBytes, LoadError>,
    ) -> std::result::Result<Self, LoadError> {
        let mut weights = Vec::with_capacity(plan.tensors.len());
        let dense = dense(plan);
        // Then small tensors share their pages with nothing that is read where it lies.
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
            ids: Vec::with_capacity(PREFILL_ROWS),
            context: 0,
            filled: 0,
            capacity: 0,
            vocab: plan.vocab,
            logits: vec![0.0; plan.vocab as usize],
            memory: EngineMemory::default(),
        };
        executor.reserve(plan, lengths)?;
        Ok(executor)
    }

    fn run(&mut self, plan: &Plan, step: &Step) -> Result<()> {
        let span = Span { context: self.context as usize, rows: self.ids.len() };
        match &step.op {
            Op::Embed { table, scale, out } => {
                let rows = self.weight(*table).table().rows(&self.ids)?;
                let rows = scale.map_or(Ok(rows.clone()), |scale| rows * f64::from(scale))?;
                self.put(*out, rows);
            }
            Op::AddPositions { table, offset, slot } => {
                let first = self.context + offset;
                let positions: Vec<u32> = (first..first + self.ids.len() as u32).collect();
                let rows = self.weight(*table).table().rows(&positions)?;
                let sum = (self.slot(*slot)? + rows)?;
                self.put(*slot, sum);
            }
            Op::Norm { weights, input, out } => {
                let normed = self.norm(&self.input(*input, step.rows)?, weights)?;
                self.put(*out, normed);
            }
            Op::HeadNorm { parts } => {
                for part in parts {
                    let normed = self.head_norm(self.slot(part.slot)?, part)?;
                    self.put(part.slot, normed);
                }
            }
            Op::MatMul { input, parts, clip } => {
                let input = self.input(*input, step.rows)?;
                for part in parts {
                    let mut product = self.weight(part.weight).matrix().forward(&input)?;
                    if let Some(bias) = part.bias {
                        product = product.broadcast_add(self.weight(bias).vector())?;
                    }
                    if let Some(clip) = clip {
                        product = product.clamp(-clip, *clip)?;
                    }
                    self.put(part.out, product);
                }
            }
            Op::Rope { parts, rope } => {
                for part in parts {
                    let heads = by_head(self.slot(part.slot)?, part.heads, part.head_dim)?;
                    let turned =
                        self.ropes[*rope as usize].turn(&heads, part.offset as usize, span.context)?;
                    self.put(part.slot, turned);
                }
            }
            Op::KvAppend { cache, k, v } => {
                let shape = &plan.caches[*cache as usize];
                let k = by_head(self.slot(*k)?, shape.heads, shape.key_dim)?;
                let v = v.map(|v| by_head(self.slot(v)?, shape.heads, shape.value_dim)).transpose()?;
                self.caches[*cache as usize].append(&k, v.as_ref(), span.context)?;
            }
            Op::Attention(op) => {
                let q = by_head(self.slot(op.q)?, op.q_heads, op.key_dim)?;
                let cache = &self.caches[op.cache as usize];
                let mixed = attention::attend(&q, cache, op, span, &mut self.masks)?;
                self.put(op.out, mixed);
            }
            Op::LatentQuery { weight, shape, q, out } => {
                let q = by_head(self.slot(*q)?, shape.heads, shape.nope_dim + shape.rope_dim)?;
                let absorbed = latent::query(self.weight(*weight).plain()?, shape, &q)?;
                self.put(*out, absorbed);
            }
            Op::LatentValue { weight, shape, mixed, out } => {
                let mixed = by_head(self.slot(*mixed)?, shape.heads, shape.kv_rank)?;
                let values = latent::value(self.weight(*weight).plain()?, shape, &mixed)?;
                self.put(*out, values);
            }
            Op::Gate { activation, gate, up, out } => {
                let opened = activate(self.slot(*gate)?, *activation)?;
                let gated = up.map_or(Ok(opened.clone()), |up| &opened * self.slot(up)?)?;
                self.put(*out, gated);
            }
            Op::Add { stream, branches, norm, scale } => {
                let mut sum = self.slot(branches[0])?.clone();
                for branch in &branches[1..] {
                    sum = (sum + self.slot(*branch)?)?;
                }
                if let Some(norm) = norm {
                    sum = self.norm(&sum, norm)?;
                }
                if let Some(scale) = scale {
                    sum = (sum * f64::from(*scale))?;
                }
                let sum = (self.slot(*stream)? + sum)?;
                self.put(*stream, sum);
            }
            Op::Conv1d { state, weight, bias, input, out } => {
                let input = self.slot(*input)?.clone();
                let (weight, bias) =
                    (self.weight(*weight).vector().clone(), self.weight(*bias).vector().clone());
                let convolved = self.recurrences.convolve(*state as usize, &input, &weight, &bias)?;
                self.put(*out, convolved);
            }
            Op::BlockMatMul { blocks, input, parts } => {
                let input = self.slot(*input)?.clone();
                for part in parts {
                    let product = recurrence::block_product(
                        self.weight(part.weight).plain()?,
                        *blocks as usize,
                        &input,
                    )?;
                    let product = match part.bias {
                        Some(bias) => product.broadcast_add(self.weight(bias).vector())?,
                        None => product,
                    };
                    self.put(part.out, product);
                }
            }
            Op::Scan { state, decay, input, input_gate, recurrence_gate, out } => {
                let input = self.slot(*input)?.clone();
                let gates = [self.slot(*input_gate)?.clone(), self.slot(*recurrence_gate)?.clone()];
                let decay = self.weight(*decay).vector().clone();
                let state = *state as usize;
                let states = self.recurrences.scan(state, &input, &gates, &decay, self.context == 0)?;
                self.put(*out, states);
            }
            Op::ScaleLogits { slot, scale, softcap } => {
                let mut logits = self.slot(*slot)?.clone();
                if let Some(scale) = scale {
                    logits = (logits * f64::from(*scale))?;
                }
                if let Some(cap) = softcap {
                    logits = softcapped(&logits, *cap)?;
                }
                self.put(*slot, logits);
            }
        }
        Ok(())
    }

    /// The pass is complete: its tokens count and its logits can be read.
    fn end(&mut self, plan: &Plan) -> Result<()> {
        let logits = self.slot(plan.logits)?.clone();
        self.read_logits(&logits)?;
        self.filled = self.context + self.ids.len() as u32;
        self.recurrences.end_pass(self.filled);
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

fn activate(input: &Tensor, activation: Activation) -> Result<Tensor> {
    match activation {
        Activation::Silu => input.silu(),
        Activation::GeluTanh => input.gelu(),
        Activation::Gelu => input.gelu_erf(),
        Activation::Relu => input.relu(),
        Activation::Relu2 => input.relu()?.sqr(),
    }
}

/// `cap * tanh(values / cap)`
fn softcapped(values: &Tensor, cap: f32) -> Result<Tensor> {
    (values / f64::from(cap))?.tanh()? * f64::from(cap)
}

impl Executor for CandleExecutor {
    fn begin(&mut self, ids: &[u32], context: u32) -> std::result::Result<(), EngineError> {
        if ids.is_empty() || ids.len() > PREFILL_ROWS {
            return Err(EngineError::Rows { rows: ids.len(), limit: PREFILL_ROWS });
        }
        if let Some(&id) = ids.iter().find(|id| **id >= self.vocab) {
            return Err(EngineError::Token { id, vocab: self.vocab });
        }
        if context > self.filled || !self.recurrences.begin_pass(context) {
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
        self.filled = self.recurrences.rewind(self.filled.min(context));
        self.filled
    }

    fn keep(&mut self) {
        self.recurrences.keep();
    }

    fn reserve(&mut self, plan: &Plan, lengths: Lengths) -> std::result::Result<(), LoadError> {
        let tokens = lengths.total as usize;
        // Given back before the new ones are taken.
        (self.caches, self.ropes) = (Vec::new(), Vec::new());
        (self.filled, self.capacity) = (0, 0);
        self.slots.fill(None);
        for shape in &plan.caches {
            let cache = LayerCache::new(shape, tokens, plan.kv_format);
            self.caches.push(cache.map_err(LoadError::kernel(&format!("cache of layer {}", shape.layer)))?);
        }
        self.recurrences = Recurrences::new(&plan.states).map_err(LoadError::kernel("recurrent state"))?;
        for rope in &plan.ropes {
            self.ropes.push(RopeTables::new(rope, lengths).map_err(LoadError::kernel("rotary table"))?);
        }
        self.capacity = lengths.total;
        self.memory = requirements(plan, lengths.total);
        Ok(())
    }

    fn rows(&self) -> usize {
        PREFILL_ROWS
    }

    fn memory(&self) -> EngineMemory {
        self.memory
    }
}
