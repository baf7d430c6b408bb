//! Token mixers of the slow decoder.

use slmscope_profiles::spec::{
    Attention, LatentAttention, Mixer, Norm, Positions, QkNorm, Recurrent, Rope, RopePairing,
};

use super::positions::{Turns, alibi_slopes, log_n};
use super::{Reference, add, dot, softcap};

/// What a layer remembers of the tokens before.
#[derive(Default)]
pub(super) struct Memory {
    /// Keys and values of each token, all heads side by side.
    cache: Vec<(Vec<f64>, Vec<f64>)>,
    /// Inputs of the convolution, one a token.
    inputs: Vec<Vec<f64>>,
    state: Vec<f64>,
}

/// How a query's scores become weights.
struct Scoring {
    scale: f64,
    softcap: Option<f32>,
    /// Taken off for each token of distance.
    slope: f64,
    window: Option<u32>,
}

impl Reference {
    pub(super) fn mix(&mut self, index: usize, mixer: &Mixer, input: &[f64]) -> Vec<f64> {
        match mixer {
            Mixer::Attention(attention) => self.attention(index, attention, input),
            Mixer::Latent(latent) => self.latent(index, latent, input),
            Mixer::Recurrent(recurrent) => self.recurrent(index, recurrent, input),
        }
    }

    fn attention(&mut self, index: usize, attention: &Attention, input: &[f64]) -> Vec<f64> {
        let name = |part: &str| format!("blk.{index}.{part}");
        let clip = attention.clip.map_or(f64::INFINITY, f64::from);
        let [mut q, mut k, v] = ["attn_q", "attn_k", "attn_v"].map(|part| {
            let product = self.product(input, &name(part));
            product.into_iter().map(|v| v.clamp(-clip, clip)).collect::<Vec<_>>()
        });
        let head_dim = attention.head_dim as usize;
        for (heads, gains) in [(&mut q, "attn_q_norm"), (&mut k, "attn_k_norm")] {
            match &attention.qk_norm {
                Some(QkNorm::Head(norm)) => *heads = self.norm_heads(heads, head_dim, &name(gains), *norm),
                Some(QkNorm::All(norm)) => *heads = self.norm(heads, &name(gains), *norm),
                None => {}
            }
            if let Positions::Rope(rope) = &attention.positions {
                for head in heads.chunks_exact_mut(head_dim) {
                    self.turn(&mut head[..rope.dim as usize], rope);
                }
            }
        }
        if let Some(context) = attention.log_n {
            let factor = log_n(self.position, context);
            for v in &mut q {
                *v *= factor;
            }
        }
        self.memories[index].cache.push((k, v));
        let slopes = alibi_slopes(attention.q_heads as usize);
        let group = (attention.q_heads / attention.kv_heads) as usize;
        let mut mixed = Vec::new();
        for (number, query) in q.chunks_exact(head_dim).enumerate() {
            let alibi = attention.positions == Positions::Alibi;
            let scoring = Scoring {
                scale: f64::from(attention.scale),
                softcap: attention.softcap,
                slope: if alibi { slopes[number] } else { 0.0 },
                window: attention.window,
            };
            let part = number / group * head_dim..(number / group + 1) * head_dim;
            let seen: Vec<_> = self.memories[index]
                .cache
                .iter()
                .map(|(k, v)| (k[part.clone()].to_vec(), v[part.clone()].to_vec()))
                .collect();
            mixed.extend(attend(query, &seen, &scoring));
        }
        self.product(&mixed, &name("attn_output"))
    }

    /// Keys and values of every head are expanded from the latent row of every token, as the paper has it.
    fn latent(&mut self, index: usize, latent: &LatentAttention, input: &[f64]) -> Vec<f64> {
        let name = |part: &str| format!("blk.{index}.{part}");
        let rank = latent.kv_rank as usize;
        let (nope, value) = (latent.nope_dim as usize, latent.value_dim as usize);
        let down = self.product(input, &name("attn_q_a"));
        let down = self.norm(&down, &name("attn_q_a_norm"), latent.norm);
        let mut q = self.product(&down, &name("attn_q_b"));
        let row = self.product(input, &name("attn_kv_a_mqa"));
        let normed = self.norm(&row[..rank], &name("attn_kv_a_norm"), latent.norm);
        let mut shared = row[rank..].to_vec();
        self.turn(&mut shared, &latent.rope);
        let expanded = self.product(&normed, &name("attn_kv_b"));
        let (mut keys, mut values) = (Vec::new(), Vec::new());
        for head in expanded.chunks_exact(nope + value) {
            keys.extend([&head[..nope], &shared].concat());
            values.extend(&head[nope..]);
        }
        self.memories[index].cache.push((keys, values));
        let query_dim = latent.query_dim() as usize;
        let scoring = Scoring { scale: f64::from(latent.scale), softcap: None, slope: 0.0, window: None };
        let mut mixed = Vec::new();
        for (number, head) in q.chunks_exact_mut(query_dim).enumerate() {
            self.turn(&mut head[nope..], &latent.rope);
            let seen: Vec<_> = self.memories[index]
                .cache
                .iter()
                .map(|(k, v)| {
                    (k[number * query_dim..][..query_dim].to_vec(), v[number * value..][..value].to_vec())
                })
                .collect();
            mixed.extend(attend(head, &seen, &scoring));
        }
        self.product(&mixed, &name("attn_output"))
    }

