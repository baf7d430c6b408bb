//! Kinds of cores: P and E on x86, the parts of big.LITTLE on Arm.

use std::collections::BTreeMap;

use slmscope_profiles::doctor::CoreKind;

use crate::machine::root::Root;
use crate::machine::topology;

/// `/proc/cpuinfo` of a large machine; 2 KiB per CPU are usual on x86.
const CPUINFO_CAP: usize = 1 << 20;

/// Arm's part numbers, with the implementer's: https://developer.arm.com, "MIDR_EL1" of each core's manual; those of
/// Apple and Qualcomm: the kernel's arch/arm64/include/asm/cputype.h.
const PARTS: &[(u32, u32, &str)] = &[
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
    (0x41, 0xd4b, "Cortex-A78C"),
    (0x41, 0xd4c, "Cortex-X1C"),
    (0x41, 0xd84, "Neoverse-V3"),
    (0x4e, 0x004, "Carmel"),
    (0x51, 0x001, "Oryon"),
    (0x61, 0x022, "Icestorm (M1)"),
    (0x61, 0x023, "Firestorm (M1)"),
    (0x61, 0x024, "Icestorm (M1 Pro)"),
    (0x61, 0x025, "Firestorm (M1 Pro)"),
    (0x61, 0x028, "Icestorm (M1 Max)"),
    (0x61, 0x029, "Firestorm (M1 Max)"),
    (0x61, 0x032, "Blizzard (M2)"),
    (0x61, 0x033, "Avalanche (M2)"),
    (0x61, 0x034, "Blizzard (M2 Pro)"),
    (0x61, 0x035, "Avalanche (M2 Pro)"),
    (0x61, 0x038, "Blizzard (M2 Max)"),
    (0x61, 0x039, "Avalanche (M2 Max)"),
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
    let clock = |kind: &CoreKind| kind.cpus.first().and_then(|&cpu| highest_clock(root, cpu));
    kinds.sort_by_cached_key(|kind| std::cmp::Reverse((kind.capacity, clock(kind))));
    kinds
}

/// What the kernel calls the PMU of each kind of Intel's cores, and what Intel calls the kind:
/// arch/x86/events/intel/core.c, `intel_hybrid_pmu_type_map`.
const HYBRID: [(&str, &str); 3] = [("core", "P-core"), ("atom", "E-core"), ("lowpower", "LP E-core")];

/// Cores of one PMU whose highest clock is below this share of the fastest are another kind: Meteor Lake's E-cores
/// reach 3.8 GHz and those on its other die 2.5 GHz. Favoured cores of one kind differ by some percent.
const SLOWER: f64 = 0.8;

/// Intel's kinds, which have a PMU each, `cpu_*`.
fn hybrid(root: &Root) -> Vec<CoreKind> {
    let mut kinds: Vec<CoreKind> = Vec::new();
    for folder in ["sys/devices", "sys/bus/event_source/devices"] {
        for device in root.list(folder).unwrap_or_default() {
            let Some(suffix) = device.strip_prefix("cpu_") else { continue };
            let Ok(text) = root.text(&format!("{folder}/{device}/cpus")) else { continue };
            let cpus: Vec<u32> = topology::parse_list(&text).into_iter().collect();
            let known = HYBRID.iter().find(|(pmu, _)| *pmu == suffix).map(|(_, name)| *name);
            let name = known.unwrap_or(suffix);
            if cpus.is_empty() || kinds.iter().any(|kind| kind.name == name) {
                continue;
            }
            let (fast, slow) = by_clock(root, cpus);
            kinds.push(CoreKind { name: name.to_owned(), cpus: fast, capacity: None });
            if !slow.is_empty() {
                kinds.push(CoreKind { name: format!("LP {name}"), cpus: slow, capacity: None });
            }
        }
    }
    let place = |kind: &CoreKind| HYBRID.iter().position(|(_, name)| *name == kind.name);
    kinds.sort_by_key(|kind| place(kind).unwrap_or(HYBRID.len()));
    kinds
}

