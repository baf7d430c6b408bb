//! Power monitors under the IIO subsystem, as the PAC193x and PAC194x on many development boards.
//!
//! A channel N has `in_powerN_raw` and `in_powerN_scale`, whose product is in mW
//! (Documentation/ABI/testing/sysfs-bus-iio), and its rail's name in `in_powerN_label` or `in_voltageN_label`. Drivers
//! of the vendor's show a processed number, `in_powerN_input`, in mW too.

use slmscope_profiles::channel::{Class, Quantity, Scope, Unit};

use crate::catalogue::{Catalogue, Entry};
use crate::machine::root::Root;
use crate::source::{Group, Source};
use crate::sources::files::{Files, Formula, Input, Kind, Limits, enter, scaled};
use crate::sources::power::total::rail_power;

const FOLDER: &str = "sys/bus/iio/devices";

/// Watts of a rail on a board that has such chips.
const WATTS: Limits = Limits::new(-1000.0, 1000.0);

/// Enters `power.rail.NAME` of each channel.
pub(crate) fn discover(root: &Root, catalogue: &mut Catalogue) -> Option<Box<dyn Source>> {
    let mut slots = Vec::new();
    for device in root.list(FOLDER).unwrap_or_default() {
        let folder = format!("{FOLDER}/{device}");
        // JetPack 4's monitors, which have a driver of their own.
        if root.exists(&format!("{folder}/rail_name_0")) {
            continue;
        }
        let chip = root.text(&format!("{folder}/name")).unwrap_or_else(|_| "iio".to_owned());
        for file in root.list(&folder).unwrap_or_default() {
            let Some(channel) = file.strip_prefix("in_power") else { continue };
            let (number, is_raw) = match (channel.strip_suffix("_raw"), channel.strip_suffix("_input")) {
                (Some(number), _) => (number, true),
                (_, Some(number)) => (number, false),
                _ => continue,
            };
            let text = |file: String| root.text(&format!("{folder}/{file}")).ok();
            let label = text(format!("in_power{number}_label")).or(text(format!("in_voltage{number}_label")));
            let label = label.filter(|label| !label.is_empty()).unwrap_or(format!("{chip}_{number}"));
            let id = catalogue.free_id(&rail_power(&label));
            let rail = id.strip_prefix("power.rail.").unwrap_or(&label).to_owned();
            let entry = Entry {
                id,
                quantity: Quantity::Power,
                unit: Unit::Watts,
                scope: Scope::Rail(rail),
                class: Class::Measured,
                source: String::new(),
                group: Group::Bus,
            };
            // A channel has a scale of its own, or all of a chip share one.
            let scales = [format!("in_power{number}_scale"), "in_power_scale".to_owned()];
            let scale = scales.into_iter().find_map(text).and_then(|scale| scale.parse::<f64>().ok());
            let factor = match (is_raw, scale) {
                (false, _) => 1.0,
                (true, Some(scale)) if scale.is_finite() && scale > 0.0 => scale,
                (true, _) => continue,
            };
            let path = format!("{folder}/{file}");
            // The scale is a constant of the chip and its shunt, and no power of ten.
            let formula = move |input: Input| Formula::Fraction(input, factor * 1e-3);
            let slot = if is_raw {
                enter(root, catalogue, entry, Kind::Gauge, &path, (formula, WATTS), None)
            } else {
                enter(root, catalogue, entry, Kind::Gauge, &path, (scaled(1e-3), WATTS), None)
            };
            slots.extend(slot);
        }
    }
    Files::boxed(root, slots)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::Board;
    use slmscope_profiles::channel::Value;

    #[test]
    fn channels_of_a_monitor_are_rails_by_label_or_number() {
        let board = Board::new(&[]);
        let device = |file: &str, text: &str| board.set(&format!("{FOLDER}/iio:device0/{file}"), text);
        device("name", "pac1934\n");
        for (file, text) in [
            ("in_power1_raw", "2000000\n"),
            ("in_power1_scale", "0.002\n"),
            ("in_voltage1_label", "VDD_CPU\n"),
            ("in_power2_raw", "1000000\n"),
            ("in_power2_scale", "0.002\n"),
            ("in_power3_raw", "7\n"),
            ("in_voltage3_raw", "9\n"),
        ] {
            device(file, text);
        }
        let mut machine = board.start();
        let values = machine.read();
        assert_eq!(values["power.rail.VDD_CPU"], Value::Present(4.0));
        assert_eq!(values["power.rail.pac1934_2"], Value::Present(2.0));
        assert_eq!(machine.channel("power.rail.pac1934_2").scope, Scope::Rail("pac1934_2".to_owned()));
        assert!(!values.contains_key("power.rail.pac1934_3"), "without a scale its unit is not known");
        board.set(&format!("{FOLDER}/iio:device1/rail_name_0"), "VDD_IN");
        board.set(&format!("{FOLDER}/iio:device1/in_power0_input"), "900");
        assert!(!board.start().read().contains_key("power.rail.iio_0"), "it is another driver's");
        assert!(!values.contains_key("power.board"), "rails are not the board");
    }
}
