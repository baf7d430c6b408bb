//! The steps of the token mixers, from their normed input to their output.

use super::{Builder, NO_COST};
use crate::plan::op::{AttentionOp, HeadNormPart, LatentShape, RopePart};
use crate::plan::site::{Cost, OpKind};
use crate::plan::{CacheShape, Op, SlotId};
use crate::spec::{Activation, Attention, LatentAttention, Mixer, QkNorm, Recurrent, Rope};

impl Builder {
    /// Compiles `mixer` from slot `input` to slot `out`, both `hidden` wide.
    pub(super) fn mixer(&mut self, mixer: &Mixer, input: SlotId, out: SlotId, hidden: u32) {
        match mixer {
            Mixer::Attention(attention) => self.attention(attention, input, out),
            Mixer::Latent(latent) => self.latent(latent, input, out),
            Mixer::Recurrent(recurrent) => self.recurrent(recurrent, input, out, hidden),
        }
    }

    fn attention(&mut self, attention: &Attention, input: SlotId, out: SlotId) {
        let Attention { q_heads, kv_heads, head_dim, qkv_bias, .. } = *attention;
        let (q_width, kv_width) = (attention.q_width(), attention.kv_width());
        let (q, k) = (self.slot("q", q_width), self.slot("k", kv_width));
        let v = self.slot("v", kv_width);
        let mixed = self.slot("mixed", q_width);
        let parts = [("attn_q", qkv_bias, q), ("attn_k", qkv_bias, k), ("attn_v", qkv_bias, v)];
        self.projections("attn.qkv_proj", input, &parts, attention.clip);
        if let Some(qk_norm) = &attention.qk_norm {
            let (norm, groups) = match qk_norm {
                QkNorm::Head(norm) => (*norm, [(q_heads, head_dim), (kv_heads, head_dim)]),
                QkNorm::All(norm) => (*norm, [(1, q_width), (1, kv_width)]),
            };
            let part = |builder: &Self, slot, name, (groups, width)| {
                let weights = builder.norm_weights(name, norm);
                HeadNormPart { slot, groups, width, weights }
            };
            let parts =
                vec![part(self, q, "attn_q_norm", groups[0]), part(self, k, "attn_k_norm", groups[1])];
            self.head_norm("attn.qk_norm", parts);
        }
        if let Some(rope) = attention.rope() {
            let part = |slot, heads| RopePart { slot, heads, head_dim, offset: 0 };
            self.turn(rope, vec![part(q, q_heads), part(k, kv_heads)]);
        }
        let cache =
            self.cache(CacheShape { layer: 0, heads: kv_heads, key_dim: head_dim, value_dim: head_dim });
        self.append(cache, k, Some(v));
        self.attend(AttentionOp {
            cache,
            q,
            out: mixed,
            q_heads,
            kv_heads,
            key_dim: head_dim,
            value_dim: head_dim,
            values_in_keys: false,
            scale: attention.scale,
            softcap: attention.softcap,
            alibi: attention.positions == crate::spec::Positions::Alibi,
            window: attention.window,
            log_n: attention.log_n,
        });
        self.projections("attn.o_proj", mixed, &[("attn_output", attention.out_bias, out)], None);
    }

