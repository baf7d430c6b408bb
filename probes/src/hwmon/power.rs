//! Power and energy of the monitors, and what each of them covers.
//!
//! Several sensors see the same current on its way from the wall to a core, so every channel has a scope and
//! nothing is added up here.
//!
//! | chip | what counts |
//! |---|---|
//! | `ina3221` | inputs 1–3: V × I by label. 4–7 are shunt voltages and sums; label `NC` is not connected |
//! | `amdgpu` | `power1`; a second one is the same current through another filter |
//! | `xe`, `i915` | one energy counter: the card's if it counts, else the package's |
//! | `power_meter` | the board's input, or on Grace what `power1_oem_info` says |
//! | fans, USB sources | nothing: a contract or a fan is not what the machine draws |

use slmscope_profiles::channel::{Class, Quantity, Scope, Unit, id_part};

use super::{Chip, Kind, enter, ina3221x};
use crate::catalogue::{Catalogue, Entry};
use crate::files::{Formula, Limits, Slot};
use crate::root::Root;
use crate::source::Group;

/// Watts of anything that has a hwmon sensor. A rail may read slightly below zero, and a meter without a
/// sensor answers 4.29 MW.
const WATTS: Limits = Limits::new(-1000.0, 50_000.0);

/// Joules: any running total that fits.
const JOULES: Limits = Limits::new(0.0, 1e15);

/// Rails that carry everything the board draws.
const INPUT_RAILS: [&str; 2] = ["VDD_IN", "POM_5V_IN"];

pub(super) fn discover(root: &Root, chips: &[Chip], catalogue: &mut Catalogue) -> Vec<Slot> {
    let mut slots = ina3221x::discover(root, catalogue);
    for chip in chips {
        let of_chip = match chip.name.as_str() {
            "ina3221" => products(root, chip, catalogue),
            "xe" | "i915" => card_energy(root, chip, catalogue).into_iter().collect(),
            name if is_no_draw(name) => Vec::new(),
            _ => {
                let mut both = watts(root, chip, catalogue);
                both.extend(joules(root, chip, catalogue));
                both
            }
        };
        slots.extend(of_chip.into_iter().map(|slot| slot.behind(chip.gate(root))));
    }
    slots
}

fn is_no_draw(name: &str) -> bool {
    name == "acpi_fan" || name.starts_with("ucsi_source_psy") || name.starts_with("tcpm_source_psy")
}

/// What a rail of this name covers.
pub(super) fn rail(label: &str) -> Scope {
    if INPUT_RAILS.contains(&label) { Scope::BoardInput } else { Scope::Rail(label.to_owned()) }
}

/// The channel of a rail's power, without its source.
pub(super) fn rail_entry(label: &str, class: Class) -> Entry {
    Entry {
        id: format!("power.rail.{}", id_part(label)),
        quantity: Quantity::Power,
        unit: Unit::Watts,
        scope: rail(label),
        class,
        source: String::new(),
        group: Group::Bus,
    }
}

/// Rails of an INA3221: millivolts × milliamperes.
fn products(root: &Root, chip: &Chip, catalogue: &mut Catalogue) -> Vec<Slot> {
    let mut slots = Vec::new();
    for number in 1..=3 {
        let file = |suffix: &str| chip.path(&format!("in{number}_{suffix}"));
        let Some(label) = chip.label(root, &format!("in{number}_label")) else { continue };
        let disabled = root.integer(&file("enable")).is_ok_and(|enable| enable == 0);
        if disabled || label == "NC" {
            continue;
        }
        let (volts, amperes) = (file("input"), chip.path(&format!("curr{number}_input")));
        let entry =
            Entry { source: format!("/{volts} × curr{number}_input"), ..rail_entry(&label, Class::Derived) };
        match root.open(&volts).and_then(|volts| Ok((volts, root.open(&amperes)?))) {
            Ok((volts, amperes)) => {
                let channel = catalogue.gauge(entry);
                slots.push(Slot::new(vec![channel], Formula::Product(volts, amperes, 1e-6), WATTS));
            }
            Err(reason) => {
                catalogue.absent(
                    (&entry.id, entry.quantity, entry.unit, entry.scope),
                    &entry.source,
                    reason,
                    None,
                );
            }
        }
    }
    slots
}

