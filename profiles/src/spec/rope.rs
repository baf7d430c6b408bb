//! Rotary position embedding (Su et al., arXiv 2104.09864) and its ways to longer contexts.
//!
//! Some rules depend on how long the sequence is. The [`Lengths`] of a run are known before it starts, and all its
//! positions are rotated by the same angles; so a prompt results in the same keys whole, in chunks and token by token.

use serde::{Deserialize, Serialize};

/// How long a sequence is, tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lengths {
    /// What is read before anything is generated.
    pub prompt: u32,
    /// With all that is generated.
    pub total: u32,
}

impl From<u32> for Lengths {
    /// A sequence that is nothing but a prompt.
    fn from(tokens: u32) -> Self {
        Self { prompt: tokens, total: tokens }
    }
}

/// Rotary positions of one attention.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rope {
    /// Base of the geometric series of angles.
    pub theta: f32,
    /// Leading elements of a head that turn; even.
    pub dim: u32,
    /// Which elements form a pair.
    pub pairing: RopePairing,
    /// Change of the angles for longer contexts.
    pub scaling: RopeScaling,
}

/// Which two elements of a head turn together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RopePairing {
    /// `(i, i + dim/2)`, as in GPT-NeoX.
    Halves,
    /// `(2i, 2i + 1)`, as in the original paper and in GGUF files of the llama architecture.
    Adjacent,
}

/// How angles are stretched beyond the trained context.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum RopeScaling {
    /// Not at all.
    None,
    /// Positions divided by a factor.
    Linear {
        /// Above 0.
        factor: f32,
    },
    /// Llama 3.1: low frequencies divided by `factor`, high ones kept, a ramp between.
    Llama3 {
        /// Divisor of low frequencies.
        factor: f32,
        /// Wavelengths above `original_context / low` are low frequencies.
        low: f32,
        /// Wavelengths below `original_context / high` are high frequencies.
        high: f32,
        /// Context of the first training stage, tokens.
        original_context: u32,
    },
    /// One divisor per pair, stored in the file as the tensor `rope_freqs.weight`.
    Factors(Vec<f32>),
    /// LongRoPE (Ding et al., arXiv 2402.13753): one divisor per pair, another set for sequences whose total is
    /// longer than the original context. (llama.cpp decides by the size of the cache as well; transformers by
    /// the tokens so far, and computes all keys anew when they become too many.)
    LongRope {
        /// Divisors up to the original context.
        short: Vec<f32>,
        /// Divisors beyond.
        long: Vec<f32>,
        /// Context of the first training stage, tokens.
        original_context: u32,
        /// Factor on cosines and sines, whatever the length.
        magnitude: f32,
    },
    /// Qwen 1: where a prompt of `n` tokens exceeds the trained context `c`, the base grows by
    /// `(2^ceil(log2(n / c) + 1) - 1)^(dim / (dim - 2))`. What is generated after it keeps the prompt's base, as
    /// in the model's own code.
    DynamicNtk {
        /// Trained context, tokens.
        trained_context: u32,
    },
}

impl Rope {
    /// Unscaled positions over `dim` elements.
    pub fn plain(theta: f32, dim: u32, pairing: RopePairing) -> Self {
        Self { theta, dim, pairing, scaling: RopeScaling::None }
    }

    /// Angle per position of every pair, `dim / 2` values, radians, in a sequence of these lengths.
    pub fn frequencies(&self, lengths: Lengths) -> Vec<f32> {
        let dim = f64::from(self.dim);
        let theta = match self.scaling {
            RopeScaling::DynamicNtk { trained_context } if lengths.prompt > trained_context => {
                let times = (f64::from(lengths.prompt) / f64::from(trained_context)).log2();
                let alpha = (times + 1.0).ceil().exp2() - 1.0;
                f64::from(self.theta) * alpha.max(1.0).powf(dim / (dim - 2.0))
            }
            _ => f64::from(self.theta),
        };
        let scaled = |pair: u32| {
            let angle = theta.powf(-2.0 * f64::from(pair) / dim);
            let divided = |factors: &[f32]| angle / f64::from(factors[pair as usize]);
            match &self.scaling {
                RopeScaling::None | RopeScaling::DynamicNtk { .. } => angle,
                RopeScaling::Linear { factor } => angle / f64::from(*factor),
                RopeScaling::Factors(factors) => divided(factors),
                RopeScaling::LongRope { short, long, original_context, .. } => {
                    divided(if lengths.total > *original_context { long } else { short })
                }
                RopeScaling::Llama3 { factor, low, high, original_context } => {
                    let turns = f64::from(*original_context) * angle / std::f64::consts::TAU;
                    let (low, high) = (f64::from(*low), f64::from(*high));
                    let keep = ((turns - low) / (high - low)).clamp(0.0, 1.0);
                    angle * (keep + (1.0 - keep) / f64::from(*factor))
                }
            }
        };
        (0..self.dim / 2).map(|pair| scaled(pair) as f32).collect()
    }

    /// Factor on cosines and sines.
    pub fn magnitude(&self) -> f32 {
        match self.scaling {
            RopeScaling::LongRope { magnitude, .. } => magnitude,
            _ => 1.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scaled(scaling: RopeScaling) -> Rope {
        Rope { scaling, ..Rope::plain(10_000.0, 8, RopePairing::Halves) }
    }

    #[test]
    fn long_rope_changes_its_divisors_beyond_the_original_context() {
        let (short, long) = (vec![1.0, 2.0, 4.0, 8.0], vec![10.0; 4]);
        let rope = scaled(RopeScaling::LongRope { short, long, original_context: 64, magnitude: 1.19 });
        let plain = scaled(RopeScaling::None).frequencies(64.into());
        for (pair, frequency) in rope.frequencies(Lengths { prompt: 1, total: 64 }).into_iter().enumerate() {
            assert!((frequency - plain[pair] / (1 << pair) as f32).abs() < 1e-7);
        }
        for (pair, frequency) in rope.frequencies(Lengths { prompt: 1, total: 65 }).into_iter().enumerate() {
            assert!((frequency - plain[pair] / 10.0).abs() < 1e-7);
        }
        assert_eq!((rope.magnitude(), scaled(RopeScaling::None).magnitude()), (1.19, 1.0));
    }

    /// Qwen 1's rule by hand: 8192 tokens trained, so up to 16384 the exponent is 2 and alpha is 3, beyond 7.
    #[test]
    fn dynamic_ntk_widens_the_base_in_steps() {
        let rope = scaled(RopeScaling::DynamicNtk { trained_context: 8192 });
        let plain = scaled(RopeScaling::None);
        let generated = Lengths { prompt: 8192, total: 9000 };
        assert_eq!(rope.frequencies(generated), plain.frequencies(generated));
        for (prompt, alpha) in [(8193, 3.0_f64), (16_384, 3.0), (16_385, 7.0)] {
            let base = 10_000.0 * alpha.powf(8.0 / 6.0);
            for (pair, frequency) in rope.frequencies(prompt.into()).into_iter().enumerate() {
                let expected = base.powf(-2.0 * pair as f64 / 8.0);
                assert!((f64::from(frequency) - expected).abs() < 1e-7, "{prompt} {pair}");
            }
        }
    }
}
