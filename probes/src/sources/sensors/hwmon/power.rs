//! Power and energy of the monitors, and what each of them covers.
//!
//! Several sensors see the same current on its way from the wall to a core, so every channel has a scope and
//! nothing is added up here.
//!
//! | chip | what counts |
//! |---|---|
//! | `ina3221` | inputs 1–3: V × I by label. 4–7 are shunt voltages and sums; label `NC` is not connected |
//! | other `ina…` | power and energy of each input, by label; else V × I where both are labelled |
//! | `amdgpu`, `xe`, `i915` | listed with the card; here only where the card is not shown |
//! | `power_meter` | the board's input, or on Grace what `power1_oem_info` names, which is its label |
//! | `scmi_sensors`, `altra_hwmon`, `apm_xgene`, `amd_energy` | by label |
//! | batteries, chargers, USB sources, fans, network cards | nothing: not what the machine draws |

use std::collections::HashSet;

use slmscope_profiles::channel::{Class, Quantity, Scope, Unit, id_part};

use super::{Chip, ina3221x};
use crate::catalogue::{Catalogue, Entry};
use crate::machine::board::{Profile, has_device_tree};
use crate::machine::root::Root;
use crate::source::Group;
use crate::sources::files::{Formula, Input, Kind, Limits, Slot, enter, scaled};
use crate::sources::power::total::rail_power;

/// Watts of anything that has a hwmon sensor. A rail may read slightly below zero, and a meter without a
/// sensor answers 4.29 MW.
const WATTS: Limits = Limits::new(-1000.0, 50_000.0);

/// Joules: any running total that fits.
const JOULES: Limits = Limits::new(0.0, 1e15);

/// Label of an input that is not connected.
pub(super) const NOT_CONNECTED: &str = "NC";

/// Labels of inputs that carry everything the board draws: Jetson's, Apple's controller's, a supply's own.
const INPUT_RAILS: [&str; 5] = ["VDD_IN", "POM_5V_IN", "VIN", "Total System Power", "power total"];

pub(super) fn discover(
    root: &Root,
    chips: &[Chip],
    board: Option<&Profile>,
    cards: &HashSet<String>,
    catalogue: &mut Catalogue,
) -> Vec<Slot> {
    // In a PC a monitor may be on any rail.
    let is_board = board.is_some() || has_device_tree(root);
    let lone = if is_board { lone_monitor(root, chips) } else { None };
    let known = Known { board, lone };
    let mut slots = ina3221x::discover(root, catalogue, known);
    for chip in chips {
        let of_chip = match chip.name.as_str() {
            "ina3221" => products(root, chip, known, 1..=3, catalogue),
            _ if cards.contains(&chip.number) => Vec::new(),
            "xe" | "i915" => card_energy(root, chip, catalogue).into_iter().collect(),
            _ if is_no_draw(chip) => Vec::new(),
            name => {
                let mut both = watts(root, chip, known, catalogue);
                both.extend(joules(root, chip, known, catalogue));
                if both.is_empty() && is_rail_monitor(name) {
                    both = products(root, chip, known, 1..=4, catalogue);
                }
                both
            }
        };
        slots.extend(of_chip.into_iter().map(|slot| slot.behind(chip.gate(root))));
    }
    slots
}

/// What else shows what a sensor measures.
#[derive(Clone, Copy)]
pub(super) struct Known<'b> {
    board: Option<&'b Profile>,
    /// The entry of the one current monitor without labels, on a machine that is a board.
    lone: Option<&'b str>,
}

impl Known<'_> {
    /// What the input of a monitor covers.
    pub(super) fn scope(self, chip: &str, number: &str, label: Option<&str>) -> Scope {
        if let Some(scope) = self.board.and_then(|board| board.scope(chip, label)) {
            return scope.clone();
        }
        match label {
            Some(label) if INPUT_RAILS.contains(&label) => Scope::BoardInput,
            Some(label) => Scope::Rail(label.to_owned()),
            None if self.lone == Some(number) => Scope::BoardInput,
            None => Scope::Rail(chip.to_owned()),
        }
    }
}

