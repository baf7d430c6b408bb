//! Heat: throttling, and the speed of a warm machine.

use super::{FindingCode, Found, Use};
use crate::result::RunResult;

/// Speed after a minute divided by that of the first seconds, below which the difference is reported: 5 % is more than
/// clocks vary by on a machine that is not limited.
const SUSTAINED_SHARE: f64 = 0.95;

/// Throttled from a token on: claims what the firmware's counters or flags reported during tokens.
pub(super) fn throttled(result: &RunResult) -> Option<Found> {
    let conditions = &result.conditions;
    let (first, throttled) = (conditions.first_throttled()?, conditions.throttled?);
    let all = throttled.tokens.saturating_add(conditions.clean.map_or(0, |clean| clean.tokens));
    let slower = match conditions.clean {
        Some(clean) => {
            format!(": {:.1} tokens/s instead of {:.1}", throttled.tokens_per_s, clean.tokens_per_s)
        }
        None => String::new(),
    };
    let share = throttled.tokens as f64 / all.max(1) as f64;
    Some(
        Found::new(FindingCode::Throttled, Use::Doubt, share)
            .reason(format!(
                "throttled from token {} of repetition {} on, {} of {all} tokens{slower}",
                first.token, first.repetition, throttled.tokens
            ))
            .figure("tokens that were throttled", throttled.tokens as f64, "")
            .figure("speed of these", throttled.tokens_per_s, "tokens/s")
            .known("speed of the others", conditions.clean.map(|clean| clean.tokens_per_s), "tokens/s")
            .known("temperature at the first of them", first.celsius, "°C")
            .advice(
                "Cool the machine or raise its power limit; the figures of unthrottled tokens are listed separately.",
            ),
    )
}

/// Burst against sustained: decode after a minute is slower than in the first ten seconds by 5 % or more.
pub(super) fn sustained(result: &RunResult) -> Option<Found> {
    let (burst, sustained) = (result.conditions.burst?, result.conditions.sustained?);
    if sustained.tokens_per_s >= SUSTAINED_SHARE * burst.tokens_per_s {
        return None;
    }
    Some(
        Found::new(
            FindingCode::SustainedSlower,
            Use::Explanation,
            1.0 - sustained.tokens_per_s / burst.tokens_per_s,
        )
        .reason(format!(
            "{:.1} tokens/s after a minute, {:.1} in the first ten seconds",
            sustained.tokens_per_s, burst.tokens_per_s
        ))
        .figure("after a minute", sustained.tokens_per_s, "tokens/s")
        .figure("in the first ten seconds", burst.tokens_per_s, "tokens/s")
        .advice("Quote the sustained figure for long answers; short ones get the burst."),
    )
}