    fn latent(&mut self, latent: &LatentAttention, input: SlotId, out: SlotId) {
        let LatentAttention { heads, q_rank, kv_rank, nope_dim, rope_dim, value_dim, .. } = *latent;
        let q_a = self.slot("q_a", q_rank);
        let kv_a = self.slot("kv_a", latent.cache_width());
        let q = self.slot("q", heads * latent.query_dim());
        let q_latent = self.slot("q_latent", heads * latent.cache_width());
        let mixed_latent = self.slot("mixed_latent", heads * kv_rank);
        let mixed = self.slot("mixed", heads * value_dim);
        let down = [("attn_q_a", false, q_a), ("attn_kv_a_mqa", false, kv_a)];
        self.projections("attn.latent_proj", input, &down, None);
        let part = |builder: &Self, slot, name, width| {
            let weights = builder.norm_weights(name, latent.norm);
            HeadNormPart { slot, groups: 1, width, weights }
        };
        let parts =
            vec![part(self, q_a, "attn_q_a_norm", q_rank), part(self, kv_a, "attn_kv_a_norm", kv_rank)];
        self.head_norm("attn.latent_norm", parts);
        self.projections("attn.q_proj", q_a, &[("attn_q_b", false, q)], None);
        let parts = vec![
            RopePart { slot: q, heads, head_dim: latent.query_dim(), offset: nope_dim },
            RopePart { slot: kv_a, heads: 1, head_dim: latent.cache_width(), offset: kv_rank },
        ];
        self.turn(&latent.rope, parts);
        let key_dim = latent.cache_width();
        let cache = self.cache(CacheShape { layer: 0, heads: 1, key_dim, value_dim: 0 });
        self.append(cache, kv_a, None);
        let weight = self.id(&self.name("attn_kv_b.weight"));
        let shape = LatentShape { heads, kv_rank, nope_dim, rope_dim, value_dim };
        // Each of the two products reads its rows of the matrix.
        let (tensor, format) = &self.plan.tensors[weight as usize];
        let row = format.bytes(1, u64::from(tensor.columns));
        let product = |dim: u32| {
            let rows = u64::from(heads) * u64::from(dim);
            Cost { bytes: rows * row, flops_per_row: 2 * rows * u64::from(kv_rank), ..NO_COST }
        };
        let op = Op::LatentQuery { weight, shape, q, out: q_latent };
        self.step("attn.k_absorb", OpKind::Matmul, op, &[weight], product(nope_dim));
        self.attend(AttentionOp {
            cache,
            q: q_latent,
            out: mixed_latent,
            q_heads: heads,
            kv_heads: 1,
            key_dim,
            value_dim: kv_rank,
            values_in_keys: true,
            scale: latent.scale,
            softcap: None,
            alibi: false,
            window: None,
            log_n: None,
        });
        let op = Op::LatentValue { weight, shape, mixed: mixed_latent, out: mixed };
        self.step("attn.v_absorb", OpKind::Matmul, op, &[weight], product(value_dim));
        self.projections("attn.o_proj", mixed, &[("attn_output", false, out)], None);
    }

    fn recurrent(&mut self, recurrent: &Recurrent, input: SlotId, out: SlotId, hidden: u32) {
        let Recurrent { width, conv, blocks } = *recurrent;
        let state = self.plan.states.len() as u32;
        self.plan.states.push(*recurrent);
        let (y, x) = (self.slot("rec_y", width), self.slot("rec_x", width));
        let convolved = self.slot("rec_convolved", width);
        let gates = [self.slot("rec_input_gate", width), self.slot("rec_recurrence_gate", width)];
        debug_assert_eq!(self.plan.slots[usize::from(input)].width, hidden);
        self.projections("rec.yx_proj", input, &[("rec_y", true, y), ("rec_x", true, x)], None);

        let weight = self.id(&self.name("rec_conv1d.weight"));
        let bias = self.id(&self.name("rec_conv1d.bias"));
        let per_channel = u64::from(width);
        // The past inputs are read and written once a chunk.
        let past = 2 * 4 * per_channel * (u64::from(conv) - 1);
        let weights = self.weights_cost(&[weight, bias]);
        let flops_per_row = per_channel * (2 * u64::from(conv));
        let cost = Cost { bytes: weights.bytes + past, flops_per_row, ..NO_COST };
        let op = Op::Conv1d { state, weight, bias, input: x, out: convolved };
        self.step("rec.conv1d", OpKind::Conv1d, op, &[weight, bias], cost);

        let names = ["rec_input_gate", "rec_recurrence_gate"];
        let parts: Vec<_> =
            (0..2).map(|index| self.projection(&(names[index], true, gates[index]))).collect();
        let (weights, cost) = self.products_cost(&parts);
        let op = Op::BlockMatMul { blocks, input: convolved, parts };
        self.step("rec.gate_proj", OpKind::Matmul, op, &weights, cost);
        self.fuses(&["bias"]);

        let decay = self.id(&self.name("rec_decay"));
        let [input_gate, recurrence_gate] = gates;
        let op = Op::Scan { state, decay, input: convolved, input_gate, recurrence_gate, out: x };
        // Two sigmoids and two exponentials count as four each; product, square, difference, root, two
        // products with the input, and the multiply-add of the state.
        let weights = self.weights_cost(&[decay]);
        let bytes = weights.bytes + 2 * 4 * per_channel;
        self.step(
            "rec.scan",
            OpKind::Scan,
            op,
            &[decay],
            Cost { bytes, flops_per_row: 24 * per_channel, ..NO_COST },
        );
        self.fuses(&["gates"]);

        let op = Op::Gate { activation: Activation::GeluTanh, gate: y, up: Some(x), out: x };
        self.step(
            "rec.gate",
            OpKind::Activation,
            op,
            &[],
            Cost { flops_per_row: 5 * per_channel, ..NO_COST },
        );
        self.fuses(&["gate_multiply"]);
        self.projections("rec.o_proj", x, &[("rec_output", true, out)], None);
    }

