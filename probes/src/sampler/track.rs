//! What repeated readings show of a sensor: when it last changed, and how often it does.
//!
//! This is where the period that the maker states and the one that was seen become one figure. A sensor that was
//! new at every reading may be faster than its reader, so the stated period gives way only to a sensor that was
//! seen to be slower than its reader.

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
    /// Time between two values of the sensor, ns: as stated by its maker, or the median that was seen where nothing
    /// is stated or the sensor is slower than that. What was seen cannot be shorter than the time between two
    /// readings. `None` while neither is known; three changes are needed.
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
    /// Readings since then.
    readings: u32,
    /// The last times between two changes, the oldest overwritten.
    apart: [Apart; REMEMBERED],
    changes: usize,
    /// Time between two values of the sensor as its maker states it, ns.
    stated_ns: Option<u64>,
}

/// What lay between two changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Apart {
    ns: u64,
    readings: u32,
}

impl Track {
    pub(crate) fn new(channel: ChannelId, stated_ns: Option<u64>) -> Self {
        Self {
            channel,
            last: None,
            changed_ns: 0,
            readings: 0,
            apart: [Apart::default(); REMEMBERED],
            changes: 0,
            stated_ns,
        }
    }

    /// Takes a reading.
    pub(crate) fn see(&mut self, t_ns: u64, value: Value) {
        self.readings = self.readings.saturating_add(1);
        if self.last == Some(value) {
            return;
        }
        let both = self.last.and_then(Value::get).zip(value.get());
        // From the first change on, as it is not known when the first value came. An absence is no value.
        if both.is_some() {
            if self.changes > 0 {
                let ns = t_ns.saturating_sub(self.changed_ns);
                self.apart[(self.changes - 1) % REMEMBERED] = Apart { ns, readings: self.readings };
            }
            self.changes += 1;
        } else {
            self.changes = 0;
        }
        self.last = Some(value);
        self.changed_ns = t_ns;
        self.readings = 0;
    }

    /// As [`ChannelState::update_ns`].
    pub(crate) fn update_ns(&self) -> Option<u64> {
        match (self.stated_ns, self.median()) {
            (Some(stated_ns), Some(seen)) if seen.readings > 1 => Some(seen.ns.max(stated_ns)),
            (Some(stated_ns), _) => Some(stated_ns),
            (None, seen) => seen.map(|seen| seen.ns),
        }
    }

    /// Of the times between two changes; `None` below three changes.
    fn median(&self) -> Option<Apart> {
        let known = self.changes.checked_sub(1).filter(|&known| known >= 2)?.min(REMEMBERED);
        let mut apart = self.apart;
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
        let mut track = Track::new(3, None);
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
    fn a_stated_period_gives_way_to_a_longer_one_that_was_seen() {
        let seen = |stated_ns, every_ms: usize| {
            let mut track = Track::new(0, stated_ns);
            for t_ms in (0..1_000).step_by(10) {
                track.see(t_ms, Value::Present((t_ms as usize / every_ms) as f64));
            }
            track.update_ns()
        };
        assert_eq!(seen(None, 10), Some(10));
        assert_eq!(seen(Some(1), 10), Some(1), "new at every reading");
        assert_eq!(seen(Some(1), 70), Some(70));
        assert_eq!(seen(Some(1), 5_000), Some(1), "nothing was seen");
        assert_eq!(seen(None, 5_000), None);
    }

    #[test]
    fn a_constant_or_an_absence_has_no_period() {
        let mut track = Track::new(0, None);
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
