//! The command that makes an absent channel available, right for this system.
//!
//! What a source can only say in general is said here for the distribution, the boot loader and the processor
//! at hand. Where a command would change nothing, there is none: a virtual machine has no sensors to load a
//! module for. In a container, devices and modules are the host's.

use slmscope_profiles::channel::{Channel, Class, Quantity, ReasonCode};

use crate::root::Root;
use crate::system::{Family, System, Vendor};

/// Sets the remedies of all channels that are unavailable. `group` is who may read afterwards.
pub(crate) fn complete(channels: &mut [Channel], root: &Root, group: &str) {
    let system = System::of(root);
    let nvidia = has_nvidia_card(root);
    for channel in channels.iter_mut().filter(|channel| channel.class == Class::Unavailable) {
        let Some(code) = channel.reason.as_ref().map(|reason| reason.code) else { continue };
        let known = match code {
            ReasonCode::Permission => permission(&channel.source, &system, group),
            ReasonCode::NoSuchInterface => missing(channel, &system, nvidia),
            ReasonCode::NotSupported if channel.quantity == Quantity::Pressure => {
                Known::Is(system.add_boot_word("psi=1"))
            }
            _ => Known::Nothing,
        };
        match known {
            Known::Is(remedy) => channel.remedy = Some(remedy),
            Known::None => channel.remedy = None,
            Known::Nothing => {}
        }
        if let Some(remedy) = channel.remedy.as_mut().filter(|_| system.container) {
            *remedy = format!("on the host of this container: {remedy}");
        }
    }
}

/// What is known of a remedy.
enum Known {
    /// This is it.
    Is(String),
    /// There is none, whatever the source says.
    None,
    /// No more than what the source says.
    Nothing,
}

fn permission(source: &str, system: &System, group: &str) -> Known {
    if source.contains("/powercap/") {
        return Known::Is(rapl(system, group));
    }
    if source.contains("/sys/kernel/debug") {
        return Known::Is(format!(
            "sudo chgrp {group} /sys/kernel/debug && sudo chmod 0750 /sys/kernel/debug (until the next boot; \
             whoever is in that group then sees all of debugfs)"
        ));
    }
    Known::Nothing
}

/// Energy counters are root's since Linux 5.10, because they leak what other users compute.
fn rapl(system: &System, group: &str) -> String {
    let rule = format!(
        "SUBSYSTEM==\"powercap\", KERNEL==\"intel-rapl*:*\", ACTION==\"add\", RUN+=\"/bin/chgrp {group} \
         /sys%p/energy_uj\", RUN+=\"/bin/chmod 0440 /sys%p/energy_uj\""
    );
    match system.family {
        Family::Nix => format!("services.udev.extraRules = ''{rule}''; in configuration.nix"),
        Family::Alpine => format!(
            "sudo chgrp {group} /sys/class/powercap/intel-rapl*:*/energy_uj && sudo chmod 0440 \
             /sys/class/powercap/intel-rapl*:*/energy_uj (in /etc/local.d/slmscope.start for every boot)"
        ),
        _ => format!(
            "echo '{rule}' | sudo tee /etc/udev/rules.d/70-slmscope-rapl.rules && sudo udevadm control \
             --reload && sudo udevadm trigger --action=add --subsystem-match=powercap"
        ),
    }
}

fn missing(channel: &Channel, system: &System, nvidia: bool) -> Known {
    let module = |name: &str| {
        Known::Is(format!(
            "sudo modprobe {name} && echo {name} | sudo tee /etc/modules-load.d/slmscope-{name}.conf"
        ))
    };
    match channel.quantity {
        // Only the row that stands for the whole family.
        Quantity::Energy if channel.id == "energy.package" => match system.vendor {
            Some(_) if !system.virtual_machine => module("intel_rapl_msr"),
            _ => Known::None,
        },
        Quantity::Temperature if channel.id == "temp.cpu" => match system.vendor {
            Some(Vendor::Intel) if !system.virtual_machine => module("coretemp"),
            Some(Vendor::Amd) if !system.virtual_machine => module("k10temp"),
            _ => Known::None,
        },
        Quantity::Fan if system.vendor.is_some() && !system.virtual_machine => {
            match system.install("lm-sensors", "lm_sensors", "lm_sensors", "sensors") {
                Some(install) => Known::Is(format!("{install} && sudo sensors-detect")),
                None => Known::Nothing,
            }
        }
        Quantity::Gpu if nvidia => {
            // Fedora's driver needs the RPM Fusion repository, Debian's the section non-free.
            match system.install(
                "nvidia-driver",
                "akmod-nvidia",
                "nvidia",
                "nvidia-open-driver-G06-signed-kmp",
            ) {
                Some(install) => Known::Is(install),
                None => Known::Nothing,
            }
        }
        _ => Known::Nothing,
    }
}

