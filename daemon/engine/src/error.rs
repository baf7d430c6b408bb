//! Errors of loading a model and of running it.
//!
//! Messages include their causes. No field is called `source`, because code that prints the chain of sources would
//! print them twice.

use std::num::NonZeroUsize;

use slmscope_profiles::spec::SpecError;
use slmscope_profiles::workload::ExecutorKind;

use crate::gguf::GgufError;
use crate::kernels::Isa;
use crate::safetensors::SafeTensorsError;

/// Why a forward pass ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The cancel flag was up.
    #[error("cancelled")]
    Cancelled,
    /// A token that the model has no row for.
    #[error("token id {id} is not below the vocabulary's {vocab}; use the tokenizer of this model")]
    Token {
        /// The id.
        id: u32,
        /// Rows of the embedding table.
        vocab: u32,
    },
    /// A chunk of no or too many rows.
    #[error("a chunk of {rows} rows is outside 1 to {limit}; cut the prompt into chunks")]
    Rows {
        /// Rows asked for.
        rows: usize,
        /// The most that one pass computes.
        limit: usize,
    },
    /// More tokens than the cache was made for.
    #[error("{needed} tokens do not fit the cache of {capacity}; load with a larger context")]
    Context {
        /// Tokens after the pass.
        needed: u64,
        /// Tokens that fit.
        capacity: u32,
    },
    /// The pass would leave a hole in the cache.
    #[error("the cache holds {filled} tokens, {context} were to come before; feed the missing ones first")]
    Hole {
        /// Tokens before the pass, as its caller states.
        context: u32,
        /// Tokens that are there.
        filled: u32,
    },
    /// The session could not be given the room that a sequence needs.
    #[error(transparent)]
    Room(Box<LoadError>),
    /// A kernel refused.
    #[error("step {step} ({site}): {cause}")]
    Kernel {
        /// Number of the step in the plan.
        step: usize,
        /// Its name.
        site: String,
        /// What the kernel said.
        cause: Box<candle_core::Error>,
    },
    /// No logit is a number.
    #[error(
        "all {0} logits are NaN: the weights are damaged or the format is misread; verify the model file"
    )]
    NoNumber(usize),
}

