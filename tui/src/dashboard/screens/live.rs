//! The Live screen. It has neither state nor keys of its own.

mod machine;
pub mod parts;
pub mod view;
