//! `slmscope doctor`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use slmscope_profiles::channel::{Quantity, ReasonCode, is_board_total};
use slmscope_profiles::display;
use slmscope_profiles::doctor::{Board, DoctorReport, DoctorRow};
use slmscope_profiles::wire::Method;

use crate::connect::{self, Target};
use crate::embedded;
use crate::failure::{Failure, print, print_json};
use crate::style::Style;
use crate::table::{Align, Table};

/// Options of `doctor`.
#[derive(Debug, Args)]
#[command(
    after_help = "If a daemon is running, it makes the report, because its permissions decide what is recorded. \
Otherwise, and with --root, this process reads the probes itself.

Columns:
  period     time between two readings during a workload
  new every  time between two new values of the sensor, as observed
  cost       CPU time of one reading of its source

Exit codes: 0 success, 1 error, 2 wrong flags, 4 a family of --require has no reading."
)]
pub struct DoctorArgs {
    /// Read a directory that is laid out like /, or a capture made with --bundle, instead of this machine
    #[arg(long, value_name = "DIR|FILE")]
    root: Option<PathBuf>,
    /// Write the files that the probes read to a tar archive, for --root on another machine; serial numbers,
    /// hardware addresses, host names and user names are replaced
    #[arg(long, value_name = "FILE", conflicts_with_all = ["require", "json"])]
    bundle: Option<PathBuf>,
    /// Exit with 4 if one of these families has no reading: cpu freq mem membw energy power temp fan throttle psi gpu
    /// npu. For temp, a processor's sensor is required; for energy and power, that of a whole processor or the board.
    /// Power from an energy counter counts, although it has no value before the second reading
    #[arg(long, value_name = "FAMILIES", value_delimiter = ',')]
    require: Vec<String>,
    /// Print the report as one JSON object
    #[arg(long)]
    json: bool,
}

/// Prints the report, or writes a capture.
///
/// # Errors
/// If the probes cannot be read, or a required family has no reading.
pub fn run(args: &DoctorArgs, target: &Target) -> Result<ExitCode, Failure> {
    const FAMILIES: [&str; 12] =
        ["cpu", "freq", "mem", "membw", "energy", "power", "temp", "fan", "throttle", "psi", "gpu", "npu"];
    if let Some(unknown) = args.require.iter().find(|family| !FAMILIES.contains(&family.as_str())) {
        return Err(Failure::usage(format!(
            "--require: there is no family `{unknown}`; the families are {}",
            FAMILIES.join(" ")
        )));
    }
    if let Some(file) = &args.bundle {
        let (files, failed, redacted) = embedded::capture(args.root.as_deref(), file)?;
        let file = file.display();
        print(&format!(
            "{file}: {files} files, {failed} of which could not be read (the archive says why); {redacted} values \
             replaced. Check its contents before you share it.\n"
        ))?;
        return Ok(ExitCode::SUCCESS);
    }
    let report = report(args, target)?;
    if args.json {
        print_json(&report)?;
    } else {
        print(&render(&report, Style::of_stdout()))?;
    }
    let is_missing = |family: &&String| !report.channels.iter().any(|row| satisfies(row, family));
    let missing: Vec<_> = args.require.iter().filter(is_missing).map(String::as_str).collect();
    if missing.is_empty() {
        Ok(ExitCode::SUCCESS)
    } else {
        Err(Failure::check(format!("no reading of {}", missing.join(", "))))
    }
}

/// Whether the row is a reading of the required family.
fn satisfies(row: &DoctorRow, family: &str) -> bool {
    let head = row.id.split('.').next().unwrap_or("").trim_end_matches(|c: char| c.is_ascii_digit());
    // A tree is read once. The machine that it was taken from can be read again.
    let has_reading = row.value.is_some()
        || row.reason.as_ref().is_some_and(|reason| reason.code == ReasonCode::NeedsTwoReadings);
    let is_meant = match family {
        "temp" => row.scope.computes(),
        "energy" | "power" => row.scope.is_whole() || is_board_total(&row.id),
        _ => true,
    };
    head == family && has_reading && is_meant
}

fn report(args: &DoctorArgs, target: &Target) -> Result<DoctorReport, Failure> {
    if args.root.is_none()
        && let Some(mut connection) = connect::running(target)?
    {
        let answer = connection.call(Method::Doctor {}, &[])??;
        return serde_json::from_value(answer)
            .map_err(|error| Failure::error(format!("the daemon's report cannot be read: {error}")));
    }
    embedded::doctor(args.root.as_deref())
}

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

