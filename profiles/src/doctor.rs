//! The report of `doctor --json`: every channel of a machine with its reading, or why there is none.

use serde::{Deserialize, Serialize};

use crate::channel::{Class, Quantity, Reason, Scope, Unit};
use crate::display;

/// Value of [`DoctorReport::schema`].
pub const SCHEMA: &str = "slmscope.doctor/1";

/// What the firmware and the system call the board. `None` and empty where they do not report it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Board {
    /// The most specific `compatible` of the device tree, or the product name of the firmware tables.
    pub id: Option<String>,
    /// The model in words.
    pub name: Option<String>,
    /// Its description among those that slmscope ships; see [`crate::board`].
    pub profile: Option<String>,
    /// Release of the vendor's system: `L4T 36.4.3 (JetPack 6)`.
    pub release: Option<String>,
    /// Power mode that the vendor's tool or the firmware is set to: `15W`, `balanced`.
    pub power_mode: Option<String>,
    /// The different frequency governors in use, sorted.
    pub governors: Vec<String>,
    /// Kinds of cores, the most capable first.
    pub cores: Vec<CoreKind>,
    /// Nominal memory bandwidth, B/s.
    pub memory_bytes_per_s: Option<f64>,
    /// Nominal f32 operations per second of all cores.
    pub f32_flops: Option<f64>,
}

/// CPUs with cores of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CoreKind {
    /// The core's name, `P-core` or `E-core`; the part's number where it has no known name.
    pub name: String,
    /// CPU numbers.
    pub cpus: Vec<u32>,
    /// Relative speed as the kernel schedules by it; the fastest has 1024.
    pub capacity: Option<u32>,
}

/// One channel and its reading.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DoctorRow {
    /// Stable name, family first.
    pub id: String,
    /// Its family.
    pub quantity: Quantity,
    /// Unit of the value.
    pub unit: Unit,
    /// What it covers.
    pub scope: Scope,
    /// How the value comes about.
    pub class: Class,
    /// The file or interface.
    pub source: String,
    /// Nominal sampling period under a workload, ns. `None` if it is never sampled.
    pub period_ns: Option<u64>,
    /// Time between two values of the sensor, ns, where the two readings and what lay between them showed it.
    #[serde(default)]
    pub update_ns: Option<u64>,
    /// CPU time of one reading of the source, with all channels of that, ns. `None` if it is not read, and for
    /// captured trees.
    #[serde(default)]
    pub cost_ns: Option<u64>,
    /// Time from the reading to the report, ns. `None` without a value, and for captured trees.
    pub age_ns: Option<u64>,
    /// The value. `None` where there is none; then `reason` says why.
    pub value: Option<f64>,
    /// Why there is no value; `None` where there is one.
    pub reason: Option<Reason>,
    /// The command or setting that makes it available, where there is one.
    pub remedy: Option<String>,
}

/// The whole report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DoctorReport {
    /// [`SCHEMA`].
    pub schema: String,
    /// The tree that was read; `/` for the machine itself.
    pub root: String,
    /// The user who read it.
    pub user: String,
    /// The board.
    pub board: Board,
    /// Every channel; each family has at least one.
    pub channels: Vec<DoctorRow>,
}

impl DoctorReport {
    /// A row's value as people read it; `None` without one. Shares of CPU time are of one core: those of the whole machine
    /// are multiplied by its CPUs, which are the channels `cpu.cpuN`. Where the report lacks these, the value says that
    /// it is of all CPUs.
    pub fn reading(&self, row: &DoctorRow) -> Option<String> {
        let value = row.value?;
        if row.quantity != Quantity::Cpu || row.unit != Unit::Ratio {
            return Some(display::value(value, row.unit));
        }
        let of_cpu = |row: &&DoctorRow| matches!(row.scope, Scope::CpuN(_)) && row.unit == Unit::Ratio;
        let cpus = self.channels.iter().filter(of_cpu).count();
        Some(match row.scope {
            Scope::Machine if cpus == 0 => format!("{} of all CPUs", display::share(value)),
            Scope::Machine => display::of_one_core(value * cpus as f64),
            _ => display::of_one_core(value),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: &str, scope: Scope, value: f64) -> DoctorRow {
        DoctorRow {
            id: id.to_owned(),
            quantity: Quantity::Cpu,
            unit: Unit::Ratio,
            scope,
            class: Class::Measured,
            source: String::new(),
            period_ns: None,
            update_ns: None,
            cost_ns: None,
            age_ns: None,
            value: Some(value),
            reason: None,
            remedy: None,
        }
    }

    #[test]
    fn all_shares_of_cpu_time_are_of_one_core() {
        let machine = row("cpu.machine", Scope::Machine, 0.5);
        let mut report = DoctorReport {
            schema: SCHEMA.to_owned(),
            root: "/".to_owned(),
            user: String::new(),
            board: Board::default(),
            channels: vec![machine.clone()],
        };
        let told = |report: &DoctorReport, row: &DoctorRow| report.reading(row).expect("a value");
        assert_eq!(told(&report, &machine), "50.0 % of all CPUs", "how many there are is not known");
        for cpu in 0..4 {
            report.channels.push(row(&format!("cpu.cpu{cpu}"), Scope::CpuN(cpu), 0.5));
        }
        assert_eq!(told(&report, &machine), "200.0 % of one core");
        assert_eq!(told(&report, &row("cpu.cgroup", Scope::Cgroup, 2.5)), "250.0 % of one core");
        assert_eq!(told(&report, &row("cpu.cpu0", Scope::CpuN(0), 0.5)), "50.0 % of one core");
        let battery = DoctorRow { quantity: Quantity::Energy, ..row("energy.bat", Scope::Battery, 0.5) };
        assert_eq!(told(&report, &battery), "50.0 %");
        let seconds = DoctorRow { unit: Unit::Seconds, ..machine.clone() };
        assert_eq!(told(&report, &seconds), display::value(0.5, Unit::Seconds));
        assert_eq!(report.reading(&DoctorRow { value: None, ..machine }), None);
    }
}
