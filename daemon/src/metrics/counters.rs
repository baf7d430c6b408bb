//! What was read of a channel last, and by how much a counter grew.

use slmscope_profiles::channel::{Channel, Kind, Value, difference};

/// Readings of one channel.
#[derive(Debug, Clone, Default)]
pub(super) struct Reading {
    last: Option<(u64, Value)>,
    /// The last value of a counter.
    counted: Option<f64>,
    /// By how much it grew since the first reading.
    increase: f64,
}

impl Reading {
    /// Adds a reading. A counter that wrapped goes on; one that started again adds nothing for that step, and while it
    /// cannot be read it goes on counting.
    pub(super) fn add(&mut self, channel: &Channel, t_ns: u64, value: Value) {
        self.last = Some((t_ns, value));
        let Kind::Counter { range } = channel.kind else { return };
        let Some(now) = value.get() else { return };
        if let Some(step) = self.counted.and_then(|before| difference(before, now, range)) {
            self.increase += step;
        }
        self.counted = Some(now);
    }

    /// The last reading, and when it was; `None` before the first.
    pub(super) fn last(&self) -> Option<(u64, Value)> {
        self.last
    }

    /// By how much a counter grew since its first reading; `None` before that.
    pub(super) fn increase(&self) -> Option<f64> {
        self.counted.map(|_| self.increase)
    }
}
