//! Jobs: what the daemon was asked to run, and how far it is.

use serde::{Deserialize, Serialize};

use crate::format::WeightFormat;
use crate::model::ModelSource;
use crate::phase::Phase;
use crate::wire::Submit;
use crate::workload::Workload;

/// Number of a job within one daemon's life.
pub type JobId = u64;

/// Stages of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Waits for the jobs before it.
    Queued,
    /// Measures the machine before the run: hygiene, idle power.
    Preparing,
    /// The worker opens or makes the weights.
    Loading,
    /// Unmeasured repetitions.
    Warmup,
    /// Measured repetitions.
    Measuring,
    /// Measures the recorder's own cost.
    Overhead,
    /// Last readings, identity, result.
    Cooling,
    /// Ended as asked.
    Done,
    /// Ended by an error; what was measured so far is in the result.
    Failed,
    /// Ended by its owner; what was measured so far is in the result.
    Cancelled,
}

impl JobState {
    /// Whether the job is over.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }

    /// As spelled in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Preparing => "preparing",
            Self::Loading => "loading",
            Self::Warmup => "warmup",
            Self::Measuring => "measuring",
            Self::Overhead => "overhead",
            Self::Cooling => "cooling",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Where a model comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelRef {
    /// A catalogue id: exact shapes, synthetic weights.
    Catalogue(String),
    /// Files whose descriptors travel with the request, by name, in the same order: one GGUF file, or the files
    /// of one Hugging Face directory, all named `directory/file`. See [`ModelFiles`](crate::model_files::ModelFiles).
    Descriptors(Vec<String>),
    /// A path that the daemon opens itself, if its configuration allows the folder.
    Path(String),
}

impl ModelRef {
    /// What a person calls it: the catalogue id, the file, or the directory of several files.
    pub fn name(&self) -> &str {
        match self {
            Self::Catalogue(id) => id,
            Self::Descriptors(names) => match names.as_slice() {
                [] => "",
                [file] => file,
                [first, ..] => first.rsplit_once('/').map_or("", |(directory, _)| directory),
            },
            Self::Path(path) => path,
        }
    }

    /// Names of the files that come with the request; none for a catalogue model.
    pub fn files(&self) -> &[String] {
        match self {
            Self::Descriptors(names) => names,
            Self::Catalogue(_) | Self::Path(_) => &[],
        }
    }

    /// Where its weights are from.
    pub fn source(&self) -> ModelSource {
        match self {
            Self::Catalogue(_) => ModelSource::Synthetic,
            Self::Descriptors(names) => ModelSource::of_files(names.len()),
            Self::Path(_) => ModelSource::of_files(1),
        }
    }
}

/// A job as the daemon shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Its number.
    pub job: JobId,
    /// The model as it was asked for.
    pub model: String,
    /// Where its weights are from.
    pub source: ModelSource,
    /// Format of the largest share of its weights; `None` until a file of weights was opened.
    #[serde(default)]
    pub format: Option<WeightFormat>,
    /// Names of its files, as they came with the request; empty for a catalogue model.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
    /// Its options.
    pub workload: Workload,
    /// Who asked.
    pub uid: u32,
    /// How far it is.
    pub state: JobState,
    /// Jobs before it in the queue.
    pub ahead: u32,
    /// Repetition that runs, from 0; `None` outside of measured ones.
    #[serde(rename = "run")]
    pub repetition: Option<u32>,
    /// Turns of a loop completed.
    pub turns: u32,
    /// Process of its worker, while there is one.
    pub worker: Option<u32>,
    /// Why it failed or was cancelled.
    pub error: Option<String>,
    /// When it was queued, CLOCK_MONOTONIC ns.
    #[serde(default)]
    pub submitted_ns: Option<u64>,
    /// When it ended, CLOCK_MONOTONIC ns; `None` before that.
    #[serde(default)]
    pub ended_ns: Option<u64>,
    /// How far its phase was when it was asked for; `None` while nothing is counted. A stream carries it as a message of
    /// its own.
    #[serde(default)]
    pub progress: Option<Box<Progress>>,
}

impl Job {
    /// The request that queues the same job again. Its files are to be opened again, in the order of their names.
    pub fn to_submit(&self) -> Submit {
        let model = match self.source {
            ModelSource::Synthetic => ModelRef::Catalogue(self.model.clone()),
            // Before there was a list of names, one file was named after the model.
            _ if self.files.is_empty() => ModelRef::Descriptors(vec![self.model.clone()]),
            _ => ModelRef::Descriptors(self.files.clone()),
        };
        Submit::new(model, self.workload.clone())
    }
}

/// How far a stage is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The job.
    pub job: JobId,
    /// The phase.
    pub phase: Phase,
    /// Bytes or tokens done.
    pub done: u64,
    /// All of them; `None` if unknown.
    pub total: Option<u64>,
}

/// A phase that ended: one measured stretch of one repetition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// The job.
    pub job: JobId,
    /// Repetition, from 0.
    #[serde(rename = "run")]
    pub repetition: u32,
    /// Which phase.
    pub phase: Phase,
    /// CLOCK_MONOTONIC, ns.
    pub begin_ns: u64,
    /// CLOCK_MONOTONIC, ns.
    pub end_ns: u64,
    /// Tokens processed: rows of the prompt in prefill, steps in decode.
    pub tokens: u32,
    /// Time in sampling within it, ns.
    pub sample_ns: u64,
    /// End of every token (decode) or chunk (prefill), CLOCK_MONOTONIC ns.
    pub token_ends_ns: Vec<u64>,
}

impl Span {
    /// End minus begin, ns.
    pub fn wall_ns(&self) -> u64 {
        self.end_ns.saturating_sub(self.begin_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_files_are_a_directory_and_one_is_itself() {
        let model =
            |names: &[&str]| ModelRef::Descriptors(names.iter().map(|&name| name.to_owned()).collect());
        let directory = model(&["org/name/config.json", "org/name/model.safetensors"]);
        assert_eq!((directory.name(), directory.source()), ("org/name", ModelSource::Hf));
        let file = model(&["a/b.gguf"]);
        assert_eq!((file.name(), file.source()), ("a/b.gguf", ModelSource::Gguf));
    }
}