/// A single monitor without a label is an extension on a board's supply: that of a battery or a meter.
fn lone_monitor<'c>(root: &Root, chips: &'c [Chip]) -> Option<&'c str> {
    let mut unlabelled = chips.iter().filter(|chip| {
        is_rail_monitor(&chip.name) && !chip.files.iter().any(|file| file.ends_with("_label"))
    });
    let first = unlabelled.next()?;
    let alone = unlabelled.next().is_none() && first.label(root, "label").is_none();
    alone.then_some(first.number.as_str())
}

fn is_no_draw(chip: &Chip) -> bool {
    const PREFIXES: [&str; 7] = ["acpi_fan", "ucsi_source", "tcpm_source", "nvme", "mlx", "iwlwifi", "mt79"];
    chip.is_supply() || PREFIXES.iter().any(|prefix| chip.name.starts_with(prefix))
}

/// The channel of a rail's power, without its source.
pub(super) fn rail_entry(name: &str, scope: Scope, class: Class) -> Entry {
    Entry {
        id: rail_power(name),
        quantity: Quantity::Power,
        unit: Unit::Watts,
        scope,
        class,
        source: String::new(),
        group: Group::Bus,
    }
}

/// Rails of a monitor that reports voltage and current: millivolts × milliamperes.
fn products(
    root: &Root,
    chip: &Chip,
    known: Known<'_>,
    inputs: std::ops::RangeInclusive<u32>,
    catalogue: &mut Catalogue,
) -> Vec<Slot> {
    let mut slots = Vec::new();
    for number in inputs {
        let file = |suffix: &str| chip.path(&format!("in{number}_{suffix}"));
        let Some(label) = chip.label(root, &format!("in{number}_label")) else { continue };
        let disabled = root.in_time(&file("enable"), Root::integer).is_ok_and(|enable| enable == 0);
        let current = chip.path(&format!("curr{number}_enable"));
        let off = root.in_time(&current, Root::integer).is_ok_and(|enable| enable == 0);
        if disabled || off || label == NOT_CONNECTED {
            continue;
        }
        let (volts, amperes) = (file("input"), chip.path(&format!("curr{number}_input")));
        let scope = known.scope(&chip.name, &chip.number, Some(&label));
        let source = format!("/{volts} × curr{number}_input");
        let entry = Entry { source, ..rail_entry(&label, scope, Class::Derived) };
        match root.open(&volts).and_then(|volts| Ok((volts, root.open(&amperes)?))) {
            Ok((volts, amperes)) => {
                let channel = catalogue.gauge(entry);
                let formula = Formula::Product(volts.into(), amperes.into(), 1e-6);
                slots.push(Slot::new(vec![channel], formula, WATTS));
            }
            Err(reason) => {
                let channel = (entry.id.as_str(), entry.quantity, entry.unit, entry.scope);
                catalogue.absent(channel, &entry.source, reason);
            }
        }
    }
    slots
}

/// `powerN_average` or `powerN_input`, in µW.
fn watts(root: &Root, chip: &Chip, known: Known<'_>, catalogue: &mut Catalogue) -> Vec<Slot> {
    let mut numbers: Vec<u32> =
        chip.inputs("power", "_input").chain(chip.inputs("power", "_average")).collect();
    numbers.sort_unstable();
    numbers.dedup();
    if chip.name == "amdgpu" {
        numbers.truncate(1);
    }
    let gate = chip.gate(root);
    let mut slots = Vec::new();
    for number in numbers {
        let input = format!("power{number}");
        // If both exist: the average covers the time between two readings, the input is an instantaneous value.
        let average = format!("{input}_average");
        let file = if chip.files.contains(&average) { average } else { format!("{input}_input") };
        let label = label(root, chip, "power", number);
        let scope = scope(chip, known, label.as_deref());
        let entry = match (&label, is_rail_monitor(&chip.name)) {
            (Some(label), true) => rail_entry(label, scope, Class::Measured),
            (None, true) => rail_entry(&chip.name, scope, Class::Measured),
            _ => Entry {
                id: chip.id("power", label.as_deref(), &input),
                ..rail_entry("", scope, Class::Measured)
            },
        };
        let how = (scaled(1e-6), WATTS);
        slots.extend(enter(root, catalogue, entry, Kind::Gauge, &chip.path(&file), how, gate.as_ref()));
    }
    slots
}

