//! Channels that are one or two small files each: a number, a unit factor and the plausible range.

use std::sync::Arc;

use slmscope_profiles::channel::{ChannelId, ReasonCode, Value};

use crate::catalogue::{Catalogue, Entry, Interface};
use crate::machine::root::{Handle, Root};
use crate::source::Source;
use crate::sources::sensors::peers::Peers;

mod formula;
mod text;

pub(crate) use formula::{Formula, Input, number, read, scaled};
pub(crate) use text::{integer, percent, percent_points};

/// Readings between two attempts to reopen a file that went away.
const REOPEN_EVERY: u32 = 64;

/// The values that a channel may have, in its unit. What lies outside is a sentinel or a driver's error.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) low: f64,
    pub(crate) high: f64,
    /// Values inside the limits that mean "no reading".
    pub(crate) sentinels: &'static [f64],
    /// Values by which a driver says that nothing is connected.
    pub(crate) unconnected: &'static [f64],
}

impl Limits {
    pub(crate) const fn new(low: f64, high: f64) -> Self {
        Self { low, high, sentinels: &[], unconnected: &[] }
    }

    /// The value if it is plausible.
    pub(crate) fn check(&self, value: f64) -> Value {
        let is = |sentinels: &[f64]| sentinels.iter().any(|sentinel| (sentinel - value).abs() < 1e-9);
        if is(self.unconnected) {
            return Value::Absent(ReasonCode::NotWired);
        }
        let known = is(self.sentinels);
        if value.is_finite() && value >= self.low && value <= self.high && !known {
            Value::Present(value)
        } else {
            Value::Absent(ReasonCode::Implausible)
        }
    }
}

/// A file whose content decides whether another one is read.
#[derive(Debug)]
pub(crate) enum Gate {
    /// `power/runtime_status` and `power_state` of a device that a reading would wake.
    Asleep(Vec<Handle>),
    /// `tempN_fault` of a sensor that is not connected.
    Faulty(Handle),
    /// `mode` of a thermal zone that was switched off.
    Disabled(Handle),
}

impl Gate {
    /// Why the file behind it is not to be read; `None` if it is.
    pub(crate) fn closed(&self) -> Option<ReasonCode> {
        let mut buffer = [0; 32];
        let mut is = |handle: &Handle, words: &[&[u8]]| {
            handle.read(&mut buffer).is_ok_and(|text: &[u8]| words.contains(&text.trim_ascii()))
        };
        match self {
            Self::Asleep(states) => states
                .iter()
                .any(|state| is(state, &[b"suspended", b"suspending", b"D3hot", b"D3cold"]))
                .then_some(ReasonCode::GatedOrAsleep),
            Self::Faulty(fault) => is(fault, &[b"1"]).then_some(ReasonCode::NotWired),
            Self::Disabled(mode) => is(mode, &[b"disabled"]).then_some(ReasonCode::GatedOrAsleep),
        }
    }
}

/// One file and the channels that take its value.
pub(crate) struct Slot {
    pub(crate) channels: Vec<ChannelId>,
    formula: Formula,
    limits: Limits,
    gates: Vec<Arc<Gate>>,
    /// The processor's other sensors, by which a temperature is judged.
    peers: Option<(Arc<Peers>, String)>,
    /// Readings since the file went away; 0 while it is there.
    gone: u32,
}

impl Slot {
    pub(crate) fn new(channels: Vec<ChannelId>, formula: Formula, limits: Limits) -> Self {
        Self { channels, formula, limits, gates: Vec::new(), peers: None, gone: 0 }
    }

    /// Takes the value from other files.
    pub(crate) fn replace(&mut self, formula: Formula) {
        self.formula = formula;
    }

    /// Reads the file only while the gate is open.
    pub(crate) fn behind(mut self, gate: Option<Arc<Gate>>) -> Self {
        self.gates.extend(gate);
        self
    }

    /// Judges the temperature in the file at `path` by the processor's other sensors.
    pub(crate) fn among(mut self, peers: &Arc<Peers>, path: &str) -> Self {
        self.peers = Some((Arc::clone(peers), path.to_owned()));
        self
    }

