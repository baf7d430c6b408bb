//! From spec to plan.

mod branch;
mod mixer;

use std::collections::HashMap;

use super::site::{Cost, Module, OpKind, OpSite, SiteWeight};
use super::{NormWeights, Op, Plan, Projection, Rows, Slot, SlotId, Step, TensorId};
use crate::format::{KvFormat, WeightFormat};
use crate::spec::tensors::{EMBEDDING, TensorSpec};
use crate::spec::{DecoderSpec, Gain, Norm, Rope};

pub(super) fn compile(
    spec: &DecoderSpec,
    kv_format: KvFormat,
    format_of: impl Fn(&TensorSpec) -> WeightFormat,
) -> Plan {
    let tensors: Vec<_> =
        spec.tensors().into_iter().map(|t| (format_of(&t), t)).map(|(f, t)| (t, f)).collect();
    let plan = Plan {
        steps: Vec::new(),
        sites: Vec::new(),
        slots: Vec::new(),
        tensors,
        ropes: Vec::new(),
        caches: Vec::new(),
        states: Vec::new(),
        kv_format,
        hidden: spec.hidden,
        vocab: spec.vocab,
        logits: 0,
    };
    let ids = plan.tensor_ids().into_iter().map(|(name, id)| (name.to_owned(), id)).collect();
    let mut builder = Builder { plan, ids, layer: None, module: Module::Embedding };
    builder.decoder(spec);
    builder.plan
}

struct Builder {
    plan: Plan,
    ids: HashMap<String, TensorId>,
    layer: Option<u32>,
    module: Module,
}

impl Builder {
    fn decoder(&mut self, spec: &DecoderSpec) {
        self.embedding(spec);
        for (index, layer) in spec.layers.iter().enumerate() {
            self.layer = Some(index as u32);
            self.block(layer, spec.hidden);
        }
        (self.layer, self.module) = (None, Module::LmHead);
        let start = self.plan.steps.len();
        self.head(spec);
        for index in start..self.plan.steps.len() {
            self.plan.steps[index].rows = Rows::Last;
            self.plan.sites[index].cost.rows = Rows::Last;
        }
    }

    fn embedding(&mut self, spec: &DecoderSpec) {
        let embedding = &spec.embedding;
        let table = self.id(EMBEDDING);
        let stream = self.slot("stream", spec.hidden);
        let out = if spec.projects_embedding() { self.slot("embedded", embedding.width) } else { stream };
        let cost = self.lookup_cost(table);
        self.step("embed", OpKind::Embed, Op::Embed { table, scale: embedding.scale, out }, &[table], cost);
        if spec.projects_embedding() {
            self.projections("embed.in_proj", out, &[("token_embd_in", false, stream)], None);
        }
        if let Some(positions) = embedding.positions {
            let table = self.id("position_embd.weight");
            let op = Op::AddPositions { table, offset: positions.offset, slot: stream };
            let cost = Cost { flops_per_row: u64::from(spec.hidden), ..self.lookup_cost(table) };
            self.step("embed.positions", OpKind::Embed, op, &[table], cost);
        }
        if let Some(norm) = embedding.norm {
            self.norm("embed.norm", "token_embd_norm", norm, stream, stream);
        }
    }

    fn head(&mut self, spec: &DecoderSpec) {
        let mut input = self.slot("stream", spec.hidden);
        if let Some(norm) = spec.final_norm {
            let normed = self.slot("normed", spec.hidden);
            self.norm("final_norm", "output_norm", norm, input, normed);
            input = normed;
        }
        if spec.projects_embedding() {
            let out = self.slot("projected", spec.embedding.width);
            self.projections("lm_head.out_proj", input, &[("token_embd_out", false, out)], None);
            input = out;
        }
        let logits = self.slot("logits", spec.vocab);
        self.plan.logits = logits;
        let weight = self.id(if spec.head.tied { EMBEDDING } else { "output.weight" });
        let bias = spec.head.bias.then(|| self.id("output.bias"));
        self.products("lm_head", input, vec![Projection { weight, bias, out: logits }], None);
        let (scale, softcap) = (spec.head.scale, spec.head.softcap);
        if scale.is_some() || softcap.is_some() {
            let op = Op::ScaleLogits { slot: logits, scale, softcap };
            // Factor; quotient, tanh and product.
            let flops = u64::from(scale.is_some()) + 3 * u64::from(softcap.is_some());
            let cost = Cost { flops_per_row: flops * u64::from(spec.vocab), ..NO_COST };
            let kind = if softcap.is_some() { OpKind::Softcap } else { OpKind::Elementwise };
            self.step("lm_head.scale", kind, op, &[], cost);
            self.fuses(&if softcap.is_some() { vec!["softcap"] } else { Vec::new() });
        }
    }

    /// A norm whose tensors are `name`.weight and `name`.bias, as a step of its own.
    fn norm(&mut self, step: &str, name: &str, norm: Norm, input: SlotId, out: SlotId) {
        let weights = self.norm_weights(name, norm);
        let width = self.plan.slots[usize::from(input)].width;
        let tensors = norm_tensors(&weights);
        let flops_per_row = norm.flops_per_element() * u64::from(width);
        let cost = Cost { flops_per_row, ..self.weights_cost(&tensors) };
        self.step(step, OpKind::Norm, Op::Norm { weights, input, out }, &tensors, cost);
    }

