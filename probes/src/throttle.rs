//! Thermal throttling: the event counters of x86, the flags of the Raspberry Pi's firmware.
//!
//! The threads of a core repeat its counter, so only the first thread of each core is listed.

use slmscope_profiles::channel::{ChannelId, Class, Quantity, ReasonCode, Scope, Unit, Value};

use crate::catalogue::{Catalogue, Entry, missing};
use crate::files::{Files, Formula, Limits, Slot};
use crate::root::{Handle, Root};
use crate::source::{Group, Source};
use crate::topology;

const FIRMWARE: &str = "sys/devices/platform/soc/soc:firmware/get_throttled";

/// Enters what this machine has, or the row that says that it has nothing.
pub(crate) fn discover(root: &Root, catalogue: &mut Catalogue) -> Vec<Box<dyn Source>> {
    let mut sources: Vec<Box<dyn Source>> = Vec::new();
    if let Some(files) = counters(root, catalogue) {
        sources.push(Box::new(files));
    }
    if let Some(flags) = Flags::discover(root, catalogue) {
        sources.push(Box::new(flags));
    }
    if !catalogue.has(Quantity::Throttle) {
        let reason = missing("this platform has no throttle counters and no firmware flags");
        let channel = ("throttle.cpu", Quantity::Throttle, Unit::Count, Scope::Machine);
        catalogue.absent(channel, "", reason, None);
    }
    sources
}

fn entry(id: String, scope: Scope, class: Class, path: &str) -> Entry {
    let source = format!("/{path}");
    Entry { id, quantity: Quantity::Throttle, unit: Unit::Count, scope, class, source, group: Group::Slow }
}

fn counters(root: &Root, catalogue: &mut Catalogue) -> Option<Files> {
    let mut slots = Vec::new();
    let firsts = topology::first_threads(root);
    let cpus = if firsts.is_empty() { topology::present(root) } else { firsts };
    for cpu in cpus {
        let path = format!("sys/devices/system/cpu/cpu{cpu}/thermal_throttle/core_throttle_count");
        if let Ok(handle) = root.open(&path) {
            let entry = entry(format!("throttle.cpu{cpu}.core"), Scope::CpuN(cpu), Class::Measured, &path);
            let channel = catalogue.counter(entry, None);
            slots.push(Slot::new(vec![channel], Formula::Scaled(handle, 1.0), Limits::new(0.0, 1e15)));
        }
    }
    Files::new(root, slots)
}

/// What each of the firmware's low bits says about this moment.
const BITS: [(&str, u32); 4] = [("under_voltage", 0), ("capped", 1), ("throttled", 2), ("soft_limit", 3)];

/// The bit mask of the Raspberry Pi's firmware, in hexadecimal; each bit is a channel of 0 or 1.
struct Flags {
    handle: Handle,
    channels: [ChannelId; BITS.len()],
}

impl Flags {
    fn discover(root: &Root, catalogue: &mut Catalogue) -> Option<Self> {
        let handle = root.open(FIRMWARE).ok()?;
        let channels = BITS.map(|(name, _)| {
            catalogue.gauge(entry(format!("throttle.{name}"), Scope::Machine, Class::Reported, FIRMWARE))
        });
        Some(Self { handle, channels })
    }
}

impl Source for Flags {
    fn channels(&self) -> Vec<ChannelId> {
        self.channels.to_vec()
    }

    fn read(&mut self, values: &mut Vec<(ChannelId, Value)>) {
        let mut buffer = [0; 32];
        let mask = self.handle.read(&mut buffer).and_then(|text| mask(text).ok_or(ReasonCode::Implausible));
        for (&channel, (_, bit)) in self.channels.iter().zip(BITS) {
            let value = mask.map_or_else(Value::Absent, |mask| Value::Present(f64::from(mask >> bit & 1)));
            values.push((channel, value));
        }
    }
}

fn mask(text: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(text).ok()?.trim();
    u32::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16).ok()
}
