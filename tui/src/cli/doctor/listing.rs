//! The channels of a group as a table.

use slmscope_profiles::channel::{Quantity, ReasonCode};
use slmscope_profiles::display;
use slmscope_profiles::doctor::{DoctorReport, DoctorRow};

use super::summary::why;
use crate::style::Style;
use crate::table::{Align, Table};

const COLUMNS: [(&str, Align); 8] = [
    ("channel", Align::Left),
    ("reading", Align::Right),
    ("class", Align::Left),
    ("scope", Align::Left),
    ("period", Align::Right),
    ("new every", Align::Right),
    ("cost", Align::Right),
    ("source", Align::Left),
];

/// Columns that a narrow terminal leaves out, in this order.
const SPARE: [&str; 4] = ["new every", "cost", "period", "scope"];

/// The channels of these groups, each with a heading.
pub(super) fn render(report: &DoctorReport, groups: &[Quantity], style: Style) -> String {
    let mut text = String::new();
    let mut left_out = Vec::new();
    for &quantity in groups {
        let rows: Vec<_> = report.channels.iter().filter(|row| row.quantity == quantity).collect();
        text.push_str(&format!("\n{}\n", style.bold(quantity.title())));
        let mut table = Table::new(&COLUMNS);
        for line in lines(report, &rows) {
            table.row(line);
        }
        for column in table.fit(style, &SPARE) {
            if !left_out.contains(&column) {
                left_out.push(column);
            }
        }
        text.push_str(&table.render(style));
        let mut remedies: Vec<_> = rows.iter().filter_map(|row| row.remedy.as_deref()).collect();
        remedies.dedup();
        for remedy in remedies {
            let remedy = style.wrap_command(&format!("to enable it: {remedy}"), 2);
            text.push_str(&format!("  {}\n", style.warn(&remedy)));
        }
    }
    let mut notes = Vec::new();
    let has = |column: &str| !left_out.contains(&column);
    let reasons = [("period", "not sampled"), ("new every", "no new value was seen"), ("cost", "not read")];
    let reasons = reasons.iter().filter(|(column, _)| has(column));
    let reasons: Vec<_> = reasons.map(|(column, reason)| format!("{reason} ({column})")).collect();
    if !reasons.is_empty() {
        notes.push(format!("—: {}", reasons.join(", ")));
    }
    if !left_out.is_empty() {
        notes.push(format!("a wider terminal or --json also shows {}", left_out.join(", ")));
    }
    for note in notes {
        text.push_str(&format!("\n{}\n", style.dim(&style.wrap(&note, 0))));
    }
    text
}

/// A line for each row. Neighbouring channels that are missing for the same reason share one.
fn lines(report: &DoctorReport, rows: &[&DoctorRow]) -> Vec<[String; COLUMNS.len()]> {
    let alike = |a: &&DoctorRow, b: &&DoctorRow| {
        a.value.is_none() && a.reason == b.reason && a.class == b.class && stem(&a.id) == stem(&b.id)
    };
    let groups = rows.chunk_by(alike);
    groups
        .filter_map(|group| {
            let row = group.first()?;
            let id = match group.len() {
                1 => row.id.clone(),
                count => format!("{}.* ({count})", stem(&row.id)),
            };
            Some([
                id,
                display::or_absent(report.reading(row), |reading| reading),
                row.class.as_str().to_owned(),
                row.scope.to_string(),
                display::or_absent(row.period_ns, display::duration),
                display::or_absent(row.update_ns, display::duration),
                display::or_absent(row.cost_ns, display::duration),
                match &row.reason {
                    Some(reason) if reason.code == ReasonCode::NeedsTwoReadings => {
                        format!("needs a second reading: {}", row.source)
                    }
                    Some(reason) => why(reason),
                    None => row.source.clone(),
                },
            ])
        })
        .collect()
}

/// The first two words of an id: `cpu.worker` of `cpu.worker.wait`.
fn stem(id: &str) -> &str {
    id.match_indices('.').nth(1).map_or(id, |(at, _)| id.get(..at).unwrap_or(id))
}

#[cfg(test)]
mod tests {
    use super::super::tests::report;
    use super::*;

    fn cpu(style: Style) -> String {
        render(&report(), &[Quantity::Cpu], style)
    }

    #[test]
    fn what_is_missing_for_one_reason_takes_one_line() {
        let text = cpu(Style::plain());
        assert!(text.contains("cpu.worker.* (2)"), "{text}");
        assert!(text.contains("cpu.worker.slices"), "{text}");
        assert!(text.contains("100 ms") && text.contains("12.0 µs"), "{text}");
        assert!(!text.contains("wider terminal"), "{text}");
    }

    #[test]
    fn a_narrow_terminal_keeps_readings_and_reasons() {
        for width in [0, 40, 60, 80, 100] {
            let text = cpu(Style::narrow(width));
            let readable = width.max(72);
            assert!(text.lines().all(|line| line.chars().count() <= readable.max(81)), "{width}: {text}");
            for word in ["50", "process", "moment", "/proc/stat", "measured"] {
                assert!(text.contains(word), "{width}, {word}: {text}");
            }
        }
        assert!(cpu(Style::narrow(80)).contains("wider terminal"));
    }
}
