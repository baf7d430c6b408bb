//! The table `runs`: a row for each run, with what a fleet is compared by.

use std::io;

use slmscope_profiles::hygiene::Grade;
use slmscope_profiles::job::JobId;
use slmscope_profiles::op::Phase;
use slmscope_profiles::result::{PhaseEnergy, RunResult, RunStatus};
use slmscope_profiles::stats::Estimate;

use super::tables::ColumnKind::{Integer, Real, Text};
use super::tables::{Column, Rows};

pub(super) const RUNS: &[Column] = &[
    ("job", Integer),
    ("run_id", Text),
    ("date", Text),
    ("status", Text),
    ("slmscope", Text),
    ("machine", Text),
    ("board", Text),
    ("cpu_model", Text),
    ("os", Text),
    ("kernel", Text),
    ("arch", Text),
    ("logical_cpus", Integer),
    ("memory_bytes", Integer),
    ("model", Text),
    ("model_hash", Text),
    ("format", Text),
    ("executor", Text),
    ("isa", Text),
    ("threads", Integer),
    ("prompt_tokens", Integer),
    ("generate", Integer),
    ("depth", Integer),
    ("prefill_tokens_per_s", Real),
    ("decode_tokens_per_s", Real),
    ("ttft_ns", Integer),
    ("load_ns", Integer),
    ("token_median_ns", Integer),
    ("prefill_joules_per_token", Real),
    ("decode_joules_per_token", Real),
    ("energy_source", Text),
    ("energy_scope", Text),
    ("throttled_tokens", Integer),
    ("clean_tokens", Integer),
    ("first_celsius", Real),
    ("hottest_celsius", Real),
    ("clock_hz", Real),
    ("grade", Text),
    ("rss_peak_bytes", Integer),
    ("weight_bytes", Integer),
    ("first_finding", Text),
];

/// Writes the row of a run.
pub(super) fn row(rows: &mut impl Rows, job: JobId, result: &RunResult) -> io::Result<()> {
    let RunResult { host, model, engine, summary, conditions, .. } = result;
    let host = host.as_ref();
    let median = |estimate: Option<&Estimate>| estimate.map(|estimate| estimate.median);
    let energy = |phase: Phase| energy_of(result, phase);
    let decode = energy(Phase::Decode);
    let temperatures = || conditions.tokens.iter().filter_map(|stamp| stamp.celsius);
    // Where nothing reports throttling, neither is known.
    let reported: Vec<bool> = conditions.tokens.iter().filter_map(|stamp| stamp.throttled).collect();
    let throttling = |state: bool| {
        (!reported.is_empty())
            .then(|| reported.iter().filter(|&&throttled| throttled == state).count() as u64)
    };
    let clocks: Vec<f64> = conditions.tokens.iter().filter_map(|stamp| stamp.frequency_hz).collect();
    let clock = (!clocks.is_empty()).then(|| clocks.iter().sum::<f64>() / clocks.len() as f64);
    let status = match result.status {
        RunStatus::Complete => "complete",
        RunStatus::Cancelled => "cancelled",
        RunStatus::Failed => "failed",
    };
    // As it is spelled in JSON.
    let first_finding = result.findings.first().and_then(|finding| serde_json::to_value(finding.code).ok());
    let first_finding = first_finding.and_then(|word| word.as_str().map(str::to_owned));
    rows.row(&[
        job.into(),
        result.run_id.as_deref().into(),
        result.date.as_deref().into(),
        status.into(),
        result.slmscope.as_str().into(),
        host.and_then(|host| host.name.as_deref()).into(),
        host.and_then(|host| host.board.as_deref()).into(),
        host.and_then(|host| host.cpu_model.as_deref()).into(),
        host.and_then(|host| host.os.as_deref()).into(),
        host.and_then(|host| host.kernel.as_deref()).into(),
        host.map(|host| host.arch.as_str()).into(),
        host.map(|host| host.logical_cpus).into(),
        host.and_then(|host| host.memory_bytes).into(),
        model.id.as_str().into(),
        model.hash.as_deref().into(),
        model.format.map(|format| format.to_string()).as_deref().into(),
        engine.executor.as_str().into(),
        engine.isa.as_deref().into(),
        engine.threads.into(),
        result.prompt_tokens().into(),
        result.workload.generate.into(),
        result.workload.depth.into(),
        median(summary.prefill_tokens_per_s.as_ref()).into(),
        median(summary.decode_tokens_per_s.as_ref()).into(),
        summary.ttft_ns.into(),
        summary.load_ns.into(),
        summary.token_ns.map(|token| token.median).into(),
        energy(Phase::Prefill).and_then(|energy| energy.joules_per_token).into(),
        decode.and_then(|energy| energy.joules_per_token).into(),
        decode.and_then(|energy| energy.source.as_deref()).into(),
        decode.and_then(|energy| energy.scope.as_ref()).map(ToString::to_string).as_deref().into(),
        throttling(true).into(),
        throttling(false).into(),
        temperatures().next().into(),
        temperatures().reduce(f64::max).into(),
        clock.into(),
        result.hygiene.grade.map(Grade::as_str).into(),
        result.memory.rss_peak.into(),
        model.weight_bytes.into(),
        first_finding.as_deref().into(),
    ])
}

/// The energy of a phase that the report shows first; `None` where it has no figure.
fn energy_of(result: &RunResult, phase: Phase) -> Option<&PhaseEnergy> {
    result.energy.phases.iter().find(|energy| energy.phase == phase && energy.joules.is_some())
}
