//! The one clock of all records: CLOCK_MONOTONIC, and how it lies to the others.

use rustix::time::{ClockId, clock_gettime};

/// CLOCK_MONOTONIC, ns.
pub fn now_ns() -> u64 {
    read(ClockId::Monotonic)
}

/// CLOCK_REALTIME, ns since 1970.
pub fn wall_ns() -> u64 {
    read(ClockId::Realtime)
}

/// CLOCK_BOOTTIME minus CLOCK_MONOTONIC, ns: how long this boot has slept.
pub fn boottime_offset_ns() -> u64 {
    read(ClockId::Boottime).saturating_sub(now_ns())
}

fn read(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
