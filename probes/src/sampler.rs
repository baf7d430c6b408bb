//! Reading all sources at their pace, one thread per lane.
//!
//! ```text
//! lane thread ── wait until due ─▶ read source ─▶ Sample ─▶ sink      (one per lane; due times are absolute)
//!                                     │ since when
//! watcher ────────────────────────────┴─ longer than the deadline: "deadline" for its channels, once,
//!                                        and a new thread for the other sources of its lane
//! ```
//!
//! A source that may hang in a driver shares no lane with sources that cannot. A source that hangs blocks only the
//! thread that reads it; when the read returns, the lane reads it again.
//!
//! A lane allocates nothing after it has read each of its sources once: files stay open, and a sample is passed by
//! reference and filled again.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use std::{convert::Infallible, io};

use slmscope_profiles::channel::{ChannelId, Sample};

use crate::inventory::Inventory;
use crate::machine::clock::monotonic_ns;
use crate::source::{Group, Lane, Pace};
use crate::sources::load::self_usage::WorkerPid;

mod alarm;
mod lane;
pub(crate) mod track;

use lane::Slot;
pub use track::ChannelState;

/// Receives samples. It is called from several threads and must not block.
pub type Sink = Arc<dyn Fn(&Sample) + Send + Sync>;

/// How long a reading may take before its channels are reported absent.
const DEADLINE: Duration = Duration::from_secs(1);

/// How often cheap counters are read under a workload, unless set otherwise, and at most, Hz.
const USUAL_HZ: u32 = 100;
const MAX_HZ: u32 = 1000;

