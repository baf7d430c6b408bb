//! A causal convolution and a gated linear recurrence, each over some channels of one token.

use super::math::{exp, sigmoid};
use super::versions;

versions! {
    /// `out[c] = bias[c] + Σ_t weight[c][t] x[c][t]`, where `x` is the `taps - 1` past inputs of the channel,
    /// oldest first, and the present one; then the oldest past input makes room for the present one.
    pub fn convolve(
        taps: usize,
        weight: &[f32],
        bias: &[f32],
        past: &mut [f32],
        input: &[f32],
        out: &mut [f32],
    ) = convolve_body;
}

versions! {
    /// `a = exp(rate r)`, `h = a h + sqrt(1 - a²) i u` with `r` and `i` the sigmoids of the gates; the root is
    /// left out at the `first` token. `rate` is `-8 softplus(p)`, see
    /// [`Recurrent`](slmscope_profiles::spec::Recurrent).
    pub fn recur(
        first: bool,
        rate: &[f32],
        input: &[f32],
        input_gate: &[f32],
        recurrence_gate: &[f32],
        state: &mut [f32],
    ) = recur_body;
}

/// `-8 softplus(p)`
pub fn rate(decay: f32) -> f32 {
    let decay = f64::from(decay);
    // Of the two ways to write ln(1 + e^p), the one that does not overflow.
    let softplus = decay.max(0.0) + (-decay.abs()).exp().ln_1p();
    (-8.0 * softplus) as f32
}

#[inline(always)]
fn convolve_body(
    taps: usize,
    weight: &[f32],
    bias: &[f32],
    past: &mut [f32],
    input: &[f32],
    out: &mut [f32],
) {
    let kept = taps - 1;
    for (channel, (out, input)) in out.iter_mut().zip(input).enumerate() {
        let weight = &weight[channel * taps..][..taps];
        let past = &mut past[channel * kept..][..kept];
        let mut sum = bias[channel];
        for (weight, past) in weight.iter().zip(&*past) {
            sum += weight * past;
        }
        *out = sum + weight[kept] * input;
        if kept > 0 {
            past.rotate_left(1);
            past[kept - 1] = *input;
        }
    }
}

#[inline(always)]
fn recur_body(
    first: bool,
    rate: &[f32],
    input: &[f32],
    input_gate: &[f32],
    recurrence_gate: &[f32],
    state: &mut [f32],
) {
    let gates = input_gate.iter().zip(recurrence_gate);
    for (((state, rate), input), (input_gate, recurrence_gate)) in
        state.iter_mut().zip(rate).zip(input).zip(gates)
    {
        let a = exp(rate * sigmoid(*recurrence_gate));
        let root = if first { 1.0 } else { (1.0 - a * a).max(0.0).sqrt() };
        *state = a * *state + root * sigmoid(*input_gate) * input;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Simd;

    #[test]
    fn convolutions_see_the_last_tokens() {
        let (width, taps, tokens) = (19, 4, 7);
        let input = |token: usize, channel: usize| ((token * 31 + channel * 7) % 11) as f32 - 5.0;
        let weight: Vec<f32> = (0..width * taps).map(|i| (i % 9) as f32 / 4.0 - 1.0).collect();
        let bias: Vec<f32> = (0..width).map(|i| i as f32 / 10.0).collect();
        for simd in Simd::available() {
            let mut past = vec![0.0; width * (taps - 1)];
            for token in 0..tokens {
                let row: Vec<f32> = (0..width).map(|channel| input(token, channel)).collect();
                let mut out = vec![f32::NAN; width];
                convolve(simd, taps, &weight, &bias, &mut past, &row, &mut out);
                for (channel, found) in out.iter().enumerate() {
                    let seen = (0..taps).filter(|tap| token + tap + 1 >= taps);
                    let term = |tap| weight[channel * taps + tap] * input(token + tap + 1 - taps, channel);
                    let expected = bias[channel] + seen.map(term).sum::<f32>();
                    assert!((found - expected).abs() < 1e-5, "{token} {channel}: {found} {expected}");
                }
            }
        }
    }

    #[test]
    fn recurrences_are_the_formula() {
        let width = 21;
        let value = |seed: usize, channel: usize| ((seed * 17 + channel * 5) % 13) as f32 / 3.0 - 2.0;
        let row = |seed| (0..width).map(|channel| value(seed, channel)).collect::<Vec<f32>>();
        let rates: Vec<f32> = row(9).into_iter().map(rate).collect();
        for simd in Simd::available() {
            let (mut state, mut expected) = (vec![0.0; width], vec![0.0_f64; width]);
            for token in 0..5 {
                let (u, i, r) = (row(token), row(token + 20), row(token + 40));
                recur(simd, token == 0, &rates, &u, &i, &r, &mut state);
                for channel in 0..width {
                    let wide = |values: &[f32]| f64::from(values[channel]);
                    let open = |x: f64| 1.0 / (1.0 + (-x).exp());
                    let a = (-8.0 * wide(&row(9)).exp().ln_1p() * open(wide(&r))).exp();
                    let root = if token == 0 { 1.0 } else { (1.0 - a * a).sqrt() };
                    expected[channel] = a * expected[channel] + root * open(wide(&i)) * wide(&u);
                    assert!((f64::from(state[channel]) - expected[channel]).abs() < 2e-6);
                }
            }
        }
    }
}
