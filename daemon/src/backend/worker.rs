//! The engine in a process of its own: starts it, talks to it, ends it, and says how it ended.

use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command as Process, ExitStatus, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use slmscope_engine::model::Model;
use slmscope_engine::setup::executor_is_available;
use slmscope_engine::{kernels, threads};
use slmscope_profiles::engine_memory::EngineMemory;
use slmscope_profiles::format::KvFormat;
use slmscope_profiles::isa::Isa;
use slmscope_profiles::op::OpBatch;
use slmscope_profiles::setup::Setup;
use slmscope_profiles::spec::Lengths;
use slmscope_profiles::workload::ExecutorKind;

use super::channel::{self, Receiver};
use super::{Backend, Command, Engine, Event, Source, StartError};
use crate::ring::Consumer;

/// Starts worker processes.
#[derive(Debug, Clone, Copy, Default)]
pub struct WorkerBackend;

impl Backend for WorkerBackend {
    fn has_isa(&self, isa: Isa) -> bool {
        kernels::is_available(isa)
    }

    fn best_isa(&self) -> Isa {
        kernels::detect()
    }

    fn has_executor(&self, executor: ExecutorKind) -> bool {
        executor_is_available(executor)
    }

    fn default_threads(&self, executor: ExecutorKind) -> NonZeroUsize {
        threads::default_count(executor)
    }

    fn memory(&self, source: &Source, kv: KvFormat, lengths: Lengths, setup: Setup) -> Option<EngineMemory> {
        let Source::Synthetic { spec, format, seed } = source else { return None };
        let model = Model::synthetic((**spec).clone(), *format, *seed, kv).ok()?;
        Some(model.requirements(lengths, &setup))
    }

    fn start(&self, setup: Setup) -> Result<Box<dyn Engine>, StartError> {
        Ok(Box::new(WorkerProcess::spawn(setup)?))
    }
}

/// A running worker.
pub struct WorkerProcess {
    child: Child,
    executor: ExecutorKind,
    control: UnixStream,
    receiver: Receiver,
    ring: Consumer,
    ring_sent: bool,
    /// Processes that the kernel had killed for want of memory when this one started.
    oom_kills: Option<u64>,
}

impl WorkerProcess {
    /// Starts this same program as a worker whose engine runs on `setup`.
    ///
    /// # Errors
    /// If the kernel gives no process, socket or memory.
    pub fn spawn(setup: Setup) -> Result<Self, StartError> {
        let ring = Consumer::create().map_err(StartError::Ring)?;
        let (ours, theirs) = UnixStream::pair().map_err(StartError::Socket)?;
        let receiver = Receiver::new(ours.try_clone().map_err(StartError::Socket)?);
        let cores = setup.cores.map(|cores| ["--cores".to_owned(), cores.to_string()]);
        let child = Process::new("/proc/self/exe")
            // The name in lists of processes.
            .arg0("slmscope")
            .args(["worker", "--threads", &setup.threads.to_string(), "--executor", setup.executor.name()])
            .args(cores.iter().flatten())
            // Under an emulator of another processor the worker has other threads from the start, and could not set
            // its environment itself.
            .envs(threads::pool_sizes(setup.threads))
            // The socket is its standard input, so no descriptor number is passed and none is inherited by others.
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            // Ctrl-C at a terminal goes to the daemon, which decides what becomes of the job.
            .process_group(0)
            .spawn()
            .map_err(StartError::Process)?;
        let executor = setup.executor;
        Ok(Self { child, executor, control: ours, receiver, ring, ring_sent: false, oom_kills: oom_kills() })
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Engine for WorkerProcess {
    fn process(&self) -> Option<u32> {
        Some(self.pid())
    }

    fn computes(&self, thread: &str) -> bool {
        threads::is_engine_thread(thread, self.executor)
    }

    fn send(&mut self, command: &Command, files: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut descriptors = Vec::with_capacity(files.len() + 1);
        if !self.ring_sent {
            descriptors.push(self.ring.memory());
        }
        descriptors.extend_from_slice(files);
        let sent = channel::send(&self.control, command, &descriptors);
        self.ring_sent = true;
        sent
    }

    fn next_event(&mut self, timeout: Duration) -> io::Result<Option<Event>> {
        if let Some(event) = self.receiver.pending()? {
            return Ok(Some(event));
        }
        let wait = Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: i64::from(timeout.subsec_nanos()) };
        let mut ready = [PollFd::new(&self.control, PollFlags::IN)];
        match poll(&mut ready, Some(&wait)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(None),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        if !self.receiver.fill()? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.receiver.pending()
    }

    fn next_batch(&mut self) -> io::Result<Option<OpBatch>> {
        self.ring.next().map_err(io::Error::other)
    }

    fn lost_batches(&self) -> u64 {
        self.ring.lost()
    }

    fn end(mut self: Box<Self>) -> String {
        // A worker that closed its socket is about to end; one that is not is killed. Both are reaped.
        let by_itself = (0..50).find_map(|attempt| {
            if attempt > 0 {
                // Its exit status follows the end of its socket within a few of these; nothing signals it.
                std::thread::sleep(Duration::from_millis(2));
            }
            self.child.try_wait().ok().flatten()
        });
        let status = by_itself.or_else(|| {
            let _ = self.child.kill();
            self.child.wait().ok()
        });
        let oom = self.oom_kills.zip(oom_kills()).is_some_and(|(before, now)| now > before);
        status.map_or_else(|| "the worker ended".to_owned(), |status| describe(status, oom))
    }

    fn kill(mut self: Box<Self>) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Processes that the kernel killed for want of memory since boot; `None` if it does not say.
fn oom_kills() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/vmstat").ok()?;
    text.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}

/// How a process ended, for a person.
fn describe(status: ExitStatus, oom: bool) -> String {
    let Some(signal) = status.signal() else {
        let code = status.code().unwrap_or(-1);
        return format!("the worker exited with status {code}; see the end of the daemon's log");
    };
    let name = rustix::process::Signal::from_named_raw(signal).map_or("", signal_name);
    let cause = match name {
        "SIGBUS" => "the model file was truncated while it was mapped, or its disk failed: restore the file",
        "SIGKILL" if oom => "the kernel ran out of memory: choose a smaller model, format or context",
        "SIGKILL" => "somebody killed it, or a memory limit did",
        "SIGSEGV" | "SIGABRT" | "SIGILL" => "a defect of the engine, or a model file made to hit one",
        _ => "somebody sent it",
    };
    format!("the worker was ended by signal {signal} {name}: {cause}")
}

fn signal_name(signal: rustix::process::Signal) -> &'static str {
    use rustix::process::Signal;
    match signal {
        Signal::BUS => "SIGBUS",
        Signal::KILL => "SIGKILL",
        Signal::SEGV => "SIGSEGV",
        Signal::ABORT => "SIGABRT",
        Signal::ILL => "SIGILL",
        Signal::TERM => "SIGTERM",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_named_with_their_likely_cause() {
        let text = |raw, oom| describe(ExitStatus::from_raw(raw), oom);
        assert!(text(7, false).contains("SIGBUS") && text(7, false).contains("truncated"));
        assert!(text(9, true).contains("out of memory") && !text(9, false).contains("out of memory"));
        assert!(text(11, false).contains("SIGSEGV"));
        assert!(text(1 << 8, false).contains("status 1"));
    }
}
