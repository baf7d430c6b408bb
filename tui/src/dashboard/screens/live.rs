//! The Live screen. It has no state of its own; `f` opens all that stands out.

mod curve;
mod idle;
pub mod keys;
mod machine;
pub mod parts;
pub mod remarks;
mod speed;
mod time;
pub mod view;
