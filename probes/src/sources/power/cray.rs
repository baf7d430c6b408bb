//! Power of a Cray node, as its blade controller publishes it ten times a second: `/sys/cray/pm_counters`.
//!
//! Each file is `253 W 1700061089722572 us`, in whole watts or joules, with the controller's own time.
//! <https://cray-hpe.github.io/docs-csm>, "pm_counters".
//!
//! The node's figures are at its input. What it says of accelerators and memory is listed as rails: the accelerators'
//! drivers report the same watts as cards.

use slmscope_profiles::channel::{Class, Quantity, Scope, Unit};

use crate::catalogue::{Catalogue, Entry};
use crate::machine::root::Root;
use crate::source::{Group, Source};
use crate::sources::files::{Files, Formula, Kind, Limits, Slot, enter};

const FOLDER: &str = "sys/cray/pm_counters";

/// What a node and its parts draw, W; the controller says 0 for a part that it does not measure.
const WATTS: Limits = Limits::new(1.0, 50_000.0);

const JOULES: Limits = Limits::new(0.0, 1e15);

/// Enters what the controller publishes, where it does.
pub(crate) fn discover(root: &Root, catalogue: &mut Catalogue) -> Option<Box<dyn Source>> {
    let mut slots = Vec::new();
    let files = root.list(FOLDER).unwrap_or_default();
    let has_sockets = files.iter().any(|file| file == "cpu0_power");
    for file in &files {
        let Some(part) = file.strip_suffix("_power").or((file == "power").then_some("")) else { continue };
        let scope = match part {
            "" => Scope::BoardInput,
            // All sockets together, which are also listed one by one.
            "cpu" if has_sockets => continue,
            part if part.starts_with("cpu") => Scope::Package,
            part => Scope::Rail(part.to_owned()),
        };
        let name = if part.is_empty() { "node" } else { part };
        let power = entry(format!("power.cray_{name}"), Quantity::Power, Unit::Watts, scope.clone());
        slots.extend(number(root, catalogue, power, Kind::Gauge, file, WATTS));
        if part.is_empty() {
            let energy = entry("energy.cray_node".to_owned(), Quantity::Energy, Unit::Joules, scope);
            slots.extend(number(root, catalogue, energy, Kind::Counter(None), "energy", JOULES));
        }
    }
    Files::boxed(root, slots)
}

fn entry(id: String, quantity: Quantity, unit: Unit, scope: Scope) -> Entry {
    Entry { id, quantity, unit, scope, class: Class::Measured, source: String::new(), group: Group::Bus }
}

fn number(
    root: &Root,
    catalogue: &mut Catalogue,
    entry: Entry,
    kind: Kind,
    file: &str,
    limits: Limits,
) -> Option<Slot> {
    let path = format!("{FOLDER}/{file}");
    let how = (|input| Formula::Parsed(input, first_number), limits);
    root.exists(&path).then(|| enter(root, catalogue, entry, kind, &path, how, None))?
}

/// The number before the unit.
fn first_number(text: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(text).ok()?;
    let number: u64 = text.split_ascii_whitespace().next()?.parse().ok()?;
    Some(number as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::Board;
    use slmscope_profiles::channel::{ReasonCode, Value};

    #[test]
    fn a_node_and_its_sockets_are_read_and_nothing_is_counted_twice() {
        let board = Board::new(&[]);
        for (file, text) in [
            ("power", "253 W 1700061089722572 us\n"),
            ("energy", "16363832 J 1700061089722572 us\n"),
            ("cpu_power", "60 W 1700061089722572 us\n"),
            ("cpu0_power", "60 W 1700061089722572 us\n"),
            ("accel0_power", "89 W 1700061089722572 us\n"),
            ("memory_power", "0 W 1700061089722572 us\n"),
            ("power_cap", "0 W\n"),
            ("raw_scan_hz", "10\n"),
        ] {
            board.set(&format!("{FOLDER}/{file}"), text);
        }
        let mut machine = board.start();
        let values = machine.read();
        for (id, scope, value) in [
            ("power.cray_node", Scope::BoardInput, 253.0),
            ("energy.cray_node", Scope::BoardInput, 16_363_832.0),
            ("power.cray_cpu0", Scope::Package, 60.0),
            ("power.cray_accel0", Scope::Rail("accel0".to_owned()), 89.0),
            ("power.board", Scope::BoardInput, 253.0),
        ] {
            assert_eq!((values[id], &machine.channel(id).scope), (Value::Present(value), &scope), "{id}");
        }
        assert_eq!(values["power.cray_memory"], Value::Absent(ReasonCode::Implausible));
        assert!(!values.contains_key("power.cray_cpu"));
    }

    #[test]
    fn noise_is_refused() {
        crate::tests::noise::against(b"253 W 1700061089722572 us\n", |text| {
            assert!(first_number(text).is_none_or(|number| number >= 0.0));
        });
    }
}
