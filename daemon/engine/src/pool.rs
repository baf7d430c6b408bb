//! The engine's thread pool: fork and join over numbered chunks of work.
//!
//! The issuing thread, which runs the plan, also computes. A call publishes a task and its number of chunks; each free
//! thread claims the next chunk until none is left. No thread owns chunks in advance, so a thread that lost its core
//! delays the one chunk that it is in, and the others compute the rest. A call does not wait for a worker that was
//! asleep when the last chunk was claimed.
//!
//! ```text
//! issuer    publish ─ claim 0 ─ claim 2 ─ claim 3 ─ (wait for chunk 1) ─ return
//! worker 1        └ claim 1 ───────── preempted ────────┘ last of all: wakes the issuer if it sleeps
//! worker 2          (parked: woken, finds nothing left, spins, parks)
//! ```
//!
//! `claims` holds the number of the call and the chunks left in one word, so that a late worker cannot claim
//! for a call that is over. The task is only read after a claim, and a call returns when all claimed chunks are done:
//! that makes it sound to lend a borrowed closure to other threads.
//!
//! The result of a chunk does not depend on the thread that computes it. Callers split work by its size, never by the
//! number of threads, so they get the same bits with any number.
//!
//! Waiting spins for a short time, because the next op of a token follows within microseconds, and then sleeps in the
//! kernel, because spinning costs power. A call allocates nothing.

mod parts;
mod quarantine;

use std::any::Any;
use std::cell::UnsafeCell;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::thread::futex;

use crate::threads::flush_denormals;
pub use parts::Parts;
use quarantine::Quarantine;

/// Bits of a word of claims that count chunks; the others number the call.
const CHUNK_BITS: u32 = 24;
const CHUNK_MASK: u64 = (1 << CHUNK_BITS) - 1;
/// Set in `pending` while the issuer sleeps.
const ASLEEP: u32 = 1 << 31;
/// How long a worker without work looks for more before it parks. Longer than the steps that the issuer
/// computes alone, and than choosing a token.
const WORKER_SPIN: Duration = Duration::from_micros(60);
/// How long the issuer looks whether the last chunks are done before it sleeps.
const ISSUER_SPIN: Duration = Duration::from_micros(20);

/// Keeps what different threads write on cache lines of their own, adjacent-line prefetch included.
#[repr(align(128))]
#[derive(Default)]
struct Line<T>(T);

/// A task as workers see it.
#[derive(Clone, Copy)]
struct Task {
    data: *const (),
    call: unsafe fn(*const (), usize, usize),
    chunks: u32,
}

struct PoolState {
    /// Number of the call, and chunks that are not claimed yet.
    claims: Line<AtomicU64>,
    /// Chunks that are not done, and [`ASLEEP`].
    pending: Line<AtomicU32>,
    /// The last thread that finished a call while the issuer slept.
    straggler: AtomicU32,
    task: UnsafeCell<Task>,
    /// Workers that are parked or about to.
    parked: Line<AtomicU32>,
    /// Changes to wake parked workers.
    wakeups: AtomicU32,
    stop: AtomicBool,
    /// Workers that must not claim chunks, one bit for each lane; lanes from 64 on are never suspended.
    suspended: AtomicU64,
    /// Changes to wake suspended workers.
    resume_epoch: AtomicU32,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

#[expect(unsafe_code, reason = "the task's pointer is lent to the workers for the time of a call")]
// SAFETY: `task` is written by the issuer between calls only, when no chunk is claimed, and read by threads
// that hold a claimed chunk only. Everything else is atomic or locked.
unsafe impl Sync for PoolState {}
#[expect(unsafe_code, reason = "the task's pointer is lent to the workers for the time of a call")]
// SAFETY: as above; the pointer is not dereferenced outside of a call.
unsafe impl Send for PoolState {}

/// Threads that compute together. Dropping it ends them.
pub struct Pool {
    shared: Arc<PoolState>,
    threads: NonZeroUsize,
    workers: Vec<JoinHandle<()>>,
    call: u64,
    spin: Duration,
    quarantine: Quarantine,
}

impl Pool {
    /// A pool of `threads` threads, the calling one included, which is the only one that may issue.
    ///
    /// # Errors
    /// What the system says if it gives no thread.
    pub fn new(threads: NonZeroUsize) -> std::io::Result<Self> {
        let shared = Arc::new(PoolState {
            claims: Line::default(),
            pending: Line::default(),
            straggler: AtomicU32::new(0),
            task: UnsafeCell::new(Task { data: std::ptr::null(), call: nothing, chunks: 0 }),
            parked: Line::default(),
            wakeups: AtomicU32::new(0),
            stop: AtomicBool::new(false),
            suspended: AtomicU64::new(0),
            resume_epoch: AtomicU32::new(0),
            panic: Mutex::new(None),
        });
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        // A thread that spins on a core which another one of the pool needs keeps it from its work.
        let worker_spin = if threads.get() <= cores { WORKER_SPIN } else { Duration::ZERO };
        let spin = if threads.get() <= cores { ISSUER_SPIN } else { Duration::ZERO };
        let workers = Vec::with_capacity(threads.get() - 1);
        let mut pool = Self { shared, threads, workers, call: 0, spin, quarantine: Quarantine::default() };
        let (begun, begins) = std::sync::mpsc::channel();
        for lane in 1..threads.get() {
            let (shared, begun) = (Arc::clone(&pool.shared), begun.clone());
            let thread = std::thread::Builder::new().name(format!("engine-{lane}"));
            pool.workers.push(thread.spawn(move || {
                // The pool waits for it.
                let _ = begun.send(());
                drop(begun);
                shared.work(lane, worker_spin);
            })?);
        }
        // What threads allocate when they begin is no part of a call.
        begins.iter().take(pool.workers.len()).for_each(drop);
        Ok(pool)
    }

