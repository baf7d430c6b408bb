//! What the machine can do, and what the run made of it.

use slmscope_profiles::channel::Unit;
use slmscope_profiles::display::{self, ABSENT, or_absent};
use slmscope_profiles::result::RunResult;
use slmscope_profiles::stats::Estimate;

use super::html::Html;
use super::roofline;

/// Roofs, with the ops below them.
pub(super) fn section(html: &mut Html, result: &RunResult) {
    html.section("roofs", "What the machine can do");
    let roofs = &result.roofs;
    if let Some(reason) = &roofs.reason {
        html.paragraph("note", &format!("— {reason}"));
        return;
    }
    let row = |name: &str, roof: Option<Estimate>, show: fn(f64) -> String| {
        vec![
            name.to_owned(),
            or_absent(roof, |roof| show(roof.median)),
            or_absent(roof, |roof| show(roof.low)),
            or_absent(roof, |roof| show(roof.high)),
        ]
    };
    let rows = [
        row("reading memory", roofs.read_bytes_per_s, display::bytes_per_second),
        row("f32 arithmetic", roofs.f32_flops_per_s, display::flops_per_second),
        row("int8 arithmetic", roofs.int8_ops_per_s, display::ops_per_second),
    ];
    let columns = [("roof", true), ("median", false), ("lowest", false), ("highest", false)];
    html.table("Measured right before and after the run, with its threads and kernels", &columns, &rows);
    roofline::draw(html, result);
    let traffic: Vec<Vec<String>> = result
        .bandwidth
        .iter()
        .map(|traffic| {
            let peak = roofs.read_bytes_per_s.map(|roof| roof.median).filter(|&roof| roof > 0.0);
            let derived = traffic.derived_wall_bytes_per_s;
            let share = derived.zip(peak).map(|(derived, peak)| derived / peak);
            let measured = match &traffic.reason {
                Some(reason) => format!("{ABSENT} ({reason})"),
                None => {
                    or_absent(traffic.measured_bytes_per_s, |rate| display::value(rate, Unit::BytesPerSecond))
                }
            };
            vec![
                traffic.phase.as_str().to_owned(),
                or_absent(derived, |rate| display::value(rate, Unit::BytesPerSecond)),
                or_absent(share, display::share),
                measured,
            ]
        })
        .collect();
    let columns =
        [("phase", true), ("derived", false), ("of the roof", false), ("counted by the machine", true)];
    html.table("Memory traffic of the phases, bytes divided by wall time", &columns, &traffic);
}
