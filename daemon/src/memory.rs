//! Memory that is available to this process.

use slmscope_probes::{Root, available_memory};

/// Memory that is available to a command that computes in this process, bytes; see [`available_memory`].
pub(crate) fn available() -> Option<u64> {
    available_memory(&Root::live().ok()?)
}
