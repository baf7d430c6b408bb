//! Opens or generates a model, and prepares the workload that runs on it.

use std::fmt::Display;
use std::fs::File;
use std::os::fd::OwnedFd;

use slmscope_engine::clock::{Clock, Monotonic};
use slmscope_engine::hash::identity_hash;
use slmscope_engine::mapped_model::MappedModel;
use slmscope_engine::model::Model;
use slmscope_engine::recorder::Recorder;
use slmscope_engine::session::Session;
use slmscope_engine::setup::{ExecutorKind, Setup};
use slmscope_engine::synthetic::GENERATOR_VERSION;
use slmscope_engine::tokenizer::Tokenizer;
use slmscope_engine::weights::Loading;
use slmscope_profiles::admission::{MemoryLimit, ModelFacts, Tokens};
use slmscope_profiles::format::WeightFormat;
use slmscope_profiles::lane::Lane;
use slmscope_profiles::op::{Granularity, Phase};
use slmscope_profiles::plan::Plan;
use slmscope_profiles::result::LoadTimes;
use slmscope_profiles::spec::Lengths;

use super::prompt::{self, PendingPrompt};
use super::protocol::{Event, Load, Loaded, Prompt, Source};
use super::{End, Worker};

/// A loaded model, and the workload that it is prepared for.
pub(super) struct LoadedModel {
    /// `None` for synthetic weights.
    files: Option<MappedModel>,
    pub(super) request: Load,
    pub(super) session: Session,
    pub(super) recorder: Recorder,
    pub(super) prompt: Vec<u32>,
    /// The first id that is fed if there is no prompt.
    pub(super) start_id: u32,
    pub(super) tokenizer: Option<Tokenizer>,
}

impl LoadedModel {
    /// The hash that identifies the weights, and whether their files have changed since they were opened.
    pub(super) fn identity(&self) -> (String, bool) {
        match (&self.files, &self.request.source) {
            (Some(files), _) => {
                let found = (files.identity_hash(), files.has_changed());
                files.release_headers();
                found
            }
            (None, Source::Synthetic { spec, format, seed }) => {
                let text = serde_json::to_string(&(GENERATOR_VERSION, spec, format, seed));
                let text = text.expect("shapes, a format and a seed are plain JSON");
                (identity_hash(text.as_bytes(), text.len()), false)
            }
            (None, Source::Files { .. }) => (String::new(), true),
        }
    }
}

/// Loads the model of `request`, and prepares its workload. A process loads one model: what it holds in memory is that
/// model's alone.
pub(super) fn load(worker: &mut Worker, request: Load, files: Vec<OwnedFd>) -> Result<(), End> {
    let begin = Monotonic.now_ns();
    let opened = Opened::open(&request, files)?;
    let open_ns = Monotonic.now_ns() - begin;
    opened.admit(&request)?;
    let prompt = prompt::begin(worker, &request, opened.files.clone(), opened.model.spec().vocab)?;
    let Prepared { session, ready, is_concurrent } = opened.load(worker, &request, prompt)?;
    if let Some(files) = &opened.files {
        files.release_headers();
    }
    let weights_ns = Monotonic.now_ns() - begin - open_ns - ready.waited_ns;
    // Time spent on the prompt is not time spent loading, unless both ran at the same time.
    let waited_ns = ready.waited_ns.saturating_sub(if is_concurrent { 0 } else { ready.tokenize_ns });
    let times = LoadTimes { open_ns, weights_ns, tokenizer_ns: ready.tokenizer_ns, waited_ns };
    let plan = session.plan().clone();
    let mut model = LoadedModel {
        files: opened.files,
        request,
        session,
        recorder: Recorder::new(plan.steps.len()),
        prompt: ready.ids,
        start_id: ready.start_id,
        tokenizer: ready.tokenizer,
    };
    fill(worker, &mut model)?;
    let loaded = Loaded {
        sites: plan.sites.clone(),
        granularity: Granularity::Op,
        lanes: vec![Lane::host(model.request.setup.threads.get() as u32)],
        executor: model.request.setup.executor.name().to_owned(),
        isa: isa(&model.request.setup),
        params: Some(opened.model.spec().params()),
        weight_bytes: Some(plan.weight_bytes()),
        format: main_format(&plan),
        not_in_format: opened.not_in_format,
        prompt_ids: model.prompt.clone(),
        tokenize_ns: ready.tokenize_ns,
        load: times,
        memory: Some(model.session.memory()),
        tokenizer_bytes: ready.tokenizer_bytes,
        runtime_rss: worker.runtime_rss,
    };
    worker.model = Some(model);
    worker.send(&Event::Loaded(Box::new(loaded)))?;
    Ok(())
}

