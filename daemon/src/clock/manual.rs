//! A clock that stands still until a test moves it.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Thread;

use super::Clock;

/// A clock whose time tests set, for one thread that waits for it.
#[derive(Default)]
pub(crate) struct ManualClock {
    state: Mutex<State>,
    parked: Condvar,
}

#[derive(Default)]
struct State {
    now_ns: u64,
    /// The thread that waits now and then.
    thread: Option<Thread>,
    /// Until when it waits at the moment.
    waits_until_ns: Option<u64>,
}

impl ManualClock {
    /// A clock that shows `now_ns`.
    pub(crate) fn at(now_ns: u64) -> Self {
        let clock = Self::default();
        clock.state().now_ns = now_ns;
        clock
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Names the calling thread as the one that waits. From now on no wake-up passes it by.
    pub(crate) fn register(&self) {
        self.state().thread.get_or_insert_with(std::thread::current);
    }

    /// Wakes the thread, if it waits or is about to.
    pub(crate) fn wake(&self) {
        if let Some(thread) = &self.state().thread {
            thread.unpark();
        }
    }

    /// Moves the time on, and wakes the thread.
    pub(crate) fn advance(&self, ns: u64) {
        self.state().now_ns += ns;
        self.wake();
    }

    /// Blocks until the thread waits with a time limit, and returns that limit.
    pub(crate) fn next_wait(&self) -> u64 {
        let mut state = self.state();
        loop {
            if let Some(until_ns) = state.waits_until_ns {
                return until_ns;
            }
            state = self.parked.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Blocks until the thread waits with a time limit, and lets that time pass.
    pub(crate) fn pass_wait(&self) {
        let until_ns = self.next_wait();
        let mut state = self.state();
        state.now_ns = state.now_ns.max(until_ns);
        state.waits_until_ns = None;
        drop(state);
        self.wake();
    }
}

impl Clock for ManualClock {
    fn now_ns(&self) -> u64 {
        self.state().now_ns
    }

    fn park(&self, until_ns: Option<u64>) {
        self.register();
        {
            let mut state = self.state();
            if until_ns.is_some_and(|until_ns| state.now_ns >= until_ns) {
                return;
            }
            state.waits_until_ns = until_ns;
            self.parked.notify_all();
        }
        std::thread::park();
        self.state().waits_until_ns = None;
    }
}
