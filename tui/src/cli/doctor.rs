//! `slmscope doctor`.

mod listing;
mod require;
mod summary;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use slmscope_profiles::channel::Quantity;
use slmscope_profiles::doctor::DoctorReport;
use slmscope_profiles::wire::Method;
use slmscope_profiles::words::nearest;

use self::require::FAMILIES;
use crate::connect::{self, Target};
use crate::embedded;
use crate::failure::{Failure, print, print_json};
use crate::style::Style;

/// Options of `doctor`.
#[derive(Debug, Args)]
#[command(after_help = "Without GROUP it says in one screen what can be measured here, what cannot and
why, and which command gains most. If a daemon is running, it makes the report,
because its permissions decide what is recorded. Otherwise, and with --root,
this process reads the probes itself.

Columns of a group:
  period     time between two readings during a workload
  new every  time between two new values of the sensor, as observed
  cost       CPU time of one reading of its source

Examples:
  slmscope doctor power temp            the channels of two groups
  slmscope doctor --require power,temp  exit code 4 if one has no reading

Exit codes: 0 success, 1 error, 2 wrong flags, 4 a family of --require has no reading.")]
pub struct DoctorArgs {
    /// List the channels of these groups: cpu freq mem membw energy power temp fan throttle psi gpu npu, or all; battery
    /// is in power
    #[arg(value_name = "GROUP", value_parser = group, conflicts_with_all = ["json", "bundle"])]
    groups: Vec<Group>,
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
    #[arg(long, value_name = "FAMILIES", value_delimiter = ',', value_parser = family)]
    require: Vec<String>,
    /// Print the report as one JSON object
    #[arg(long)]
    json: bool,
}

/// What is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Group {
    All,
    One(Quantity),
}

/// A word is no family of channels.
#[derive(Debug, thiserror::Error)]
#[error(
    "{}the families are {}",
    near.map_or_else(String::new, |near| format!("did you mean {near}? ")),
    FAMILIES.join(" ")
)]
struct NoFamily {
    near: Option<&'static str>,
}

/// What else people call a family, beside its title.
const OTHER_NAMES: [(&str, &str); 12] = [
    ("ram", "mem"),
    ("bandwidth", "membw"),
    ("clock", "freq"),
    ("clocks", "freq"),
    ("joules", "energy"),
    ("rapl", "energy"),
    ("watts", "power"),
    ("heat", "temp"),
    ("thermal", "temp"),
    ("temperatures", "temp"),
    ("card", "gpu"),
    ("stall", "psi"),
];

/// What is shown with the power: a pack's power, level and health.
const BATTERY: &str = "battery";

/// The family that `text` names, by its word, its title or another name, whatever the case.
fn known_family(text: &str) -> Result<Quantity, NoFamily> {
    let wanted = text.to_ascii_lowercase();
    let other = OTHER_NAMES.iter().find(|(name, _)| *name == wanted).map(|(_, family)| *family);
    let wanted = other.unwrap_or(&wanted);
    let of_place = |quantity: &Quantity| {
        FAMILIES[*quantity as usize] == wanted || quantity.title().eq_ignore_ascii_case(wanted)
    };
    Quantity::ALL.into_iter().find(of_place).ok_or_else(|| {
        let others = OTHER_NAMES.iter().map(|(name, _)| *name);
        let titles = Quantity::ALL.iter().map(|quantity| quantity.title());
        NoFamily { near: nearest(wanted, FAMILIES.into_iter().chain(titles).chain(others).chain([BATTERY])) }
    })
}

fn group(text: &str) -> Result<Group, NoFamily> {
    match text.to_ascii_lowercase().as_str() {
        "all" => Ok(Group::All),
        BATTERY | "batteries" => Ok(Group::One(Quantity::Power)),
        _ => known_family(text).map(Group::One),
    }
}

fn family(text: &str) -> Result<String, NoFamily> {
    known_family(text).map(|quantity| FAMILIES[quantity as usize].to_owned())
}

impl DoctorArgs {
    /// Whether a running daemon makes the report.
    pub fn asks_a_daemon(&self) -> bool {
        self.root.is_none() && self.bundle.is_none()
    }
}

/// Prints the report, or writes a capture.
///
/// # Errors
/// If the probes cannot be read, or a required family has no reading.
pub fn run(args: &DoctorArgs, target: &Target) -> Result<ExitCode, Failure> {
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
        print(&render(&report, args, Style::of_stdout().or_columns(80)))?;
    }
    match require::missing(&report, &args.require) {
        missing if missing.is_empty() => Ok(ExitCode::SUCCESS),
        missing => Err(Failure::check(format!("no reading of {}", missing.join(", ")))),
    }
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

/// The report as text: the verdict on what is required, then the summary, then the groups that were asked for.
fn render(report: &DoctorReport, args: &DoctorArgs, style: Style) -> String {
    let mut text = String::new();
    if !args.require.is_empty() {
        text.push_str(&format!("{}\n", require::render(report, &args.require, style)));
    }
    text.push_str(&summary::heading(report, style));
    let is_all = args.groups.contains(&Group::All);
    if args.groups.is_empty() || is_all {
        text.push_str(&summary::render(report, style));
    }
    let is_wanted = |quantity: &Quantity| is_all || args.groups.contains(&Group::One(*quantity));
    let groups: Vec<_> = Quantity::ALL.into_iter().filter(is_wanted).collect();
    if !groups.is_empty() {
        text.push_str(&listing::render(report, &groups, style));
    }
    text
}

