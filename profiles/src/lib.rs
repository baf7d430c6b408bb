//! The contract between the parts of slmscope: what is measured, how it is named, how it travels and how
//! figures are made of it.
//!
//! Everything here is data and pure functions. This crate opens no file and no socket and reads no clock; the model
//! descriptions that it ships are embedded in the binary.

pub mod above_roof;
pub mod admission;
pub mod bandwidth;
pub mod board;
pub mod books;
pub mod campaign;
pub mod catalogue;
pub mod channel;
pub mod clock;
pub mod command;
pub mod compare;
pub mod conditions;
pub mod cpu_set;
pub mod depth;
pub mod display;
pub mod doctor;
pub mod drift;
pub mod energy;
pub mod engine_memory;
pub mod finding;
pub mod first_token;
pub mod format;
pub mod host;
pub mod hygiene;
pub mod isa;
pub mod job;
pub mod json;
pub mod kept;
pub mod lane;
pub mod least_squares;
pub mod metrics;
pub mod model;
pub mod model_files;
pub mod op;
pub mod overhead;
pub mod phase;
pub mod plan;
pub mod profile;
pub mod rate;
pub mod record;
pub mod result;
pub mod roofline;
pub mod sessions;
pub mod setup;
pub mod socket;
pub mod span;
pub mod spec;
pub mod stats;
pub mod status;
pub mod summary;
pub mod totals;
pub mod verify;
pub mod wire;
pub mod words;
pub mod workload;