/// `powerN_average` or `powerN_input`, in µW.
fn watts(root: &Root, chip: &Chip, catalogue: &mut Catalogue) -> Vec<Slot> {
    let mut numbers: Vec<u32> =
        chip.inputs("power", "_input").chain(chip.inputs("power", "_average")).collect();
    numbers.sort_unstable();
    numbers.dedup();
    if chip.name == "amdgpu" {
        numbers.truncate(1);
    }
    let mut slots = Vec::new();
    for number in numbers {
        let input = format!("power{number}");
        // Where both exist the average covers the time between two readings, the input is a moment.
        let average = format!("{input}_average");
        let file = if chip.files.contains(&average) { average } else { format!("{input}_input") };
        let label = label(root, chip, "power", number);
        let entry = match (&label, is_rail_monitor(&chip.name)) {
            (Some(label), true) => rail_entry(label, Class::Measured),
            _ => Entry {
                id: chip.id("power", label.as_deref(), &input),
                quantity: Quantity::Power,
                unit: Unit::Watts,
                scope: scope(root, chip, label.as_deref()),
                class: Class::Measured,
                source: String::new(),
                group: Group::Bus,
            },
        };
        slots.extend(enter(root, catalogue, entry, Kind::Gauge, &chip.path(&file), 1e-6, WATTS));
    }
    slots
}

/// `energyN_input`, in µJ.
fn joules(root: &Root, chip: &Chip, catalogue: &mut Catalogue) -> Vec<Slot> {
    let mut slots = Vec::new();
    for number in chip.inputs("energy", "_input") {
        let input = format!("energy{number}");
        let label = label(root, chip, "energy", number);
        let id = match (&label, is_rail_monitor(&chip.name)) {
            (Some(label), true) => format!("energy.rail.{}", id_part(label)),
            _ => chip.id("energy", label.as_deref(), &input),
        };
        let scope = scope(root, chip, label.as_deref());
        let path = chip.path(&format!("{input}_input"));
        slots.extend(counter(root, catalogue, id, scope, &path));
    }
    slots
}

/// Intel's graphics cards count the energy of the card and of its package; on some the first stays at zero.
fn card_energy(root: &Root, chip: &Chip, catalogue: &mut Catalogue) -> Option<Slot> {
    let asleep = chip.gate(root).is_some_and(|gate| gate.closed().is_some());
    let counts = |number: &u32| {
        !asleep && root.integer(&chip.path(&format!("energy{number}_input"))).is_ok_and(|energy| energy > 0)
    };
    let numbers: Vec<u32> = chip.inputs("energy", "_input").collect();
    let number = numbers.iter().copied().find(|number| counts(number)).or(numbers.first().copied())?;
    let input = format!("energy{number}");
    let label = chip.label(root, &format!("{input}_label"));
    let id = chip.id("energy", label.as_deref(), &input);
    counter(root, catalogue, id, Scope::Gpu, &chip.path(&format!("{input}_input")))
}

/// Enters an energy counter and, where no sensor gives the power itself, its rate.
fn counter(root: &Root, catalogue: &mut Catalogue, id: String, scope: Scope, path: &str) -> Option<Slot> {
    let power = id.replacen("energy.", "power.", 1);
    let entry = Entry {
        id,
        quantity: Quantity::Energy,
        unit: Unit::Joules,
        scope,
        class: Class::Measured,
        source: String::new(),
        group: Group::Bus,
    };
    let slot = enter(root, catalogue, entry, Kind::Counter, path, 1e-6, JOULES)?;
    if let (Some(&of), false) = (slot.channels.first(), catalogue.has_id(&power)) {
        catalogue.rate(&power, of, Quantity::Power, Unit::Watts);
    }
    Some(slot)
}

/// Monitors whose inputs are supply rails, labelled at the voltage.
fn is_rail_monitor(name: &str) -> bool {
    name.starts_with("ina")
}

fn label(root: &Root, chip: &Chip, prefix: &str, number: u32) -> Option<String> {
    let own = chip.label(root, &format!("{prefix}{number}_label"));
    if own.is_none() && is_rail_monitor(&chip.name) {
        return chip.label(root, &format!("in{number}_label"));
    }
    own
}

fn scope(root: &Root, chip: &Chip, label: Option<&str>) -> Scope {
    match chip.name.as_str() {
        // The integrated kind has a second voltage, of the north bridge, and its sensor sees the package.
        "amdgpu" if chip.label(root, "in1_label").is_some_and(|label| label == "vddnb") => Scope::Package,
        "amdgpu" => Scope::Gpu,
        "power_meter" => meter_scope(root, chip),
        name => label.map_or_else(|| Scope::Rail(name.to_owned()), rail),
    }
}

/// On NVIDIA Grace several meters are nested: module ⊃ Grace ⊃ CPU and SysIO.
fn meter_scope(root: &Root, chip: &Chip) -> Scope {
    let Ok(info) = root.text(&chip.path("device/power1_oem_info")) else { return Scope::BoardInput };
    match info.split_ascii_whitespace().next() {
        Some("Module") => Scope::Platform,
        Some("Grace") => Scope::Package,
        Some("CPU") => Scope::Cores,
        Some("SysIO") => Scope::Rail("SysIO".to_owned()),
        _ => Scope::BoardInput,
    }
}
