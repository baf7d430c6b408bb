//! Thinning readings to the rate that a sink wants.

use slmscope_profiles::channel::ChannelId;

/// Lets through at most one reading of a source in a period.
#[derive(Debug, Default)]
pub(super) struct RateLimiter {
    /// By source, which its first channel stands for: the time of the last reading that was let through.
    last_ns: Vec<(ChannelId, u64)>,
}

impl RateLimiter {
    /// Whether to let through a reading of `source` at `t_ns`, if one in `period_ns` is wanted; 0 wants all.
    ///
    /// A reading that is early by a tenth of the period counts as due: sources and sinks have the same nominal rates,
    /// and a source's timer is not exact.
    pub(super) fn is_due(&mut self, source: ChannelId, t_ns: u64, period_ns: u64) -> bool {
        if period_ns == 0 {
            return true;
        }
        match self.last_ns.iter_mut().find(|(known, _)| *known == source) {
            Some((_, last)) if t_ns.saturating_sub(*last) + period_ns / 10 < period_ns => false,
            Some((_, last)) => {
                *last = t_ns;
                true
            }
            None => {
                self.last_ns.push((source, t_ns));
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_reading_a_period_of_each_source_and_a_tenth_of_tolerance() {
        let mut limiter = RateLimiter::default();
        let mut due = |source, t_ns| limiter.is_due(source, t_ns, 100);
        assert!(due(1, 1_000) && due(2, 1_000));
        assert!(!due(1, 1_089) && due(1, 1_090), "90 of 100 ns passed");
        assert!(!due(1, 1_179) && due(2, 1_179));
        assert!(!due(1, 5), "a clock that went back");
        assert!((0..9).all(|t_ns| limiter.is_due(3, t_ns, 0)));
    }
}
