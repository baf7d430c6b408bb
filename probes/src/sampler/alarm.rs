//! Waking up again and again after short times, at little cost.
//!
//! To set a timer that is the next of a CPU means to program the CPU's clock, which a virtual machine pays with
//! a trip through its host. So there are two timers that take turns: while one is waited for, the other is set for
//! the time after, and by then it is the interrupt of the first that programs the clock.

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

/// Two timers, of which one is waited for.
pub(super) struct Alarm {
    timers: [Timer; 2],
    /// What was waited for last, ns; 0 before the first time.
    last_ns: u64,
}

struct Timer {
    fd: OwnedFd,
    /// What it is set for, ns.
    at_ns: Option<u64>,
}

impl Alarm {
    /// # Errors
    /// If the system has no more descriptors.
    pub(super) fn new() -> Result<Self, Errno> {
        let timer = || {
            let fd = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?;
            Ok::<_, Errno>(Timer { fd, at_ns: None })
        };
        Ok(Self { timers: [timer()?, timer()?], last_ns: 0 })
    }

    /// Waits until the monotonic clock shows `at_ns`. The next call is expected to be for a time as much later as
    /// this one is after the last; another time costs more and is as good.
    ///
    /// # Errors
    /// What the system says; the time may not have come then.
    pub(super) fn wait_until(&mut self, at_ns: u64) -> Result<(), Errno> {
        let [now, then] = &mut self.timers;
        now.set(at_ns)?;
        then.set(at_ns.saturating_add(at_ns.saturating_sub(self.last_ns)))?;
        self.last_ns = at_ns;
        rustix::io::read(&now.fd, &mut [0_u8; 8])?;
        now.at_ns = None;
        self.timers.swap(0, 1);
        Ok(())
    }
}

impl Timer {
    fn set(&mut self, at_ns: u64) -> Result<(), Errno> {
        if self.at_ns == Some(at_ns) {
            return Ok(());
        }
        let at =
            |ns: u64| Timespec { tv_sec: (ns / 1_000_000_000) as i64, tv_nsec: (ns % 1_000_000_000) as i64 };
        // A time of 0 would switch the timer off.
        let once = Itimerspec { it_interval: at(0), it_value: at(at_ns.max(1)) };
        timerfd_settime(&self.fd, TimerfdTimerFlags::ABSTIME, &once)?;
        self.at_ns = Some(at_ns);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::monotonic_ns;

    #[test]
    fn no_wait_ends_early_whatever_the_times_are() {
        let mut alarm = Alarm::new().unwrap();
        alarm.wait_until(0).unwrap();
        let begin = monotonic_ns();
        // Evenly, in the past, twice the same, back, and in other steps than expected.
        for after_us in [0, 200, 400, 600, 600, 100, 0, 1000, 1100, 1900] {
            let at = begin + after_us * 1000;
            alarm.wait_until(at).unwrap();
            assert!(monotonic_ns() >= at, "{after_us}");
        }
        alarm.wait_until(0).unwrap();
    }
}
