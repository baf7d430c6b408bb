//! The steps of a block: its two branches, their norms, and how they are added to the residual stream.

use super::{Builder, NO_COST, norm_tensors};
use crate::plan::site::{Cost, Module, OpKind};
use crate::plan::{Op, SlotId};
use crate::spec::{Ffn, Layer, Mixer, Norm, Residual};

impl Builder {
    pub(super) fn block(&mut self, layer: &Layer, hidden: u32) {
        let (stream, normed) = (self.slot("stream", hidden), self.slot("normed", hidden));
        let branch = self.slot("branch", hidden);
        let post_norm = layer.residual == Residual::PostNorm;
        let (module, word) = match &layer.mixer {
            Mixer::Recurrent(_) => (Module::Recurrent, "rec"),
            _ => (Module::Attention, "attn"),
        };
        self.module = module;
        if !post_norm {
            self.norm(&format!("{word}.norm"), "attn_norm", layer.attn_norm, stream, normed);
        }
        let input = if post_norm { stream } else { normed };
        self.mixer(&layer.mixer, input, branch, hidden);
        let residual = format!("{word}.residual");
        if !layer.residual.is_parallel() {
            let norm = layer.attn_post_norm.map(|norm| ("post_attention_norm", norm));
            self.add(&residual, stream, &[branch], norm, layer.residual_scale);
        }
        if post_norm {
            self.norm(&format!("{word}.norm"), "attn_norm", layer.attn_norm, stream, stream);
        }

        self.module = Module::Ffn;
        let norm = layer.ffn_norm;
        if let Some(norm) = norm.filter(|_| !post_norm) {
            self.norm("ffn.norm", "ffn_norm", norm, stream, normed);
        }
        let out = if layer.residual.is_parallel() { self.slot("ffn_branch", hidden) } else { branch };
        self.ffn(&layer.ffn, input, out);
        if layer.residual.is_parallel() {
            self.add("ffn.residual", stream, &[branch, out], None, layer.residual_scale);
            self.fuses(&[&residual]);
        } else {
            let norm = layer.ffn_post_norm.map(|norm| ("post_ffw_norm", norm));
            self.add("ffn.residual", stream, &[out], norm, layer.residual_scale);
        }
        if let Some(norm) = norm.filter(|_| post_norm) {
            self.norm("ffn.norm", "ffn_norm", norm, stream, stream);
        }
    }

    fn ffn(&mut self, ffn: &Ffn, input: SlotId, out: SlotId) {
        let own = self.layer;
        let up = self.slot("up", ffn.dim);
        // The weights may be another layer's; the steps are this layer's.
        let weights_of = ffn.shared_with.or(own);
        let parts = |names: &[(&'static str, SlotId)]| -> Vec<_> {
            names.iter().map(|&(name, out)| (name, ffn.bias, out)).collect()
        };
        let (first, name, hidden) = if ffn.gated {
            let gate = self.slot("gate", ffn.dim);
            (parts(&[("ffn_gate", gate), ("ffn_up", up)]), "ffn.gate_up_proj", gate)
        } else {
            (parts(&[("ffn_up", up)]), "ffn.up_proj", up)
        };
        let (first, down) = {
            self.layer = weights_of;
            let first = first.iter().map(|part| self.projection(part)).collect();
            let down = vec![self.projection(&("ffn_down", ffn.bias, out))];
            self.layer = own;
            (first, down)
        };
        self.products(name, input, first, None);
        let op =
            Op::Gate { activation: ffn.activation, gate: hidden, up: ffn.gated.then_some(up), out: hidden };
        // The function counts as four: exponential, sum, quotient and product. The gate is one product more.
        let flops_per_row = (4 + u64::from(ffn.gated)) * u64::from(ffn.dim);
        self.step("ffn.activation", OpKind::Activation, op, &[], Cost { flops_per_row, ..NO_COST });
        if ffn.gated {
            self.fuses(&["gate_multiply"]);
        }
        self.products("ffn.down_proj", hidden, down, None);
    }

    /// Adds branches to the stream, behind a norm whose tensors have that name, times a factor.
    fn add(
        &mut self,
        step: &str,
        stream: SlotId,
        branches: &[SlotId],
        norm: Option<(&str, Norm)>,
        scale: Option<f32>,
    ) {
        let weights = norm.map(|(name, norm)| self.norm_weights(name, norm));
        let tensors = weights.as_ref().map(norm_tensors).unwrap_or_default();
        let width = u64::from(self.plan.slots[usize::from(stream)].width);
        let per_element = branches.len() as u64
            + u64::from(scale.is_some())
            + norm.map_or(0, |(_, norm)| norm.flops_per_element());
        let cost = Cost { flops_per_row: per_element * width, ..self.weights_cost(&tensors) };
        let op = Op::Add { stream, branches: branches.to_vec(), norm: weights, scale };
        self.step(step, OpKind::Elementwise, op, &tensors, cost);
        if norm.is_some() {
            self.fuses(&["post_norm"]);
        }
    }
}