/// Those that are about as fast as the fastest, and the others.
fn by_clock(root: &Root, cpus: Vec<u32>) -> (Vec<u32>, Vec<u32>) {
    let most = cpus.iter().filter_map(|&cpu| highest_clock(root, cpu)).max();
    let is_slow = |cpu: &u32| match (highest_clock(root, *cpu), most) {
        (Some(clock), Some(most)) => (clock as f64) < most as f64 * SLOWER,
        _ => false,
    };
    let (slow, fast) = cpus.into_iter().partition(is_slow);
    (fast, slow)
}

/// kHz.
fn highest_clock(root: &Root, cpu: u32) -> Option<i64> {
    root.integer(&format!("sys/devices/system/cpu/cpu{cpu}/cpufreq/cpuinfo_max_freq")).ok()
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
            // RISC-V: `sifive,u74-mc`.
            "uarch" => names.extend(cpu.map(|cpu| (cpu, value.trim().to_owned()))),
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
    use super::*;
    use crate::tests::Board;

    /// Arrow Lake H has three kinds, and Meteor Lake hides the third in the PMU of the second.
    #[test]
    fn a_third_kind_of_core_has_a_row_of_its_own() {
        let names = |board: &Board| {
            kinds(&board.root()).into_iter().map(|kind| (kind.name, kind.cpus)).collect::<Vec<_>>()
        };
        let kind = |name: &str, cpus: &[u32]| (name.to_owned(), cpus.to_vec());
        let board = Board::new(&[
            ("sys/bus/event_source/devices/cpu_core/cpus", "0-1"),
            ("sys/bus/event_source/devices/cpu_atom/cpus", "2-3"),
            ("sys/bus/event_source/devices/cpu_lowpower/cpus", "4"),
        ]);
        for (cpu, khz) in [(0, "5400000"), (1, "5200000"), (2, "4500000"), (3, "4500000"), (4, "2500000")] {
            board.set(&format!("sys/devices/system/cpu/cpu{cpu}/cpufreq/cpuinfo_max_freq"), khz);
        }
        assert_eq!(
            names(&board),
            [kind("P-core", &[0, 1]), kind("E-core", &[2, 3]), kind("LP E-core", &[4])]
        );
        let board = Board::new(&[
            ("sys/devices/cpu_core/cpus", "0-1"),
            ("sys/devices/cpu_atom/cpus", "2-5"),
            ("sys/devices/system/cpu/cpu2/cpufreq/cpuinfo_max_freq", "3800000"),
            ("sys/devices/system/cpu/cpu3/cpufreq/cpuinfo_max_freq", "3800000"),
            ("sys/devices/system/cpu/cpu4/cpufreq/cpuinfo_max_freq", "2500000"),
            ("sys/devices/system/cpu/cpu5/cpufreq/cpuinfo_max_freq", "2500000"),
            ("sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq", "4800000"),
            ("sys/devices/system/cpu/cpu1/cpufreq/cpuinfo_max_freq", "4500000"),
        ]);
        assert_eq!(
            names(&board),
            [kind("P-core", &[0, 1]), kind("E-core", &[2, 3]), kind("LP E-core", &[4, 5])]
        );
    }

    #[test]
    fn parts_are_named_by_both_numbers() {
        let text = "processor : 0\nCPU implementer : 0x41\nCPU part : 0xd0b\n\nprocessor : 1\n\
            CPU implementer : 0x70\nCPU part : 0x022\n\nprocessor : x\nCPU part : 0xd0b\n";
        let names = part_names(text);
        assert_eq!(names[0], (0, "Cortex-A76".to_owned()));
        assert_eq!(names[1], (1, "part 0x70/0x22".to_owned()));
        assert_eq!(names.len(), 2);
        let riscv = "processor\t: 1\nhart\t\t: 2\nuarch\t\t: sifive,u74-mc\n";
        assert_eq!(part_names(riscv), [(1, "sifive,u74-mc".to_owned())]);
    }

    #[test]
    fn noise_is_refused() {
        crate::tests::noise::against(b"processor : 0\nCPU implementer : 0x41\nCPU part : 0xd0b\n", |text| {
            let names = part_names(&String::from_utf8_lossy(text));
            assert!(names.iter().all(|(cpu, _)| *cpu < 8192));
        });
    }
}
