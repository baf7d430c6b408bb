//! The Ops screen.

pub mod rows;
pub mod view;
