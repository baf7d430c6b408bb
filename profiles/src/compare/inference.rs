//! The difference of two means, and how sure it is.

use serde::{Deserialize, Serialize};

use super::{Floor, LEVEL};

/// Time per token of B minus that of A, by Welch's method (1947): neither equal variances nor equal numbers of
/// repetitions are assumed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// Mean of A, ns.
    pub a_ns: f64,
    /// Mean of B, ns.
    pub b_ns: f64,
    /// B minus A, ns.
    pub delta_ns: f64,
    /// Lower end of the 95 % interval of `delta_ns`; null below two repetitions on a side.
    pub low_ns: Option<f64>,
    /// Upper end.
    pub high_ns: Option<f64>,
    /// Probability of such a difference or a larger one if there is none; null as above.
    pub p: Option<f64>,
    /// Standard error of `delta_ns`, and its degrees of freedom.
    #[serde(skip)]
    precision: Option<Precision>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Precision {
    /// Standard error of the difference, ns.
    error_ns: f64,
    /// Degrees of freedom (Welch and Satterthwaite).
    freedom: f64,
    /// Mean of the two variances of a repetition, ns².
    variance: f64,
}

impl Difference {
    /// Of one value per repetition, or per run, on each side. `floor` is how much runs of the same thing differ beside
    /// what the values show. `None` if a side has no values.
    pub fn of(a: &[f64], b: &[f64], floor: Option<Floor>) -> Option<Self> {
        let (a_ns, b_ns) = (mean(a)?, mean(b)?);
        let delta_ns = b_ns - a_ns;
        let precision = precision((a, a_ns), (b, b_ns), floor);
        let mut found = Self { a_ns, b_ns, delta_ns, low_ns: None, high_ns: None, p: None, precision };
        if let Some((low, high)) = found.interval(LEVEL) {
            (found.low_ns, found.high_ns) = (Some(low), Some(high));
        }
        found.p = precision.map(|precision| match precision.error_ns {
            0.0 if delta_ns == 0.0 => 1.0,
            0.0 => 0.0,
            error_ns => two_sided_p(delta_ns / error_ns, precision.freedom),
        });
        Some(found)
    }

    /// `delta_ns` as a share of A; `None` where A took no time.
    pub fn change(&self) -> Option<f64> {
        (self.a_ns > 0.0).then(|| self.delta_ns / self.a_ns)
    }

    /// The interval of `delta_ns` at `level` (0 to 1), ns; `None` below two repetitions on a side.
    pub fn interval(&self, level: f64) -> Option<(f64, f64)> {
        let Precision { error_ns, freedom, .. } = self.precision?;
        let half = quantile(f64::midpoint(level, 1.0), freedom) * error_ns;
        Some((self.delta_ns - half, self.delta_ns + half))
    }

    /// The smallest difference, ns, whose 95 % interval leaves out 0 with probability `power`; `None` as for the
    /// interval.
    pub fn detectable(&self, power: f64) -> Option<f64> {
        let Precision { error_ns, freedom, .. } = self.precision?;
        Some((quantile(f64::midpoint(LEVEL, 1.0), freedom) + quantile(power, freedom)) * error_ns)
    }

    /// Repetitions on each side that it takes to find a difference of `ns` with probability `power`; `None` as for the
    /// interval, and if the floor alone is too high for it.
    pub fn repetitions_for(&self, ns: f64, power: f64, floor: Option<Floor>) -> Option<u64> {
        let Precision { variance, .. } = self.precision?;
        let floor_ns = floor.map_or(0.0, |floor| floor.share) * self.a_ns;
        let fits = |count: u64| {
            let within = (2.0 * variance / count as f64, 2.0 * (count - 1) as f64);
            let between = (2.0 * floor_ns * floor_ns, floor.map_or(1.0, |floor| floor.freedom()));
            let (error_ns, freedom) = together(within, between);
            (quantile(f64::midpoint(LEVEL, 1.0), freedom) + quantile(power, freedom)) * error_ns <= ns
        };
        const MOST: u64 = 1 << 20;
        if !fits(MOST) {
            return None;
        }
        let (mut low, mut high) = (2, MOST);
        while low < high {
            let middle = u64::midpoint(low, high);
            if fits(middle) { high = middle } else { low = middle + 1 }
        }
        Some(high)
    }
}

