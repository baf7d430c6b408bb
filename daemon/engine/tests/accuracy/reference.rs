//! A slow decoder over a spec, written for reading: one token at a time, f64 throughout, no cache layout, no
//! batching, formulas as in their papers. Of the engine and the spec it takes shapes, names and weights, never a
//! formula. Its weights are the synthetic ones of the same seed, or given.

mod mixer;
pub(crate) mod positions;

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;

use slmscope_engine::candle::dequantize;
use slmscope_engine::synthetic::generate;
use slmscope_engine::weights::Loading;
use slmscope_profiles::format::WeightFormat;
use slmscope_profiles::spec::tensors::EMBEDDING;
use slmscope_profiles::spec::{Activation, DecoderSpec, Ffn, Gain, Norm, NormKind, Residual};

pub(crate) struct Reference {
    spec: DecoderSpec,
    tensors: HashMap<String, Vec<f64>>,
    /// Tokens that the whole sequence will have, which some rules for long contexts go by.
    length: u32,
    position: usize,
    /// What each layer remembers.
    memories: Vec<mixer::Memory>,
}

impl Reference {
    /// With the synthetic weights of `seed`, for a sequence that becomes `length` tokens long.
    pub(crate) fn new(spec: &DecoderSpec, format: WeightFormat, seed: u64, length: u32) -> Self {
        let cancel = AtomicBool::new(false);
        let values = |tensor| {
            let mut report = |_, _| ();
            let mut loading = Loading::new(&cancel, &mut report);
            let format = slmscope_profiles::spec::tensors::TensorSpec::format_in(tensor, format);
            let bytes = generate(tensor, format, seed, &mut loading).unwrap();
            dequantize(format, bytes.as_slice()).unwrap().into_iter().map(f64::from).collect()
        };
        let tensors = spec.tensors().iter().map(|tensor| (tensor.name.clone(), values(tensor))).collect();
        Self::with(spec, tensors, length)
    }

    /// With `tensors` under their names in the spec, row by row.
    pub(crate) fn with(spec: &DecoderSpec, tensors: HashMap<String, Vec<f64>>, length: u32) -> Self {
        let memories = spec.layers.iter().map(|_| mixer::Memory::default()).collect();
        Self { spec: spec.clone(), tensors, length, position: 0, memories }
    }

    /// Logits after each of `ids`.
    pub(crate) fn feed(&mut self, ids: &[u32]) -> Vec<Vec<f32>> {
        ids.iter().map(|&id| self.token(id)).collect()
    }

    fn token(&mut self, id: u32) -> Vec<f32> {
        let mut stream = self.embed(id);
        for index in 0..self.spec.layers.len() {
            self.block(index, &mut stream);
        }
        self.position += 1;
        if let Some(norm) = self.spec.final_norm {
            stream = self.norm(&stream, "output_norm", norm);
        }
        if self.spec.embedding.width != self.spec.hidden {
            stream = self.product(&stream, "token_embd_out");
        }
        let head = self.spec.head;
        let mut logits = self.product(&stream, if head.tied { "token_embd" } else { "output" });
        if head.tied && head.bias {
            logits = add(&logits, &self.tensors["output.bias"]);
        }
        let scaled = logits.into_iter().map(|logit| logit * f64::from(head.scale.unwrap_or(1.0)));
        scaled.map(|logit| head.softcap.map_or(logit, |cap| softcap(logit, cap)) as f32).collect()
    }

    fn embed(&self, id: u32) -> Vec<f64> {
        let embedding = &self.spec.embedding;
        let scale = f64::from(embedding.scale.unwrap_or(1.0));
        let mut stream: Vec<f64> =
            self.row(EMBEDDING, id as usize, embedding.width).iter().map(|v| v * scale).collect();
        if embedding.width != self.spec.hidden {
            stream = self.product(&stream, "token_embd_in");
        }
        if let Some(positions) = embedding.positions {
            let row = self.position + positions.offset as usize;
            stream = add(&stream, self.row("position_embd.weight", row, self.spec.hidden));
        }
        match embedding.norm {
            Some(norm) => self.norm(&stream, "token_embd_norm", norm),
            None => stream,
        }
    }

