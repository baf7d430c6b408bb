//! Where the time of a phase goes by the parts of the model, and what binds each.

use serde::Serialize;

use crate::lane::HOST_LANE;
use crate::phase::Phase;
use crate::plan::site::Module;
use crate::result::{OpRow, RunResult};
use crate::roofline::Bound;
use crate::totals::GroupTotals;

/// A phase in the host's lane, against the roofs of the machine that it ran on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PhaseShares {
    /// Which phase.
    pub phase: Phase,
    /// Least time by the run's own roofs divided by the time of all ops; null with a reason.
    pub of_roof: Option<f64>,
    /// What binds the phase; null as above.
    pub bound: Option<Bound>,
    /// Parts of the model that ran, in the order of the computation.
    pub modules: Vec<ModuleShare>,
    /// What is no op: gaps, named spans, unattributed; of the recorded time, 0 to 1.
    pub rest: f64,
    /// Why there is no share of a roof.
    pub reason: Option<String>,
}

/// A part of the model in a phase.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ModuleShare {
    /// Which part.
    pub module: Module,
    /// Of the phase's recorded time, 0 to 1.
    pub share: f64,
    /// Least time by the run's own roofs divided by its own; null without roofs.
    pub of_roof: Option<f64>,
    /// What binds it; null as above.
    pub bound: Option<Bound>,
}

impl PhaseShares {
    /// The phases of a run of which ops were recorded on the host, prefill first.
    pub fn of(result: &RunResult) -> Vec<Self> {
        [Phase::Prefill, Phase::Decode]
            .into_iter()
            .filter_map(|phase| Self::of_phase(result, phase))
            .collect()
    }

    fn of_phase(result: &RunResult, phase: Phase) -> Option<Self> {
        let rows: Vec<&OpRow> =
            result.ops.iter().filter(|row| (row.phase, row.lane) == (phase, HOST_LANE)).collect();
        if rows.is_empty() {
            return None;
        }
        let modules: Vec<ModuleShare> = Module::ALL
            .into_iter()
            .chain([Module::Other])
            .filter_map(|module| {
                let of_module: Vec<&OpRow> =
                    rows.iter().copied().filter(|row| row.module == module).collect();
                let (share, group) = sum(&of_module);
                let (of_roof, bound) = group.roof().unzip();
                (!of_module.is_empty()).then_some(ModuleShare { module, share, of_roof, bound })
            })
            .collect();
        let (share, whole) = sum(&rows);
        let (of_roof, bound) = whole.roof().unzip();
        let reason = of_roof.is_none().then(|| {
            let why = "the plan counts neither bytes nor FLOPs of these ops";
            result.roofs.reason.clone().unwrap_or_else(|| why.to_owned())
        });
        Some(Self { phase, of_roof, bound, modules, rest: (1.0 - share).max(0.0), reason })
    }
}

fn sum(rows: &[&OpRow]) -> (f64, GroupTotals) {
    let mut group = GroupTotals::default();
    for row in rows {
        group.add(&row.totals());
    }
    (rows.iter().map(|row| row.share).sum(), group)
}
