//! The result of a run: the object that `slmscope run --json` prints, and from which the report is made.
//!
//! Times, bytes and counts are integers; absent is null with a reason beside it, never a zero.

use serde::{Deserialize, Serialize};

pub use crate::energy::{Energy, PhaseEnergy};
pub use crate::hygiene::{Grade, Hygiene};
pub use crate::model::ModelSource;
pub use crate::overhead::Overhead;
pub use crate::profile::{
    Figures, LaneBooks, LoadTimes, OpRow, Outlier, PercentileIntervals, Percentiles, PhaseBooks,
};

use crate::bandwidth::PhaseBandwidth;
use crate::conditions::Conditions;
use crate::finding::Finding;
use crate::format::WeightFormat;
use crate::host::Host;
use crate::hygiene::ThreadTime;
use crate::job::JobId;
use crate::op::Granularity;
use crate::roofline::Roofs;
use crate::spec::tensors::ParamCounts;
use crate::workload::{ExecutorKind, Workload};

/// Schema name of [`RunResult`].
pub const RUN_SCHEMA: &str = "slmscope.run/1";

/// Everything that is known of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunResult {
    /// [`RUN_SCHEMA`].
    pub schema: String,
    /// Version of the tool.
    pub slmscope: String,
    /// How it ended.
    pub status: RunStatus,
    /// Why it failed or was cancelled.
    pub error: Option<String>,
    /// What stands out, and what to do about it, the most useful first.
    pub findings: Vec<Finding>,
    /// Unique among runs; null if the run never became a job.
    pub run_id: Option<String>,
    /// When it began, or for the turn of a loop when that began: RFC 3339, UTC; null if the run never became a job.
    #[serde(default)]
    pub date: Option<String>,
    /// The command line that repeats it; null if the run never became a job.
    #[serde(default)]
    pub command: Option<String>,
    /// The machine; null if the run never became a job.
    pub host: Option<Host>,
    /// The model.
    pub model: ModelInfo,
    /// How it was computed.
    pub engine: EngineInfo,
    /// The process that computed.
    #[serde(default)]
    pub worker: WorkerInfo,
    /// All options as they were used.
    pub workload: Workload,
    /// Whether the machine was fit to measure on.
    pub hygiene: Hygiene,
    /// What the machine can do at most; null with a reason where it was not measured.
    pub roofs: Roofs,
    /// Measured phases of every repetition.
    pub phases: Vec<PhaseBooks>,
    /// The same of the lanes beside the host's; empty where the host computes alone.
    #[serde(default)]
    pub lanes: Vec<LaneBooks>,
    /// The figures that people quote.
    pub summary: Figures,
    /// Every step of the plan in every phase, summed over the repetitions.
    pub ops: Vec<OpRow>,
    /// Where the worker's memory went.
    pub memory: Memory,
    /// Energy, or why there is none.
    pub energy: Energy,
    /// Memory traffic of the measured phases, counted beside derived.
    #[serde(default)]
    pub bandwidth: Vec<PhaseBandwidth>,
    /// Where the daemon recorded it.
    #[serde(default)]
    pub recorded: Recorded,
    /// Clock, heat and throttling under which decode ran.
    #[serde(default)]
    pub conditions: Conditions,
    /// What the measuring cost.
    pub overhead: Overhead,
    /// CPU time of each engine thread during the measured repetitions; empty where the kernel does not report it.
    #[serde(default)]
    pub threads: Vec<ThreadTime>,
    /// Token ids of the prompt.
    pub prompt_ids: Vec<u32>,
    /// Token ids that the first repetition emitted.
    pub generated_ids: Vec<u32>,
    /// Their text; null for synthetic weights.
    pub text: Option<String>,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// As asked.
    Complete,
    /// Its owner ended it; the rest holds what was measured.
    Cancelled,
    /// An error ended it; the rest holds what was measured.
    Failed,
}

