//! Findings: what stands out in a result, why, and what to do about it.

use serde::{Deserialize, Serialize};

use crate::op::Phase;
use crate::plan::site::Module;
use crate::result::RunResult;

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Word for machines.
    pub code: FindingCode,
    /// What was seen, with the figure.
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
}

/// Above this share of decode the LM head is worth a word.
const LM_HEAD_SHARE: f64 = 0.25;
/// Bars for the books and for the tool's own cost.
const UNATTRIBUTED_SHARE: f64 = 0.01;
const OVERHEAD_SHARE: f64 = 0.01;
/// Half-width of the interval of tokens/s above which repetitions are called noisy.
const NOISY_SHARE: f64 = 0.05;
/// p99 above so many medians is a tail.
const TAIL_FACTOR: f64 = 2.0;

/// Everything that stands out in `result`.
pub fn findings(result: &RunResult) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut add = |code, reason: String, advice: &str| {
        found.push(Finding { code, reason, advice: advice.to_owned() });
    };
    if result.hygiene.clean == Some(false) {
        add(
            FindingCode::DirtyMachine,
            result.hygiene.reasons.join("; "),
            "Measure again when the machine is quiet; until then compare these figures with nothing.",
        );
    }
    if result.engine.threads > result.host.logical_cpus && result.host.logical_cpus > 0 {
        add(
            FindingCode::TooManyThreads,
            format!("{} engine threads on {} CPUs", result.engine.threads, result.host.logical_cpus),
            "Threads wait for each other; use at most one a core.",
        );
    }
    let head: f64 = result
        .ops
        .iter()
        .filter(|op| op.phase == Phase::Decode && op.module == Module::LmHead)
        .map(|op| op.share)
        .sum();
    if head > LM_HEAD_SHARE {
        add(
            FindingCode::LmHeadDominates,
            format!("the LM head takes {:.0} % of decode", head * 100.0),
            "The vocabulary is large for this model; a smaller format for the output matrix pays most.",
        );
    }
    for phase in [Phase::Prefill, Phase::Decode] {
        let books = || result.phases.iter().filter(|books| books.phase == phase);
        let wall: u64 = books().map(|books| books.recorded_wall_ns).sum();
        let unexplained: u64 = books().map(|books| books.unattributed_ns).sum();
        if wall > 0 && unexplained as f64 > UNATTRIBUTED_SHARE * wall as f64 {
            add(
                FindingCode::Unattributed,
                format!(
                    "{:.1} % of {} is unattributed",
                    100.0 * unexplained as f64 / wall as f64,
                    phase.as_str()
                ),
                "The engine was interrupted or did something that no op covers; look for other load.",
            );
        }
        let lost: u64 = books().map(|books| books.tokens - books.recorded_tokens.min(books.tokens)).sum();
        if lost > 0 {
            add(
                FindingCode::LostTokens,
                format!("{lost} tokens of {} were not recorded", phase.as_str()),
                "Rates count them; op times do not.",
            );
        }
    }
    let own = result.overhead.fraction.filter(|&fraction| fraction > OVERHEAD_SHARE);
    if let Some(fraction) = own {
        add(
            FindingCode::Overhead,
            format!("measuring cost {:.1} % of the run", fraction * 100.0),
            "Close dashboards, or read the figures with that in mind.",
        );
    }
    let summary = &result.summary;
    let rates = [("prefill", summary.prefill_tokens_per_s), ("decode", summary.decode_tokens_per_s)];
    for (phase, rate) in rates {
        if let Some(width) = rate.and_then(|rate| rate.relative_half_width()).filter(|&w| w > NOISY_SHARE) {
            add(
                FindingCode::Noisy,
                format!("{phase} varies by ± {:.0} % between repetitions", width * 100.0),
                "Ask for more repetitions, or find what else runs.",
            );
        }
    }
    if let Some(times) = summary.token_ns.filter(|t| t.p99 as f64 > TAIL_FACTOR * t.median as f64) {
        add(
            FindingCode::TailLatency,
            format!(
                "1 of 100 tokens takes {:.1} times the median or more",
                times.p99 as f64 / times.median as f64
            ),
            "Something takes the CPU away now and then; see hygiene and pressure.",
        );
    }
    let memory = &result.memory;
    if let (Some(unexplained), Some(rss)) = (memory.unexplained, memory.rss)
        && unexplained > 20 << 20
        && unexplained as f64 > 0.05 * rss as f64
    {
        add(
            FindingCode::UnexplainedMemory,
            format!("{} MiB are resident that nothing explains", unexplained >> 20),
            "The engine's libraries allocate beside the plan; the peak may be higher than the table says.",
        );
    }
    let slow = result.energy.phases.iter().find(|energy| energy.joules.is_none() && energy.updates > 0);
    if let Some(energy) = slow {
        add(
            FindingCode::SensorTooSlow,
            format!("{} new readings during {}", energy.updates, energy.phase.as_str()),
            "Run longer: more tokens or more repetitions.",
        );
    }
    found
}
