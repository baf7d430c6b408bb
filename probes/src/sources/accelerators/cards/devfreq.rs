//! Processors that are scaled by devfreq. What their drivers show of the load differs:
//!
//! | driver | load |
//! |---|---|
//! | Tegra (nvgpu) | `device/load`, per mille |
//! | Mali, vendor's | `load` as `12@300000000Hz`, or `device/utilisation` in percent |
//! | Panfrost, Panthor | per process in fdinfo, and only after 1 was written to `device/profiling` |
//!
//! One processor is often reachable by several paths, of which the first counts.

use std::collections::HashSet;

use slmscope_profiles::channel::{Class, Quantity, ReasonCode, Unit};

use super::{Card, HERTZ, SHARE};
use crate::catalogue::Catalogue;
use crate::machine::root::Root;
use crate::sources::accelerators::fdinfo::worker::Sign;
use crate::sources::files::{Formula, Slot, percent, scaled};

const FOLDER: &str = "sys/class/devfreq";

/// Device-tree names of graphics processors.
const NAMES: [&str; 9] =
    ["gpu", "gv11b", "gp10b", "ga10b", "gm20b", "gb10b", "gpu-gpc-0", "mali", "gpu-panthor"];

/// Drivers of such processors that report the share of each client.
const DRIVERS: [&str; 3] = ["panfrost", "panthor", "msm"];

pub(super) fn discover(
    root: &Root,
    first: u32,
    catalogue: &mut Catalogue,
    slots: &mut Vec<Slot>,
    signs: &mut Vec<(u32, Sign)>,
) -> u32 {
    let mut next = first;
    let mut seen = HashSet::new();
    for device in root.list(FOLDER).unwrap_or_default() {
        let folder = format!("{FOLDER}/{device}");
        if !is_processor(root, &device, &folder) {
            continue;
        }
        // One processor may have several entries.
        if root.identity(&format!("{folder}/device")).is_some_and(|device| !seen.insert(device)) {
            continue;
        }
        let mut card = Card::new(root, format!("{folder}/device"), next, catalogue);
        busy(&mut card, &folder);
        card.number("clock", &format!("{folder}/cur_freq"), (Unit::Hertz, 1.0, HERTZ));
        slots.append(&mut card.slots);
        // nvgpu and Mali's vendor driver report nothing about single processes.
        if !root.exists(&format!("{folder}/device/load")) && !root.exists(&format!("{folder}/load")) {
            signs.push((next, Sign::Driver(&DRIVERS)));
        }
        next += 1;
    }
    next
}

/// Whether a processor has the file with its load in per mille.
pub(super) fn has_tegra_load(root: &Root) -> bool {
    let devices = root.list(FOLDER).unwrap_or_default();
    devices.iter().any(|device| {
        let folder = format!("{FOLDER}/{device}");
        is_processor(root, device, &folder) && root.exists(&format!("{folder}/device/load"))
    })
}

/// By the suffix of the device (`17000000.gpu`) or by the name of its node.
fn is_processor(root: &Root, device: &str, folder: &str) -> bool {
    let suffix = device.rsplit_once('.').map_or(device, |(_, suffix)| suffix);
    let node = root.text(&format!("{folder}/device/of_node/name")).ok();
    NAMES.contains(&suffix) || node.is_some_and(|node| NAMES.contains(&node.as_str()))
}

fn busy(card: &mut Card<'_>, folder: &str) {
    let entry = |card: &Card<'_>| card.entry("busy", Quantity::Gpu, Unit::Ratio, Class::Measured);
    let (tegra, mali) = (format!("{}/load", card.folder), format!("{folder}/load"));
    let utilisation = ["utilisation", "dvfs_utilisation"].map(|file| format!("{}/{file}", card.folder));
    if card.root.exists(&tegra) {
        let entry = entry(card);
        card.gauge(entry, &tegra, scaled(1e-3), SHARE);
    } else if card.root.exists(&mali) {
        let entry = entry(card);
        card.gauge(entry, &mali, |input| Formula::Parsed(input, percent), SHARE);
    } else if let Some(path) = utilisation.iter().find(|path| card.root.exists(path)) {
        let entry = entry(card);
        card.gauge(entry, path, |input| Formula::Parsed(input, percent), SHARE);
    } else {
        let detail = match card.root.text(&format!("{}/profiling", card.folder)) {
            Ok(flag) if flag == "0" => "the driver's profiling is off (0 in its file `profiling`)",
            _ => "the driver reports the clock and no load",
        };
        card.absent("busy", &format!("/{folder}"), ReasonCode::NotSupported, detail);
    }
}
