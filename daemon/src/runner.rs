//! Jobs: one after the other, so that two never measure at once.
//!
//! A thread of its own takes jobs from the `table` and runs them (`job_run`); connections queue, cancel and list
//! them. A job belongs to its connection and ends with it, unless it was detached.

mod hygiene;
mod job_run;
mod request;
mod request_error;
mod result_builder;
mod result_error;
mod roofs;
mod samples;
mod table;
mod usage;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{JoinHandle, Thread};

use slmscope_probes::{Root, Sampler, available_memory};
use slmscope_profiles::admission::MemoryLimit;
use slmscope_profiles::job::{Job, JobId, Progress};
use slmscope_profiles::kept::{KeptResult, KeptRun, Wanted};
use slmscope_profiles::record::{Mark, Record};
use slmscope_profiles::wire::Talk;

pub use request::{JobRequest, Submitter};
pub use request_error::RequestError;
pub use result_error::ResultError;
pub use table::JobError;

use crate::backend::Backend;
use crate::clock::Clock;
use crate::config::Config;
use crate::hub::{ClientId, Hub};
use crate::metrics::Metrics;
use crate::pace::PaceControl;
use crate::recorder::Recordings;
use crate::results::{NoResult, Results};
use job_run::JobRun;
use table::Table;

/// What the runner works with.
pub struct Parts {
    /// Takes records and results.
    pub hub: Arc<Hub>,
    /// Reads the sensors.
    pub sampler: Arc<Sampler>,
    /// Decides how often.
    pub pace: Arc<PaceControl>,
    /// The machine.
    pub root: Root,
    /// Starts engines.
    pub backend: Box<dyn Backend>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Keeps results, and gives jobs their numbers.
    pub results: Results,
    /// Records jobs.
    pub recordings: Arc<Recordings>,
    /// Adds up what jobs measure.
    pub metrics: Arc<Metrics>,
}

