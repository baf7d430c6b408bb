//! How queries, keys and scores know positions: the formulas of the papers and of the authors' code, in f64 and
//! written in their terms, so that a slip in the engine's own is not repeated here.

use std::f64::consts::TAU;

use slmscope_profiles::spec::{Rope, RopeScaling};

/// What rotary embeddings turn by.
pub(super) struct Turns {
    /// Radians from one position to the next, pair by pair.
    pub(super) frequencies: Vec<f64>,
    /// Factor on cosines and sines.
    pub(super) magnitude: f64,
}

impl Turns {
    /// For a sequence that becomes `length` tokens long.
    pub(super) fn new(rope: &Rope, length: u32) -> Self {
        let base = f64::from(rope.theta);
        let plain = inverse_powers(base, rope.dim);
        let magnitude = match &rope.scaling {
            RopeScaling::LongRope { magnitude, .. } => f64::from(*magnitude),
            _ => 1.0,
        };
        let frequencies = match &rope.scaling {
            RopeScaling::None => plain,
            // Position interpolation (Chen et al., arXiv 2306.15595): positions are divided.
            RopeScaling::Linear { factor } => {
                plain.into_iter().map(|frequency| frequency / f64::from(*factor)).collect()
            }
            RopeScaling::Factors(factors) => divided(&plain, factors),
            // Ding et al., arXiv 2402.13753.
            RopeScaling::LongRope { short, long, original_context, .. } => {
                divided(&plain, if length <= *original_context { short } else { long })
            }
            RopeScaling::Llama3 { factor, low, high, original_context } => {
                let bounds = (f64::from(*low), f64::from(*high));
                let stretch = |frequency| llama3(frequency, f64::from(*factor), bounds, *original_context);
                plain.into_iter().map(stretch).collect()
            }
            RopeScaling::DynamicNtk { trained_context } => {
                let alpha = ntk_alpha(length, *trained_context);
                let dim = f64::from(rope.dim);
                inverse_powers(base * alpha.powf(dim / (dim - 2.0)), rope.dim)
            }
        };
        Self { frequencies, magnitude }
    }
}

/// `1 / base^(2i / dim)` (Su et al., arXiv 2104.09864).
pub(crate) fn inverse_powers(base: f64, dim: u32) -> Vec<f64> {
    (0..dim).step_by(2).map(|element| 1.0 / base.powf(f64::from(element) / f64::from(dim))).collect()
}

fn divided(frequencies: &[f64], divisors: &[f32]) -> Vec<f64> {
    assert_eq!(frequencies.len(), divisors.len());
    frequencies.iter().zip(divisors).map(|(frequency, divisor)| frequency / f64::from(*divisor)).collect()
}

/// By wavelength, as in the code published with Llama 3.1.
pub(crate) fn llama3(frequency: f64, factor: f64, (low, high): (f64, f64), original_context: u32) -> f64 {
    let context = f64::from(original_context);
    let wavelength = TAU / frequency;
    if wavelength < context / high {
        return frequency;
    }
    if wavelength > context / low {
        return frequency / factor;
    }
    let smooth = (context / wavelength - low) / (high - low);
    (1.0 - smooth) * frequency / factor + smooth * frequency
}

/// `get_ntk_alpha` of Qwen's `modeling_qwen.py`.
fn ntk_alpha(length: u32, trained_context: u32) -> f64 {
    let context_value = (f64::from(length) / f64::from(trained_context)).log2() + 1.0;
    (2.0_f64.powf(context_value.ceil()) - 1.0).max(1.0)
}

/// `logn_tensor` of the same file: the logarithm of the token's number to the base of the trained context, where
/// that number is beyond it.
pub(super) fn log_n(position: usize, trained_context: u32) -> f64 {
    let number = position as u32 + 1;
    if number > trained_context { f64::from(number).log(f64::from(trained_context)) } else { 1.0 }
}

/// `get_slopes` of the code published with Press et al., arXiv 2108.12409.
pub(super) fn alibi_slopes(heads: usize) -> Vec<f64> {
    let exponent = (heads as f64).log2();
    if exponent.fract() == 0.0 {
        let start = 2.0_f64.powf(-(2.0_f64.powf(-(exponent - 3.0))));
        return (0..heads).map(|head| start * start.powi(head as i32)).collect();
    }
    let closest = 2_usize.pow(exponent.floor() as u32);
    let between = alibi_slopes(2 * closest).into_iter().step_by(2).take(heads - closest);
    alibi_slopes(closest).into_iter().chain(between).collect()
}
