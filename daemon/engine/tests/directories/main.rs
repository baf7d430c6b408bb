//! From a Hugging Face directory to a model: what is read, and what is refused by name.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod families;
mod fixture;
mod refusals;
