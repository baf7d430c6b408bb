//! What can be measured on a machine, what cannot, and the one command that gains most: in one screen.

use std::fmt;

use slmscope_profiles::channel::{Quantity, ReasonCode, Scope, Unit, is_board_total};
use slmscope_profiles::display;
use slmscope_profiles::doctor::{Board, DoctorReport, DoctorRow};

use crate::style::Style;
use crate::table::{Align, Table};

/// Why a group has no reading: what the first of its channels says for which there is a remedy, or else the first.
pub(super) struct Reason(String);

impl Reason {
    pub(super) fn of<'a>(rows: impl Iterator<Item = &'a DoctorRow>, otherwise: &str) -> Self {
        let mut absent: Vec<_> = rows.filter(|row| row.reason.is_some()).collect();
        absent.sort_by_key(|row| row.remedy.is_none());
        let reason = absent.first().and_then(|row| row.reason.as_ref());
        Self(reason.map_or_else(|| otherwise.to_owned(), why))
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A reason in words: its detail says more than the kind of absence.
pub(super) fn why(reason: &slmscope_profiles::channel::Reason) -> String {
    if reason.detail.is_empty() { reason.to_string() } else { reason.detail.clone() }
}

/// The machine in a line or two.
pub(super) fn heading(report: &DoctorReport, style: Style) -> String {
    let board = report.board.name.as_deref().or(report.board.id.as_deref()).unwrap_or("unknown board");
    let heading = style.wrap(&format!("{board} — {}, read as {}", report.root, report.user), 0);
    let mut text = format!("{}\n", style.bold(&heading));
    let batteries = report.channels.iter().filter(|row| is_level(row)).filter_map(|row| row.value);
    let levels = batteries.map(|level| format!("battery {}", display::rough_share(level)));
    let facts: Vec<_> =
        [facts(&report.board)].into_iter().chain(levels).filter(|fact| !fact.is_empty()).collect();
    let facts = facts.join(" · ");
    if !facts.is_empty() {
        text.push_str(&format!("{}\n", style.dim(&style.wrap(&facts, 0))));
    }
    text
}

/// Each group in a line, and the remedy that gains most.
pub(super) fn render(report: &DoctorReport, style: Style) -> String {
    let mut can =
        Table::new(&[("can be measured", Align::Left), ("channels", Align::Right), ("now", Align::Left)]);
    let mut cannot = Table::new(&[("cannot be measured", Align::Left), ("why", Align::Left)]);
    for quantity in Quantity::ALL {
        let rows = || report.channels.iter().filter(move |row| row.quantity == quantity);
        let title = quantity.title().to_owned();
        let readable = rows().filter(|row| is_readable(row)).count();
        if readable == 0 {
            cannot.row([title, Reason::of(rows(), "no interface").to_string()]);
            continue;
        }
        let all = rows().count();
        let channels = if readable == all { all.to_string() } else { format!("{readable} of {all}") };
        can.row([title, channels, best(rows()).map_or_else(String::new, |row| reading(report, row))]);
    }
    let mut text = String::new();
    for table in [can, cannot].into_iter().filter(|table| !table.is_empty()) {
        text.push('\n');
        text.push_str(&table.render(style));
    }
    match most_useful(report) {
        Some((remedy, gained)) => {
            let gained = display::plural(gained as u64, "channel");
            let told = format!("what gains most ({gained}): {remedy}");
            text.push_str(&format!("{}\n", style.warn(&style.wrap_command(&told, 0))));
        }
        None => text.push_str("no command would make more of it readable\n"),
    }
    let hint = "`slmscope doctor power` lists the channels of a group, `doctor all` all of them";
    text.push_str(&format!("{}\n", style.dim(&style.wrap(hint, 0))));
    text
}

/// Has a value, or would have one after a second reading.
fn is_readable(row: &DoctorRow) -> bool {
    row.value.is_some()
        || row.reason.as_ref().is_some_and(|reason| reason.code == ReasonCode::NeedsTwoReadings)
}

/// The reading that says most about its group: the one of the most, and no running total.
pub(super) fn best<'a>(rows: impl Iterator<Item = &'a DoctorRow>) -> Option<&'a DoctorRow> {
    const FIRST: [&str; 5] = ["cpu.machine", "mem.available", "psi.cpu.some", "gpu0.busy", "npu0.busy"];
    let rank = |row: &&DoctorRow| {
        let is_first = FIRST.contains(&&*row.id) || is_board_total(&row.id) && row.value.is_some();
        (
            !is_first,
            row.value.is_none(),
            !row.scope.is_whole(),
            !row.scope.computes(),
            row.unit == Unit::Seconds,
            is_level(row),
        )
    };
    rows.filter(|row| is_readable(row)).min_by_key(rank)
}