/// Which model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// Catalogue id, or the file's name.
    pub id: String,
    /// Where the weights are from.
    pub source: ModelSource,
    /// Identity of the weights; null if the run ended before it was taken.
    pub hash: Option<String>,
    /// Parameters, counted three ways; null if the model was never opened.
    pub params: Option<ParamCounts>,
    /// Bytes of all weights as stored; null if the model was never opened.
    pub weight_bytes: Option<u64>,
    /// Format of the largest share of the weights.
    pub format: Option<WeightFormat>,
    /// Tensors of a synthetic model that are stored in f16 because the format's block does not divide their
    /// rows.
    pub not_in_format: Vec<String>,
    /// Whether k-quants can store all of its matrices, as their blocks of 256 divide the rows; null if that is not known.
    #[serde(default)]
    pub holds_k_quants: Option<bool>,
}

/// Where the daemon recorded a run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Recorded {
    /// Number of its session; null if it was not recorded.
    pub session: Option<JobId>,
    /// Why it was not recorded, or not to its end; null if it was, or was not to be.
    pub error: Option<String>,
}

/// How it was computed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineInfo {
    /// `cpu` or `candle`.
    pub executor: String,
    /// Engine threads; null if the run ended before they were chosen.
    pub threads: Option<u32>,
    /// Instruction sets that the kernels use; null if the run ended before that was known.
    pub isa: Option<String>,
    /// Whether steps of the plan were recorded, or tokens alone.
    #[serde(default)]
    pub granularity: Granularity,
    /// What is to be known about the executor's speed; `None` where there is nothing to say.
    #[serde(default)]
    pub note: Option<String>,
}

impl EngineInfo {
    /// Why candle is slower than the machine, where its kernels were compiled for `isa`; `None` for other executors.
    pub fn note_on(executor: ExecutorKind, isa: &str) -> Option<String> {
        (executor == ExecutorKind::Candle).then(|| {
            format!(
                "candle is a reference: its SIMD is chosen when it is compiled (here: {isa}; RUSTFLAGS=\"-C \
                 target-cpu=native\" compiles it for this machine), and by default it leaves one core free"
            )
        })
    }
}

/// The process that computed. Each job has one of its own, which ends with it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct WorkerInfo {
    /// What was in its memory when the run began; null if none was started.
    pub state: Option<WorkerState>,
    /// The run that loaded the weights, of a worker that is warm; null for one that is fresh.
    pub loaded_by: Option<String>,
    /// Why the run has no time of loading; null if it has one.
    pub reason: Option<String>,
}

/// What was in the memory of a worker when a run began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkerState {
    /// Nothing: it was started for the run.
    Fresh,
    /// The same model, loaded by an earlier turn of the same loop.
    Warm,
}

impl WorkerInfo {
    /// Of a worker that was started for the run.
    pub fn fresh() -> Self {
        Self { state: Some(WorkerState::Fresh), ..Self::default() }
    }

    /// Of the worker of a loop whose first turn was run `loaded_by`.
    pub fn warm(loaded_by: &str) -> Self {
        Self {
            state: Some(WorkerState::Warm),
            loaded_by: Some(loaded_by.to_owned()),
            reason: Some(format!("the weights were loaded by the loop's first turn, run {loaded_by}")),
        }
    }

    /// None was started, and why.
    pub fn absent(reason: &str) -> Self {
        Self { reason: Some(reason.to_owned()), ..Self::default() }
    }
}

/// Where the worker's memory went, bytes. Null where it is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Memory {
    /// Weights in the worker's own memory.
    pub weights: Option<u64>,
    /// Weights laid out a second time.
    pub packed: Option<u64>,
    /// Keys and values.
    pub kv: Option<u64>,
    /// Activations and tables.
    pub scratch: Option<u64>,
    /// What reading the tokenizer took, measured then; null without text.
    pub tokenizer: Option<u64>,
    /// The program itself before anything was loaded.
    pub runtime: Option<u64>,
    /// Resident beyond all of these.
    pub unexplained: Option<i64>,
    /// Resident at the end of the measured runs.
    pub rss: Option<u64>,
    /// Most that was ever resident.
    pub rss_peak: Option<u64>,
    /// Resident, shared pages divided among those who share them.
    pub pss: Option<u64>,
    /// Pages of mapped files among the resident ones.
    pub mapped: Option<u64>,
    /// What was left for programs at the end of the measured runs, of the machine or of the control group.
    #[serde(default)]
    pub available: Option<u64>,
    /// How often the worker waited for a page from storage during the measured runs.
    #[serde(default)]
    pub major_faults: Option<u64>,
    /// The same from the worker's start to the first measured repetition: opening, loading, warm-up.
    #[serde(default)]
    pub startup_major_faults: Option<u64>,
}

