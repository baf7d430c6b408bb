//! Whether a counter rises no faster than what it counts can draw.
//!
//! Some counters run far too fast, or jump and then continue normally. A difference across a jump means nothing, so
//! readings are refused until the counter has kept within the limit for a while.

use std::time::{Duration, Instant};

use slmscope_profiles::channel::{ReasonCode, Scope, Value, difference};

/// More than any package or part of one draws, W: the largest are built for about 1 kW.
const MAX_OF_PACKAGE: f64 = 2000.0;

/// No machine draws more, W: what `psys` and zones of unknown kind may count.
const MAX_OF_MACHINE: f64 = 50_000.0;

/// The window over which the power is computed: in a shorter one the counter's steps distort it.
const WINDOW: Duration = Duration::from_secs(1);

/// How late a reading may be on a busy machine. A generous guess, as is the limit.
const LATE: Duration = Duration::from_millis(100);

/// Watches one counter.
pub(super) struct Limit {
    /// W
    most: f64,
    /// Where the counter wraps, J.
    range: Option<f64>,
    /// Time and value, J, at which the window began.
    begin: Option<(Instant, f64)>,
    is_over: bool,
}

impl Limit {
    /// For what covers `scope` and wraps at `range`, J.
    pub(super) fn new(scope: &Scope, range: Option<f64>) -> Self {
        let most = match scope {
            Scope::Platform | Scope::Rail(_) => MAX_OF_MACHINE,
            _ => MAX_OF_PACKAGE,
        };
        Self { most, range, begin: None, is_over: false }
    }

    /// The reading, J, if it is plausible.
    pub(super) fn judge(&mut self, now: Instant, value: Value) -> Value {
        let Some(joules) = value.get() else { return value };
        let (since, before) = *self.begin.get_or_insert((now, joules));
        let elapsed = now.saturating_duration_since(since);
        // A counter without a range that went down was reset, which its readers see.
        let used = difference(before, joules, self.range);
        let is_over = used.is_some_and(|used| used > self.most * (elapsed + LATE).as_secs_f64());
        if is_over || used.is_none() || elapsed >= WINDOW {
            self.begin = Some((now, joules));
            self.is_over = is_over;
        }
        if self.is_over { Value::Absent(ReasonCode::Implausible) } else { value }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Times (ms) at which readings are accepted of a counter that shows `joules` every 10 ms for 4 s.
    fn believed(range: Option<f64>, joules: impl Fn(u64) -> f64) -> Vec<u64> {
        believed_of(&Scope::Package, range, joules)
    }

    fn believed_of(scope: &Scope, range: Option<f64>, joules: impl Fn(u64) -> f64) -> Vec<u64> {
        let begin = Instant::now();
        let mut limit = Limit::new(scope, range);
        let mut is_believed = |ms: u64| {
            limit.judge(begin + Duration::from_millis(ms), Value::Present(joules(ms))).get().is_some()
        };
        (0..4000).step_by(10).filter(|&ms| is_believed(ms)).collect()
    }

    #[test]
    fn what_can_be_drawn_is_believed_and_so_are_wraps_and_resets() {
        let all: Vec<u64> = (0..4000).step_by(10).collect();
        // 1 kW, in steps of 100 ms.
        assert_eq!(believed(None, |ms| (ms / 100 * 100) as f64), all);
        assert_eq!(believed(Some(700.0), |ms| (ms as f64 / 2.0) % 700.0), all);
        assert_eq!(believed(None, |ms| (ms as f64 / 2.0) % 700.0), all);
    }

    #[test]
    fn a_counter_that_runs_too_fast_is_not_believed_again() {
        let at = believed(None, |ms| 4.0 * ms as f64);
        assert_eq!(at.last(), Some(&100), "{at:?}");
        assert_eq!(believed_of(&Scope::Platform, None, |ms| 4.0 * ms as f64).len(), 400, "a large machine");
    }

    #[test]
    fn after_a_jump_a_window_has_to_pass() {
        let at = believed(None, |ms| 0.3 * ms as f64 + if ms >= 1500 { 1e6 } else { 0.0 });
        let gap: Vec<u64> = (0..4000).step_by(10).filter(|ms| !at.contains(ms)).collect();
        assert_eq!((gap.first(), gap.last(), gap.len()), (Some(&1500), Some(&2490), 100));
    }
}
