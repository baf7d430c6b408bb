//! What identifies this machine.

use slmscope_profiles::host::Host;
use sysinfo::{CpuRefreshKind, MemoryRefreshKind, RefreshKind, System};

use crate::machine::root::Root;
use crate::machine::{board, caches, cores, topology};

/// Describes the machine we run on, without its name: this is part of what people send to others.
pub fn describe(root: &Root) -> Host {
    let wanted = RefreshKind::nothing()
        .with_cpu(CpuRefreshKind::nothing())
        .with_memory(MemoryRefreshKind::nothing().with_ram());
    let system = System::new_with_specifics(wanted).ok();
    let cpus = system.as_ref().map_or(&[][..], System::cpus);
    let brand = cpus.first().map(|cpu| cpu.brand().trim().to_owned());
    let online = root.text("sys/devices/system/cpu/online").map(|text| topology::parse_list(&text).len());
    let cores = topology::first_threads(root).len();
    Host {
        name: None,
        os: System::long_os_version().ok(),
        kernel: System::kernel_version().ok(),
        arch: std::env::consts::ARCH.to_owned(),
        board: board::name(root),
        cpu_model: brand.filter(|brand| !brand.is_empty()),
        logical_cpus: online.unwrap_or(cpus.len()) as u32,
        physical_cores: (cores > 0).then_some(cores as u32),
        memory_bytes: system.as_ref().map(System::total_memory).filter(|&bytes| bytes > 0),
        virtualised: hypervisor(root),
        // One kind is no kind.
        core_kinds: Some(cores::kinds(root)).filter(|kinds| kinds.len() > 1).unwrap_or_default(),
        caches: caches::read(root),
    }
}

/// The machine's name on its network; `None` where it has none.
pub fn name(root: &Root) -> Option<String> {
    let name = root.text("proc/sys/kernel/hostname").ok()?;
    (!name.is_empty() && name != "(none)").then_some(name)
}

/// The hypervisor's name, where the CPU or the firmware reports one.
fn hypervisor(root: &Root) -> Option<String> {
    let flagged = || {
        let cpuinfo = root.read("proc/cpuinfo", 8192).ok()?;
        let text = String::from_utf8_lossy(&cpuinfo).into_owned();
        let flags = text.lines().find(|line| line.starts_with("flags"))?;
        flags.split_ascii_whitespace().any(|flag| flag == "hypervisor").then_some(())
    };
    if let Ok(kind) = root.text("sys/hypervisor/type") {
        return Some(kind);
    }
    flagged()?;
    let vendor = root.text("sys/class/dmi/id/sys_vendor").ok().filter(|vendor| !vendor.is_empty());
    Some(vendor.unwrap_or_else(|| "unknown".to_owned()))
}
