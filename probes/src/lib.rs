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

pub mod bundle;
mod catalogue;
mod doctor;
pub mod hygiene;
mod inventory;
mod machine;
mod remedy;
mod sampler;
mod source;
mod sources;

#[cfg(test)]
mod tests;

pub use doctor::doctor;
pub use inventory::{Board, Inventory, discover};
pub use machine::host;
pub use machine::root::{Handle, Root};
pub use sampler::{ChannelState, Sampler, Sink};
pub use source::Pace;
pub use sources::accelerators::fdinfo;
pub use sources::load::process;
pub use sources::memory::available::available_memory;
