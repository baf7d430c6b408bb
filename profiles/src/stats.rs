//! Medians, percentiles and the interval of a median. No wall clock, no randomness: the same values give the same
//! interval every time.
//!
//! The interval of a median needs no assumption about the distribution of the values. Of n values in order, each is
//! below the true median with probability 1/2, so the number of values below it is Binomial(n, 1/2), and the r-th
//! smallest and the r-th largest enclose it with probability 1 − 2 · P(Binomial(n, 1/2) < r) (David and Nagaraja, *Order
//! Statistics*, 3rd ed. 2003, section 7.1). [`Estimate::of`] takes the largest r for which that is at least [`LEVEL`].
//! Below [`MIN_VALUES`] values not even the smallest and the largest of them suffice: 5 values enclose the median in
//! 93.75 % of cases, 3 in 75 %. What is stated then is their range, and no level.

use serde::{Deserialize, Serialize};

use crate::display;

/// The level of the intervals.
pub const LEVEL: f64 = 0.95;

/// The least number of values of which an interval of level [`LEVEL`] exists: 1 − 2 · 2⁻⁶ = 96.9 %.
pub const MIN_VALUES: u64 = 6;

/// A median with what is known of its precision.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// Median of the values.
    pub median: f64,
    /// Lower end: of the interval at `level`; the smallest value if that is null.
    pub low: f64,
    /// Upper end: of the interval at `level`; the largest value if that is null.
    pub high: f64,
    /// In which share of runs at the least the interval holds the true median, if the machine stays as it is while
    /// the values are measured: 0.95. Null where `low` and `high` are the range of the values.
    #[serde(default)]
    pub level: Option<f64>,
    /// Number of values.
    #[serde(default)]
    pub count: u64,
}

impl Estimate {
    /// The median of `values` with its interval, or with their range if there are fewer than [`MIN_VALUES`]; `None`
    /// if there is none.
    pub fn of(values: &[f64]) -> Option<Self> {
        let range = Self::range(values)?;
        let Some(rank) = interval_rank(values.len()) else { return Some(range) };
        let sorted = sorted(values);
        let (low, high) = (sorted[rank - 1], sorted[sorted.len() - rank]);
        Some(Self { low, high, level: Some(LEVEL), ..range })
    }

    /// The median of `values` with their range, however many there are; `None` if there is none.
    pub fn range(values: &[f64]) -> Option<Self> {
        let sorted = sorted(values);
        let (&low, &high) = (sorted.first()?, sorted.last()?);
        Some(Self { median: median(values)?, low, high, level: None, count: sorted.len() as u64 })
    }

    /// Half the interval's width as a share of the median; `None` if it is no interval, or the median is 0.
    pub fn relative_half_width(&self) -> Option<f64> {
        let is_interval = self.level.is_some() && self.median != 0.0;
        is_interval.then(|| (self.high - self.low) / 2.0 / self.median.abs())
    }

    /// How precise the median is, for people: `± 2.1 % within this run`, or `174 to 182, range of 3` with the ends as
    /// `show` prints them. An interval holds for the machine as it was during the run; it says nothing about the
    /// next one.
    pub fn spread(&self, show: impl Fn(f64) -> String) -> String {
        match (self.relative_half_width(), self.count) {
            (Some(width), _) => format!("± {} within this run", display::share(width)),
            (None, 1) => "a single value".to_owned(),
            (None, count) => {
                let kind = if self.level.is_some() { "interval" } else { "range" };
                format!("{} to {}, {kind} of {count}", show(self.low), show(self.high))
            }
        }
    }
}

