//! The ids of the prompt: random ones, or those of a text by the model's own tokenizer and chat template.
//!
//! A tokenizer holds regular expressions, and a chat template is a program; both come with the model. So they run
//! under limits of time and memory (see [`crate::watch`]). One that exceeds them fails the job and ends the worker.

use std::time::SystemTime;

use slmscope_engine::clock::{Clock, Monotonic};
use slmscope_engine::mapped_model::MappedModel;
use slmscope_engine::tokenizer::{Tokenizer, TokenizerError};
use slmscope_profiles::stats::SplitMix;

use super::protocol::{Load, Prompt};
use super::{End, Worker};
use crate::watch::{self, Limits, Watched};

/// A prompt that is ready to be fed.
#[derive(Default)]
pub(super) struct Ready {
    pub(super) ids: Vec<u32>,
    /// The first id that is fed if there is no prompt.
    pub(super) start_id: u32,
    /// `None` if the prompt is no text.
    pub(super) tokenizer: Option<Tokenizer>,
    /// Memory that it takes, bytes; `None` without a tokenizer, or if the kernel does not report it.
    pub(super) tokenizer_bytes: Option<u64>,
    /// Time to read tokenizer and template, ns; `None` without a tokenizer.
    pub(super) tokenizer_ns: Option<u64>,
    /// Time from text to ids without reading the tokenizer, ns; 0 without text.
    pub(super) tokenize_ns: u64,
    /// How long loading waited for all of that, ns.
    pub(super) waited_ns: u64,
}

/// A prompt that is ready, or is being tokenized on another thread.
pub(super) enum PendingPrompt {
    Ready(Ready),
    Text {
        work: Watched<Result<Ready, TokenizerError>>,
        /// Memory of the process before it.
        before: Option<u64>,
    },
}

/// Starts to tokenize the prompt of `request` for a model whose embedding has `rows` rows.
pub(super) fn begin(
    worker: &Worker,
    request: &Load,
    files: Option<MappedModel>,
    rows: u32,
) -> Result<PendingPrompt, End> {
    let prompt = match &request.prompt {
        Prompt::Random(count) => {
            let ids = random_ids(request.seed, *count, rows);
            return Ok(PendingPrompt::Ready(Ready { ids, ..Ready::default() }));
        }
        text => text.clone(),
    };
    let Some(files) = files else {
        let problem = "synthetic weights have no tokenizer: ask for a number of tokens with --prompt, or name a \
                       model file or directory";
        return Err(End::Failed(problem.to_owned()));
    };
    let before = own_memory(worker);
    let work = move || from_text(&prompt, &files, rows);
    let work = Watched::begin(Limits::within(request.memory_limit), before, work)?;
    Ok(PendingPrompt::Text { work, before })
}

impl PendingPrompt {
    /// Waits until the prompt is ready. The memory that the process has allocated since is the tokenizer's; weights
    /// that were mapped at the same time are not counted.
    pub(super) fn wait(self, worker: &Worker) -> Result<Ready, End> {
        let (work, before) = match self {
            Self::Ready(ready) => return Ok(ready),
            Self::Text { work, before } => (work, before),
        };
        let begin = Monotonic.now_ns();
        let result = work.wait(&worker.cancel, || own_memory(worker))?;
        let mut ready = result.map_err(|error| End::Failed(error.to_string()))?;
        watch::trim();
        let after = own_memory(worker);
        ready.tokenizer_bytes = after.zip(before).map(|(after, before)| after.saturating_sub(before));
        ready.waited_ns = Monotonic.now_ns() - begin;
        Ok(ready)
    }
}

fn own_memory(worker: &Worker) -> Option<u64> {
    worker.statm.as_ref().and_then(watch::own_memory)
}

fn from_text(prompt: &Prompt, files: &MappedModel, rows: u32) -> Result<Ready, TokenizerError> {
    let begin = Monotonic.now_ns();
    let (tokenizer, template) = (files.tokenizer()?, files.chat_template());
    tokenizer.check_rows(rows)?;
    let tokenizer_ns = Monotonic.now_ns() - begin;
    let begin = Monotonic.now_ns();
    let ids = match prompt {
        Prompt::Text(text) => tokenizer.encode(text, true)?,
        // The template writes what is to stand at the beginning.
        Prompt::Chat(message) => tokenizer.encode(&template?.render(message, SystemTime::now())?, false)?,
        Prompt::Random(_) => Vec::new(),
    };
    let tokenize_ns = Monotonic.now_ns() - begin;
    tokenizer.check_ids(&ids, rows)?;
    let start_id = tokenizer.bos().filter(|&id| id < rows).unwrap_or(0);
    Ok(Ready {
        ids,
        start_id,
        tokenizer: Some(tokenizer),
        tokenizer_ns: Some(tokenizer_ns),
        tokenize_ns,
        ..Ready::default()
    })
}

/// Seeded ids, spread over the whole vocabulary.
pub(super) fn random_ids(seed: u64, count: u32, vocab: u32) -> Vec<u32> {
    let mut random = SplitMix(seed);
    (0..count).map(|_| random.below(vocab as usize) as u32).collect()
}
