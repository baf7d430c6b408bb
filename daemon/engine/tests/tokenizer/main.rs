//! Text to ids and back, and chat templates.

mod chat;
mod directory;
mod embedded;
#[path = "../fixtures/gguf_builder.rs"]
mod gguf_builder;
mod real;
mod vocabularies;
