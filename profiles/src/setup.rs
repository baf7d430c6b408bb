//! The executor, threads and instruction set that a model runs with.

use std::num::NonZeroUsize;

use serde::{Deserialize, Serialize};

use crate::cpu_set::CpuSet;
use crate::isa::Isa;
use crate::workload::ExecutorKind;

/// Which executor runs a model, and on what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setup {
    /// The executor.
    pub executor: ExecutorKind,
    /// Threads, the issuing one included; candle's are those that its process was started with.
    pub threads: NonZeroUsize,
    /// Instruction set of the `cpu` executor's kernels; candle's are chosen when it is compiled.
    pub isa: Isa,
    /// CPUs that the process computes on; `None` for all that it may use.
    #[serde(default)]
    pub cores: Option<CpuSet>,
}
