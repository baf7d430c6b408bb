//! The slmscope daemon: supervises workloads, probes the machine, orders records and serves clients.
//!
//! ```text
//! sampler threads ──Sample──▶ hub ──frames──▶ queue per client ──▶ socket
//! runner thread ───batches──▶  ▲
//!    │ commands  ▲ ring        │ requests
//!    ▼           │             │
//! worker process (engine)   connections
//! ```

mod clock;
pub mod commands;
mod config;
mod descriptors;
mod hub;
mod inspect;
mod model_files;
pub mod own_cost;
mod ring;
mod runner;
mod server;
mod supervisor;
mod verify;
mod watch;
mod worker;

/// Version of this build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
