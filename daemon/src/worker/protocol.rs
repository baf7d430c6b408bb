//! What daemon and worker say to each other over their socket pair: MessagePack behind a little-endian `u32`
//! length. Op batches do not go this way; see [`crate::ring`].

use serde::{Deserialize, Serialize};
use slmscope_engine::executor::EngineMemory;
use slmscope_engine::setup::Setup;
use slmscope_profiles::format::{KvFormat, WeightFormat};
use slmscope_profiles::job::Span;
use slmscope_profiles::op::Phase;
use slmscope_profiles::plan::site::OpSite;
use slmscope_profiles::result::LoadTimes;
use slmscope_profiles::roofline::Look;
use slmscope_profiles::spec::DecoderSpec;
use slmscope_profiles::spec::tensors::ParamCounts;

/// Longest message, bytes: a prompt of the longest context fits many times over.
pub const MAX_MESSAGE: usize = 64 << 20;

/// Daemon to worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// Opens or makes a model and readies a workload; answered by [`Event::Loaded`]. The first message
    /// carries the ring's descriptor, every load those of its files.
    Load(Box<Load>),
    /// Runs the workload once; answered by [`Event::RunDone`].
    Repeat {
        /// Number of the repetition.
        run: u32,
        /// Whether it counts.
        measured: bool,
        /// Share of the time that recording may take; `None` for all that it takes.
        budget: Option<f64>,
    },
    /// Measures what recording costs; answered by [`Event::Overhead`].
    Overhead {
        /// Stops after so long, ns.
        limit_ns: u64,
        /// Goes on until it has so many tokens.
        least_tokens: u32,
    },
    /// Takes the identity of the weights; answered by [`Event::Identity`].
    Identify,
    /// Looks at the machine's roofs; answered by [`Event::Looks`].
    Look(LookOrder),
    /// Ends the command that runs, which then answers [`Event::Cancelled`].
    Cancel,
}

/// How to look at the machine's roofs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LookOrder {
    /// Threads and instructions to look with.
    pub setup: Setup,
    /// Memory to read, bytes.
    pub buffer_bytes: u64,
    /// How often.
    pub looks: u32,
    /// What a look takes, ns.
    pub look_ns: u64,
}

/// A model and what to do with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// Number of the job, for spans.
    pub job: u64,
    /// Number of the plan, for batches.
    pub plan: u32,
    /// The weights.
    pub source: Source,
    /// What it runs with.
    pub setup: Setup,
    /// Cache format.
    pub kv: KvFormat,
    /// The prompt.
    pub prompt: Prompt,
    /// Tokens to emit.
    pub generate: u32,
    /// Tokens to fill the context with first.
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
    /// Made from a seed.
    Synthetic {
        /// Shapes.
        spec: Box<DecoderSpec>,
        /// Storage.
        format: WeightFormat,
        /// Seed.
        seed: u64,
    },
    /// A GGUF file, whose descriptor travels along.
    Gguf {
        /// Its name, for messages.
        name: String,
    },
    /// A Hugging Face directory, whose files' descriptors travel along in the order of their names.
    Directory {
        /// Its name, for messages.
        name: String,
        /// Names of the files within it.
        files: Vec<String>,
        /// Format to bring the matrices into; `None` keeps what is stored.
        format: Option<WeightFormat>,
    },
}

/// What to read before generating.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Prompt {
    /// So many seeded random ids; may be 0.
    Random(u32),
    /// Text, for the model's tokenizer.
    Text(String),
    /// What a user says, for the model's chat template and tokenizer.
    Chat(String),
}

/// Worker to daemon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// How far the running command is.
    Progress {
        /// What runs.
        phase: Phase,
        /// Bytes or tokens done.
        done: u64,
        /// Of so many.
        total: Option<u64>,
    },
    /// The model is ready.
    Loaded(Box<Loaded>),
    /// A phase ended.
    Span(Span),
    /// Text came out.
    Text {
        /// Repetition.
        run: u32,
        /// What came since the last.
        text: String,
    },
    /// A repetition ended.
    RunDone {
        /// Its number.
        run: u32,
        /// Ids that were emitted.
        ids: Vec<u32>,
    },
    /// Times of tokens with the recorder on and off, in ABBA order, ns.
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
    /// What the machine can do at most, look by look.
    Looks(Vec<Look>),
    /// The running command was cancelled.
    Cancelled,
    /// The running command failed; the worker is of no further use.
    Failed {
        /// Why, with the remedy.
        message: String,
    },
}

/// What is known of a loaded model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Loaded {
    /// Sites of its plan.
    pub sites: Vec<OpSite>,
    /// Which executor.
    pub executor: String,
    /// Instruction sets of the kernels.
    pub isa: String,
    /// Parameters.
    pub params: ParamCounts,
    /// Bytes of all weights as stored.
    pub weight_bytes: u64,
    /// Format of the largest share of them.
    pub format: Option<WeightFormat>,
    /// Matrices of a synthetic model that its format cannot hold.
    pub not_in_format: Vec<String>,
    /// Ids of the prompt.
    pub prompt_ids: Vec<u32>,
    /// Time that they took to make from text; 0 for random ones.
    pub tokenize_ns: u64,
    /// What loading took.
    pub load: LoadTimes,
    /// The same weights were there from an earlier job.
    pub reused: bool,
    /// Bytes by the engine's own list.
    pub memory: EngineMemory,
    /// What reading the tokenizer took, bytes; `None` without text, or if the kernel does not say.
    pub tokenizer_bytes: Option<u64>,
    /// Resident before anything was loaded, bytes.
    pub runtime_rss: Option<u64>,
}
