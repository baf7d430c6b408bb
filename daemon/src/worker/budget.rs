//! Keeps the recorder's cost within a budget: tokens are recorded whole or not at all, as many as the budget
//! pays for.
//!
//! What a token's events cost is tried out once, what the token takes is known from the one before, so its price
//! is a share of its time; a token is recorded when what the budget has put aside since the last one pays for
//! it. The first goes at a random time, so that nothing periodic in the model is always, or never, looked at.

use slmscope_engine::clock::{Clock, Ticks};
use slmscope_engine::recorder::Recorder;

/// Events to find what one costs.
const TRIED: usize = 4096;

/// Decides which tokens are recorded.
#[derive(Debug, Clone)]
pub(super) struct Purse {
    /// Share of the time that recording may take; `None` for all that it takes.
    budget: Option<f64>,
    /// What recording a token costs, ns.
    price_ns: f64,
    /// Put aside so far, in tokens.
    saved: f64,
    /// What the last token took; `None` before the first.
    token_ns: Option<u64>,
}

impl Purse {
    /// For tokens that cost `price_ns` to record; `start`, from 0 to 1, is what the first has put aside.
    pub(super) fn new(budget: Option<f64>, price_ns: f64, start: f64) -> Self {
        Self { budget, price_ns, saved: start, token_ns: None }
    }

    /// Whether the next token is recorded.
    pub(super) fn pays(&mut self) -> bool {
        let Some(budget) = self.budget else { return true };
        // A first token of unknown length is looked at if anything is.
        let earned = self.token_ns.map_or(f64::INFINITY, |ns| ns as f64) * budget / self.price_ns;
        self.saved += if earned.is_nan() { 0.0 } else { earned.min(1.0) };
        let pays = self.saved >= 1.0;
        if pays {
            self.saved -= 1.0;
        }
        pays
    }

    /// The token that was asked about took `ns`.
    pub(super) fn passed(&mut self, ns: u64) {
        self.token_ns = Some(ns);
    }
}

/// What recording an event costs here and now, ns: two looks at the clock, the store, and the copy that leaves
/// the process.
pub(super) fn event_price_ns(clock: &mut Ticks) -> f64 {
    let mut recorder = Recorder::new(TRIED);
    let mut copy = Vec::with_capacity(TRIED);
    let mut best = f64::INFINITY;
    // The first round brings memory in.
    for _ in 0..3 {
        copy.clear();
        let begin = clock.align();
        recorder.begin(begin);
        for site in 0..TRIED as u16 {
            let begin = clock.now_ns();
            recorder.close(site, begin, clock.now_ns());
        }
        copy.extend_from_slice(recorder.recorded().map_or(&[], |recorded| recorded.events));
        std::hint::black_box(&copy);
        best = best.min((clock.align() - begin) as f64 / TRIED as f64);
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which of `tokens` tokens of 1 ms are recorded, at 16 µs each.
    fn recorded(budget: Option<f64>, start: f64, tokens: usize) -> Vec<usize> {
        let mut purse = Purse::new(budget, 16_000.0, start);
        purse.passed(1_000_000);
        let mut found = Vec::new();
        for token in 0..tokens {
            if purse.pays() {
                found.push(token);
            }
            purse.passed(1_000_000);
        }
        found
    }

    #[test]
    fn as_many_tokens_as_the_budget_pays_for() {
        assert_eq!(recorded(None, 0.0, 100).len(), 100);
        assert_eq!(recorded(Some(0.03), 0.0, 100).len(), 100, "cheaper than the budget");
        // 1.6 % is what all of them cost; half of that is every other one.
        assert_eq!(recorded(Some(0.008), 0.0, 100), (1..100).step_by(2).collect::<Vec<_>>());
        assert_eq!(recorded(Some(0.001), 0.5, 100), [7, 23, 39, 55, 71, 87]);
        assert!(recorded(Some(0.0), 0.99, 1000).is_empty());
    }

    #[test]
    fn the_first_token_of_unknown_length_is_recorded_and_slower_ones_pay_more() {
        let mut purse = Purse::new(Some(0.001), 20_000.0, 0.0);
        assert!(purse.pays());
        purse.passed(1_000_000);
        assert!(!purse.pays());
        purse.passed(20_000_000);
        assert!(purse.pays());
        let mut nothing = Purse::new(Some(0.0), 20_000.0, 0.0);
        assert!(!nothing.pays());
    }

    #[test]
    fn an_event_has_a_price() {
        let price = event_price_ns(&mut Ticks::default());
        assert!(price > 0.0 && price.is_finite());
    }
}
