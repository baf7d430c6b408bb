//! Readings of channels, with the values that are derived from them: rates of counters, and sums.

use std::collections::{BTreeMap, VecDeque};

use slmscope_profiles::channel::derive;
use slmscope_profiles::channel::{Channel, ChannelId, Kind, ReasonCode, Sample, Unit, Value};

/// Readings of a channel that are kept at most, for a rate over the time that [`derive`] asks for.
const MAX_RECENT: usize = 4096;

/// Channels, each with the readings that its rate is computed from.
#[derive(Debug, Default)]
pub(crate) struct Readings {
    tracks: BTreeMap<ChannelId, Track>,
    /// Channels that are derived, by the one whose reading completes them: the counter, or the last part of a sum.
    derived: BTreeMap<ChannelId, Vec<ChannelId>>,
}

#[derive(Debug)]
struct Track {
    channel: Channel,
    /// Oldest first.
    recent: VecDeque<(u64, Value)>,
}

impl Track {
    fn push(&mut self, t_ns: u64, value: Value) {
        let window_ns = derive::window_ns(&self.channel);
        // One reading from before the window is needed to fill it.
        while self.recent.get(1).is_some_and(|&(second_ns, _)| t_ns.saturating_sub(second_ns) >= window_ns)
            || self.recent.len() >= MAX_RECENT
        {
            self.recent.pop_front();
        }
        self.recent.push_back((t_ns, value));
    }
}

impl Readings {
    /// Adds channels of a catalogue.
    pub(crate) fn add(&mut self, channels: &[Channel]) {
        for channel in channels {
            let number = channel.channel;
            let completed_by = match &channel.kind {
                &Kind::Rate { of } => Some(of),
                Kind::Sum { of } => of.last().copied(),
                Kind::Gauge | Kind::Counter { .. } => None,
            };
            if let Some(part) = completed_by {
                let derived = self.derived.entry(part).or_default();
                if !derived.contains(&number) {
                    derived.push(number);
                }
            }
            self.tracks.insert(number, Track { channel: channel.clone(), recent: VecDeque::new() });
        }
    }

    /// Takes a sample, and gives each of its values and of those that are derived from them to `each`. Channels that no
    /// catalogue has are left out.
    pub(crate) fn take<E>(
        &mut self,
        sample: &Sample,
        mut each: impl FnMut(&Channel, Value) -> Result<(), E>,
    ) -> Result<(), E> {
        for &(number, value) in &sample.values {
            let Some(track) = self.tracks.get_mut(&number) else { continue };
            let value = match value {
                Value::Present(value) if !value.is_finite() => Value::Absent(ReasonCode::Implausible),
                value => value,
            };
            track.push(sample.t_ns, value);
            each(&track.channel, value)?;
            for derived in self.derived.get(&number).map_or(&[][..], Vec::as_slice) {
                let Some(track) = self.tracks.get(derived) else { continue };
                let readings = |number: ChannelId| {
                    let track = self.tracks.get(&number)?;
                    Some((&track.channel, track.recent.iter().rev().copied()))
                };
                let value = match derive::value(&track.channel, Some(sample.t_ns), readings) {
                    Ok(derived) => Value::Present(derived.value),
                    Err(missing) => Value::Absent(missing.cause.code()),
                };
                each(&track.channel, value)?;
            }
        }
        Ok(())
    }
}

/// A unit's symbol.
pub(super) fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Joules => "J",
        Unit::Watts => "W",
        Unit::Volts => "V",
        Unit::Amperes => "A",
        Unit::Celsius => "°C",
        Unit::Hertz => "Hz",
        Unit::Ratio => "ratio",
        Unit::Bytes => "B",
        Unit::BytesPerSecond => "B/s",
        Unit::Seconds => "s",
        Unit::Rpm => "rpm",
        Unit::Count => "count",
    }
}
