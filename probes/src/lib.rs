//! What a machine reports about CPU time, clocks, memory, power, temperatures and accelerators, and why the rest is
//! absent.
//!
//! ```text
//! Root (this machine, or a captured tree)
//!   └─ discover ─▶ Inventory: channels (the catalogue) + sources
//!                     ├─ doctor:  each source once or twice, a row for every channel
//!                     └─ Sampler: a thread per lane ── Sample ─▶ sink
//! ```
//!
//! One source is one small file here; each enters its channels into the catalogue and reads them. A channel
//! that cannot be read has a reason and, where there is one, a remedy. No failed read becomes a number. Rates are
//! never sampled: they are derived from the counters where they are shown
//! (`slmscope_profiles::channel::derive`).

pub mod bundle;
mod catalogue;
mod doctor;
mod facts;
pub mod hygiene;
mod inventory;
mod machine;
mod remedy;
mod sampler;
mod source;
mod sources;

#[cfg(test)]
mod tests;

pub use doctor::{doctor, rows as doctor_rows};
pub use inventory::{Board, Inventory, discover};
pub use machine::host;
pub use machine::root::{Handle, Root};
pub use sampler::{ChannelState, Sampler, Sink};
pub use source::Pace;
pub use sources::accelerators::fdinfo;
pub use sources::load::process;
pub use sources::memory::available::available_memory;
