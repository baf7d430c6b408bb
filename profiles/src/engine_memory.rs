//! The memory that an engine accounts for itself.

use serde::{Deserialize, Serialize};

/// Memory of an engine, as the engine itself counts it, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct EngineMemory {
    /// Weights: mapped, generated, or converted for multiplication.
    pub weights: u64,
    /// Second layouts of weights that kernels make for themselves on first use.
    pub packed: u64,
    /// Keys and values.
    pub kv: u64,
    /// Activations, scores and masks that live at once at most.
    pub scratch: u64,
    /// Tables of rotary angles, and recurrent state with the copies that are kept of it.
    pub tables: u64,
}

impl EngineMemory {
    /// All of it.
    pub fn total(&self) -> u64 {
        self.weights + self.packed + self.kv + self.scratch + self.tables
    }
}
