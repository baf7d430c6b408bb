//! Runs a model's tokenizer and chat template on a thread of its own, with limits on time and memory, and a cancel flag.
//!
//! Both come with the model: tokenizers contain regular expressions, and templates are programs. A thread cannot be
//! stopped from outside, so work that exceeds its limits is abandoned; the process reports that, and ends.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// How often the limits are checked.
const POLL: Duration = Duration::from_millis(10);
/// Stack of the thread, bytes: the limit on recursion in templates fits many times over.
const STACK: usize = 16 << 20;

/// Limits on turning text into ids.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    /// The largest vocabulary takes seconds on a small board.
    time: Duration,
    /// Bytes; a vocabulary of a quarter of a million tokens takes a few hundred MB.
    memory: u64,
}

impl Limits {
    /// The usual limits, or less where less memory is free; `None` if that is not known.
    pub(crate) fn within(free: Option<u64>) -> Self {
        let memory = 2 << 30;
        Self { time: Duration::from_mins(1), memory: free.map_or(memory, |free| memory.min(free)) }
    }
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum Stopped {
    /// The cancel flag was set.
    #[error("cancelled")]
    Cancelled,
    /// The work exceeded a limit, or panicked.
    #[error(
        "{0}: the model's tokenizer or chat template runs away; shorten the text, or give the prompt as a number of \
         tokens"
    )]
    RanAway(String),
    /// The system provides no thread.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// Work that runs on a thread of its own.
pub(crate) struct Watched<T> {
    limits: Limits,
    done: Receiver<T>,
    begin: Instant,
    /// Memory of the process before it.
    before: Option<u64>,
}

impl<T: Send + 'static> Watched<T> {
    /// Starts `work` in a process that uses `before` bytes of memory.
    pub(crate) fn begin(
        limits: Limits,
        before: Option<u64>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Self, Stopped> {
        let (sender, done) = mpsc::channel();
        let begin = Instant::now();
        let run = move || {
            let _ = sender.send(work());
        };
        std::thread::Builder::new().name("model-text".to_owned()).stack_size(STACK).spawn(run)?;
        Ok(Self { limits, done, begin, before })
    }

    /// Waits for the result. Abandons the work when it exceeds its limits or `cancel` is set; `memory` returns the memory
    /// of the process.
    pub(crate) fn wait(self, cancel: &AtomicBool, memory: impl Fn() -> Option<u64>) -> Result<T, Stopped> {
        let Self { limits, done, begin, before } = self;
        let fail = |problem: String| Err(Stopped::RanAway(problem));
        loop {
            match done.recv_timeout(POLL) {
                Ok(result) => return Ok(result),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return fail("turning text into tokens ended without a result".to_owned());
                }
            }
            if cancel.load(Ordering::Relaxed) {
                return Err(Stopped::Cancelled);
            }
            if begin.elapsed() >= limits.time {
                let seconds = limits.time.as_secs();
                return fail(format!("the text was not turned into tokens within {seconds} s"));
            }
            let taken = memory().zip(before).map_or(0, |(now, before)| now.saturating_sub(before));
            if taken > limits.memory {
                return fail(format!("turning text into tokens took more than {} MiB", limits.memory >> 20));
            }
        }
    }
}

/// Starts `work` and waits for it.
pub(crate) fn watched<T: Send + 'static>(
    limits: Limits,
    cancel: &AtomicBool,
    memory: impl Fn() -> Option<u64>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Stopped> {
    Watched::begin(limits, memory(), work)?.wait(cancel, memory)
}

/// Bytes of this process that no file backs. `None` if the kernel does not say.
pub(crate) fn own_memory(statm: &File) -> Option<u64> {
    memory(statm).map(|[resident, shared]| resident.saturating_sub(shared))
}

/// Bytes of this process that are in memory. `None` if the kernel does not say.
pub(crate) fn resident(statm: &File) -> Option<u64> {
    memory(statm).map(|[resident, _]| resident)
}

/// Bytes in memory, and those of them that a file backs, as `/proc/self/statm` states them in pages.
fn memory(statm: &File) -> Option<[u64; 2]> {
    let mut text = [0; 128];
    let length = statm.read_at(&mut text, 0).ok()?;
    let text = std::str::from_utf8(&text[..length]).ok()?;
    // Size, resident, shared with files, …
    let mut fields = text.split_ascii_whitespace().map(str::parse::<u64>);
    let (resident, shared) = (fields.nth(1)?.ok()?, fields.next()?.ok()?);
    let page = rustix::param::page_size() as u64;
    Some([resident.checked_mul(page)?, shared.checked_mul(page)?])
}

/// Returns free memory that the allocator keeps to the system, so that resident memory is memory in use.
pub(crate) fn trim() {
    #[cfg(target_env = "gnu")]
    #[expect(unsafe_code, reason = "only the C library knows what it keeps")]
    // SAFETY: this touches memory that nobody has allocated, under the allocator's own locks.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs work that does not end before the test does.
    fn endless(limits: Limits, cancel: bool, memory: impl Fn() -> Option<u64>) -> String {
        let (release, held) = mpsc::channel::<()>();
        let cancel = AtomicBool::new(cancel);
        let result = watched(limits, &cancel, memory, move || held.recv().is_ok());
        drop(release);
        result.expect_err("the work cannot end").to_string()
    }

    #[test]
    fn work_that_does_not_end_is_abandoned() {
        let ample = Limits { time: Duration::from_hours(1), memory: u64::MAX };
        let late = endless(Limits { time: Duration::ZERO, ..ample }, false, || None);
        assert!(late.contains("within 0 s"), "{late}");
        let calls = std::cell::Cell::new(0);
        let growing = || {
            calls.set(calls.get() + 1);
            Some(calls.get() << 20)
        };
        let large = endless(Limits { memory: 8 << 20, time: ample.time }, false, growing);
        assert!(large.contains("more than 8 MiB"), "{large}");
        assert_eq!(endless(ample, true, || None), "cancelled");
        let panicked = watched(ample, &AtomicBool::new(false), || None, || -> u32 { panic!("on purpose") });
        assert!(panicked.expect_err("it panics").to_string().contains("without a result"));
        assert!(watched(ample, &AtomicBool::new(false), || None, || 5).is_ok_and(|five| five == 5));
    }

    #[test]
    fn own_memory_is_that_which_no_file_backs() {
        let statm = tempfile::tempfile().unwrap();
        statm.write_all_at(b"5000 700 200 1 0 300 0\n", 0).unwrap();
        assert_eq!(own_memory(&statm), Some(500 * rustix::param::page_size() as u64));
        assert_eq!(resident(&statm), Some(700 * rustix::param::page_size() as u64));
        statm.set_len(3).unwrap();
        assert_eq!(own_memory(&statm), None);
    }
}