    fn recurrent(&mut self, index: usize, recurrent: &Recurrent, input: &[f64]) -> Vec<f64> {
        let name = |part: &str| format!("blk.{index}.{part}");
        let (width, conv) = (recurrent.width as usize, recurrent.conv as usize);
        let y = self.product(input, &name("rec_y"));
        let x = self.product(input, &name("rec_x"));
        self.memories[index].inputs.push(x);
        let filter = &self.tensors[&name("rec_conv1d.weight")];
        let inputs = &self.memories[index].inputs;
        let convolved: Vec<f64> = (0..width)
            .map(|channel| {
                let taps = (0..conv.min(inputs.len())).map(|back| {
                    filter[channel * conv + conv - 1 - back] * inputs[inputs.len() - 1 - back][channel]
                });
                taps.sum::<f64>()
            })
            .collect();
        let u = add(&convolved, &self.tensors[&name("rec_conv1d.bias")]);
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let gate = |part: &str| -> Vec<f64> {
            let length = width / recurrent.blocks as usize;
            let matrix = &self.tensors[&name(&format!("{part}.weight"))];
            let rows = matrix.chunks_exact(length).enumerate();
            let products = rows.map(|(row, weights)| dot(weights, &u[row / length * length..][..length]));
            let biased = products.zip(&self.tensors[&name(&format!("{part}.bias"))]);
            biased.map(|(product, bias)| sigmoid(product + bias)).collect()
        };
        let (admitted, recurrence) = (gate("rec_input_gate"), gate("rec_recurrence_gate"));
        let decay = &self.tensors[&name("rec_decay")];
        let first = self.position == 0;
        let state = &mut self.memories[index].state;
        state.resize(width, 0.0);
        for channel in 0..width {
            let softplus = decay[channel].exp().ln_1p();
            let a = (-8.0 * softplus * recurrence[channel]).exp();
            let room = if first { 1.0 } else { (1.0 - a * a).sqrt() };
            state[channel] = a * state[channel] + room * admitted[channel] * u[channel];
        }
        let gelu = |y: &f64| super::activate(slmscope_profiles::spec::Activation::GeluTanh, *y);
        let gated: Vec<f64> = y.iter().zip(state.iter()).map(|(y, h)| gelu(y) * h).collect();
        self.product(&gated, &name("rec_output"))
    }

    fn norm_heads(&self, heads: &[f64], head_dim: usize, name: &str, norm: Norm) -> Vec<f64> {
        heads.chunks_exact(head_dim).flat_map(|head| self.norm(head, name, norm)).collect()
    }

    fn turn(&self, part: &mut [f64], rope: &Rope) {
        let turns = Turns::new(rope, self.length);
        for (pair, frequency) in turns.frequencies.into_iter().enumerate() {
            let (first, second) = match rope.pairing {
                RopePairing::Halves => (pair, pair + rope.dim as usize / 2),
                RopePairing::Adjacent => (2 * pair, 2 * pair + 1),
            };
            let (sin, cos) = (self.position as f64 * frequency).sin_cos();
            let (x, y) = (part[first] * turns.magnitude, part[second] * turns.magnitude);
            (part[first], part[second]) = (x * cos - y * sin, x * sin + y * cos);
        }
    }
}

/// Attention of one query over keys and values, the last of which are its own.
fn attend(query: &[f64], seen: &[(Vec<f64>, Vec<f64>)], scoring: &Scoring) -> Vec<f64> {
    let position = seen.len() - 1;
    let first = scoring.window.map_or(0, |window| seen.len().saturating_sub(window as usize));
    let score = |(at, (key, _)): (usize, &(Vec<f64>, Vec<f64>))| {
        let score = dot(query, key) * scoring.scale;
        scoring.softcap.map_or(score, |cap| softcap(score, cap)) - scoring.slope * (position - at) as f64
    };
    let scores: Vec<f64> = seen.iter().enumerate().skip(first).map(score).collect();
    let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = scores.iter().map(|score| (score - most).exp()).collect();
    let sum: f64 = weights.iter().sum();
    let mut mixed = vec![0.0; seen[0].1.len()];
    for ((_, value), weight) in seen[first..].iter().zip(&weights) {
        mixed.iter_mut().zip(value).for_each(|(mixed, value)| *mixed += weight / sum * value);
    }
    mixed
}
