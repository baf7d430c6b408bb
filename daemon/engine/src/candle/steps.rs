//! The steps of a plan, one method for each that takes more than a few lines.

use candle_core::{Result, Tensor};
use slmscope_profiles::plan::{
    CacheShape, NormWeights, Op, Plan, Projection, RopePart, SlotId, Step, TensorId,
};
use slmscope_profiles::spec::Activation;

use super::attention::{self, Span};
use super::{CandleExecutor, by_head, latent, recurrence, softcapped};

impl CandleExecutor {
    /// Computes one step.
    pub(super) fn run(&mut self, plan: &Plan, step: &Step) -> Result<()> {
        match &step.op {
            Op::Embed { table, scale, out } => self.embed(*table, *scale, *out)?,
            Op::AddPositions { table, offset, slot } => self.add_positions(*table, *offset, *slot)?,
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
                self.matmul(&input, parts, *clip)?;
            }
            Op::Rope { parts, rope } => self.rope(parts, *rope)?,
            Op::KvAppend { cache, k, v } => self.append(&plan.caches[*cache as usize], *cache, *k, *v)?,
            Op::Attention(op) => {
                let q = by_head(self.slot(op.q)?, op.q_heads, op.key_dim)?;
                let cache = &self.caches[op.cache as usize];
                let mixed = attention::attend(&q, cache, op, self.span(), &mut self.masks)?;
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
                self.add(*stream, branches, norm.as_ref(), *scale)?;
            }
            Op::Conv1d { state, weight, bias, input, out } => {
                self.convolve(*state, [*weight, *bias], *input, *out)?;
            }
            Op::BlockMatMul { blocks, input, parts } => self.block_matmul(*blocks as usize, *input, parts)?,
            Op::Scan { state, decay, input, input_gate, recurrence_gate, out } => {
                self.scan(*state, *decay, *input, [*input_gate, *recurrence_gate], *out)?;
            }
            Op::ScaleLogits { slot, scale, softcap } => self.scale_logits(*slot, *scale, *softcap)?,
        }
        Ok(())
    }

    fn embed(&mut self, table: TensorId, scale: Option<f32>, out: SlotId) -> Result<()> {
        let rows = self.weight(table).table().rows(self.sequence.ids())?;
        let rows = scale.map_or(Ok(rows.clone()), |scale| rows * f64::from(scale))?;
        self.put(out, rows);
        Ok(())
    }

    fn add_positions(&mut self, table: TensorId, offset: u32, slot: SlotId) -> Result<()> {
        let first = self.sequence.context() + offset;
        let positions: Vec<u32> = (first..first + self.sequence.ids().len() as u32).collect();
        let rows = self.weight(table).table().rows(&positions)?;
        let sum = (self.slot(slot)? + rows)?;
        self.put(slot, sum);
        Ok(())
    }

    fn matmul(&mut self, input: &Tensor, parts: &[Projection], clip: Option<f32>) -> Result<()> {
        for part in parts {
            let mut product = self.weight(part.weight).matrix().forward(input)?;
            if let Some(bias) = part.bias {
                product = product.broadcast_add(self.weight(bias).vector())?;
            }
            if let Some(clip) = clip {
                product = product.clamp(-clip, clip)?;
            }
            self.put(part.out, product);
        }
        Ok(())
    }

    fn convolve(
        &mut self,
        state: u32,
        [weight, bias]: [TensorId; 2],
        input: SlotId,
        out: SlotId,
    ) -> Result<()> {
        let input = self.slot(input)?.clone();
        let (weight, bias) = (self.weight(weight).vector().clone(), self.weight(bias).vector().clone());
        let convolved = self.recurrences.convolve(state as usize, &input, &weight, &bias)?;
        self.put(out, convolved);
        Ok(())
    }

    fn scan(
        &mut self,
        state: u32,
        decay: TensorId,
        input: SlotId,
        [input_gate, recurrence_gate]: [SlotId; 2],
        out: SlotId,
    ) -> Result<()> {
        let input = self.slot(input)?.clone();
        let gates = [self.slot(input_gate)?.clone(), self.slot(recurrence_gate)?.clone()];
        let decay = self.weight(decay).vector().clone();
        let is_first = self.sequence.context() == 0;
        let states = self.recurrences.scan(state as usize, &input, &gates, &decay, is_first)?;
        self.put(out, states);
        Ok(())
    }

    fn block_matmul(&mut self, blocks: usize, input: SlotId, parts: &[Projection]) -> Result<()> {
        let input = self.slot(input)?.clone();
        for part in parts {
            let product = recurrence::block_product(self.weight(part.weight).plain()?, blocks, &input)?;
            let product = match part.bias {
                Some(bias) => product.broadcast_add(self.weight(bias).vector())?,
                None => product,
            };
            self.put(part.out, product);
        }
        Ok(())
    }

    fn rope(&mut self, parts: &[RopePart], rope: u32) -> Result<()> {
        for part in parts {
            let heads = by_head(self.slot(part.slot)?, part.heads, part.head_dim)?;
            let context = self.sequence.context() as usize;
            let turned = self.ropes[rope as usize].turn(&heads, part.offset as usize, context)?;
            self.put(part.slot, turned);
        }
        Ok(())
    }

    fn append(&mut self, shape: &CacheShape, cache: u32, k: SlotId, v: Option<SlotId>) -> Result<()> {
        let k = by_head(self.slot(k)?, shape.heads, shape.key_dim)?;
        let v = v.map(|v| by_head(self.slot(v)?, shape.heads, shape.value_dim)).transpose()?;
        self.caches[cache as usize].append(&k, v.as_ref(), self.sequence.context() as usize)
    }

    fn add(
        &mut self,
        stream: SlotId,
        branches: &[SlotId],
        norm: Option<&NormWeights>,
        scale: Option<f32>,
    ) -> Result<()> {
        let mut sum = self.slot(branches[0])?.clone();
        for branch in &branches[1..] {
            sum = (sum + self.slot(*branch)?)?;
        }
        if let Some(norm) = norm {
            sum = self.norm(&sum, norm)?;
        }
        if let Some(scale) = scale {
            sum = (sum * f64::from(scale))?;
        }
        let sum = (self.slot(stream)? + sum)?;
        self.put(stream, sum);
        Ok(())
    }

    fn scale_logits(&mut self, slot: SlotId, scale: Option<f32>, softcap: Option<f32>) -> Result<()> {
        let mut logits = self.slot(slot)?.clone();
        if let Some(scale) = scale {
            logits = (logits * f64::from(scale))?;
        }
        if let Some(cap) = softcap {
            logits = softcapped(&logits, cap)?;
        }
        self.put(slot, logits);
        Ok(())
    }

    /// The rows of the running pass.
    fn span(&self) -> Span {
        Span { context: self.sequence.context() as usize, rows: self.sequence.ids().len() }
    }
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
