//! The prompt as ids: random ones, or what the model's own tokenizer and chat template make of a text.
//!
//! Tokenizers hold patterns, and templates are programs; both come with the model. So they are watched (see
//! [`crate::watch`]): one that does not end in time fails the job, and the worker ends with it.

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
    /// Fed first where there is no prompt.
    pub(super) start_id: u32,
    /// `None` if no text is involved.
    pub(super) tokenizer: Option<Tokenizer>,
    /// Memory that it took to read; `None` without one, or if the kernel does not say.
    pub(super) tokenizer_bytes: Option<u64>,
    /// Time to read tokenizer and template; `None` without one.
    pub(super) tokenizer_ns: Option<u64>,
    /// Time from text to ids, the reading of the tokenizer not included; 0 without text.
    pub(super) tokenize_ns: u64,
    /// How long all of that was waited for.
    pub(super) waited_ns: u64,
}

/// A prompt that is ready, or is being made so on a thread of its own.
pub(super) enum Making {
    Ready(Ready),
    Text {
        work: Watched<Result<Ready, TokenizerError>>,
        /// Memory of the process before it.
        before: Option<u64>,
    },
}

/// Begins to make ids of the prompt of `order`, for a model whose embedding has `rows` rows.
pub(super) fn begin(
    worker: &Worker,
    order: &Load,
    files: Option<MappedModel>,
    rows: u32,
) -> Result<Making, End> {
    let prompt = match &order.prompt {
        Prompt::Random(count) => {
            let ids = random_ids(order.seed, *count, rows);
            return Ok(Making::Ready(Ready { ids, ..Ready::default() }));
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
    let work = Watched::begin(Limits::within(order.memory_limit), before, work)?;
    Ok(Making::Text { work, before })
}

impl Making {
    /// Waits until the prompt is ready. What the process took meanwhile for itself counts as the tokenizer's:
    /// weights that are mapped beside it do not.
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
