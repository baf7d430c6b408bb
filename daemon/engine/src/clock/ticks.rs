//! CLOCK_MONOTONIC from the core's counter, for the many clock reads within a token.
//!
//! At the begin and end of a token, both the kernel's clock and the counter are read, which gives the length of a
//! tick. Within the token only the counter is read, at less than half the cost. The kernel's clock is used for
//! everything if there is no steady counter, until the length of a tick is known, and when that length turns out to
//! have changed (a virtual machine that moved, a board that slept).

use super::counter;
use super::{Clock, Monotonic};

/// The ratio is taken over no less than this: reading both clocks is off by some tens of ns.
const SHORTEST_NS: u64 = 50_000_000;
/// And over not much more: clocks are disciplined, and the ratio follows.
const LONGEST_NS: u64 = 2_000_000_000;
/// Most that the ratio may change from one token to the next; clocks are slewed by 500 ppm at most.
const STEADY: f64 = 0.001;
/// Ratios have so many bits behind the point.
const POINT: u32 = 32;

/// Both clocks at one moment.
#[derive(Debug, Clone, Copy)]
struct Reading {
    ns: u64,
    ticks: u64,
}

impl Reading {
    fn take() -> Self {
        let before = counter::read();
        let ns = Monotonic.now_ns();
        let ticks = counter::read();
        // An interrupt in between makes the middle worse than either end, by microseconds over 50 ms.
        Self { ns, ticks: before + ticks.saturating_sub(before) / 2 }
    }
}

/// A clock that is cheap to read between two [`align`](Ticks::align)s.
#[derive(Debug, Clone)]
pub struct Ticks {
    /// `None` without a steady counter.
    last: Option<Reading>,
    /// Where the ratio is measured from.
    since: Reading,
    /// Nanoseconds of a tick; 0 as long as it is not known.
    ratio: u64,
}

impl Default for Ticks {
    fn default() -> Self {
        let now = Reading::take();
        Self { last: counter::is_steady().then_some(now), since: now, ratio: 0 }
    }
}

impl Ticks {
    /// Reads the kernel's clock and continues from there. Call it at the begin and end of tokens.
    pub fn align(&mut self) -> u64 {
        if self.last.is_none() {
            return Monotonic.now_ns();
        }
        self.align_at(Reading::take())
    }

    fn align_at(&mut self, now: Reading) -> u64 {
        let passed_ns = now.ns.saturating_sub(self.since.ns);
        if passed_ns >= SHORTEST_NS {
            let passed = now.ticks.saturating_sub(self.since.ticks);
            let ratio = (u128::from(passed_ns) << POINT) / u128::from(passed.max(1));
            let change = (ratio as f64 - self.ratio as f64).abs();
            let is_steady = self.ratio == 0 || change <= STEADY * self.ratio as f64;
            // More than a second a tick is no counter.
            self.ratio = u64::try_from(ratio).ok().filter(|_| is_steady).unwrap_or(0);
            if !is_steady || passed_ns >= LONGEST_NS {
                self.since = now;
            }
        }
        self.last = Some(now);
        now.ns
    }

    fn at(&self, last: Reading, ticks: u64) -> u64 {
        let passed = u128::from(ticks.saturating_sub(last.ticks)) * u128::from(self.ratio);
        last.ns + (passed >> POINT) as u64
    }
}

impl Clock for Ticks {
    #[inline]
    fn now_ns(&self) -> u64 {
        match self.last {
            Some(last) if self.ratio != 0 => self.at(last, counter::read()),
            _ => Monotonic.now_ns(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// 3 ticks to 2 ns, from any start.
    fn reading(ns: u64) -> Reading {
        Reading { ns: 7 + ns, ticks: 1_000_003 + ns * 3 / 2 }
    }

    fn ticks() -> Ticks {
        Ticks { last: Some(reading(0)), since: reading(0), ratio: 0 }
    }

    #[test]
    fn ticks_become_nanoseconds_by_the_ratio_of_the_last_tokens() {
        let mut clock = ticks();
        clock.align_at(reading(SHORTEST_NS - 1));
        assert_eq!(clock.ratio, 0, "too short to know");
        for at in [SHORTEST_NS, SECOND, 3 * SECOND, 4 * SECOND] {
            assert_eq!(clock.align_at(reading(at)), 7 + at);
            let later = clock.at(reading(at), reading(at + 5_000_000).ticks);
            assert!(later.abs_diff(7 + at + 5_000_000) <= 1, "{later}");
        }
    }

    #[test]
    fn a_counter_that_jumps_is_not_used_until_it_is_known_again() {
        let mut clock = ticks();
        clock.align_at(reading(SECOND));
        assert_ne!(clock.ratio, 0);
        let jumped = |ns| Reading { ticks: reading(ns).ticks + 50_000_000, ..reading(ns) };
        clock.align_at(jumped(SECOND + 1000));
        assert_eq!(clock.ratio, 0);
        clock.align_at(jumped(SECOND + 2000));
        assert_eq!(clock.ratio, 0);
        clock.align_at(jumped(2 * SECOND));
        assert_ne!(clock.ratio, 0);
    }

    #[test]
    fn a_counter_that_went_back_stands_still() {
        let mut clock = ticks();
        clock.align_at(reading(SECOND));
        assert_eq!(clock.at(reading(SECOND), 5), 7 + SECOND);
    }

    #[test]
    fn a_counter_that_stands_still_is_no_clock() {
        let mut clock = ticks();
        clock.align_at(Reading { ns: 30 * SECOND, ticks: reading(0).ticks });
        assert_eq!(clock.ratio, 0);
    }

    #[test]
    fn this_machine_is_followed() {
        let mut clock = Ticks::default();
        let before = Monotonic.now_ns();
        let aligned = clock.align();
        assert!(
            before <= aligned && aligned <= clock.now_ns() && clock.now_ns() <= Monotonic.now_ns() + 1000
        );
    }
}
