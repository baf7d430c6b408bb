//! Power that an Arm platform's firmware measures for its power caps: `/sys/class/powercap/arm-scmi:N`.
//!
//! drivers/powercap/arm_scmi_powercap.c: a zone has the firmware's name and, where the firmware measures it,
//! `power_uw`. What a zone covers only the firmware knows, so each is a rail. Zones may lie in each other.

use slmscope_profiles::channel::{Class, Quantity, Scope, Unit, id_part};

use crate::catalogue::{Catalogue, Entry};
use crate::machine::root::Root;
use crate::source::{Group, Source};
use crate::sources::files::{Files, Kind, Limits, enter, scaled};

const FOLDER: &str = "sys/class/powercap";

/// Enters `power.scmi_NAME` of each zone.
pub(crate) fn discover(root: &Root, catalogue: &mut Catalogue) -> Option<Box<dyn Source>> {
    let mut slots = Vec::new();
    for zone in root.list(FOLDER).unwrap_or_default() {
        let path = format!("{FOLDER}/{zone}/power_uw");
        if !zone.starts_with("arm-scmi:") || !root.exists(&path) {
            continue;
        }
        let name = root.text(&format!("{FOLDER}/{zone}/name")).unwrap_or_else(|_| zone.clone());
        let entry = Entry {
            id: format!("power.scmi_{}", id_part(&name)),
            quantity: Quantity::Power,
            unit: Unit::Watts,
            scope: Scope::Rail(name),
            class: Class::Measured,
            source: String::new(),
            group: Group::Bus,
        };
        let how = (scaled(1e-6), Limits::new(0.0, 50_000.0));
        slots.extend(enter(root, catalogue, entry, Kind::Gauge, &path, how, None));
    }
    Files::boxed(root, slots)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::Board;
    use slmscope_profiles::channel::Value;

    #[test]
    fn a_zone_of_the_firmware_is_a_rail() {
        let board = Board::new(&[
            ("sys/class/powercap/arm-scmi:0/name", "SOC"),
            ("sys/class/powercap/arm-scmi:0/power_uw", "12500000"),
            ("sys/class/powercap/arm-scmi:1/name", "no measurement"),
        ]);
        let mut machine = board.start();
        let values = machine.read();
        assert_eq!(values["power.scmi_SOC"], Value::Present(12.5));
        assert_eq!(machine.channel("power.scmi_SOC").scope, Scope::Rail("SOC".to_owned()));
        assert!(!values.contains_key("power.scmi_no_measurement") && !values.contains_key("power.board"));
    }
}
