//! Reads a model's spec from its files, and the place and format of each of its tensors.
//!
//! A key or tensor that asks for something that this engine does not compute is an error that names it. Ignoring one
//! would give a model that runs and generates nonsense.

pub(crate) mod gguf;
pub mod hf;
