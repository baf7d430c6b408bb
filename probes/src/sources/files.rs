//! Channels that are one or two small files each: a number, a unit factor and the plausible range.

use std::sync::Arc;

use slmscope_profiles::channel::{ChannelId, ReasonCode, Value};

use crate::catalogue::{Catalogue, Entry, Interface};
use crate::machine::root::{Handle, Root};
use crate::source::Source;
use crate::sources::sensors::peers::Peers;

/// Readings between two attempts to reopen a file that went away.
const REOPEN_EVERY: u32 = 64;

/// Longest text that holds one value, bytes: a list of clock levels.
const VALUE_CAP: usize = 1024;

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

/// A file that is opened when it is first read: what belongs to a sleeping device is not even opened.
pub(crate) struct Input {
    path: String,
    handle: Result<Option<Handle>, ReasonCode>,
}

impl From<Handle> for Input {
    fn from(handle: Handle) -> Self {
        Self { path: handle.path().to_owned(), handle: Ok(Some(handle)) }
    }
}

impl Input {
    /// Opened by the first reading.
    pub(crate) fn later(path: String) -> Self {
        Self { path, handle: Ok(None) }
    }

    /// Reads the file from its start.
    pub(crate) fn read<'b>(&mut self, root: &Root, buffer: &'b mut [u8]) -> Result<&'b [u8], ReasonCode> {
        if matches!(self.handle, Ok(None)) {
            self.handle = match root.open(&self.path) {
                Ok(handle) => Ok(Some(handle)),
                Err(reason) => Err(reason.code),
            };
        }
        match &self.handle {
            Ok(Some(handle)) => read(root, handle, buffer),
            Ok(None) => Err(ReasonCode::NoSuchInterface),
            Err(code) => Err(*code),
        }
    }

    fn number(&mut self, root: &Root) -> Result<f64, ReasonCode> {
        let mut buffer = [0; 64];
        integer(self.read(root, &mut buffer)?).map(|value| value as f64).ok_or(ReasonCode::Implausible)
    }

    /// A file that vanished and returned is opened again: its old handle never works again.
    fn forget(&mut self) {
        self.handle = Ok(None);
    }
}

/// Reads a file. ENODEV means that the device went away if its file did, and otherwise that the driver has no value to
/// give: ACPI's batteries answer that where the firmware does not know the rate.
pub(crate) fn read<'b>(root: &Root, handle: &Handle, buffer: &'b mut [u8]) -> Result<&'b [u8], ReasonCode> {
    match handle.read(buffer) {
        Err(ReasonCode::Vanished) if root.exists(handle.path()) => Err(ReasonCode::NotSupported),
        other => other,
    }
}

/// How a channel's value follows from its files.
pub(crate) enum Formula {
    /// A decimal number × factor.
    Scaled(Input, f64),
    /// A decimal number × a factor that is no power of ten.
    Fraction(Input, f64),
    /// The product of two decimal numbers × factor: volts and amperes.
    Product(Input, Input, f64),
    /// The magnitude of the first decimal number × factor, with the sign of the second: power and current of a monitor
    /// whose power register has no sign.
    Signed(Input, Input, f64),
    /// The first number by the second × factor: activity and clock.
    Quotient(Input, Input, f64),
    /// The sum of decimal numbers × factor.
    Sum(Vec<Input>, f64),
    /// Text that holds the value, in the channel's unit.
    Parsed(Input, fn(&[u8]) -> Option<f64>),
    /// The first of several counters that is above zero × factor. On some cards one stays at zero.
    Counting(Vec<Input>, f64),
}

impl Formula {
    fn read(&mut self, root: &Root) -> Result<f64, ReasonCode> {
        match self {
            Self::Scaled(input, factor) => Ok(scale(input.number(root)?, *factor)),
            Self::Fraction(input, factor) => Ok(input.number(root)? * *factor),
            Self::Product(a, b, factor) => Ok(scale(a.number(root)? * b.number(root)?, *factor)),
            Self::Signed(power, current, factor) => {
                let watts = scale(power.number(root)?.abs(), *factor);
                Ok(if current.number(root)? < 0.0 { -watts } else { watts })
            }
            Self::Quotient(a, b, factor) => {
                let divisor = b.number(root)?;
                if divisor <= 0.0 {
                    return Err(ReasonCode::GatedOrAsleep);
                }
                Ok(a.number(root)? / divisor * *factor)
            }
            Self::Sum(inputs, factor) => {
                let sum = inputs.iter_mut().try_fold(0.0, |sum, input| Ok(sum + input.number(root)?))?;
                Ok(scale(sum, *factor))
            }
            Self::Parsed(input, parse) => {
                let mut buffer = [0; VALUE_CAP];
                parse(input.read(root, &mut buffer)?).ok_or(ReasonCode::Implausible)
            }
            Self::Counting(inputs, factor) => counting(inputs, root).map(|value| scale(value, *factor)),
        }
    }

