//! What monitors report about limits: over-current events of the Jetson's throttler, alarms of current monitors,
//! undervoltage of the Raspberry Pi.

use slmscope_profiles::channel::{Class, Quantity, Scope, Unit, id_part};

use super::Chip;
use super::power::NOT_CONNECTED;
use crate::catalogue::{Catalogue, Entry};
use crate::machine::root::Root;
use crate::source::Group;
use crate::sources::cpu::throttle::FIRMWARE;
use crate::sources::files::{Kind, Limits, Slot, enter, scaled};

/// Events since boot.
const EVENTS: Limits = Limits::new(0.0, 1e15);

/// Off and on.
const FLAG: Limits = Limits::new(0.0, 1.0);

pub(super) fn discover(root: &Root, chips: &[Chip], catalogue: &mut Catalogue) -> Vec<Slot> {
    let mut slots = Vec::new();
    let mut add = |chip: &Chip, id: String, file: &str, kind: Kind| {
        let limits = if kind == Kind::Gauge { FLAG } else { EVENTS };
        let entry = Entry {
            id,
            quantity: Quantity::Throttle,
            unit: Unit::Count,
            scope: Scope::Machine,
            class: Class::Measured,
            source: String::new(),
            group: Group::Slow,
        };
        slots.extend(enter(root, catalogue, entry, kind, &chip.path(file), (scaled(1.0), limits), None));
    };
    for chip in chips {
        match chip.name.as_str() {
            "soctherm_oc" => {
                for number in chip.inputs("oc", "_event_cnt") {
                    let id = format!("throttle.over_current{number}");
                    add(chip, id, &format!("oc{number}_event_cnt"), Kind::Counter(None));
                }
            }
            // The firmware's own flag reports the same, and more, where it can be read.
            "rpi_volt" if !root.exists(FIRMWARE) && chip.has("in0_lcrit_alarm") => {
                add(chip, "throttle.under_voltage".to_owned(), "in0_lcrit_alarm", Kind::Gauge);
            }
            "ina3221" => {
                for number in 1..=3 {
                    let Some(label) = chip.label(root, &format!("in{number}_label")) else { continue };
                    let alarms = ["crit", "max"].map(|limit| (limit, format!("curr{number}_{limit}_alarm")));
                    for (limit, file) in alarms {
                        if label != NOT_CONNECTED && chip.files.contains(&file) {
                            let id = format!("throttle.{}_current_{limit}", id_part(&label));
                            add(chip, id, &file, Kind::Gauge);
                        }
                    }
                }
            }
            _ => {}
        }
    }
    slots
}
