//! One worker process, seen from the daemon: start, talk, end, and say how it ended.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command as Process, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::Context;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use slmscope_engine::setup::Setup;
use slmscope_engine::threads;

use crate::ring::Consumer;
use crate::worker::channel::{self, Receiver};
use crate::worker::protocol::{Command, Event};

/// A running worker.
pub struct WorkerProcess {
    child: Child,
    control: UnixStream,
    receiver: Receiver,
    /// Its op batches.
    pub ring: Consumer,
    /// What its engine was readied for.
    pub setup: Setup,
    greeted: bool,
    oom_kills: Option<u64>,
}

impl WorkerProcess {
    /// Starts this same program as a worker whose engine is readied for `setup`.
    ///
    /// # Errors
    /// If the kernel gives no process, socket or memory.
    pub fn spawn(setup: Setup) -> anyhow::Result<Self> {
        let ring = Consumer::create().context("cannot make the op ring")?;
        let (ours, theirs) = UnixStream::pair().context("cannot make the worker's socket")?;
        let child = Process::new("/proc/self/exe")
            // Lists of processes then show what it is.
            .arg0("slmscope")
            .args(["worker", "--threads", &setup.threads.to_string(), "--executor", setup.executor.name()])
            // An emulator of another processor has threads of its own, beside which the worker could not set them.
            .envs(threads::pool_sizes(setup.threads))
            // The socket is its standard input: nothing to pass by number, nothing to leak.
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            // Ctrl-C at a terminal is for the daemon to judge.
            .process_group(0)
            .spawn()
            .context("cannot start the worker process")?;
        let receiver = Receiver::new(ours.try_clone()?);
        Ok(Self { child, control: ours, receiver, ring, setup, greeted: false, oom_kills: oom_kills() })
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether the process has not ended.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends a command; the first one takes the ring along.
    ///
    /// # Errors
    /// If the worker is gone.
    pub fn send(&mut self, command: &Command, files: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut descriptors = Vec::with_capacity(files.len() + 1);
        if !self.greeted {
            descriptors.push(self.ring.memory());
        }
        descriptors.extend_from_slice(files);
        let sent = channel::send(&self.control, command, &descriptors);
        self.greeted = true;
        sent
    }

    /// The next event, waiting at most `timeout`; `None` if none came.
    ///
    /// # Errors
    /// `UnexpectedEof` if the worker is gone.
    pub fn next_event(&mut self, timeout: Duration) -> io::Result<Option<Event>> {
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

    /// Ends the process, whatever it does, and says how it ended if it ended by itself.
    pub fn end(mut self) -> String {
        // A worker that closed its socket is about to end; one that did not is killed. Both are reaped.
        let by_itself = (0..50).find_map(|turn| {
            if turn > 0 {
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

    /// Ends the process at once.
    pub fn kill(mut self) {
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
        return format!("the worker ended by itself with status {code}; the daemon's log has its last words");
    };
    let name = rustix::process::Signal::from_named_raw(signal).map_or("", |signal| signal_name(signal));
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