/// Whether a card of NVIDIA's is on the PCI bus: display controllers of vendor 10de.
fn has_nvidia_card(root: &Root) -> bool {
    const DEVICES: &str = "sys/bus/pci/devices";
    let devices = root.list(DEVICES).unwrap_or_default();
    devices.iter().any(|device| {
        let is = |file: &str, start: &str| {
            root.text(&format!("{DEVICES}/{device}/{file}")).is_ok_and(|text| text.starts_with(start))
        };
        is("vendor", "0x10de") && is("class", "0x03")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::{Catalogue, missing};
    use slmscope_profiles::channel::{Reason, Scope, Unit};

    /// The remedies of a tree for four absent channels: energy, an unreadable counter, pressure, GPU.
    fn remedies(files: &[(&str, &str)]) -> [Option<String>; 4] {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let mut catalogue = Catalogue::default();
        let mut absent = |id: &str, quantity, source: &str, reason| {
            catalogue.absent((id, quantity, Unit::Count, Scope::Machine), source, reason, None);
        };
        absent("energy.package", Quantity::Energy, "/sys/class/powercap", missing("none"));
        let denied = Reason::new(ReasonCode::Permission, "no");
        absent("energy.psys", Quantity::Energy, "/sys/class/powercap/intel-rapl:1/energy_uj", denied);
        let off = Reason::new(ReasonCode::NotSupported, "psi=0");
        absent("psi.cpu.some", Quantity::Pressure, "/proc/pressure/cpu", off);
        absent("gpu0.busy", Quantity::Gpu, "libnvidia-ml.so.1", missing("no driver"));
        let mut channels = catalogue.finish();
        complete(&mut channels, &Root::tree(dir.path()).unwrap(), "users");
        let mut remedies = channels.into_iter().map(|channel| channel.remedy);
        std::array::from_fn(|_| remedies.next().unwrap())
    }

    const INTEL: (&str, &str) = ("proc/cpuinfo", "vendor_id : GenuineIntel\nflags : fpu\n");

    #[test]
    fn commands_fit_the_distribution() {
        let [energy, rapl, pressure, gpu] = remedies(&[
            INTEL,
            ("etc/os-release", "ID=fedora\n"),
            ("sys/bus/pci/devices/0000:01:00.0/vendor", "0x10de\n"),
            ("sys/bus/pci/devices/0000:01:00.0/class", "0x030000\n"),
        ]);
        assert!(energy.unwrap().starts_with("sudo modprobe intel_rapl_msr"));
        assert!(rapl.unwrap().contains("chgrp users /sys%p/energy_uj"));
        assert!(pressure.unwrap().starts_with("sudo grubby"));
        assert_eq!(gpu.as_deref(), Some("sudo dnf install akmod-nvidia"));
        let [_, rapl, pressure, gpu] = remedies(&[INTEL, ("etc/os-release", "ID=nixos\n")]);
        assert!(rapl.unwrap().starts_with("services.udev.extraRules"));
        assert!(pressure.unwrap().contains("boot.kernelParams"));
        assert_eq!(gpu, None, "there is no such card");
    }

    #[test]
    fn nothing_is_advised_that_would_change_nothing() {
        let [energy, ..] = remedies(&[("proc/cpuinfo", "vendor_id : GenuineIntel\nflags : hypervisor\n")]);
        assert_eq!(energy, None);
        let [energy, ..] = remedies(&[("proc/cpuinfo", "CPU part : 0xd0b\n")]);
        assert_eq!(energy, None, "RAPL is of x86");
    }

    #[test]
    fn in_a_container_the_host_is_to_be_changed() {
        let [energy, ..] = remedies(&[INTEL, (".dockerenv", "")]);
        assert!(energy.unwrap().starts_with("on the host of this container: sudo modprobe"));
    }
}
