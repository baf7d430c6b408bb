//! The slmscope daemon: runs workloads, reads the machine's sensors, orders records and serves clients.
//!
//! ```text
//! sampler threads ──Sample──▶ ┌─────┐ ──▶ queue of each client ──▶ socket
//! runner thread ───OpBatch──▶ │ hub │ ──▶ log of a job's samples
//!    │ commands  ▲ events,    └─────┘
//!    ▼           │ batches       ▲ subscriptions, jobs
//! backend: worker process     connections ◀──requests── clients
//! ```

pub mod backend;
pub mod clock;
pub mod commands;
pub mod config;
mod descriptors;
mod doctor;
mod error;
pub mod hub;
mod inspect;
mod log;
mod memory;
pub mod metrics;
mod model_files;
mod once;
pub mod pace;
pub mod recorder;
pub mod results;
mod ring;
pub mod runner;
pub mod schedule;
pub mod server;
mod service;
#[cfg(test)]
mod tests;
mod verify;
mod watch;
mod worker;

/// Version of this build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
