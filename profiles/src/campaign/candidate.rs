//! A run as one of several to choose from.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Measure, PhaseShares};
use crate::channel::Scope;
use crate::format::WeightFormat;
use crate::host::Host;
use crate::hygiene::Grade;
use crate::model::ModelSource;
use crate::phase::Phase;
use crate::result::{PhaseEnergy, RunResult, RunStatus};
use crate::stats::Estimate;
use crate::workload::Workload;

/// What a run is, and the figures by which it is compared with runs of other things.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Candidate {
    /// Names the run; null if it never became a job.
    pub run_id: Option<String>,
    /// When it began, RFC 3339.
    pub date: Option<String>,
    /// Version of slmscope that measured it.
    pub slmscope: String,
    /// How it ended.
    pub status: RunStatus,
    /// Why it failed or was cancelled.
    pub error: Option<String>,
    /// Name of the machine; null if it has none.
    pub machine: Option<String>,
    /// Its processor; null if it is not reported.
    pub cpu_model: Option<String>,
    /// The model.
    pub model: String,
    /// Where its weights are from.
    pub source: ModelSource,
    /// Identity of the weights.
    pub model_hash: Option<String>,
    /// Format of the largest share of the weights.
    pub format: Option<WeightFormat>,
    /// Executor.
    pub executor: String,
    /// Instruction sets of its kernels.
    pub isa: Option<String>,
    /// Engine threads.
    pub threads: Option<u32>,
    /// Tokens of the prompt.
    pub prompt: u64,
    /// Tokens to emit.
    pub generate: u32,
    /// Tokens of context before anything was measured.
    pub depth: u32,
    /// How fit the machine was to measure on; null if that is not known.
    pub grade: Option<Grade>,
    /// All measures.
    pub figures: BTreeMap<Measure, Figure>,
    /// What the energy covers; null without energy.
    pub energy_scope: Option<Scope>,
    /// Where its time went.
    pub phases: Vec<PhaseShares>,
}

/// A figure with what is known of its precision.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Figure {
    /// In the unit that the measure's key ends in; null with a reason.
    pub value: Option<f64>,
    /// Lower end of its interval, or of the range of the repetitions where there are too few for one; null where
    /// neither is known.
    pub low: Option<f64>,
    /// Upper end of it.
    pub high: Option<f64>,
    /// Why there is no value.
    pub reason: Option<String>,
}

impl Figure {
    fn absent(reason: &str) -> Self {
        Self { reason: Some(reason.to_owned()), ..Self::default() }
    }

    /// A value without a spread, or the reason why there is none.
    fn of(value: Option<f64>, reason: &str) -> Self {
        value.map_or_else(|| Self::absent(reason), |value| Self { value: Some(value), ..Self::default() })
    }

    fn estimate(estimate: Option<Estimate>, reason: &str) -> Self {
        estimate.map_or_else(
            || Self::absent(reason),
            |Estimate { median, low, high, count, .. }| {
                let ends = (count > 1).then_some((low, high)).unzip();
                Self { value: Some(median), low: ends.0, high: ends.1, reason: None }
            },
        )
    }
}

impl Candidate {
    /// Of a run's result.
    pub fn of(result: &RunResult) -> Self {
        let host = result.host.as_ref();
        let decode = energy_of(result, Phase::Decode);
        Self {
            run_id: result.run_id.clone(),
            date: result.date.clone(),
            slmscope: result.slmscope.clone(),
            status: result.status,
            error: result.error.clone(),
            machine: host.and_then(|host| host.name.clone()),
            cpu_model: host.and_then(|Host { cpu_model, .. }| cpu_model.clone()),
            model: result.model.id.clone(),
            source: result.model.source,
            model_hash: result.model.hash.clone(),
            format: result.model.format,
            executor: result.engine.executor.clone(),
            isa: result.engine.isa.clone(),
            threads: result.engine.threads,
            prompt: result.prompt_tokens(),
            generate: result.workload.generate,
            depth: result.workload.depth,
            grade: result.hygiene.grade,
            figures: figures(result),
            energy_scope: decode.ok().and_then(|energy| energy.scope.clone()),
            phases: PhaseShares::of(result),
        }
    }