/// A model that is parsed, but not loaded.
struct Opened {
    model: Model,
    /// `None` for synthetic weights.
    files: Option<MappedModel>,
    /// Matrices that cannot be stored in the requested format.
    not_in_format: Vec<String>,
}

/// A session with room for the workload, and its prompt.
struct Prepared {
    session: Session,
    ready: prompt::Ready,
    /// The weights were loaded while the tokenizer was built.
    is_concurrent: bool,
}

impl Opened {
    /// Reads the headers of the model of `request`.
    fn open(request: &Load, descriptors: Vec<OwnedFd>) -> Result<Self, End> {
        match &request.source {
            Source::Synthetic { spec, format, seed } => {
                let model = Model::synthetic((**spec).clone(), *format, *seed, request.kv)?;
                Ok(Self { not_in_format: not_in(*format, &model), model, files: None })
            }
            Source::Files { files, format } => {
                let files = MappedModel::open(files, descriptors.into_iter().map(File::from))?;
                let model = files.model(*format, request.kv)?;
                let not_in_format = format.map(|format| not_in(format, &model)).unwrap_or_default();
                Ok(Self { model, files: Some(files), not_in_format })
            }
        }
    }

    /// Loads the weights, and prepares `request` on them.
    fn load(&self, worker: &Worker, request: &Load, prompt: PendingPrompt) -> Result<Prepared, End> {
        let is_mapped = matches!(self.files, Some(MappedModel::Gguf(_)));
        let is_concurrent = is_mapped && matches!(prompt, PendingPrompt::Text { .. });
        if !is_concurrent {
            let ready = prompt.wait(worker)?;
            let lengths = self.lengths(request, &ready.ids)?;
            let session = self.load_weights(worker, request, lengths)?;
            return Ok(Prepared { session, ready, is_concurrent });
        }
        // Mapped weights are read while the tokenizer is built. The length of the prompt is known after that.
        let mut session = self.load_weights(worker, request, 1.into())?;
        let ready = prompt.wait(worker)?;
        let lengths = self.lengths(request, &ready.ids)?;
        self.check_memory(request, lengths)?;
        session.reserve(lengths)?;
        Ok(Prepared { session, ready, is_concurrent })
    }

    fn load_weights(&self, worker: &Worker, request: &Load, lengths: Lengths) -> Result<Session, End> {
        self.check_memory(request, lengths)?;
        let mut reported = 0;
        let control = worker.control.try_clone()?;
        let mut report = |done: u64, total: u64| {
            let now = Monotonic.now_ns();
            if now > reported + 100_000_000 || done == total {
                reported = now;
                let event = Event::Progress { phase: Phase::Load, done, total: Some(total) };
                // If the daemon is gone, the other thread ends this process.
                let _ = super::channel::send(&control, &event, &[]);
            }
        };
        Ok(self.model.load(lengths, &request.setup, &mut Loading::new(&worker.cancel, &mut report))?)
    }

