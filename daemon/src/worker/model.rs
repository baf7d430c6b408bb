//! Opening or making a model, and readying the workload that runs on it.

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
use slmscope_profiles::format::WeightFormat;
use slmscope_profiles::lane::Lane;
use slmscope_profiles::op::{Granularity, Phase};
use slmscope_profiles::plan::Plan;
use slmscope_profiles::result::LoadTimes;
use slmscope_profiles::spec::Lengths;

use super::prompt::{self, Making};
use super::protocol::{Event, Load, Loaded, Source};
use super::{End, Worker};

/// A loaded model with a workload ready to run.
pub(super) struct Workbench {
    /// `None` for synthetic weights.
    files: Option<MappedModel>,
    pub(super) order: Load,
    /// What there is room for.
    lengths: Lengths,
    pub(super) session: Session,
    pub(super) recorder: Recorder,
    pub(super) prompt: Vec<u32>,
    /// Fed first where there is no prompt.
    pub(super) start_id: u32,
    pub(super) tokenizer: Option<Tokenizer>,
}

impl Workbench {
    /// Identity of the weights, and whether their files changed under us.
    pub(super) fn identity(&self) -> (String, bool) {
        match (&self.files, &self.order.source) {
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

    /// Whether its weights in memory are those that `order` asks for, whose `files` are open.
    fn serves(&self, order: &Load, files: Option<&MappedModel>) -> bool {
        let same_weights = match (&self.order.source, &order.source) {
            // The same files may have another name now.
            (Source::Files { format: held, .. }, Source::Files { format, .. }) => {
                let identities = |files: Option<&MappedModel>| files.map(MappedModel::identities);
                held == format && identities(self.files.as_ref()) == identities(files)
            }
            (held, asked) => held == asked,
        };
        same_weights && self.order.kv == order.kv && self.order.setup == order.setup
    }
}

/// Opens or makes the model of `order`, or takes the one that is there, and readies its workload.
pub(super) fn load(worker: &mut Worker, order: Load, files: Vec<OwnedFd>) -> Result<(), End> {
    let begin = Monotonic.now_ns();
    let opened = Opened::open(&order, files)?;
    let open_ns = Monotonic.now_ns() - begin;
    let prompt = prompt::begin(worker, &order, opened.files.clone(), opened.model.spec().vocab)?;
    let held = worker.bench.take().filter(|held| held.serves(&order, opened.files.as_ref()));
    let reused = held.is_some();
    let Prepared { session, ready, lengths, is_filled, is_beside } = match held {
        Some(held) => opened.reuse(worker, &order, held, prompt)?,
        None => opened.load(worker, &order, prompt)?,
    };
    if let Some(files) = &opened.files {
        files.release_headers();
    }
    let weights_ns = Monotonic.now_ns() - begin - open_ns - ready.waited_ns;
    // The text's own time is no part of loading, unless it passed beside it.
    let waited_ns = ready.waited_ns.saturating_sub(if is_beside { 0 } else { ready.tokenize_ns });
    let times = LoadTimes { open_ns, weights_ns, tokenizer_ns: ready.tokenizer_ns, waited_ns };
    let plan = session.plan().clone();
    let mut bench = Workbench {
        files: opened.files,
        order,
        lengths,
        session,
        recorder: Recorder::new(plan.steps.len()),
        prompt: ready.ids,
        start_id: ready.start_id,
        tokenizer: ready.tokenizer,
    };
    fill(worker, &mut bench, is_filled)?;
    let loaded = Loaded {
        sites: plan.sites.clone(),
        granularity: Granularity::Op,
        lanes: vec![Lane::host(bench.order.setup.threads.get() as u32)],
        executor: bench.order.setup.executor.name().to_owned(),
        isa: isa(&bench.order.setup),
        params: Some(opened.model.spec().params()),
        weight_bytes: Some(plan.weight_bytes()),
        format: main_format(&plan),
        not_in_format: opened.not_in_format,
        prompt_ids: bench.prompt.clone(),
        tokenize_ns: ready.tokenize_ns,
        load: times,
        reused,
        memory: Some(bench.session.memory()),
        tokenizer_bytes: ready.tokenizer_bytes,
        runtime_rss: worker.runtime_rss,
    };
    worker.bench = Some(bench);
    worker.send(&Event::Loaded(Box::new(loaded)))?;
    Ok(())
}

/// A model that is understood, but not in memory yet.
struct Opened {
    model: Model,
    /// `None` for synthetic weights.
    files: Option<MappedModel>,
    /// Matrices that the format asked for cannot hold.
    not_in_format: Vec<String>,
}

/// A session with room for what it is to run, and its prompt.
struct Prepared {
    session: Session,
    ready: prompt::Ready,
    lengths: Lengths,
    /// The context still holds what the last job filled it with, and this one would.
    is_filled: bool,
    /// The weights came while the tokenizer was built.
    is_beside: bool,
}

impl Opened {
    /// Opens or makes the model of `order`.
    fn open(order: &Load, descriptors: Vec<OwnedFd>) -> Result<Self, End> {
        match &order.source {
            Source::Synthetic { spec, format, seed } => {
                let model = Model::synthetic((**spec).clone(), *format, *seed, order.kv)?;
                Ok(Self { not_in_format: not_in(*format, &model), model, files: None })
            }
            Source::Files { files, format } => {
                let files = MappedModel::open(files, descriptors.into_iter().map(File::from))?;
                let model = files.model(*format, order.kv)?;
                let not_in_format = format.map(|format| not_in(format, &model)).unwrap_or_default();
                Ok(Self { model, files: Some(files), not_in_format })
            }
        }
    }

    /// Gives the weights that are in memory to `order`.
    fn reuse(
        &self,
        worker: &Worker,
        order: &Load,
        mut held: Workbench,
        prompt: Making,
    ) -> Result<Prepared, End> {
        let ready = prompt.wait(worker)?;
        let lengths = self.lengths(order, &ready.ids)?;
        let of = |order: &Load| (order.depth, order.seed);
        let is_filled = held.lengths == lengths && of(&held.order) == of(order);
        if !is_filled {
            held.session.reserve(lengths)?;
        }
        Ok(Prepared { session: held.session, ready, lengths, is_filled, is_beside: false })
    }

    /// Brings the weights into memory.
    fn load(&self, worker: &Worker, order: &Load, prompt: Making) -> Result<Prepared, End> {
        let is_mapped = matches!(self.files, Some(MappedModel::Gguf(_)));
        let is_beside = is_mapped && matches!(prompt, Making::Text { .. });
        if !is_beside {
            let ready = prompt.wait(worker)?;
            let lengths = self.lengths(order, &ready.ids)?;
            let session = self.bring(worker, order, lengths)?;
            return Ok(Prepared { session, ready, lengths, is_filled: false, is_beside });
        }
        // Mapped weights come while the tokenizer is built; how much room a text needs is known after both.
        let mut session = self.bring(worker, order, 1.into())?;
        let ready = prompt.wait(worker)?;
        let lengths = self.lengths(order, &ready.ids)?;
        self.check_memory(order, lengths)?;
        session.reserve(lengths)?;
        Ok(Prepared { session, ready, lengths, is_filled: false, is_beside })
    }

    fn bring(&self, worker: &Worker, order: &Load, lengths: Lengths) -> Result<Session, End> {
        self.check_memory(order, lengths)?;
        let mut told = 0;
        let control = worker.control.try_clone()?;
        let mut report = |done: u64, total: u64| {
            let now = Monotonic.now_ns();
            if now > told + 100_000_000 || done == total {
                told = now;
                let event = Event::Progress { phase: Phase::Load, done, total: Some(total) };
                // A daemon that is gone ends this process on the other thread.
                let _ = super::channel::send(&control, &event, &[]);
            }
        };
        Ok(self.model.load(lengths, &order.setup, &mut Loading::new(&worker.cancel, &mut report))?)
    }

    fn check_memory(&self, order: &Load, lengths: Lengths) -> Result<(), End> {
        let needed = self.model.requirements(lengths, &order.setup).total();
        match order.memory_limit.filter(|&limit| needed > limit) {
            None => Ok(()),
            Some(limit) => Err(End::Failed(format!(
                "weights, cache and scratch need {} MiB, and {} MiB of memory are available: choose a smaller \
                 model or format, or a shorter context",
                needed >> 20,
                limit >> 20
            ))),
        }
    }

    /// Tokens that the cache must hold; those that it is filled with before a run count as prompt.
    fn lengths(&self, order: &Load, prompt: &[u32]) -> Result<Lengths, End> {
        let max_context = self.model.spec().max_context;
        let prompt = prompt.len() as u64;
        let fed = u64::from(prompt == 0 && order.depth == 0);
        let needed = u64::from(order.depth) + prompt + u64::from(order.generate) + fed;
        match u32::try_from(needed).ok().filter(|&needed| needed <= max_context) {
            Some(needed) => Ok(Lengths { prompt: needed - order.generate, total: needed.max(1) }),
            None => Err(End::Failed(format!(
                "depth {} + prompt {prompt} + generate {} are longer than the model's context of {max_context} tokens: \
                 ask for fewer",
                order.depth, order.generate
            ))),
        }
    }
}

/// Matrices that are to be in `format` and cannot.
fn not_in(format: WeightFormat, model: &Model) -> Vec<String> {
    let matrices = model.plan().tensors.iter().filter(|(tensor, _)| !tensor.role.is_small());
    matrices.filter(|(_, stored)| *stored != format).map(|(tensor, _)| tensor.name.clone()).collect()
}

/// Fills the context to the depth that was asked for, once; repetitions go back to it, and so do later jobs that
/// ask for the same.
fn fill(worker: &Worker, bench: &mut Workbench, is_filled: bool) -> Result<(), End> {
    let vocab = bench.session.plan().vocab;
    let ids = prompt::random_ids(bench.order.seed ^ 0x5eed, bench.order.depth, vocab);
    if let Some(&last) = ids.last() {
        bench.start_id = last;
    }
    if is_filled && bench.session.rewind(bench.order.depth) == bench.order.depth {
        return Ok(());
    }
    bench.session.rewind(0);
    bench.recorder.set_on(false);
    for chunk in ids.chunks(bench.session.rows()) {
        bench.session.forward(chunk, &mut bench.recorder, &Monotonic, &worker.cancel)?;
        let (done, total) = (u64::from(bench.session.context()), Some(ids.len() as u64));
        worker.send(&Event::Progress { phase: Phase::Warmup, done, total })?;
    }
    bench.session.keep();
    bench.recorder.set_on(true);
    Ok(())
}

/// The format that holds most bytes of the matrices.
fn main_format(plan: &Plan) -> Option<WeightFormat> {
    WeightFormat::ALL.into_iter().max_by_key(|format| {
        let of_format = plan.tensors.iter().filter(|(_, stored)| stored == format);
        of_format.map(|(tensor, stored)| tensor.bytes(*stored)).sum::<u64>()
    })
}

/// Instruction sets that the kernels use: candle's are chosen by the compiler.
fn isa(setup: &Setup) -> String {
    if setup.executor == ExecutorKind::Cpu {
        return setup.isa.to_string();
    }
    let known = [
        ("avx512vnni", cfg!(target_feature = "avx512vnni")),
        ("avx512f", cfg!(target_feature = "avx512f")),
        ("avx2", cfg!(target_feature = "avx2")),
        ("i8mm", cfg!(target_feature = "i8mm")),
        ("dotprod", cfg!(target_feature = "dotprod")),
        ("neon", cfg!(target_feature = "neon")),
    ];
    let built: Vec<_> = known.into_iter().filter(|(_, on)| *on).map(|(name, _)| name).collect();
    if built.is_empty() { "baseline".to_owned() } else { built.join("+") }
}