    /// The figure of a measure.
    pub fn figure(&self, measure: Measure) -> &Figure {
        const NONE: &Figure = &Figure { value: None, low: None, high: None, reason: None };
        self.figures.get(&measure).unwrap_or(NONE)
    }

    /// The value of a measure; `None` with a reason in the figure.
    pub fn value(&self, measure: Measure) -> Option<f64> {
        self.figure(measure).value
    }
}

/// The energy of a phase, from its first source that has a figure, or why there is none.
fn energy_of(result: &RunResult, phase: Phase) -> Result<&PhaseEnergy, String> {
    let mut rows = result.energy.phases.iter().filter(|row| row.phase == phase);
    let found = rows.clone().find(|row| row.joules_per_token.is_some());
    found.ok_or_else(|| {
        let reason = rows.find_map(|row| row.reason.clone());
        reason.unwrap_or_else(|| not_measured(result, "nothing was decoded"))
    })
}

/// Why a figure is missing: the run's own error, else `reason`.
fn not_measured(result: &RunResult, reason: &str) -> String {
    result.error.clone().unwrap_or_else(|| reason.to_owned())
}

fn figures(result: &RunResult) -> BTreeMap<Measure, Figure> {
    let Workload { prompt, generate, .. } = result.workload;
    let summary = &result.summary;
    let because = |reason: &str| not_measured(result, reason);
    let number = |ns: Option<u64>| ns.map(|ns| ns as f64);
    let no_first_token = match () {
        () if generate == 0 => "nothing is generated",
        () if prompt == 0 && !result.workload.has_text() => "there is no prompt",
        () => "the prompt was not done",
    };
    let energy = energy_of(result, Phase::Decode);
    let (joules, per_joule) = match &energy {
        Err(reason) => (Figure::absent(reason), Figure::absent(reason)),
        Ok(row) => {
            let ends = row.joules_per_token_interval;
            let (low, high) = (ends.map(|ends| ends[0]), ends.map(|ends| ends[1]));
            let value = row.joules_per_token;
            let inverse =
                |joules: Option<f64>| joules.filter(|joules| *joules > 0.0).map(|joules| 1.0 / joules);
            let reason = inverse(value).is_none().then(|| "no energy was counted".to_owned());
            let per_joule = Figure { value: inverse(value), low: inverse(high), high: inverse(low), reason };
            (Figure { value, low, high, reason: None }, per_joule)
        }
    };
    let no_load = || result.worker.reason.clone().unwrap_or_else(|| because("the model was not loaded"));
    BTreeMap::from([
        (Measure::Decode, Figure::estimate(summary.decode_tokens_per_s, &because("nothing was decoded"))),
        (Measure::Prefill, Figure::estimate(summary.prefill_tokens_per_s, &because("there is no prompt"))),
        (Measure::Ttft, Figure::of(number(summary.ttft_ns), &because(no_first_token))),
        (
            Measure::TokenP99,
            Figure::of(summary.token_ns.map(|ns| ns.p99 as f64), &because("nothing was decoded")),
        ),
        (Measure::Load, Figure::of(number(summary.load_ns), &no_load())),
        (
            Measure::Memory,
            Figure::of(number(result.memory.rss_peak), &because("the run ended before it was read")),
        ),
        (Measure::JoulesPerToken, joules),
        (Measure::TokensPerJoule, per_joule),
    ])
}

/// Something about the work that is not the same in all runs, so that their figures are not of equal tasks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnlikeWork {
    /// What: `prompt`, `generate`, `depth`.
    pub what: &'static str,
    /// The different values, in the order of the runs.
    pub values: Vec<u64>,
}

/// What the runs were not asked alike, beside model, machine, format and threads; nothing if their work is the same.
pub fn unlike_work(candidates: &[Candidate]) -> Vec<UnlikeWork> {
    let options = |run: &Candidate| {
        [("prompt", run.prompt), ("generate", run.generate.into()), ("depth", run.depth.into())]
    };
    let mut all: Vec<UnlikeWork> = Vec::new();
    for (what, value) in candidates.iter().flat_map(options) {
        match all.iter_mut().find(|known| known.what == what) {
            Some(known) if known.values.contains(&value) => {}
            Some(known) => known.values.push(value),
            None => all.push(UnlikeWork { what, values: vec![value] }),
        }
    }
    all.retain(|unlike| unlike.values.len() > 1);
    all
}