    fn read(&mut self, root: &Root) -> Value {
        if let Some(code) = self.gates.iter().find_map(|gate| gate.closed()) {
            return Value::Absent(code);
        }
        match self.formula.read(root) {
            Ok(value) => {
                self.gone = 0;
                match (self.limits.check(value), &self.peers) {
                    (Value::Present(value), Some((peers, path))) if peers.refute(root, path, value) => {
                        Value::Absent(ReasonCode::Implausible)
                    }
                    (value, _) => value,
                }
            }
            Err(code) => {
                if matches!(code, ReasonCode::Vanished | ReasonCode::Offline) {
                    if self.gone % REOPEN_EVERY == REOPEN_EVERY - 1 {
                        self.formula.forget();
                    }
                    self.gone = self.gone.wrapping_add(1);
                }
                Value::Absent(code)
            }
        }
    }
}

/// A source of such files.
pub(crate) struct Files {
    root: Root,
    slots: Vec<Slot>,
}

impl Files {
    /// `None` if there is nothing to read.
    pub(crate) fn new(root: &Root, slots: Vec<Slot>) -> Option<Self> {
        (!slots.is_empty()).then_some(Self { root: root.clone(), slots })
    }

    /// The same as a source.
    pub(crate) fn boxed(root: &Root, slots: Vec<Slot>) -> Option<Box<dyn Source>> {
        Self::new(root, slots).map(|files| Box::new(files) as Box<dyn Source>)
    }
}

impl Source for Files {
    fn channels(&self) -> Vec<ChannelId> {
        self.slots.iter().flat_map(|slot| slot.channels.iter().copied()).collect()
    }

    fn read(&mut self, values: &mut Vec<(ChannelId, Value)>) {
        for slot in &mut self.slots {
            let value = slot.read(&self.root);
            values.extend(slot.channels.iter().map(|&channel| (channel, value)));
        }
    }

    fn parts(&mut self) -> Option<Vec<Box<dyn Source>>> {
        let part = |slot| Box::new(Self { root: self.root.clone(), slots: vec![slot] }) as Box<dyn Source>;
        (self.slots.len() > 1).then(|| self.slots.drain(..).map(part).collect())
    }
}

/// Whether a file holds the value or a running total.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    Gauge,
    /// With the range at which it starts again, where one is known.
    Counter(Option<f64>),
}

/// Enters a channel that is one file, or the reason why it cannot be opened. While the gate is closed the file
/// is left alone: it is opened by the first reading that finds the gate open.
pub(crate) fn enter(
    root: &Root,
    catalogue: &mut Catalogue,
    entry: Entry,
    kind: Kind,
    path: &str,
    (formula, limits): (impl FnOnce(Input) -> Formula, Limits),
    gate: Option<&Arc<Gate>>,
) -> Option<Slot> {
    let source = format!("/{path}");
    let input = if gate.is_some_and(|gate| gate.closed().is_some()) {
        Ok(Input::later(path.to_owned()))
    } else {
        root.open(path).map(Input::from)
    };
    match input {
        Ok(input) => {
            let entry = Entry { source, ..entry };
            let channel = match kind {
                Kind::Gauge => catalogue.gauge(entry),
                Kind::Counter(range) => catalogue.counter(entry, range),
            };
            catalogue.set_interface(channel, Interface::File(path.to_owned()));
            Some(Slot::new(vec![channel], formula(input), limits).behind(gate.cloned()))
        }
        Err(reason) => {
            let channel = (entry.id.as_str(), entry.quantity, entry.unit, entry.scope);
            let channel = catalogue.absent(channel, &source, reason);
            catalogue.set_interface(channel, Interface::File(path.to_owned()));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentinels_are_not_values() {
        let limits = Limits { sentinels: &[127.0], unconnected: &[-40.0], ..Limits::new(-60.0, 150.0) };
        assert_eq!(limits.check(-40.0), Value::Absent(ReasonCode::NotWired));
        assert_eq!(limits.check(45.5), Value::Present(45.5));
        for wrong in [127.0, 65_261.85, -273.15, f64::NAN] {
            assert_eq!(limits.check(wrong), Value::Absent(ReasonCode::Implausible));
        }
    }
}
