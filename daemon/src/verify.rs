//! Comparing a model with reference logits, in this process.

use std::collections::HashMap;
use std::fs::File;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use slmscope_engine::error::{EngineError, LoadError};
use slmscope_engine::map::{MapError, MappedFile};
use slmscope_engine::mapped_model::MappedModel;
use slmscope_engine::setup::{self, ExecutorKind, Setup};
use slmscope_engine::threads::{self, ThreadsError};
use slmscope_engine::tokenizer::TokenizerError;
use slmscope_engine::verify::{Encode, Golden, GoldenError};
use slmscope_engine::weights::Loading;
use slmscope_profiles::format::KvFormat;
use slmscope_profiles::job::ModelRef;
use slmscope_profiles::verify::{ComputedBy, VerifyReport};

use crate::inspect::{self, InspectError};
use crate::memory;
use crate::watch::{self, Limits, Stopped, watched};

/// What is compared, and how it is computed.
pub struct VerifyOptions {
    /// Names of the model's files.
    pub model: ModelRef,
    /// These files, open, in the order of the names.
    pub files: Vec<File>,
    /// The reference.
    pub golden: PathBuf,
    /// Format of keys and values.
    pub kv: KvFormat,
    /// Who computes.
    pub executor: ExecutorKind,
    /// Engine threads; `None` for as many as suit.
    pub threads: Option<NonZeroUsize>,
}

/// How far it is.
#[derive(Debug, Clone, Copy)]
pub enum VerifyStep {
    /// Bytes of the weights, of all.
    Loading(u64, u64),
    /// Tokens computed, of all.
    Computing(u64, u64),
}

/// Why a model cannot be compared. Messages hold their causes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The engine's threads cannot start.
    #[error(transparent)]
    Threads(#[from] ThreadsError),
    /// The engine refuses the model.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The reference cannot be opened.
    #[error(transparent)]
    Map(Box<MapError>),
    /// The reference cannot be used, or was made of another model.
    #[error(transparent)]
    Golden(#[from] GoldenError),
    /// The model's files cannot be read.
    #[error(transparent)]
    Inspect(#[from] InspectError),
    /// The model's tokenizer cannot be read.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The model's tokenizer took too much time or memory.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// Too little memory, bytes.
    #[error("the model needs {} MiB, and {} MiB of memory are available", needed >> 20, free >> 20)]
    Memory {
        /// What the model needs.
        needed: u64,
        /// What is available.
        free: u64,
    },
    /// The engine fails on the model.
    #[error("{model} cannot be computed: {cause}")]
    Compute {
        /// The model.
        model: String,
        /// What the engine reports.
        cause: EngineError,
    },
}

impl From<MapError> for VerifyError {
    fn from(error: MapError) -> Self {
        Self::Map(Box::new(error))
    }
}

/// Compares a model with a reference. Call it before the process starts any other thread: it configures the engine's
/// thread pools.
///
/// # Errors
/// Files that cannot be used or do not belong together, and too little memory.
pub fn verify(
    options: VerifyOptions,
    progress: &mut dyn FnMut(VerifyStep),
) -> Result<VerifyReport, VerifyError> {
    let executor = options.executor;
    let threads = options.threads.unwrap_or_else(|| threads::default_count(executor));
    let setup = Setup { executor, threads, ..setup::native() };
    threads::configure(&setup)?;
    let golden = Golden::read(&MappedFile::open(&options.golden)?)?;
    let files = inspect::map(&options.model, options.files)?;
    let model = files.model(None, options.kv)?;
    golden.check_model(model.spec().vocab, model.spec().max_context)?;
    // An interrupt ends the process.
    let never = AtomicBool::new(false);
    let ids = ids_of_texts(&files, &golden, &never)?;
    let capacity = golden.capacity() as u32;
    let needed = model.requirements(capacity, &setup).total();
    if let Some(free) = memory::available().filter(|&free| needed > free) {
        return Err(VerifyError::Memory { needed, free });
    }
    let mut loaded = |done, total| progress(VerifyStep::Loading(done, total));
    // Room is made for each case.
    let mut session = model.load(1, &setup, &mut Loading::new(&never, &mut loaded))?;
    let encode = ids.map(|ids| move |text: &str| ids.get(text).cloned().unwrap_or_default());
    let encode = encode.as_ref().map(|encode| encode as &Encode<'_>);
    let mut computed = |done, total| progress(VerifyStep::Computing(done, total));
    let report = slmscope_engine::verify::verify(&mut session, &golden, encode, &never, &mut computed)
        .map_err(|cause| VerifyError::Compute { model: options.model.name().to_owned(), cause })?;
    Ok(VerifyReport { computed_by: Some(ComputedBy { setup, kv: options.kv }), ..report })
}

/// The ids of the reference's texts, by the model's own tokenizer. `None` if there are no texts, or the model comes
/// without a tokenizer.
fn ids_of_texts(
    files: &MappedModel,
    golden: &Golden,
    cancel: &AtomicBool,
) -> Result<Option<HashMap<String, Vec<u32>>>, VerifyError> {
    let texts: Vec<_> = golden.texts().map(str::to_owned).collect();
    if texts.is_empty() {
        return Ok(None);
    }
    let files = files.clone();
    let work = move || {
        let tokenizer = match files.tokenizer() {
            Err(TokenizerError::Missing { .. }) => return Ok(None),
            found => found?,
        };
        // A text that a tokenizer refuses has other ids than the reference's.
        let ids = |text: String| (tokenizer.encode(&text, true).unwrap_or_default(), text);
        Ok(Some(texts.into_iter().map(ids).map(|(ids, text)| (text, ids)).collect()))
    };
    let statm = File::open("/proc/self/statm").ok();
    let memory = || statm.as_ref().and_then(watch::own_memory);
    watched(Limits::within(memory::available()), cancel, memory, work)?
}
