//! The front of several runs (Pareto): those that no other one beats in every measure.

use serde::Serialize;

use super::{Candidate, Measure};
use crate::result::RunStatus;

/// The runs between which only taste decides.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Front {
    /// What counts: measures that some complete run has a value of.
    pub by: Vec<Measure>,
    /// Measures that were asked for and no complete run has a value of, with the first reason.
    pub without: Vec<(Measure, String)>,
    /// Places among the runs, in their order.
    pub runs: Vec<usize>,
}

/// The front of `candidates` by `measures`. A run is on it if no other one is at least as good in all measures and
/// better in one. Runs that did not complete, or lack a figure that others have, are not on it.
pub fn front(candidates: &[Candidate], measures: &[Measure]) -> Front {
    // A run that failed takes no measure away from the others.
    let is_complete = |run: &&Candidate| run.status == RunStatus::Complete;
    let measured: Vec<&Candidate> = candidates.iter().filter(is_complete).collect();
    // What none has; a run that lacks what others have is not judged.
    let missing = |measure: Measure| {
        let mut figures = measured.iter().map(|run| run.figure(measure));
        let first = figures.clone().next()?;
        let reason = || first.reason.clone().unwrap_or_else(|| "it was not measured".to_owned());
        figures.all(|figure| figure.value.is_none()).then(reason)
    };
    let without: Vec<(Measure, String)> =
        measures.iter().filter_map(|&measure| Some((measure, missing(measure)?))).collect();
    let by: Vec<Measure> = measures
        .iter()
        .copied()
        .filter(|measure| without.iter().all(|(lacks, _)| lacks != measure))
        .collect();
    let values = |run: &Candidate| {
        let values = || by.iter().map(|&measure| run.value(measure)).collect::<Option<Vec<f64>>>();
        if is_complete(&run) { values() } else { None }
    };
    let all: Vec<Option<Vec<f64>>> = candidates.iter().map(values).collect();
    let is_beaten = |own: &[f64]| {
        let beats = |other: &Vec<f64>| {
            let pairs = || by.iter().zip(other.iter().zip(own));
            pairs().all(|(measure, (other, own))| !measure.is_better(*own, *other))
                && pairs().any(|(measure, (other, own))| measure.is_better(*other, *own))
        };
        all.iter().flatten().any(beats)
    };
    let runs = all.iter().enumerate().filter_map(|(run, own)| {
        let own = own.as_ref().filter(|own| !own.is_empty())?;
        (!is_beaten(own)).then_some(run)
    });
    Front { runs: runs.collect(), by, without }
}
