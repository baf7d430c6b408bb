//! Distances between logits. A matrix is a list of rows, one a position; sums are taken in f64.

/// Mean over all elements.
fn mean<R: AsRef<[f32]>>(rows: &[R], of: impl Fn(f64) -> f64) -> f64 {
    let values = || rows.iter().flat_map(AsRef::as_ref).map(|&value| f64::from(value));
    values().map(of).sum::<f64>() / values().count() as f64
}

/// Differences of the elements of two matrices of the same shape.
fn differences<'a, F: AsRef<[f32]>, E: AsRef<[f32]>>(
    found: &'a [F],
    expected: &'a [E],
) -> impl Iterator<Item = f64> + 'a {
    let pairs = found.iter().zip(expected).flat_map(|(f, e)| f.as_ref().iter().zip(e.as_ref()));
    pairs.map(|(f, e)| f64::from(*f) - f64::from(*e))
}

/// Standard deviation of all elements.
pub fn deviation<R: AsRef<[f32]>>(rows: &[R]) -> f64 {
    let center = mean(rows, |value| value);
    mean(rows, |value| (value - center).powi(2)).sqrt()
}

/// Root mean square of the differences.
pub fn rms<F: AsRef<[f32]>, E: AsRef<[f32]>>(found: &[F], expected: &[E]) -> f64 {
    let (sum, count) = differences(found, expected).fold((0.0, 0_u64), |(s, n), d| (s + d * d, n + 1));
    (sum / count as f64).sqrt()
}

/// [`rms`] over the standard deviation of `expected`.
pub fn rms_over_std<F: AsRef<[f32]>, E: AsRef<[f32]>>(found: &[F], expected: &[E]) -> f64 {
    rms(found, expected) / deviation(expected)
}

/// Greatest difference; a NaN is greater than all.
pub fn most<F: AsRef<[f32]>, E: AsRef<[f32]>>(found: &[F], expected: &[E]) -> f64 {
    differences(found, expected).map(f64::abs).max_by(f64::total_cmp).unwrap_or(f64::NAN)
}

/// [`most`] over the standard deviation of `all`, of which `expected` is a part.
pub fn most_over_std<F: AsRef<[f32]>, E: AsRef<[f32]>, A: AsRef<[f32]>>(
    found: &[F],
    expected: &[E],
    all: &[A],
) -> f64 {
    most(found, expected) / deviation(all)
}

/// Natural logarithms of the probabilities that these logits mean.
pub fn log_probabilities(logits: &[f32]) -> Vec<f64> {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|logit| f64::from(logit - most).exp()).sum();
    logits.iter().map(|logit| f64::from(logit - most) - sum.ln()).collect()
}

/// Kullback-Leibler divergence of `found` from `expected`, nats, mean over the rows.
pub fn divergence<F: AsRef<[f32]>, E: AsRef<[f32]>>(found: &[F], expected: &[E]) -> f64 {
    let row = |(found, expected): (&F, &E)| -> f64 {
        let (found, expected) = (log_probabilities(found.as_ref()), log_probabilities(expected.as_ref()));
        expected.iter().zip(found).map(|(e, f)| e.exp() * (e - f)).sum()
    };
    found.iter().zip(expected).map(row).sum::<f64>() / found.len() as f64
}

/// The id of the largest logit, and how far the next one is behind it. `None` if a logit is NaN or there are
/// fewer than two.
pub fn best(logits: &[f32]) -> Option<(u32, f64)> {
    let (mut best, mut second) = ((0, f32::NEG_INFINITY), f32::NEG_INFINITY);
    for (id, &logit) in logits.iter().enumerate() {
        if logit.is_nan() {
            return None;
        }
        if logit > best.1 {
            second = best.1;
            best = (id, logit);
        } else {
            second = second.max(logit);
        }
    }
    (logits.len() > 1).then(|| (best.0 as u32, f64::from(best.1) - f64::from(second)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_those_worked_out_by_hand() {
        let (found, expected) = ([vec![1.0_f32, 2.0], vec![3.0, 8.0]], [[1.0_f32, 2.0], [3.0, 4.0]]);
        // Of 1 2 3 4: variance 1.25.
        assert!((deviation(&expected) - 1.25_f64.sqrt()).abs() < 1e-12);
        assert!((rms(&found, &expected) - 2.0).abs() < 1e-12);
        assert!((rms_over_std(&found, &expected) - 2.0 / 1.25_f64.sqrt()).abs() < 1e-12);
        assert!((most(&found, &expected) - 4.0).abs() < 1e-12);
        assert!(most(&[[f32::NAN, 0.0]], &[[0.0_f32, 9.0]]).is_nan());
        assert!(rms(&[[f32::NAN]], &[[0.0_f32]]).is_nan());
    }

    #[test]
    fn divergence_is_zero_for_the_same_distribution_and_right_for_a_coin() {
        assert!(divergence(&[[1.0_f32, 2.0]], &[[11.0_f32, 12.0]]).abs() < 1e-12);
        // Fair coin against one that falls 3 to 1: ln 2 - (ln 3) / 2 ... with q = 3/4, 1/4.
        let expected = 0.5 * (0.5_f64 / 0.75).ln() + 0.5 * (0.5_f64 / 0.25).ln();
        let found = divergence(&[[3.0_f32.ln(), 0.0]], &[[0.0_f32, 0.0]]);
        assert!((found - expected).abs() < 1e-7, "{found} {expected}");
    }

    #[test]
    fn the_best_id_comes_with_its_lead() {
        assert_eq!(best(&[1.0, 4.0, 3.5]), Some((1, 0.5)));
        assert_eq!(best(&[2.0, 2.0]), Some((0, 0.0)));
        assert_eq!(best(&[4.0, 1.0]), Some((0, 3.0)));
        assert_eq!(best(&[1.0, f32::NAN]), None);
        assert_eq!(best(&[1.0]), None);
    }
}
