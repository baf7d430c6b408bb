//! The power monitors of JetPack 4: the same chips as later, behind an IIO driver with files of its own,
//! `rail_name_N` and `in_powerN_input` in mW.

use slmscope_profiles::channel::Class;

use super::power::{Known, NOT_CONNECTED, rail_entry};
use crate::catalogue::Catalogue;
use crate::machine::root::Root;
use crate::sources::files::{Kind, Limits, Slot, enter, scaled};

const FOLDER: &str = "sys/bus/i2c/drivers/ina3221x";

pub(super) fn discover(root: &Root, catalogue: &mut Catalogue, known: Known<'_>) -> Vec<Slot> {
    let mut slots = Vec::new();
    for chip in root.list(FOLDER).unwrap_or_default() {
        let chip = format!("{FOLDER}/{chip}");
        for device in root.list(&chip).unwrap_or_default() {
            if !device.starts_with("iio:device") {
                continue;
            }
            for rail in 0..3 {
                let Ok(label) = root.text(&format!("{chip}/{device}/rail_name_{rail}")) else { continue };
                if label == NOT_CONNECTED {
                    continue;
                }
                let path = format!("{chip}/{device}/in_power{rail}_input");
                let entry = rail_entry(&label, known.scope("ina3221x", Some(&label)), Class::Measured);
                let how = (scaled(1e-3), Limits::new(0.0, 1000.0));
                slots.extend(enter(root, catalogue, entry, Kind::Gauge, &path, how, None));
            }
        }
    }
    slots
}
