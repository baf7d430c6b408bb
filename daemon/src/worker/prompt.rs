//! The prompt as ids: random ones, or what the model's own tokenizer and chat template make of a text.
//!
//! Tokenizers hold patterns, and templates are programs; both come with the model. So they are watched (see
//! [`crate::watch`]): one that does not end in time fails the job, and the worker ends with it.

use std::sync::Arc;
use std::time::SystemTime;

use slmscope_engine::clock::{Clock, Monotonic};
use slmscope_engine::gguf::Gguf;
use slmscope_engine::map::MappedFile;
use slmscope_engine::tokenizer::{ChatTemplate, Tokenizer, TokenizerError};
use slmscope_profiles::stats::SplitMix;

use super::protocol::{Load, Prompt};
use super::{End, Worker};
use crate::watch::{self, Limits, watched};

/// The files that bring tokenizer and template.
pub(super) enum TextFiles {
    Gguf(Arc<MappedFile>),
    Directory(Vec<(String, Arc<MappedFile>)>),
}

/// A prompt that is ready to be fed.
pub(super) struct Ready {
    pub(super) ids: Vec<u32>,
    /// Fed first where there is no prompt.
    pub(super) start_id: u32,
    /// `None` if no text is involved.
    pub(super) tokenizer: Option<Tokenizer>,
    /// Memory that it took to read; `None` without one, or if the kernel does not say.
    pub(super) tokenizer_bytes: Option<u64>,
    /// Time from text to ids, the reading of the tokenizer not included; 0 without text.
    pub(super) tokenize_ns: u64,
}

/// Ids of the prompt of `order`, for a model whose embedding has `rows` rows.
pub(super) fn ready(
    worker: &Worker,
    order: &Load,
    files: Option<TextFiles>,
    rows: u32,
) -> Result<Ready, End> {
    let prompt = match &order.prompt {
        Prompt::Random(count) => {
            let ids = random_ids(order.seed, *count, rows);
            return Ok(Ready { ids, start_id: 0, tokenizer: None, tokenizer_bytes: None, tokenize_ns: 0 });
        }
        text => text.clone(),
    };
    let Some(files) = files else {
        let problem = "synthetic weights have no tokenizer: ask for a number of tokens with --prompt, or name a \
                       model file or directory";
        return Err(End::Failed(problem.to_owned()));
    };
    let memory = || worker.statm.as_ref().and_then(watch::own_memory);
    let before = memory();
    let work = move || from_text(&prompt, &files, rows);
    let mut ready = watched(&Limits::within(order.memory_limit), &worker.cancel, memory, work)?
        .map_err(|error| End::Failed(error.to_string()))?;
    watch::trim();
    ready.tokenizer_bytes = memory().zip(before).map(|(after, before)| after.saturating_sub(before));
    Ok(ready)
}

fn from_text(prompt: &Prompt, files: &TextFiles, rows: u32) -> Result<Ready, TokenizerError> {
    let (tokenizer, template) = match files {
        TextFiles::Gguf(file) => {
            let gguf = Gguf::parse(file.bytes(), file.name())?;
            (Tokenizer::from_gguf(&gguf)?, ChatTemplate::from_gguf(&gguf))
        }
        TextFiles::Directory(files) => {
            (Tokenizer::from_directory(files)?, ChatTemplate::from_directory(files))
        }
    };
    tokenizer.check_rows(rows)?;
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
    Ok(Ready { ids, start_id, tokenizer: Some(tokenizer), tokenizer_bytes: None, tokenize_ns })
}

/// Seeded ids, spread over the whole vocabulary.
pub(super) fn random_ids(seed: u64, count: u32, vocab: u32) -> Vec<u32> {
    let mut random = SplitMix(seed);
    (0..count).map(|_| random.below(vocab as usize) as u32).collect()
}
