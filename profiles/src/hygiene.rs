//! Whether a machine was fit to measure on: what was seen before, during and after a run.

use serde::{Deserialize, Serialize};

use crate::drift::Change;

/// How fit a machine was to measure on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grade {
    /// Nothing was found that makes the figures doubtful.
    Clean,
    /// Something was not as it should be; the figures may be off by a few percent.
    Fair,
    /// The figures are of this machine at this time, not of the model.
    Poor,
}

impl Grade {
    /// The grade as it is spelled in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Fair => "fair",
            Self::Poor => "poor",
        }
    }
}

/// Whether the machine was fit to measure on.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Hygiene {
    /// Nothing was found that makes the figures doubtful; null if the run ended before that was known.
    pub clean: Option<bool>,
    /// The worst of the reasons; null as above.
    #[serde(default)]
    pub grade: Option<Grade>,
    /// What makes the figures doubtful.
    pub reasons: Vec<String>,
    /// The same with the kind and the grade of each.
    #[serde(default)]
    pub issues: Vec<Issue>,
    /// CPU time of other processes during the measured repetitions divided by that of all CPUs, 0 to 1; null where
    /// the kernel does not report it.
    #[serde(default)]
    pub other_load: Option<f64>,
    /// The processes that used most of it, the busiest first. What ended during the run is not among them.
    #[serde(default)]
    pub others: Vec<OtherProcess>,
    /// Processes that ended during the run and what they used (derived); null where they used little, or it is not
    /// known.
    #[serde(default)]
    pub short_lived: Option<ShortLived>,
    /// Time that the hypervisor gave to others divided by that of all CPUs, 0 to 1; null as above.
    #[serde(default)]
    pub steal: Option<f64>,
    /// What changed about the machine between the begin and the end of the run, or since earlier runs.
    #[serde(default)]
    pub changes: Vec<Change>,
    /// The different frequency governors in use; empty where the system does not choose the clock.
    #[serde(default)]
    pub governors: Vec<String>,
    /// Driver that obeys the governor: `acpi-cpufreq`, `intel_pstate`.
    #[serde(default)]
    pub cpufreq_driver: Option<String>,
    /// Setting of transparent huge pages: `always`, `madvise`, `never`; null where the kernel has none.
    #[serde(default)]
    pub huge_pages: Option<String>,
}

/// One condition that makes the figures doubtful.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issue {
    /// Which kind.
    pub code: IssueCode,
    /// The grade that it leads to.
    pub grade: Grade,
    /// In words, with the figure.
    pub reason: String,
}

/// The kinds of conditions that make figures doubtful.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IssueCode {
    /// Other processes used the CPUs.
    OtherLoad,
    /// The hypervisor gave CPU time to others.
    Steal,
    /// Tasks waited for memory.
    MemoryPressure,
    /// Memory was swapped out.
    Swapped,
    /// The system saves power instead of running fast.
    PowerSaving,
    /// The machine was hot when the run began.
    Hot,
    /// The firmware throttled.
    Throttling,
    /// The model's file was changed.
    FileChanged,
    /// The machine changed during the run or since earlier runs.
    MachineChanged,
    /// Another one, of a newer build.
    #[serde(other)]
    Other,
}

impl IssueCode {
    /// In a word or two.
    pub fn name(self) -> &'static str {
        match self {
            Self::OtherLoad => "other load",
            Self::Steal => "steal",
            Self::MemoryPressure => "memory pressure",
            Self::Swapped => "swapping",
            Self::PowerSaving => "power saving",
            Self::Hot => "hot",
            Self::Throttling => "throttling",
            Self::FileChanged => "model file changed",
            Self::MachineChanged => "machine changed",
            Self::Other => "another condition",
        }
    }
}

/// A process beside this tool's own, and what it used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OtherProcess {
    /// Its name, as the kernel keeps it, without control characters.
    pub name: String,
    /// CPU time of all processes of that name divided by the time that passed: 1 is one core, busy all the time.
    pub cores: f64,
}

/// Processes that no list shows, since they ended during the run. Derived: what the machine's CPUs ran, without
/// interrupts, this tool and the processes that were there at the end.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ShortLived {
    /// How many at most: processes and threads that were started, and processes that were there before, less those
    /// that still run.
    pub at_most: u64,
    /// CPU time of all of them divided by the time that passed: 1 is one core, busy all the time.
    pub cores: f64,
}

/// CPU time of one thread of the engine during the measured repetitions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadTime {
    /// Its name.
    pub name: String,
    /// Time on a CPU, ns.
    pub cpu_ns: u64,
    /// Time that passed, ns.
    pub wall_ns: u64,
    /// Time in which it was ready to run and waited for a CPU, ns; null where the kernel does not report it.
    #[serde(default)]
    pub waited_ns: Option<u64>,
}

impl ThreadTime {
    /// Share of the time that it was on a CPU; `None` if no time passed.
    pub fn share(&self) -> Option<f64> {
        (self.wall_ns > 0).then(|| self.cpu_ns as f64 / self.wall_ns as f64)
    }

    /// Share of the time in which it could run that it waited for a CPU; `None` if that is not known or it slept.
    pub fn waited(&self) -> Option<f64> {
        let waited_ns = self.waited_ns?;
        let ready_ns = self.cpu_ns.saturating_add(waited_ns);
        (ready_ns > 0).then(|| waited_ns as f64 / ready_ns as f64)
    }
}
