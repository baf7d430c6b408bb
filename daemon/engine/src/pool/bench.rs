//! Keeping workers away whose cores somebody else took.
//!
//! A thread that shares its core loses it for whole time slices, some milliseconds, in which hundreds of ops
//! could run. The issuer then waits for the chunk that it was in, again and again. So a worker that made the
//! issuer sleep for long is benched for a while: the others work without it, its core is left to whoever
//! took it, and after that it is tried again. Each relapse doubles the time, up to a limit.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::Shared;

/// A wait of the issuer that no chunk explains but a lost core.
const LATE: Duration = Duration::from_micros(700);
/// How long a worker is benched the first time, and at most.
const FIRST: Duration = Duration::from_millis(8);
const LONGEST: Duration = Duration::from_millis(64);
/// A worker that was on time for so long begins with [`FIRST`] again.
const FORGIVEN: Duration = Duration::from_millis(250);

/// What the issuer remembers.
#[derive(Default)]
pub(super) struct Bench {
    /// When everybody may work again; `None` while nobody is benched.
    pub(super) until: Option<Instant>,
    /// The last time that somebody was late, and how long the penalty was.
    last: Option<(Instant, Duration)>,
}

impl Bench {
    /// Ends the penalty if its time is over; says whether all `workers` are benched.
    pub(super) fn all_away(&mut self, shared: &Shared, workers: usize) -> bool {
        let Some(until) = self.until else { return false };
        if Instant::now() < until {
            return shared.benched.load(Ordering::Relaxed).count_ones() as usize >= workers;
        }
        shared.pardon();
        self.until = None;
        false
    }

    /// Takes note that the issuer slept for `waited`.
    pub(super) fn late(&mut self, shared: &Shared, waited: Duration) {
        let lane = shared.straggler.load(Ordering::Relaxed);
        if waited < LATE || !(1..64).contains(&lane) {
            return;
        }
        let now = Instant::now();
        let penalty = match self.last {
            Some((at, before)) if now - at < before + FORGIVEN => (before * 2).min(LONGEST),
            _ => FIRST,
        };
        shared.benched.fetch_or(1 << lane, Ordering::SeqCst);
        (self.until, self.last) = (Some(now + penalty), Some((now, penalty)));
    }
}
