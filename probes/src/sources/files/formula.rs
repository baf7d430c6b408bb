//! The files of one channel, and how its value follows from what they hold.

use slmscope_profiles::channel::ReasonCode;

use super::integer;
use crate::machine::root::{Handle, Root};

/// Longest text that holds one value, bytes: a list of clock levels.
const VALUE_CAP: usize = 1024;

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
    /// The value, in the channel's unit.
    pub(super) fn read(&mut self, root: &Root) -> Result<f64, ReasonCode> {
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

    /// Opens all its files again with the next reading.
    pub(super) fn forget(&mut self) {
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

/// The formula of a plain number, for [`enter`](super::enter).
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
