//! Pointwise functions of the feed-forward, with the product that follows in gated ones.

use slmscope_profiles::spec::Activation;

use super::math::{erfc_positive, exp};
use super::versions;

versions! {
    /// `gate = activation(gate)`, element by element.
    pub fn activate(activation: Activation, gate: &mut [f32]) = activate_body;
}

versions! {
    /// `gate = activation(gate) * up`, element by element.
    pub fn gate(activation: Activation, gate: &mut [f32], up: &[f32]) = gate_body;
}

versions! {
    /// `up = activation(gate) * up`, element by element.
    pub fn gate_other(activation: Activation, up: &mut [f32], gate: &[f32]) = gate_other_body;
}

#[inline(always)]
fn activate_body(activation: Activation, gate: &mut [f32]) {
    match activation {
        Activation::Silu => each(gate, silu),
        Activation::GeluTanh => each(gate, gelu_tanh),
        Activation::Gelu => each(gate, gelu),
        Activation::Relu => each(gate, relu),
        Activation::Relu2 => each(gate, |x| relu(x) * relu(x)),
    }
}

#[inline(always)]
fn gate_body(activation: Activation, gate: &mut [f32], up: &[f32]) {
    match activation {
        Activation::Silu => gated(gate, up, silu),
        Activation::GeluTanh => gated(gate, up, gelu_tanh),
        Activation::Gelu => gated(gate, up, gelu),
        Activation::Relu => gated(gate, up, relu),
        Activation::Relu2 => gated(gate, up, |x| relu(x) * relu(x)),
    }
}

#[inline(always)]
fn gate_other_body(activation: Activation, up: &mut [f32], gate: &[f32]) {
    match activation {
        Activation::Silu => gates(up, gate, silu),
        Activation::GeluTanh => gates(up, gate, gelu_tanh),
        Activation::Gelu => gates(up, gate, gelu),
        Activation::Relu => gates(up, gate, relu),
        Activation::Relu2 => gates(up, gate, |x| relu(x) * relu(x)),
    }
}

#[inline(always)]
fn each(gate: &mut [f32], function: impl Fn(f32) -> f32) {
    for value in gate {
        *value = function(*value);
    }
}

#[inline(always)]
fn gated(gate: &mut [f32], up: &[f32], function: impl Fn(f32) -> f32) {
    for (value, up) in gate.iter_mut().zip(up) {
        *value = function(*value) * up;
    }
}

#[inline(always)]
fn gates(up: &mut [f32], gate: &[f32], function: impl Fn(f32) -> f32) {
    for (up, gate) in up.iter_mut().zip(gate) {
        *up *= function(*gate);
    }
}

#[inline(always)]
fn silu(x: f32) -> f32 {
    x / (1.0 + exp(-x))
}

/// `x/2 (1 + tanh u)` is `x / (1 + e^-2u)`.
#[inline(always)]
fn gelu_tanh(x: f32) -> f32 {
    let u = 0.797_884_6 * (x + 0.044_715 * x * x * x);
    x / (1.0 + exp(-2.0 * u))
}

#[inline(always)]
fn gelu(x: f32) -> f32 {
    // x/2 (1 + erf(x / sqrt 2)), from the side on which nothing cancels.
    let half = 0.5 * erfc_positive(x.abs() * std::f32::consts::FRAC_1_SQRT_2);
    x * if x < 0.0 { half } else { 1.0 - half }
}

#[inline(always)]
fn relu(x: f32) -> f32 {
    if x < 0.0 { 0.0 } else { x }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Simd;

    /// By tables of the exact functions (to 7 digits) at points on both sides of 0.
    #[test]
    fn every_version_is_the_function() {
        let points = [-8.0, -3.0, -1.0, -0.25, 0.0, 0.5, 1.0, 2.5, 9.0, 100.0];
        let silu = |x: f64| x / (1.0 + (-x).exp());
        let tanh = |x: f64| {
            0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3))).tanh())
        };
        let exact = [
            -4.976_4e-15,
            -0.004_049_694,
            -0.158_655_25,
            -0.100_323_42,
            0.0,
            0.345_731_23,
            0.841_344_75,
            2.484_475_8,
            9.0,
            100.0,
        ];
        for simd in Simd::available() {
            for (activation, expected) in [
                (Activation::Silu, points.map(|x: f32| silu(f64::from(x)))),
                (Activation::GeluTanh, points.map(|x| tanh(f64::from(x)))),
                (Activation::Gelu, exact),
                (Activation::Relu, points.map(|x| f64::from(x).max(0.0))),
                (Activation::Relu2, points.map(|x| f64::from(x).max(0.0).powi(2))),
            ] {
                let mut alone = points;
                activate(simd, activation, &mut alone);
                let (mut gates, mut up) = (points, [3.0; 10]);
                gate(simd, activation, &mut gates, &up);
                gate_other(simd, activation, &mut up, &points);
                assert_eq!(gates.map(f32::to_bits), up.map(f32::to_bits));
                for index in 0..points.len() {
                    let (found, expected) = (f64::from(alone[index]), expected[index]);
                    let limit = 1e-6 * expected.abs().max(0.5);
                    assert!((found - expected).abs() < limit, "{activation:?} {}: {found}", points[index]);
                    assert!((gates[index] - 3.0 * alone[index]).abs() <= 1e-6 * gates[index].abs());
                }
            }
        }
    }
}
