//! Which board this is: its names in the device tree or the firmware tables, the vendor's release and power mode,
//! and the description that slmscope ships for it.

use std::collections::BTreeSet;

pub(crate) use slmscope_profiles::board::BoardProfile as Profile;
use slmscope_profiles::board::{self, Memory};
use slmscope_profiles::doctor::Board;

use crate::machine::cores;
use crate::machine::root::Root;
use crate::machine::topology;

const TREES: [&str; 2] = ["proc/device-tree", "sys/firmware/devicetree/base"];

/// The description of this board; `None` if it is not known.
pub(crate) fn profile(root: &Root) -> Option<&'static Profile> {
    board::recognise(&compatible(root), product(root).as_deref())
}

/// The device tree's names of the board, the most specific first.
pub(crate) fn compatible(root: &Root) -> Vec<String> {
    let mut all = TREES.iter().map(|tree| strings(root, &format!("{tree}/compatible")));
    all.find(|all| !all.is_empty()).unwrap_or_default()
}

/// What is known of the board.
pub(crate) fn describe(root: &Root, profile: Option<&Profile>) -> Board {
    let (id, name) = identity(root);
    Board {
        id,
        name,
        profile: profile.map(|profile| profile.id.clone()),
        release: release(root),
        power_mode: power_mode(root),
        governors: governors(root),
        cores: cores::kinds(root),
        memory_bytes_per_s: profile.and_then(|profile| profile.memory.as_ref()).map(Memory::bytes_per_s),
        f32_flops: profile.and_then(Profile::f32_flops),
    }
}

/// What the device tree or the firmware tables call the board, in words.
pub(crate) fn name(root: &Root) -> Option<String> {
    identity(root).1
}

/// The device tree's names, or those of the firmware tables.
fn identity(root: &Root) -> (Option<String>, Option<String>) {
    for tree in TREES {
        let first = |file: &str| strings(root, &format!("{tree}/{file}")).into_iter().next();
        let (id, name) = (first("compatible"), first("model"));
        if id.is_some() || name.is_some() {
            return (id, name);
        }
    }
    let product = product(root);
    let vendor = strings(root, "sys/class/dmi/id/sys_vendor").into_iter().next();
    let name = match (&vendor, &product) {
        (Some(vendor), Some(product)) => Some(format!("{vendor} {product}")),
        _ => product.clone().or(vendor),
    };
    (product, name)
}

fn product(root: &Root) -> Option<String> {
    strings(root, "sys/class/dmi/id/product_name").into_iter().next()
}

/// Several strings in one property are separated by zero bytes; the first is the most specific.
fn strings(root: &Root, path: &str) -> Vec<String> {
    let text = root.text(path).unwrap_or_default();
    text.split('\0').map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
}

fn governors(root: &Root) -> Vec<String> {
    let governor = |cpu: u32| {
        let folder = "sys/devices/system/cpu";
        let policy = format!("{folder}/cpufreq/policy{cpu}/scaling_governor");
        root.text(&policy).or_else(|_| root.text(&format!("{folder}/cpu{cpu}/cpufreq/scaling_governor"))).ok()
    };
    topology::present(root).into_iter().filter_map(governor).collect::<BTreeSet<_>>().into_iter().collect()
}

/// NVIDIA's release file, `# R36 (release), REVISION: 4.3, …`.
fn release(root: &Root) -> Option<String> {
    let text = root.text("etc/nv_tegra_release").ok()?;
    let major = text.split_once("# R")?.1.split_once(' ')?.0;
    let revision = text.split_once("REVISION: ")?.1.split_once(',')?.0.trim();
    let pack = match major {
        "32" => " (JetPack 4)",
        "34" | "35" => " (JetPack 5)",
        "36" => " (JetPack 6)",
        "38" => " (JetPack 7)",
        _ => "",
    };
    let is_version = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit() || c == '.');
    (is_version(major) && is_version(revision)).then(|| format!("L4T {major}.{revision}{pack}"))
}

/// The mode of NVIDIA's power tool, else the firmware's platform profile.
fn power_mode(root: &Root) -> Option<String> {
    nvpmodel(root).or_else(|| root.in_time("sys/firmware/acpi/platform_profile", Root::text).ok())
}

/// `pmode:0002` in the tool's state, and the name of that number in its configuration.
fn nvpmodel(root: &Root) -> Option<String> {
    let state = root.text("var/lib/nvpmodel/status").ok()?;
    let digits = state.split_once("pmode:")?.1;
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    let mode: u32 = digits.get(..end)?.parse().ok()?;
    let conf = root.long_text("etc/nvpmodel.conf", 1 << 16).unwrap_or_default();
    let named = conf.lines().find_map(|line| mode_name(line, mode));
    Some(named.unwrap_or_else(|| format!("mode {mode}")))
}

/// The name in `< POWER_MODEL ID=2 NAME=15W >`, if the line is about this mode.
fn mode_name(line: &str, mode: u32) -> Option<String> {
    let words: Vec<&str> = line.trim().strip_prefix("< POWER_MODEL")?.split_ascii_whitespace().collect();
    let value = |key: &str| words.iter().find_map(|word| word.strip_prefix(key));
    (value("ID=")?.parse() == Ok(mode)).then(|| value("NAME=").map(str::to_owned))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_release_and_the_mode_of_a_jetson() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let root = Root::tree(dir.path()).unwrap();
        assert_eq!((release(&root), power_mode(&root)), (None, None));
        write("etc/nv_tegra_release", "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic\n");
        write("var/lib/nvpmodel/status", "pmode:0002 fmode:fanNull\n");
        assert_eq!(power_mode(&root).as_deref(), Some("mode 2"));
        write("etc/nvpmodel.conf", "< POWER_MODEL ID=0 NAME=MAXN >\n< POWER_MODEL ID=2 NAME=15W >\n");
        assert_eq!(release(&root).as_deref(), Some("L4T 36.4.3 (JetPack 6)"));
        assert_eq!(power_mode(&root).as_deref(), Some("15W"));
        write("etc/nv_tegra_release", "# R<script>, REVISION: 4.3,");
        assert_eq!(release(&root), None);
    }

    #[test]
    fn noise_is_refused() {
        crate::tests::noise::against(b"< POWER_MODEL ID=2 NAME=15W >", |text| {
            let _ = mode_name(&String::from_utf8_lossy(text), 2);
        });
    }
}
