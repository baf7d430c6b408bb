//! Jobs: one after the other, so that two never measure at once.
//!
//! A thread of its own takes jobs from the table and runs them ([`attempt`]); connections put them in, cancel
//! them and look at them. A job belongs to its connection and ends with it, unless it was detached.

mod attempt;
mod ending;
mod fitness;
mod order;
mod roofs;
mod samples;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use slmscope_probes::{Pace, Root, Sampler};
use slmscope_profiles::job::{Job, JobId, JobState};
use slmscope_profiles::wire::{Frame, WireError};

pub use order::{Order, OrderSource};
pub use samples::SampleLog;

use crate::hub::{ClientId, Hub};
use crate::supervisor::WorkerProcess;
use attempt::Attempt;
pub(crate) use attempt::available_memory;

/// An idle worker is kept for so long.
const WORKER_IDLE: Duration = Duration::from_secs(30);
/// Jobs that ended and are still listed.
const KEPT: usize = 32;
/// Jobs that may wait.
const QUEUE: usize = 256;

/// The queue and the thread that works it off.
pub struct Runner {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the runner's thread and the connections share.
pub(crate) struct Shared {
    table: Mutex<Table>,
    changed: Condvar,
    hub: Arc<Hub>,
    sampler: Arc<Sampler>,
    samples: Arc<SampleLog>,
    root: Root,
    lost: AtomicU64,
}

#[derive(Default)]
struct Table {
    next: JobId,
    entries: VecDeque<Entry>,
    /// Processes of connected clients.
    clients: Vec<u32>,
    stopping: bool,
}

struct Entry {
    job: Job,
    client: ClientId,
    detach: bool,
    /// Taken by the thread when the job starts.
    order: Option<Order>,
    /// Why it is to end.
    cancel: Option<String>,
}

impl Runner {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the kernel gives no thread.
    pub fn start(
        hub: Arc<Hub>,
        sampler: Arc<Sampler>,
        samples: Arc<SampleLog>,
        root: Root,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            table: Mutex::new(Table { next: 1, ..Table::default() }),
            changed: Condvar::new(),
            hub,
            sampler,
            samples,
            root,
            lost: AtomicU64::new(0),
        });
        let own = shared.clone();
        let thread = std::thread::Builder::new().name("runner".to_owned()).spawn(move || work(&own))?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    /// Queues a job that [`Order::check`] let pass.
    ///
    /// # Errors
    /// If too many wait, or the daemon stops.
    pub fn submit(&self, order: Order) -> Result<JobId, WireError> {
        let mut table = self.shared.table();
        let waiting = table.entries.iter().filter(|entry| entry.job.state == JobState::Queued).count();
        let busy =
            |message: &str| WireError { code: "busy".to_owned(), message: message.to_owned(), field: None };
        if table.stopping {
            return Err(busy("the daemon is stopping: start it again"));
        }
        if waiting >= QUEUE {
            return Err(busy("256 jobs wait already: try again when some are done"));
        }
        let id = table.next;
        table.next += 1;
        let job = Job {
            job: id,
            model: order.submit.model.name().to_owned(),
            workload: order.submit.workload.clone(),
            uid: order.source.uid,
            state: JobState::Queued,
            ahead: 0,
            run: None,
            turns: 0,
            worker: None,
            error: None,
        };
        let (client, detach) = (order.source.client, order.submit.detach);
        table.entries.push_back(Entry { job, client, detach, order: Some(order), cancel: None });
        self.shared.renumber(&mut table);
        drop(table);
        self.shared.changed.notify_all();
        Ok(id)
    }

    /// Ends a job of the asking user; root may end any.
    ///
    /// # Errors
    /// If there is no such job, or it is somebody else's.
    pub fn cancel(&self, job: JobId, uid: u32) -> Result<Job, WireError> {
        let mut table = self.shared.table();
        let error = |code: &str, message: String| WireError {
            code: code.to_owned(),
            message,
            field: Some("job".to_owned()),
        };
        let Some(entry) = table.entries.iter_mut().find(|entry| entry.job.job == job) else {
            return Err(error("no_such_job", format!("there is no job {job}: see `slmscope jobs`")));
        };
        if uid != 0 && uid != entry.job.uid {
            return Err(error("forbidden", format!("job {job} belongs to user {}", entry.job.uid)));
        }
        entry.request_cancel("cancelled on request");
        let job = entry.job.clone();
        self.shared.settle_queued(&mut table);
        drop(table);
        self.shared.changed.notify_all();
        Ok(job)
    }

    /// All jobs that are known, oldest first.
    pub fn jobs(&self) -> Vec<Job> {
        self.shared.table().entries.iter().map(|entry| entry.job.clone()).collect()
    }

    /// Whether a job runs or waits.
    pub fn is_busy(&self) -> bool {
        self.shared.table().entries.iter().any(|entry| !entry.job.state.is_final())
    }

    /// Batches that workers dropped because their ring was full, so far.
    pub fn lost_batches(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }

    /// A client connected; what its process costs counts as the tool's own cost.
    pub fn client_came(&self, pid: Option<u32>) {
        self.shared.table().clients.extend(pid.filter(|&pid| is_this_program(pid)));
    }

