//! The roofs: how fast this machine can read memory and compute at most.

use std::fmt::Write;

use slmscope_profiles::display::{self, ABSENT, or_absent};
use slmscope_profiles::result::RunResult;
use slmscope_profiles::stats::Estimate;

use super::section;
use crate::style::Style;

/// The roofs with the range of their samples, and how they were measured.
pub(super) fn render(text: &mut String, result: &RunResult, style: Style) {
    section(text, "roofs of this machine (measured: median and range of the samples)", style);
    let roofs = &result.roofs;
    if let Some(reason) = &roofs.reason {
        let _ = writeln!(text, "  {}", style.wrap_words(&format!("{ABSENT} ({reason})"), 4));
        return;
    }
    let rate = |roof: Option<Estimate>, show: fn(f64) -> String| {
        or_absent(roof, |roof| format!("{} ({} to {})", show(roof.median), show(roof.low), show(roof.high)))
    };
    let _ = writeln!(text, "  read {}", rate(roofs.read_bytes_per_s, display::bytes_per_second));
    let _ = writeln!(text, "  f32  {}", rate(roofs.f32_flops_per_s, display::flops_per_second));
    let _ = writeln!(text, "  int8 {}", rate(roofs.int8_ops_per_s, display::ops_per_second));
    let age = match roofs.age_ns {
        Some(0) | None => "before and after the measured runs".to_owned(),
        Some(age) => format!("{} before the end of these runs", display::duration(age)),
    };
    let how = format!(
        "{}, {}, {}, {age}",
        display::plural(roofs.samples, "sample"),
        display::plural(u64::from(roofs.threads), "thread"),
        roofs.isa.as_deref().unwrap_or(ABSENT)
    );
    super::note(text, &how, style);
}
