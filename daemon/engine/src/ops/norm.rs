//! Normalisation of rows.

use super::{LANES, versions};

/// A norm's rule and its learned parameters, as wide as a row.
#[derive(Debug, Clone, Copy)]
pub struct NormRule<'a> {
    /// Mean and standard deviation are divided out; otherwise the root mean square alone.
    pub centered: bool,
    /// Added to the mean square or variance.
    pub eps: f32,
    /// Factors; ones if `None`.
    pub gain: Option<&'a [f32]>,
    /// Summands; zeros if `None`.
    pub bias: Option<&'a [f32]>,
}

versions! {
    /// Normalises each row of `width` elements of `input` into `out`.
    pub fn norm(rule: &NormRule<'_>, width: usize, input: &[f32], out: &mut [f32]) = norm_body;
}

versions! {
    /// Normalises each row of `width` elements in place.
    pub fn norm_in_place(rule: &NormRule<'_>, width: usize, rows: &mut [f32]) = in_place_body;
}

#[inline(always)]
fn norm_body(rule: &NormRule<'_>, width: usize, input: &[f32], out: &mut [f32]) {
    for (input, out) in input.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
        let (mean, scale) = statistics(rule, input);
        for (place, value) in out.iter_mut().zip(input) {
            *place = (value - mean) * scale;
        }
        learned(rule, out);
    }
}

#[inline(always)]
fn in_place_body(rule: &NormRule<'_>, width: usize, rows: &mut [f32]) {
    for row in rows.chunks_exact_mut(width) {
        let (mean, scale) = statistics(rule, row);
        for value in &mut *row {
            *value = (*value - mean) * scale;
        }
        learned(rule, row);
    }
}

/// What is taken off each element, and what the difference is multiplied with.
#[inline(always)]
fn statistics(rule: &NormRule<'_>, row: &[f32]) -> (f32, f32) {
    let count = row.len() as f32;
    let mean = if rule.centered { sum(row, |value| value) / count } else { 0.0 };
    let square = sum(row, |value| (value - mean) * (value - mean)) / count;
    (mean, 1.0 / (square + rule.eps).sqrt())
}

#[inline(always)]
fn learned(rule: &NormRule<'_>, row: &mut [f32]) {
    if let Some(gain) = rule.gain {
        row.iter_mut().zip(gain).for_each(|(value, gain)| *value *= gain);
    }
    if let Some(bias) = rule.bias {
        row.iter_mut().zip(bias).for_each(|(value, bias)| *value += bias);
    }
}

#[inline(always)]
fn sum(row: &[f32], of: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let mut pieces = row.chunks_exact(LANES);
    for piece in &mut pieces {
        for (lane, value) in lanes.iter_mut().zip(piece) {
            *lane += of(*value);
        }
    }
    for (lane, value) in lanes.iter_mut().zip(pieces.remainder()) {
        *lane += of(*value);
    }
    lanes.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Simd;

    fn plain(rule: &NormRule<'_>, row: &[f32]) -> Vec<f32> {
        let count = row.len() as f64;
        let mean = row.iter().map(|v| f64::from(*v)).sum::<f64>() / count;
        let mean = if rule.centered { mean } else { 0.0 };
        let square = row.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / count;
        let scale = 1.0 / (square + f64::from(rule.eps)).sqrt();
        let one = |(index, value): (usize, &f32)| {
            let gain = rule.gain.map_or(1.0, |gain| f64::from(gain[index]));
            let bias = rule.bias.map_or(0.0, |bias| f64::from(bias[index]));
            ((f64::from(*value) - mean) * scale * gain + bias) as f32
        };
        row.iter().enumerate().map(one).collect()
    }

    #[test]
    fn every_version_is_the_formula() {
        for width in [1, 7, 16, 33, 576] {
            let rows: Vec<f32> = (0..3 * width).map(|i| ((i * 37 % 101) as f32 - 40.0) / 17.0).collect();
            let gain: Vec<f32> = (0..width).map(|i| 1.0 + (i % 5) as f32 / 10.0).collect();
            let bias: Vec<f32> = (0..width).map(|i| (i % 3) as f32 - 1.0).collect();
            for (centered, gain, bias) in [
                (false, Some(&gain[..]), None),
                (true, Some(&gain[..]), Some(&bias[..])),
                (true, None, None),
                (false, None, Some(&bias[..])),
            ] {
                let rule = NormRule { centered, eps: 1e-5, gain, bias };
                let expected: Vec<f32> = rows.chunks(width).flat_map(|row| plain(&rule, row)).collect();
                for simd in Simd::available() {
                    let (mut out, mut same) = (vec![f32::NAN; rows.len()], rows.clone());
                    norm(simd, &rule, width, &rows, &mut out);
                    norm_in_place(simd, &rule, width, &mut same);
                    assert_eq!(out, same);
                    for (found, expected) in out.iter().zip(&expected) {
                        assert!(
                            (found - expected).abs() <= 2e-5 * expected.abs().max(0.1),
                            "{width} {simd:?}"
                        );
                    }
                }
            }
        }
    }
}
