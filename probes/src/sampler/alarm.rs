//! Waking up again and again after short times, at little cost.
//!
//! To set a timer that is the next of a CPU means to program the CPU's clock, which a virtual machine pays with
//! a trip through its host. So there are two timers that take turns: while one is waited for, the other is set for
//! the time after, and by then it is the interrupt of the first that programs the clock. Each repeats itself after
//! two steps, so that as long as the steps are even it need not be set: the kernel goes on when it is read.

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
    /// When it goes off next, ns; `None` if it does not.
    at_ns: Option<u64>,
    /// Then it goes off again and again after so long, ns; 0 for once.
    every_ns: u64,
}

impl Alarm {
    /// # Errors
    /// If the system has no more descriptors.
    pub(super) fn new() -> Result<Self, Errno> {
        let timer = || {
            let fd = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?;
            Ok::<_, Errno>(Timer { fd, at_ns: None, every_ns: 0 })
        };
        Ok(Self { timers: [timer()?, timer()?], last_ns: 0 })
    }

    /// Waits until the monotonic clock shows `at_ns`. The next call is expected to be for a time as much later as
    /// this one is after the last; another time costs more and is as good.
    ///
    /// # Errors
    /// The system's error number; the time may not have come then.
    pub(super) fn wait_until(&mut self, at_ns: u64) -> Result<(), Errno> {
        let [now, then] = &mut self.timers;
        let step_ns = at_ns.saturating_sub(self.last_ns);
        let every_ns = step_ns.saturating_mul(2);
        now.set(at_ns, every_ns)?;
        then.set(at_ns.saturating_add(step_ns), every_ns)?;
        self.last_ns = at_ns;
        now.wait()?;
        self.timers.swap(0, 1);
        Ok(())
    }
}

impl Timer {
    fn set(&mut self, at_ns: u64, every_ns: u64) -> Result<(), Errno> {
        if (self.at_ns, self.every_ns) == (Some(at_ns), every_ns) {
            return Ok(());
        }
        let at =
            |ns: u64| Timespec { tv_sec: (ns / 1_000_000_000) as i64, tv_nsec: (ns % 1_000_000_000) as i64 };
        // A time of 0 would switch the timer off.
        let times = Itimerspec { it_interval: at(every_ns), it_value: at(at_ns.max(1)) };
        timerfd_settime(&self.fd, TimerfdTimerFlags::ABSTIME, &times)?;
        (self.at_ns, self.every_ns) = (Some(at_ns), every_ns);
        Ok(())
    }

    /// Waits until it has gone off.
    fn wait(&mut self) -> Result<(), Errno> {
        let mut times = [0_u8; 8];
        rustix::io::read(&self.fd, &mut times)?;
        let passed_ns = self.every_ns.saturating_mul(u64::from_ne_bytes(times));
        self.at_ns = self.at_ns.filter(|_| passed_ns > 0).map(|at_ns| at_ns.saturating_add(passed_ns));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::clock::monotonic_ns;

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