/// Reads the sources of an inventory until it is stopped or dropped.
pub struct Sampler {
    shared: Arc<Shared>,
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
        let stated_ns = |channel: ChannelId| inventory.channels.get(usize::from(channel))?.update_ns;
        let lanes = inventory.lanes.into_iter().map(|lane| Watched::new(lane, stated_ns)).collect();
        Self::with_lanes(lanes, inventory.worker, sink, DEADLINE)
    }

    fn with_lanes(
        lanes: Vec<Watched>,
        worker: WorkerPid,
        sink: Sink,
        deadline: Duration,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            pace: AtomicU8::new(0),
            counters_hz: AtomicU32::new(USUAL_HZ),
            late: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            sink: RwLock::new(Some(sink)),
            deadline,
            lanes,
            threads: Mutex::new(Vec::new()),
        });
        let (running, ended) = mpsc::channel();
        let mut sampler = Self { shared, ended: Mutex::new(ended), watcher: None, worker };
        for lane in 0..sampler.shared.lanes.len() {
            Shared::start_lane(&sampler.shared, lane, running.clone())?;
        }
        let shared = Arc::clone(&sampler.shared);
        let watch = move || Shared::watch(&shared, &running);
        sampler.watcher = Some(thread::Builder::new().name("probe-watch".to_owned()).spawn(watch)?);
        Ok(sampler)
    }

    /// Changes how often everything is read. It takes effect at once; for sources that are read every 10 ms or more
    /// often, after their next reading.
    pub fn set_pace(&self, pace: Pace) {
        self.shared.pace.store(encode(pace), Ordering::Relaxed);
        self.shared.wake();
    }

    /// Changes how often cheap energy counters are read under a workload, 1 to 1000 Hz; 100 Hz by default. RAPL makes
    /// a value each millisecond, so reading more often shows nothing new.
    pub fn set_counters_hz(&self, hz: u32) {
        self.shared.counters_hz.store(hz.clamp(1, MAX_HZ), Ordering::Relaxed);
        self.shared.wake();
    }

    /// Names the worker process that the `worker` channels are about; `None` when it ended.
    pub fn set_worker(&self, pid: Option<u32>) {
        self.worker.set(pid);
    }

    /// The worker process that was named last, while it runs.
    pub fn worker(&self) -> Option<u32> {
        self.worker.get()
    }

    /// Readings that began more than half a period late, since the start.
    pub fn late_ticks(&self) -> u64 {
        self.shared.late.load(Ordering::Relaxed)
    }

    /// The readings so far of every sampled channel. A source that is being read at this moment is left out.
    pub fn states(&self) -> Vec<ChannelState> {
        let now_ns = monotonic_ns();
        let slots = self.shared.lanes.iter().flat_map(|lane| &lane.slots);
        slots.filter_map(|slot| slot.states(now_ns)).flatten().collect()
    }

    /// Ends all threads and waits for them; one that is stuck in a driver is left behind. No sample comes
    /// after this.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.shared.stopping.store(true, Ordering::Relaxed);
        self.shared.wake();
        if let Some(watcher) = self.watcher.take() {
            watcher.thread().unpark();
            let _ = watcher.join();
        }
        // Nothing is ever sent: this returns when the last lane has ended, or not in time.
        let ended = self.ended.get_mut().unwrap_or_else(PoisonError::into_inner);
        let _ = ended.recv_timeout(self.shared.deadline);
        for thread in self.shared.threads().drain(..).filter(JoinHandle::is_finished) {
            // A panic in a source has been reported by its thread.
            let _ = thread.join();
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
    counters_hz: AtomicU32,
    late: AtomicU64,
    stopping: AtomicBool,
    /// `None` after the end, so that a thread which was stuck cannot deliver late.
    sink: RwLock<Option<Sink>>,
    deadline: Duration,
    lanes: Vec<Watched>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// A lane as its threads and the watcher see it.
struct Watched {
    name: &'static str,
    group: Group,
    slots: Vec<Slot>,
    /// Only the thread that was started last continues after its reading.
    newest: AtomicU32,
}

impl Watched {
    fn new(lane: Lane, stated_ns: impl Fn(ChannelId) -> Option<u64>) -> Self {
        let slots = lane.sources.into_iter().map(|source| Slot::new(source, &stated_ns)).collect();
        Self { name: lane.name, group: lane.group, slots, newest: AtomicU32::new(0) }
    }
}

impl Shared {
    fn pace(&self) -> Pace {
        decode(self.pace.load(Ordering::Relaxed))
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    fn threads(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        self.threads().iter().for_each(|thread| thread.thread().unpark());
    }

    /// Starts a thread for a lane; the one before, if there is one, ends after its reading.
    fn start_lane(shared: &Arc<Self>, lane: usize, running: Sender<Infallible>) -> io::Result<()> {
        let Some(watched) = shared.lanes.get(lane) else { return Ok(()) };
        let thread = watched.newest.fetch_add(1, Ordering::AcqRel) + 1;
        let own = Arc::clone(shared);
        let body = move || {
            lane::run(&own, lane, thread);
            drop(running);
        };
        let started = thread::Builder::new().name(watched.name.to_owned()).spawn(body)?;
        let mut threads = shared.threads();
        threads.retain(|thread| !thread.is_finished());
        threads.push(started);
        Ok(())
    }

    fn deliver(&self, sample: &Sample) {
        if let Some(sink) = &*self.sink.read().unwrap_or_else(PoisonError::into_inner) {
            sink(sample);
        }
    }

    /// The watcher's thread.
    fn watch(shared: &Arc<Self>, running: &Sender<Infallible>) {
        let deadline_ns = shared.deadline.as_nanos() as u64;
        while !shared.is_stopping() {
            thread::park_timeout(shared.deadline / 2);
            for (index, lane) in shared.lanes.iter().enumerate() {
                let now_ns = monotonic_ns();
                let Some(slot) = lane.slots.iter().find(|slot| slot.is_newly_overdue(now_ns, deadline_ns))
                else {
                    continue;
                };
                tracing::warn!(lane = lane.name, "A sensor does not answer; its channels are absent.");
                shared.deliver(&slot.absent(now_ns));
                if lane.slots.len() > 1
                    && let Err(error) = Self::start_lane(shared, index, running.clone())
                {
                    tracing::warn!(%error, lane = lane.name, "No thread for the lane's other sensors.");
                }
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
mod chain;
#[cfg(test)]
mod tests;
