//! `--require`: which families have to have a reading, and whether they do.

use slmscope_profiles::channel::{ReasonCode, is_board_total};
use slmscope_profiles::doctor::{DoctorReport, DoctorRow};

use super::summary::{Reason, best, reading};
use crate::style::Style;
use crate::table::{Align, Table};

/// What can be required: the families of channels, in the order of `Quantity::ALL`.
pub(super) const FAMILIES: [&str; 12] =
    ["cpu", "freq", "mem", "membw", "energy", "power", "temp", "fan", "throttle", "psi", "gpu", "npu"];

/// The required families that have no reading.
pub(super) fn missing<'a>(report: &DoctorReport, required: &'a [String]) -> Vec<&'a str> {
    let has_none = |family: &&String| !report.channels.iter().any(|row| satisfies(row, family));
    required.iter().filter(has_none).map(String::as_str).collect()
}

/// Each required family with what satisfies it, or why nothing does.
pub(super) fn render(report: &DoctorReport, required: &[String], style: Style) -> String {
    let mut table =
        Table::new(&[("required", Align::Left), ("", Align::Left), ("reading, or why none", Align::Left)]);
    for family in required {
        let of_family = || report.channels.iter().filter(|row| head(row) == family);
        let (verdict, told) = match best(of_family().filter(|row| satisfies(row, family))) {
            Some(row) => ("yes", reading(report, row)),
            None => ("NO", Reason::of(of_family(), "no sensor of what is meant by it").to_string()),
        };
        table.row([family.clone(), verdict.to_owned(), told]);
    }
    table.render(style)
}

/// The family of a channel: `gpu` of `gpu0.busy`.
fn head(row: &DoctorRow) -> &str {
    row.id.split('.').next().unwrap_or("").trim_end_matches(|c: char| c.is_ascii_digit())
}

/// Whether the row is a reading of the required family.
fn satisfies(row: &DoctorRow, family: &str) -> bool {
    // A tree is read once. The machine that it was taken from can be read again.
    let has_reading = row.value.is_some()
        || row.reason.as_ref().is_some_and(|reason| reason.code == ReasonCode::NeedsTwoReadings);
    let is_meant = match family {
        "temp" => row.scope.computes(),
        "energy" | "power" => row.scope.is_whole() || is_board_total(&row.id),
        _ => true,
    };
    head(row) == family && has_reading && is_meant
}

#[cfg(test)]
mod tests {
    use slmscope_profiles::channel::{Reason, Scope};

    use super::super::tests::row;
    use super::*;

    #[test]
    fn what_is_required_is_a_processor_s_heat_and_a_whole_processor_s_power() {
        let row = |id: &str, scope: Scope, value| DoctorRow { scope, ..row(id, value, "") };
        let told = |id: &str, scope: Scope| row(id, scope, Some(1.0));
        assert!(!satisfies(&told("temp.nvme_Composite", Scope::Machine), "temp"));
        assert!(satisfies(&told("temp.k10temp_Tctl", Scope::Package), "temp"));
        assert!(!satisfies(&row("temp.cpu", Scope::Package, None), "temp"));
        assert!(!satisfies(&told("power.amdgpu_PPT", Scope::Gpu), "power"));
        assert!(satisfies(&told("power.board", Scope::Rail("A+B".to_owned())), "power"));
        let mut counter = row("power.package-0", Scope::Package, None);
        assert!(!satisfies(&counter, "power"));
        counter.reason = Some(Reason::new(ReasonCode::NeedsTwoReadings, ""));
        assert!(satisfies(&counter, "power"));
        assert!(satisfies(&told("gpu0.busy", Scope::GpuN(0)), "gpu"));
    }

    #[test]
    fn the_verdict_names_the_reading_or_the_reason() {
        let report = super::super::tests::report();
        let required = ["cpu".to_owned(), "temp".to_owned()];
        let text = render(&report, &required, Style::narrow(80));
        assert!(text.contains("cpu       yes  cpu.machine 50.0 %"), "{text}");
        assert!(text.contains("temp      NO   no sensor of what is meant by it"), "{text}");
        assert_eq!(missing(&report, &required), ["temp"]);
    }
}
