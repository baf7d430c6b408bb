use super::*;
use crate::catalogue::missing;
use crate::tests::Board;
use slmscope_profiles::channel::{Reason, Scope, Unit};

fn reader(is_service: bool) -> Reader {
    let (user, program) =
        if is_service { ("slmscope", "/usr/bin/slmscoped") } else { ("clara", "/opt/slm scope") };
    let group = if is_service { "slmscope" } else { "users" };
    Reader { user: user.to_owned(), group: group.to_owned(), program: program.to_owned(), is_service }
}

/// The remedies of a tree for four absent channels: energy, an unreadable counter, pressure, GPU.
fn remedies(files: &[(&str, &str)]) -> [Option<String>; 4] {
    let board = Board::new(files);
    let mut catalogue = Catalogue::default();
    let mut absent = |id: &str, quantity, source: &str, reason| {
        catalogue.absent((id, quantity, Unit::Count, Scope::Machine), source, reason)
    };
    absent("energy.package", Quantity::Energy, "/sys/class/powercap", missing("none"));
    let denied = Reason::new(ReasonCode::Permission, "no");
    let zone = "sys/class/powercap/intel-rapl:1/energy_uj";
    let psys = absent("energy.psys", Quantity::Energy, "", denied);
    absent("psi.cpu.some", Quantity::Pressure, "/proc/pressure/cpu", missing("no such file"));
    absent("gpu0.busy", Quantity::Gpu, "libnvidia-ml.so.1", missing("no driver"));
    catalogue.set_interface(psys, Interface::File(zone.to_owned()));
    complete(&mut catalogue, &board.root(), &reader(false));
    let mut remedies = catalogue.finish().into_iter().map(|channel| channel.remedy);
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
    let [_, _, pressure, gpu] =
        remedies(&[("etc/os-release", "ID=debian\n"), ("boot/firmware/cmdline.txt", "console=tty1\n")]);
    assert_eq!(pressure.unwrap(), "sudo sed -i '1s/$/ psi=1/' /boot/firmware/cmdline.txt, then reboot");
    assert_eq!(gpu, None, "there is no such card");
    let [.., gpu] = remedies(&[
        ("etc/os-release", "ID=ubuntu\nID_LIKE=debian\n"),
        ("sys/bus/pci/devices/0000:01:00.0/vendor", "0x10de\n"),
        ("sys/bus/pci/devices/0000:01:00.0/class", "0x030200\n"),
    ]);
    assert_eq!(gpu.as_deref(), Some("sudo ubuntu-drivers install"));
}

#[test]
fn where_the_configuration_decides_it_is_named_and_no_command() {
    let remedies = remedies(&[
        INTEL,
        ("etc/os-release", "ID=nixos\n"),
        ("sys/bus/pci/devices/0000:01:00.0/vendor", "0x10de\n"),
        ("sys/bus/pci/devices/0000:01:00.0/class", "0x030000\n"),
    ]);
    for remedy in remedies.iter().flatten() {
        assert!(remedy.ends_with("in configuration.nix") && !remedy.contains("sudo"), "{remedy}");
    }
    let [energy, rapl, pressure, gpu] = remedies.map(Option::unwrap);
    assert!(energy.starts_with("boot.kernelModules = [ \"intel_rapl_msr\" ];"), "{energy}");
    assert!(rapl.contains("${pkgs.coreutils}/bin/chgrp users") && !rapl.contains("\"/bin/"), "{rapl}");
    assert!(pressure.contains("boot.kernelParams") && gpu.contains("nvidia"), "{pressure} {gpu}");
}

/// The remedies of what a user may not read: counters, the firmware's mailbox, the management controller.
fn permissions(system: &str, is_service: bool) -> [String; 3] {
    let board = Board::new(&[("etc/os-release", system)]);
    let mut catalogue = Catalogue::default();
    for interface in
        [Interface::PerformanceCounter, Interface::FirmwareMailbox, Interface::ManagementController]
    {
        let denied = Reason::new(ReasonCode::Permission, "no");
        let channel = catalogue.absent(("x", Quantity::Power, Unit::Count, Scope::Machine), "", denied);
        catalogue.set_interface(channel, interface);
    }
    complete(&mut catalogue, &board.root(), &reader(is_service));
    let mut remedies = catalogue.finish().into_iter().map(|channel| channel.remedy.unwrap());
    std::array::from_fn(|_| remedies.next().unwrap())
}

/// The unit allows no capability and forbids gaining one, so with `setcap` it would not start any more.
#[test]
fn the_service_is_helped_by_its_unit_and_a_person_s_program_by_its_file() {
    let [misses, mailbox, controller] = permissions("ID=debian\n", true);
    assert!(!misses.contains("setcap"), "{misses}");
    for word in
        ["slmscoped.service.d/", "AmbientCapabilities=CAP_PERFMON", "CapabilityBoundingSet=CAP_PERFMON"]
    {
        assert!(misses.contains(word), "{misses}");
    }
    assert_eq!(mailbox, "sudo usermod -aG video slmscope && sudo systemctl restart slmscoped.service");
    assert!(controller.contains("GROUP=\"slmscope\""), "{controller}");

    let [misses, mailbox, controller] = permissions("ID=debian\n", false);
    assert!(misses.contains("sudo setcap cap_perfmon+ep '/opt/slm scope'"), "{misses}");
    assert!(misses.contains("| sudo tee /etc/sysctl.d/70-slmscope.conf"), "it lasts: {misses}");
    assert_eq!(mailbox, "sudo usermod -aG video clara, then log in again");
    assert!(controller.contains("GROUP=\"users\""), "{controller}");

    for is_service in [true, false] {
        for remedy in permissions("ID=nixos\n", is_service) {
            assert!(remedy.ends_with("in configuration.nix"), "{remedy}");
        }
    }
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
