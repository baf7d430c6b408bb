//! Kinds of cores: P and E on x86, the parts of big.LITTLE on Arm.

use std::collections::BTreeMap;

use slmscope_profiles::doctor::CoreKind;

use crate::machine::root::Root;
use crate::machine::topology;

/// `/proc/cpuinfo` of a large machine; 2 KiB per CPU are usual on x86.
const CPUINFO_CAP: usize = 1 << 20;

/// Arm's part numbers, with the implementer's: https://developer.arm.com, "MIDR_EL1" of each core's manual.
const PARTS: [(u32, u32, &str); 27] = [
    (0x41, 0xd03, "Cortex-A53"),
    (0x41, 0xd04, "Cortex-A35"),
    (0x41, 0xd05, "Cortex-A55"),
    (0x41, 0xd07, "Cortex-A57"),
    (0x41, 0xd08, "Cortex-A72"),
    (0x41, 0xd09, "Cortex-A73"),
    (0x41, 0xd0a, "Cortex-A75"),
    (0x41, 0xd0b, "Cortex-A76"),
    (0x41, 0xd0c, "Neoverse-N1"),
    (0x41, 0xd0d, "Cortex-A77"),
    (0x41, 0xd40, "Neoverse-V1"),
    (0x41, 0xd41, "Cortex-A78"),
    (0x41, 0xd42, "Cortex-A78AE"),
    (0x41, 0xd44, "Cortex-X1"),
    (0x41, 0xd46, "Cortex-A510"),
    (0x41, 0xd47, "Cortex-A710"),
    (0x41, 0xd48, "Cortex-X2"),
    (0x41, 0xd49, "Neoverse-N2"),
    (0x41, 0xd4d, "Cortex-A715"),
    (0x41, 0xd4e, "Cortex-X3"),
    (0x41, 0xd4f, "Neoverse-V2"),
    (0x41, 0xd80, "Cortex-A520"),
    (0x41, 0xd81, "Cortex-A720"),
    (0x41, 0xd82, "Cortex-X4"),
    (0x41, 0xd85, "Cortex-X925"),
    (0x41, 0xd87, "Cortex-A725"),
    (0x4e, 0x004, "Carmel"),
];

/// The kinds, the most capable first. Empty where neither the kernel nor `/proc/cpuinfo` tells them apart.
pub(crate) fn kinds(root: &Root) -> Vec<CoreKind> {
    let mut kinds = hybrid(root);
    if kinds.is_empty() {
        kinds = parts(root);
    }
    if kinds.is_empty() {
        kinds = capacities(root);
    }
    for kind in &mut kinds {
        kind.capacity = kind.cpus.first().and_then(|&cpu| capacity(root, cpu));
    }
    kinds.sort_by_key(|kind| std::cmp::Reverse(kind.capacity));
    kinds
}

/// Intel's two kinds, which have a PMU each.
fn hybrid(root: &Root) -> Vec<CoreKind> {
    let cpus = |pmu: &str| {
        ["sys/devices", "sys/bus/event_source/devices"]
            .iter()
            .find_map(|folder| root.text(&format!("{folder}/{pmu}/cpus")).ok())
            .map(|text| topology::parse_list(&text).into_iter().collect::<Vec<_>>())
    };
    [("cpu_core", "P-core"), ("cpu_atom", "E-core")]
        .into_iter()
        .filter_map(|(pmu, name)| Some(CoreKind { name: name.to_owned(), cpus: cpus(pmu)?, capacity: None }))
        .filter(|kind| !kind.cpus.is_empty())
        .collect()
}

/// By the part numbers in `/proc/cpuinfo`.
fn parts(root: &Root) -> Vec<CoreKind> {
    let bytes = root.read("proc/cpuinfo", CPUINFO_CAP).unwrap_or_default();
    let mut kinds: Vec<CoreKind> = Vec::new();
    for (cpu, name) in part_names(&String::from_utf8_lossy(&bytes)) {
        match kinds.iter_mut().find(|kind| kind.name == name) {
            Some(kind) => kind.cpus.push(cpu),
            None => kinds.push(CoreKind { name, cpus: vec![cpu], capacity: None }),
        }
    }
    kinds
}

fn part_names(cpuinfo: &str) -> Vec<(u32, String)> {
    let (mut cpu, mut implementer) = (None, None);
    let mut names = Vec::new();
    for line in cpuinfo.lines() {
        let Some((key, value)) = line.split_once(':') else { continue };
        let hex = || u32::from_str_radix(value.trim().strip_prefix("0x")?, 16).ok();
        match key.trim() {
            "processor" => cpu = value.trim().parse().ok().filter(|&cpu: &u32| cpu < 8192),
            "CPU implementer" => implementer = hex(),
            "CPU part" => {
                if let (Some(cpu), Some(implementer), Some(part)) = (cpu, implementer, hex()) {
                    let known = PARTS.iter().find(|known| (known.0, known.1) == (implementer, part));
                    let name = known.map_or_else(
                        || format!("part {implementer:#x}/{part:#x}"),
                        |known| known.2.to_owned(),
                    );
                    names.push((cpu, name));
                }
            }
            _ => {}
        }
    }
    names
}

/// By speed alone, where there is more than one.
fn capacities(root: &Root) -> Vec<CoreKind> {
    let mut by_speed: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for cpu in topology::present(root) {
        if let Some(capacity) = capacity(root, cpu) {
            by_speed.entry(capacity).or_default().push(cpu);
        }
    }
    if by_speed.len() < 2 {
        return Vec::new();
    }
    let kind = |(capacity, cpus)| CoreKind { name: format!("capacity {capacity}"), cpus, capacity: None };
    by_speed.into_iter().map(kind).collect()
}

fn capacity(root: &Root, cpu: u32) -> Option<u32> {
    let value = root.integer(&format!("sys/devices/system/cpu/cpu{cpu}/cpu_capacity")).ok()?;
    u32::try_from(value).ok().filter(|&capacity| (1..=1024).contains(&capacity))
}

#[cfg(test)]
mod tests {
    use super::part_names;

    #[test]
    fn parts_are_named_by_both_numbers() {
        let text = "processor : 0\nCPU implementer : 0x41\nCPU part : 0xd0b\n\nprocessor : 1\n\
            CPU implementer : 0x61\nCPU part : 0x022\n\nprocessor : x\nCPU part : 0xd0b\n";
        let names = part_names(text);
        assert_eq!(names[0], (0, "Cortex-A76".to_owned()));
        assert_eq!(names[1], (1, "part 0x61/0x22".to_owned()));
        assert_eq!(names.len(), 2);
    }

    #[test]
    fn noise_is_refused() {
        crate::tests::noise::against(b"processor : 0\nCPU implementer : 0x41\nCPU part : 0xd0b\n", |text| {
            let names = part_names(&String::from_utf8_lossy(text));
            assert!(names.iter().all(|(cpu, _)| *cpu < 8192));
        });
    }
}
