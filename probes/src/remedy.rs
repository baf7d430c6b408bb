//! The command that makes an absent channel available, right for this system.
//!
//! Sources state the reason; what helps depends on the distribution, the boot loader and the processor, and is
//! decided here. Where a command would change nothing, there is none: a virtual machine has no sensors to load a
//! module for. In a container, devices and modules are the host's.

use slmscope_profiles::channel::{Channel, Class, Quantity, ReasonCode};

use crate::catalogue::{Catalogue, Interface};
use crate::inventory::{CPU_TEMPERATURE, PACKAGE_ENERGY};
use crate::machine::reader::{Reader, SERVICE};
use crate::machine::root::Root;
use crate::machine::system::{Family, System, Vendor};

/// Sets the remedies of all unavailable channels: commands after which `reader` can read them.
pub(crate) fn complete(catalogue: &mut Catalogue, root: &Root, reader: &Reader) {
    let system = System::of(root);
    let nvidia = has_nvidia_card(root);
    for (channel, interface) in catalogue.rows_mut() {
        if channel.class != Class::Unavailable {
            continue;
        }
        let Some(code) = channel.reason.as_ref().map(|reason| reason.code) else { continue };
        let remedy = match code {
            ReasonCode::Permission => permission(interface, &system, reader),
            // A kernel that was booted without it shows no files, or files that cannot be read.
            ReasonCode::NoSuchInterface | ReasonCode::NotSupported
                if channel.quantity == Quantity::Pressure =>
            {
                Some(system.add_boot_word("psi=1"))
            }
            ReasonCode::NoSuchInterface => missing(channel, &system, nvidia),
            _ => None,
        };
        let place = if system.container { "on the host of this container: " } else { "" };
        channel.remedy = remedy.map(|remedy| format!("{place}{remedy}"));
    }
}

fn permission(interface: &Interface, system: &System, reader: &Reader) -> Option<String> {
    let group = &reader.group;
    Some(match interface {
        Interface::File(path) if path.starts_with("sys/class/powercap/") => rapl(system, group),
        Interface::PerformanceCounter => counters(system, reader),
        Interface::ManagementController => controller(system, group),
        Interface::FirmwareMailbox => mailbox(system, reader),
        Interface::File(path) if path.starts_with("sys/kernel/debug/") => format!(
            "sudo chgrp {group} /sys/kernel/debug && sudo chmod 0750 /sys/kernel/debug (until the next boot; \
             whoever is in that group then sees all of debugfs)"
        ),
        Interface::File(_) | Interface::Other => return None,
    })
}

/// Since Linux 5.10 only root may read energy counters, because they leak what other users compute.
fn rapl(system: &System, group: &str) -> String {
    // On NixOS /bin holds nothing but the shell.
    let bin = if system.family == Family::Nix { "${pkgs.coreutils}/bin" } else { "/bin" };
    let rule = format!(
        "SUBSYSTEM==\"powercap\", KERNEL==\"intel-rapl*:*\", ACTION==\"add\", RUN+=\"{bin}/chgrp {group} \
         /sys%p/energy_uj\", RUN+=\"{bin}/chmod 0440 /sys%p/energy_uj\""
    );
    match system.family {
        Family::Alpine => format!(
            "sudo chgrp {group} /sys/class/powercap/intel-rapl*:*/energy_uj && sudo chmod 0440 \
             /sys/class/powercap/intel-rapl*:*/energy_uj (in /etc/local.d/slmscope.start for every boot)"
        ),
        _ => device_rule(system, &rule, "rapl", "powercap"),
    }
}

/// Makes the device manager follow a rule, now and at every boot.
fn device_rule(system: &System, rule: &str, name: &str, subsystem: &str) -> String {
    if system.family == Family::Nix {
        return format!("services.udev.extraRules = ''{rule}''; in configuration.nix");
    }
    format!(
        "echo '{rule}' | sudo tee /etc/udev/rules.d/70-slmscope-{name}.rules && sudo udevadm control \
         --reload && sudo udevadm trigger --action=add --subsystem-match={subsystem}"
    )
}