impl RunResult {
    /// Tokens of the prompt: of a text as many as were read, else what was asked for.
    pub fn prompt_tokens(&self) -> u64 {
        if self.workload.has_text() { self.prompt_ids.len() as u64 } else { self.workload.prompt.into() }
    }

    /// Tokens in the context when decode step `step` (from 0) attends, its own included.
    pub fn context_at(&self, step: u32) -> u64 {
        u64::from(self.workload.depth) + self.prompt_tokens() + u64::from(step) + 1
    }

    /// The result of a run of which nothing is known but what was asked for and that it failed.
    pub fn failed(model: &str, source: ModelSource, workload: &Workload, error: &str) -> Self {
        Self {
            schema: RUN_SCHEMA.to_owned(),
            slmscope: env!("CARGO_PKG_VERSION").to_owned(),
            status: RunStatus::Failed,
            error: Some(error.to_owned()),
            findings: Vec::new(),
            run_id: None,
            date: None,
            command: None,
            host: None,
            model: ModelInfo {
                id: model.to_owned(),
                source,
                hash: None,
                params: None,
                weight_bytes: None,
                format: None,
                not_in_format: Vec::new(),
                holds_k_quants: None,
            },
            engine: EngineInfo {
                executor: workload.executor.name().to_owned(),
                threads: workload.threads,
                isa: workload.isa.map(|isa| isa.to_string()),
                granularity: Granularity::Op,
                note: None,
            },
            worker: WorkerInfo::absent(error),
            workload: workload.shown(),
            hygiene: Hygiene::default(),
            roofs: Roofs::absent(error),
            phases: Vec::new(),
            lanes: Vec::new(),
            summary: Figures::default(),
            ops: Vec::new(),
            memory: Memory::default(),
            energy: Energy::default(),
            bandwidth: Vec::new(),
            recorded: Recorded::default(),
            conditions: Conditions::default(),
            overhead: Overhead { reason: Some(error.to_owned()), ..Overhead::default() },
            threads: Vec::new(),
            prompt_ids: Vec::new(),
            generated_ids: Vec::new(),
            text: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::Isa;

    #[test]
    fn a_run_that_never_began_has_what_was_asked_for_and_null_for_the_rest() {
        let asked = Workload { threads: Some(3), isa: Some(Isa::Scalar), seed: 9, ..Workload::default() };
        let result = RunResult::failed("m", ModelSource::Gguf, &asked, "no such file");
        let json = serde_json::to_value(&result).unwrap();
        assert_eq!(
            (json["engine"]["threads"].as_u64(), json["engine"]["isa"].as_str()),
            (Some(3), Some("scalar"))
        );
        assert_eq!(
            (json["engine"]["executor"].as_str(), json["workload"]["seed"].as_u64()),
            (Some("cpu"), Some(9))
        );
        assert!(json["run_id"].is_null() && json["host"].is_null());
        let unasked = RunResult::failed("m", ModelSource::Gguf, &Workload::default(), "no such file");
        assert_eq!((unasked.engine.threads, unasked.engine.isa), (None, None));
        assert_eq!(unasked.error.as_deref(), Some("no such file"));
    }

    #[test]
    fn a_decode_step_attends_to_all_before_it_and_to_itself() {
        let asked = Workload { prompt: 256, depth: 10, ..Workload::default() };
        let mut result = RunResult::failed("m", ModelSource::Gguf, &asked, "no");
        assert_eq!((result.prompt_tokens(), result.context_at(0), result.context_at(3)), (256, 267, 270));
        (result.workload.chat, result.prompt_ids) = (Some("hi".to_owned()), vec![1, 2, 3]);
        assert_eq!(
            (result.prompt_tokens(), result.context_at(0)),
            (3, 14),
            "a text has as many as were read"
        );
    }

    #[test]
    fn candle_says_why_it_is_slow_and_cpu_has_nothing_to_say() {
        let note = EngineInfo::note_on(ExecutorKind::Candle, "baseline").unwrap();
        assert!(note.contains("here: baseline") && note.contains("target-cpu=native"), "{note}");
        assert_eq!(EngineInfo::note_on(ExecutorKind::Cpu, "avx2"), None);
    }
}
