//! Pressure stall information: how long tasks waited for CPU, memory and storage.
//!
//! The averages that the kernel prints move every 2 s; the running totals are read instead. A kernel that was
//! built with PSI but booted without it lets the file be opened and fails the read.

use slmscope_profiles::channel::{ChannelId, Class, Quantity, Reason, ReasonCode, Scope, Unit, Value};

use crate::catalogue::{Catalogue, Entry};
use crate::machine::root::{Handle, Root};
use crate::source::{Group, Source};

/// Two lines of at most 100 bytes.
const CAP: usize = 512;

struct Resource {
    handle: Handle,
    lines: Vec<(&'static str, ChannelId)>,
}

/// Reads `/proc/pressure/*`.
pub(crate) struct Pressure {
    resources: Vec<Resource>,
}

impl Pressure {
    /// Enters `psi.RESOURCE.LINE` for each line that this kernel prints.
    pub(crate) fn discover(root: &Root, catalogue: &mut Catalogue) -> Option<Self> {
        let mut resources = Vec::new();
        for name in ["cpu", "memory", "io", "irq"] {
            let path = format!("proc/pressure/{name}");
            let source = format!("/{path}");
            match root.open(&path).and_then(|handle| Ok((handle, root.read(&path, CAP)?))) {
                Ok((handle, text)) => {
                    let lines = ["some", "full"]
                        .into_iter()
                        .filter(|line| total(&text, line).is_some())
                        .map(|line| (line, enter(catalogue, &format!("psi.{name}.{line}"), &source)))
                        .collect();
                    resources.push(Resource { handle, lines });
                }
                // Kernels before 6.1 and some configurations have no such file beside the others.
                Err(reason) if name == "irq" && reason.code == ReasonCode::NoSuchInterface => {}
                Err(reason) => {
                    for line in ["some", "full"] {
                        let id = format!("psi.{name}.{line}");
                        let channel = (id.as_str(), Quantity::Pressure, Unit::Ratio, Scope::Machine);
                        catalogue.absent(channel, &source, explain(&reason));
                    }
                }
            }
        }
        (!resources.is_empty()).then_some(Self { resources })
    }
}

fn explain(reason: &Reason) -> Reason {
    match reason.code {
        ReasonCode::NotSupported => Reason::new(reason.code, "the kernel has PSI, but was booted without it"),
        _ => reason.clone(),
    }
}

fn enter(catalogue: &mut Catalogue, id: &str, source: &str) -> ChannelId {
    let entry = Entry {
        id: format!("{id}.time"),
        quantity: Quantity::Pressure,
        unit: Unit::Seconds,
        scope: Scope::Machine,
        class: Class::Measured,
        source: source.to_owned(),
        group: Group::Slow,
    };
    let channel = catalogue.counter(entry, None);
    catalogue.rate(id, channel, Quantity::Pressure, Unit::Ratio);
    channel
}

impl Source for Pressure {
    fn channels(&self) -> Vec<ChannelId> {
        self.resources.iter().flat_map(|resource| &resource.lines).map(|&(_, channel)| channel).collect()
    }

    fn read(&mut self, values: &mut Vec<(ChannelId, Value)>) {
        let mut buffer = [0; CAP];
        for resource in &self.resources {
            let text = resource.handle.read(&mut buffer);
            for &(line, channel) in &resource.lines {
                let value = match text {
                    Ok(text) => {
                        total(text, line).map_or(Value::Absent(ReasonCode::ReadError), Value::Present)
                    }
                    Err(code) => Value::Absent(code),
                };
                values.push((channel, value));
            }
        }
    }
}

/// Seconds stalled since boot, of the line `some` or `full`.
fn total(text: &[u8], line: &str) -> Option<f64> {
    Some(field(text, line, "total=")?.parse::<u64>().ok()? as f64 / 1e6)
}

/// Share of the last 10 s, 0 to 1, of the line `some` or `full`.
pub(crate) fn average_10_s(text: &[u8], line: &str) -> Option<f64> {
    let percent: f64 = field(text, line, "avg10=")?.parse().ok()?;
    (0.0..=100.0).contains(&percent).then_some(percent / 100.0)
}

fn field<'t>(text: &'t [u8], line: &str, name: &str) -> Option<&'t str> {
    let mut lines = std::str::from_utf8(text).ok()?.lines();
    let mut words = lines.find_map(|text| text.strip_prefix(line)?.strip_prefix(' '))?.split(' ');
    words.find_map(|word| word.strip_prefix(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_may_lack_the_some_line() {
        let irq = b"full avg10=12.50 avg60=0.00 avg300=0.00 total=2500000\n";
        assert_eq!(total(irq, "full"), Some(2.5));
        assert_eq!(total(irq, "some"), None);
        assert_eq!(average_10_s(irq, "full"), Some(0.125));
        assert_eq!(total(b"some total=x\n", "some"), None);
    }

    #[test]
    fn noise_is_refused() {
        crate::tests::noise::against(b"some avg10=1.00 total=1500000\n", |text| {
            assert!(total(text, "some").is_none_or(f64::is_finite));
            assert!(average_10_s(text, "some").is_none_or(|share| (0.0..=1.0).contains(&share)));
        });
    }
}
