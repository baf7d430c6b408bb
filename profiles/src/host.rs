//! The machine a figure was taken on.

use serde::{Deserialize, Serialize};

use crate::doctor::CoreKind;

/// What identifies a machine. `None` where the system does not report it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Host {
    /// Name on its network.
    #[serde(default)]
    pub name: Option<String>,
    /// Name and version of the distribution.
    pub os: Option<String>,
    /// Kernel release.
    pub kernel: Option<String>,
    /// Instruction set architecture.
    pub arch: String,
    /// What the device tree or the firmware calls the board or the computer.
    #[serde(default)]
    pub board: Option<String>,
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
    /// Caches of data, nearest to the cores first; empty where the kernel does not list them.
    #[serde(default)]
    pub caches: Vec<Cache>,
}

/// The caches of one level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cache {
    /// 1 is nearest to a core.
    pub level: u32,
    /// Size of the largest, bytes.
    pub bytes: u64,
    /// How many there are.
    pub instances: u32,
}
