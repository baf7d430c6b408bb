//! Findings: what stands out in a result, why, and what to do about it. The rules that find them read a whole
//! result and lie in [`rules`].

pub mod rules;

use serde::{Deserialize, Serialize};

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Word for machines.
    pub code: FindingCode,
    /// What was found, with the figure.
    pub reason: String,
    /// What to do, or how to read the figures.
    pub advice: String,
}

/// The kinds of findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingCode {
    /// The machine was not fit to measure on.
    DirtyMachine,
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
    /// Resident memory that nothing explains.
    UnexplainedMemory,
    /// Engine threads above the CPUs there are.
    TooManyThreads,
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
    /// More went through the memory controllers than the model accounts for.
    ExtraTraffic,
}
