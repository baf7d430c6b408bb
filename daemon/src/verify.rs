//! Comparing a model with reference logits, in this process.

use std::collections::HashMap;
use std::fs::File;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, bail};
use slmscope_engine::map::MappedFile;
use slmscope_engine::mapped_model::MappedModel;
use slmscope_engine::setup::{ExecutorKind, Setup};
use slmscope_engine::threads;
use slmscope_engine::tokenizer::TokenizerError;
use slmscope_engine::verify::{Encode, Golden};
use slmscope_engine::weights::Loading;
use slmscope_profiles::format::KvFormat;
use slmscope_profiles::job::ModelRef;
use slmscope_profiles::verify::VerifyReport;

use crate::inspect;
use crate::memory;
use crate::watch::{self, Limits, watched};

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
    let files = inspect::map(&options.model, options.files)?;
    let model = files.model(None, options.kv)?;
    golden.check_model(model.spec().vocab, model.spec().max_context)?;
    // The signal that interrupts ends the process.
    let never = AtomicBool::new(false);
    let ids = ids_of_texts(&files, &golden, &never)?;
    let capacity = golden.capacity() as u32;
    let needed = model.requirements(capacity, &setup).total();
    if let Some(free) = memory::available().filter(|&free| needed > free) {
        bail!("the model needs {} MiB, and {} MiB of memory are available", needed >> 20, free >> 20);
    }
    let mut loaded = |done, total| progress(VerifyStep::Loading(done, total));
    // Room is made for each case.
    let mut session = model.load(1, &setup, &mut Loading::new(&never, &mut loaded))?;
    let encode = ids.map(|ids| move |text: &str| ids.get(text).cloned().unwrap_or_default());
    let encode = encode.as_ref().map(|encode| encode as &Encode<'_>);
    let mut computed = |done, total| progress(VerifyStep::Computing(done, total));
    slmscope_engine::verify::verify(&mut session, &golden, encode, &never, &mut computed)
        .with_context(|| format!("{} cannot be computed", options.model.name()))
}

/// The ids of the reference's texts, by the model's own tokenizer. `None` if there are no texts, or the model comes
/// without a tokenizer.
fn ids_of_texts(
    files: &MappedModel,
    golden: &Golden,
    cancel: &AtomicBool,
) -> anyhow::Result<Option<HashMap<String, Vec<u32>>>> {
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
