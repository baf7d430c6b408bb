//! CPU time, clock frequencies and throttling.

pub(crate) mod frequency;
pub(crate) mod throttle;
pub(crate) mod ticks;
pub(crate) mod time;
