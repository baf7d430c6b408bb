//! What was measured as files: recordings, written and read again, and what other tools read.
//!
//! Everything here takes a [`std::io::Read`] or [`std::io::Write`] and turns records of `slmscope-profiles` into bytes
//! or bytes into records. No file is opened here and no clock is read.

pub mod campaign;
pub mod export;
pub mod page;
pub mod recording;
pub mod session;
