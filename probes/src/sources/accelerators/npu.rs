//! Neural accelerators: Intel's counts its busy time in sysfs, Rockchip's shows a load in debugfs and devfreq,
//! AMD's reports nothing.

use slmscope_profiles::channel::{Class, Quantity, Reason, ReasonCode, Scope, Unit};

use crate::catalogue::{Catalogue, Entry, Interface, missing};
use crate::machine::root::Root;
use crate::source::{Group, Source};
use crate::sources::files::{Files, Formula, Kind, Limits, Slot, enter, percent, percent_points, scaled};

const FOLDER: &str = "sys/class/accel";

const DEVFREQ: &str = "sys/class/devfreq";

const RKNPU: &str = "sys/kernel/debug/rknpu/load";

const SHARE: Limits = Limits::new(0.0, 1.0);

/// Enters `npuN.busy`, or the reason why there is none.
pub(crate) fn discover(root: &Root, catalogue: &mut Catalogue) -> Option<Box<dyn Source>> {
    let mut slots = Vec::new();
    let mut next = 0;
    for device in root.list(FOLDER).unwrap_or_default() {
        let folder = format!("{FOLDER}/{device}/device");
        if root.exists(&format!("{folder}/npu_busy_time_us")) {
            slots.extend(intel(root, &folder, next, catalogue));
        } else if device.starts_with("accel") {
            let detail = "the driver shows no busy time in sysfs";
            absent(next, &folder, Reason::new(ReasonCode::NotSupported, detail), catalogue);
        } else {
            continue;
        }
        next += 1;
    }
    slots.extend(rockchip(root, next, catalogue));
    if !catalogue.has(Quantity::Npu) {
        absent(0, FOLDER, missing("no accelerator that shows how busy it is"), catalogue);
    }
    Files::boxed(root, slots)
}

fn entry(npu: u32, what: &str, unit: Unit) -> Entry {
    Entry {
        id: format!("npu{npu}.{what}"),
        quantity: Quantity::Npu,
        unit,
        scope: Scope::Machine,
        class: Class::Measured,
        source: String::new(),
        group: Group::Medium,
    }
}

/// Enters that the share in the file or folder at `path` cannot be read.
fn absent(npu: u32, path: &str, reason: Reason, catalogue: &mut Catalogue) {
    let id = format!("npu{npu}.busy");
    let channel = (id.as_str(), Quantity::Npu, Unit::Ratio, Scope::Machine);
    let channel = catalogue.absent(channel, &format!("/{path}"), reason);
    catalogue.set_interface(channel, Interface::File(path.to_owned()));
}

fn intel(root: &Root, folder: &str, npu: u32, catalogue: &mut Catalogue) -> Vec<Slot> {
    let time = format!("{folder}/npu_busy_time_us");
    let how = (scaled(1e-6), Limits::new(0.0, 1e12));
    let counter = entry(npu, "busy.time", Unit::Seconds);
    let Some(busy) = enter(root, catalogue, counter, Kind::Counter(None), &time, how, None) else {
        return Vec::new();
    };
    if let Some(&of) = busy.channels.first() {
        catalogue.rate(&format!("npu{npu}.busy"), of, Quantity::Npu, Unit::Ratio);
    }
    let mut slots = vec![busy];
    let files = [
        ("memory_used", Unit::Bytes, "npu_memory_utilization", 1.0, Limits::new(0.0, 1e15)),
        ("clock", Unit::Hertz, "npu_current_frequency_mhz", 1e6, Limits::new(0.0, 1e10)),
    ];
    for (what, unit, file, factor, limits) in files {
        let path = format!("{folder}/{file}");
        if root.exists(&path) {
            let entry = entry(npu, what, unit);
            slots.extend(enter(root, catalogue, entry, Kind::Gauge, &path, (scaled(factor), limits), None));
        }
    }
    slots
}

/// The load in debugfs is that of each core, and only root may read it; devfreq shows one number to every user.
fn rockchip(root: &Root, npu: u32, catalogue: &mut Catalogue) -> Vec<Slot> {
    let devices = root.list(DEVFREQ).unwrap_or_default();
    let device = devices.iter().find(|device| device.rsplit_once('.').is_some_and(|(_, kind)| kind == "npu"));
    let Some(folder) = device.map(|device| format!("{DEVFREQ}/{device}")) else {
        return match root.open(RKNPU) {
            Ok(_) => busy(root, RKNPU, mean_of_cores, npu, catalogue).into_iter().collect(),
            Err(_) => Vec::new(),
        };
    };
    let load = format!("{folder}/load");
    let mut slots: Vec<Slot> = match root.open(RKNPU) {
        Ok(_) => busy(root, RKNPU, mean_of_cores, npu, catalogue).into_iter().collect(),
        Err(_) if root.exists(&load) => busy(root, &load, percent, npu, catalogue).into_iter().collect(),
        Err(reason) if reason.code == ReasonCode::Permission => {
            absent(npu, RKNPU, reason, catalogue);
            Vec::new()
        }
        Err(_) => {
            let detail = "the driver reports the clock and no load";
            absent(npu, &folder, Reason::new(ReasonCode::NotSupported, detail), catalogue);
            Vec::new()
        }
    };
    let clock = format!("{folder}/cur_freq");
    if root.exists(&clock) {
        let how = (scaled(1.0), Limits::new(0.0, 1e10));
        let entry = entry(npu, "clock", Unit::Hertz);
        slots.extend(enter(root, catalogue, entry, Kind::Gauge, &clock, how, None));
    }
    slots
}

fn busy(
    root: &Root,
    path: &str,
    parse: fn(&[u8]) -> Option<f64>,
    npu: u32,
    catalogue: &mut Catalogue,
) -> Option<Slot> {
    let how = (move |input| Formula::Parsed(input, parse), SHARE);
    enter(root, catalogue, entry(npu, "busy", Unit::Ratio), Kind::Gauge, path, how, None)
}

/// `NPU load:  Core0: 12%, Core1:  0%,` or `NPU load: 12%`: the mean, 0 to 1.
fn mean_of_cores(text: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(text).ok()?.trim().strip_prefix("NPU load:")?;
    let (mut sum, mut count) = (0.0, 0_u32);
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let share = part.rsplit_once(':').map_or(part, |(_, share)| share);
        sum += percent_points(share.as_bytes()).filter(|share| (0.0..=100.0).contains(share))?;
        count += 1;
    }
    (count > 0).then(|| sum / f64::from(count) / 100.0)
}

#[cfg(test)]
mod tests {
    use super::mean_of_cores;

    #[test]
    fn the_cores_of_an_accelerator_share_its_load() {
        assert_eq!(mean_of_cores(b"NPU load:  Core0: 30%, Core1:  0%, Core2:  0%,\n"), Some(0.1));
        assert_eq!(mean_of_cores(b"NPU load:  24%\n"), Some(0.24));
        assert_eq!(mean_of_cores(b"NPU load:\n"), None);
        assert_eq!(mean_of_cores(b"NPU load: Core0: x%,"), None);
    }
}
