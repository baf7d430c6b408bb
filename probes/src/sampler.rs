//! Reading all sources at their pace, one thread per lane.
//!
//! ```text
//! lane thread ── park until due ─▶ read source ─▶ Sample ─▶ sink      (one per lane; due times are absolute)
//!                                     │ since when
//! watcher ────────────────────────────┴─ longer than the deadline: "deadline" for its channels, once
//! ```
//!
//! Sources that may hang in a driver have a lane of their own, so they stall nobody. A lane that is stuck is
//! left alone; when its read comes back, it goes on.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use std::{convert::Infallible, io};

use slmscope_profiles::channel::{ChannelId, ReasonCode, Sample, Value};

use crate::clock::monotonic_ns;
use crate::inventory::Inventory;
use crate::own::WorkerPid;
use crate::source::{Lane, Pace};

mod lane;

/// Where samples go. Called from several threads; it must not wait for anybody.
pub type Sink = Arc<dyn Fn(Sample) + Send + Sync>;

/// How long a reading may take before its channels are reported absent.
const DEADLINE: Duration = Duration::from_secs(2);

/// Reads the sources of an inventory until it is stopped or dropped.
pub struct Sampler {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    /// Disconnected once every lane has ended.
    ended: Mutex<Receiver<Infallible>>,
    watcher: Option<JoinHandle<()>>,
    worker: WorkerPid,
}

impl Sampler {
    /// Starts reading, at the pace of an idle daemon.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub fn start(inventory: Inventory, sink: Sink) -> io::Result<Self> {
        Self::with_lanes(inventory.lanes, inventory.worker, sink, DEADLINE)
    }

    fn with_lanes(lanes: Vec<Lane>, worker: WorkerPid, sink: Sink, deadline: Duration) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            pace: AtomicU8::new(0),
            late: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            sink: RwLock::new(Some(sink)),
            deadline,
            watched: lanes.iter().map(Watched::new).collect(),
        });
        let (running, ended) = mpsc::channel();
        let mut sampler =
            Self { shared, threads: Vec::new(), ended: Mutex::new(ended), watcher: None, worker };
        for (index, lane) in lanes.into_iter().enumerate() {
            let (shared, running) = (Arc::clone(&sampler.shared), running.clone());
            let body = move || {
                lane::run(lane, &shared, index);
                drop(running);
            };
            sampler.threads.push(thread::Builder::new().name(sampler.name(index)).spawn(body)?);
        }
        let shared = Arc::clone(&sampler.shared);
        let watch = thread::Builder::new().name("probe-watch".to_owned()).spawn(move || shared.watch())?;
        sampler.watcher = Some(watch);
        Ok(sampler)
    }

    /// Changes how often everything is read, at once.
    pub fn set_pace(&self, pace: Pace) {
        self.shared.pace.store(encode(pace), Ordering::Relaxed);
        self.wake();
    }

    /// Names the worker process that the `worker` channels are about; `None` when it ended.
    pub fn set_worker(&self, pid: Option<u32>) {
        self.worker.set(pid);
    }

    /// Readings that began more than half a period late, since the start.
    pub fn late_ticks(&self) -> u64 {
        self.shared.late.load(Ordering::Relaxed)
    }

    /// Ends all threads and waits for them; one that is stuck in a driver is left behind. No sample comes
    /// after this.
    pub fn stop(mut self) {
        self.end();
    }

    fn name(&self, lane: usize) -> String {
        self.shared.watched.get(lane).map_or("probe", |watched| watched.name).to_owned()
    }

    fn wake(&self) {
        self.threads.iter().for_each(|thread| thread.thread().unpark());
    }

    fn end(&mut self) {
        self.shared.stopping.store(true, Ordering::Relaxed);
        self.wake();
        // Nothing is ever sent: this returns when the last lane has ended, or not in time.
        let ended = self.ended.get_mut().unwrap_or_else(PoisonError::into_inner);
        let _ = ended.recv_timeout(self.shared.deadline);
        for thread in self.threads.drain(..).filter(JoinHandle::is_finished) {
            // A panic in a source has been reported by its thread.
            let _ = thread.join();
        }
        if let Some(watcher) = self.watcher.take() {
            watcher.thread().unpark();
            let _ = watcher.join();
        }
        *self.shared.sink.write().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.end();
    }
}

/// What the threads share.
struct Shared {
    pace: AtomicU8,
    late: AtomicU64,
    stopping: AtomicBool,
    /// `None` after the end, so that a thread which was stuck cannot deliver late.
    sink: RwLock<Option<Sink>>,
    deadline: Duration,
    watched: Vec<Watched>,
}

/// What the watcher knows of a lane.
struct Watched {
    name: &'static str,
    channels: Vec<ChannelId>,
    /// When the reading at work began, ns; 0 between readings.
    reading_since: AtomicU64,
    /// Whether its absence has been reported.
    stuck: AtomicBool,
}

impl Watched {
    fn new(lane: &Lane) -> Self {
        Self {
            name: lane.name,
            channels: lane.sources.iter().flat_map(|source| source.channels()).collect(),
            reading_since: AtomicU64::new(0),
            stuck: AtomicBool::new(false),
        }
    }

    /// Whether it has been reading for longer than `deadline_ns` and nobody knows yet.
    fn newly_overdue(&self, now_ns: u64, deadline_ns: u64) -> bool {
        let since = self.reading_since.load(Ordering::Acquire);
        let overdue = since != 0 && now_ns.saturating_sub(since) > deadline_ns;
        overdue && !self.stuck.swap(true, Ordering::AcqRel)
    }
}

impl Shared {
    fn pace(&self) -> Pace {
        decode(self.pace.load(Ordering::Relaxed))
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    fn deliver(&self, sample: Sample) {
        if let Some(sink) = &*self.sink.read().unwrap_or_else(PoisonError::into_inner) {
            sink(sample);
        }
    }

    /// The watcher's thread.
    fn watch(&self) {
        let deadline_ns = self.deadline.as_nanos() as u64;
        while !self.is_stopping() {
            thread::park_timeout(self.deadline / 2);
            let now = monotonic_ns();
            for lane in self.watched.iter().filter(|lane| lane.newly_overdue(now, deadline_ns)) {
                tracing::warn!(lane = lane.name, "a sensor does not answer; its channels are absent");
                let absent = Value::Absent(ReasonCode::Deadline);
                let values = lane.channels.iter().map(|&channel| (channel, absent)).collect();
                self.deliver(Sample { t_ns: now, cost_ns: 0, values });
            }
        }
    }
}

fn encode(pace: Pace) -> u8 {
    match pace {
        Pace::Idle => 0,
        Pace::Client => 1,
        Pace::Workload => 2,
    }
}

fn decode(pace: u8) -> Pace {
    match pace {
        0 => Pace::Idle,
        1 => Pace::Client,
        _ => Pace::Workload,
    }
}

#[cfg(test)]
mod tests;
