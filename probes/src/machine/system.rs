//! What kind of system this is, as far as commands for it differ.

use std::collections::BTreeMap;

use crate::machine::root::Root;

/// Families of distributions whose commands are alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    /// Debian and what is made from it.
    Debian,
    /// Ubuntu and what is made from it.
    Ubuntu,
    /// Fedora, RHEL and its rebuilds.
    Fedora,
    /// Arch and what is made from it.
    Arch,
    /// openSUSE and SLE.
    Suse,
    /// Alpine: no systemd, no udev rules by default.
    Alpine,
    /// NixOS: everything is set in its configuration.
    Nix,
    /// Not known.
    Other,
}

/// Where the kernel's command line is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BootLine {
    /// The Raspberry Pi's firmware: one line in a file.
    Firmware(&'static str),
    /// `APPEND` in `/boot/extlinux/extlinux.conf`: Jetson and many boards.
    Extlinux,
    /// GRUB or whatever the family uses.
    Family,
}

/// What commands depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct System {
    pub(crate) family: Family,
    pub(crate) boot: BootLine,
    /// In a container: devices and modules are the host's.
    pub(crate) container: bool,
    /// In a virtual machine: there are no sensors to load a module for.
    pub(crate) virtual_machine: bool,
    /// Vendor of an x86 processor.
    pub(crate) vendor: Option<Vendor>,
}

/// Vendors of x86 processors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Vendor {
    Intel,
    Amd,
}

impl System {
    pub(crate) fn of(root: &Root) -> Self {
        let release = ["etc/os-release", "usr/lib/os-release"].iter().find_map(|path| root.text(path).ok());
        let cpuinfo = root.read("proc/cpuinfo", 8192).unwrap_or_default();
        let cpuinfo = String::from_utf8_lossy(&cpuinfo);
        let boot =
            ["boot/firmware/cmdline.txt", "boot/cmdline.txt"].into_iter().find(|path| root.exists(path));
        Self {
            family: release.map_or(Family::Other, |text| family(&text)),
            boot: match boot {
                Some("boot/cmdline.txt") => BootLine::Firmware("/boot/cmdline.txt"),
                Some(_) => BootLine::Firmware("/boot/firmware/cmdline.txt"),
                None if root.exists("boot/extlinux/extlinux.conf") => BootLine::Extlinux,
                None => BootLine::Family,
            },
            container: [".dockerenv", "run/.containerenv", "run/systemd/container"]
                .iter()
                .any(|path| root.exists(path)),
            virtual_machine: flags(&cpuinfo).any(|flag| flag == "hypervisor"),
            vendor: [("GenuineIntel", Vendor::Intel), ("AuthenticAMD", Vendor::Amd)]
                .into_iter()
                .find_map(|(name, vendor)| cpuinfo.contains(name).then_some(vendor)),
        }
    }

    /// The command that installs a package, whose name differs.
    pub(crate) fn install(&self, debian: &str, fedora: &str, arch: &str, suse: &str) -> Option<String> {
        Some(match self.family {
            Family::Debian | Family::Ubuntu => format!("sudo apt install {debian}"),
            Family::Fedora => format!("sudo dnf install {fedora}"),
            Family::Arch => format!("sudo pacman -S {arch}"),
            Family::Suse => format!("sudo zypper install {suse}"),
            Family::Alpine | Family::Nix | Family::Other => return None,
        })
    }

    /// The command that adds a word to the kernel's command line, to be followed by a reboot.
    pub(crate) fn add_boot_word(&self, word: &str) -> String {
        let grub = |update: &str| {
            format!("sudo sed -i 's/^GRUB_CMDLINE_LINUX=\"/&{word} /' /etc/default/grub && {update}")
        };
        let command = match (self.boot, self.family) {
            (BootLine::Firmware(file), _) => format!("sudo sed -i '1s/$/ {word}/' {file}"),
            (BootLine::Extlinux, _) => {
                format!("sudo sed -i '/^ *APPEND /s/$/ {word}/' /boot/extlinux/extlinux.conf")
            }
            (BootLine::Family, Family::Debian | Family::Ubuntu) => grub("sudo update-grub"),
            (BootLine::Family, Family::Fedora) => format!("sudo grubby --update-kernel=ALL --args={word}"),
            (BootLine::Family, Family::Arch) => grub("sudo grub-mkconfig -o /boot/grub/grub.cfg"),
            (BootLine::Family, Family::Suse) => grub("sudo grub2-mkconfig -o /boot/grub2/grub.cfg"),
            (BootLine::Family, Family::Alpine) => {
                format!(
                    "sudo sed -i 's/^default_kernel_opts=\"/&{word} /' /etc/update-extlinux.conf && \
                     sudo update-extlinux"
                )
            }
            (BootLine::Family, Family::Nix) => {
                return format!("boot.kernelParams = [ \"{word}\" ]; in configuration.nix");
            }
            (BootLine::Family, Family::Other) => return format!("add {word} to the kernel's command line"),
        };
        format!("{command}, then reboot")
    }
}

