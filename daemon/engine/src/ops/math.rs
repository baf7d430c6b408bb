//! Elementary functions, written so that compilers turn loops over them into vector code.

use std::f32::consts::LOG2_E;

/// Adding it rounds a number below 2^22 to an integer, which is then in the low bits.
const ROUND: f32 = 12_582_912.0;
/// ln 2 in two parts; products of the first with integers up to 2^9 are exact.
const LN2_HIGH: f32 = 0.693_359_4;
const LN2_LOW: f32 = -2.121_944_4e-4;

/// `e^x` within 2 ulp. Below -87.3 it is 1.2e-38, above 88.3 it is 2.3e38; NaN stays NaN.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    let x = x.clamp(-87.3, 88.3);
    let rounded = x * LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = x - n * LN2_HIGH - n * LN2_LOW;
    // Minimax polynomial of (e^r - 1 - r) / r² on ± ln(2) / 2, as in Cephes' expf.
    let p = ((((1.987_569_1e-4 * r + 1.398_2e-3) * r + 8.333_452e-3) * r + 4.166_579_6e-2) * r
        + 1.666_666_5e-1)
        * r
        + 5e-1;
    let power = (rounded.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127)) << 23;
    (p * r * r + r + 1.0) * f32::from_bits(power)
}

#[inline(always)]
pub(super) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

#[inline(always)]
pub(super) fn tanh(x: f32) -> f32 {
    // A power series where the quotient would cancel.
    let square = x * x;
    let near = x * (1.0 - square * (1.0 / 3.0 - square * (2.0 / 15.0 - square * (17.0 / 315.0))));
    let far = 1.0 - 2.0 / (exp(2.0 * x) + 1.0);
    if square < 0.04 { near } else { far }
}

/// `erfc(x)` for `x >= 0` within 1.5e-7 (Abramowitz and Stegun, 7.1.26).
#[inline(always)]
pub(super) fn erfc_positive(x: f32) -> f32 {
    let t = 1.0 / (1.0 + 0.327_591_1 * x);
    let p = ((((1.061_405_4 * t - 1.453_152) * t + 1.421_413_7) * t - 0.284_496_74) * t + 0.254_829_6) * t;
    p * exp(-x * x)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(from: f32, to: f32) -> impl Iterator<Item = f32> {
        (0..=20_000).map(move |step| from + (to - from) * step as f32 / 20_000.0)
    }

    #[test]
    fn exponentials_are_within_two_ulp() {
        for x in grid(-87.0, 88.0) {
            let exact = f64::from(x).exp();
            let error = (f64::from(exp(x)) - exact).abs() / exact;
            assert!(error < 2.5e-7, "{x}: {error}");
        }
        assert_eq!(exp(0.0).to_bits(), 1.0_f32.to_bits());
        assert!(exp(f32::NEG_INFINITY) < 1.3e-38 && exp(f32::INFINITY) > 2e38 && exp(f32::NAN).is_nan());
    }

    #[test]
    fn bounded_functions_are_near_the_exact_ones() {
        for x in grid(-20.0, 20.0) {
            let exact = f64::from(x);
            assert!((f64::from(sigmoid(x)) - 1.0 / (1.0 + (-exact).exp())).abs() < 2e-7, "sigmoid {x}");
            assert!((f64::from(tanh(x)) - exact.tanh()).abs() <= 6e-7 * exact.abs().min(1.0), "tanh {x}");
        }
    }

    /// By Simpson's rule, which needs no library that has the error function.
    #[test]
    fn the_error_function_is_near_its_integral() {
        for x in [0.0_f64, 0.1, 0.5, 1.0, 1.7, 2.5, 4.0] {
            let steps = 4000;
            let width = x / f64::from(steps);
            let density = |step: i32| (-(width * f64::from(step)).powi(2)).exp();
            let sum: f64 = (0..steps)
                .step_by(2)
                .map(|step| density(step) + 4.0 * density(step + 1) + density(step + 2))
                .sum();
            let exact = 1.0 - 2.0 / std::f64::consts::PI.sqrt() * sum * width / 3.0;
            assert!((f64::from(erfc_positive(x as f32)) - exact).abs() < 3e-7, "{x}");
        }
    }
}
