//! Bytes that cross the memory controllers, from their performance counters: of all CPUs and devices.
//!
//! The scale is read from the event's `.scale` and `.unit`. If the kernel states neither, the table's figure is
//! used: the line or beat that the hardware's manual names.

use slmscope_profiles::channel::{ChannelId, Class, Quantity, Reason, ReasonCode, Scope, Unit, Value};

use super::controllers::{CONTROLLERS, Controller, GRACE_WRITES, UNSIZED, Zen};
use super::pmu::{Described, Pmu, names};
use super::{Group, Target, Total, refusal};
use crate::catalogue::{Catalogue, Entry};
use crate::machine::root::Root;
use crate::source::Source;
use crate::sources::memory::membw::no_counters;

/// Counters that are opened at most; a machine with two sockets has some fifty.
const MAX_GROUPS: usize = 256;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Read,
    Write,
    Both,
}

/// An event of one PMU with its scale.
#[derive(Debug, Clone, PartialEq)]
struct Counter {
    way: Way,
    described: Described,
    bytes: f64,
}

/// Where it was searched for, and why it is absent.
pub(crate) type Refused = (String, Reason);

/// Enters `membw.dram` and, where they are counted apart, its reads and writes.
///
/// # Errors
/// Why there are none; the catalogue is then left alone.
pub(crate) fn discover(root: &Root, catalogue: &mut Catalogue) -> Result<Box<dyn Source>, Refused> {
    let pmus = names(root);
    let mut refused = None;
    for controller in &CONTROLLERS {
        let found = find(root, controller, &pmus);
        let Some((first, _)) = found.first() else { continue };
        let source = format!("/sys/bus/event_source/devices/{}", first.name);
        if !root.is_live() {
            let detail = format!("a captured tree has no counters to open; {} would count", first.name);
            refused.get_or_insert((source, Reason::new(ReasonCode::NoSuchInterface, detail)));
            continue;
        }
        match open(&found) {
            Ok(groups) => return Ok(enter(groups, &source, catalogue)),
            Err(errno) => {
                refused.get_or_insert((source, refusal(&first.name, errno)));
            }
        }
    }
    Err(refused
        .or_else(|| unsized_pmu(&pmus))
        .unwrap_or_else(|| ("/sys/bus/event_source/devices".to_owned(), no_counters(root))))
}

fn unsized_pmu(pmus: &[String]) -> Option<Refused> {
    let name = pmus.iter().find(|name| UNSIZED.iter().any(|prefix| name.starts_with(prefix)))?;
    let detail = format!("{name} counts accesses of a size that neither the kernel nor its manual states");
    let source = format!("/sys/bus/event_source/devices/{name}");
    Some((source, Reason::new(ReasonCode::NotSupported, detail)))
}

/// The PMUs of one kind with the counters that they have.
fn find(root: &Root, controller: &Controller, pmus: &[String]) -> Vec<(Pmu, Vec<Counter>)> {
    let fits = |name: &&String| {
        name.starts_with(controller.prefix) && controller.not.is_none_or(|not| !name.starts_with(not))
    };
    if !controller.zens.is_empty() && !zen(root).is_some_and(|zen| controller.zens.contains(&zen)) {
        return Vec::new();
    }
    pmus.iter()
        .filter(fits)
        .filter_map(|name| Pmu::find(root, name).ok())
        .filter(|pmu| {
            let is = |model: &str| pmu.identifier(root).is_some_and(|own| own.eq_ignore_ascii_case(model));
            controller.model.is_none_or(is)
        })
        .map(|pmu| {
            let counters = counters(root, controller, &pmu);
            (pmu, counters)
        })
        .filter(|(pmu, counters)| !counters.is_empty() && !pmu.cpus.is_empty())
        .collect()
}

fn counters(root: &Root, controller: &Controller, pmu: &Pmu) -> Vec<Counter> {
    let set = |sets: &[&[&str]], way| {
        sets.iter()
            .map(|set| {
                set.iter().filter_map(|event| counter(root, controller, pmu, event, way)).collect::<Vec<_>>()
            })
            .find(|set| !set.is_empty())
            .unwrap_or_default()
    };
    let mut counters = set(controller.read, Way::Read);
    counters.extend(set(controller.write, Way::Write));
    if controller.prefix == GRACE_WRITES.0
        && let Some(described) = pmu.event(root, GRACE_WRITES.1)
    {
        counters.push(Counter { way: Way::Write, described, bytes: 1.0 });
    }
    if counters.is_empty() { set(controller.total, Way::Both) } else { counters }
}

fn counter(root: &Root, controller: &Controller, pmu: &Pmu, event: &str, way: Way) -> Option<Counter> {
    // Terms alone, where the kernel has no name for the event.
    let described = if event.split(',').next().is_some_and(|first| first.contains('=')) {
        Described { event: pmu.encode(root, event)?, scale: None, unit: None }
    } else {
        pmu.event(root, event)?
    };
    let bytes = bytes_per_count(&described).or(controller.bytes)?;
    Some(Counter { way, described, bytes })
}

