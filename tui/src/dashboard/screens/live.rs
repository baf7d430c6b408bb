//! The Live screen. It has neither state nor keys of its own.

mod findings;
mod machine;
pub mod parts;
pub mod view;
