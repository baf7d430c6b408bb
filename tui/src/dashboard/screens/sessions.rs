//! The Sessions screen: jobs that wait or run, and the sessions that are kept of earlier ones.

pub mod keys;
pub mod panel;
pub mod rows;
pub mod state;
pub mod view;
