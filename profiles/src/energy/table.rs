//! The rows of a result that hold energy.

use serde::{Deserialize, Serialize};

use crate::channel::{Class, ReasonCode, Scope};
use crate::phase::Phase;

/// Energy of the measured phases.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Energy {
    /// Prefill and decode, by source.
    pub phases: Vec<PhaseEnergy>,
}

/// Energy of one phase, summed over the repetitions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PhaseEnergy {
    /// Which phase.
    pub phase: Phase,
    /// J; null with a reason.
    pub joules: Option<f64>,
    /// Lower end of what it can be.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
    /// Prompt tokens or decode steps of all repetitions.
    #[serde(default)]
    pub tokens: u64,
    /// `joules` divided by them; null without tokens.
    #[serde(default)]
    pub joules_per_token: Option<f64>,
    /// Lower and upper end of that; null as above.
    #[serde(default)]
    pub joules_per_token_interval: Option<[f64; 2]>,
    /// What the phase took beyond the power before the run; null if that was not measured.
    #[serde(default)]
    pub above_baseline_joules: Option<f64>,
    /// Power before the run, W; null if it was not measured.
    pub baseline_watts: Option<f64>,
    /// Channel that it was read from.
    pub source: Option<String>,
    /// What that channel covers.
    pub scope: Option<Scope>,
    /// How far to trust it.
    pub class: Class,
    /// New values that were read in the window.
    pub updates: u64,
    /// Share of the phase that readings cover, 0 to 1.
    pub coverage: Option<f64>,
    /// Why there is no figure.
    pub reason: Option<String>,
    /// The kind of that reason, if the machine has no sensor that could be read.
    #[serde(default)]
    pub reason_code: Option<ReasonCode>,
}
