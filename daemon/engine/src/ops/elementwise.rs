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
    /// `out = Σ_i factors[i] rows[i]`, rows as wide as `out`.
    pub fn combine(factors: &[f32], rows: &[f32], out: &mut [f32]) = combine_body;
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
fn combine_body(factors: &[f32], rows: &[f32], out: &mut [f32]) {
    const STRETCH: usize = 4 * LANES;
    let width = out.len();
    for (index, out) in out.chunks_mut(STRETCH).enumerate() {
        let rows = rows.chunks_exact(width).map(|row| &row[index * STRETCH..][..out.len()]);
        let mut sums = [0.0; STRETCH];
        for (factor, row) in factors.iter().zip(rows) {
            // Of constant length where it is whole, for sums that stay in registers.
            match row.first_chunk::<STRETCH>() {
                Some(row) => sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += factor * value),
                None => sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += factor * value),
            }
        }
        out.copy_from_slice(&sums[..out.len()]);
    }
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
            let wide: Vec<f32> = (0..3 * 90).map(|index| values[index % 37]).collect();
            let mut sums = vec![9.0; 90];
            combine(simd, &[1.0, -2.0, 0.5], &wide, &mut sums);
            for (column, sum) in sums.iter().enumerate() {
                let expected = wide[column] - 2.0 * wide[90 + column] + 0.5 * wide[180 + column];
                assert!((sum - expected).abs() < 1e-4, "{simd:?} {column}");
            }
            near(run(&|v| scale(simd, v, -3.0)), &|x| -3.0 * x);
            near(run(&|v| clip(simd, v, 2.0)), &|x| x.clamp(-2.0, 2.0));
            near(run(&|v| softcap(simd, v, 2.0, 5.0)), &|x| 5.0 * (2.0 * x / 5.0).tanh());
        }
    }
}