    fn norm_weights(&self, name: &str, norm: Norm) -> NormWeights {
        let id = |part: &str| self.id(&self.name(&format!("{name}.{part}")));
        NormWeights {
            norm,
            gain: (norm.gain != Gain::Absent).then(|| id("weight")),
            bias: norm.bias.then(|| id("bias")),
        }
    }

    /// Projections of one input: tensor (without `.weight`), whether it has a bias, and where it goes.
    fn projections(&mut self, step: &str, input: SlotId, parts: &[(&str, bool, SlotId)], clip: Option<f32>) {
        let parts = parts.iter().map(|part| self.projection(part)).collect();
        self.products(step, input, parts, clip);
    }

    fn projection(&self, &(name, bias, out): &(&str, bool, SlotId)) -> Projection {
        let id = |part: &str| self.id(&self.name(&format!("{name}.{part}")));
        Projection { weight: id("weight"), bias: bias.then(|| id("bias")), out }
    }

    fn products(&mut self, step: &str, input: SlotId, parts: Vec<Projection>, clip: Option<f32>) {
        let (weights, cost) = self.products_cost(&parts);
        let clipped = |part: &Projection| u64::from(self.plan.tensors[part.weight as usize].0.rows);
        let clips: u64 = if clip.is_some() { parts.iter().map(clipped).sum() } else { 0 };
        let cost = Cost { flops_per_row: cost.flops_per_row + 2 * clips, ..cost };
        let biased = parts.iter().any(|part| part.bias.is_some());
        self.step(step, OpKind::Matmul, Op::MatMul { input, parts, clip }, &weights, cost);
        let fuses = [("bias", biased), ("clip", clip.is_some())];
        let fuses: Vec<_> = fuses.into_iter().filter(|(_, fused)| *fused).map(|(name, _)| name).collect();
        self.fuses(&fuses);
    }

    /// Tensors and cost of multiplying one row with each of `parts`.
    fn products_cost(&self, parts: &[Projection]) -> (Vec<TensorId>, Cost) {
        let weights: Vec<_> =
            parts.iter().flat_map(|part| [Some(part.weight), part.bias]).flatten().collect();
        let flops = |part: &Projection| {
            let bias = part.bias.map_or(0, |bias| self.plan.tensors[bias as usize].0.elements());
            2 * self.plan.tensors[part.weight as usize].0.elements() + bias
        };
        let flops_per_row = parts.iter().map(flops).sum();
        let cost = Cost { flops_per_row, ..self.weights_cost(&weights) };
        (weights, cost)
    }

    fn step(&mut self, name: &str, kind: OpKind, op: Op, weights: &[TensorId], cost: Cost) {
        let weights = weights
            .iter()
            .map(|&id| {
                let (tensor, format) = &self.plan.tensors[id as usize];
                SiteWeight {
                    tensor: tensor.name.clone(),
                    format: (*format).into(),
                    shape: [tensor.rows, tensor.columns],
                }
            })
            .collect();
        self.plan.sites.push(OpSite {
            id: self.plan.sites.len() as u16,
            layer: self.layer,
            module: self.module,
            name: name.to_owned(),
            kind,
            weights,
            fuses: Vec::new(),
            cost,
        });
        self.plan.steps.push(Step { op, rows: Rows::All });
    }

    /// What the last step does besides.
    fn fuses(&mut self, parts: &[&str]) {
        if let Some(site) = self.plan.sites.last_mut() {
            site.fuses = parts.iter().map(|&part| part.to_owned()).collect();
        }
    }

    /// The slot of that name, as wide as its widest use.
    fn slot(&mut self, name: &'static str, width: u32) -> SlotId {
        let known = self.plan.slots.iter().position(|slot| slot.name == name);
        let index = known.unwrap_or_else(|| {
            self.plan.slots.push(Slot { name, width });
            self.plan.slots.len() - 1
        });
        let slot = &mut self.plan.slots[index];
        slot.width = slot.width.max(width);
        index as SlotId
    }

    /// Index of the rotary embedding, which layers share.
    fn rope(&mut self, rope: &Rope) -> u32 {
        let known = self.plan.ropes.iter().position(|known| known == rope);
        let index = known.unwrap_or_else(|| {
            self.plan.ropes.push(rope.clone());
            self.plan.ropes.len() - 1
        });
        index as u32
    }

    /// The tensor's name in the current layer.
    fn name(&self, part: &str) -> String {
        match self.layer {
            Some(layer) => format!("blk.{layer}.{part}"),
            None => part.to_owned(),
        }
    }

    fn id(&self, name: &str) -> TensorId {
        *self.ids.get(name).expect("the tensor list and the plan are made from the same spec")
    }

    fn weights_cost(&self, weights: &[TensorId]) -> Cost {
        let bytes = weights
            .iter()
            .map(|&id| {
                let (tensor, format) = &self.plan.tensors[id as usize];
                tensor.bytes(*format)
            })
            .sum();
        Cost { bytes, ..NO_COST }
    }

    fn lookup_cost(&self, table: TensorId) -> Cost {
        let (tensor, format) = &self.plan.tensors[table as usize];
        Cost { bytes_per_row: format.bytes(1, u64::from(tensor.columns)), ..NO_COST }
    }
}

fn norm_tensors(weights: &NormWeights) -> Vec<TensorId> {
    [weights.gain, weights.bias].into_iter().flatten().collect()
}

const NO_COST: Cost = Cost {
    bytes: 0,
    bytes_per_row: 0,
    bytes_per_cached: 0,
    flops_per_row: 0,
    flops_per_attended: 0,
    window: None,
    rows: Rows::All,
};
