//! Memory traffic, and the conditions under which tokens were generated.

use std::fmt::Write;

use slmscope_profiles::channel::Unit;
use slmscope_profiles::conditions::Split;
use slmscope_profiles::display::{self, ABSENT, or_absent};
use slmscope_profiles::result::RunResult;

use super::section;
use crate::style::Style;

pub(super) fn render(text: &mut String, result: &RunResult, style: Style) {
    section(
        text,
        "memory traffic, bytes divided by wall time (derived from the plan; counted by the machine)",
        style,
    );
    let rate = |value| or_absent(value, |value| display::value(value, Unit::BytesPerSecond));
    for traffic in &result.bandwidth {
        let (phase, derived) = (traffic.phase.as_str(), rate(traffic.derived_wall_bytes_per_s));
        let counted = if traffic.reason.is_some() {
            ABSENT.to_owned()
        } else {
            let source = traffic.source.as_deref().unwrap_or(ABSENT);
            format!("{} counted by {source}", rate(traffic.measured_bytes_per_s))
        };
        let _ = writeln!(text, "  {}", style.wrap_words(&format!("{phase}: {derived}; {counted}"), 4));
    }
    let mut reasons: Vec<&str> =
        result.bandwidth.iter().filter_map(|traffic| traffic.reason.as_deref()).collect();
    reasons.dedup();
    for reason in reasons {
        super::note(text, &format!("{ABSENT}: {reason}"), style);
    }
    section(text, "conditions of decode", style);
    let conditions = &result.conditions;
    let range = |values: &mut dyn Iterator<Item = f64>, unit| {
        let ends = values.fold(None, |ends: Option<(f64, f64)>, value| {
            Some(ends.map_or((value, value), |(low, high)| (low.min(value), high.max(value))))
        });
        ends.map(|(low, high)| format!("{} to {}", display::value(low, unit), display::value(high, unit)))
    };
    let stamps = || conditions.tokens.iter();
    let clock = range(&mut stamps().filter_map(|stamp| stamp.frequency_hz), Unit::Hertz);
    let heat = range(&mut stamps().filter_map(|stamp| stamp.celsius), Unit::Celsius);
    let none = |why: &str| format!("{ABSENT} ({why})");
    let clock = clock.unwrap_or_else(|| none("nothing reported it"));
    let heat = heat.unwrap_or_else(|| none("no sensor of what computes"));
    let _ = writeln!(text, "  clock {clock}; temperature {heat}");
    let split = |split: Option<Split>, why: &str| {
        split.map_or_else(
            || none(why),
            |split| {
                format!("{} tokens/s over {} tokens", display::significant(split.tokens_per_s), split.tokens)
            },
        )
    };
    let line = if let Some(reason) = &conditions.reason {
        format!("throttling {ABSENT} ({reason})")
    } else {
        let clean = split(conditions.clean, "no token was");
        format!("not throttled {clean}; throttled {}", split(conditions.throttled, "no token was"))
    };
    let _ = writeln!(text, "  {}", style.wrap_words(&line, 4));
    let burst = split(conditions.burst, "nothing was decoded");
    let sustained = split(conditions.sustained, "decode took less than 60 s");
    let _ =
        writeln!(text, "  {}", style.wrap_words(&format!("first 10 s {burst}; after 60 s {sustained}"), 4));
}
