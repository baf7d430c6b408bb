//! The Hardware screen.

pub mod view;
