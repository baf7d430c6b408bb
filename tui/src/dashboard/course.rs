//! Speed over time: what each summary of the host's lane came to, for charts over one axis of time.

use std::collections::VecDeque;

use slmscope_profiles::lane::HOST_LANE;
use slmscope_profiles::op::Phase;
use slmscope_profiles::rate::per_second;
use slmscope_profiles::summary::Summary;

/// Stretches that are kept: those of more than the minute for which readings are.
const MOST: usize = 1200;

/// What the engine did between two moments.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Stretch {
    /// CLOCK_MONOTONIC, ns.
    pub(super) begin_ns: u64,
    /// CLOCK_MONOTONIC, ns.
    pub(super) end_ns: u64,
    /// Its phase.
    pub(super) phase: Phase,
    /// Rows per second; `None` if no time passed.
    pub(super) rate: Option<f64>,
}

/// The last stretches, in the order of their summaries.
#[derive(Debug, Clone, Default)]
pub(super) struct Course {
    stretches: VecDeque<Stretch>,
}

impl Course {
    /// Adds a summary; those of lanes beside the host's have no speed of their own.
    pub(super) fn add(&mut self, summary: &Summary) {
        if summary.lane != HOST_LANE {
            return;
        }
        if self.stretches.len() == MOST {
            self.stretches.pop_front();
        }
        let &Summary { begin_ns, end_ns, phase, rows, .. } = summary;
        let rate = per_second(rows, summary.books.wall_ns);
        self.stretches.push_back(Stretch { begin_ns, end_ns, phase, rate });
    }

    /// The stretches, oldest first.
    pub(super) fn stretches(&self) -> impl DoubleEndedIterator<Item = &Stretch> {
        self.stretches.iter()
    }
}
