//! What became of the runs of a sweep, and what they add up to.

use serde::{Deserialize, Serialize};

use super::front::{Front, front};
use super::{Candidate, Measure, Point, PointRun, SweepPlan};
use crate::result::{RunResult, RunStatus};
use crate::stats;

/// Schema name of [`Outcome`].
pub const OUTCOME_SCHEMA: &str = "slmscope.point/1";

/// The measures whose front a sweep shows: speed, energy, memory.
pub const FRONT: [Measure; 3] = [Measure::Decode, Measure::JoulesPerToken, Measure::Memory];

/// What became of one run of a point.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// [`OUTCOME_SCHEMA`].
    pub schema: String,
    /// Which run.
    #[serde(flatten)]
    pub run: PointRun,
    /// Why it has no result that is complete; null if it has one.
    pub error: Option<String>,
    /// From its begin to its end, loading and measuring the machine included, ns.
    pub took_ns: u64,
    /// The hottest sensor of what computes before it began, °C; null where that was not asked for.
    pub start_celsius: Option<f64>,
    /// What is to be known of its start: the machine did not cool down in time.
    pub note: Option<String>,
    /// Its result; null if it never became a job.
    pub result: Option<Box<RunResult>>,
}

impl Outcome {
    /// Of a run that ended with `result`, or of one that was refused with the reason `error`.
    pub fn new(run: PointRun, result: Option<Box<RunResult>>, error: Option<String>, took_ns: u64) -> Self {
        let is_complete = result.as_ref().is_some_and(|result| result.status == RunStatus::Complete);
        let of_result = result.as_ref().and_then(|result| result.error.clone());
        let unknown = || "it ended without a result".to_owned();
        let error = if is_complete { None } else { Some(of_result.or(error).unwrap_or_else(unknown)) };
        let schema = OUTCOME_SCHEMA.to_owned();
        Self { schema, run, error, took_ns, start_celsius: None, note: None, result }
    }
}

/// A sweep with what became of its runs.
#[derive(Debug, Clone)]
pub struct Swept<'a> {
    /// The plan.
    pub plan: &'a SweepPlan,
    /// The runs that have ended, by point and round.
    pub outcomes: Vec<Outcome>,
    /// Their figures, in the same order; those of a failed run are empty.
    pub candidates: Vec<Candidate>,
    /// The points that no other one beats in speed, energy and memory together.
    pub front: Front,
    /// Numbers of the points on the front.
    pub front_points: Vec<u32>,
    /// How much two runs of one point differ; `None` without two runs of any.
    pub scatter: Option<Scatter>,
}

/// How much runs of the same thing differ: the largest of a point's decode rates divided by the smallest, less 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Scatter {
    /// Points with two runs or more.
    pub points: u64,
    /// Half of the points differ by less.
    pub median: f64,
    /// The point that differs most.
    pub most: f64,
}

impl<'a> Swept<'a> {
    /// Of what has ended.
    pub fn of(plan: &'a SweepPlan, mut outcomes: Vec<Outcome>) -> Self {
        outcomes.sort_by_key(|outcome| outcome.run);
        let candidates: Vec<Candidate> =
            outcomes.iter().map(|outcome| candidate(plan.point(outcome.run.point), outcome)).collect();
        let front = front(&candidates, &FRONT);
        let mut front_points: Vec<u32> =
            front.runs.iter().filter_map(|&at| outcomes.get(at)).map(|outcome| outcome.run.point).collect();
        front_points.dedup();
        let scatter = scatter(&outcomes, &candidates);
        Self { plan, outcomes, candidates, front, front_points, scatter }
    }

    /// The ended runs with their figures.
    pub fn rows(&self) -> impl Iterator<Item = (&Outcome, &Candidate)> {
        self.outcomes.iter().zip(&self.candidates)
    }

    /// The rates of decode of a point's runs.
    pub fn of_point(&self, number: u32) -> impl Iterator<Item = (&Outcome, &Candidate)> {
        self.rows().filter(move |(outcome, _)| outcome.run.point == number)
    }
}

/// The figures of a run; of one that never became a job, its reason in place of them.
fn candidate(point: Option<&Point>, outcome: &Outcome) -> Candidate {
    if let Some(result) = &outcome.result {
        return Candidate::of(result);
    }
    let model = point.map_or("", |point| point.model.as_str());
    let workload = point.and_then(|point| point.workload.clone()).unwrap_or_default();
    let reason = outcome.error.as_deref().unwrap_or_default();
    let source = crate::model::ModelSource::Synthetic;
    Candidate::of(&RunResult::failed(model, source, &workload, reason))
}

fn scatter(outcomes: &[Outcome], candidates: &[Candidate]) -> Option<Scatter> {
    let mut spreads = Vec::new();
    let mut at = 0;
    while let Some(first) = outcomes.get(at) {
        let end = at + outcomes[at..].iter().take_while(|other| other.run.point == first.run.point).count();
        let rates: Vec<f64> =
            candidates[at..end].iter().filter_map(|run| run.value(Measure::Decode)).collect();
        let (low, high) =
            rates.iter().fold((f64::MAX, 0.0_f64), |(low, high), &rate| (low.min(rate), high.max(rate)));
        if rates.len() > 1 && low > 0.0 {
            spreads.push(high / low - 1.0);
        }
        at = end;
    }
    let most = spreads.iter().copied().reduce(f64::max)?;
    Some(Scatter { points: spreads.len() as u64, median: stats::median(&spreads)?, most })
}
