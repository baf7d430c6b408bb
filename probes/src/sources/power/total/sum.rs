//! A sum that is sampled: sources with one more channel, the sum of some of their own.

use slmscope_profiles::channel::{ChannelId, ReasonCode, Value, difference};

use crate::source::{Pace, Source};

/// A channel that is added.
pub(super) struct Addend {
    pub(super) channel: ChannelId,
    /// Of a counter that wraps.
    pub(super) range: Option<f64>,
    pub(super) last: Option<f64>,
}

/// Sources with one more channel: the sum of some of their own.
pub(super) struct WithTotal {
    pub(super) inner: Vec<Box<dyn Source>>,
    pub(super) parts: Vec<Addend>,
    pub(super) to: ChannelId,
    /// Of several counters, which wrap each at its own range.
    pub(super) sum: Option<f64>,
    pub(super) counter: bool,
}

impl WithTotal {
    fn total(&mut self, values: &[(ChannelId, Value)]) -> Result<f64, ReasonCode> {
        if let [lone] = &self.parts[..] {
            return value_of(lone.channel, values);
        }
        let (mut plain, mut steps, mut reset) = (Ok(0.0), 0.0, false);
        for part in &mut self.parts {
            let value = value_of(part.channel, values);
            plain = plain.and_then(|sum| Ok(sum + value?));
            if !self.counter {
                continue;
            }
            match value {
                Ok(value) => match part.last.replace(value).map(|last| difference(last, value, part.range)) {
                    Some(Some(step)) => steps += step,
                    Some(None) => reset = true,
                    None => {}
                },
                // How far a counter moves while its values are implausible is not known.
                Err(ReasonCode::Implausible) => part.last = None,
                Err(_) => {}
            }
        }
        if !self.counter {
            return plain;
        }
        // It begins with the values of all of them; from then on each adds its steps, also while another is absent.
        self.sum = self.sum.map_or(plain.ok(), |sum| Some(sum + steps));
        // How much a counter lost is not known, so this interval has no value; the next one has.
        if reset { Err(ReasonCode::Implausible) } else { plain.map(|plain| self.sum.unwrap_or(plain)) }
    }
}

/// What was read of a channel.
pub(super) fn value_of(channel: ChannelId, values: &[(ChannelId, Value)]) -> Result<f64, ReasonCode> {
    match values.iter().find(|(of, _)| *of == channel) {
        Some((_, Value::Present(value))) => Ok(*value),
        Some((_, Value::Absent(code))) => Err(*code),
        None => Err(ReasonCode::ReadError),
    }
}

impl Source for WithTotal {
    fn channels(&self) -> Vec<ChannelId> {
        self.inner.iter().flat_map(|source| source.channels()).chain([self.to]).collect()
    }

    fn read(&mut self, values: &mut Vec<(ChannelId, Value)>) {
        let first = values.len();
        self.inner.iter_mut().for_each(|source| source.read(values));
        let total = self.total(values.get(first..).unwrap_or_default());
        values.push((self.to, total.map_or_else(Value::Absent, Value::Present)));
    }

    fn supports_khz(&self) -> bool {
        self.inner.iter().all(|source| source.supports_khz())
    }

    fn set_pace(&mut self, pace: Pace) {
        self.inner.iter_mut().for_each(|source| source.set_pace(pace));
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::collections::VecDeque;

    /// Readings of channels 0, 1, … in turn.
    pub(in super::super) struct Script(pub(in super::super) VecDeque<Vec<Value>>);

    impl Source for Script {
        fn channels(&self) -> Vec<ChannelId> {
            vec![0, 1]
        }

        fn read(&mut self, values: &mut Vec<(ChannelId, Value)>) {
            let row = self.0.pop_front().unwrap();
            values.extend(row.into_iter().enumerate().map(|(channel, value)| (channel as ChannelId, value)));
        }
    }

    fn of(rows: &[[f64; 2]], ranges: [Option<f64>; 2]) -> Vec<Value> {
        let value = |value: f64| match value {
            _ if value.is_nan() => Value::Absent(ReasonCode::Permission),
            f64::INFINITY => Value::Absent(ReasonCode::Implausible),
            _ => Value::Present(value),
        };
        let script = Script(rows.iter().map(|row| row.map(value).to_vec()).collect());
        let part = |channel: ChannelId| Addend { channel, range: ranges[usize::from(channel)], last: None };
        let mut total = WithTotal {
            inner: vec![Box::new(script)],
            parts: vec![part(0), part(1)],
            to: 2,
            sum: None,
            counter: true,
        };
        rows.iter()
            .map(|_| {
                let mut values = Vec::new();
                total.read(&mut values);
                values.pop().unwrap().1
            })
            .collect()
    }

    #[test]
    fn each_counter_wraps_at_its_own_range() {
        let rows = [[90.0, 5.0], [95.0, 8.0], [3.0, 9.0], [4.0, 1.0]];
        let ranges = [Some(100.0), Some(10.0)];
        let expected = [95.0, 103.0, 112.0, 115.0].map(Value::Present);
        assert_eq!(of(&rows, ranges), expected);
    }

    #[test]
    fn what_a_counter_did_while_it_told_nonsense_is_left_out() {
        let nonsense = f64::INFINITY;
        let rows =
            [[90.0, 5.0], [nonsense, 6.0], [9e9, 7.0], [nonsense; 2], [1e10, 2e10], [1e10 + 1.0, 2e10]];
        let values = of(&rows, [None, None]);
        let gap = Value::Absent(ReasonCode::Implausible);
        assert_eq!(values[1..], [gap, Value::Present(97.0), gap, Value::Present(97.0), Value::Present(98.0)]);
    }

    #[test]
    fn a_reset_or_an_absent_part_leaves_a_gap_and_no_jump() {
        let rows = [[90.0, 5.0], [3.0, 6.0], [4.0, 7.0], [f64::NAN, 8.0], [6.0, 9.0]];
        let values = of(&rows, [None, None]);
        assert_eq!(values[1], Value::Absent(ReasonCode::Implausible));
        assert_eq!(values[2], Value::Present(98.0));
        assert_eq!(values[3], Value::Absent(ReasonCode::Permission));
        assert_eq!(values[4], Value::Present(102.0));
    }
}
