//! A job as a client requested it, checked before it is queued.

use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::path::Path;

use slmscope_profiles::admission::{ModelFacts, Tokens};
use slmscope_profiles::catalogue;
use slmscope_profiles::cpu_set::{CpuSet, MOST_CPUS};
use slmscope_profiles::engine_memory::EngineMemory;
use slmscope_profiles::format::{KvFormat, WeightFormat};
use slmscope_profiles::job::ModelRef;
use slmscope_profiles::model::ModelSource;
use slmscope_profiles::model_files::{MAX_FILES, ModelFiles};
use slmscope_profiles::setup::Setup;
use slmscope_profiles::wire::Submit;
use slmscope_profiles::workload::{ExecutorKind, Workload};

use super::request_error::RequestError;
use crate::backend::Backend;
use crate::backend::protocol::{Prompt, Source};
use crate::config::Config;
use crate::descriptors::MAX_DESCRIPTORS;
use crate::hub::ClientId;
use crate::model_files;

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
    /// Checks everything that can be checked before the job runs, and opens the files of a model that is named by path.
    ///
    /// # Errors
    /// Names what is at fault and the remedy.
    pub fn check(mut self, config: &Config, backend: &dyn Backend) -> Result<Self, RequestError> {
        let workload = &mut self.submit.workload;
        // Named cores have a thread each.
        let usual = Some(config.threads).filter(|&threads| threads > 0 && workload.cores.is_none());
        workload.threads = workload.threads.or(usual);
        let budget = Some(config.overhead_budget).filter(|&budget| budget < 1.0);
        workload.overhead_budget = workload.overhead_budget.or(budget);
        check_workload(&self.submit.workload, backend)?;
        match &self.submit.model {
            ModelRef::Catalogue(id) => {
                let row = catalogue::find(id).map_err(|near| RequestError::unknown_model(id, &near))?;
                ModelFacts::of_catalogue(row).check(&self.submit.workload)?;
            }
            ModelRef::Descriptors(names) => {
                let files = self.submitter.files.len();
                if ModelFiles::from_names(names).is_err() || names.len() != files {
                    return Err(RequestError::Files { names: names.len(), files });
                }
            }
            ModelRef::Path(path) => {
                let (files, opened) = model_files::open(config, path)?;
                self.submitter.files = opened;
                self.submit.model = files.to_ref();
            }
        }
        self.submit.workload.validate_for(self.submit.model.source())?;
        Ok(self)
    }

    /// Memory that it needs; `None` for weights from files, whose headers only the worker reads.
    pub(super) fn memory(&self, backend: &dyn Backend) -> Option<EngineMemory> {
        let ModelRef::Catalogue(id) = &self.submit.model else { return None };
        let (facts, workload) = (ModelFacts::of_catalogue(catalogue::find(id).ok()?), &self.submit.workload);
        let &Workload { depth, generate, prompt, .. } = workload;
        let lengths = facts.lengths(Tokens { depth, prompt: prompt.into(), generate }).ok()?;
        backend.memory(&self.weights(), self.kv(), lengths, self.setup(backend))
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

    /// What the model is run with; `backend` knows what suits where nothing was asked for.
    pub(super) fn setup(&self, backend: &dyn Backend) -> Setup {
        let Workload { executor, threads, isa, cores, .. } = &self.submit.workload;
        // As many as there are cores, where these are named.
        let asked = threads.or(cores.map(|cores| cores.count()));
        let asked = asked.and_then(|threads| NonZeroUsize::new(threads as usize));
        Setup {
            executor: *executor,
            threads: asked.unwrap_or_else(|| backend.default_threads(*executor)),
            isa: isa.unwrap_or_else(|| backend.best_isa()),
            cores: *cores,
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

/// Checks that this process, from which the worker has its CPUs, may use all of `cores`.
fn check_cores(cores: CpuSet) -> Result<(), RequestError> {
    // Where the kernel does not say, the worker's own attempt does.
    let Ok(allowed) = rustix::thread::sched_getaffinity(None) else { return Ok(()) };
    let missing = cores.cpus().find(|&cpu| !allowed.is_set(cpu as usize));
    missing.map_or(Ok(()), |cpu| {
        let there = (0..MOST_CPUS).filter(|&cpu| allowed.is_set(cpu as usize));
        let there = there.map(|cpu| cpu.to_string()).collect::<Vec<_>>().join(",");
        let there = there.parse::<CpuSet>().map_or_else(|_| there.clone(), |set| set.to_string());
        Err(RequestError::Cores { cpu, there })
    })
}

fn check_workload(workload: &Workload, backend: &dyn Backend) -> Result<(), RequestError> {
    workload.validate()?;
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get) as u32;
    if let Some(threads) = workload.threads.filter(|&threads| threads > 4 * cores) {
        return Err(RequestError::Threads { threads, cores });
    }
    if let Some(cores) = workload.cores {
        check_cores(cores)?;
    }
    if let Some(isa) = workload.isa.filter(|&isa| !backend.has_isa(isa)) {
        return Err(RequestError::Isa { isa, best: backend.best_isa() });
    }
    if !backend.has_executor(workload.executor) {
        return Err(RequestError::Executor(workload.executor));
    }
    Ok(())
}
