//! Why a job is refused before it is queued.

use slmscope_profiles::admission::TooLarge;
use slmscope_profiles::display::excerpt;
use slmscope_profiles::isa::Isa;
use slmscope_profiles::model_files::MAX_FILES;
use slmscope_profiles::wire::{ErrorCode, MAX_ECHO, WireError};
use slmscope_profiles::workload::{ExecutorKind, WorkloadError};

use crate::model_files::Refused;

/// Why a job is refused.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// An option cannot be.
    #[error(transparent)]
    Workload(#[from] WorkloadError),
    /// It needs more memory than there is.
    #[error(transparent)]
    Memory(#[from] TooLarge),
    /// Far more threads than CPUs.
    #[error("threads: {threads} are more than 4 for each of {cores} CPUs: ask for fewer")]
    Threads {
        /// Threads that were asked for.
        threads: u32,
        /// CPUs that the daemon may use.
        cores: u32,
    },
    /// A CPU that there is not, or that the daemon may not use.
    #[error("cores: this machine gives the daemon no CPU {cpu}: name some of {there}")]
    Cores {
        /// The CPU.
        cpu: u32,
        /// Those that there are.
        there: String,
    },
    /// An instruction set that the machine lacks.
    #[error("isa: this machine has no {isa}: leave it out for {best}, its best")]
    Isa {
        /// The one that was asked for.
        isa: Isa,
        /// The best one that the machine has.
        best: Isa,
    },
    /// An executor that does not run on the machine.
    #[error(
        "executor: the {} executor needs instructions that this processor has not; run with the cpu executor", .0.name()
    )]
    Executor(ExecutorKind),
    /// A name that is not in the catalogue.
    #[error("there is no model `{id}`: {hint}")]
    UnknownModel {
        /// The name.
        id: String,
        /// What may have been meant.
        hint: String,
    },
    /// Names and open files that are no model.
    #[error(
        "{names} names and {files} open files came; a model is one .gguf file, or at most {MAX_FILES} files of one \
         directory, each named with it"
    )]
    Files {
        /// How many names.
        names: usize,
        /// How many open files.
        files: usize,
    },
    /// A path that is not opened.
    #[error(transparent)]
    Path(#[from] Refused),
}

impl RequestError {
    /// For a name that is not in the catalogue, which has these similar ones.
    pub(super) fn unknown_model(id: &str, near: &[&str]) -> Self {
        let hint = if near.is_empty() {
            "`slmscope models` lists them; a file needs its path, ending in .gguf".to_owned()
        } else {
            format!("did you mean {}?", near.join(", "))
        };
        Self::UnknownModel { id: excerpt(id, MAX_ECHO), hint }
    }
}

impl From<RequestError> for WireError {
    fn from(error: RequestError) -> Self {
        let (code, field) = match &error {
            RequestError::Workload(bad) => (ErrorCode::BadWorkload, bad.field),
            RequestError::Memory(_) => (ErrorCode::NoMemory, "model"),
            RequestError::Threads { .. } => (ErrorCode::BadWorkload, "threads"),
            RequestError::Cores { .. } => (ErrorCode::BadWorkload, "cores"),
            RequestError::Isa { .. } => (ErrorCode::BadWorkload, "isa"),
            RequestError::Executor(_) => (ErrorCode::BadWorkload, "executor"),
            RequestError::UnknownModel { .. } => (ErrorCode::UnknownModel, "model"),
            RequestError::Files { .. } => (ErrorCode::BadRequest, "model"),
            RequestError::Path(refused) => (refused.code(), "model"),
        };
        Self { code, message: error.to_string(), field: Some(field.to_owned()) }
    }
}