/// Mean of values; `None` of nothing.
pub(super) fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// Variance of at least two values around their mean.
pub(super) fn variance(values: &[f64], mean: f64) -> f64 {
    values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (values.len() - 1) as f64
}

fn precision((a, a_ns): (&[f64], f64), (b, b_ns): (&[f64], f64), floor: Option<Floor>) -> Option<Precision> {
    if a.len() < 2 || b.len() < 2 {
        return None;
    }
    let (of_a, of_b) = (variance(a, a_ns), variance(b, b_ns));
    let part = |of: f64, values: &[f64]| (of / values.len() as f64, (values.len() - 1) as f64);
    let ((part_a, freedom_a), (part_b, freedom_b)) = (part(of_a, a), part(of_b, b));
    let split = part_a * part_a / freedom_a + part_b * part_b / freedom_b;
    let within = part_a + part_b;
    let freedom = if split > 0.0 { within * within / split } else { freedom_a + freedom_b };
    let between = floor.map_or((0.0, 1.0), |floor| {
        ((floor.share * a_ns).powi(2) + (floor.share * b_ns).powi(2), floor.freedom())
    });
    let (error_ns, freedom) = together((within, freedom), between);
    Some(Precision { error_ns, freedom, variance: f64::midpoint(of_a, of_b) })
}

/// The standard error of a sum of two variances with their degrees of freedom, and its own (Satterthwaite 1946).
fn together((within, freedom): (f64, f64), (between, of_floor): (f64, f64)) -> (f64, f64) {
    let sum = within + between;
    let split = within * within / freedom + between * between / of_floor;
    (sum.sqrt(), if between > 0.0 && split > 0.0 { sum * sum / split } else { freedom })
}

/// Probability that |t| of Student's distribution is at least `t`: I(x; ν/2, 1/2) with x = ν / (ν + t²) (Abramowitz and
/// Stegun 26.7.1).
fn two_sided_p(t: f64, freedom: f64) -> f64 {
    regularized_beta(freedom / (freedom + t * t), freedom / 2.0, 0.5)
}

/// The value below which a share `q` (0.5 to 1) of Student's distribution lies.
pub(crate) fn quantile(q: f64, freedom: f64) -> f64 {
    let tail = 2.0 * (1.0 - q);
    let (mut low, mut high) = (0.0, 1.0);
    while two_sided_p(high, freedom) > tail && high < 1e12 {
        high *= 2.0;
    }
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if two_sided_p(middle, freedom) > tail { low = middle } else { high = middle }
    }
    high
}

/// The regularized incomplete beta function, by its continued fraction (DLMF 8.17.22), evaluated by Lentz's method.
fn regularized_beta(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return x.clamp(0.0, 1.0);
    }
    // The fraction converges fast below this point; above it, the other tail does.
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - regularized_beta(1.0 - x, b, a);
    }
    let front = (a * x.ln() + b * (-x).ln_1p() - ln_beta(a, b)).exp() / a;
    const TINY: f64 = 1e-300;
    let (mut c, mut d) = (1.0, 1.0 / (1.0 - (a + b) * x / (a + 1.0)).max(TINY));
    let mut fraction = d;
    for step in 1..500 {
        let m = f64::from(step);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let before = fraction;
        for term in [even, odd] {
            d = 1.0 / at_least(1.0 + term * d, TINY);
            c = at_least(1.0 + term / c, TINY);
            fraction *= c * d;
        }
        if (fraction - before).abs() < 1e-15 * fraction.abs() {
            break;
        }
    }
    front * fraction
}

/// `value`, or `tiny` where it is nearer to 0 than that.
fn at_least(value: f64, tiny: f64) -> f64 {
    if value.abs() < tiny { tiny } else { value }
}

fn ln_beta(a: f64, b: f64) -> f64 {
    ln_gamma(a) + ln_gamma(b) - ln_gamma(a + b)
}

