//! Graphics processors and neural accelerators.

pub(crate) mod cards;
pub mod fdinfo;
pub(crate) mod kfd;
pub(crate) mod npu;
pub(crate) mod nvidia;
