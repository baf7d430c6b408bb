//! What processes use: this tool's own, all others, the control group; and how long tasks waited.

pub(crate) mod cgroup;
pub(crate) mod other_load;
pub(crate) mod pressure;
pub mod process;
pub(crate) mod self_usage;
pub(crate) mod threads;