    /// Threads, the issuing one included.
    pub fn threads(&self) -> NonZeroUsize {
        self.threads
    }

    /// Computes `task(chunk, lane)` for every chunk of `0..chunks` and returns when all are done. `lane` is
    /// below [`Pool::threads`] and the same for no two chunks that run at once: an index for scratch memory.
    ///
    /// # Panics
    /// With the panic of a chunk, when the others are done; for more than 16,777,215 chunks.
    pub fn run<F: Fn(usize, usize) + Sync>(&mut self, chunks: usize, task: F) {
        assert!(chunks as u64 <= CHUNK_MASK, "{chunks} chunks are cut too fine");
        if chunks <= 1
            || self.workers.is_empty()
            || self.quarantine.all_suspended(&self.shared, self.workers.len())
        {
            (0..chunks).for_each(|chunk| task(chunk, 0));
            return;
        }
        self.publish(chunks as u32, &task);
        self.shared.drain(0);
        self.join();
        let panicked = self.shared.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(panic) = panicked {
            resume_unwind(panic);
        }
    }

    /// Cuts `0..length` into stretches of `size`, the last one shorter, and computes `task(stretch, lane)`
    /// for each as [`Pool::run`] does.
    pub fn stretches<F>(&mut self, length: usize, size: usize, task: F)
    where
        F: Fn(std::ops::Range<usize>, usize) + Sync,
    {
        let size = size.max(1);
        self.run(length.div_ceil(size), |chunk, lane| {
            task(chunk * size..((chunk + 1) * size).min(length), lane);
        });
    }

    fn publish<F: Fn(usize, usize) + Sync>(&mut self, chunks: u32, task: &F) {
        let shared = &*self.shared;
        self.call += 1;
        let lent = Task { data: std::ptr::from_ref(task).cast(), call: call::<F>, chunks };
        #[expect(unsafe_code, reason = "the task is in a cell that all threads can reach")]
        // SAFETY: no chunk is claimed: the call before has returned, which it does when all its chunks are
        // done, and `claims` has had none left since.
        unsafe {
            *shared.task.get() = lent;
        }
        shared.pending.0.store(chunks, Ordering::Relaxed);
        // Sequentially consistent with the load below and with the worker that counts itself as parked and
        // then looks for claims: one of the two sees the other.
        shared.claims.0.store(self.call << CHUNK_BITS | u64::from(chunks), Ordering::SeqCst);
        if shared.parked.0.load(Ordering::SeqCst) > 0 {
            shared.wake(chunks - 1);
        }
    }

    /// Waits until the chunks that others claimed are done.
    fn join(&mut self) {
        let pending = &self.shared.pending.0;
        if spin(self.spin, || pending.load(Ordering::Acquire) == 0) {
            return;
        }
        let begin = Instant::now();
        while pending.fetch_or(ASLEEP, Ordering::AcqRel) & !ASLEEP != 0 {
            let left = pending.load(Ordering::Acquire);
            if left & !ASLEEP != 0 {
                // Refused if `pending` changed meanwhile, interrupted by a signal: look again either way.
                let _ = futex::wait(pending, futex::Flags::PRIVATE, left, None);
            }
        }
        self.quarantine.late(&self.shared, begin.elapsed());
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.shared.resume();
        self.shared.wake(u32::MAX >> 1);
        for worker in self.workers.drain(..) {
            // Workers catch the panics of tasks and have none of their own.
            let _ = worker.join();
        }
    }
}

impl PoolState {
    /// Claims and computes chunks until none is left.
    fn drain(&self, lane: usize) {
        let mut word = self.claims.0.load(Ordering::Acquire);
        while word & CHUNK_MASK != 0 {
            match self.claims.0.compare_exchange_weak(word, word - 1, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => {
                    self.compute((word & CHUNK_MASK) as u32, lane);
                    word = self.claims.0.load(Ordering::Acquire);
                }
                Err(now) => word = now,
            }
        }
    }

