//! What a model runs with, and what of it this machine has.

use std::num::NonZeroUsize;

pub use slmscope_profiles::setup::Setup;
pub use slmscope_profiles::workload::ExecutorKind;

use crate::kernels::{self, Isa};

/// Whether this machine runs the executor. Candle 0.11 multiplies quantized weights on aarch64 by `sdot`, which
/// the cores before Armv8.2 (a Raspberry Pi 4's) answer with SIGILL; the whole executor is refused there.
pub fn executor_is_available(executor: ExecutorKind) -> bool {
    let cores_before_sdot = cfg!(target_arch = "aarch64") && !kernels::is_available(Isa::Dotprod);
    !(executor == ExecutorKind::Candle && cores_before_sdot)
}

/// Our kernels in the best instruction set of this machine, on one thread.
pub fn native() -> Setup {
    Setup { executor: ExecutorKind::Cpu, threads: NonZeroUsize::MIN, isa: kernels::detect(), cores: None }
}