/// `energyN_input`, in µJ.
fn joules(root: &Root, chip: &Chip, known: Known<'_>, catalogue: &mut Catalogue) -> Vec<Slot> {
    let mut slots = Vec::new();
    for number in chip.inputs("energy", "_input") {
        let input = format!("energy{number}");
        let label = label(root, chip, "energy", number);
        let id = match (&label, is_rail_monitor(&chip.name)) {
            (Some(label), true) => format!("energy.rail.{}", id_part(label)),
            (None, true) => format!("energy.rail.{}", id_part(&chip.name)),
            _ => chip.id("energy", label.as_deref(), &input),
        };
        let scope = scope(chip, known, label.as_deref());
        let path = chip.path(&format!("{input}_input"));
        slots.extend(counter(root, catalogue, id, scope, &path));
    }
    slots
}

/// Intel's graphics cards count the energy of the card and of its package; on some the first stays at zero.
fn card_energy(root: &Root, chip: &Chip, catalogue: &mut Catalogue) -> Option<Slot> {
    let paths: Vec<String> =
        chip.inputs("energy", "_input").map(|number| chip.path(&format!("energy{number}_input"))).collect();
    let first = paths.first()?;
    let id = format!("energy.{}", id_part(&chip.name));
    let mut slot = counter(root, catalogue, id, Scope::Gpu, first)?;
    slot.replace(Formula::Counting(paths.into_iter().map(Input::later).collect(), 1e-6));
    Some(slot)
}

/// Enters an energy counter and, where no sensor reports the power itself, its rate.
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
    let slot = enter(root, catalogue, entry, Kind::Counter(None), path, (scaled(1e-6), JOULES), None)?;
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
    if chip.is_card() {
        return None;
    }
    if chip.name == "power_meter" {
        return meter_info(root, chip);
    }
    let own = chip.label(root, &format!("{prefix}{number}_label"));
    if own.is_none() && is_rail_monitor(&chip.name) {
        return chip.label(root, &format!("in{number}_label")).or_else(|| chip.label(root, "label"));
    }
    own
}

fn scope(chip: &Chip, known: Known<'_>, label: Option<&str>) -> Scope {
    let of_cores = |label: &str| label.starts_with("Ecore") || label == "CPU power";
    match (chip.name.as_str(), label) {
        // The integrated kind has a second voltage, of the north bridge, and its sensor sees the package.
        ("amdgpu", _) if chip.files.iter().any(|file| file == "in1_input") => Scope::Package,
        ("amdgpu" | "radeon", _) => Scope::Gpu,
        ("power_meter", info) => meter_scope(info),
        ("amd_energy", Some(label)) if label.starts_with("Esocket") => Scope::Package,
        ("amd_energy" | "altra_hwmon" | "apm_xgene", Some(label)) if of_cores(label) => Scope::Cores,
        ("altra_hwmon" | "apm_xgene", Some(label)) if label.contains("DIMM") || label.contains("DRAM") => {
            Scope::Dram
        }
        ("altra_hwmon" | "apm_xgene", Some(label)) if label.contains("CPU") => Scope::Package,
        (name, _) => known.scope(name, &chip.number, label),
    }
}

/// What ACPI's meter measures, in its own words: `Module Power Socket 0`.
fn meter_info(root: &Root, chip: &Chip) -> Option<String> {
    ["device/power1_oem_info", "power1_oem_info"].iter().find_map(|file| chip.label(root, file))
}

/// On NVIDIA Grace several meters are nested: module ⊃ Grace ⊃ CPU and SysIO. Each is there once for each socket.
fn meter_scope(info: Option<&str>) -> Scope {
    match info.and_then(|info| info.split_ascii_whitespace().next()) {
        Some("Module") => Scope::Platform,
        Some("Grace") => Scope::Package,
        Some("CPU") => Scope::Cores,
        Some("SysIO") => Scope::Rail("SysIO".to_owned()),
        _ => Scope::BoardInput,
    }
}
