//! Normalisation of rows.

use serde::{Deserialize, Serialize};

/// A normalisation with or without learned parameters.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Norm {
    /// What is divided out.
    pub kind: NormKind,
    /// Added to the mean square or variance.
    pub eps: f32,
    /// Learned factors.
    pub gain: Gain,
    /// Learned summands; they need gains beside them.
    pub bias: bool,
}

/// What a norm divides out of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NormKind {
    /// The root mean square (Zhang and Sennrich, arXiv 1910.07467).
    Rms,
    /// Mean and standard deviation (Ba et al., arXiv 1607.06450).
    Layer,
}

/// Learned factors of a norm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gain {
    /// None (OLMo).
    Absent,
    /// As stored.
    Plain,
    /// 1 more than stored (Gemma's and Nemotron's original files; GGUF files of both hold the sum).
    PlusOne,
}

impl Norm {
    /// RMS norm with gains.
    pub fn rms(eps: f32) -> Self {
        Self { kind: NormKind::Rms, eps, gain: Gain::Plain, bias: false }
    }

    /// Layer norm with gains and biases.
    pub fn layer(eps: f32) -> Self {
        Self { kind: NormKind::Layer, eps, gain: Gain::Plain, bias: true }
    }

    /// FLOPs for each element: square, sum and factor, for a layer norm the mean's sum and difference as
    /// well; gain and bias.
    pub fn flops_per_element(&self) -> u64 {
        let kind = match self.kind {
            NormKind::Rms => 3,
            NormKind::Layer => 5,
        };
        kind + u64::from(self.gain != Gain::Absent) + u64::from(self.bias)
    }
}
