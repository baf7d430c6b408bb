//! Channels that are one small file each: a number, a unit factor and the limits of what can be true.

use std::sync::Arc;

use slmscope_profiles::channel::{ChannelId, ReasonCode, Value};

use crate::root::{Handle, Root};
use crate::source::Source;

/// Readings between two attempts to reopen a file that went away.
const REOPEN_EVERY: u32 = 64;

/// The values that a channel may have, in its unit. What lies outside is a sentinel or a driver's error.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) low: f64,
    pub(crate) high: f64,
    /// Values inside the limits that stand for "no reading".
    pub(crate) sentinels: &'static [f64],
}

impl Limits {
    pub(crate) const fn new(low: f64, high: f64) -> Self {
        Self { low, high, sentinels: &[] }
    }

    /// The value if it can be true.
    pub(crate) fn check(&self, value: f64) -> Value {
        let known = self.sentinels.iter().any(|sentinel| (sentinel - value).abs() < 1e-9);
        if value.is_finite() && value >= self.low && value <= self.high && !known {
            Value::Present(value)
        } else {
            Value::Absent(ReasonCode::Implausible)
        }
    }
}

/// How a channel's value follows from its files.
pub(crate) enum Formula {
    /// A decimal number × factor.
    Scaled(Handle, f64),
    /// The product of two decimal numbers × factor: volts and amperes.
    Product(Handle, Handle, f64),
}

impl Formula {
    fn read(&self) -> Result<f64, ReasonCode> {
        match self {
            Self::Scaled(handle, factor) => Ok(scale(number(handle)?, *factor)),
            Self::Product(a, b, factor) => Ok(scale(number(a)? * number(b)?, *factor)),
        }
    }

    fn reopen(&mut self, root: &Root) {
        let fresh = |handle: &mut Handle| {
            if let Ok(opened) = root.open(handle.path()) {
                *handle = opened;
            }
        };
        match self {
            Self::Scaled(handle, _) => fresh(handle),
            Self::Product(a, b, _) => {
                fresh(a);
                fresh(b);
            }
        }
    }
}

/// A file that says whether another one is worth reading.
pub(crate) enum Gate {
    /// `runtime_status` of a device that a reading would wake.
    Asleep(Handle),
    /// `tempN_fault` of a sensor that is not connected.
    Faulty(Handle),
}

impl Gate {
    /// Why the file behind it is not to be read; `None` if it is.
    pub(crate) fn closed(&self) -> Option<ReasonCode> {
        let mut buffer = [0; 32];
        let is = |handle: &Handle, buffer, word: &[u8]| {
            handle.read(buffer).is_ok_and(|text: &[u8]| text.trim_ascii() == word)
        };
        match self {
            Self::Asleep(status) => {
                is(status, &mut buffer, b"suspended").then_some(ReasonCode::GatedOrAsleep)
            }
            Self::Faulty(fault) => is(fault, &mut buffer, b"1").then_some(ReasonCode::NotWired),
        }
    }
}

/// One file and the channels that take its value.
pub(crate) struct Slot {
    pub(crate) channels: Vec<ChannelId>,
    pub(crate) formula: Formula,
    pub(crate) limits: Limits,
    gates: Vec<Gate>,
    /// Readings since the file went away; 0 while it is there.
    gone: u32,
}

impl Slot {
    pub(crate) fn new(channels: Vec<ChannelId>, formula: Formula, limits: Limits) -> Self {
        Self { channels, formula, limits, gates: Vec::new(), gone: 0 }
    }

    /// Reads the file only while the gate is open.
    pub(crate) fn behind(mut self, gate: Option<Gate>) -> Self {
        self.gates.extend(gate);
        self
    }

    fn read(&mut self, root: Option<&Root>) -> Value {
        if let Some(code) = self.gates.iter().find_map(Gate::closed) {
            return Value::Absent(code);
        }
        match self.formula.read() {
            Ok(value) => {
                self.gone = 0;
                self.limits.check(value)
            }
            Err(code) => {
                // A CPU or device that came back has new files; the old handles stay dead for ever.
                if matches!(code, ReasonCode::Vanished | ReasonCode::Offline) {
                    if self.gone % REOPEN_EVERY == REOPEN_EVERY - 1
                        && let Some(root) = root
                    {
                        self.formula.reopen(root);
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
    /// Kept to reopen what went away; `None` where nothing can.
    root: Option<Arc<Root>>,
    slots: Vec<Slot>,
}

impl Files {
    /// `None` if there is nothing to read.
    pub(crate) fn new(root: &Root, slots: Vec<Slot>) -> Option<Self> {
        let live = if root.is_live() { Root::live().ok().map(Arc::new) } else { None };
        (!slots.is_empty()).then_some(Self { root: live, slots })
    }
}

impl Source for Files {
    fn channels(&self) -> Vec<ChannelId> {
        self.slots.iter().flat_map(|slot| slot.channels.iter().copied()).collect()
    }

    fn read(&mut self, values: &mut Vec<(ChannelId, Value)>) {
        for slot in &mut self.slots {
            let value = slot.read(self.root.as_deref());
            values.extend(slot.channels.iter().map(|&channel| (channel, value)));
        }
    }

    fn parts(&mut self) -> Option<Vec<Box<dyn Source>>> {
        let part = |slot| Box::new(Self { root: self.root.clone(), slots: vec![slot] }) as Box<dyn Source>;
        (self.slots.len() > 1).then(|| self.slots.drain(..).map(part).collect())
    }
}

/// Applies a unit's factor. Powers of ten below one have no exact form, so they divide: 36800 m°C are 36.8 °C
/// and not 36.800000000000004.
fn scale(number: f64, factor: f64) -> f64 {
    if factor < 1.0 { number / (1.0 / factor).round() } else { number * factor }
}

/// The number in a file that holds one integer.
pub(crate) fn number(handle: &Handle) -> Result<f64, ReasonCode> {
    let mut buffer = [0; 64];
    integer(handle.read(&mut buffer)?).map(|value| value as f64).ok_or(ReasonCode::Implausible)
}

/// A decimal integer with blanks around it.
pub(crate) fn integer(bytes: &[u8]) -> Option<i64> {
    std::str::from_utf8(bytes).ok()?.trim_matches(|c: char| c.is_whitespace() || c == '\0').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_whole_or_nothing() {
        assert_eq!(integer(b" -40\n"), Some(-40));
        assert_eq!(integer(b"32760 ma"), None);
        assert_eq!(integer(b"18446744073447456768"), None);
        assert_eq!(integer(b""), None);
    }

    #[test]
    fn scaling_is_exact_where_it_can_be() {
        assert_eq!(
            [scale(36_800.0, 1e-3), scale(15_453_000.0, 1e-6)].map(|value| value.to_string()),
            ["36.8", "15.453"]
        );
        assert_eq!(
            [scale(40.0, 0.01), scale(1_800_000.0, 1e3)].map(|value| value.to_string()),
            ["0.4", "1800000000"]
        );
    }

    #[test]
    fn sentinels_are_not_values() {
        let limits = Limits { low: -60.0, high: 150.0, sentinels: &[127.0] };
        assert_eq!(limits.check(45.5), Value::Present(45.5));
        for wrong in [127.0, 65_261.85, -273.15, f64::NAN] {
            assert_eq!(limits.check(wrong), Value::Absent(ReasonCode::Implausible));
        }
    }
}
