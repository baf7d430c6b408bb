//! Keeps the recorder's cost within a budget: tokens are recorded whole or not at all, as many as the budget allows.
//!
//! The cost of one event is measured once, and the length of a token is known from the one before it, so the
//! cost of recording a token is a share of the token's time. Each token adds its share of the budget to a credit; a
//! token is recorded when the credit covers its cost. The first credit is random, so that a pattern of the model with
//! the same period is neither always recorded nor never.

use slmscope_engine::clock::{Clock, Ticks};
use slmscope_engine::recorder::Recorder;

/// Events that are recorded to measure the cost of one.
const TRIAL_EVENTS: usize = 4096;

/// Decides which tokens are recorded.
#[derive(Debug, Clone)]
pub(super) struct RecordingBudget {
    /// Share of the time that recording may take, 0 to 1; `None` for no limit.
    limit: Option<f64>,
    /// Time to record a token, ns.
    cost_ns: f64,
    /// Credit so far, in tokens.
    credit: f64,
    /// Wall time of the last token; `None` before the first.
    token_ns: Option<u64>,
}

impl RecordingBudget {
    /// A budget for tokens that take `cost_ns` to record; `credit`, 0 to 1, is what it starts with.
    pub(super) fn new(limit: Option<f64>, cost_ns: f64, credit: f64) -> Self {
        Self { limit, cost_ns, credit, token_ns: None }
    }

    /// Whether to record the next token.
    pub(super) fn should_record(&mut self) -> bool {
        let Some(limit) = self.limit else { return true };
        // The length of the first token is unknown: it is recorded if the budget allows anything at all.
        let earned = self.token_ns.map_or(f64::INFINITY, |ns| ns as f64) * limit / self.cost_ns;
        self.credit += if earned.is_nan() { 0.0 } else { earned.min(1.0) };
        let is_covered = self.credit >= 1.0;
        if is_covered {
            self.credit -= 1.0;
        }
        is_covered
    }

    /// Notes that the token took `ns`, recorded or not.
    pub(super) fn observe(&mut self, ns: u64) {
        self.token_ns = Some(ns);
    }
}

/// Measures what recording one event costs on this machine, ns: two readings of the clock, the store, and the copy
/// into the ring.
pub(super) fn measure_event_cost_ns(clock: &mut Ticks) -> f64 {
    let mut recorder = Recorder::new(TRIAL_EVENTS);
    let mut copy = Vec::with_capacity(TRIAL_EVENTS);
    let mut best = f64::INFINITY;
    // The first round maps the memory.
    for _ in 0..3 {
        copy.clear();
        let begin = clock.align();
        recorder.begin(begin);
        for site in 0..TRIAL_EVENTS as u16 {
            let begin = clock.now_ns();
            recorder.close(site, begin, clock.now_ns());
        }
        copy.extend_from_slice(recorder.recorded().map_or(&[], |recorded| recorded.events));
        std::hint::black_box(&copy);
        best = best.min((clock.align() - begin) as f64 / TRIAL_EVENTS as f64);
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which of `tokens` tokens of 1 ms are recorded, at 16 µs each.
    fn recorded(limit: Option<f64>, credit: f64, tokens: usize) -> Vec<usize> {
        let mut budget = RecordingBudget::new(limit, 16_000.0, credit);
        budget.observe(1_000_000);
        let mut found = Vec::new();
        for token in 0..tokens {
            if budget.should_record() {
                found.push(token);
            }
            budget.observe(1_000_000);
        }
        found
    }

    #[test]
    fn as_many_tokens_as_the_budget_allows() {
        assert_eq!(recorded(None, 0.0, 100).len(), 100);
        assert_eq!(recorded(Some(0.03), 0.0, 100).len(), 100, "cheaper than the budget");
        // 1.6 % is what all of them cost; half of that is every other one.
        assert_eq!(recorded(Some(0.008), 0.0, 100), (1..100).step_by(2).collect::<Vec<_>>());
        assert_eq!(recorded(Some(0.001), 0.5, 100), [7, 23, 39, 55, 71, 87]);
        assert!(recorded(Some(0.0), 0.99, 1000).is_empty());
    }

    #[test]
    fn the_first_token_of_unknown_length_is_recorded_and_slower_ones_earn_more() {
        let mut budget = RecordingBudget::new(Some(0.001), 20_000.0, 0.0);
        assert!(budget.should_record());
        budget.observe(1_000_000);
        assert!(!budget.should_record());
        budget.observe(20_000_000);
        assert!(budget.should_record());
        let mut nothing = RecordingBudget::new(Some(0.0), 20_000.0, 0.0);
        assert!(!nothing.should_record());
    }

    #[test]
    fn an_event_has_a_cost() {
        let cost = measure_event_cost_ns(&mut Ticks::default());
        assert!(cost > 0.0 && cost.is_finite());
    }
}
