//! The clock of recordings: CLOCK_MONOTONIC in nanoseconds, which all processes of a machine share.

mod counter;
mod ticks;

pub use ticks::Ticks;

/// The clock that the recording loop reads. Tests use a scripted one.
pub trait Clock {
    /// Nanoseconds; never less than the call before returned.
    fn now_ns(&self) -> u64;
}

/// CLOCK_MONOTONIC, which Linux reads in the vDSO without entering the kernel: 20 to 30 ns a read.
#[derive(Debug, Clone, Copy, Default)]
pub struct Monotonic;

impl Clock for Monotonic {
    #[inline]
    fn now_ns(&self) -> u64 {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        // Seconds since boot: neither part is negative.
        time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
    }
}

#[cfg(test)]
pub(crate) mod scripted {
    use std::cell::Cell;

    use super::Clock;

    /// A clock that stands still until it is moved, and counts how often it was read.
    #[derive(Debug, Default)]
    pub(crate) struct Scripted {
        now: Cell<u64>,
        reads: Cell<u64>,
    }

    impl Scripted {
        pub(crate) fn pass(&self, ns: u64) {
            self.now.set(self.now.get() + ns);
        }

        pub(crate) fn reads(&self) -> u64 {
            self.reads.get()
        }
    }

    impl Clock for Scripted {
        fn now_ns(&self) -> u64 {
            self.reads.set(self.reads.get() + 1);
            self.now.get()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn monotonic_does_not_go_back() {
        let first = Monotonic.now_ns();
        assert!(Monotonic.now_ns() >= first);
    }
}
