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
        let counted = match (&traffic.source, &traffic.reason) {
            (_, Some(reason)) => format!("{ABSENT} ({reason})"),
            (source, None) => {
                format!(
                    "{} counted by {}",
                    rate(traffic.measured_bytes_per_s),
                    source.as_deref().unwrap_or(ABSENT)
                )
            }
        };
        let _ = writeln!(
            text,
            "  {}: {}; {counted}",
            traffic.phase.as_str(),
            rate(traffic.derived_wall_bytes_per_s)
        );
    }
    section(text, "conditions of decode", style);
    let conditions = &result.conditions;
    let range = |values: &mut dyn Iterator<Item = f64>, unit| {
        let ends = values.fold(None, |ends: Option<(f64, f64)>, value| {
            Some(ends.map_or((value, value), |(low, high)| (low.min(value), high.max(value))))
        });
        or_absent(ends, |(low, high)| {
            format!("{} to {}", display::value(low, unit), display::value(high, unit))
        })
    };
    let stamps = || conditions.tokens.iter();
    let _ = writeln!(
        text,
        "  clock {}; temperature {}",
        range(&mut stamps().filter_map(|stamp| stamp.frequency_hz), Unit::Hertz),
        range(&mut stamps().filter_map(|stamp| stamp.celsius), Unit::Celsius)
    );
    let split = |split: Option<Split>| {
        or_absent(split, |split| {
            format!("{} tokens/s over {} tokens", display::significant(split.tokens_per_s), split.tokens)
        })
    };
    if let Some(reason) = &conditions.reason {
        let _ = writeln!(text, "  throttling {ABSENT} ({reason})");
    } else {
        let (clean, throttled) = (split(conditions.clean), split(conditions.throttled));
        let _ = writeln!(text, "  clean {clean}; throttled {throttled}");
    }
    let (burst, sustained) = (split(conditions.burst), split(conditions.sustained));
    let _ = writeln!(text, "  first 10 s {burst}; after 60 s {sustained}");
}
