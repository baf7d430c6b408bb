//! The slmscope daemon: runs workloads, reads the machine's sensors, orders records and serves clients.
//!
//! ```text
//! sampler threads ──Sample──▶ hub ──frames──▶ queue per client ──▶ socket
//! runner thread ───batches──▶  ▲
//!    │ commands  ▲ ring        │ requests
//!    ▼           │             │
//! backend: worker process   connections
//! ```

mod backend;
mod clock;
pub mod commands;
mod config;
mod descriptors;
mod doctor;
mod error;
mod hub;
mod inspect;
mod memory;
mod model_files;
pub mod own_cost;
mod pace;
mod ring;
mod runner;
mod server;
mod verify;
mod watch;
mod worker;

/// Version of this build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
