//! What the runner asks of an engine, and what the engine reports. A worker process gets and sends these as messages
//! over its socket pair (see `channel`); op batches take another way (see `ring`).

use serde::{Deserialize, Serialize};
use slmscope_profiles::engine_memory::EngineMemory;
use slmscope_profiles::format::{KvFormat, WeightFormat};
use slmscope_profiles::job::Span;
use slmscope_profiles::lane::Lane;
use slmscope_profiles::model_files::ModelFiles;
use slmscope_profiles::op::{Granularity, Phase};
use slmscope_profiles::plan::site::OpSite;
use slmscope_profiles::result::LoadTimes;
use slmscope_profiles::roofline::RoofSample;
use slmscope_profiles::setup::Setup;
use slmscope_profiles::spec::DecoderSpec;
use slmscope_profiles::spec::tensors::ParamCounts;

/// What an engine is asked to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// Opens or generates a model and prepares a workload; answered by [`Event::Loaded`]. The descriptors of the
    /// model's files travel with it.
    Load(Box<Load>),
    /// Runs the workload once; answered by [`Event::RepetitionDone`].
    Repeat {
        /// Number of the repetition, from 0.
        repetition: u32,
        /// Whether it is measured; `false` for a warm-up.
        measured: bool,
        /// Share of the time that recording may take, 0 to 1; `None` for no limit.
        budget: Option<f64>,
    },
    /// Measures what recording costs; answered by [`Event::Overhead`].
    Overhead {
        /// Time after which it stops, ns.
        limit_ns: u64,
        /// Tokens that it measures even after that.
        min_tokens: u32,
    },
    /// Hashes the weights; answered by [`Event::Identity`].
    Identify,
    /// Measures the machine's roofs; answered by [`Event::Roofs`].
    MeasureRoofs(MeasureRoofs),
    /// Ends the command that runs, which then answers [`Event::Cancelled`].
    Cancel,
}

/// How to measure the machine's roofs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeasureRoofs {
    /// Threads and instruction set to use.
    pub setup: Setup,
    /// Memory to read, bytes.
    pub buffer_bytes: u64,
    /// Samples to take.
    pub samples: u32,
    /// Time that a sample takes, ns.
    pub sample_ns: u64,
}

/// A model and what to do with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// Number of the job, for spans.
    pub job: u64,
    /// Number of the plan, for batches.
    pub plan: u32,
    /// Where the weights are from.
    pub source: Source,
    /// Executor, threads and instruction set.
    pub setup: Setup,
    /// Cache format.
    pub kv: KvFormat,
    /// The prompt.
    pub prompt: Prompt,
    /// Tokens to generate.
    pub generate: u32,
    /// Tokens to fill the context with before each repetition.
    pub depth: u32,
    /// Seed of random ids.
    pub seed: u64,
    /// Whether generation stops at an end-of-text token.
    pub stops_at_end: bool,
    /// Memory that may be taken, bytes; `None` if unknown.
    pub memory_limit: Option<u64>,
}

/// Where weights come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Source {
    /// Generated from a seed.
    Synthetic {
        /// Shapes.
        spec: Box<DecoderSpec>,
        /// Storage.
        format: WeightFormat,
        /// Seed.
        seed: u64,
    },
    /// Files, whose descriptors travel along in the order of their names.
    Files {
        /// Their names.
        files: ModelFiles,
        /// Format to convert the matrices of a directory to; `None` keeps what is stored.
        format: Option<WeightFormat>,
    },
}

/// The prompt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Prompt {
    /// This many random ids from the seed; may be 0.
    Random(u32),
    /// Text, for the model's tokenizer.
    Text(String),
    /// A user's message, for the model's chat template and tokenizer.
    Chat(String),
}

/// What an engine reports.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// Progress of the running command.
    Progress {
        /// What runs.
        phase: Phase,
        /// Bytes or tokens done.
        done: u64,
        /// All of them; `None` if unknown.
        total: Option<u64>,
    },
    /// The model is ready.
    Loaded(Box<Loaded>),
    /// A phase ended.
    Span(Span),
    /// Generated text.
    Text {
        /// The repetition.
        repetition: u32,
        /// All text of the repetition so far; it replaces what an earlier event of the repetition held.
        text: String,
    },
    /// A repetition ended.
    RepetitionDone {
        /// Its number.
        repetition: u32,
        /// Ids that were generated.
        ids: Vec<u32>,
    },
    /// Wall times of tokens with the recorder on and off, measured in ABBA order, ns.
    Overhead {
        /// On.
        on_ns: Vec<u32>,
        /// Off.
        off_ns: Vec<u32>,
    },
    /// Identity of the weights.
    Identity {
        /// BLAKE3, hex.
        hash: String,
        /// The file changed since it was opened.
        changed: bool,
    },
    /// Samples of the machine's roofs.
    Roofs(Vec<RoofSample>),
    /// The running command was cancelled.
    Cancelled,
    /// The running command failed; the engine takes no other.
    Failed {
        /// Why, with the remedy.
        message: String,
    },
}

/// A loaded model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Loaded {
    /// Sites of its plan; empty for an engine that reports tokens alone.
    pub sites: Vec<OpSite>,
    /// Whether it reports every op or tokens alone.
    pub granularity: Granularity,
    /// Where ops run; lane 0 is the host's.
    pub lanes: Vec<Lane>,
    /// Name of the executor.
    pub executor: String,
    /// Instruction sets that the kernels use.
    pub isa: String,
    /// Parameters; `None` if the engine does not know.
    pub params: Option<ParamCounts>,
    /// Bytes of all weights as stored; `None` likewise.
    pub weight_bytes: Option<u64>,
    /// Format of most of those bytes.
    pub format: Option<WeightFormat>,
    /// Matrices that the requested format cannot hold.
    pub not_in_format: Vec<String>,
    /// Ids of the prompt.
    pub prompt_ids: Vec<u32>,
    /// Time to turn text into these ids, ns; 0 for random ones.
    pub tokenize_ns: u64,
    /// Time of loading.
    pub load: LoadTimes,
    /// Memory by the engine's own account; `None` if it keeps none.
    pub memory: Option<EngineMemory>,
    /// Memory that reading the tokenizer took, bytes; `None` without text, or if the kernel does not say.
    pub tokenizer_bytes: Option<u64>,
    /// Resident before anything was loaded, bytes.
    pub runtime_rss: Option<u64>,
}
