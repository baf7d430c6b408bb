//! The screens, a folder each.

pub mod hardware;
pub mod live;
pub mod ops;
