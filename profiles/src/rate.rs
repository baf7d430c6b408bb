//! Rates: amounts divided by time. There are two, and they are never mixed:
//!
//! | of | divided by | says |
//! |---|---|---|
//! | an op, or several | the time of the ops | how fast the op itself moves bytes or computes |
//! | a phase | its wall time | how fast the model does, with all that is no op |

/// `amount` per second; `None` if no time passed.
pub fn per_second(amount: u64, ns: u64) -> Option<f64> {
    (ns > 0).then(|| amount as f64 * 1e9 / ns as f64)
}

/// The same for bytes and FLOPs of the plan. `None` also where the plan counts none: its rules leave activations
/// out, so an op that only moves those has no rate, which is not the same as a rate of zero.
pub fn counted_per_second(amount: u64, ns: u64) -> Option<f64> {
    per_second(amount, ns).filter(|_| amount > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_time_there_is_no_rate_and_without_a_count_no_figure() {
        assert_eq!((per_second(6, 2_000_000_000), per_second(6, 0)), (Some(3.0), None));
        assert_eq!((per_second(0, 1), counted_per_second(0, 1)), (Some(0.0), None));
        assert_eq!(counted_per_second(6, 2_000_000_000), Some(3.0));
    }
}
