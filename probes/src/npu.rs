//! Neural accelerators that count their busy time in sysfs (Intel's driver).

use slmscope_profiles::channel::{Class, Quantity, Scope, Unit};

use crate::catalogue::{Catalogue, Entry, missing};
use crate::files::{Files, Formula, Limits, Slot};
use crate::root::Root;
use crate::source::{Group, Source};

const FOLDER: &str = "sys/class/accel";

/// Enters `npuN.busy`, or the row that says why there is none.
pub(crate) fn discover(root: &Root, catalogue: &mut Catalogue) -> Option<Box<dyn Source>> {
    let mut slots = Vec::new();
    for device in root.list(FOLDER).unwrap_or_default() {
        let path = format!("{FOLDER}/{device}/device/npu_busy_time_us");
        let Ok(handle) = root.open(&path) else { continue };
        let id = format!("npu{}.busy", slots.len());
        let entry = Entry {
            id: format!("{id}.time"),
            quantity: Quantity::Npu,
            unit: Unit::Seconds,
            scope: Scope::Machine,
            class: Class::Measured,
            source: format!("/{path}"),
            group: Group::Medium,
        };
        let channel = catalogue.counter(entry, None);
        catalogue.rate(&id, channel, Quantity::Npu, Unit::Ratio);
        slots.push(Slot::new(vec![channel], Formula::Scaled(handle, 1e-6), Limits::new(0.0, 1e12)));
    }
    if slots.is_empty() {
        let reason = missing("no accelerator that counts its busy time in sysfs");
        catalogue.absent(
            ("npu0.busy", Quantity::Npu, Unit::Ratio, Scope::Machine),
            "/sys/class/accel",
            reason,
            None,
        );
    }
    Files::new(root, slots).map(|files| Box::new(files) as Box<dyn Source>)
}