    fn forget(&mut self) {
        match self {
            Self::Scaled(input, _) | Self::Fraction(input, _) | Self::Parsed(input, _) => input.forget(),
            Self::Product(a, b, _) | Self::Quotient(a, b, _) | Self::Signed(a, b, _) => {
                a.forget();
                b.forget();
            }
            Self::Counting(inputs, _) | Self::Sum(inputs, _) => inputs.iter_mut().for_each(Input::forget),
        }
    }
}

/// Once one counts, the others are closed: a second counter with another origin would look like a jump.
fn counting(inputs: &mut Vec<Input>, root: &Root) -> Result<f64, ReasonCode> {
    let mut first = ReasonCode::NoSuchInterface;
    for at in 0..inputs.len() {
        let Some(input) = inputs.get_mut(at) else { break };
        match input.number(root) {
            Ok(value) if value > 0.0 => {
                if inputs.len() > 1 {
                    let chosen = inputs.swap_remove(at);
                    *inputs = vec![chosen];
                }
                return Ok(value);
            }
            // It is zero: nothing counts behind it.
            Ok(_) => first = ReasonCode::NotSupported,
            Err(code) if at == 0 => first = code,
            Err(_) => {}
        }
    }
    Err(first)
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

/// The formula of a plain number, for [`enter`].
pub(crate) fn scaled(factor: f64) -> impl FnOnce(Input) -> Formula {
    move |input| Formula::Scaled(input, factor)
}

/// Applies a unit's factor. Powers of ten below one have no exact form, so they divide: 36800 m°C are 36.8 °C
/// and not 36.800000000000004.
fn scale(number: f64, factor: f64) -> f64 {
    if factor < 1.0 { number / (1.0 / factor).round() } else { number * factor }
}

/// The number in a file that holds one integer.
pub(crate) fn number(root: &Root, handle: &Handle) -> Result<f64, ReasonCode> {
    let mut buffer = [0; 64];
    integer(read(root, handle, &mut buffer)?).map(|value| value as f64).ok_or(ReasonCode::Implausible)
}

/// A decimal integer with blanks around it.
pub(crate) fn integer(bytes: &[u8]) -> Option<i64> {
    std::str::from_utf8(bytes).ok()?.trim_matches(|c: char| c.is_whitespace() || c == '\0').parse().ok()
}

/// The share in `NN@FREQUENCYHz` or `NN %`, 0 to 1.
pub(crate) fn percent(bytes: &[u8]) -> Option<f64> {
    percent_points(bytes).map(|points| points / 100.0)
}

/// The number in such a text, 0 to 100.
pub(crate) fn percent_points(bytes: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(bytes).ok()?.trim();
    let text = text.split_once('@').map_or(text, |(percent, _)| percent);
    let percent: f64 = text.strip_suffix('%').unwrap_or(text).trim().parse().ok()?;
    percent.is_finite().then_some(percent)
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
    fn a_load_is_the_part_before_the_clock() {
        assert_eq!(percent(b"11@528000000Hz\n"), Some(0.11));
        assert_eq!(percent(b"12 %\n"), Some(0.12));
        assert_eq!(percent(b"7"), Some(0.07));
        assert_eq!(percent(b"@528000000Hz"), None);
        assert_eq!(percent(b"inf"), None);
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
        let limits = Limits { sentinels: &[127.0], unconnected: &[-40.0], ..Limits::new(-60.0, 150.0) };
        assert_eq!(limits.check(-40.0), Value::Absent(ReasonCode::NotWired));
        assert_eq!(limits.check(45.5), Value::Present(45.5));
        for wrong in [127.0, 65_261.85, -273.15, f64::NAN] {
            assert_eq!(limits.check(wrong), Value::Absent(ReasonCode::Implausible));
        }
    }

    #[test]
    fn noise_is_refused() {
        crate::tests::noise::against(b"11@528000000Hz", |text| {
            assert!(percent(text).is_none_or(f64::is_finite));
            let _ = integer(text);
        });
    }
}
