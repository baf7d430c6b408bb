//! Loads small language models, runs their plans and records every op.

pub mod candle;
pub mod clock;
pub mod cpu;
pub mod error;
pub mod executor;
pub mod export;
pub mod fuzz;
pub mod gguf;
pub mod hash;
pub mod kernels;
pub mod map;
pub mod mapped_model;
pub mod model;
pub mod ops;
pub mod pool;
pub mod quantize;
pub mod reader;
pub mod recorder;
pub mod roofs;
pub mod safetensors;
pub mod sampler;
mod sanitize;
pub mod session;
pub mod setup;
pub mod synthetic;
pub mod threads;
pub mod tokenizer;
mod validate_weights;
pub mod verify;
pub mod weights;

#[cfg(test)]
mod testing;
