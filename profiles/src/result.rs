//! The result of a run: the object that `slmscope run --json` prints, and from which the report is made.
//!
//! Times, bytes and counts are integers; absent is null with a reason beside it, never a zero.

use serde::{Deserialize, Serialize};

use crate::bandwidth::PhaseBandwidth;
use crate::channel::{Class, Scope};
use crate::conditions::Conditions;
use crate::finding::Finding;
use crate::format::WeightFormat;
use crate::host::Host;
use crate::lane::{Lane, LaneId};
use crate::op::{Granularity, Phase};
use crate::plan::SiteId;
use crate::plan::site::{Module, OpKind};
use crate::roofline::{OpRoof, Roofs};
use crate::span::NamedSpan;
use crate::spec::tensors::ParamCounts;
use crate::stats::Estimate;
use crate::workload::Workload;

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
    /// Unique among runs.
    pub run_id: String,
    /// The machine.
    pub host: Host,
    /// The model.
    pub model: ModelInfo,
    /// How it was computed.
    pub engine: EngineInfo,
    /// All options as they were used.
    pub workload: Workload,
    /// Whether the machine was fit to measure on.
    pub hygiene: Hygiene,
    /// What the machine can do at most; null with a reason where it was not looked at.
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
    /// Clock, heat and throttling under which decode ran.
    #[serde(default)]
    pub conditions: Conditions,
    /// What the measuring cost.
    pub overhead: Overhead,
    /// What stands out, and what to do about it.
    pub findings: Vec<Finding>,
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
}

/// Where weights are from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelSource {
    /// Made from a seed: right shapes and cost, meaningless text.
    Synthetic,
    /// A GGUF file.
    Gguf,
    /// A Hugging Face directory.
    Hf,
}

/// How it was computed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineInfo {
    /// `candle`
    pub executor: String,
    /// Engine threads.
    pub threads: u32,
    /// Instruction sets that the kernels were built for.
    pub isa: String,
    /// Whether steps of the plan were recorded, or tokens alone.
    #[serde(default)]
    pub granularity: Granularity,
}

/// How fit a machine was to measure on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grade {
    /// Nothing speaks against the figures.
    Clean,
    /// Something was not as it should be; the figures may be off by a few percent.
    Fair,
    /// The figures are of this machine at this time, not of the model.
    Poor,
}

impl Grade {
    /// The grade as it is spelled in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Fair => "fair",
            Self::Poor => "poor",
        }
    }
}

/// Whether the machine was fit to measure on.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Hygiene {
    /// No reason speaks against the figures; null if the run ended before that was known.
    pub clean: Option<bool>,
    /// The worst of the reasons; null as above.
    #[serde(default)]
    pub grade: Option<Grade>,
    /// What speaks against them.
    pub reasons: Vec<String>,
}

/// The books of one phase of one repetition. ops + gap + Σ other + unattributed = recorded wall.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PhaseBooks {
    /// Which phase.
    pub phase: Phase,
    /// Repetition, from 0.
    #[serde(rename = "run")]
    pub repetition: u32,
    /// Prompt tokens in prefill, steps in decode.
    pub tokens: u64,
    /// Those of them whose events were recorded.
    pub recorded_tokens: u64,
    /// Begin to end, ns.
    pub wall_ns: u64,
    /// The part of it that the recorded tokens took.
    pub recorded_wall_ns: u64,
    /// In steps of the plan.
    pub ops_ns: u64,
    /// Between steps, up to 1 µs a border.
    pub gap_ns: u64,
    /// What nothing explains.
    pub unattributed_ns: u64,
    /// In named spans.
    pub other: Vec<NamedSpan>,
}

/// The books of a lane beside the host's in one phase of one repetition. ops + gap + Σ other + unattributed =
/// wall. The host's time in waiting for it is a named span of the phase's own books: the two are not added up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LaneBooks {
    /// Which lane.
    #[serde(flatten)]
    pub lane: Lane,
    /// Which phase.
    pub phase: Phase,
    /// Repetition, from 0.
    #[serde(rename = "run")]
    pub repetition: u32,
    /// Prompt tokens in prefill, steps in decode, as far as they were recorded.
    pub recorded_tokens: u64,
    /// What the recorded tokens took in this lane, ns.
    pub wall_ns: u64,
    /// In steps of the plan.
    pub ops_ns: u64,
    /// Between steps, up to 1 µs a border.
    pub gap_ns: u64,
    /// What nothing explains.
    pub unattributed_ns: u64,
    /// In named spans.
    pub other: Vec<NamedSpan>,
    /// Begin and end of its batches lie within this of the truth, ns; null if they were not placed on the host's
    /// clock, or are of it.
    pub placement_error_ns: Option<u64>,
}

