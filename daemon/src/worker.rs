//! The worker: a process that holds the engine and nothing else, driven by the daemon over a socket pair.
//!
//! The main thread runs one command after the other. A second thread reads commands, raises the cancel flag,
//! and ends the process at once when the daemon is gone, whatever the engine is doing.

mod budget;
mod confine;
mod measure;
mod model;
mod prompt;
mod roofs;

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use slmscope_engine::clock::Ticks;
use slmscope_engine::error::{EngineError, LoadError};
use slmscope_engine::mapped_model::OpenError;
use slmscope_engine::setup::Setup;
use slmscope_engine::threads::{self, ThreadsError};

use budget::RecordingBudget;
use channel::Receiver;
use protocol::{Command, Event};

use crate::backend::{channel, protocol};
use crate::ring::Producer;
use crate::server::endpoint::EndpointError;
use crate::watch::{self, Stopped};
use model::{LoadedModel, load};

/// Why a worker ends by itself.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// It was not started by the daemon.
    #[error(transparent)]
    Input(#[from] EndpointError),
    /// The engine's threads do not start.
    #[error(transparent)]
    Threads(#[from] ThreadsError),
    /// The kernel does not give it these CPUs.
    #[error("cannot compute on these cores")]
    Cores(#[source] std::io::Error),
    /// The daemon left.
    #[error("the daemon closed the connection before its first command")]
    NoCommand,
    /// The first command came without the ring.
    #[error("the daemon sent no op ring")]
    NoRing,
    /// The ring is none of this build.
    #[error("cannot open the op ring")]
    Ring(#[source] std::io::Error),
    /// The socket fails.
    #[error("cannot talk to the daemon")]
    Socket(#[from] std::io::Error),
}

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

impl From<OpenError> for End {
    fn from(error: OpenError) -> Self {
        Self::Failed(error.to_string())
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

/// Serves the daemon at the other end of `control` until it hangs up, with an engine that runs on `setup`.
///
/// Call it before the process starts any other thread: the engine configures its thread pools first.
///
/// # Errors
/// If the engine's threads cannot start, or if the daemon sends no ring.
pub fn run(control: UnixStream, setup: &Setup) -> Result<(), WorkerError> {
    // Opened before the confinement, which forbids opening files.
    let statm = File::open("/proc/self/statm").ok();
    // Rights and CPUs belong to threads: those that are started later inherit them.
    if let Some(cores) = setup.cores {
        let mut set = rustix::thread::CpuSet::new();
        for cpu in cores.cpus() {
            set.set(cpu as usize);
        }
        rustix::thread::sched_setaffinity(None, &set).map_err(|error| WorkerError::Cores(error.into()))?;
    }
    confine::confine();
    threads::configure(setup)?;
    let cancel = Arc::new(AtomicBool::new(false));
    let commands = read_commands(control.try_clone()?, cancel.clone())?;
    let (first, mut files) = commands.recv().map_err(|_| WorkerError::NoCommand)?;
    if files.is_empty() {
        return Err(WorkerError::NoRing);
    }
    let ring = Producer::open(&files.remove(0)).map_err(WorkerError::Ring)?;
    let runtime_rss = statm.as_ref().and_then(watch::resident);
    let mut clock = Ticks::default();
    let event_cost_ns = budget::measure_event_cost_ns(&mut clock);
    let unlimited = RecordingBudget::new(None, 0.0, 0.0);
    let mut worker = Worker {
        control,
        cancel,
        ring,
        seq: 0,
        clock,
        event_cost_ns,
        budgets_for: None,
        prefill_budget: unlimited.clone(),
        decode_budget: unlimited,
        runtime_rss,
        statm,
        model: None,
    };
    worker.execute(first, files)?;
    while let Ok((command, files)) = commands.recv() {
        worker.execute(command, files)?;
    }
    Ok(())
}

/// Starts the thread that reads commands. At end of file it ends the process, whatever the engine is doing: nobody
/// would receive its results.
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
        exit_now();
    };
    std::thread::Builder::new().name("worker-control".to_owned()).spawn(read)?;
    Ok(commands)
}

/// Ends the process without running exit handlers, since the engine's threads are still running.
#[expect(unsafe_code, reason = "the standard library's exit runs handlers while other threads run")]
fn exit_now() -> ! {
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
    event_cost_ns: f64,
    /// Limit, and steps of a token, that the two budgets were made for.
    budgets_for: Option<(Option<f64>, usize)>,
    /// Decides which chunks of a prompt are recorded.
    prefill_budget: RecordingBudget,
    /// Decides which decode steps are recorded.
    decode_budget: RecordingBudget,
    /// Resident memory before anything was loaded.
    runtime_rss: Option<u64>,
    /// `/proc/self/statm`, this process's memory; `None` without `/proc`.
    statm: Option<File>,
    model: Option<LoadedModel>,
}

impl Worker {
    fn send(&self, event: &Event) -> std::io::Result<()> {
        channel::send(&self.control, event, &[])
    }

    fn execute(&mut self, command: Command, files: Vec<OwnedFd>) -> std::io::Result<()> {
        let result = match command {
            Command::Load(order) => load(self, *order, files),
            Command::Repeat { repetition, measured, budget } => self.repeat(repetition, measured, budget),
            Command::Overhead { limit_ns, min_tokens } => self.overhead(limit_ns, min_tokens),
            Command::Identify => self.identify(),
            Command::MeasureRoofs(request) => self.measure_roofs(request),
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
        let model = self.model.as_ref().ok_or(End::Failed("no model is loaded".to_owned()))?;
        let (hash, changed) = model.identity();
        self.send(&Event::Identity { hash, changed })?;
        Ok(())
    }
}