    /// A client left: its jobs end with it, unless they were detached.
    pub fn client_left(&self, client: ClientId, pid: Option<u32>) {
        let mut table = self.shared.table();
        if let Some(at) = pid.and_then(|pid| table.clients.iter().position(|&known| known == pid)) {
            table.clients.swap_remove(at);
        }
        for entry in table.entries.iter_mut().filter(|entry| entry.client == client && !entry.detach) {
            entry.request_cancel("its client is gone");
        }
        self.shared.settle_queued(&mut table);
        drop(table);
        self.shared.changed.notify_all();
    }

    /// Ends all jobs and the thread. May be called more than once.
    pub fn stop(&self) {
        let mut table = self.shared.table();
        table.stopping = true;
        for entry in &mut table.entries {
            entry.request_cancel("the daemon stops");
        }
        self.shared.settle_queued(&mut table);
        drop(table);
        self.shared.changed.notify_all();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("The runner's thread panicked.");
        }
    }
}

impl Entry {
    fn request_cancel(&mut self, reason: &str) {
        if !self.job.state.is_final() && self.cancel.is_none() {
            self.cancel = Some(reason.to_owned());
        }
    }
}

impl Shared {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes a job and tells everybody.
    pub(crate) fn update(&self, job: JobId, change: impl FnOnce(&mut Job)) {
        let mut table = self.table();
        if let Some(entry) = table.entries.iter_mut().find(|entry| entry.job.job == job) {
            change(&mut entry.job);
            self.hub.publish(&Frame::Job(entry.job.clone()));
        }
    }

    /// Why a job is to end; `None` if it is not.
    pub(crate) fn cancelled(&self, job: JobId) -> Option<String> {
        self.table().entries.iter().find(|entry| entry.job.job == job)?.cancel.clone()
    }

    /// Processes of this program that are connected.
    pub(crate) fn client_pids(&self) -> Vec<u32> {
        let mut pids = self.table().clients.clone();
        pids.sort_unstable();
        pids.dedup();
        pids
    }

    /// Ends jobs that were cancelled before they started.
    fn settle_queued(&self, table: &mut Table) {
        for entry in &mut table.entries {
            if entry.job.state == JobState::Queued && entry.cancel.is_some() {
                entry.job.state = JobState::Cancelled;
                entry.job.error.clone_from(&entry.cancel);
                entry.order = None;
                self.hub.publish(&Frame::Job(entry.job.clone()));
            }
        }
        self.renumber(table);
    }

    /// Tells every waiting job how many are before it.
    fn renumber(&self, table: &mut Table) {
        let unfinished = table.entries.iter_mut().filter(|entry| !entry.job.state.is_final());
        for (ahead, entry) in unfinished.enumerate() {
            let is_new = entry.job.state == JobState::Queued;
            if is_new || entry.job.ahead != ahead as u32 {
                entry.job.ahead = ahead as u32;
                self.hub.publish(&Frame::Job(entry.job.clone()));
            }
        }
    }

    /// Waits for the next job; `None` when `idle` has passed or the daemon stops.
    fn next(&self, idle: Option<Duration>) -> Next {
        let until = idle.map(|idle| Instant::now() + idle);
        let mut table = self.table();
        loop {
            let waiting = table.entries.iter_mut().find(|entry| entry.job.state == JobState::Queued);
            if let Some(order) = waiting.and_then(|entry| Some((entry.job.job, entry.order.take()?))) {
                return Next::Job(order.0, Box::new(order.1));
            }
            if table.stopping {
                return Next::Stop;
            }
            table = match until {
                None => self.changed.wait(table).unwrap_or_else(PoisonError::into_inner),
                Some(until) => {
                    let Some(left) = until.checked_duration_since(Instant::now()) else { return Next::Idle };
                    self.changed.wait_timeout(table, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// Forgets the oldest jobs that ended.
    fn forget(&self) {
        let mut table = self.table();
        while table.entries.iter().filter(|entry| entry.job.state.is_final()).count() > KEPT {
            let oldest = table.entries.iter().position(|entry| entry.job.state.is_final());
            oldest.and_then(|at| table.entries.remove(at));
        }
        self.renumber(&mut table);
    }
}

enum Next {
    Job(JobId, Box<Order>),
    Idle,
    Stop,
}

/// The thread: takes jobs until the daemon stops, and keeps the last worker for a while.
fn work(shared: &Arc<Shared>) {
    let mut worker: Option<WorkerProcess> = None;
    loop {
        match shared.next(worker.as_ref().map(|_| WORKER_IDLE)) {
            Next::Job(job, order) => {
                shared.sampler.set_pace(Pace::Workload);
                Attempt::new(shared, job, *order, &mut worker).run();
                shared.forget();
                let pace = if shared.hub.streams() > 0 { Pace::Client } else { Pace::Idle };
                shared.sampler.set_pace(pace);
            }
            Next::Idle | Next::Stop if worker.is_some() => {
                shared.sampler.set_worker(None);
                if let Some(worker) = worker.take() {
                    worker.kill();
                }
            }
            Next::Idle => {}
            Next::Stop => return,
        }
    }
}

/// Whether a process runs the same program as this one, or its sibling beside it.
fn is_this_program(pid: u32) -> bool {
    let program = |pid: &str| std::fs::read_link(format!("/proc/{pid}/exe")).ok();
    let (Some(own), Some(other)) = (program("self"), program(&pid.to_string())) else { return false };
    pid != std::process::id() && own.parent() == other.parent()
}
