//! `slmscope doctor`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use slmscope_profiles::channel::{Class, Quantity};
use slmscope_profiles::doctor::{DoctorReport, DoctorRow};
use slmscope_profiles::wire::Ask;

use crate::cli::Target;
use crate::cli::run::refusal;
use crate::failure::{Failure, print, print_json};
use crate::report::Style;
use crate::table::{Align, Table};
use crate::{connect, embedded, format};

/// What to look at.
#[derive(Debug, Args)]
#[command(
    after_help = "A running daemon is asked, because what it may read decides what is recorded; without \
one, and for --root, this process reads. Period: how often a workload has it read. New every: how often the \
sensor made a new value while it was watched. Cost: CPU time of one reading of its source.

Exit codes: 0 done, 1 could not run, 4 something that --require names is missing."
)]
pub struct DoctorArgs {
    /// Read the tree under this folder, which has the layout of /, or a capture, instead of this machine
    #[arg(long, value_name = "DIR|FILE")]
    root: Option<PathBuf>,
    /// Write the files that probes read into a tar archive for --root elsewhere; serial numbers, hardware
    /// addresses, the names of host and users are replaced
    #[arg(long, value_name = "FILE", conflicts_with_all = ["require", "json"])]
    bundle: Option<PathBuf>,
    /// Fail if one of these families has no reading: cpu freq mem membw energy power temp fan throttle psi gpu
    /// npu
    #[arg(long, value_name = "FAMILIES", value_delimiter = ',')]
    require: Vec<String>,
    /// Print the report as one JSON object
    #[arg(long)]
    json: bool,
}

/// Prints what every probe reads.
///
/// # Errors
/// If it cannot run, or something that is required is missing.
pub fn run(args: &DoctorArgs, target: &Target) -> Result<ExitCode, Failure> {
    const FAMILIES: [&str; 12] =
        ["cpu", "freq", "mem", "membw", "energy", "power", "temp", "fan", "throttle", "psi", "gpu", "npu"];
    if let Some(unknown) = args.require.iter().find(|family| !FAMILIES.contains(&family.as_str())) {
        return Err(Failure::usage(format!("--require {unknown}: the families are {}", FAMILIES.join(" "))));
    }
    if let Some(file) = &args.bundle {
        let (files, redacted) = embedded::capture(args.root.as_deref(), file)?;
        let file = file.display();
        print(&format!(
            "{file}: {files} files, {redacted} values replaced; look into it before you pass it on\n"
        ))?;
        return Ok(ExitCode::SUCCESS);
    }
    let report = report(args, target)?;
    if args.json {
        print_json(&report)?;
    } else {
        print(&render(&report, Style::of_stdout()))?;
    }
    let is_missing = |family: &&String| {
        let of_family = |row: &&DoctorRow| {
            let head = row.id.split('.').next().unwrap_or("");
            head.trim_end_matches(|c: char| c.is_ascii_digit()) == family.as_str()
        };
        !report.channels.iter().filter(of_family).any(|row| row.value.is_some())
    };
    let missing: Vec<_> = args.require.iter().filter(is_missing).map(String::as_str).collect();
    if missing.is_empty() {
        Ok(ExitCode::SUCCESS)
    } else {
        Err(Failure::check(format!("no reading of {}", missing.join(", "))))
    }
}

fn report(args: &DoctorArgs, target: &Target) -> Result<DoctorReport, Failure> {
    if args.root.is_none()
        && let Some(mut connection) = connect::running(target)?
    {
        let answer = connection.call(Ask::Doctor {}, &[])?.map_err(|refused| refusal(&refused))?;
        return serde_json::from_value(answer)
            .map_err(|error| Failure::error(format!("the daemon's report cannot be read: {error}")));
    }
    embedded::doctor(args.root.as_deref())
}

fn render(report: &DoctorReport, style: Style) -> String {
    let board = report.board.name.as_deref().or(report.board.id.as_deref()).unwrap_or("unknown board");
    let mut text = format!("{} — {}, read as {}\n", style.bold(board), report.root, report.user);
    for quantity in Quantity::ALL {
        let rows: Vec<_> = report.channels.iter().filter(|row| row.quantity == quantity).collect();
        text.push_str(&format!("\n{}\n", style.bold(quantity.title())));
        let mut table = Table::new(&[
            ("channel", Align::Left),
            ("reading", Align::Right),
            ("class", Align::Left),
            ("scope", Align::Left),
            ("period", Align::Right),
            ("new every", Align::Right),
            ("cost", Align::Right),
            ("source", Align::Left),
        ]);
        for row in &rows {
            let reading = format::or_absent(row.value, |value| format::value(value, row.unit));
            let source = match &row.reason {
                Some(reason) => reason.to_string(),
                None => row.source.clone(),
            };
            table.row([
                row.id.clone(),
                reading,
                class(row.class).to_owned(),
                row.scope.to_string(),
                format::or_absent(row.period_ns, format::duration),
                format::or_absent(row.update_ns, format::duration),
                format::or_absent(row.cost_ns, format::duration),
                source,
            ]);
        }
        text.push_str(&table.render(style));
        let mut remedies: Vec<_> = rows.iter().filter_map(|row| row.remedy.as_deref()).collect();
        remedies.dedup();
        for remedy in remedies {
            text.push_str(&format!("  {} {remedy}\n", style.warn("to have it:")));
        }
    }
    text
}

fn class(class: Class) -> &'static str {
    match class {
        Class::Measured => "measured",
        Class::Derived => "derived",
        Class::Modelled => "modelled",
        Class::Reported => "reported",
        Class::Unavailable => "unavailable",
    }
}
