//! The Hardware screen. Its state is a list, its keys are those of a list.

pub mod view;