    /// Refuses what the model cannot run, before any weights are loaded. A text counts as one token until it is tokenized.
    fn admit(&self, request: &Load) -> Result<(), End> {
        let facts = self.facts(request);
        let refuse = |refused: &dyn Display| End::Failed(refused.to_string());
        let prompt = match &request.prompt {
            Prompt::Random(prompt) => u64::from(*prompt),
            Prompt::Text(_) => facts.check_text(false).map(|()| 1).map_err(|refused| refuse(&refused))?,
            Prompt::Chat(_) => facts.check_text(true).map(|()| 1).map_err(|refused| refuse(&refused))?,
        };
        let &Load { depth, generate, .. } = request;
        let lengths = facts.lengths(Tokens { depth, prompt, generate });
        self.check_memory(request, lengths.map_err(|refused| refuse(&refused))?)
    }

    fn check_memory(&self, request: &Load, lengths: Lengths) -> Result<(), End> {
        let needed = self.model.requirements(lengths, &request.setup);
        let Some(limit) = request.memory_limit.map(MemoryLimit::Available) else { return Ok(()) };
        limit
            .check(needed, main_format(self.model.plan()))
            .map_err(|refused| End::Failed(refused.to_string()))
    }

    /// Tokens that the cache must hold for `request` with a prompt of these ids.
    fn lengths(&self, request: &Load, prompt: &[u32]) -> Result<Lengths, End> {
        let &Load { depth, generate, .. } = request;
        let tokens = Tokens { depth, prompt: prompt.len() as u64, generate };
        self.facts(request).lengths(tokens).map_err(|refused| End::Failed(refused.to_string()))
    }

    /// What of the model decides which workloads it can run.
    fn facts(&self, request: &Load) -> ModelFacts {
        let name = match &request.source {
            Source::Synthetic { .. } => "the model".to_owned(),
            Source::Files { files, .. } => files.name(),
        };
        let has = |what: fn(&MappedModel) -> bool| self.files.as_ref().is_some_and(what);
        ModelFacts {
            name,
            max_context: self.model.spec().max_context,
            has_tokenizer: has(MappedModel::has_tokenizer),
            has_template: has(MappedModel::has_chat_template),
        }
    }
}

/// Matrices that cannot be stored in `format`.
fn not_in(format: WeightFormat, model: &Model) -> Vec<String> {
    let matrices = model.plan().tensors.iter().filter(|(tensor, _)| !tensor.role.is_small());
    matrices.filter(|(_, stored)| *stored != format).map(|(tensor, _)| tensor.name.clone()).collect()
}

/// Fills the context to the requested depth. Repetitions rewind to it.
fn fill(worker: &Worker, model: &mut LoadedModel) -> Result<(), End> {
    let vocab = model.session.plan().vocab;
    let ids = prompt::random_ids(model.request.seed ^ 0x5eed, model.request.depth, vocab);
    if let Some(&last) = ids.last() {
        model.start_id = last;
    }
    model.recorder.set_on(false);
    for chunk in ids.chunks(model.session.rows()) {
        model.session.forward(chunk, &mut model.recorder, &Monotonic, &worker.cancel)?;
        let (done, total) = (u64::from(model.session.context()), Some(ids.len() as u64));
        worker.send(&Event::Progress { phase: Phase::Warmup, done, total })?;
    }
    model.session.keep();
    model.recorder.set_on(true);
    Ok(())
}

/// The format of the largest share of the weights' bytes.
fn main_format(plan: &Plan) -> Option<WeightFormat> {
    WeightFormat::ALL.into_iter().max_by_key(|format| {
        let of_format = plan.tensors.iter().filter(|(_, stored)| stored == format);
        of_format.map(|(tensor, stored)| tensor.bytes(*stored)).sum::<u64>()
    })
}

/// The instruction sets that the kernels use. Candle's are chosen when it is compiled.
fn isa(setup: &Setup) -> String {
    if setup.executor == ExecutorKind::Cpu {
        return setup.isa.to_string();
    }
    slmscope_profiles::isa::compiled()
}