/// Counting for the whole machine. The service may gain nothing from its program's file, so its unit is changed;
/// any other program may be given the one capability, or all of them the right.
fn counters(system: &System, reader: &Reader) -> String {
    const FILE: &str = "/etc/sysctl.d/70-slmscope.conf";
    match (reader.is_service, system.family) {
        (true, Family::Nix) => {
            "systemd.services.slmscoped.serviceConfig = { AmbientCapabilities = \"CAP_PERFMON\"; \
             CapabilityBoundingSet = \"CAP_PERFMON\"; }; in configuration.nix"
                .to_owned()
        }
        (true, _) => format!(
            "sudo mkdir -p /etc/systemd/system/{SERVICE}.d && printf '[Service]\\nAmbientCapabilities=CAP_PERFMON\\n\
             CapabilityBoundingSet=CAP_PERFMON\\n' | sudo tee /etc/systemd/system/{SERVICE}.d/counters.conf && \
             sudo systemctl daemon-reload && sudo systemctl restart {SERVICE}"
        ),
        (false, Family::Nix) => {
            "boot.kernel.sysctl.\"kernel.perf_event_paranoid\" = 0; in configuration.nix".to_owned()
        }
        (false, _) => format!(
            "for this program alone, until its file is replaced: sudo setcap cap_perfmon+ep '{}'; or for every \
             user: echo kernel.perf_event_paranoid=0 | sudo tee {FILE} && sudo sysctl -p {FILE}",
            reader.program
        ),
    }
}

/// The management controller's device belongs to root.
fn controller(system: &System, group: &str) -> String {
    if system.family == Family::Alpine {
        return format!("sudo chgrp {group} /dev/ipmi0 && sudo chmod 0660 /dev/ipmi0 (until the next boot)");
    }
    let rule = format!("SUBSYSTEM==\"ipmi\", GROUP=\"{group}\", MODE=\"0660\"");
    device_rule(system, &rule, "ipmi", "ipmi")
}

/// The mailbox of the Raspberry Pi's firmware is of group `video`.
fn mailbox(system: &System, reader: &Reader) -> String {
    let user = &reader.user;
    match (reader.is_service, system.family) {
        (_, Family::Nix) => {
            format!("users.users.{user}.extraGroups = [ \"video\" ]; in configuration.nix")
        }
        (true, _) => format!("sudo usermod -aG video {user} && sudo systemctl restart {SERVICE}"),
        (false, _) => format!("sudo usermod -aG video {user}, then log in again"),
    }
}

fn missing(channel: &Channel, system: &System, nvidia: bool) -> Option<String> {
    let module = |name: &str| {
        Some(match system.family {
            Family::Nix => format!("boot.kernelModules = [ \"{name}\" ]; in configuration.nix"),
            _ => format!(
                "sudo modprobe {name} && echo {name} | sudo tee /etc/modules-load.d/slmscope-{name}.conf"
            ),
        })
    };
    match channel.quantity {
        // Only the row of the whole family.
        Quantity::Energy if channel.id == PACKAGE_ENERGY => match system.vendor {
            Some(_) if !system.virtual_machine => module("intel_rapl_msr"),
            _ => None,
        },
        Quantity::Temperature if channel.id == CPU_TEMPERATURE => match system.vendor {
            Some(Vendor::Intel) if !system.virtual_machine => module("coretemp"),
            Some(Vendor::Amd) if !system.virtual_machine => module("k10temp"),
            _ => None,
        },
        Quantity::Fan if system.vendor.is_some() && !system.virtual_machine => {
            let install = system.install("lm-sensors", "lm_sensors", "lm_sensors", "sensors")?;
            Some(format!("{install} && sudo sensors-detect"))
        }
        Quantity::Gpu if nvidia && system.family == Family::Ubuntu => {
            Some("sudo ubuntu-drivers install".to_owned())
        }
        Quantity::Gpu if nvidia && system.family == Family::Nix => {
            Some("services.xserver.videoDrivers = [ \"nvidia\" ]; in configuration.nix".to_owned())
        }
        Quantity::Gpu if nvidia => {
            // Fedora's driver needs the RPM Fusion repository, Debian's the section non-free.
            system.install("nvidia-driver", "akmod-nvidia", "nvidia", "nvidia-open-driver-G06-signed-kmp")
        }
        _ => None,
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
mod tests;