    fn head_norm(&mut self, step: &str, parts: Vec<HeadNormPart>) {
        let tensors: Vec<_> = parts.iter().flat_map(|part| super::norm_tensors(&part.weights)).collect();
        let flops = |part: &HeadNormPart| {
            part.weights.norm.flops_per_element() * u64::from(part.groups) * u64::from(part.width)
        };
        let flops_per_row = parts.iter().map(flops).sum();
        let cost = Cost { flops_per_row, ..self.weights_cost(&tensors) };
        self.step(step, OpKind::Norm, Op::HeadNorm { parts }, &tensors, cost);
    }

    fn turn(&mut self, rope: &Rope, parts: Vec<RopePart>) {
        let heads: u32 = parts.iter().map(|part| part.heads).sum();
        // Four products and two sums turn a pair.
        let flops_per_row = 3 * u64::from(rope.dim) * u64::from(heads);
        let rope = self.rope(rope);
        self.step(
            "attn.rope",
            OpKind::Rope,
            Op::Rope { parts, rope },
            &[],
            Cost { flops_per_row, ..NO_COST },
        );
    }

    fn cache(&mut self, shape: CacheShape) -> u32 {
        self.plan.caches.push(CacheShape { layer: self.layer.unwrap_or(0), ..shape });
        (self.plan.caches.len() - 1) as u32
    }

    fn append(&mut self, cache: u32, k: SlotId, v: Option<SlotId>) {
        let bytes_per_row = self.cached_bytes(cache);
        let op = Op::KvAppend { cache, k, v };
        self.step("attn.kv_append", OpKind::KvAppend, op, &[], Cost { bytes_per_row, ..NO_COST });
    }

    fn attend(&mut self, op: AttentionOp) {
        // Scores and mixing are a multiply-add each; the exponential counts as one, a cap as three.
        let heads = u64::from(op.q_heads);
        let per_pair = 2 * u64::from(op.key_dim + op.value_dim) + 1 + 3 * u64::from(op.softcap.is_some());
        let cost = Cost {
            bytes_per_cached: self.cached_bytes(op.cache),
            flops_per_attended: heads * (per_pair + u64::from(op.alibi)),
            window: op.window,
            ..NO_COST
        };
        self.step("attn.attention", OpKind::Attention, Op::Attention(op), &[], cost);
        let mut fuses = vec!["scores", "softmax", "values"];
        fuses.extend(op.softcap.map(|_| "softcap"));
        fuses.extend(op.alibi.then_some("alibi"));
        self.fuses(&fuses);
    }

    /// Bytes that a cache keeps of a token.
    fn cached_bytes(&self, cache: u32) -> u64 {
        self.plan.caches[cache as usize].bytes(self.plan.kv_format)
    }
}
