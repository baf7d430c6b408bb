//! From a model's files to its spec, and to the place and format of each of its tensors.
//!
//! What this engine computes is read in full; a key or tensor that asks for something else is an error that
//! names it. Ignoring one would give a model that runs and answers nonsense.

pub(crate) mod gguf;
pub mod hf;
