//! Logits against implementations that are not this engine's: golden files, and a slow one written here.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod checkpoints;
mod converted;
mod converter;
mod directories;
mod families;
#[path = "../fixtures/gguf_builder.rs"]
mod gguf_builder;
mod goldens;
mod lengths;
mod names;
mod passes;
mod random;
mod real;
mod reference;
mod synthetic;
mod tensors;
mod threads;
mod verify;