/// The channels of every group.
#[cfg(test)]
pub fn every_group(report: &DoctorReport, style: Style) -> String {
    listing::render(report, &Quantity::ALL, style)
}

#[cfg(test)]
mod tests {
    use slmscope_profiles::channel::{Class, Reason, ReasonCode, Scope, Unit};
    use slmscope_profiles::doctor::{Board, DoctorRow};

    use super::*;

    pub(super) fn row(id: &str, value: Option<f64>, detail: &str) -> DoctorRow {
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

    pub(super) fn report() -> DoctorReport {
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

    /// A laptop on its battery, as a tree.
    #[cfg(feature = "embedded-daemon")]
    fn laptop() -> DoctorReport {
        let folder = tempfile::tempdir().unwrap();
        for (file, content) in [
            ("proc/stat", "cpu  100 0 50 800 0 0 0 0\ncpu0 50 0 25 400 0 0 0 0\ncpu1 50 0 25 400 0 0 0 0\n"),
            (
                "proc/meminfo",
                "MemTotal: 16000000 kB\nMemAvailable: 12000000 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n",
            ),
            ("sys/class/dmi/id/product_name", "Laptop 14\n"),
            ("sys/class/dmi/id/sys_vendor", "Example\n"),
            ("sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "2400000\n"),
            ("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave\n"),
            ("sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq", "1200000\n"),
            ("sys/devices/system/cpu/cpu1/cpufreq/scaling_governor", "powersave\n"),
            ("sys/class/thermal/thermal_zone0/type", "x86_pkg_temp\n"),
            ("sys/class/thermal/thermal_zone0/temp", "46500\n"),
            ("sys/class/power_supply/BAT0/type", "Battery\n"),
            ("sys/class/power_supply/BAT0/status", "Discharging\n"),
            ("sys/class/power_supply/BAT0/power_now", "9500000\n"),
            ("sys/class/power_supply/BAT0/capacity", "83\n"),
        ] {
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        let mut report = embedded::doctor(Some(folder.path())).unwrap();
        // How often a file is read depends on what reading it took.
        report.channels.iter_mut().for_each(|row| row.period_ns = row.period_ns.map(|_| 100_000_000));
        DoctorReport { root: "/board".to_owned(), user: "anna".to_owned(), ..report }
    }

    #[test]
    #[cfg(feature = "embedded-daemon")]
    fn outputs_are_pinned_at_80_columns() {
        let report = laptop();
        let shown = |groups: &[Group], require: &[&str]| {
            let require = require.iter().map(|&family| family.to_owned()).collect();
            let args = DoctorArgs { groups: groups.to_vec(), root: None, bundle: None, require, json: false };
            render(&report, &args, crate::pinned::terminal())
        };
        let summary = shown(&[], &[]);
        crate::pinned::check("doctor.txt", &summary);
        assert!(summary.lines().count() <= 24, "it fits a screen");
        crate::pinned::check("doctor-power.txt", &shown(&[Group::One(Quantity::Power)], &["power", "gpu"]));
        crate::pinned::check("doctor-all.txt", &shown(&[Group::All], &[]));
    }

    #[test]
    fn a_group_is_named_by_its_family_or_its_title() {
        for (place, name) in FAMILIES.iter().enumerate() {
            assert_eq!(group(name).ok(), Some(Group::One(Quantity::ALL[place])), "{name}");
        }
        let named = |text| group(text).ok();
        assert_eq!(named("Memory bandwidth"), Some(Group::One(Quantity::MemoryBandwidth)));
        assert_eq!([named("all"), named("mood")], [Some(Group::All), None]);
        let power = Some(Group::One(Quantity::Power));
        assert_eq!([named("battery"), named("Batteries"), named("watts")], [power, power, power]);
        assert_eq!(family("Temperature").ok().as_deref(), Some("temp"), "in --require as well");
        assert!(family("battery").is_err(), "a machine without one may have another meter");
        for (other, family) in OTHER_NAMES {
            assert_eq!(named(other), named(family), "{other}");
        }
        for (word, near) in
            [("batery", "battery"), ("temprature", "temperature"), ("tmp", "temp"), ("throtle", "throttle")]
        {
            let told = group(word).unwrap_err().to_string();
            assert!(told.starts_with(&format!("did you mean {near}? the families are cpu")), "{told}");
        }
        let titles = ["cpu", "power", "npu"].map(|name| group(name).ok());
        assert_eq!(titles, [Some(Group::One(Quantity::Cpu)), power, Some(Group::One(Quantity::Npu))]);
    }

    #[test]
    fn the_verdict_on_what_is_required_comes_first() {
        let args = DoctorArgs {
            groups: vec![Group::One(Quantity::Cpu)],
            root: None,
            bundle: None,
            require: vec!["temp".to_owned()],
            json: false,
        };
        let text = render(&report(), &args, Style::narrow(80));
        let at = |word: &str| text.find(word).unwrap_or_else(|| panic!("{word}: {text}"));
        assert!(
            at("temp      NO") < at("unknown board") && at("unknown board") < at("cpu.machine"),
            "{text}"
        );
        assert!(!text.contains("cannot be measured"), "a group alone has no summary: {text}");
    }
}
