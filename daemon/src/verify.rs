//! Comparing a model with reference logits, in this process.

use std::fs::File;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, bail};
use slmscope_engine::gguf::Gguf;
use slmscope_engine::map::MappedFile;
use slmscope_engine::model::Model;
use slmscope_engine::setup::{ExecutorKind, Setup};
use slmscope_engine::threads;
use slmscope_engine::tokenizer::{Tokenizer, TokenizerError};
use slmscope_engine::verify::{Encode, Golden};
use slmscope_engine::weights::Loading;
use slmscope_profiles::format::KvFormat;
use slmscope_profiles::job::ModelRef;
use slmscope_profiles::verify::VerifyReport;

use crate::runner::available_memory;

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

/// Compares. To be called before the process has any other thread: it starts the engine's.
///
/// # Errors
/// Files that cannot be used or do not belong together, and too little memory.
pub fn verify(options: VerifyOptions, progress: &mut dyn FnMut(VerifyStep)) -> anyhow::Result<VerifyReport> {
    let executor = options.executor;
    let threads = options.threads.unwrap_or_else(|| threads::default_count(executor));
    let setup = Setup { executor, threads, ..Setup::default() };
    threads::configure(&setup)?;
    let golden = Golden::read(&MappedFile::open(&options.golden)?)?;
    let files = ModelFiles::map(&options.model, options.files)?;
    let model = files.model(options.kv)?;
    golden.check_model(model.spec().vocab, model.spec().max_context)?;
    let tokenizer = if golden.has_texts() { files.tokenizer()? } else { None };
    let capacity = golden.capacity() as u32;
    let needed = model.requirements(capacity, &setup).total();
    if let Some(free) = available_memory().filter(|&free| needed > free) {
        bail!("the model needs {} MiB, and {} MiB of memory are available", needed >> 20, free >> 20);
    }
    // The signal that interrupts ends the process.
    let never = AtomicBool::new(false);
    let mut loaded = |done, total| progress(VerifyStep::Loading(done, total));
    let mut session = model.load(capacity, &setup, &mut Loading::new(&never, &mut loaded))?;
    // A text that a tokenizer refuses has other ids than the reference's.
    let encode =
        tokenizer.map(|tokenizer| move |text: &str| tokenizer.encode(text, true).unwrap_or_default());
    let encode = encode.as_ref().map(|encode| encode as &Encode<'_>);
    let mut computed = |done, total| progress(VerifyStep::Computing(done, total));
    slmscope_engine::verify::verify(&mut session, &golden, encode, &never, &mut computed)
        .with_context(|| format!("{} cannot be computed", options.model.name()))
}

/// A model's mapped files.
enum ModelFiles {
    Gguf(Arc<MappedFile>),
    Directory(Vec<(String, Arc<MappedFile>)>),
}

impl ModelFiles {
    fn map(model: &ModelRef, files: Vec<File>) -> anyhow::Result<Self> {
        let name = model.name();
        if let Some(names) = model.directory_files() {
            let map = |(file, within): (File, String)| {
                let mapped = MappedFile::new(file, format!("{name}/{within}"))?;
                Ok((within, Arc::new(mapped)))
            };
            let files: anyhow::Result<Vec<_>> = files.into_iter().zip(names).map(map).collect();
            return Ok(Self::Directory(files?));
        }
        let file = files.into_iter().next();
        let file = file.with_context(|| format!("{name} has no weights to compare with a reference"))?;
        Ok(Self::Gguf(Arc::new(MappedFile::new(file, name)?)))
    }

    fn model(&self, kv: KvFormat) -> anyhow::Result<Model> {
        Ok(match self {
            Self::Gguf(file) => Model::gguf(Arc::clone(file), kv)?,
            Self::Directory(files) => Model::directory(files, None, kv)?,
        })
    }

    /// `None` if the model comes without a tokenizer.
    fn tokenizer(&self) -> anyhow::Result<Option<Tokenizer>> {
        let read = match self {
            Self::Gguf(file) => Tokenizer::from_gguf(&Gguf::parse(file.bytes(), file.name())?),
            Self::Directory(files) => Tokenizer::from_directory(files),
        };
        match read {
            Ok(tokenizer) => Ok(Some(tokenizer)),
            Err(TokenizerError::Missing { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}
