//! Thermal throttling: the event counters of x86, the flags of the Raspberry Pi's firmware, cooling devices of
//! the CPUs. Over-current events and alarms are entered with their monitors.
//!
//! The threads of a core repeat its counter and all cores of a package repeat the package's, so the first thread
//! of each core and of each package is listed. Counters and flags since boot are counters; a gauge above zero
//! means now.

use std::collections::BTreeMap;

use slmscope_profiles::channel::{ChannelId, Class, Quantity, ReasonCode, Scope, Unit, Value, id_part};

use crate::catalogue::{Catalogue, Entry, missing};
use crate::machine::root::{Handle, Root};
use crate::machine::topology;
use crate::source::{Group, Source};
use crate::sources::files::{self, Files, Kind, Limits, Slot, scaled};

pub(crate) const FIRMWARE: &str = "sys/devices/platform/soc/soc:firmware/get_throttled";

const CPU: &str = "sys/devices/system/cpu";

const COOLING: &str = "sys/class/thermal";

/// Enters what this machine has, or a row without a value where it has nothing.
pub(crate) fn discover(root: &Root, catalogue: &mut Catalogue) -> Vec<Box<dyn Source>> {
    let mut sources: Vec<Box<dyn Source>> = Vec::new();
    sources.extend(Files::boxed(root, counters(root, catalogue)));
    sources.extend(Files::boxed(root, cooling(root, catalogue)));
    if let Some(flags) = Flags::discover(root, catalogue) {
        sources.push(Box::new(flags));
    }
    if sources.is_empty() {
        let reason = missing("this platform has no throttle counters and no firmware flags");
        let channel = ("throttle.cpu", Quantity::Throttle, Unit::Count, Scope::Machine);
        catalogue.absent(channel, "", reason);
    }
    sources
}

fn entry(id: String, scope: Scope, class: Class, path: &str) -> Entry {
    let source = format!("/{path}");
    Entry { id, quantity: Quantity::Throttle, unit: Unit::Count, scope, class, source, group: Group::Slow }
}

/// Events and seconds of throttling, of each core and of each package.
fn counters(root: &Root, catalogue: &mut Catalogue) -> Vec<Slot> {
    let firsts = topology::first_threads(root);
    let cpus = if firsts.is_empty() { topology::present(root) } else { firsts };
    let mut packages: BTreeMap<i64, u32> = BTreeMap::new();
    for &cpu in &cpus {
        packages.entry(topology::package(root, cpu).unwrap_or(0)).or_insert(cpu);
    }
    let mut slots = Vec::new();
    let mut add = |id: String, scope: Scope, cpu: u32, name: &str| {
        let path = format!("{CPU}/cpu{cpu}/thermal_throttle/{name}_throttle_count");
        let time = format!("{CPU}/cpu{cpu}/thermal_throttle/{name}_throttle_total_time_ms");
        for (path, id, unit, factor) in
            [(path, id.clone(), Unit::Count, 1.0), (time, format!("{id}.time"), Unit::Seconds, 1e-3)]
        {
            if root.exists(&path) {
                let entry = Entry { unit, ..entry(id, scope.clone(), Class::Measured, &path) };
                let how = (scaled(factor), Limits::new(0.0, 1e15));
                slots.extend(files::enter(root, catalogue, entry, Kind::Counter(None), &path, how, None));
            }
        }
    };
    for (package, cpu) in packages {
        add(format!("throttle.package-{package}"), Scope::Package, cpu, "package");
    }
    for cpu in cpus {
        add(format!("throttle.cpu{cpu}.core"), Scope::CpuN(cpu), cpu, "core");
    }
    slots
}

/// Beginnings of the types of cooling devices that slow a CPU or a GPU down. Fans and what a user switches on
/// (`intel_powerclamp`, `TCC Offset`) are none.
const SLOWING: [&str; 5] = ["Processor", "cpufreq-", "thermal-cpufreq-", "devfreq-", "thermal-devfreq-"];

/// Cooling devices that are listed; a server has one for every CPU.
const MAX_COOLING: usize = 64;

/// How far each of them slows down at this moment: a step, 0 is not at all.
fn cooling(root: &Root, catalogue: &mut Catalogue) -> Vec<Slot> {
    let mut slots = Vec::new();
    for device in root.list(COOLING).unwrap_or_default() {
        let folder = format!("{COOLING}/{device}");
        let Ok(kind) = root.text(&format!("{folder}/type")) else { continue };
        if !device.starts_with("cooling_device") || !SLOWING.iter().any(|begin| kind.starts_with(begin)) {
            continue;
        }
        let path = format!("{folder}/cur_state");
        let entry =
            entry(format!("throttle.cooling.{}", id_part(&kind)), Scope::Machine, Class::Measured, &path);
        let how = (scaled(1.0), Limits::new(0.0, 1e4));
        slots.extend(files::enter(root, catalogue, entry, Kind::Gauge, &path, how, None));
        if slots.len() >= MAX_COOLING {
            break;
        }
    }
    slots
}

/// What each of the firmware's low bits means: the state at this moment.
const BITS: [(&str, u32); 4] = [("under_voltage", 0), ("capped", 1), ("throttled", 2), ("soft_limit", 3)];

/// Distance of each bit's sticky twin.
const SINCE_BOOT: u32 = 16;

/// The bit mask of the Raspberry Pi's firmware, in hexadecimal; each bit is a channel of 0 or 1.
struct Flags {
    handle: Handle,
    channels: [ChannelId; BITS.len()],
    /// The same since boot, as counters that can only go from 0 to 1.
    since_boot: [ChannelId; BITS.len()],
}

impl Flags {
    fn discover(root: &Root, catalogue: &mut Catalogue) -> Option<Self> {
        let handle = root.open(FIRMWARE).ok()?;
        let channels = BITS.map(|(name, _)| {
            catalogue.gauge(entry(format!("throttle.{name}"), Scope::Machine, Class::Reported, FIRMWARE))
        });
        let since_boot = BITS.map(|(name, _)| {
            let id = format!("throttle.{name}.since_boot");
            catalogue.counter(entry(id, Scope::Machine, Class::Reported, FIRMWARE), None)
        });
        Some(Self { handle, channels, since_boot })
    }
}

impl Source for Flags {
    fn channels(&self) -> Vec<ChannelId> {
        [self.channels, self.since_boot].concat()
    }

    fn read(&mut self, values: &mut Vec<(ChannelId, Value)>) {
        let mut buffer = [0; 32];
        let mask = self.handle.read(&mut buffer).and_then(|text| mask(text).ok_or(ReasonCode::Implausible));
        let bit =
            |bit: u32| mask.map_or_else(Value::Absent, |mask| Value::Present(f64::from(mask >> bit & 1)));
        for (at, (_, number)) in BITS.into_iter().enumerate() {
            values.extend(self.channels.get(at).map(|&channel| (channel, bit(number))));
            values.extend(self.since_boot.get(at).map(|&channel| (channel, bit(number + SINCE_BOOT))));
        }
    }
}

fn mask(text: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(text).ok()?.trim();
    u32::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16).ok()
}
