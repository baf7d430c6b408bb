//! Thermal zones: `temp.TYPE`, one channel per zone.
//!
//! Several zones of one type are told apart by their order. A zone that cannot be read (powered down,
//! disabled) costs only itself.

use slmscope_profiles::channel::{Class, Quantity, Scope, Unit, id_part};

use crate::catalogue::{Catalogue, Entry};
use crate::files::{Files, Formula, Limits, Slot};
use crate::root::Root;
use crate::source::{Group, Source};

const FOLDER: &str = "sys/class/thermal";

/// What silicon survives, °C. 127 and −128 are what a sensor's byte says when it says nothing.
pub(crate) const PLAUSIBLE: Limits = Limits { low: -60.0, high: 150.0, sentinels: &[127.0] };

/// Tegra's power controller always claims 100 °C.
const PMIC: Limits = Limits { low: -60.0, high: 150.0, sentinels: &[127.0, 100.0] };

/// Enters the zones and returns what reads them.
pub(crate) fn discover(root: &Root, catalogue: &mut Catalogue) -> Option<Box<dyn Source>> {
    let mut slots = Vec::new();
    for zone in root.list(FOLDER).unwrap_or_default() {
        if !zone.starts_with("thermal_zone") {
            continue;
        }
        let folder = format!("{FOLDER}/{zone}");
        let kind = match root.text(&format!("{folder}/type")) {
            Ok(kind) if !kind.is_empty() => kind,
            _ => "zone".to_owned(),
        };
        let id = format!("temp.{}", id_part(&kind));
        let path = format!("{folder}/temp");
        match root.open(&path) {
            Ok(handle) => {
                let channel = catalogue.gauge(Entry {
                    id,
                    quantity: Quantity::Temperature,
                    unit: Unit::Celsius,
                    scope: Scope::Machine,
                    class: if kind.starts_with("acpitz") { Class::Reported } else { Class::Measured },
                    source: format!("/{path}"),
                    group: Group::Slow,
                });
                let limits = if kind.to_ascii_lowercase().contains("pmic") { PMIC } else { PLAUSIBLE };
                slots.push(Slot::new(vec![channel], Formula::Scaled(handle, 1e-3), limits));
            }
            Err(reason) => {
                let channel = (id.as_str(), Quantity::Temperature, Unit::Celsius, Scope::Machine);
                catalogue.absent(channel, &format!("/{path}"), reason, None);
            }
        }
    }
    Files::new(root, slots).map(|files| Box::new(files) as Box<dyn Source>)
}
