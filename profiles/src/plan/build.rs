//! From spec to plan.

use super::site::{Cost, Module, OpKind, OpSite, SiteWeight};
use super::{Op, Plan, Projection, Rows, Slot, SlotId, Step, TensorId};
use crate::format::{KvFormat, WeightFormat};
use crate::spec::tensors::{EMBEDDING, TensorSpec};
use crate::spec::{Attention, DecoderSpec, Layer, Norm};

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
        kv_widths: spec.layers.iter().map(|layer| layer.attention.kv_width()).collect(),
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
    ids: std::collections::HashMap<String, TensorId>,
    layer: Option<u32>,
    module: Module,
}

/// The buffers that all layers share, as wide as the widest layer needs them.
struct Slots {
    stream: SlotId,
    normed: SlotId,
    q: SlotId,
    k: SlotId,
    v: SlotId,
    mixed: SlotId,
    branch: SlotId,
    gate: SlotId,
    up: SlotId,
}

impl Builder {
    fn decoder(&mut self, spec: &DecoderSpec) {
        let widest = |width: fn(&Layer) -> u32| spec.layers.iter().map(width).max().unwrap_or(0);
        let slots = Slots {
            stream: self.slot("stream", spec.hidden),
            normed: self.slot("normed", spec.hidden),
            q: self.slot("q", widest(|layer| layer.attention.q_width())),
            k: self.slot("k", widest(|layer| layer.attention.kv_width())),
            v: self.slot("v", widest(|layer| layer.attention.kv_width())),
            mixed: self.slot("mixed", widest(|layer| layer.attention.q_width())),
            branch: self.slot("branch", spec.hidden),
            gate: self.slot("gate", widest(|layer| layer.ffn.dim)),
            up: self.slot("up", widest(|layer| layer.ffn.dim)),
        };
        let table = self.id(EMBEDDING);
        let row_bytes = self.plan.tensors[table as usize].1.bytes(1, u64::from(spec.hidden));
        self.step(
            "embed",
            OpKind::Embed,
            Op::Embed { table, scale: spec.embedding_scale, out: slots.stream },
            &[table],
            Cost { bytes_per_row: row_bytes, ..NO_COST },
        );
        for (index, layer) in spec.layers.iter().enumerate() {
            self.layer = Some(index as u32);
            self.attention(layer, &slots, spec.hidden);
            self.ffn(layer, &slots, spec.hidden);
        }
        (self.layer, self.module) = (None, Module::LmHead);
        let start = self.plan.steps.len();
        self.norm("final_norm", "output_norm.weight", spec.final_norm, slots.stream, slots.normed);
        self.plan.logits = self.slot("logits", spec.vocab);
        let head = if spec.tied_head { EMBEDDING } else { "output.weight" };
        self.projections("lm_head", slots.normed, &[(head, None, self.plan.logits)]);
        for index in start..self.plan.steps.len() {
            self.plan.steps[index].rows = Rows::Last;
            self.plan.sites[index].cost.rows = Rows::Last;
        }
    }

    fn attention(&mut self, layer: &Layer, slots: &Slots, hidden: u32) {
        self.module = Module::Attention;
        let attention = &layer.attention;
        let Attention { q_heads, kv_heads, head_dim, window, scale, .. } = *attention;
        let (q_width, kv_width) = (u64::from(attention.q_width()), u64::from(attention.kv_width()));
        self.norm("attn.norm", &self.name("attn_norm.weight"), layer.attn_norm, slots.stream, slots.normed);
        let bias = |name: &str| attention.qkv_bias.then(|| self.name(name));
        let names = ["attn_q", "attn_k", "attn_v"].map(|n| self.name(&format!("{n}.weight")));
        let biases = ["attn_q.bias", "attn_k.bias", "attn_v.bias"].map(bias);
        let parts: Vec<_> = (0..3)
            .map(|i| (names[i].as_str(), biases[i].as_deref(), [slots.q, slots.k, slots.v][i]))
            .collect();
        self.projections("attn.qkv_proj", slots.normed, &parts);
        if let Some(norm) = attention.qk_norm {
            let parts = vec![
                (slots.q, self.id(&self.name("attn_q_norm.weight"))),
                (slots.k, self.id(&self.name("attn_k_norm.weight"))),
            ];
            let gains: Vec<_> = parts.iter().map(|part| part.1).collect();
            let cost = Cost { flops_per_row: 4 * (q_width + kv_width), ..self.weights_cost(&gains) };
            self.step("attn.qk_norm", OpKind::Norm, Op::HeadNorm { parts, head_dim, norm }, &gains, cost);
        }
        let known = self.plan.ropes.iter().position(|known| *known == attention.rope);
        let rope = known.unwrap_or_else(|| {
            self.plan.ropes.push(attention.rope.clone());
            self.plan.ropes.len() - 1
        });
        let turned = u64::from(attention.rope.dim) * u64::from(q_heads + kv_heads);
        self.step(
            "attn.rope",
            OpKind::Rope,
            Op::Rope { parts: vec![slots.q, slots.k], head_dim, rope: rope as u32 },
            &[],
            // Four products and two sums turn a pair.
            Cost { flops_per_row: 3 * turned, ..NO_COST },
        );
        let layer_index = self.layer.unwrap_or(0);
        let kv_bytes = 2 * kv_width * self.plan.kv_format.bytes();
        self.step(
            "attn.kv_append",
            OpKind::KvAppend,
            Op::KvAppend { layer: layer_index, k: slots.k, v: slots.v },
            &[],
            Cost { bytes_per_row: kv_bytes, ..NO_COST },
        );
        self.step(
            "attn.attention",
            OpKind::Attention,
            Op::Attention {
                layer: layer_index,
                q: slots.q,
                out: slots.mixed,
                q_heads,
                kv_heads,
                head_dim,
                scale,
                window,
            },
            &[],
            // Scores and mixing are a multiply-add each; the exponential counts as one.
            Cost {
                bytes_per_cached: kv_bytes,
                flops_per_attended: 4 * q_width + u64::from(q_heads),
                window,
                ..NO_COST
            },
        );
        let site = self.plan.sites.last_mut().expect("a step was just added");
        site.fuses = ["scores", "softmax", "values"].map(str::to_owned).to_vec();
        self.projections(
            "attn.o_proj",
            slots.mixed,
            &[(&self.name("attn_output.weight"), None, slots.branch)],
        );
        if let Some(norm) = layer.attn_post_norm {
            let gain = self.name("post_attention_norm.weight");
            self.norm("attn.post_norm", &gain, norm, slots.branch, slots.branch);
        }
        self.add("attn.residual", slots, hidden);
    }

