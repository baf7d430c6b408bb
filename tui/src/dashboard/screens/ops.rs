//! The Ops screen: a table of ops that can be grouped, sorted, filtered, opened and compared.

pub mod columns;
pub mod keys;
mod panel;
pub mod row;
pub mod rows;
pub mod state;
pub mod view;