/// The queue and the thread that works through it.
pub struct Runner {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the runner's thread and the connections share.
struct Shared {
    table: Mutex<Table>,
    /// Processes of connected clients.
    clients: Mutex<Vec<u32>>,
    hub: Arc<Hub>,
    sampler: Arc<Sampler>,
    pace: Arc<PaceControl>,
    root: Root,
    backend: Box<dyn Backend>,
    clock: Arc<dyn Clock>,
    results: Results,
    recordings: Arc<Recordings>,
    metrics: Arc<Metrics>,
    /// How far the phase that runs is.
    progress: Mutex<Option<Progress>>,
    /// Batches that engines lost.
    lost: AtomicU64,
    /// The runner's thread, to wake it.
    thread: OnceLock<Thread>,
}

impl Runner {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the kernel gives no thread.
    pub fn start(parts: Parts) -> std::io::Result<Self> {
        let Parts { hub, sampler, pace, root, backend, clock, results, recordings, metrics } = parts;
        let shared = Arc::new(Shared {
            table: Mutex::new(Table::new()),
            clients: Mutex::default(),
            hub,
            sampler,
            pace,
            root,
            backend,
            clock,
            results,
            recordings,
            metrics,
            progress: Mutex::default(),
            lost: AtomicU64::new(0),
            thread: OnceLock::new(),
        });
        let own = shared.clone();
        let thread = std::thread::Builder::new().name("runner".to_owned()).spawn(move || run_jobs(&own))?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    /// Checks everything of a request that can be checked before the job runs.
    ///
    /// # Errors
    /// Names what is at fault and the remedy.
    pub fn check(&self, request: JobRequest, config: &Config) -> Result<JobRequest, RequestError> {
        let backend = self.shared.backend.as_ref();
        let request = request.check(config, backend)?;
        if let Some((needed, limit)) = request.memory(backend).zip(self.memory_limit()) {
            limit.check(needed, request.synthetic_format())?;
        }
        Ok(request)
    }

    /// Memory that a job which is queued now may need; `None` if the kernel does not say. What other jobs use is free when
    /// its turn comes: the worker looks again then.
    fn memory_limit(&self) -> Option<MemoryLimit> {
        if self.shared.table().is_busy() {
            return self.shared.hub.header().host.memory_bytes.map(MemoryLimit::Installed);
        }
        available_memory(&self.shared.root).map(MemoryLimit::Available)
    }

    /// Queues a job that [`check`](Self::check) let pass. Waits for the disk: its number is stored.
    ///
    /// # Errors
    /// If too many wait, or the daemon stops.
    pub fn submit(&self, request: JobRequest) -> Result<JobId, JobError> {
        let job = self.shared.results.next_job(self.shared.recordings.next_job());
        let now_ns = self.shared.clock.now_ns();
        self.change(|table| table.submit(job, now_ns, request))?;
        Ok(job)
    }

    /// Ends a job of the asking user; root may end any.
    ///
    /// # Errors
    /// If there is no such job, or it is somebody else's.
    pub fn cancel(&self, job: JobId, uid: u32) -> Result<Job, JobError> {
        let now_ns = self.shared.clock.now_ns();
        self.change(|table| table.cancel(job, uid, now_ns))
    }

    /// All jobs that are known, oldest first.
    pub fn jobs(&self) -> Vec<Job> {
        let mut jobs: Vec<Job> = self.shared.table().jobs().cloned().collect();
        let progress = self.shared.progress().clone();
        for job in jobs.iter_mut().filter(|job| !job.state.is_final()) {
            job.progress = progress.clone().filter(|progress| progress.job == job.job).map(Box::new);
        }
        jobs
    }

    /// The results that are kept, oldest first. Lists a folder.
    pub fn kept_results(&self) -> Vec<KeptResult> {
        self.shared.results.list()
    }

    /// The result that user `uid` wants. Reads a file: of a result that is no longer kept, its session.
    ///
    /// # Errors
    /// If there is none yet, none any more, or it is somebody else's.
    pub fn result(&self, wanted: &Wanted, uid: u32) -> Result<KeptRun, ResultError> {
        let found = self.shared.results.get(wanted, uid);
        let (Err(NoResult::Job(job)), Wanted::Job(_)) = (&found, wanted) else { return Ok(found?) };
        if let Some(result) = self.shared.recordings.result(*job, uid) {
            return Ok(KeptRun { job: *job, result: Box::new(result) });
        }
        // The job itself says more than that it has no result.
        let table = self.shared.table();
        let known = table.jobs().find(|known| known.job == *job);
        match known {
            Some(known) if !known.state.is_final() && known.workload.looped => {
                Err(ResultError::NoTurn { job: *job, state: known.state })
            }
            Some(known) if !known.state.is_final() => {
                Err(ResultError::NotYet { job: *job, state: known.state })
            }
            Some(Job { error: Some(reason), .. }) => {
                Err(ResultError::Unmeasured { job: *job, reason: reason.clone() })
            }
            _ => Ok(found?),
        }
    }

    /// Calls `read` with all jobs that are known, oldest first. No job changes meanwhile, so a stream that begins in
    /// `read` gets every later change.
    pub fn with_jobs<T>(&self, read: impl FnOnce(&[Job]) -> T) -> T {
        let table = self.shared.table();
        let jobs: Vec<Job> = table.jobs().cloned().collect();
        read(&jobs)
    }

    /// Batches that engines lost because nobody fetched them in time, since the start.
    pub fn lost_batches(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }

    /// Notes a connected client: CPU time of a process of this program counts as the profiler's own.
    pub fn client_connected(&self, pid: Option<u32>) {
        if let Some(pid) = pid.filter(|&pid| is_this_program(pid)) {
            self.shared.clients().push(pid);
        }
    }

    /// Notes that a client left: its jobs end with it, unless they were detached.
    pub fn client_left(&self, client: ClientId, pid: Option<u32>) {
        {
            let mut clients = self.shared.clients();
            if let Some(at) = pid.and_then(|pid| clients.iter().position(|&known| known == pid)) {
                clients.swap_remove(at);
            }
        }
        let now_ns = self.shared.clock.now_ns();
        self.change(|table| table.client_left(client, now_ns));
    }

    /// Ends all jobs and the thread. May be called more than once.
    pub fn stop(&self) {
        let now_ns = self.shared.clock.now_ns();
        self.change(|table| table.stop(now_ns));
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("The runner's thread panicked.");
        }
    }

