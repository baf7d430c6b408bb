//! The Live screen.

mod machine;
pub mod view;
