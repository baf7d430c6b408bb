//! The Ops screen: a table of ops that can be sorted, filtered and opened.

pub mod keys;
pub mod rows;
pub mod state;
pub mod view;