/// The rank of the order statistic at the lower end of the interval of a median of `count` values, from 1; `None`
/// below [`MIN_VALUES`].
fn interval_rank(count: usize) -> Option<usize> {
    // P(Binomial(count, 1/2) = k), as a logarithm: 2^-count is no f64 from 1075 values on.
    let mut ln_probability = -(count as f64) * std::f64::consts::LN_2;
    let mut below = 0.0;
    for k in 0..count {
        below += ln_probability.exp();
        if 1.0 - 2.0 * below < LEVEL {
            return (k > 0).then_some(k);
        }
        ln_probability += ((count - k) as f64 / (k + 1) as f64).ln();
    }
    None
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// Middle value, or the mean of the two middle ones; `None` of nothing.
pub fn median(values: &[f64]) -> Option<f64> {
    let sorted = sorted(values);
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

/// A value is far from the others beyond so many interquartile ranges from the quartiles.
pub const FENCE: f64 = 3.0;

/// The places of values that are far from the others: more than [`FENCE`] interquartile ranges below the lower or above
/// the upper quartile ("far out", Tukey, *Exploratory Data Analysis*, 1977). Nobody leaves them out of anything: they
/// are marked so that people look at them. None below [`MIN_VALUES`] values, or where half of the values are equal.
pub fn outliers(values: &[f64]) -> Vec<usize> {
    let sorted = sorted(values);
    if (sorted.len() as u64) < MIN_VALUES {
        return Vec::new();
    }
    let (lower, upper) = (sorted[sorted.len() / 4], sorted[sorted.len() - 1 - sorted.len() / 4]);
    let reach = FENCE * (upper - lower);
    let is_far = |value: f64| reach > 0.0 && (value < lower - reach || value > upper + reach);
    values.iter().enumerate().filter(|(_, value)| is_far(**value)).map(|(at, _)| at).collect()
}

/// Resamples of a bootstrap.
const RESAMPLES: usize = 500;

/// A statistic of groups of values, computed for resamples of the groups: as many, drawn with replacement, with a fixed
/// seed. [`ends`] makes an interval of it: the percentile bootstrap (Efron and Tibshirani, *An Introduction to the
/// Bootstrap*, 1993, chapter 13). It serves where the order statistics of [`Estimate`] do not: tokens of a repetition
/// resemble each other, and repetitions do not. `None` below [`MIN_VALUES`] groups, or if a resample has no statistic.
pub fn resampled<S>(groups: usize, mut statistic: impl FnMut(&[usize]) -> Option<S>) -> Option<Vec<S>> {
    if (groups as u64) < MIN_VALUES {
        return None;
    }
    let mut random = SplitMix(1);
    let mut drawn = vec![0; groups];
    let mut resample = || {
        drawn.fill_with(|| random.below(groups));
        statistic(&drawn)
    };
    (0..RESAMPLES).map(|_| resample()).collect()
}

/// The values between which a share [`LEVEL`] of resampled statistics lies; `None` of nothing.
pub fn ends<T: Copy + Ord>(values: &mut [T]) -> Option<[T; 2]> {
    let tail = (1.0 - LEVEL) / 2.0;
    Some([percentile(values, tail)?, percentile(values, 1.0 - tail)?])
}

/// SplitMix64 (Steele, Lea, Flood 2014): enough for prompts and simulations, and the same on every machine.
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
    fn outliers_are_far_beyond_the_quartiles() {
        let mut values: Vec<f64> = (0..20).map(f64::from).collect();
        assert!(outliers(&values).is_empty());
        // Quartiles 5 and 16: the fences are -28 and 49.
        (values[3], values[7], values[9]) = (49.0, 49.5, -28.5);
        assert_eq!(outliers(&values), [7, 9]);
        assert!(outliers(&[1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 9.0]).is_empty(), "half are equal");
        assert!(outliers(&[1.0, 2.0, 3.0, 4.0, 500.0]).is_empty(), "too few");
    }

    #[test]
    fn resamples_repeat_and_need_six_groups() {
        let groups = [3_u64, 1, 4, 1, 5, 9, 2, 6];
        let sums = |count| resampled(count, |drawn| Some(drawn.iter().map(|&at| groups[at]).sum::<u64>()));
        assert_eq!(sums(5), None);
        let (first, second) = (sums(8).unwrap(), sums(8).unwrap());
        assert_eq!((first.len(), &first), (RESAMPLES, &second));
        // The sum of all is 31, and 8 draws have a standard deviation of 7.3.
        let [low, high] = ends(&mut first.clone()).unwrap();
        assert!((14..22).contains(&low) && (40..50).contains(&high), "{low} to {high}");
        assert_eq!(resampled(8, |_| None::<u64>), None);
    }

    #[test]
    fn ranks_are_those_of_the_published_table() {
        // Ranks of 95 % intervals: Conover, Practical Nonparametric Statistics, 3rd ed. 1999, table A3.
        let ranks = [(5, None), (6, Some(1)), (8, Some(1)), (9, Some(2)), (12, Some(3)), (20, Some(6))];
        for (count, rank) in ranks {
            assert_eq!(interval_rank(count), rank, "{count} values");
        }
        // 5000 − 1.96 · √10000 / 2.
        assert!(interval_rank(10_000).unwrap().abs_diff(4902) <= 1);
    }

    #[test]
    fn fewer_than_six_values_have_a_range_and_no_level() {
        let three = Estimate::of(&[180.0, 174.0, 182.5]).unwrap();
        assert_eq!((three.low, three.high, three.level, three.count), (174.0, 182.5, None, 3));
        assert_eq!(three.relative_half_width(), None);
        assert_eq!(three.spread(display::significant), "174 to 182, range of 3");
        assert_eq!(Estimate::of(&[5.0]).unwrap().spread(display::significant), "a single value");
        assert_eq!(Estimate::of(&[1.0; 5]).unwrap().level, None);
        assert_eq!(Estimate::of(&[]), None);
        assert!(serde_json::to_value(three).unwrap()["level"].is_null());
    }

    #[test]
    fn intervals_hold_the_median_and_repeat() {
        let values = [10.0, 11.0, 9.0, 10.5, 9.5, 10.2, 9.8];
        let estimate = Estimate::of(&values).unwrap();
        assert_eq!((estimate.low, estimate.median, estimate.high), (9.0, 10.0, 11.0));
        assert_eq!((estimate.level, estimate.count), (Some(0.95), 7));
        assert_eq!(estimate.spread(display::significant), "± 10.0 % within this run");
        assert_eq!(Estimate::of(&values), Some(estimate));
        assert_eq!(Estimate::of(&[5.0; 6]).unwrap().relative_half_width(), Some(0.0));
        let zero = Estimate::of(&[-1.0, -1.0, 0.0, 0.0, 2.0, 2.0]).unwrap();
        assert_eq!(zero.spread(display::significant), "-1.00 to 2.00, interval of 6");
    }
}
