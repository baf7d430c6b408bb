//! The machine a figure was taken on.

use serde::{Deserialize, Serialize};

use crate::doctor::CoreKind;

/// What identifies a machine's kind without naming its owner. `None` where the system does not report it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Host {
    /// Name and version of the distribution.
    pub os: Option<String>,
    /// Kernel release.
    pub kernel: Option<String>,
    /// Instruction set architecture.
    pub arch: String,
    /// Name of the processor.
    pub cpu_model: Option<String>,
    /// Logical CPUs online.
    pub logical_cpus: u32,
    /// Physical cores.
    pub physical_cores: Option<u32>,
    /// Memory, bytes.
    pub memory_bytes: Option<u64>,
    /// Hypervisor, if the machine is virtual and reports one.
    pub virtualised: Option<String>,
    /// Kinds of cores, the most capable first; empty where there is one kind, or the kernel does not tell them apart.
    #[serde(default)]
    pub core_kinds: Vec<CoreKind>,
}
