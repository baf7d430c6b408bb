//! Neural accelerators: what each driver shows is in `facts`. Rockchip's vendor driver has no class and shows a load in
//! debugfs and devfreq.

use slmscope_profiles::channel::{Class, Quantity, Reason, ReasonCode, Scope, Unit};

use crate::catalogue::{Catalogue, Entry, Interface, missing};
use crate::facts::neural::{DRIVERS, Driver, File, SILENT};
use crate::machine::root::Root;
use crate::source::{Group, Source};
use crate::sources::files::{Files, Formula, Kind, Limits, Slot, enter, percent, percent_points, scaled};

const FOLDER: &str = "sys/class/accel";

const DEVFREQ: &str = "sys/class/devfreq";

const RKNPU: &str = "sys/kernel/debug/rknpu/load";

const SHARE: Limits = Limits::new(0.0, 1.0);

/// Enters `npuN.busy`, or the reason why there is none, and what else the device shows.
pub(crate) fn discover(root: &Root, catalogue: &mut Catalogue) -> Option<Box<dyn Source>> {
    let mut slots = Vec::new();
    let mut next = 0;
    for device in root.list(FOLDER).unwrap_or_default() {
        if device.starts_with("accel") {
            slots.extend(of_class(root, &format!("{FOLDER}/{device}/device"), next, catalogue));
            next += 1;
        }
    }
    for &(folder, begin, why) in SILENT {
        let found = root.list(folder).unwrap_or_default().into_iter().find(|name| name.starts_with(begin));
        // Of the names that one device may have, the first counts.
        if let Some(found) = found.filter(|_| !catalogue.has_id(&format!("npu{next}.busy"))) {
            absent(next, &format!("{folder}/{found}"), Reason::new(ReasonCode::NotSupported, why), catalogue);
            next += 1;
        }
    }
    slots.extend(rockchip(root, next, catalogue));
    if !catalogue.has(Quantity::Npu) {
        absent(0, FOLDER, missing("no accelerator that shows how busy it is"), catalogue);
    }
    Files::boxed(root, slots)
}

/// A device of the class, by its driver; one of an unknown driver by the files that it has.
fn of_class(root: &Root, folder: &str, npu: u32, catalogue: &mut Catalogue) -> Vec<Slot> {
    let driver = root.link(&format!("{folder}/driver"));
    let driver = driver.as_deref().and_then(|target| target.rsplit('/').next());
    let has_busy = |known: &&Driver| {
        known.busy.as_ref().is_some_and(|file| root.exists(&format!("{folder}/{}", file.name)))
    };
    let known = match driver {
        Some(name) => DRIVERS.iter().find(|known| known.name == name),
        None => DRIVERS.iter().find(has_busy),
    };
    let mut slots = Vec::new();
    let counter = known.filter(has_busy).and_then(|known| known.busy.as_ref());
    let busy = counter.and_then(|file| file_of(root, folder, file, npu, catalogue));
    if let Some(&of) = busy.as_ref().and_then(|slot| slot.channels.first()) {
        catalogue.rate(&format!("npu{npu}.busy"), of, Quantity::Npu, Unit::Ratio);
    } else {
        let why = known.map_or("the driver shows no busy time in sysfs", |known| known.why_no_busy);
        absent(npu, folder, Reason::new(ReasonCode::NotSupported, why), catalogue);
    }
    slots.extend(busy);
    for file in known.map_or(&[][..], |known| known.files) {
        let id = format!("npu{npu}.{}", file.what);
        if root.exists(&format!("{folder}/{}", file.name)) && !catalogue.has_id(&id) {
            slots.extend(file_of(root, folder, file, npu, catalogue));
        }
    }
    slots
}

fn file_of(root: &Root, folder: &str, file: &File, npu: u32, catalogue: &mut Catalogue) -> Option<Slot> {
    let (kind, most) = match file.unit {
        Unit::Seconds => (Kind::Counter(None), 1e12),
        Unit::Hertz => (Kind::Gauge, 1e10),
        _ => (Kind::Gauge, 1e15),
    };
    let how = (scaled(file.factor), Limits::new(0.0, most));
    let path = format!("{folder}/{}", file.name);
    enter(root, catalogue, entry(npu, file.what, file.unit), kind, &path, how, None)
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
