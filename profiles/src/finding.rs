//! Findings: what stands out in a result, what it rests on, and what to do about it.
//!
//! Each rule is a function of a whole result ([`rules`] lists them). It claims only what the figures show: where a
//! figure has an interval or a range, the claim holds at its unfavourable end, or the rule is silent. It is silent as
//! well where the result lacks the data.
//!
//! Findings are sorted by use: first what makes the figures doubtful, then what would make the model faster, then what
//! explains its speed, then notes; among these by how much of the time is at stake.

mod bandwidth;
mod compute;
mod cost;
mod energy;
mod format;
mod heat;
mod machine;
mod memory;
pub mod rules;
mod stability;
mod threads;

pub use machine::OTHER_LOAD;
use serde::{Deserialize, Serialize};

/// One finding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// Word for machines.
    pub code: FindingCode,
    /// What was found, with the figure.
    pub reason: String,
    /// The figures that it rests on.
    #[serde(default)]
    pub evidence: Vec<Figure>,
    /// What to do, or how to read the figures.
    pub advice: String,
}

/// A figure that a finding rests on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// What it is.
    pub name: String,
    /// How much.
    pub value: f64,
    /// Its unit: `B`, `B/s`, `tokens/s`; `ratio` for shares, where 1 is all; empty for counts.
    pub unit: String,
}

/// The kinds of findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingCode {
    /// The machine was not fit to measure on.
    DirtyMachine,
    /// Other processes used the CPUs.
    ForeignLoad,
    /// The machine changed during the run or since earlier runs.
    MachineChanged,
    /// The governor keeps the clock low.
    Governor,
    /// The LM head takes a large part of decode.
    LmHeadDominates,
    /// A phase has time that nothing explains.
    Unattributed,
    /// Measuring cost more than it may.
    Overhead,
    /// Repetitions differ too much.
    Noisy,
    /// Some decode steps take far longer than most.
    TailLatency,
    /// Tokens whose events were lost.
    LostTokens,
    /// The daemon did not record the run, or not to its end.
    RecordingStopped,
    /// Resident memory that nothing explains.
    UnexplainedMemory,
    /// Engine threads above the CPUs there are.
    TooManyThreads,
    /// Engine threads share cores.
    SmtSiblings,
    /// Some engine threads run on slower cores.
    EfficiencyCores,
    /// An engine thread was kept off its CPU.
    Straggler,
    /// The energy sensor is too slow for the phase.
    SensorTooSlow,
    /// The energy may be far off.
    EnergyUncertain,
    /// Something throttled while tokens were made.
    Throttled,
    /// A warm machine is slower than a cold one.
    SustainedSlower,
    /// Decode reads memory about as fast as the machine can.
    BandwidthBound,
    /// Prefill computes about as fast as the machine can.
    ComputeBound,
    /// An op takes far longer than its bytes and its arithmetic need.
    FarBelowRoof,
    /// More went through the memory controllers than the model accounts for.
    ExtraTraffic,
    /// The file stores a matrix twice.
    TiedCopy,
    /// Keys and values are a large part of a decode step.
    KvShare,
    /// Pages were read from storage while tokens were made.
    ColdPages,
    /// The kernel gives no huge pages.
    HugePagesOff,
    /// Little memory was left.
    MemoryNearlyFull,
    /// Another format would be faster.
    FasterFormat,
    /// Another one, of a newer build.
    #[serde(other)]
    Other,
}

/// What a finding is good for, the most useful first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Use {
    /// It makes the figures doubtful.
    Doubt,
    /// What it advises makes the model faster, or lets it fit.
    Gain,
    /// It says what takes the time.
    Explanation,
    /// It limits one of the secondary figures.
    Note,
}

/// A finding and where it stands among the others.
#[derive(Debug)]
struct Found {
    good_for: Use,
    /// Share of the time, or of the memory or figure that it is about, that is at stake.
    stake: f64,
    finding: Finding,
}

impl Found {
    fn new(code: FindingCode, good_for: Use, stake: f64) -> Self {
        let finding = Finding { code, reason: String::new(), evidence: Vec::new(), advice: String::new() };
        Self { good_for, stake, finding }
    }

    fn reason(mut self, reason: impl Into<String>) -> Self {
        self.finding.reason = reason.into();
        self
    }

    fn figure(mut self, name: &str, value: f64, unit: &str) -> Self {
        self.finding.evidence.push(Figure { name: name.to_owned(), value, unit: unit.to_owned() });
        self
    }

    /// Adds a figure if it is known.
    fn known(self, name: &str, value: Option<f64>, unit: &str) -> Self {
        match value {
            Some(value) => self.figure(name, value, unit),
            None => self,
        }
    }

    fn advice(mut self, advice: impl Into<String>) -> Self {
        self.finding.advice = advice.into();
        self
    }
}