/// The report as text.
pub fn render(report: &DoctorReport, style: Style) -> String {
    let board = report.board.name.as_deref().or(report.board.id.as_deref()).unwrap_or("unknown board");
    let mut text = format!("{} — {}, read as {}\n", style.bold(board), report.root, report.user);
    let facts = facts(&report.board);
    if !facts.is_empty() {
        text.push_str(&format!("{}\n", style.dim(&facts)));
    }
    let mut is_narrow = false;
    for quantity in Quantity::ALL {
        let rows: Vec<_> = report.channels.iter().filter(|row| row.quantity == quantity).collect();
        text.push_str(&format!("\n{}\n", style.bold(quantity.title())));
        let mut table = Table::new(&COLUMNS);
        for line in lines(&rows) {
            table.row(line);
        }
        is_narrow |= !table.fit(style, &SPARE).is_empty();
        text.push_str(&table.render(style));
        let mut remedies: Vec<_> = rows.iter().filter_map(|row| row.remedy.as_deref()).collect();
        remedies.dedup();
        for remedy in remedies {
            text.push_str(&format!("  {} {remedy}\n", style.warn("to enable it:")));
        }
    }
    if is_narrow {
        let note = "a wider terminal, a pipe or --json also shows scope, period, new every and cost";
        text.push_str(&format!("\n{}\n", style.dim(note)));
    }
    text
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

/// A line for each row. Neighbouring channels that are missing for the same reason share one.
fn lines(rows: &[&DoctorRow]) -> Vec<[String; COLUMNS.len()]> {
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
                display::or_absent(row.value, |value| display::value(value, row.unit)),
                row.class.as_str().to_owned(),
                row.scope.to_string(),
                display::or_absent(row.period_ns, display::duration),
                display::or_absent(row.update_ns, display::duration),
                display::or_absent(row.cost_ns, display::duration),
                match &row.reason {
                    Some(reason) if reason.code == ReasonCode::NeedsTwoReadings => {
                        format!("{}: {}", reason.code, row.source)
                    }
                    Some(reason) => reason.to_string(),
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
    use slmscope_profiles::channel::{Class, Reason, Scope, Unit};

    use super::*;

    fn row(id: &str, value: Option<f64>, detail: &str) -> DoctorRow {
        DoctorRow {
            id: id.to_owned(),
            quantity: Quantity::Cpu,
            unit: Unit::Ratio,
            scope: Scope::Machine,
            class: if value.is_some() { Class::Measured } else { Class::Unavailable },
            source: "/proc/stat".to_owned(),
            period_ns: Some(100_000_000),
            update_ns: None,
            cost_ns: Some(12_000),
            age_ns: None,
            value,
            reason: value.is_none().then(|| Reason::new(ReasonCode::NoSuchInterface, detail)),
            remedy: None,
        }
    }

    fn report() -> DoctorReport {
        DoctorReport {
            schema: String::new(),
            root: "/".to_owned(),
            user: "me".to_owned(),
            board: Board::default(),
            channels: vec![
                row("cpu.machine", Some(0.5), ""),
                row("cpu.worker", None, "no worker process runs at the moment"),
                row("cpu.worker.wait", None, "no worker process runs at the moment"),
                row("cpu.worker.slices", None, "something else"),
            ],
        }
    }

    #[test]
    fn what_is_missing_for_one_reason_takes_one_line() {
        let text = render(&report(), Style::plain());
        assert!(text.contains("cpu.worker.* (2)"), "{text}");
        assert!(text.contains("cpu.worker.slices"), "{text}");
        assert!(text.contains("100 ms") && text.contains("12.0 µs"), "{text}");
        assert!(!text.contains("wider terminal"), "{text}");
    }

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
    fn a_narrow_terminal_keeps_readings_and_reasons() {
        for width in [0, 40, 60, 80, 100] {
            let text = render(&report(), Style::narrow(width));
            let readable = width.max(72);
            assert!(text.lines().all(|line| line.chars().count() <= readable.max(81)), "{width}: {text}");
            for word in ["50", "process", "moment", "/proc/stat", "measured"] {
                assert!(text.contains(word), "{width}, {word}: {text}");
            }
        }
        assert!(render(&report(), Style::narrow(80)).contains("wider terminal"));
    }
}