    fn ffn(&mut self, layer: &Layer, slots: &Slots, hidden: u32) {
        self.module = Module::Ffn;
        self.norm("ffn.norm", &self.name("ffn_norm.weight"), layer.ffn_norm, slots.stream, slots.normed);
        let (gate, up) = (self.name("ffn_gate.weight"), self.name("ffn_up.weight"));
        self.projections(
            "ffn.gate_up_proj",
            slots.normed,
            &[(&gate, None, slots.gate), (&up, None, slots.up)],
        );
        self.step(
            "ffn.activation",
            OpKind::Activation,
            Op::Gate { activation: layer.ffn.activation, gate: slots.gate, up: slots.up, out: slots.gate },
            &[],
            // Exponential, sum, quotient and product; the gate's product.
            Cost { flops_per_row: 5 * u64::from(layer.ffn.dim), ..NO_COST },
        );
        let site = self.plan.sites.last_mut().expect("a step was just added");
        site.fuses = vec!["gate_multiply".to_owned()];
        self.projections("ffn.down_proj", slots.gate, &[(&self.name("ffn_down.weight"), None, slots.branch)]);
        if let Some(norm) = layer.ffn_post_norm {
            let gain = self.name("post_ffw_norm.weight");
            self.norm("ffn.post_norm", &gain, norm, slots.branch, slots.branch);
        }
        self.add("ffn.residual", slots, hidden);
    }

    fn norm(&mut self, name: &str, gain: &str, norm: Norm, input: SlotId, out: SlotId) {
        let gain = self.id(gain);
        let width = self.plan.tensors[gain as usize].0.elements();
        // Square, sum, scale, gain.
        let cost = Cost { flops_per_row: 4 * width, ..self.weights_cost(&[gain]) };
        self.step(name, OpKind::Norm, Op::Norm { gain, norm, input, out }, &[gain], cost);
    }

    fn projections(&mut self, name: &str, input: SlotId, parts: &[(&str, Option<&str>, SlotId)]) {
        let parts: Vec<_> = parts
            .iter()
            .map(|&(weight, bias, out)| Projection {
                weight: self.id(weight),
                bias: bias.map(|b| self.id(b)),
                out,
            })
            .collect();
        let weights: Vec<_> =
            parts.iter().flat_map(|part| [Some(part.weight), part.bias]).flatten().collect();
        let flops = parts
            .iter()
            .map(|part| {
                let bias = part.bias.map_or(0, |bias| self.plan.tensors[bias as usize].0.elements());
                2 * self.plan.tensors[part.weight as usize].0.elements() + bias
            })
            .sum();
        let cost = Cost { flops_per_row: flops, ..self.weights_cost(&weights) };
        self.step(name, OpKind::Matmul, Op::MatMul { input, parts }, &weights, cost);
    }

    fn add(&mut self, name: &str, slots: &Slots, hidden: u32) {
        let op = Op::Add { stream: slots.stream, branch: slots.branch };
        let cost = Cost { flops_per_row: u64::from(hidden), ..NO_COST };
        self.step(name, OpKind::Elementwise, op, &[], cost);
    }

    fn step(&mut self, name: &str, kind: OpKind, op: Op, weights: &[TensorId], cost: Cost) {
        let weights = weights
            .iter()
            .map(|&id| {
                let (tensor, format) = &self.plan.tensors[id as usize];
                SiteWeight {
                    tensor: tensor.name.clone(),
                    format: *format,
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

    fn slot(&mut self, name: &'static str, width: u32) -> SlotId {
        self.plan.slots.push(Slot { name, width });
        (self.plan.slots.len() - 1) as SlotId
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
