//! The Timeline screen: one token or chunk to scale, op by op.

pub mod keys;
pub mod state;
pub mod view;
pub mod waterfall;
