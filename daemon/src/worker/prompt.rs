//! The prompt as ids: random ones, or what the model's own tokenizer and chat template make of a text.
//!
//! Tokenizers hold patterns, and templates are programs; both come with the model. They run on a thread that
//! is watched: for time, for memory, and for the wish to cancel. One that does not end in time fails the job,
//! and the worker ends with it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime};

use slmscope_engine::clock::{Clock, Monotonic};
use slmscope_engine::gguf::Gguf;
use slmscope_engine::map::MappedFile;
use slmscope_engine::tokenizer::{ChatTemplate, Tokenizer, TokenizerError};
use slmscope_profiles::stats::SplitMix;

use super::protocol::{Load, Prompt};
use super::{End, Worker};

/// How often the thread is looked after.
const TURN: Duration = Duration::from_millis(10);
/// Recursion in templates is bounded to fit this many times over.
const STACK: usize = 16 << 20;

/// What making ids of a text may take.
struct Limits {
    /// The largest vocabulary takes seconds on a small board.
    time: Duration,
    /// Bytes; a vocabulary of a quarter of a million tokens takes some hundred MB.
    memory: u64,
}

const LIMITS: Limits = Limits { time: Duration::from_mins(1), memory: 2 << 30 };

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
            return Ok(Ready { ids, start_id: 0, tokenizer: None, tokenize_ns: 0 });
        }
        text => text.clone(),
    };
    let Some(files) = files else {
        let problem = "synthetic weights have no tokenizer: ask for a number of tokens with --prompt, or name a \
                       model file or directory";
        return Err(End::Failed(problem.to_owned()));
    };
    let limits =
        Limits { memory: order.memory_limit.map_or(LIMITS.memory, |free| LIMITS.memory.min(free)), ..LIMITS };
    let work = move || from_text(&prompt, &files, rows);
    let result = watched(&limits, &worker.cancel, || worker.statm.as_ref().and_then(own_memory), work)?;
    result.map_err(|error| End::Failed(error.to_string()))
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
    Ok(Ready { ids, start_id, tokenizer: Some(tokenizer), tokenize_ns })
}

/// Seeded ids, spread over the whole vocabulary.
pub(super) fn random_ids(seed: u64, count: u32, vocab: u32) -> Vec<u32> {
    let mut random = SplitMix(seed);
    (0..count).map(|_| random.below(vocab as usize) as u32).collect()
}

/// Runs `work` on a thread of its own, and leaves it alone when it takes more than `limits` or `cancel` is up.
fn watched<T: Send + 'static>(
    limits: &Limits,
    cancel: &AtomicBool,
    memory: impl Fn() -> Option<u64>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, End> {
    let (sender, done) = mpsc::channel();
    let before = memory();
    let begin = Instant::now();
    let run = move || {
        let _ = sender.send(work());
    };
    std::thread::Builder::new().name("worker-text".to_owned()).stack_size(STACK).spawn(run)?;
    let fail = |problem: String| {
        Err(End::Failed(format!(
            "{problem}: the model's tokenizer or chat template runs away; shorten the prompt, or give it as a \
             number of tokens"
        )))
    };
    loop {
        match done.recv_timeout(TURN) {
            Ok(result) => return Ok(result),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                return fail("turning the prompt into tokens ended without a result".to_owned());
            }
        }
        if cancel.load(Ordering::Relaxed) {
            return Err(End::Cancelled);
        }
        if begin.elapsed() >= limits.time {
            let seconds = limits.time.as_secs();
            return fail(format!("the prompt was not turned into tokens within {seconds} s"));
        }
        let taken = memory().zip(before).map_or(0, |(now, before)| now.saturating_sub(before));
        if taken > limits.memory {
            return fail(format!(
                "turning the prompt into tokens took more than {} MiB",
                limits.memory >> 20
            ));
        }
    }
}

/// Bytes of this process that no file backs. `None` if the kernel does not say.
fn own_memory(statm: &File) -> Option<u64> {
    let mut text = [0; 128];
    let length = statm.read_at(&mut text, 0).ok()?;
    let text = std::str::from_utf8(&text[..length]).ok()?;
    // Pages: size, resident, shared with files, …
    let mut fields = text.split_ascii_whitespace().map(str::parse::<u64>);
    let (resident, shared) = (fields.nth(1)?.ok()?, fields.next()?.ok()?);
    Some(resident.saturating_sub(shared) * rustix::param::page_size() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(end: End) -> String {
        match end {
            End::Failed(message) => message,
            End::Cancelled => "cancelled".to_owned(),
        }
    }

    /// Watches work that does not end before the test does.
    fn endless(limits: &Limits, cancel: bool, memory: impl Fn() -> Option<u64>) -> String {
        let (release, held) = mpsc::channel::<()>();
        let cancel = AtomicBool::new(cancel);
        let result = watched(limits, &cancel, memory, move || held.recv().is_ok());
        drop(release);
        message(result.expect_err("the work cannot end"))
    }

    #[test]
    fn work_that_does_not_end_is_left_alone() {
        let ample = Limits { time: Duration::from_hours(1), memory: u64::MAX };
        let late = endless(&Limits { time: Duration::ZERO, ..ample }, false, || None);
        assert!(late.contains("within 0 s"), "{late}");
        let calls = std::cell::Cell::new(0);
        let growing = || {
            calls.set(calls.get() + 1);
            Some(calls.get() << 20)
        };
        let large = endless(&Limits { memory: 8 << 20, time: ample.time }, false, growing);
        assert!(large.contains("more than 8 MiB"), "{large}");
        assert_eq!(endless(&ample, true, || None), "cancelled");
        let panicked = watched(&ample, &AtomicBool::new(false), || None, || -> u32 { panic!("on purpose") });
        assert!(message(panicked.expect_err("it panics")).contains("without a result"));
        assert!(watched(&ample, &AtomicBool::new(false), || None, || 5).is_ok_and(|five| five == 5));
    }

    #[test]
    fn own_memory_is_that_which_no_file_backs() {
        let statm = tempfile::tempfile().unwrap();
        statm.write_all_at(b"5000 700 200 1 0 300 0\n", 0).unwrap();
        assert_eq!(own_memory(&statm), Some(500 * rustix::param::page_size() as u64));
        statm.set_len(3).unwrap();
        assert_eq!(own_memory(&statm), None);
    }
}
