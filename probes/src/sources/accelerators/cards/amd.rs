//! amdgpu. An integrated processor keeps models in the machine's memory (GTT), so that is listed beside its
//! carve-out, and their sum.

use std::collections::HashSet;

use slmscope_profiles::channel::{Class, Quantity, Reason, ReasonCode, Scope, Unit};

use super::{BYTES, Card, HERTZ, SHARE, WATTS, metrics};
use crate::machine::root::Root;
use crate::source::Source;
use crate::sources::files::{Formula, Input, Slot, scaled};
use crate::sources::sensors::hwmon::watts_of;

pub(super) fn is(card: &Card<'_>) -> bool {
    card.has("gpu_busy_percent") || card.has("mem_info_vram_used")
}

pub(super) fn enter(card: &mut Card<'_>, monitors: &mut HashSet<String>) -> Option<Box<dyn Source>> {
    let folder = card.folder.clone();
    let file = |name: &str| format!("{folder}/{name}");
    // On some integrated ones the file is there and every read of it fails.
    let has_busy = card.is_asleep()
        || match card.root.in_time(&file("gpu_busy_percent"), Root::integer) {
            Ok(_) => true,
            Err(reason) => reason.code == ReasonCode::Deadline,
        };
    if has_busy || !card.has("gpu_metrics") {
        card.number("busy", &file("gpu_busy_percent"), (Unit::Ratio, 0.01, SHARE));
    }
    card.number("memory_busy", &file("mem_busy_percent"), (Unit::Ratio, 0.01, SHARE));
    for what in ["vram_used", "vram_total", "gtt_used", "gtt_total"] {
        card.number(what, &file(&format!("mem_info_{what}")), (Unit::Bytes, 1.0, BYTES));
    }
    let parts = ["mem_info_vram_used", "mem_info_gtt_used"].map(file);
    if parts.iter().all(|path| card.root.exists(path)) {
        let mut entry = card.entry("memory_used", Quantity::Gpu, Unit::Bytes, Class::Derived);
        entry.source = format!("/{} + mem_info_gtt_used", parts[0]);
        let channel = card.catalogue.gauge(entry);
        let [vram, gtt] = parts.map(Input::later);
        card.slots.push(
            Slot::new(vec![channel], Formula::Sum(vec![vram, gtt], 1.0), BYTES).behind(card.gate.clone()),
        );
    }
    match card.monitor() {
        Some((monitor, name)) => {
            clocks(card, &monitor);
            power(card, &monitor);
            monitors.insert(name);
        }
        None => levels(card),
    }
    metrics::enter(card)
}

fn clocks(card: &mut Card<'_>, monitor: &str) {
    let clock = format!("{monitor}/freq1_input");
    if card.root.exists(&clock) {
        card.number("clock", &clock, (Unit::Hertz, 1.0, HERTZ));
    } else {
        levels(card);
    }
    card.number("memory_clock", &format!("{monitor}/freq2_input"), (Unit::Hertz, 1.0, HERTZ));
}

/// The level with the star, where no monitor reports the clock.
fn levels(card: &mut Card<'_>) {
    let path = format!("{}/pp_dpm_sclk", card.folder);
    let entry = card.entry("clock", Quantity::Gpu, Unit::Hertz, Class::Reported);
    card.gauge(entry, &path, |input| Formula::Parsed(input, level), HERTZ);
}

/// PCI devices with two dies of which the first measures the power of both, and the second answers 0: MI250X and MI250.
/// `aldebaran_get_gpu_power` in drivers/gpu/drm/amd/pm/swsmu/smu13/aldebaran_ppt.c.
const TWO_DIES: [&str; 2] = ["0x7408", "0x740c"];

/// The first of several sensors: handhelds show the same watts through two filters. On an integrated processor
/// it is the whole package's.
fn power(card: &mut Card<'_>, monitor: &str) {
    // If both exist: the average covers the time between two readings, the input is an instantaneous value.
    let files = ["power1_average", "power1_input"].map(|file| format!("{monitor}/{file}"));
    let Some(path) = files.iter().find(|path| card.root.exists(path)) else { return };
    let mut entry = card.entry("power", Quantity::Power, Unit::Watts, Class::Measured);
    if is_integrated(card, monitor) {
        entry.scope = Scope::Package;
    }
    if is_second_die(card, path) {
        let channel = (entry.id.as_str(), entry.quantity, entry.unit, entry.scope);
        let detail = "the card's other die measures the power of both";
        card.catalogue.absent(channel, &format!("/{path}"), Reason::new(ReasonCode::NotSupported, detail));
        return;
    }
    let limits = watts_of(&entry.scope, WATTS.high);
    card.gauge(entry, path, scaled(1e-6), limits);
}

fn is_second_die(card: &Card<'_>, path: &str) -> bool {
    let device = card.root.text(&format!("{}/device", card.folder)).unwrap_or_default();
    TWO_DIES.contains(&device.as_str())
        && !card.is_asleep()
        && card.root.in_time(path, Root::integer).is_ok_and(|microwatts| microwatts == 0)
}

/// The second voltage of an integrated one, `vddnb`, belongs to the north bridge; cards have none.
fn is_integrated(card: &Card<'_>, monitor: &str) -> bool {
    ["in1_input", "in1_label"].iter().any(|file| card.root.exists(&format!("{monitor}/{file}")))
}

/// The clock of the line `1: 848Mhz *`, Hz. Integrated processors may star none, or only a sleep state.
fn level(text: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(text).ok()?;
    let line = text.lines().find_map(|line| line.trim_end().strip_suffix('*'))?;
    let (number, clock) = line.split_once(':')?;
    number.trim().parse::<u32>().ok()?;
    let clock = clock.trim().to_ascii_lowercase();
    let mhz: f64 = clock.strip_suffix("mhz")?.trim().parse().ok()?;
    mhz.is_finite().then_some(mhz * 1e6)
}

#[cfg(test)]
mod tests {
    use super::level;

    #[test]
    fn the_star_marks_the_clock() {
        assert_eq!(level(b"0: 500Mhz \n1: 848Mhz *\n2: 2900Mhz \n"), Some(848e6));
        assert_eq!(level(b"S: 19Mhz *\n0: 500Mhz \n1: 2660Mhz \n"), None);
        assert_eq!(level(b"0: 500Mhz \n1: 2660Mhz \n"), None);
        assert_eq!(level(b"0: *\n"), None);
    }
}
