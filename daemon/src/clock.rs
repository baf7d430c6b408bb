//! The clock of all records, CLOCK_MONOTONIC, and its offsets to the other clocks. Waiting goes through [`Clock`] as
//! well, so that tests decide what time it is.

#[cfg(test)]
pub(crate) mod manual;

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Time as the runner sees it.
pub trait Clock: Send + Sync {
    /// CLOCK_MONOTONIC, ns.
    fn now_ns(&self) -> u64;

    /// Blocks the calling thread until `until_ns`, or until another thread unparks it; may return early. `None` is
    /// no time limit.
    fn park(&self, until_ns: Option<u64>);
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ns(&self) -> u64 {
        now_ns()
    }

    fn park(&self, until_ns: Option<u64>) {
        match until_ns {
            None => std::thread::park(),
            Some(until_ns) => {
                let left_ns = until_ns.saturating_sub(now_ns());
                if left_ns > 0 {
                    std::thread::park_timeout(Duration::from_nanos(left_ns));
                }
            }
        }
    }
}

/// CLOCK_MONOTONIC, ns.
pub fn now_ns() -> u64 {
    read(ClockId::Monotonic)
}

/// CLOCK_REALTIME, ns since 1970.
pub fn wall_ns() -> u64 {
    read(ClockId::Realtime)
}

/// CLOCK_BOOTTIME minus CLOCK_MONOTONIC, ns: the time that this boot has spent asleep.
pub fn boottime_offset_ns() -> u64 {
    read(ClockId::Boottime).saturating_sub(now_ns())
}

fn read(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
