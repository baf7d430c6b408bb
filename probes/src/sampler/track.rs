//! What repeated readings tell about a sensor: when it last changed, and how often it does.

use slmscope_profiles::channel::{ChannelId, Value};

/// Changes that the usual time between two is found from.
const REMEMBERED: usize = 16;

/// What was seen of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelState {
    /// The channel.
    pub channel: ChannelId,
    /// Time since its value changed, ns.
    pub age_ns: u64,
    /// Median time between two changes, ns; `None` below three changes. It cannot be shorter than the time
    /// between two readings.
    pub update_ns: Option<u64>,
    /// CPU time of the last reading of its source, with all channels of that, ns.
    pub cost_ns: u64,
}

/// The history of one channel. Fixed in size.
#[derive(Debug, Clone)]
pub(crate) struct Track {
    pub(crate) channel: ChannelId,
    last: Option<Value>,
    changed_ns: u64,
    /// Times between changes, ns, the oldest overwritten.
    apart_ns: [u64; REMEMBERED],
    changes: usize,
}

impl Track {
    pub(crate) fn new(channel: ChannelId) -> Self {
        Self { channel, last: None, changed_ns: 0, apart_ns: [0; REMEMBERED], changes: 0 }
    }

    /// Takes a reading.
    pub(crate) fn see(&mut self, t_ns: u64, value: Value) {
        if self.last == Some(value) {
            return;
        }
        let both = self.last.and_then(Value::get).zip(value.get());
        // From the first change on, for nobody knows when the first value came. An absence is no value.
        if both.is_some() {
            if self.changes > 0 {
                self.apart_ns[(self.changes - 1) % REMEMBERED] = t_ns.saturating_sub(self.changed_ns);
            }
            self.changes += 1;
        } else {
            self.changes = 0;
        }
        self.last = Some(value);
        self.changed_ns = t_ns;
    }

    /// Median time between two changes, ns; `None` below three changes.
    pub(crate) fn update_ns(&self) -> Option<u64> {
        let known = self.changes.checked_sub(1).filter(|&known| known >= 2)?.min(REMEMBERED);
        let mut apart = self.apart_ns;
        let apart = apart.get_mut(..known)?;
        apart.sort_unstable();
        apart.get(known / 2).copied()
    }

    /// Time since the last change, ns.
    pub(crate) fn age_ns(&self, now_ns: u64) -> u64 {
        now_ns.saturating_sub(self.changed_ns)
    }

    pub(crate) fn state(&self, now_ns: u64, cost_ns: u64) -> ChannelState {
        ChannelState {
            channel: self.channel,
            age_ns: self.age_ns(now_ns),
            update_ns: self.update_ns(),
            cost_ns,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slmscope_profiles::channel::ReasonCode;

    #[test]
    fn a_sensor_that_is_slower_than_its_reader_shows_its_own_period_and_age() {
        let mut track = Track::new(3);
        for t_ms in (0..1_000).step_by(10) {
            track.see(t_ms, Value::Present((t_ms / 70) as f64));
        }
        assert_eq!(track.update_ns(), Some(70));
        assert_eq!(track.age_ns(999), 19, "the last change was seen at 980");
        assert_eq!(
            track.state(1_040, 7),
            ChannelState { channel: 3, age_ns: 60, update_ns: Some(70), cost_ns: 7 }
        );
    }

    #[test]
    fn a_constant_or_an_absence_has_no_period() {
        let mut track = Track::new(0);
        for t in 0..100 {
            track.see(t, Value::Present(5.0));
        }
        assert_eq!((track.update_ns(), track.age_ns(100)), (None, 100));
        for t in 100..110 {
            track.see(t, Value::Present(t as f64));
        }
        assert_eq!(track.update_ns(), Some(1));
        track.see(110, Value::Absent(ReasonCode::Vanished));
        track.see(500, Value::Present(1.0));
        track.see(501, Value::Present(2.0));
        assert_eq!(track.update_ns(), None, "what was before the absence does not count");
    }
}