/// ln Γ(x) for x > 0, by Stirling's series (DLMF 5.11.1) from 10 on, where five terms give 13 digits.
fn ln_gamma(x: f64) -> f64 {
    let (mut x, mut shift) = (x, 0.0);
    while x < 10.0 {
        shift += x.ln();
        x += 1.0;
    }
    let r = 1.0 / (x * x);
    let series = (1.0 / 12.0 - r * (1.0 / 360.0 - r * (1.0 / 1260.0 - r * (1.0 / 1680.0 - r / 1188.0)))) / x;
    (x - 0.5) * x.ln() - x + 0.5 * (2.0 * std::f64::consts::PI).ln() + series - shift
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() <= 1e-6 * expected.abs(), "{found} instead of {expected}");
    }

    /// Tables of Student's distribution (Abramowitz and Stegun, table 26.10).
    #[test]
    fn quantiles_are_those_of_the_tables() {
        for (freedom, q, expected) in [
            (1.0, 0.975, 12.706_205),
            (2.0, 0.975, 4.302_653),
            (5.0, 0.95, 2.015_048),
            (10.0, 0.975, 2.228_139),
            (30.0, 0.9, 1.310_415),
            (1e6, 0.975, 1.959_966),
        ] {
            close(quantile(q, freedom), expected);
        }
        close(two_sided_p(2.228_139, 10.0), 0.05);
        close(two_sided_p(0.0, 3.0), 1.0);
    }

    #[test]
    fn welch_as_computed_by_hand() {
        // Variances 2.5 and 10, n = 5: error = sqrt(0.5 + 2), freedom = 2.5² / (0.25/4 + 4/4) = 5.882.
        let found = Difference::of(&[1.0, 2.0, 3.0, 4.0, 5.0], &[2.0, 4.0, 6.0, 8.0, 10.0], None).unwrap();
        close(found.delta_ns, 3.0);
        let precision = found.precision.unwrap();
        close(precision.error_ns, 2.5_f64.sqrt());
        close(precision.freedom, 6.25 / 1.0625);
        let half = quantile(0.975, precision.freedom) * precision.error_ns;
        close(found.high_ns.unwrap(), 3.0 + half);
        assert!(found.p.unwrap() > 0.05 && found.low_ns.unwrap() < 0.0);
    }

    #[test]
    fn a_single_value_has_no_interval_and_equal_ones_have_no_width() {
        let found = Difference::of(&[1.0], &[2.0, 3.0], None).unwrap();
        assert_eq!((found.low_ns, found.p, found.detectable(0.9)), (None, None, None));
        assert!(Difference::of(&[], &[1.0], None).is_none());
        let same = Difference::of(&[5.0; 3], &[5.0; 4], None).unwrap();
        assert_eq!((same.low_ns, same.high_ns, same.p), (Some(0.0), Some(0.0), Some(1.0)));
        let other = Difference::of(&[5.0; 3], &[6.0; 4], None).unwrap();
        assert_eq!(other.p, Some(0.0));
    }

    #[test]
    fn a_floor_widens_the_interval_and_bounds_what_repetitions_can_do() {
        let (a, b) = ([100.0, 101.0, 99.0, 100.5, 99.5, 100.0], [100.2; 6]);
        let plain = Difference::of(&a, &b, None).unwrap();
        let floor = Some(Floor { share: 0.01, runs: 6 });
        let floored = Difference::of(&a, &b, floor).unwrap();
        assert!(floored.high_ns > plain.high_ns);
        // A floor of few runs is itself not well known: the interval says so.
        let rough = Difference::of(&a, &b, Some(Floor { share: 0.01, runs: 3 })).unwrap();
        assert!(rough.high_ns > floored.high_ns);
        assert!(plain.repetitions_for(2.0, 0.9, None).unwrap() <= 6);
        assert!(plain.repetitions_for(0.1, 0.9, None).unwrap() > 300);
        assert_eq!(plain.repetitions_for(2.0, 0.9, floor), None);
    }
}
