//! The floor: how much whole runs of the same thing differ on a machine.
//!
//! Repetitions of one run share what the machine did meanwhile: its placement in memory, its clock, its neighbours. Two
//! runs do not, and so they differ by more than their repetitions say. How much more is measured: the same command, at
//! least [`MIN_RUNS`] times, and the standard deviation of the runs' means as a share of their mean. The scatter of
//! repetitions within these runs is a part of it and counts twice in a comparison; so a floor is rather too high.

use serde::{Deserialize, Serialize};

use super::Repetition;
use super::inference::{mean, variance};
use crate::phase::Phase;
use crate::result::RunResult;

/// Fewer runs of the same thing say nothing of how much runs differ.
pub const MIN_RUNS: usize = 3;

/// How much runs of the same thing differ.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Floor {
    /// Standard deviation of the runs' times per token, as a share of their mean.
    pub share: f64,
    /// Runs that it was measured with.
    pub runs: u64,
}

impl Floor {
    /// Of runs of the same thing, by the repetitions of each; `None` below [`MIN_RUNS`] runs that have any.
    pub fn of(runs: &[Vec<Repetition>]) -> Option<Self> {
        let means: Vec<f64> = runs.iter().filter_map(|run| run_mean(run)).collect();
        let all = mean(&means).filter(|&all| all > 0.0 && means.len() >= MIN_RUNS)?;
        Some(Self { share: variance(&means, all).sqrt() / all, runs: means.len() as u64 })
    }

    /// Degrees of freedom.
    pub(super) fn freedom(&self) -> f64 {
        self.runs.saturating_sub(1).max(1) as f64
    }
}

/// Mean of a run's repetitions, ns a token; `None` without any.
fn run_mean(run: &[Repetition]) -> Option<f64> {
    mean(&run.iter().map(Repetition::wall_per_token).collect::<Vec<_>>())
}

/// A floor that was measured, with what it holds for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KnownFloor {
    /// Name of the machine; null if it has none.
    pub machine: Option<String>,
    /// Its processor; null if it is not reported.
    pub cpu_model: Option<String>,
    /// Its logical CPUs.
    pub logical_cpus: u32,
    /// Engine threads.
    pub threads: Option<u32>,
    /// Executor.
    pub executor: String,
    /// Phase.
    pub phase: Phase,
    /// Model that it was measured with.
    pub model: String,
    /// Format of its weights.
    pub format: Option<String>,
    /// When the last of the runs began, RFC 3339.
    pub date: Option<String>,
    /// How much the runs differed.
    #[serde(flatten)]
    pub floor: Floor,
}

impl KnownFloor {
    /// The floor of `phase` that runs like `result` gave; `None` if it is not known on which machine that was.
    pub fn new(result: &RunResult, phase: Phase, floor: Floor) -> Option<Self> {
        let host = result.host.as_ref()?;
        Some(Self {
            machine: host.name.clone(),
            cpu_model: host.cpu_model.clone(),
            logical_cpus: host.logical_cpus,
            threads: result.engine.threads,
            executor: result.engine.executor.clone(),
            phase,
            model: result.model.id.clone(),
            format: result.model.format.map(|format| format.to_string()),
            date: result.date.clone(),
            floor,
        })
    }

    /// Whether it holds for `phase` of `result`: the same machine, threads and executor. The model may be another one.
    pub fn holds_for(&self, result: &RunResult, phase: Phase) -> bool {
        result.host.as_ref().is_some_and(|host| {
            (&self.machine, &self.cpu_model, self.logical_cpus)
                == (&host.name, &host.cpu_model, host.logical_cpus)
        }) && (self.threads, &self.executor, self.phase)
            == (result.engine.threads, &result.engine.executor, phase)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Host;
    use crate::model::ModelSource;
    use crate::workload::Workload;

    fn result(name: &str, threads: u32) -> RunResult {
        let workload = Workload { threads: Some(threads), ..Workload::default() };
        let host = Host { name: Some(name.to_owned()), logical_cpus: 2, ..Host::default() };
        RunResult { host: Some(host), ..RunResult::failed("m", ModelSource::Synthetic, &workload, "") }
    }

    #[test]
    fn a_floor_holds_for_its_machine_threads_and_phase() {
        let floor = Floor { share: 0.02, runs: 4 };
        let known = KnownFloor::new(&result("board", 2), Phase::Decode, floor).unwrap();
        assert!(known.holds_for(&result("board", 2), Phase::Decode));
        assert!(!known.holds_for(&result("other", 2), Phase::Decode));
        assert!(!known.holds_for(&result("board", 1), Phase::Decode));
        assert!(!known.holds_for(&result("board", 2), Phase::Prefill));
        let nowhere = RunResult { host: None, ..result("board", 2) };
        assert!(
            KnownFloor::new(&nowhere, Phase::Decode, floor).is_none()
                && !known.holds_for(&nowhere, Phase::Decode)
        );
        let json = serde_json::to_value(&known).unwrap();
        assert_eq!((json["share"].as_f64(), json["runs"].as_u64()), (Some(0.02), Some(4)));
    }
}
