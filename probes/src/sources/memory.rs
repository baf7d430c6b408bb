//! Memory of the machine, and memory traffic.

pub mod available;
pub(crate) mod membw;
pub(crate) mod meminfo;
