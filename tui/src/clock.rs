//! CLOCK_MONOTONIC of this machine, and of the machine whose daemon is asked: no two have the same.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

/// Whether the daemon that the command asks is on another machine.
static ELSEWHERE: AtomicBool = AtomicBool::new(false);
/// How far the daemon's clock is ahead, ns.
static AHEAD_NS: AtomicI64 = AtomicI64::new(0);

/// CLOCK_MONOTONIC of this machine, ns.
pub fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

/// How far another machine's clock is ahead of this one's, if it is `theirs` now; to the time that its message took.
pub fn ahead_ns(theirs: u64) -> i64 {
    theirs.wrapping_sub(now_ns()) as i64
}

/// Notes that the daemon is on another machine, whose clock is so far ahead.
pub fn set_elsewhere(ahead_ns: i64) {
    ELSEWHERE.store(true, Ordering::Relaxed);
    AHEAD_NS.store(ahead_ns, Ordering::Relaxed);
}

/// Whether the daemon is on another machine, where the same number may be another user.
pub fn is_elsewhere() -> bool {
    ELSEWHERE.load(Ordering::Relaxed)
}

/// CLOCK_MONOTONIC of the daemon's machine, ns.
pub fn daemon_ns() -> u64 {
    now_ns().saturating_add_signed(AHEAD_NS.load(Ordering::Relaxed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_may_be_ahead_or_behind() {
        let now = now_ns();
        assert!((-1_000_000_000..=5_000_000_000).contains(&ahead_ns(now + 5_000_000_000)));
        assert!(ahead_ns(0) < 0);
    }
}