/// Whether it is how full a battery is.
fn is_level(row: &DoctorRow) -> bool {
    row.scope == Scope::Battery && row.unit == Unit::Ratio
}

/// A reading with its name.
pub(super) fn reading(report: &DoctorReport, row: &DoctorRow) -> String {
    match report.reading(row) {
        Some(value) => format!("{} {value}", row.id),
        None => format!("{}, from the second reading on", row.id),
    }
}

/// The remedy after which the most can be measured, and how many channels it makes readable. Power and energy, and
/// groups without any reading, weigh more than further channels.
fn most_useful(report: &DoctorReport) -> Option<(&str, usize)> {
    let has_reading =
        |quantity| report.channels.iter().any(|row| row.quantity == quantity && is_readable(row));
    let mut remedies: Vec<(&str, (bool, bool, usize))> = Vec::new();
    for row in &report.channels {
        let Some(remedy) = row.remedy.as_deref() else { continue };
        let is_new = !has_reading(row.quantity);
        let is_power = matches!(row.quantity, Quantity::Energy | Quantity::Power);
        let gain = match remedies.iter_mut().find(|(found, _)| *found == remedy) {
            Some((_, gain)) => gain,
            None => &mut remedies.push_mut((remedy, (false, false, 0))).1,
        };
        *gain = (gain.0 || is_power && is_new, gain.1 || is_new, gain.2 + 1);
    }
    let best = remedies.into_iter().rev().max_by_key(|(_, gain)| *gain);
    best.map(|(remedy, (_, _, channels))| (remedy, channels))
}

/// What limits the board's speed, in one line; empty where nothing reports it.
fn facts(board: &Board) -> String {
    let named = |name: &str, value: &Option<String>| value.as_ref().map(|value| format!("{name} {value}"));
    let governors = (!board.governors.is_empty()).then(|| board.governors.join(", "));
    let cores = board.cores.iter().map(|kind| format!("{} × {}", kind.cpus.len(), kind.name));
    let cores = Some(cores.collect::<Vec<_>>().join(" + ")).filter(|cores| !cores.is_empty());
    let parts =
        [cores, board.release.clone(), named("power mode", &board.power_mode), named("governor", &governors)];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" · ")
}

#[cfg(test)]
mod tests {
    use slmscope_profiles::channel::Reason as Why;

    use super::super::tests::{report, row};
    use super::*;

    fn absent(id: &str, quantity: Quantity, code: ReasonCode, remedy: Option<&str>) -> DoctorRow {
        let remedy = remedy.map(str::to_owned);
        DoctorRow { quantity, reason: Some(Why::new(code, "")), remedy, ..row(id, None, "") }
    }

    #[test]
    fn the_command_that_gains_most_opens_power_first() {
        let mut report = report();
        assert_eq!(most_useful(&report), None);
        let (denied, missing) = (ReasonCode::Permission, ReasonCode::NoSuchInterface);
        for fan in ["fan.a", "fan.b", "fan.c"] {
            report.channels.push(absent(fan, Quantity::Fan, missing, Some("modprobe fans")));
        }
        assert_eq!(most_useful(&report), Some(("modprobe fans", 3)));
        report.channels.push(absent("energy.package-0", Quantity::Energy, denied, Some("chmod energy")));
        assert_eq!(most_useful(&report), Some(("chmod energy", 1)));
        let text = render(&report, Style::narrow(80));
        assert!(text.contains("what gains most (1 channel): chmod energy"), "{text}");
    }

    #[test]
    fn the_reading_shown_is_a_processor_s_and_no_running_total() {
        let celsius = |id: &str, scope| DoctorRow { scope, ..row(id, Some(50.0), "") };
        let rows = [celsius("temp.nvme", Scope::Machine), celsius("temp.k10temp_Tctl", Scope::Package)];
        assert_eq!(best(rows.iter()).map(|row| &*row.id), Some("temp.k10temp_Tctl"));
        let total = DoctorRow { unit: Unit::Seconds, ..row("psi.io.some.time", Some(3.0), "") };
        let rows = [total, row("psi.io.some", Some(0.0), "")];
        assert_eq!(best(rows.iter()).map(|row| &*row.id), Some("psi.io.some"));
        assert_eq!(best([].iter()).map(|row: &DoctorRow| &*row.id), None);
    }

    #[test]
    fn a_group_without_a_reading_has_its_reason() {
        let text = render(&report(), Style::narrow(80));
        assert!(text.contains("CPU                1 of 4  cpu.machine 50.0 %"), "{text}");
        assert!(text.contains("no command would make more of it readable"), "{text}");
        assert!(text.lines().count() <= 24, "{text}");
    }
}