    /// Computes the chunk that was claimed when `left` were.
    fn compute(&self, left: u32, lane: usize) {
        #[expect(unsafe_code, reason = "the task is in a cell that all threads can reach")]
        // SAFETY: this thread holds a claimed chunk, so the issuer is in `run`: the task is not written, and
        // the closure behind `data` is alive and shared. The claim was acquired after it was published.
        let result = unsafe {
            let task = *self.task.get();
            let chunk = (task.chunks - left) as usize;
            catch_unwind(AssertUnwindSafe(|| (task.call)(task.data, chunk, lane)))
        };
        if let Err(panic) = result {
            self.panic.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(panic);
        }
        if self.pending.0.load(Ordering::Relaxed) & ASLEEP != 0 {
            self.straggler.store(lane as u32, Ordering::Relaxed);
        }
        if self.pending.0.fetch_sub(1, Ordering::AcqRel) == ASLEEP | 1 {
            // Nobody waits on it if the issuer is just about to; it looks again before it does.
            let _ = futex::wake(&self.pending.0, futex::Flags::PRIVATE, 1);
        }
    }

    fn work(&self, lane: usize, limit: Duration) {
        flush_denormals();
        let bit = if lane < 64 { 1 << lane } else { 0 };
        let has_work = |order| self.claims.0.load(order) & CHUNK_MASK != 0;
        while !self.stop.load(Ordering::SeqCst) {
            let seen = self.resume_epoch.load(Ordering::SeqCst);
            if self.suspended.load(Ordering::SeqCst) & bit != 0 {
                // The flags are checked again after any return, here and below.
                let _ = futex::wait(&self.resume_epoch, futex::Flags::PRIVATE, seen, None);
                continue;
            }
            if spin(limit, || has_work(Ordering::Acquire) || self.stop.load(Ordering::Relaxed)) {
                self.drain(lane);
                continue;
            }
            let seen = self.wakeups.load(Ordering::SeqCst);
            self.parked.0.fetch_add(1, Ordering::SeqCst);
            if !has_work(Ordering::SeqCst) && !self.stop.load(Ordering::SeqCst) {
                let _ = futex::wait(&self.wakeups, futex::Flags::PRIVATE, seen, None);
            }
            self.parked.0.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Lets all workers compute again.
    fn resume(&self) {
        self.suspended.store(0, Ordering::SeqCst);
        self.resume_epoch.fetch_add(1, Ordering::SeqCst);
        let _ = futex::wake(&self.resume_epoch, futex::Flags::PRIVATE, u32::MAX >> 1);
    }

    /// Wakes up to `count` parked workers.
    fn wake(&self, count: u32) {
        self.wakeups.fetch_add(1, Ordering::SeqCst);
        // No worker has to be woken if all have looked for work after it was published.
        let _ = futex::wake(&self.wakeups, futex::Flags::PRIVATE, count);
    }
}

/// Polls until `ready` or until `limit` has passed; returns whether it became ready.
fn spin(limit: Duration, ready: impl Fn() -> bool) -> bool {
    if ready() {
        return true;
    }
    if limit.is_zero() {
        return false;
    }
    let begin = Instant::now();
    loop {
        for _ in 0..16 {
            if ready() {
                return true;
            }
            std::hint::spin_loop();
        }
        if begin.elapsed() > limit {
            return false;
        }
    }
}

#[expect(unsafe_code, reason = "calls the closure whose type was erased")]
/// # Safety
/// `data` points to a live `F`.
unsafe fn call<F: Fn(usize, usize) + Sync>(data: *const (), chunk: usize, lane: usize) {
    // SAFETY: the caller's promise.
    let task = unsafe { &*data.cast::<F>() };
    task(chunk, lane);
}

#[expect(unsafe_code, reason = "stands where a task's function will be")]
/// # Safety
/// None needed.
unsafe fn nothing(_: *const (), _: usize, _: usize) {}

#[cfg(test)]
mod tests;
