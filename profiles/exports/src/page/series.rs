//! Values over time, thinned so that no peak is lost.

/// Values over time, at most so many. When there are more, the smallest and the largest of every four remain.
#[derive(Debug, Clone)]
pub(super) struct Series {
    points: Vec<(u64, f64)>,
    limit: usize,
}

impl Series {
    pub(super) fn new(limit: usize) -> Self {
        Self { points: Vec::new(), limit }
    }

    /// Adds a value. Times do not go back; a value whose time does is left out.
    pub(super) fn push(&mut self, t_ns: u64, value: f64) {
        if self.points.last().is_some_and(|&(last_ns, _)| t_ns < last_ns) {
            return;
        }
        if self.points.len() >= self.limit {
            self.points = thinned(&self.points, self.limit / 4);
        }
        self.points.push((t_ns, value));
    }

    /// At most twice `stretches` values, in the order of their times.
    pub(super) fn thinned(&self, stretches: usize) -> Vec<(u64, f64)> {
        if self.points.len() <= 2 * stretches {
            self.points.clone()
        } else {
            thinned(&self.points, stretches)
        }
    }
}

/// The smallest and the largest value of each of so many stretches of equally many values, in the order of time.
fn thinned(points: &[(u64, f64)], stretches: usize) -> Vec<(u64, f64)> {
    let length = points.len().div_ceil(stretches.max(1)).max(1);
    let mut kept = Vec::with_capacity(2 * stretches);
    for part in points.chunks(length) {
        let by_value = |a: &&(u64, f64), b: &&(u64, f64)| a.1.total_cmp(&b.1);
        let (Some(&low), Some(&high)) = (part.iter().min_by(by_value), part.iter().max_by(by_value)) else {
            continue;
        };
        let (first, second) = if low.0 <= high.0 { (low, high) } else { (high, low) };
        kept.push(first);
        if first != second {
            kept.push(second);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_peak_is_never_lost_and_times_stay_in_order() {
        for peak in [0_u64, 1, 4_999, 50_000, 99_999] {
            let mut series = Series::new(1_000);
            for t in 0..100_000_u64 {
                series.push(t, if t == peak { 99.0 } else { (t % 7) as f64 });
            }
            let kept = series.thinned(100);
            assert!(kept.len() <= 200, "{}", kept.len());
            assert!(kept.contains(&(peak, 99.0)), "the peak at {peak}");
            assert!(kept.iter().any(|&(_, value)| value == 0.0));
            assert!(kept.is_sorted_by_key(|&(t_ns, _)| t_ns));
        }
    }

    #[test]
    fn few_values_stay_as_they_are() {
        let mut series = Series::new(10);
        series.push(5, 1.0);
        series.push(3, 2.0);
        series.push(6, 3.0);
        assert_eq!(series.thinned(100), [(5, 1.0), (6, 3.0)]);
    }
}
