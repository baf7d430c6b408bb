//! The contract between the parts of slmscope: what is measured, how it is named, how it travels and how
//! figures are made of it.
//!
//! Everything here is data and pure functions. This crate opens no file, no socket and knows no clock; the
//! model descriptions it ships are embedded in the binary.

pub mod channel;
pub mod format;
pub mod op;
pub mod plan;
pub mod spec;
