//! How busy the memory of a board is, as its power management sees it: a share of the clocks, not bytes. What
//! part of a busy clock moves data is an assumption, so these are modelled and never turned into bytes.
//!
//! | board | activity | clock |
//! |---|---|---|
//! | Jetson, JetPack 4 and 5 | `/sys/kernel/actmon_avg_activity/mc_all`, kHz | `emc/rate`, Hz |
//! | JetPack 6 | `debug/cactmon/mc_all`, kHz | the same |
//! | Thor | `debug/bpmp/debug/actmon/mc_all_avg_activity` | `devfreq/bwmgr/cur_freq` |
//! | Rockchip, vendor's kernel | `devfreq/dmc/load`, percent | its `cur_freq` |

use slmscope_profiles::channel::{Class, Quantity, Reason, ReasonCode, Scope, Unit};

use crate::catalogue::{Catalogue, Entry, Interface, missing};
use crate::machine::board::compatible;
use crate::machine::root::Root;
use crate::source::{Group, Source};
use crate::sources::files::{Files, Formula, Kind, Limits, Slot, enter, percent, scaled};

const ACTIVITY: [&str; 3] = [
    "sys/kernel/actmon_avg_activity/mc_all",
    "sys/kernel/debug/cactmon/mc_all",
    "sys/kernel/debug/bpmp/debug/actmon/mc_all_avg_activity",
];

const CLOCK: [&str; 5] = [
    "sys/kernel/debug/bpmp/debug/clk/emc/rate",
    "sys/kernel/debug/clk/emc/clk_rate",
    "sys/kernel/debug/clk/override.emc/clk_rate",
    "sys/kernel/debug/tegra_bwmgr/emc_rate",
    "sys/class/devfreq/bwmgr/cur_freq",
];

/// Devfreq devices of memory controllers.
const CONTROLLERS: [&str; 2] = ["dmc", "bwmgr"];

const SHARE: Limits = Limits::new(0.0, 1.0);
const HERTZ: Limits = Limits::new(0.0, 2e10);

pub(super) fn discover(root: &Root, catalogue: &mut Catalogue) -> Option<Box<dyn Source>> {
    let mut slots = tegra(root, catalogue);
    slots.extend(rockchip(root, catalogue));
    Files::boxed(root, slots)
}

fn entry(id: &str, unit: Unit, class: Class, source: String) -> Entry {
    let quantity = if unit == Unit::Hertz { Quantity::Frequency } else { Quantity::MemoryBandwidth };
    let scope = if unit == Unit::Hertz { Scope::Machine } else { Scope::Dram };
    Entry { id: id.to_owned(), quantity, unit, scope, class, source, group: Group::Medium }
}

fn tegra(root: &Root, catalogue: &mut Catalogue) -> Vec<Slot> {
    let mut slots = Vec::new();
    let activity = match first(root, &ACTIVITY) {
        // debugfs is closed on every machine; what it would show is known of this kind only.
        Err((_, reason)) if reason.code != ReasonCode::Permission || !is_tegra(root) => return slots,
        activity => activity,
    };
    let open = |path| root.open(path).map(|handle| (path, handle)).map_err(|reason| (path, reason));
    let activity = activity.and_then(open);
    match activity.and_then(|activity| Ok((activity, first(root, &CLOCK).and_then(open)?))) {
        Ok(((activity, busy), (clock, rate))) => {
            let source = format!("/{activity} ÷ /{clock}");
            let channel = catalogue.gauge(entry("membw.emc.busy", Unit::Ratio, Class::Modelled, source));
            // kHz by Hz
            slots.push(Slot::new(vec![channel], Formula::Quotient(busy.into(), rate.into(), 1e3), SHARE));
            let how = (scaled(1.0), HERTZ);
            let clock_entry = entry("freq.emc", Unit::Hertz, Class::Reported, String::new());
            slots.extend(enter(root, catalogue, clock_entry, Kind::Gauge, clock, how, None));
        }
        Err((path, reason)) => {
            let channel = ("membw.emc.busy", Quantity::MemoryBandwidth, Unit::Ratio, Scope::Dram);
            let channel = catalogue.absent(channel, &format!("/{path}"), reason);
            catalogue.set_interface(channel, Interface::File(path.to_owned()));
        }
    }
    slots
}

/// The first that is there; else one behind a closed folder, or any, and why it cannot be reached.
fn first(root: &Root, paths: &[&'static str]) -> Result<&'static str, (&'static str, Reason)> {
    let mut refused = ("", missing("no file with it"));
    for &path in paths {
        match root.reach(path) {
            Ok(()) => return Ok(path),
            Err(reason) if refused.1.code != ReasonCode::Permission => refused = (path, reason),
            Err(_) => {}
        }
    }
    Err(refused)
}

/// Whether the device tree is that of a Tegra.
fn is_tegra(root: &Root) -> bool {
    compatible(root).iter().any(|name| name.starts_with("nvidia,tegra"))
}

fn rockchip(root: &Root, catalogue: &mut Catalogue) -> Vec<Slot> {
    let mut slots = Vec::new();
    let devices = root.list("sys/class/devfreq").unwrap_or_default();
    for device in devices.iter().filter(|device| CONTROLLERS.contains(&device.as_str())) {
        let folder = format!("sys/class/devfreq/{device}");
        let (load, clock) = (format!("{folder}/load"), format!("{folder}/cur_freq"));
        if root.exists(&load) {
            let busy = entry(&format!("membw.{device}.busy"), Unit::Ratio, Class::Modelled, String::new());
            let how = (|input| Formula::Parsed(input, percent), SHARE);
            slots.extend(enter(root, catalogue, busy, Kind::Gauge, &load, how, None));
        }
        let clock_entry = entry(&format!("freq.{device}"), Unit::Hertz, Class::Reported, String::new());
        slots.extend(enter(root, catalogue, clock_entry, Kind::Gauge, &clock, (scaled(1.0), HERTZ), None));
    }
    slots
}
