//! The worker: a process that holds the engine and nothing else, driven by the daemon over a socket pair.
//!
//! The main thread runs one command after the other. A second thread reads commands, raises the cancel flag,
//! and ends the process at once when the daemon is gone, whatever the engine is doing.

mod budget;
pub mod channel;
mod confine;
mod measure;
mod model;
mod prompt;
pub mod protocol;
mod roofs;

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use anyhow::Context;
use slmscope_engine::clock::Ticks;
use slmscope_engine::error::{EngineError, LoadError};
use slmscope_engine::setup::Setup;
use slmscope_engine::threads;

use budget::Purse;
use channel::Receiver;
use protocol::{Command, Event};

use crate::ring::Producer;
use crate::watch::Stopped;
use model::{Workbench, load};

/// Why a command ended early.
enum End {
    /// The cancel flag was up.
    Cancelled,
    /// An error, with the remedy.
    Failed(String),
}

impl From<std::io::Error> for End {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(format!("cannot talk to the daemon: {error}"))
    }
}

impl From<EngineError> for End {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Cancelled => Self::Cancelled,
            other => Self::Failed(other.to_string()),
        }
    }
}

impl From<Stopped> for End {
    fn from(stopped: Stopped) -> Self {
        match stopped {
            Stopped::Cancelled => Self::Cancelled,
            other => Self::Failed(other.to_string()),
        }
    }
}

impl From<LoadError> for End {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Cancelled => Self::Cancelled,
            other => Self::Failed(other.to_string()),
        }
    }
}

/// Serves the daemon at the other end of `control` on `setup`, until it is gone.
///
/// To be called first thing in the process: the engine sets its pools up before any other thread runs.
///
/// # Errors
/// If the engine's threads cannot start, or if the daemon sends no ring.
pub fn run(control: UnixStream, setup: &Setup) -> anyhow::Result<()> {
    threads::configure(setup)?;
    let cancel = Arc::new(AtomicBool::new(false));
    let commands = read_commands(control.try_clone()?, cancel.clone())?;
    let (first, mut files) = commands.recv().context("the daemon left without a word")?;
    anyhow::ensure!(!files.is_empty(), "the daemon sent no op ring");
    let ring = Producer::open(&files.remove(0)).context("cannot open the op ring")?;
    // What the program itself takes with its ring, before anything is loaded.
    let runtime_rss = slmscope_probes::process::memory(std::process::id()).rss;
    // Opened now: afterwards nothing can be.
    let statm = File::open("/proc/self/statm").ok();
    confine::confine();
    let mut clock = Ticks::default();
    let event_price_ns = budget::event_price_ns(&mut clock);
    let purse = Purse::new(None, 0.0, 0.0);
    let mut worker = Worker {
        control,
        cancel,
        ring,
        seq: 0,
        clock,
        event_price_ns,
        purses_of: None,
        chunks: purse.clone(),
        steps: purse,
        runtime_rss,
        statm,
        bench: None,
    };
    worker.execute(first, files)?;
    while let Ok((command, files)) = commands.recv() {
        worker.execute(command, files)?;
    }
    Ok(())
}

/// Starts the thread that reads commands. At end of file it ends the process: an engine without a daemon
/// would only heat the room.
fn read_commands(
    control: UnixStream,
    cancel: Arc<AtomicBool>,
) -> std::io::Result<mpsc::Receiver<(Command, Vec<OwnedFd>)>> {
    let (sender, commands) = mpsc::channel();
    let read = move || {
        let mut receiver = Receiver::new(control);
        while let Ok(Some(command)) = receiver.next::<Command>() {
            if command == Command::Cancel {
                cancel.store(true, Ordering::Relaxed);
                continue;
            }
            // The daemon sends the next command only after the answer to the last one.
            cancel.store(false, Ordering::Relaxed);
            if sender.send((command, std::mem::take(&mut receiver.descriptors))).is_err() {
                break;
            }
        }
        leave();
    };
    std::thread::Builder::new().name("worker-control".to_owned()).spawn(read)?;
    Ok(commands)
}

/// Ends the process without running anything more of it: the engine's threads may be in the middle of
/// something.
#[expect(unsafe_code, reason = "the standard library's exit runs handlers under running threads")]
fn leave() -> ! {
    // SAFETY: `_exit` ends the process; nothing after it can observe a broken invariant.
    unsafe { libc::_exit(0) }
}

struct Worker {
    control: UnixStream,
    cancel: Arc<AtomicBool>,
    ring: Producer,
    /// Batches made so far, lost ones included.
    seq: u64,
    clock: Ticks,
    /// What recording one event costs.
    event_price_ns: f64,
    /// Budget and steps of a token that the purses were made for.
    purses_of: Option<(Option<f64>, usize)>,
    /// Which chunks of a prompt are recorded.
    chunks: Purse,
    /// Which decode steps are recorded.
    steps: Purse,
    runtime_rss: Option<u64>,
    /// What the kernel says of this process' memory; `None` without `/proc`.
    statm: Option<File>,
    bench: Option<Workbench>,
}

impl Worker {
    fn send(&self, event: &Event) -> std::io::Result<()> {
        channel::send(&self.control, event, &[])
    }

    fn execute(&mut self, command: Command, files: Vec<OwnedFd>) -> anyhow::Result<()> {
        let result = match command {
            Command::Load(order) => load(self, *order, files),
            Command::Repeat { run, measured, budget } => self.repeat(run, measured, budget),
            Command::Overhead { limit_ns, least_tokens } => self.overhead(limit_ns, least_tokens),
            Command::Identify => self.identify(),
            Command::Look(order) => self.look(order),
            Command::Cancel => Ok(()),
        };
        match result {
            Ok(()) => {}
            Err(End::Cancelled) => self.send(&Event::Cancelled)?,
            Err(End::Failed(message)) => self.send(&Event::Failed { message })?,
        }
        Ok(())
    }

    fn is_cancelled(&self) -> bool {
        self.cancel.load(Ordering::Relaxed)
    }

    fn identify(&mut self) -> Result<(), End> {
        let bench = self.bench.as_ref().ok_or(End::Failed("no model is loaded".to_owned()))?;
        let (hash, changed) = bench.identity();
        self.send(&Event::Identity { hash, changed })?;
        Ok(())
    }
}
