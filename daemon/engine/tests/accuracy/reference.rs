//! A slow decoder over a spec, written for reading: one token at a time, f64 sums, no cache layout, no
//! batching. Its weights are the synthetic ones of the same seed.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;

use slmscope_engine::candle::dequantize;
use slmscope_engine::synthetic::generate;
use slmscope_engine::weights::Loading;
use slmscope_profiles::format::WeightFormat;
use slmscope_profiles::spec::tensors::EMBEDDING;
use slmscope_profiles::spec::{Activation, Attention, DecoderSpec, Norm, Rope, RopePairing};

pub(crate) struct Reference {
    spec: DecoderSpec,
    tensors: HashMap<String, Vec<f32>>,
    /// Per layer and position: keys, values.
    cache: Vec<Vec<(Vec<f32>, Vec<f32>)>>,
}

impl Reference {
    pub(crate) fn new(spec: &DecoderSpec, format: WeightFormat, seed: u64) -> Self {
        let cancel = AtomicBool::new(false);
        let values = |tensor| {
            let mut report = |_, _| ();
            let mut loading = Loading::new(&cancel, &mut report);
            let format = slmscope_profiles::spec::tensors::TensorSpec::format_in(tensor, format);
            dequantize(format, generate(tensor, format, seed, &mut loading).unwrap().as_slice()).unwrap()
        };
        let tensors = spec.tensors().iter().map(|tensor| (tensor.name.clone(), values(tensor))).collect();
        Self { spec: spec.clone(), tensors, cache: vec![Vec::new(); spec.layers.len()] }
    }

    /// Logits after `id`.
    pub(crate) fn feed(&mut self, id: u32) -> Vec<f32> {
        let width = self.spec.hidden as usize;
        let row = &self.tensors[EMBEDDING][id as usize * width..][..width];
        let mut stream: Vec<f32> = row.iter().map(|v| v * self.spec.embedding_scale.unwrap_or(1.0)).collect();
        for index in 0..self.spec.layers.len() {
            let layer = self.spec.layers[index].clone();
            let name = |part: &str| format!("blk.{index}.{part}");
            let normed = self.norm(&stream, &name("attn_norm.weight"), layer.attn_norm);
            let mixed = self.attention(&normed, index, &layer.attention);
            let mut branch = self.product(&mixed, &name("attn_output"));
            if let Some(norm) = layer.attn_post_norm {
                branch = self.norm(&branch, &name("post_attention_norm.weight"), norm);
            }
            stream.iter_mut().zip(branch).for_each(|(s, b)| *s += b);
            let normed = self.norm(&stream, &name("ffn_norm.weight"), layer.ffn_norm);
            let gate = self.product(&normed, &name("ffn_gate"));
            let up = self.product(&normed, &name("ffn_up"));
            let open = |gate: f32| match layer.ffn.activation {
                Activation::Silu => gate / (1.0 + (-gate).exp()),
                Activation::GeluTanh => {
                    let inner = 0.797_884_6 * (gate + 0.044_715 * gate.powi(3));
                    0.5 * gate * (1.0 + inner.tanh())
                }
            };
            let gated: Vec<f32> = gate.iter().zip(&up).map(|(g, u)| open(*g) * u).collect();
            let mut branch = self.product(&gated, &name("ffn_down"));
            if let Some(norm) = layer.ffn_post_norm {
                branch = self.norm(&branch, &name("post_ffw_norm.weight"), norm);
            }
            stream.iter_mut().zip(branch).for_each(|(s, b)| *s += b);
        }
        let normed = self.norm(&stream, "output_norm.weight", self.spec.final_norm);
        let head = if self.spec.tied_head { "token_embd" } else { "output" };
        self.product(&normed, head)
    }

    fn attention(&mut self, input: &[f32], layer: usize, attention: &Attention) -> Vec<f32> {
        let name = |part: &str| format!("blk.{layer}.{part}");
        let [mut q, mut k, v] = ["attn_q", "attn_k", "attn_v"].map(|part| self.product(input, &name(part)));
        let head_dim = attention.head_dim as usize;
        let position = self.cache[layer].len();
        for (heads, gain) in [(&mut q, "attn_q_norm.weight"), (&mut k, "attn_k_norm.weight")] {
            for head in heads.chunks_exact_mut(head_dim) {
                if let Some(norm) = attention.qk_norm {
                    head.copy_from_slice(&self.norm(head, &name(gain), norm));
                }
                turn(head, &attention.rope, position);
            }
        }
        self.cache[layer].push((k, v));
        let first = attention.window.map_or(0, |window| (position + 1).saturating_sub(window as usize));
        let seen = &self.cache[layer][first..];
        let mut mixed = Vec::new();
        for (number, query) in q.chunks_exact(head_dim).enumerate() {
            let shared = number / (attention.q_heads / attention.kv_heads) as usize * head_dim;
            let part = |heads: &[f32]| heads[shared..shared + head_dim].to_vec();
            let score = |k: &[f32]| dot(query, &part(k)) * f64::from(attention.scale);
            let scores: Vec<f64> = seen.iter().map(|(k, _)| score(k)).collect();
            let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let weights: Vec<f64> = scores.iter().map(|score| (score - most).exp()).collect();
            let sum: f64 = weights.iter().sum();
            for element in 0..head_dim {
                let values = seen.iter().map(|(_, v)| f64::from(v[shared + element]));
                mixed.push((values.zip(&weights).map(|(v, w)| v * w).sum::<f64>() / sum) as f32);
            }
        }
        mixed
    }

    fn product(&self, input: &[f32], name: &str) -> Vec<f32> {
        let matrix = &self.tensors[&format!("{name}.weight")];
        let mut out: Vec<f32> = matrix.chunks_exact(input.len()).map(|row| dot(row, input) as f32).collect();
        if let Some(bias) = self.tensors.get(&format!("{name}.bias")) {
            out.iter_mut().zip(bias).for_each(|(o, b)| *o += b);
        }
        out
    }

    fn norm(&self, input: &[f32], gain: &str, norm: Norm) -> Vec<f32> {
        let scale = 1.0 / (dot(input, input) / input.len() as f64 + f64::from(norm.eps)).sqrt();
        input.iter().zip(&self.tensors[gain]).map(|(v, g)| (f64::from(*v) * scale) as f32 * g).collect()
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

fn turn(head: &mut [f32], rope: &Rope, position: usize) {
    for (pair, frequency) in rope.frequencies().into_iter().enumerate() {
        let (first, second) = match rope.pairing {
            RopePairing::Halves => (pair, pair + rope.dim as usize / 2),
            RopePairing::Adjacent => (2 * pair, 2 * pair + 1),
        };
        let (sin, cos) = (position as f64 * f64::from(frequency)).sin_cos();
        let (x, y) = (f64::from(head[first]), f64::from(head[second]));
        (head[first], head[second]) = ((x * cos - y * sin) as f32, (x * sin + y * cos) as f32);
    }
}
