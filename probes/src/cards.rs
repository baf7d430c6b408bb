//! Graphics processors whose kernel driver shows them in sysfs: amdgpu, and Tegra's integrated one.
//!
//! A card that sleeps is left alone. An integrated AMD processor keeps models in the machine's memory (GTT),
//! so that is listed beside its carve-out.

use slmscope_profiles::channel::{Class, Quantity, Scope, Unit};

use crate::catalogue::{Catalogue, Entry};
use crate::files::{Files, Formula, Limits, Slot};
use crate::pci;
use crate::root::Root;
use crate::source::{Group, Source};

const DRM: &str = "sys/class/drm";
const DEVFREQ: &str = "sys/class/devfreq";

const BYTES: Limits = Limits::new(0.0, 1e15);
const SHARE: Limits = Limits::new(0.0, 1.0);
const HERTZ: Limits = Limits::new(0.0, 1e10);

/// Enters the processors, numbered from `first`.
pub(crate) fn discover(root: &Root, first: u32, catalogue: &mut Catalogue) -> Option<Box<dyn Source>> {
    let mut slots = Vec::new();
    let mut next = first;
    for name in root.list(DRM).unwrap_or_default() {
        let is_card = name.strip_prefix("card").is_some_and(|number| number.parse::<u32>().is_ok());
        let device = format!("{DRM}/{name}/device");
        if !is_card || root.open(&format!("{device}/gpu_busy_percent")).is_err() {
            continue;
        }
        let card = amd(root, &device, next, catalogue);
        slots.extend(card.into_iter().map(|slot| slot.behind(pci::gate(root, &device))));
        next += 1;
    }
    slots.extend(tegra(root, next, catalogue));
    Files::new(root, slots).map(|files| Box::new(files) as Box<dyn Source>)
}

fn amd(root: &Root, device: &str, gpu: u32, catalogue: &mut Catalogue) -> Vec<Slot> {
    let mut files = vec![
        (format!("{device}/gpu_busy_percent"), "busy", Unit::Ratio, 0.01, SHARE),
        (format!("{device}/mem_info_vram_used"), "vram_used", Unit::Bytes, 1.0, BYTES),
        (format!("{device}/mem_info_gtt_used"), "gtt_used", Unit::Bytes, 1.0, BYTES),
    ];
    let hwmon = format!("{device}/hwmon");
    for monitor in root.list(&hwmon).unwrap_or_default() {
        files.push((format!("{hwmon}/{monitor}/freq1_input"), "clock", Unit::Hertz, 1.0, HERTZ));
    }
    files
        .into_iter()
        .filter_map(|(path, what, unit, factor, limits)| {
            slot(root, &path, gpu, (what, unit, factor, limits), catalogue)
        })
        .collect()
}

/// Tegra's processor tells its load in per mille; older kernels show it under several paths.
fn tegra(root: &Root, gpu: u32, catalogue: &mut Catalogue) -> Vec<Slot> {
    const NAMES: [&str; 6] = ["gv11b", "gp10b", "ga10b", "gm20b", "gb10b", "gpu"];
    let devices = root.list(DEVFREQ).unwrap_or_default();
    let named = devices.iter().filter(|device| {
        let suffix = device.rsplit_once('.').map_or(device.as_str(), |(_, suffix)| suffix);
        NAMES.contains(&suffix)
    });
    for device in named {
        let load = format!("{DEVFREQ}/{device}/device/load");
        // Other vendors' drivers have a file of this name that holds text.
        if root.integer(&load).is_err() {
            continue;
        }
        let clock = format!("{DEVFREQ}/{device}/cur_freq");
        return [
            slot(root, &load, gpu, ("busy", Unit::Ratio, 1e-3, SHARE), catalogue),
            slot(root, &clock, gpu, ("clock", Unit::Hertz, 1.0, HERTZ), catalogue),
        ]
        .into_iter()
        .flatten()
        .collect();
    }
    Vec::new()
}

fn slot(
    root: &Root,
    path: &str,
    gpu: u32,
    (what, unit, factor, limits): (&str, Unit, f64, Limits),
    catalogue: &mut Catalogue,
) -> Option<Slot> {
    let handle = root.open(path).ok()?;
    let channel = catalogue.gauge(Entry {
        id: format!("gpu{gpu}.{what}"),
        quantity: Quantity::Gpu,
        unit,
        scope: Scope::GpuN(gpu),
        class: Class::Measured,
        source: format!("/{path}"),
        group: Group::Gpu,
    });
    Some(Slot::new(vec![channel], Formula::Scaled(handle, factor), limits))
}
