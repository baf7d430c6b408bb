//! The Roofline screen: ops against what this machine can do at most.

pub mod keys;
pub mod view;
