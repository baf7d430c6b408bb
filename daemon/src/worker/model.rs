//! Opening or making a model, and readying the workload that runs on it.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use slmscope_engine::clock::{Clock, Monotonic};
use slmscope_engine::gguf::Gguf;
use slmscope_engine::hash::identity_hash;
use slmscope_engine::map::{FileIdentity, MappedFile};
use slmscope_engine::model::Model;
use slmscope_engine::recorder::Recorder;
use slmscope_engine::session::Session;
use slmscope_engine::setup::{ExecutorKind, Setup};
use slmscope_engine::synthetic::GENERATOR_VERSION;
use slmscope_engine::tokenizer::Tokenizer;
use slmscope_engine::weights::Loading;
use slmscope_profiles::format::{KvFormat, WeightFormat};
use slmscope_profiles::op::Phase;
use slmscope_profiles::plan::Plan;
use slmscope_profiles::result::LoadTimes;
use slmscope_profiles::spec::Lengths;

use super::prompt::{self, Making, TextFiles};
use super::protocol::{Event, Load, Loaded, Source};
use super::{End, Worker};

/// A loaded model with a workload ready to run.
pub(super) struct Workbench {
    key: Key,
    origin: Origin,
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

/// What must be equal for weights in memory to serve another job.
#[derive(PartialEq)]
struct Key {
    weights: Weights,
    kv: KvFormat,
    setup: Setup,
}

/// Which weights.
#[derive(PartialEq)]
enum Weights {
    Synthetic(String),
    File(FileIdentity),
    Directory(Vec<FileIdentity>, Option<WeightFormat>),
}

/// Where the identity of the weights is taken from.
enum Origin {
    Synthetic(String),
    File { file: Arc<MappedFile>, header_length: usize },
    Directory(Vec<(String, Arc<MappedFile>)>),
}

impl Workbench {
    /// Identity of the weights, and whether their file changed under us.
    pub(super) fn identity(&self) -> (String, bool) {
        let found = match &self.origin {
            Origin::Synthetic(text) => (identity_hash(text.as_bytes(), text.len()), false),
            Origin::File { file, header_length } => {
                (identity_hash(file.bytes(), *header_length), file.unchanged().is_err())
            }
            Origin::Directory(files) => {
                let changed = files.iter().any(|(_, file)| file.unchanged().is_err());
                (directory_hash(files), changed)
            }
        };
        self.origin.release_headers();
        found
    }
}

impl Origin {
    /// Gives back the memory of what a run does not read: headers, configuration, tokenizer files.
    fn release_headers(&self) {
        match self {
            Self::Synthetic(_) => {}
            Self::File { file, header_length } => file.release(0..*header_length),
            Self::Directory(files) => {
                for (name, file) in files {
                    file.release(0..header_length(name, file.bytes()));
                }
            }
        }
    }
}

/// Opens or makes the model of `order`, or takes the one that is there, and readies its workload.
pub(super) fn load(worker: &mut Worker, order: Load, files: Vec<OwnedFd>) -> Result<(), End> {
    let begin = Monotonic.now_ns();
    let (key, model, origin, not_in_format) = open(&order, files)?;
    let open_ns = Monotonic.now_ns() - begin;
    let text_files = match &origin {
        Origin::Synthetic(_) => None,
        Origin::File { file, .. } => Some(TextFiles::Gguf(Arc::clone(file))),
        Origin::Directory(files) => Some(TextFiles::Directory(files.clone())),
    };
    let max_context = model.spec().max_context;
    let making = prompt::begin(worker, &order, text_files, model.spec().vocab)?;
    let held = worker.bench.take().filter(|bench| bench.key == key);
    let reused = held.is_some();
    let fit = |lengths: Lengths| {
        let needed = model.requirements(lengths, &order.setup).total();
        match order.memory_limit.filter(|&limit| needed > limit) {
            None => Ok(()),
            Some(limit) => Err(End::Failed(format!(
                "weights, cache and scratch need {} MiB, and {} MiB of memory are available: choose a smaller \
                 model or format, or a shorter context",
                needed >> 20,
                limit >> 20
            ))),
        }
    };
    let bring = |worker: &Worker, lengths: Lengths| -> Result<Session, End> {
        fit(lengths)?;
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
        Ok(model.load(lengths, &order.setup, &mut Loading::new(&worker.cancel, &mut report))?)
    };
    let room = |ready: &prompt::Ready| lengths(&order, &ready.ids, max_context);
    let (mut is_filled, mut is_beside) = (false, false);
    let (session, ready, lengths) = match (held, making) {
        (Some(mut bench), making) => {
            let ready = making.wait(worker)?;
            let lengths = room(&ready)?;
            // What the last job filled the context with is what this one would.
            let of = |order: &Load| (order.depth, order.seed);
            is_filled = bench.lengths == lengths && of(&bench.order) == of(&order);
            if !is_filled {
                bench.session.reserve(lengths)?;
            }
            (bench.session, ready, lengths)
        }
        // Mapped weights come while the tokenizer is built; how much room a text needs is known after both.
        (None, making @ Making::Text { .. }) if matches!(origin, Origin::File { .. }) => {
            is_beside = true;
            let mut session = bring(worker, 1.into())?;
            let ready = making.wait(worker)?;
            let lengths = room(&ready)?;
            fit(lengths)?;
            session.reserve(lengths)?;
            (session, ready, lengths)
        }
        (None, making) => {
            let ready = making.wait(worker)?;
            let lengths = room(&ready)?;
            (bring(worker, lengths)?, ready, lengths)
        }
    };
    origin.release_headers();
    let prompt::Ready {
        ids: prompt,
        start_id,
        tokenizer,
        tokenizer_bytes,
        tokenizer_ns,
        tokenize_ns,
        waited_ns,
    } = ready;
    let weights_ns = Monotonic.now_ns() - begin - open_ns - waited_ns;
    // The text's own time is no part of loading, unless it passed beside it.
    let waited_ns = waited_ns.saturating_sub(if is_beside { 0 } else { tokenize_ns });
    let load = LoadTimes { open_ns, weights_ns, tokenizer_ns, waited_ns };
    let plan = session.plan().clone();
    let recorder = Recorder::new(plan.steps.len());
    let mut bench = Workbench { key, origin, order, lengths, session, recorder, prompt, start_id, tokenizer };
    fill(worker, &mut bench, is_filled)?;
    let loaded = Loaded {
        sites: plan.sites.clone(),
        executor: bench.order.setup.executor.name().to_owned(),
        isa: isa(&bench.order.setup),
        params: model.spec().params(),
        weight_bytes: plan.weight_bytes(),
        format: main_format(&plan),
        not_in_format,
        prompt_ids: bench.prompt.clone(),
        tokenize_ns,
        load,
        reused,
        memory: bench.session.memory(),
        tokenizer_bytes,
        runtime_rss: worker.runtime_rss,
    };
    worker.bench = Some(bench);
    worker.send(&Event::Loaded(Box::new(loaded)))?;
    Ok(())
}

type Opened = (Key, Model, Origin, Vec<String>);

/// Understands the model without bringing it into memory.
fn open(order: &Load, files: Vec<OwnedFd>) -> Result<Opened, End> {
    let key = |weights| Key { weights, kv: order.kv, setup: order.setup };
    match &order.source {
        Source::Synthetic { spec, format, seed } => {
            let text = serde_json::to_string(&(GENERATOR_VERSION, spec, format, seed))
                .map_err(|error| End::Failed(error.to_string()))?;
            let model = Model::synthetic((**spec).clone(), *format, *seed, order.kv)?;
            let names = not_in(*format, &model);
            Ok((key(Weights::Synthetic(text.clone())), model, Origin::Synthetic(text), names))
        }
        Source::Gguf { name } => {
            let file = files.into_iter().next();
            let file = map(file, name)?;
            let model = Model::gguf(file.clone(), order.kv)?;
            let header =
                Gguf::parse(file.bytes(), file.name()).map_err(|error| End::Failed(error.to_string()))?;
            let header_length = header.header_length();
            let key = key(Weights::File(file.identity()));
            Ok((key, model, Origin::File { file, header_length }, Vec::new()))
        }
        Source::Directory { name, files: names, format } => {
            let mut descriptors = files.into_iter();
            let map = |file: &String| Ok((file.clone(), map(descriptors.next(), &format!("{name}/{file}"))?));
            let files = names.iter().map(map).collect::<Result<Vec<_>, End>>()?;
            let model = Model::directory(&files, *format, order.kv)?;
            let identities = files.iter().map(|(_, file)| file.identity()).collect();
            let names = format.map(|format| not_in(format, &model)).unwrap_or_default();
            Ok((key(Weights::Directory(identities, *format)), model, Origin::Directory(files), names))
        }
    }
}

/// Matrices that are to be in `format` and cannot.
fn not_in(format: WeightFormat, model: &Model) -> Vec<String> {
    let matrices = model.plan().tensors.iter().filter(|(tensor, _)| !tensor.role.is_small());
    matrices.filter(|(_, stored)| *stored != format).map(|(tensor, _)| tensor.name.clone()).collect()
}

/// Maps a file that came along.
fn map(descriptor: Option<OwnedFd>, name: &str) -> Result<Arc<MappedFile>, End> {
    let descriptor = descriptor.ok_or_else(|| End::Failed(format!("{name}: no descriptor came along")))?;
    MappedFile::new(File::from(descriptor), name)
        .map(Arc::new)
        .map_err(|error| End::Failed(error.to_string()))
}

/// Identity of a directory: that of its configuration and weights, by name. Tokenizer and templates are not
/// part of it.
fn directory_hash(files: &[(String, Arc<MappedFile>)]) -> String {
    let identity = |(name, file): &(String, Arc<MappedFile>)| {
        let counts = name == "config.json" || name.ends_with(".safetensors");
        let bytes = file.bytes();
        counts.then(|| format!("{} {name}\n", identity_hash(bytes, header_length(name, bytes))))
    };
    let mut lines: Vec<String> = files.iter().filter_map(identity).collect();
    lines.sort_unstable();
    let text = lines.concat();
    identity_hash(text.as_bytes(), text.len())
}

/// Bytes of a file before its weights: all of a file that holds none.
fn header_length(name: &str, bytes: &[u8]) -> usize {
    if !name.ends_with(".safetensors") {
        return bytes.len();
    }
    let length = bytes.first_chunk().map_or(0, |length| u64::from_le_bytes(*length));
    usize::try_from(length.saturating_add(8)).unwrap_or(usize::MAX)
}

/// Tokens that the cache must hold; those that it is filled with before a run count as prompt.
fn lengths(order: &Load, prompt: &[u32], max_context: u32) -> Result<Lengths, End> {
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