    fn block(&mut self, index: usize, stream: &mut Vec<f64>) {
        let layer = self.spec.layers[index].clone();
        let name = |part: &str| format!("blk.{index}.{part}");
        let scale = f64::from(layer.residual_scale.unwrap_or(1.0));
        let scaled = |branch: Vec<f64>| branch.into_iter().map(|v| v * scale).collect::<Vec<_>>();
        let first = |this: &Self, x: &[f64]| this.norm(x, &name("attn_norm"), layer.attn_norm);
        let second = |this: &Self, x: &[f64]| match layer.ffn_norm {
            Some(norm) => this.norm(x, &name("ffn_norm"), norm),
            None => first(this, x),
        };
        match layer.residual {
            Residual::PreNorm => {
                let mut branch = self.mix(index, &layer.mixer, &first(self, stream));
                if let Some(norm) = layer.attn_post_norm {
                    branch = self.norm(&branch, &name("post_attention_norm"), norm);
                }
                *stream = add(stream, &scaled(branch));
                let mut branch = self.ffn(index, &layer.ffn, &second(self, stream));
                if let Some(norm) = layer.ffn_post_norm {
                    branch = self.norm(&branch, &name("post_ffw_norm"), norm);
                }
                *stream = add(stream, &scaled(branch));
            }
            Residual::PostNorm => {
                let branch = self.mix(index, &layer.mixer, stream);
                *stream = first(self, &add(stream, &scaled(branch)));
                let branch = self.ffn(index, &layer.ffn, stream);
                *stream = second(self, &add(stream, &scaled(branch)));
            }
            Residual::Parallel | Residual::ParallelSharedNorm => {
                let mixed = self.mix(index, &layer.mixer, &first(self, stream));
                let fed = self.ffn(index, &layer.ffn, &second(self, stream));
                *stream = add(stream, &scaled(add(&mixed, &fed)));
            }
        }
    }

    fn ffn(&self, index: usize, ffn: &Ffn, input: &[f64]) -> Vec<f64> {
        let owner = ffn.shared_with.map_or(index, |layer| layer as usize);
        let name = |part: &str| format!("blk.{owner}.{part}");
        let up = self.product(input, &name("ffn_up"));
        let hidden: Vec<f64> = if ffn.gated {
            let gate = self.product(input, &name("ffn_gate"));
            gate.iter().zip(&up).map(|(gate, up)| activate(ffn.activation, *gate) * up).collect()
        } else {
            up.into_iter().map(|up| activate(ffn.activation, up)).collect()
        };
        self.product(&hidden, &name("ffn_down"))
    }

    fn row(&self, table: &str, row: usize, width: u32) -> &[f64] {
        &self.tensors[table][row * width as usize..][..width as usize]
    }

    /// `input` times the matrix of that name, with its bias if it has one.
    fn product(&self, input: &[f64], name: &str) -> Vec<f64> {
        let matrix = &self.tensors[&format!("{name}.weight")];
        let out: Vec<f64> = matrix.chunks_exact(input.len()).map(|row| dot(row, input)).collect();
        self.tensors.get(&format!("{name}.bias")).map_or(out.clone(), |bias| add(&out, bias))
    }

    fn norm(&self, input: &[f64], name: &str, norm: Norm) -> Vec<f64> {
        let count = input.len() as f64;
        let mean = match norm.kind {
            NormKind::Rms => 0.0,
            NormKind::Layer => input.iter().sum::<f64>() / count,
        };
        let centred: Vec<f64> = input.iter().map(|v| v - mean).collect();
        let deviation = (dot(&centred, &centred) / count + f64::from(norm.eps)).sqrt();
        let parameter = |part: &str, absent: f64| {
            let tensor = self.tensors.get(&format!("{name}.{part}"));
            tensor.cloned().unwrap_or_else(|| vec![absent; input.len()])
        };
        let gains = match norm.gain {
            Gain::Absent => vec![1.0; input.len()],
            Gain::Plain => parameter("weight", f64::NAN),
            Gain::PlusOne => parameter("weight", f64::NAN).into_iter().map(|gain| gain + 1.0).collect(),
        };
        let biases = parameter("bias", 0.0);
        centred.iter().zip(gains).zip(biases).map(|((v, gain), bias)| v / deviation * gain + bias).collect()
    }
}

fn activate(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::GeluTanh => {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3));
            0.5 * x * (1.0 + inner.tanh())
        }
        Activation::Gelu => 0.5 * x * (1.0 + erf(x / 2.0_f64.sqrt())),
        Activation::Relu => x.max(0.0),
        Activation::Relu2 => x.max(0.0).powi(2),
    }
}

/// The error function by its Maclaurin series, exact enough below 6 and ±1 beyond.
fn erf(x: f64) -> f64 {
    if x.abs() > 6.0 {
        return x.signum();
    }
    let (mut term, mut sum) = (x, x);
    for n in 1..200 {
        let n = f64::from(n);
        term *= -x * x / n;
        sum += term / (2.0 * n + 1.0);
    }
    sum * 2.0 / std::f64::consts::PI.sqrt()
}

fn softcap(x: f64, cap: f32) -> f64 {
    f64::from(cap) * (x / f64::from(cap)).tanh()
}

fn add(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
