//! What a machine says about CPU time, clocks, memory, power, heat and accelerators, and why the rest is
//! silent.
//!
//! ```text
//! Root (this machine, or a captured tree)
//!   └─ discover ─▶ Inventory: channels (the catalogue) + sources
//!                     ├─ doctor:  each source once or twice, a row for every channel
//!                     └─ Sampler: a thread per lane ── Sample ─▶ sink
//! ```
//!
//! One source is one small file here; each enters its channels into the catalogue and reads them. A channel
//! that cannot be read says why and, where there is one, how to change that. No failed read becomes a number.
//! Rates are never sampled: whoever reads derives them from the counters.

mod battery;
mod board;
pub mod bundle;
mod cards;
mod catalogue;
mod cgroup;
mod clock;
mod cores;
mod cpu;
mod doctor;
pub mod fdinfo;
mod files;
mod foreign;
mod frequency;
mod heat;
pub mod host;
mod hwmon;
pub mod hygiene;
mod inventory;
mod ipmi;
mod kfd;
mod membw;
mod meminfo;
mod npu;
mod numbered;
mod nvidia;
mod own;
mod patience;
mod pci;
mod perf;
mod pmic;
mod powercap;
mod pressure;
pub mod process;
mod reader;
mod remedy;
mod root;
mod sampler;
mod source;
mod system;
mod thermal;
mod threads;
mod throttle;
mod ticks;
mod topology;
mod total;

#[cfg(test)]
mod tests;

pub use doctor::doctor;
pub use inventory::{Board, Inventory, discover};
pub use root::{Handle, Root};
pub use sampler::{ChannelState, Sampler, Sink};
pub use source::Pace;
