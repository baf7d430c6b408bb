//! The engine's threads: how many, what they are called, and how they treat denormal numbers.
//!
//! The `cpu` executor computes on a [`Pool`](crate::pool::Pool) of its own. candle has two pools, both sized
//! from the environment: rayon's global one (tensor ops; also generates synthetic weights, for either
//! executor, and sleeps otherwise) and a barrier pool for quantized products. Names, as in
//! `/proc/PID/task/TID/comm`:
//!
//! | thread | name |
//! |---|---|
//! | issuing thread: the one that called [`configure`] and runs the plan | `engine-main` |
//! | the `cpu` executor's others | `engine-N` |
//! | rayon's | `engine-ray-N` |
//! | the barrier pool's | `candle-bp-N` |
//!
//! On x86-64 and aarch64 all of these flush denormal results and operands to zero.

use std::num::NonZeroUsize;

use crate::setup::{ExecutorKind, Setup};

/// Why the threads could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ThreadsError {
    /// Pool sizes are read from the environment, which may only be written while the process has one thread.
    #[error("{0} threads run already; configure the engine's threads first thing in the process")]
    NotFirst(usize),
    /// The process cannot list its threads.
    #[error("cannot count this process's threads in /proc/self/task: {0}; mount /proc")]
    Uncounted(std::io::Error),
    /// The system gave no thread.
    #[error("cannot start {threads} engine threads: {cause}; ask for fewer")]
    Pool {
        /// Threads asked for.
        threads: usize,
        /// What the pool said.
        cause: rayon::ThreadPoolBuildError,
    },
}

/// Threads that suit `executor` here: the physical cores that this process may run on; for candle one less,
/// at least 1, since its barrier pool spins for the slowest thread, so that a foreign process on the last
/// core would slow all of them.
pub fn default_count(executor: ExecutorKind) -> NonZeroUsize {
    let allowed = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let cores = candle_core::utils::get_num_threads().min(allowed);
    let count = match executor {
        ExecutorKind::Cpu => cores,
        ExecutorKind::Candle => cores.saturating_sub(1),
    };
    NonZeroUsize::new(count).unwrap_or(NonZeroUsize::MIN)
}

/// Whether a thread of this name (its `comm`) computes where `executor` runs the plan. With `cpu`, rayon's threads
/// generate synthetic weights before the first step and sleep from then on.
pub fn is_engine_thread(comm: &str, executor: ExecutorKind) -> bool {
    let is_rayon = comm.starts_with("engine-ray-");
    match executor {
        ExecutorKind::Cpu => comm.starts_with("engine-") && !is_rayon,
        ExecutorKind::Candle => comm == "engine-main" || is_rayon || comm.starts_with("candle-bp-"),
    }
}

/// What candle takes the sizes of its pools from: environment variables and their values.
pub fn pool_sizes(threads: NonZeroUsize) -> [(&'static str, String); 2] {
    ["RAYON_NUM_THREADS", "CANDLE_NUM_THREADS"].map(|name| (name, threads.to_string()))
}

/// Prepares this process for computing with `setup`: starts candle's pools with as many threads, the calling one
/// included, if the executor uses them, and names the calling thread. Call it once. Unless the process was started
/// with [`pool_sizes`] in its environment, call it before the process has any other thread.
///
/// # Errors
/// See [`ThreadsError`].
pub fn configure(setup: &Setup) -> Result<(), ThreadsError> {
    let threads = setup.threads;
    let sizes = pool_sizes(threads);
    if sizes.iter().any(|(name, size)| std::env::var(name).as_ref() != Ok(size)) {
        let running = std::fs::read_dir("/proc/self/task").map_err(ThreadsError::Uncounted)?.count();
        if running != 1 {
            return Err(ThreadsError::NotFirst(running));
        }
        set_environment(&sizes);
    }
    // The name only helps people who list threads, so it does not matter if the kernel refuses it.
    let _ = rustix::thread::set_name(c"engine-main");
    flush_denormals();
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads.get())
        // The issuing thread works along instead of handing every small op to another and waiting.
        .use_current_thread()
        .thread_name(|index| format!("engine-ray-{index}"))
        .start_handler(|_| flush_denormals())
        .build_global()
        .map_err(|cause| ThreadsError::Pool { threads: threads.get(), cause })?;
    if setup.executor == ExecutorKind::Candle {
        // Runs once on every thread of the pool.
        candle_core::utils::barrier_pool().execute(|_| flush_denormals());
    }
    Ok(())
}

#[expect(unsafe_code, reason = "candle takes its pool sizes from the environment only")]
fn set_environment(variables: &[(&str, String)]) {
    for (name, value) in variables {
        // SAFETY: the caller made sure that this is the only thread, so no other one reads the environment.
        unsafe { std::env::set_var(name, value) };
    }
}

/// Sets flush-to-zero and denormals-are-zero for the calling thread.
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "the control register has no safe interface")]
pub(crate) fn flush_denormals() {
    const FLUSH_RESULTS: u32 = 1 << 15;
    const ZERO_OPERANDS: u32 = 1 << 6;
    let mut control = 0_u32;
    // SAFETY: SSE is part of x86-64; both instructions move 32 bits between MXCSR and a live local, and the
    // two bits set change the results of denormal arithmetic only.
    unsafe {
        std::arch::asm!("stmxcsr [{}]", in(reg) &raw mut control, options(nostack));
        control |= FLUSH_RESULTS | ZERO_OPERANDS;
        std::arch::asm!("ldmxcsr [{}]", in(reg) &raw const control, options(nostack));
    }
}

/// Sets flush-to-zero, which covers operands and results, for the calling thread.
#[cfg(target_arch = "aarch64")]
#[expect(unsafe_code, reason = "the control register has no safe interface")]
pub(crate) fn flush_denormals() {
    const FLUSH: u64 = 1 << 24;
    let mut control: u64;
    // SAFETY: FPCR is readable and writable from user space; the bit set changes the results of denormal
    // arithmetic only.
    unsafe {
        std::arch::asm!("mrs {}, fpcr", out(reg) control, options(nomem, nostack));
        control |= FLUSH;
        std::arch::asm!("msr fpcr, {}", in(reg) control, options(nomem, nostack));
    }
}

/// Other architectures keep their default.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(crate) fn flush_denormals() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_engine_threads_from_others() {
        let (cpu, candle) = (ExecutorKind::Cpu, ExecutorKind::Candle);
        assert!(is_engine_thread("engine-main", cpu) && is_engine_thread("engine-3", cpu));
        assert!(is_engine_thread("engine-main", candle) && is_engine_thread("candle-bp-0", candle));
        assert!(is_engine_thread("engine-ray-1", candle));
        assert!(!is_engine_thread("engine-ray-1", cpu), "it sleeps while tokens are made");
        for executor in [cpu, candle] {
            assert!(!is_engine_thread("slmscoped", executor) && !is_engine_thread("worker-ctl", executor));
        }
    }

    #[test]
    fn a_process_with_threads_is_refused() {
        let (send, wait) = std::sync::mpsc::channel::<()>();
        let other = std::thread::spawn(move || wait.recv());
        assert!(matches!(configure(&crate::setup::native()), Err(ThreadsError::NotFirst(_))));
        drop(send);
        assert!(other.join().unwrap().is_err());
    }

    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    #[test]
    fn denormals_become_zero() {
        let product = std::thread::spawn(|| {
            flush_denormals();
            std::hint::black_box(1e-30_f32) * std::hint::black_box(1e-10_f32)
        });
        assert_eq!(product.join().unwrap().to_bits(), 0);
    }
}
