//! Logits against implementations that are not this engine's: golden files, and a slow one written here.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod checkpoints;
mod goldens;
mod lengths;
mod passes;
mod random;
mod real;
mod reference;
mod synthetic;
mod verify;
