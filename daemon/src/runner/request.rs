//! A job as a client requested it, checked before it is queued.

use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::path::Path;

use slmscope_engine::error::LoadError;
use slmscope_engine::kernels;
use slmscope_engine::setup::{ExecutorKind, Setup, executor_is_available};
use slmscope_engine::threads;
use slmscope_profiles::catalogue;
use slmscope_profiles::format::{KvFormat, WeightFormat};
use slmscope_profiles::job::ModelRef;
use slmscope_profiles::model::ModelSource;
use slmscope_profiles::model_files::{MAX_FILES, ModelFiles};
use slmscope_profiles::wire::{ErrorCode, Submit, WireError};
use slmscope_profiles::workload::Workload;

use crate::backend::protocol::{Prompt, Source};
use crate::config::Config;
use crate::descriptors::MAX_DESCRIPTORS;
use crate::hub::ClientId;
use crate::model_files::{self, Refused};

// The first message to a worker takes the ring along as well.
const _: () = assert!(MAX_FILES < MAX_DESCRIPTORS);

/// A submission with the files that came along.
pub struct JobRequest {
    /// Model and workload.
    pub submit: Submit,
    /// Who sent it.
    pub submitter: Submitter,
}

/// Who submitted a job, and the model files that they opened.
pub struct Submitter {
    /// Connection.
    pub client: ClientId,
    /// User.
    pub uid: u32,
    /// Descriptors, in the order of the names.
    pub files: Vec<OwnedFd>,
}

impl JobRequest {
    /// Checks everything that can be checked before the job runs.
    ///
    /// # Errors
    /// Names the field at fault and the remedy.
    pub fn check(mut self, config: &Config) -> Result<Self, WireError> {
        let error = |code: ErrorCode, field: &str, message: String| WireError {
            code,
            message,
            field: Some(field.to_owned()),
        };
        let workload = &self.submit.workload;
        workload.validate().map_err(|bad| error(ErrorCode::BadWorkload, bad.field, bad.to_string()))?;
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get) as u32;
        if let Some(threads) = workload.threads.filter(|&threads| threads > 4 * cores) {
            let message =
                format!("threads: {threads} are more than 4 for each of {cores} CPUs: ask for fewer");
            return Err(error(ErrorCode::BadWorkload, "threads", message));
        }
        if let Some(isa) = workload.isa.filter(|&isa| !kernels::is_available(isa)) {
            let best = kernels::detect();
            let message = format!("isa: this machine has no {isa}: leave it out for {best}, its best");
            return Err(error(ErrorCode::BadWorkload, "isa", message));
        }
        if !executor_is_available(workload.executor) {
            let message = format!("executor: {}", LoadError::Executor(workload.executor));
            return Err(error(ErrorCode::BadWorkload, "executor", message));
        }
        match &self.submit.model {
            ModelRef::Catalogue(id) => {
                catalogue::find(id)
                    .map_err(|near| error(ErrorCode::UnknownModel, "model", unknown(id, &near)))?;
            }
            ModelRef::Descriptors(names) => {
                if ModelFiles::from_names(names).is_err() || names.len() != self.submitter.files.len() {
                    let message = format!(
                        "{} names and {} open files came; a model is one .gguf file, or at most {MAX_FILES} files \
                         of one directory, each named with it",
                        names.len(),
                        self.submitter.files.len()
                    );
                    return Err(error(ErrorCode::BadRequest, "model", message));
                }
            }
            ModelRef::Path(path) => {
                let refused = |problem: Refused| error(problem.code(), "model", problem.to_string());
                let (files, opened) = model_files::open(config, path).map_err(refused)?;
                self.submitter.files = opened;
                self.submit.model = files.to_ref();
            }
        }
        Ok(self)
    }

    /// Where the worker takes the weights from.
    pub(super) fn weights(&self) -> Source {
        match &self.submit.model {
            ModelRef::Catalogue(id) => {
                let spec =
                    catalogue::find(id).map(catalogue::Row::spec).expect("checked before it was queued");
                Source::Synthetic {
                    spec: Box::new(spec),
                    format: self.format(),
                    seed: self.submit.workload.seed,
                }
            }
            ModelRef::Descriptors(names) => {
                let files = ModelFiles::from_names(names).expect("checked before it was queued");
                // A GGUF file has its own format.
                let is_directory = files.source() == ModelSource::Hf;
                Source::Files { format: self.submit.workload.format.filter(|_| is_directory), files }
            }
            // The check has put the names of its files in its place.
            ModelRef::Path(path) => Source::Files { files: ModelFiles::gguf(path), format: None },
        }
    }

    /// Format of synthetic weights.
    pub(super) fn format(&self) -> WeightFormat {
        self.submit.workload.format.unwrap_or(WeightFormat::Q4_0)
    }

    /// The same; `None` for weights from files, whose format is known when they are open.
    pub(super) fn synthetic_format(&self) -> Option<WeightFormat> {
        matches!(self.submit.model, ModelRef::Catalogue(_)).then(|| self.format())
    }

    /// What figures are filed under: the catalogue id, or the name of file or directory without its folder.
    pub(super) fn model_id(&self) -> String {
        let name = self.submit.model.name();
        Path::new(name)
            .file_name()
            .map_or_else(|| name.to_owned(), |file| file.to_string_lossy().into_owned())
    }

    /// The prompt.
    pub(super) fn prompt(&self) -> Prompt {
        let workload = &self.submit.workload;
        match (&workload.prompt_text, &workload.chat) {
            (Some(text), _) => Prompt::Text(text.clone()),
            (None, Some(message)) => Prompt::Chat(message.clone()),
            (None, None) => Prompt::Random(workload.prompt),
        }
    }

    /// What the model is run with.
    pub(super) fn setup(&self) -> Setup {
        let Workload { executor, threads, isa, .. } = &self.submit.workload;
        let asked = threads.and_then(|threads| NonZeroUsize::new(threads as usize));
        Setup {
            executor: *executor,
            threads: asked.unwrap_or_else(|| threads::default_count(*executor)),
            isa: isa.unwrap_or_else(kernels::detect),
        }
    }

    /// Cache format; the stock kernels multiply f32, so that is their default.
    pub(super) fn kv(&self) -> KvFormat {
        self.submit.workload.kv.unwrap_or(match self.submit.workload.executor {
            ExecutorKind::Cpu => KvFormat::F16,
            ExecutorKind::Candle => KvFormat::F32,
        })
    }
}

/// The message for a name that is not in the catalogue.
fn unknown(id: &str, near: &[&str]) -> String {
    let hint = if near.is_empty() {
        "`slmscope models` lists them; a file needs its path, ending in .gguf".to_owned()
    } else {
        format!("did you mean {}?", near.join(", "))
    };
    format!("there is no model `{id}`: {hint}")
}