    /// Changes the table and wakes the thread.
    fn change<T>(&self, change: impl FnOnce(&mut Table) -> T) -> T {
        let result = self.shared.change(change);
        // Without a thread yet, it will look at the table first.
        if let Some(thread) = self.shared.thread.get() {
            thread.unpark();
        }
        result
    }
}

impl Shared {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn progress(&self) -> MutexGuard<'_, Option<Progress>> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn clients(&self) -> MutexGuard<'_, Vec<u32>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the table and publishes the jobs that changed, in order.
    fn change<T>(&self, change: impl FnOnce(&mut Table) -> T) -> T {
        let mut table = self.table();
        let result = change(&mut table);
        for change in table.take_changed() {
            if change.is_new_state {
                log_state(&change.job);
                let mark = Mark::state_of(&change.job, self.clock.now_ns());
                self.hub.record(Record::Mark(mark));
                if change.job.state.is_final() {
                    self.metrics.job_ended(change.job.state);
                }
            }
            self.hub.broadcast(&Talk::Job(Box::new(change.job)));
        }
        self.pace.set_busy(table.is_busy());
        result
    }

    /// Changes a job and publishes it.
    fn update(&self, job: JobId, change: impl FnOnce(&mut Job)) {
        self.change(|table| table.update(job, change));
    }

    /// A job as it is now.
    fn job(&self, job: JobId) -> Option<Job> {
        self.table().jobs().find(|known| known.job == job).cloned()
    }

    /// Why a job is to end; `None` if it is not.
    fn cancelled(&self, job: JobId) -> Option<String> {
        self.table().cancel_reason(job).map(str::to_owned)
    }

    fn is_stopping(&self) -> bool {
        self.table().is_stopping()
    }

    /// Processes of this program that are connected.
    fn client_pids(&self) -> Vec<u32> {
        let mut pids = self.clients().clone();
        pids.sort_unstable();
        pids.dedup();
        pids
    }

    /// Waits for the next job; `None` once the daemon stops.
    fn next(&self) -> Option<(JobId, JobRequest)> {
        loop {
            let (next, is_stopping) = self.change(|table| (table.take_next(), table.is_stopping()));
            if next.is_some() || is_stopping {
                return next;
            }
            self.clock.park(None);
        }
    }
}

/// The thread: takes jobs until the daemon stops.
fn run_jobs(shared: &Arc<Shared>) {
    shared.thread.get_or_init(std::thread::current);
    while let Some((job, request)) = shared.next() {
        JobRun::new(shared, job, request).run();
        shared.change(Table::prune_finished);
    }
}

/// One line of the log for each state of a job, but for the turns of a loop after the first.
fn log_state(job: &Job) {
    if job.turns > 0 && !job.state.is_final() {
        return;
    }
    let Job { job: number, model, uid, error, .. } = job;
    let (state, error) = (job.state.as_str(), error.as_deref());
    tracing::info!(job = number, state, model, uid, error, "A job entered a state.");
}

/// Whether a process runs the same program as this one, or its sibling beside it.
fn is_this_program(pid: u32) -> bool {
    let program = |pid: &str| std::fs::read_link(format!("/proc/{pid}/exe")).ok();
    let (Some(own), Some(other)) = (program("self"), program(&pid.to_string())) else { return false };
    pid != std::process::id() && own.parent() == other.parent()
}
