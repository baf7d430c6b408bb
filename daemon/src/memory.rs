//! Memory that can still be used.

use slmscope_probes::{Root, available_memory};

/// Memory of this machine that can still be had, bytes; see [`available_memory`].
pub(crate) fn available() -> Option<u64> {
    available_memory(&Root::live().ok()?)
}
