//! How often the sensors are read: decided here alone, from whether a job runs and whether anybody watches.

use std::sync::{Arc, Mutex, PoisonError};

use slmscope_probes::{Pace, Sampler};

/// Sets the sampler's pace when the need for readings changes.
pub struct PaceControl {
    sampler: Arc<Sampler>,
    need: Mutex<Need>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Need {
    /// A job runs or waits.
    busy: bool,
    /// A client has subscribed.
    watched: bool,
}

impl Need {
    fn pace(self) -> Pace {
        match self {
            Self { busy: true, .. } => Pace::Workload,
            Self { watched: true, .. } => Pace::Client,
            Self { .. } => Pace::Idle,
        }
    }
}

impl PaceControl {
    /// For a sampler at the pace that it starts with, [`Pace::Idle`].
    pub fn new(sampler: Arc<Sampler>) -> Self {
        Self { sampler, need: Mutex::default() }
    }

    /// Notes whether a job runs or waits.
    pub fn set_busy(&self, busy: bool) {
        self.change(|need| need.busy = busy);
    }

    /// Notes whether a client has subscribed.
    pub fn set_watched(&self, watched: bool) {
        self.change(|need| need.watched = watched);
    }

    fn change(&self, change: impl FnOnce(&mut Need)) {
        let mut need = self.need.lock().unwrap_or_else(PoisonError::into_inner);
        let before = need.pace();
        change(&mut need);
        // Setting it wakes every thread of the sampler.
        if need.pace() != before {
            self.sampler.set_pace(need.pace());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_needs_more_than_a_client_and_a_client_more_than_nobody() {
        let pace = |busy, watched| Need { busy, watched }.pace();
        assert_eq!([pace(true, true), pace(true, false)], [Pace::Workload; 2]);
        assert_eq!([pace(false, true), pace(false, false)], [Pace::Client, Pace::Idle]);
    }
}