/// Why a model cannot be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The cancel flag was up.
    #[error("cancelled while loading")]
    Cancelled,
    /// The file's header cannot be read or lacks what every model has.
    #[error(transparent)]
    Gguf(#[from] GgufError),
    /// A safetensors file or index cannot be read.
    #[error(transparent)]
    SafeTensors(#[from] SafeTensorsError),
    /// A configuration cannot be understood, or its tensors are other ones.
    #[error("{file}: {problem}; get the checkpoint again or convert it with a current transformers")]
    Config {
        /// The file.
        file: String,
        /// What is wrong: key or tensor, what was found, what was expected.
        problem: String,
    },
    /// A checkpoint's folder lacks a file.
    #[error("the checkpoint has no {name}{}; download its missing files", named(.named_by.as_ref()))]
    MissingFile {
        /// Its name in the folder.
        name: String,
        /// The index that has it for a shard; `None` for a file that every checkpoint has.
        named_by: Option<String>,
    },
    /// The shapes contradict each other.
    #[error("{model}: {}; the file is damaged or made by a faulty converter", explain(keys, contradiction))]
    Spec {
        /// File or model id.
        model: String,
        /// The keys that the figure was read from, as the file names them. Empty if it has none.
        keys: Vec<String>,
        /// The contradiction.
        contradiction: SpecError,
    },
    /// A model of a kind that this engine does not compute.
    #[error("{file}: {what} is not supported; {remedy}")]
    Unsupported {
        /// The file.
        file: String,
        /// The feature and the key or tensor that asks for it.
        what: String,
        /// What would run.
        remedy: &'static str,
    },
    /// A mixture of experts.
    #[error("{file}: mixture of experts: not supported ({key} = {found}); choose a model without experts")]
    Experts {
        /// The file.
        file: String,
        /// The key of the number of experts.
        key: String,
        /// Its value.
        found: String,
    },
    /// A tensor that the architecture needs is not in the file.
    #[error("{file}: tensor {tensor} ({rows} x {columns}) is missing; convert or download the model again")]
    MissingTensor {
        /// The file.
        file: String,
        /// Name of the tensor.
        tensor: String,
        /// Rows it should have.
        rows: u32,
        /// Elements that a row should have.
        columns: u32,
    },
    /// A tensor of another shape than the metadata promise.
    #[error(
        "{file}: tensor {tensor} (at byte {offset}) has {found_rows} rows of {found_columns}, {rows} rows of {columns} \
         expected; convert or download the model again"
    )]
    Shape {
        /// The file.
        file: String,
        /// Name of the tensor.
        tensor: String,
        /// Where its bytes begin in the file.
        offset: u64,
        /// Rows expected.
        rows: u32,
        /// Columns expected.
        columns: u32,
        /// Rows found.
        found_rows: u64,
        /// Columns found.
        found_columns: u64,
    },
    /// A vocabulary of another size than the embedding.
    #[error(
        "{file}: {key} counts {found} tokens, the tensor token_embd.weight (at byte {offset}) has {rows} rows; as \
         many are expected: convert the model again"
    )]
    Vocabulary {
        /// The file.
        file: String,
        /// The key that counts tokens.
        key: String,
        /// Tokens by that key.
        found: u64,
        /// Tokens that the embedding has.
        rows: u64,
        /// Where the embedding begins in the file.
        offset: u64,
    },
    /// A weight that is NaN or infinite.
    #[error(
        "{file}: tensor {tensor}: {what} is {found}, a finite number is expected; the file is damaged or does \
         not fit the format: get it again or choose another format"
    )]
    NotFinite {
        /// The file.
        file: String,
        /// Name of the tensor.
        tensor: String,
        /// Which of its numbers, and where.
        what: String,
        /// The number.
        found: f32,
    },
    /// The run needs more positions than the model was made for.
    #[error(
        "a context of {asked} tokens is outside 1 to the model's {max}; ask for less depth, prompt or output"
    )]
    Context {
        /// Tokens asked for.
        asked: u32,
        /// The model's maximum.
        max: u32,
    },
    /// The system gave no memory.
    #[error(
        "no memory for {bytes} bytes of {what}; free memory or choose a smaller model, format or context"
    )]
    Memory {
        /// Bytes asked for.
        bytes: u64,
        /// What they are for.
        what: String,
    },
    /// An executor for another machine.
    #[error("the {} executor needs instructions that this processor has not; run with the cpu executor", .0.name())]
    Executor(ExecutorKind),
    /// Kernels for another machine.
    #[error("this machine cannot run kernels for {0}; leave the instruction set out")]
    Isa(Isa),
    /// The system gave no thread.
    #[error("cannot start {threads} engine threads: {cause}; ask for fewer")]
    Threads {
        /// Threads asked for.
        threads: NonZeroUsize,
        /// What the system said.
        cause: std::io::Error,
    },
    /// A kernel library refused a tensor.
    #[error("{tensor}: {cause}")]
    Kernel {
        /// Tensor or table.
        tensor: String,
        /// What it said.
        cause: Box<candle_core::Error>,
    },
}

/// A contradiction, named by the file's `keys`, or by the spec's field if the file has no key for it.
fn explain(keys: &[String], SpecError { field, problem }: &SpecError) -> String {
    let layer = field.strip_prefix("layers[").and_then(|rest| rest.split_once(']'));
    match (keys, layer) {
        ([], _) => format!("{field}: {problem}"),
        (keys, Some((layer, _))) => format!("{}: {problem} (layer {layer})", keys.join(", ")),
        (keys, None) => format!("{}: {problem}", keys.join(", ")),
    }
}

/// Which index names a missing file.
fn named(by: Option<&String>) -> String {
    by.map(|index| format!(", which {index} names")).unwrap_or_default()
}

impl LoadError {
    /// Wraps candle's error about `tensor`.
    pub(crate) fn kernel(tensor: &str) -> impl FnOnce(candle_core::Error) -> Self + '_ {
        move |cause| Self::Kernel { tensor: tensor.to_owned(), cause: Box::new(cause) }
    }
}