/// The figures that people quote. Medians over repetitions.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Figures {
    /// Time to first token: tokenize, prefill and the first sample; null without a prompt or a token.
    pub ttft_ns: Option<u64>,
    /// Prompt tokens by the wall time of prefill.
    pub prefill_tokens_per_s: Option<Estimate>,
    /// Steps by the wall time of decode, sampling included.
    pub decode_tokens_per_s: Option<Estimate>,
    /// The same without sampling: of decode, or of prefill where nothing was decoded.
    pub forward_tokens_per_s: Option<Estimate>,
    /// Wall time of single decode steps, all repetitions.
    pub token_ns: Option<TokenTimes>,
    /// Opening or making the weights, to the first step ready.
    pub load_ns: Option<u64>,
    /// What that time was spent on.
    #[serde(default)]
    pub load: Option<LoadTimes>,
}

/// What loading took, ns. `open_ns`, `weights_ns` and `waited_ns` add up to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LoadTimes {
    /// Reading headers or a configuration, and planning the steps.
    pub open_ns: u64,
    /// Mapping, reading, quantizing or making the weights, and room for cache and activations.
    pub weights_ns: u64,
    /// Reading the tokenizer, on a thread of its own: beside the weights where those are mapped from a GGUF file,
    /// before them otherwise. Null without text.
    pub tokenizer_ns: Option<u64>,
    /// How long the tokenizer was waited for.
    pub waited_ns: u64,
}

impl LoadTimes {
    /// From opening to the first step ready.
    pub fn total_ns(&self) -> u64 {
        self.open_ns + self.weights_ns + self.waited_ns
    }
}

/// Percentiles of decode steps, ns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenTimes {
    /// Half are faster.
    pub median: u64,
    /// 95 of 100 are faster.
    pub p95: u64,
    /// 99 of 100 are faster.
    pub p99: u64,
}

/// One step of the plan in one phase, summed over the measured repetitions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OpRow {
    /// Site.
    pub id: SiteId,
    /// Phase.
    pub phase: Phase,
    /// Lane that it ran in; 0 is the host's.
    #[serde(default)]
    pub lane: LaneId,
    /// Part of the model.
    pub module: Module,
    /// Name, the same in every layer.
    pub name: String,
    /// Kind of work.
    pub kind: OpKind,
    /// Block; null before the first and after the last.
    pub layer: Option<u32>,
    /// Which kernels ran.
    pub path: String,
    /// Repetitions that it was recorded in.
    pub runs: u64,
    /// Events.
    pub count: u64,
    /// Their time.
    pub time_ns: u64,
    /// Bytes by the plan's rule.
    pub bytes: u64,
    /// FLOPs by the plan's rule.
    pub flops: u64,
    /// Of its lane's recorded wall time in the phase, 0 to 1; above 1 where ops overlap.
    pub share: f64,
    /// How near the roofs it came; null without roofs, or where the plan counts neither bytes nor FLOPs.
    #[serde(default)]
    pub roof: Option<OpRoof>,
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
}

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
    /// New values seen in the window.
    pub updates: u64,
    /// Share of the phase that readings cover, 0 to 1.
    pub coverage: Option<f64>,
    /// Why there is no figure.
    pub reason: Option<String>,
}

/// What the measuring cost, as a share of the measured time.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Overhead {
    /// Recording: decode with the recorder on against off; null with a reason.
    pub recording: Option<f64>,
    /// CPU time that daemon, clients and helper threads took, by that of the engine threads; null where the
    /// kernel does not say.
    pub stolen: Option<f64>,
    /// Their sum; null if one is.
    pub fraction: Option<f64>,
    /// Lower end of the sum.
    pub low: Option<f64>,
    /// Upper end of the sum.
    pub high: Option<f64>,
    /// Tokens that `recording` was found with.
    pub tokens: u64,
    /// Share of the measured tokens whose events were recorded: less than 1 where a budget left some out, or
    /// the daemon was too slow for them. `recording` is that much of what recording all of them costs.
    #[serde(default)]
    pub recorded: Option<f64>,
    /// Why there is no figure.
    pub reason: Option<String>,
}

impl RunResult {
    /// The result of a run of which nothing is known but that it failed.
    pub fn failed(model: &str, source: ModelSource, error: &str) -> Self {
        Self {
            schema: RUN_SCHEMA.to_owned(),
            slmscope: env!("CARGO_PKG_VERSION").to_owned(),
            status: RunStatus::Failed,
            error: Some(error.to_owned()),
            run_id: String::new(),
            host: Host::default(),
            model: ModelInfo {
                id: model.to_owned(),
                source,
                hash: None,
                params: None,
                weight_bytes: None,
                format: None,
                not_in_format: Vec::new(),
            },
            engine: EngineInfo {
                executor: String::new(),
                threads: 0,
                isa: String::new(),
                granularity: Granularity::Op,
            },
            workload: Workload::default(),
            hygiene: Hygiene::default(),
            roofs: Roofs::absent(error),
            phases: Vec::new(),
            lanes: Vec::new(),
            summary: Figures::default(),
            ops: Vec::new(),
            memory: Memory::default(),
            energy: Energy::default(),
            bandwidth: Vec::new(),
            conditions: Conditions::default(),
            overhead: Overhead { reason: Some(error.to_owned()), ..Overhead::default() },
            findings: Vec::new(),
            prompt_ids: Vec::new(),
            generated_ids: Vec::new(),
            text: None,
        }
    }
}
