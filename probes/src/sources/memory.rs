//! Memory of the machine, and memory traffic.

pub(crate) mod membw;
pub(crate) mod meminfo;
