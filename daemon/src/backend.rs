//! The border between the runner and whatever computes: what the runner needs of an engine.
//!
//! ```text
//! runner ──Command, open files──▶ engine
//!        ◀──Event─────────────── (progress, spans, text, one answer a command)
//!        ◀──OpBatch, losses───── (as fast as the engine makes them; the runner looks 20 times a second)
//! ```
//!
//! The runner sends one command, then takes events until the answer; only [`Command::Cancel`] may be sent in
//! between. Types of this project's engine do not cross this border, so another engine fits behind it: the plan is
//! optional, and an engine that reports tokens alone says so.

pub(crate) mod channel;
pub mod protocol;
pub mod worker;

#[cfg(test)]
pub(crate) mod scripted;

use std::io;
use std::num::NonZeroUsize;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use slmscope_profiles::engine_memory::EngineMemory;
use slmscope_profiles::format::KvFormat;
use slmscope_profiles::isa::Isa;
use slmscope_profiles::op::OpBatch;
use slmscope_profiles::setup::Setup;
use slmscope_profiles::spec::Lengths;
use slmscope_profiles::workload::ExecutorKind;

pub use protocol::{Command, Event, Source};

/// Why an engine did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No shared memory.
    #[error("cannot make the op ring")]
    Ring(#[source] io::Error),
    /// No socket.
    #[error("cannot make the worker's socket")]
    Socket(#[source] io::Error),
    /// No process.
    #[error("cannot start the worker process")]
    Process(#[source] io::Error),
}

/// Starts engines, and knows what this machine runs.
pub trait Backend: Send + Sync {
    /// Whether its engines can compute with this instruction set here.
    fn has_isa(&self, isa: Isa) -> bool;

    /// The best instruction set that they can compute with here.
    fn best_isa(&self) -> Isa;

    /// Whether they can run this executor here.
    fn has_executor(&self, executor: ExecutorKind) -> bool;

    /// Threads that suit the executor here.
    fn default_threads(&self, executor: ExecutorKind) -> NonZeroUsize;

    /// Memory that a run on weights from `source` needs, with room for `lengths`; `None` if only the engine itself can tell,
    /// once it has opened their files.
    fn memory(&self, source: &Source, kv: KvFormat, lengths: Lengths, setup: Setup) -> Option<EngineMemory>;

    /// Starts an engine that is ready for its first command.
    ///
    /// # Errors
    /// If the system gives no process, socket or memory.
    fn start(&self, setup: Setup) -> Result<Box<dyn Engine>, StartError>;
}

/// A running engine.
pub trait Engine: Send {
    /// The process whose memory and CPU time are the engine's own; `None` for an engine in no process of this machine.
    fn process(&self) -> Option<u32>;

    /// Whether a thread of that process computes, by its name. The others are helpers, and count as cost of the
    /// profiler.
    fn computes(&self, thread: &str) -> bool;

    /// Sends a command. `files` travel with [`Command::Load`].
    ///
    /// # Errors
    /// If the engine is gone.
    fn send(&mut self, command: &Command, files: &[BorrowedFd<'_>]) -> io::Result<()>;

    /// The next event, waiting at most `timeout`; `None` if none came.
    ///
    /// # Errors
    /// `UnexpectedEof` if the engine is gone.
    fn next_event(&mut self, timeout: Duration) -> io::Result<Option<Event>>;

    /// The next batch of op events that is ready, without waiting.
    ///
    /// # Errors
    /// If what the engine left there is no batch.
    fn next_batch(&mut self) -> io::Result<Option<OpBatch>>;

    /// Batches that the engine made and that were lost on the way, since it started.
    fn lost_batches(&self) -> u64;

    /// Ends the engine, and says how it ended if it ended by itself.
    fn end(self: Box<Self>) -> String;

    /// Ends the engine at once.
    fn kill(self: Box<Self>);
}
