//! Suspends workers whose cores are used by another process.
//!
//! A thread that shares its core loses it for whole time slices of some milliseconds, in which hundreds of ops could
//! run. The issuer then waits for that thread's chunk, again and again. So a worker that made the issuer sleep for
//! long is suspended for a while: the other workers do without it, and its core is left to the other process. After
//! that it is tried again. Each relapse doubles the time, up to a limit.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::PoolState;

/// The shortest wait of the issuer that is blamed on a lost core: no chunk takes so long.
const LATE: Duration = Duration::from_micros(700);
/// How long a worker is suspended the first time, and at most.
const FIRST: Duration = Duration::from_millis(8);
const LONGEST: Duration = Duration::from_millis(64);
/// After so long without a late worker, the next suspension takes [`FIRST`] again.
const FORGIVEN: Duration = Duration::from_millis(250);

/// What the issuer keeps about late workers.
#[derive(Default)]
pub(super) struct Quarantine {
    /// When all workers may work again; `None` while none is suspended.
    pub(super) until: Option<Instant>,
    /// When a worker was late last, and how long it was suspended.
    last: Option<(Instant, Duration)>,
}

impl Quarantine {
    /// Ends a suspension whose time is over. Returns whether all `workers` are suspended.
    pub(super) fn all_suspended(&mut self, pool: &PoolState, workers: usize) -> bool {
        let Some(until) = self.until else { return false };
        if Instant::now() < until {
            return pool.suspended.load(Ordering::Relaxed).count_ones() as usize >= workers;
        }
        pool.resume();
        self.until = None;
        false
    }

    /// Suspends the last worker to finish if the issuer slept for too long, `waited`, because of it.
    pub(super) fn late(&mut self, pool: &PoolState, waited: Duration) {
        let lane = pool.straggler.load(Ordering::Relaxed);
        if waited < LATE || !(1..64).contains(&lane) {
            return;
        }
        let now = Instant::now();
        let length = match self.last {
            Some((at, before)) if now - at < before + FORGIVEN => (before * 2).min(LONGEST),
            _ => FIRST,
        };
        pool.suspended.fetch_or(1 << lane, Ordering::SeqCst);
        (self.until, self.last) = (Some(now + length), Some((now, length)));
    }
}
