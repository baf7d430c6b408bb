//! The executor, threads and instruction set that a model runs with.

use std::num::NonZeroUsize;

use serde::{Deserialize, Serialize};
pub use slmscope_profiles::workload::ExecutorKind;

use crate::kernels::{self, Isa};

/// Whether this machine runs the executor. Candle 0.11 multiplies quantized weights on aarch64 by `sdot`, which
/// the cores before Armv8.2 (a Raspberry Pi 4's) answer with SIGILL; the whole executor is refused there.
pub fn executor_is_available(executor: ExecutorKind) -> bool {
    let cores_before_sdot = cfg!(target_arch = "aarch64") && !kernels::is_available(Isa::Dotprod);
    !(executor == ExecutorKind::Candle && cores_before_sdot)
}

/// Which executor runs a model, and on what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setup {
    /// The executor.
    pub executor: ExecutorKind,
    /// Threads, the issuing one included; candle's are those that
    /// [`configure`](crate::threads::configure) gave the process.
    pub threads: NonZeroUsize,
    /// Instruction set of the `cpu` executor's kernels; candle's are chosen when it is compiled.
    pub isa: Isa,
}

impl Default for Setup {
    /// Our kernels in the best instruction set of this machine, on one thread.
    fn default() -> Self {
        Self { executor: ExecutorKind::Cpu, threads: NonZeroUsize::MIN, isa: kernels::detect() }
    }
}