fn flags(cpuinfo: &str) -> impl Iterator<Item = &str> {
    let line = cpuinfo.lines().find_map(|line| line.strip_prefix("flags"));
    line.unwrap_or_default().split_ascii_whitespace()
}

/// From `ID` and, where that is not known, `ID_LIKE`.
fn family(os_release: &str) -> Family {
    let fields: BTreeMap<&str, &str> = os_release
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.trim(), value.trim().trim_matches(['"', '\''])))
        .collect();
    let names = ["ID", "ID_LIKE"].iter().filter_map(|key| fields.get(key)).flat_map(|names| names.split(' '));
    let known = |name: &str| {
        Some(match name {
            "ubuntu" | "linuxmint" | "pop" => Family::Ubuntu,
            "debian" | "raspbian" => Family::Debian,
            "fedora" | "rhel" | "centos" | "rocky" | "almalinux" => Family::Fedora,
            "arch" | "archlinux" | "manjaro" | "endeavouros" => Family::Arch,
            "opensuse" | "suse" | "sles" | "opensuse-tumbleweed" | "opensuse-leap" => Family::Suse,
            "alpine" => Family::Alpine,
            "nixos" => Family::Nix,
            _ => return None,
        })
    };
    names.into_iter().find_map(known).unwrap_or(Family::Other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distributions_are_known_by_themselves_or_by_what_they_are_made_from() {
        for (text, expected) in [
            ("ID=debian\n", Family::Debian),
            ("ID=ubuntu\nID_LIKE=debian\n", Family::Ubuntu),
            ("ID=own\nID_LIKE=\"ubuntu debian\"\n", Family::Ubuntu),
            ("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n", Family::Fedora),
            ("ID=cachyos\nID_LIKE=arch\n", Family::Arch),
            ("ID='opensuse-tumbleweed'\n", Family::Suse),
            ("NAME=Own\nID=own\nID_LIKE=\"unheard-of\"\n", Family::Other),
            ("no fields", Family::Other),
        ] {
            assert_eq!(family(text), expected, "{text}");
        }
    }

    #[test]
    fn a_word_is_added_where_this_system_keeps_them() {
        let system =
            |family, boot| System { family, boot, container: false, virtual_machine: false, vendor: None };
        let debian = system(Family::Debian, BootLine::Family).add_boot_word("psi=1");
        assert!(debian.ends_with("/etc/default/grub && sudo update-grub, then reboot"), "{debian}");
        let pi =
            system(Family::Debian, BootLine::Firmware("/boot/firmware/cmdline.txt")).add_boot_word("psi=1");
        assert_eq!(pi, "sudo sed -i '1s/$/ psi=1/' /boot/firmware/cmdline.txt, then reboot");
        let rhel = system(Family::Fedora, BootLine::Family).add_boot_word("psi=1");
        assert!(rhel.starts_with("sudo grubby --update-kernel=ALL --args=psi=1"), "{rhel}");
    }

    #[test]
    fn a_container_and_a_virtual_machine_are_told_by_their_files() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("proc")).unwrap();
        let root = Root::tree(dir.path()).unwrap();
        let bare = System::of(&root);
        assert_eq!((bare.container, bare.virtual_machine, bare.vendor), (false, false, None));
        std::fs::write(dir.path().join(".dockerenv"), "").unwrap();
        let cpuinfo = "vendor_id\t: GenuineIntel\nflags\t\t: fpu hypervisor lahf_lm\n";
        std::fs::write(dir.path().join("proc/cpuinfo"), cpuinfo).unwrap();
        let found = System::of(&root);
        assert_eq!((found.container, found.virtual_machine, found.vendor), (true, true, Some(Vendor::Intel)));
    }
}
