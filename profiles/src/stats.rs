//! Medians, percentiles and bootstrap intervals. No wall clock, no global randomness: the same values give
//! the same interval every time.

use serde::{Deserialize, Serialize};

/// A median over repetitions with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// Median of the repetitions.
    pub median: f64,
    /// Lower end; `None` below 3 repetitions.
    pub low: Option<f64>,
    /// Upper end; `None` below 3 repetitions.
    pub high: Option<f64>,
}

impl Estimate {
    /// Of one value per repetition; `None` if there is none.
    pub fn of(values: &[f64]) -> Option<Self> {
        let median = median(values)?;
        let interval = bootstrap_median(values);
        Some(Self { median, low: interval.map(|i| i.0), high: interval.map(|i| i.1) })
    }

    /// Half the interval's width as a share of the median; `None` without an interval.
    pub fn relative_half_width(&self) -> Option<f64> {
        (self.median != 0.0).then_some(())?;
        Some((self.high? - self.low?) / 2.0 / self.median.abs())
    }
}

/// Middle value, or the mean of the two middle ones; `None` of nothing.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    Some(f64::midpoint(sorted[sorted.len() / 2 - 1], upper))
}

/// The value below which a share `q` (0 to 1) of the values lies, by nearest rank; `None` of nothing.
pub fn percentile<T: Copy + Ord>(values: &mut [T], q: f64) -> Option<T> {
    let last = values.len().checked_sub(1)?;
    let rank = ((values.len() as f64 * q).ceil() as usize).saturating_sub(1).min(last);
    Some(*values.select_nth_unstable(rank).1)
}

/// Resamples that an interval is read from.
const RESAMPLES: usize = 2000;

/// 95 % percentile-bootstrap interval of the median (Efron 1979); `None` below 3 values.
pub fn bootstrap_median(values: &[f64]) -> Option<(f64, f64)> {
    bootstrap(values, |sample| median(sample).unwrap_or(f64::NAN))
}

/// 95 % percentile-bootstrap interval of any statistic; `None` below 3 values.
pub fn bootstrap(values: &[f64], statistic: impl Fn(&[f64]) -> f64) -> Option<(f64, f64)> {
    if values.len() < 3 {
        return None;
    }
    let mut random = SplitMix(values.len() as u64);
    let mut sample = vec![0.0; values.len()];
    let mut found: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            for slot in &mut sample {
                *slot = values[random.below(values.len())];
            }
            statistic(&sample)
        })
        .collect();
    found.sort_by(f64::total_cmp);
    Some((found[RESAMPLES * 25 / 1000], found[RESAMPLES * 975 / 1000 - 1]))
}

/// SplitMix64 (Steele, Lea, Flood 2014): enough for resampling, and the same on every machine.
#[derive(Debug, Clone)]
pub struct SplitMix(pub u64);

impl SplitMix {
    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is above 0.
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next_u64()) * bound as u128) >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_percentiles() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        let mut values: Vec<u64> = (1..=100).rev().collect();
        assert_eq!(percentile(&mut values, 0.5), Some(50));
        assert_eq!(percentile(&mut values, 0.99), Some(99));
        assert_eq!(percentile(&mut values, 1.0), Some(100));
        assert_eq!(percentile::<u64>(&mut [], 0.5), None);
    }

    #[test]
    fn intervals_need_three_values_hold_the_median_and_repeat() {
        assert_eq!(Estimate::of(&[1.0, 2.0]).unwrap().low, None);
        let values = [10.0, 11.0, 9.0, 10.5, 9.5, 10.2, 9.8];
        let estimate = Estimate::of(&values).unwrap();
        assert!(estimate.low.unwrap() <= estimate.median && estimate.median <= estimate.high.unwrap());
        assert!(estimate.low.unwrap() >= 9.0 && estimate.high.unwrap() <= 11.0);
        assert_eq!(Estimate::of(&values), Some(estimate));
        assert_eq!(Estimate::of(&[5.0; 5]).unwrap().relative_half_width(), Some(0.0));
    }
}
