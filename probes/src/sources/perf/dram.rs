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
mod tests {
    use super::*;

    const PMUS: &str = "sys/bus/event_source/devices";

    fn tree(files: &[(&str, &str)]) -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let root = Root::tree(dir.path()).unwrap();
        (dir, root)
    }

    fn found(root: &Root) -> Vec<(String, Vec<(Way, f64)>)> {
        let pmus = names(root);
        let of = |controller| find(root, controller, &pmus);
        let all = CONTROLLERS.iter().flat_map(of);
        all.map(|(pmu, counters)| (pmu.name, counters.iter().map(|c| (c.way, c.bytes)).collect())).collect()
    }

    #[test]
    fn the_scale_is_read_and_not_assumed() {
        let described = |scale: f64, unit: &str| Described {
            event: super::super::Event::default(),
            scale: Some(scale),
            unit: Some(unit.to_owned()),
        };
        assert_eq!(bytes_per_count(&described(6.103_515_625e-5, "MiB")), Some(64.0));
        assert!((bytes_per_count(&described(9.536_743_164e-7, "MB")).unwrap() - 1.0).abs() < 1e-6);
        assert!((bytes_per_count(&described(6.4e-5, "MB")).unwrap() - 64.0).abs() < 1e-9);
        assert_eq!(bytes_per_count(&described(1.0, "furlongs")), None);
    }

    #[test]
    fn each_kind_of_controller_is_found_with_its_events() {
        let event = |pmu: &str, event: &str| format!("{PMUS}/{pmu}/events/{event}");
        let ty = |pmu: &str| format!("{PMUS}/{pmu}/type");
        let format = |pmu: &str, term: &str| format!("{PMUS}/{pmu}/format/{term}");
        let files = [
            (ty("uncore_imc_free_running_0"), "30"),
            (event("uncore_imc_free_running_0", "data_read"), "event=0xff,umask=0x20"),
            (event("uncore_imc_free_running_0", "data_read.scale"), "6.103515625e-5"),
            (event("uncore_imc_free_running_0", "data_read.unit"), "MiB"),
            (event("uncore_imc_free_running_0", "data_total"), "event=0xff,umask=0x10"),
            (format("uncore_imc_free_running_0", "event"), "config:0-7"),
            (format("uncore_imc_free_running_0", "umask"), "config:8-15"),
            (ty("nvidia_scf_pmu_0"), "31"),
            (event("nvidia_scf_pmu_0", "cmem_rd_data"), "event=0x1a5"),
            (event("nvidia_scf_pmu_0", "cmem_wr_total_bytes"), "event=0x1a2"),
            (format("nvidia_scf_pmu_0", "event"), "config:0-63"),
            (ty("arm_cmn_0"), "32"),
            (event("arm_cmn_0", "hnf_mc_reqs"), "type=0x5,eventid=0xd"),
            (format("arm_cmn_0", "type"), "config:0-15"),
            (format("arm_cmn_0", "eventid"), "config:16-26"),
            (ty("imx8_ddr0"), "33"),
            (event("imx8_ddr0", "read-cycles"), "event=0x2a"),
            (format("imx8_ddr0", "event"), "config:0-7"),
        ];
        let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), *text)).collect();
        let (_dir, root) = tree(&files);
        let found = found(&root);
        assert_eq!(
            found,
            [
                ("uncore_imc_free_running_0".to_owned(), vec![(Way::Read, 64.0)]),
                ("nvidia_scf_pmu_0".to_owned(), vec![(Way::Read, 32.0), (Way::Write, 1.0)]),
                ("arm_cmn_0".to_owned(), vec![(Way::Both, 64.0)]),
            ],
            "beats of unknown width are not counted"
        );
        let mut catalogue = Catalogue::default();
        let refused = discover(&root, &mut catalogue).err().unwrap();
        assert_eq!(refused.1.code, ReasonCode::NoSuchInterface);
        assert!(refused.1.detail.contains("uncore_imc_free_running_0"));
        assert!(catalogue.finish().is_empty());
    }

    #[test]
    fn the_scale_depends_on_the_model_where_the_kernel_gives_one() {
        let board = |model: &str| {
            let file = |path: &str, text: &str| (format!("{PMUS}/imx8_ddr0/{path}"), text.to_owned());
            let files = [
                file("type", "33"),
                file("identifier", model),
                file("format/event", "config:0-7"),
                file("format/axi_mask", "config1:0-15"),
                file("format/axi_id", "config1:16-31"),
                file("events/read-cycles", "event=0x2a"),
                file("events/write-cycles", "event=0x2b"),
                file("events/axid-read", "event=0x41"),
            ];
            let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
            let (_dir, root) = tree(&files);
            let counters = found(&root);
            let refused = discover(&root, &mut Catalogue::default()).err().unwrap().1;
            (counters.into_iter().next().map(|(_, ways)| ways), refused.code)
        };
        let no_counter_in_a_tree = ReasonCode::NoSuchInterface;
        let cycles = |bytes| (Some(vec![(Way::Read, bytes), (Way::Write, bytes)]), no_counter_in_a_tree);
        assert_eq!(board("i.MX8MN\n"), cycles(8.0));
        assert_eq!(board("i.mx8mm"), cycles(16.0));
        assert_eq!(board("i.MX8MP"), (Some(vec![(Way::Read, 1.0)]), no_counter_in_a_tree));
        assert_eq!(board("i.MX8QM"), (None, ReasonCode::NotSupported));
    }

    #[test]
    fn filters_stand_behind_the_name_of_an_event() {
        let file = |path: &str, text: &str| (format!("{PMUS}/{path}"), text.to_owned());
        let files = [
            file("arm_dmc620_10008c000/type", "40"),
            file("arm_dmc620_10008c000/format/mask", "config:0-44"),
            file("arm_dmc620_10008c000/format/match", "config1:0-44"),
            file("arm_dmc620_10008c000/format/event", "config2:3-8"),
            file("arm_dmc620_10008c000/format/clkdiv2", "config2:9"),
            file("arm_dmc620_10008c000/events/clkdiv2_rdwr", "event=0x12,clkdiv2=0x1"),
            file("hisi_sccl1_ddrc0/type", "41"),
            file("hisi_sccl1_ddrc0/format/event", "config:0-4"),
            file("hisi_sccl1_ddrc0/events/flux_rd", "config=0x1"),
            file("hisi_sccl1_ddrc0/events/flux_wr", "config=0x0"),
            file("hisi_sccl1_l3c0/type", "42"),
            file("hisi_sccl1_l3c0/events/rd_hit_cpipe", "config=0x29"),
            file("nvidia_ucf_pmu_0/type", "43"),
            file("nvidia_ucf_pmu_0/format/event", "config:0-8"),
            file("nvidia_ucf_pmu_0/events/mem_bytes_rd", "event=0x123"),
            file("nvidia_ucf_pmu_0/events/mem_bytes_wr", "event=0x124"),
        ];
        let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        let (_dir, root) = tree(&files);
        let both = |bytes| vec![(Way::Read, bytes), (Way::Write, bytes)];
        assert_eq!(
            found(&root),
            [
                ("nvidia_ucf_pmu_0".to_owned(), both(1.0)),
                ("arm_dmc620_10008c000".to_owned(), both(64.0)),
                ("hisi_sccl1_ddrc0".to_owned(), both(32.0)),
            ]
        );
        let pmu = Pmu::find(&root, "arm_dmc620_10008c000").unwrap();
        let write = pmu.event(&root, "clkdiv2_rdwr,mask=0x1,match=0x1").unwrap().event;
        assert_eq!((write.config, write.config1, write.config2), (1, 1, 0x12 << 3 | 1 << 9));
    }

    #[test]
    fn bare_event_numbers_hold_for_their_processors_only() {
        let umc = [
            ("sys/bus/event_source/devices/amd_umc_0/type", "12"),
            ("sys/bus/event_source/devices/amd_umc_0/cpumask", "0"),
            ("sys/bus/event_source/devices/amd_umc_0/format/event", "config:0-7"),
            ("sys/bus/event_source/devices/amd_umc_0/format/rdwrmask", "config:8-9"),
        ];
        let df = [
            ("sys/bus/event_source/devices/amd_df/type", "13"),
            ("sys/bus/event_source/devices/amd_df/cpumask", "0"),
            ("sys/bus/event_source/devices/amd_df/format/event", "config:0-7,32-35"),
            ("sys/bus/event_source/devices/amd_df/format/umask", "config:8-15"),
        ];
        let of = |family: u32, model: u32| {
            let amd = format!(
                "vendor_id\t: AuthenticAMD\ncpu family\t: {family}\nmodel\t\t: {model}\nmodel name\t: 9\n"
            );
            let (_dir, root) = tree(&[&umc[..], &df, &[("proc/cpuinfo", &amd)]].concat());
            found(&root).into_iter().map(|(name, ways)| (name, ways.len())).collect::<Vec<_>>()
        };
        let (umc_pmu, df_pmu) = ([("amd_umc_0".to_owned(), 2)], [("amd_df".to_owned(), 8)]);
        // Rome, Milan, Vermeer, Cezanne; Genoa, Raphael, Bergamo, Turin, whose data fabric has other numbers.
        for (family, model) in [(23, 0x31), (25, 0x01), (25, 0x21), (25, 0x50)] {
            assert_eq!(of(family, model), df_pmu, "{family} {model:#x}");
        }
        for (family, model) in [(25, 0x11), (25, 0x61), (25, 0xa0), (26, 0x02)] {
            assert_eq!(of(family, model), umc_pmu, "{family} {model:#x}");
        }
        assert!(of(99, 1).is_empty());
    }
}
