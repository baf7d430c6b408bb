//! Sums, factors and limits, element by element.

use super::math::tanh;
use super::{LANES, versions};

versions! {
    /// `stream += branch`
    pub fn add(stream: &mut [f32], branch: &[f32]) = add_body;
}

versions! {
    /// `stream += scale * (first + second)`, without `second` if it is empty.
    pub fn add_scaled(stream: &mut [f32], first: &[f32], second: &[f32], scale: f32) = add_scaled_body;
}

versions! {
    /// `out = Σ a b`
    pub fn dot(a: &[f32], b: &[f32], out: &mut f32) = dot_body;
}

versions! {
    /// `values *= factor`
    pub fn scale(values: &mut [f32], factor: f32) = scale_body;
}

versions! {
    /// Cuts to ± `limit`; NaN stays NaN.
    pub fn clip(values: &mut [f32], limit: f32) = clip_body;
}

versions! {
    /// `values = cap * tanh(factor * values / cap)`
    pub fn softcap(values: &mut [f32], factor: f32, cap: f32) = softcap_body;
}

#[inline(always)]
fn add_body(stream: &mut [f32], branch: &[f32]) {
    stream.iter_mut().zip(branch).for_each(|(stream, branch)| *stream += branch);
}

#[inline(always)]
fn add_scaled_body(stream: &mut [f32], first: &[f32], second: &[f32], scale: f32) {
    if second.is_empty() {
        stream.iter_mut().zip(first).for_each(|(stream, first)| *stream += scale * first);
    } else {
        for ((stream, first), second) in stream.iter_mut().zip(first).zip(second) {
            *stream += scale * (first + second);
        }
    }
}

#[inline(always)]
fn dot_body(a: &[f32], b: &[f32], out: &mut f32) {
    let mut lanes = [0.0; LANES];
    let (mut a, mut b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    for (a, b) in (&mut a).zip(&mut b) {
        for (lane, (a, b)) in lanes.iter_mut().zip(a.iter().zip(b)) {
            *lane += a * b;
        }
    }
    for (lane, (a, b)) in lanes.iter_mut().zip(a.remainder().iter().zip(b.remainder())) {
        *lane += a * b;
    }
    *out = lanes.iter().sum();
}

#[inline(always)]
fn scale_body(values: &mut [f32], factor: f32) {
    for value in values {
        *value *= factor;
    }
}

#[inline(always)]
fn clip_body(values: &mut [f32], limit: f32) {
    for value in values {
        *value = value.clamp(-limit, limit);
    }
}

#[inline(always)]
fn softcap_body(values: &mut [f32], factor: f32, cap: f32) {
    let inner = factor / cap;
    for value in values {
        *value = cap * tanh(*value * inner);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Simd;

    #[test]
    fn every_version_is_the_formula() {
        let values: Vec<f32> = (0..37).map(|i| (i as f32 - 18.0) / 3.0).collect();
        for simd in Simd::available() {
            let run = |work: &dyn Fn(&mut [f32])| {
                let mut out = values.clone();
                work(&mut out);
                out
            };
            let near = |found: Vec<f32>, expected: &dyn Fn(f32) -> f32| {
                for (found, value) in found.iter().zip(&values) {
                    let expected = expected(*value);
                    assert!((found - expected).abs() <= 1e-6 * expected.abs().max(1.0), "{simd:?} {value}");
                }
            };
            near(run(&|v| add(simd, v, &values)), &|x| 2.0 * x);
            near(run(&|v| add_scaled(simd, v, &values, &[], 0.5)), &|x| 1.5 * x);
            near(run(&|v| add_scaled(simd, v, &values, &values, 0.5)), &|x| 2.0 * x);
            let mut product = 0.0;
            dot(simd, &values, &values, &mut product);
            assert!((product - values.iter().map(|v| v * v).sum::<f32>()).abs() < 1e-3);
            near(run(&|v| scale(simd, v, -3.0)), &|x| -3.0 * x);
            near(run(&|v| clip(simd, v, 2.0)), &|x| x.clamp(-2.0, 2.0));
            near(run(&|v| softcap(simd, v, 2.0, 5.0)), &|x| 5.0 * (2.0 * x / 5.0).tanh());
        }
    }
}