/// Bytes per count. Some drivers write MB and scale by 2⁻²⁰: a count is then a whole number of bytes.
fn bytes_per_count(described: &Described) -> Option<f64> {
    let scale = described.scale?;
    let unit = match described.unit.as_deref()? {
        "MiB" => 1_048_576.0,
        "KiB" => 1024.0,
        "MB" => {
            let binary = scale * 1_048_576.0;
            if (binary - binary.round()).abs() < 1e-6 && binary > 0.5 { 1_048_576.0 } else { 1e6 }
        }
        "Bytes" | "B" => 1.0,
        _ => return None,
    };
    Some(scale * unit)
}

/// The generation, which decides what AMD's bare event numbers mean.
fn zen(root: &Root) -> Option<Zen> {
    let text = root.text("proc/cpuinfo").ok().filter(|text| text.contains("AuthenticAMD"))?;
    let number = |wanted: &str| {
        let mut fields = text.lines().filter_map(|line| line.split_once(':'));
        fields.find(|(key, _)| key.trim() == wanted)?.1.trim().parse().ok()
    };
    Zen::of(number("cpu family")?, number("model")?)
}

struct Open {
    group: Group,
    /// Per event of the group.
    counters: Vec<(Way, f64, Total)>,
}

/// One group for each PMU and CPU. Where a PMU cannot run them together, one for each event: they take turns.
fn open(found: &[(Pmu, Vec<Counter>)]) -> Result<Vec<Open>, rustix::io::Errno> {
    let mut groups = Vec::new();
    for (pmu, counters) in found {
        for &cpu in &pmu.cpus {
            let open = |counters: &[Counter]| {
                let events: Vec<_> = counters.iter().map(|counter| counter.described.event).collect();
                let group = Group::open(&events, Target::Cpu(cpu))?;
                let counters = counters.iter().map(|c| (c.way, c.bytes, Total::default())).collect();
                Ok::<_, rustix::io::Errno>(Open { group, counters })
            };
            match open(counters) {
                Ok(group) => groups.push(group),
                Err(rustix::io::Errno::INVAL) if counters.len() > 1 => {
                    for counter in counters {
                        groups.push(open(std::slice::from_ref(counter))?);
                    }
                }
                Err(errno) => return Err(errno),
            }
            if groups.len() > MAX_GROUPS {
                return Err(rustix::io::Errno::MFILE);
            }
        }
    }
    Ok(groups)
}

fn enter(groups: Vec<Open>, source: &str, catalogue: &mut Catalogue) -> Box<dyn Source> {
    let mut add = |id: &str, class| {
        let entry = Entry {
            id: format!("{id}.bytes"),
            quantity: Quantity::MemoryBandwidth,
            unit: Unit::Bytes,
            scope: Scope::Dram,
            class,
            source: source.to_owned(),
            group: crate::source::Group::Medium,
        };
        let channel = catalogue.counter(entry, None);
        catalogue.rate(id, channel, Quantity::MemoryBandwidth, Unit::BytesPerSecond);
        channel
    };
    let has = |way| groups.iter().any(|open| open.counters.iter().any(|(counted, ..)| *counted == way));
    let apart = has(Way::Read) && has(Way::Write);
    let total = add("membw.dram", Class::Measured);
    let ways = if apart {
        vec![
            (Way::Read, add("membw.dram.read", Class::Measured)),
            (Way::Write, add("membw.dram.write", Class::Measured)),
        ]
    } else {
        Vec::new()
    };
    Box::new(Dram { groups, total, ways })
}

struct Dram {
    groups: Vec<Open>,
    total: ChannelId,
    ways: Vec<(Way, ChannelId)>,
}

impl Source for Dram {
    fn channels(&self) -> Vec<ChannelId> {
        std::iter::once(self.total).chain(self.ways.iter().map(|&(_, channel)| channel)).collect()
    }

    fn read(&mut self, values: &mut Vec<(ChannelId, Value)>) {
        let (mut read, mut write, mut both) = (0.0, 0.0, 0.0);
        let mut failed = None;
        for open in &mut self.groups {
            match open.group.read() {
                Ok(counts) => {
                    for (event, (way, bytes, total)) in open.counters.iter_mut().enumerate() {
                        match total.add(&counts, event) {
                            Ok(count) => match way {
                                Way::Read => read += count * *bytes,
                                Way::Write => write += count * *bytes,
                                Way::Both => both += count * *bytes,
                            },
                            Err(code) => failed = Some(code),
                        }
                    }
                }
                Err(code) => failed = Some(code),
            }
        }
        // Part of the channels is not the machine.
        let value = |bytes: f64| failed.map_or(Value::Present(bytes), Value::Absent);
        values.push((self.total, value(read + write + both)));
        values.extend(
            self.ways
                .iter()
                .map(|&(way, channel)| (channel, value(if way == Way::Read { read } else { write }))),
        );
    }
}

#[cfg(test)]
mod tests;
