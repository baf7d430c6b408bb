//! Power and energy of the monitors, and what each of them covers.
//!
//! Several sensors see the same current on its way from the wall to a core, so every channel has a scope and
//! nothing is added up here.
//!
//! | chip | what counts |
//! |---|---|
//! | `ina3221` | inputs 1–3: V × I by label, or by number. 4–7 are shunt voltages and sums; label `NC` is not connected |
//! | other current monitors | power and energy of each input, by label; else V × I where both are labelled |
//! | `amdgpu`, `xe`, `i915` | listed with the card; here only where the card is not shown |
//! | `power_meter` | the board's input, or on Grace what `power1_oem_info` names, which is its label |
//! | others | by the tables of `facts`, else a rail of the chip's or the label's name |
//! | batteries, chargers, USB sources, fans, network cards | nothing: not what the machine draws |
//!
//! A current monitor without a label, on a board whose description does not place it, is an extension that somebody
//! put into a lead: of the supply, of a solar panel, of a battery. Nothing says which, so it is a rail of its own
//! and never the board; at the voltage of lithium cells it is a battery's. The sign comes from the current, because the
//! power register of such chips has none, and which direction is positive depends on the wiring.

use std::collections::HashSet;

use slmscope_profiles::channel::{Class, Quantity, Scope, Unit, id_part};

use super::{Chip, ina3221x};
use crate::catalogue::{Catalogue, Entry};
use crate::facts::{ANY_WATTS, supplies};
use crate::machine::board::Profile;
use crate::machine::root::Root;
use crate::source::Group;
use crate::sources::files::{Formula, Input, Kind, Limits, Slot, enter, scaled};
use crate::sources::power::total::rail_power;

/// Watts of anything that has a hwmon sensor. A rail may read slightly below zero, and a meter without a
/// sensor answers 4.29 MW.
const WATTS: Limits = Limits::new(-1000.0, ANY_WATTS);

/// A whole processor, card or board that is read draws more than this, W. Zero and one milliwatt are what firmware
/// without a sensor answers; the least that a card was seen to draw when awake is 3 W.
const LEAST: f64 = 0.1;

/// What a sensor of this scope may show, where no such device draws more than `most`, W.
pub(crate) fn watts_of(scope: &Scope, most: f64) -> Limits {
    match scope {
        Scope::Package | Scope::Gpu | Scope::Platform | Scope::BoardInput => Limits::new(LEAST + 1e-6, most),
        _ => Limits { high: most, ..WATTS },
    }
}

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
    let known = Known { board };
    let mut slots = ina3221x::discover(root, catalogue, known);
    for chip in chips {
        let of_chip = match chip.name.as_str() {
            "ina3221" => products(root, chip, known, 1..=3, catalogue),
            _ if cards.contains(&chip.number) => Vec::new(),
            "xe" | "i915" => card_energy(root, chip, catalogue).into_iter().collect(),
            _ if chip.is_supply() || supplies::is_not_drawn(&chip.name) => Vec::new(),
            name => {
                let mut both = watts(root, chip, known, catalogue);
                both.extend(joules(root, chip, known, catalogue));
                if both.is_empty() && supplies::is_monitor(name) {
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
}

impl Known<'_> {
    /// What the input of a monitor covers, by the board's description or its label. `None` where neither says it.
    fn told(self, chip: &str, label: Option<&str>) -> Option<Scope> {
        if let Some(scope) = self.board.and_then(|board| board.scope(chip, label)) {
            return Some(scope.clone());
        }
        let label = label?;
        let is_input = INPUT_RAILS.contains(&label);
        Some(if is_input { Scope::BoardInput } else { Scope::Rail(label.to_owned()) })
    }

    /// The same; the chip's own rail where neither says it.
    pub(super) fn scope(self, chip: &str, label: Option<&str>) -> Scope {
        self.told(chip, label).unwrap_or_else(|| Scope::Rail(chip.to_owned()))
    }
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
        let given = chip.label(root, &format!("in{number}_label"));
        let has = |file: &str| chip.has(&format!("{file}{number}_input"));
        if given.is_none() && !(has("in") && has("curr")) {
            continue;
        }
        // A device tree without names gives the inputs none.
        let name = format!("{}_{number}", chip.name);
        let label = given.as_deref().unwrap_or(&name);
        let disabled = root.in_time(&file("enable"), Root::integer).is_ok_and(|enable| enable == 0);
        let current = chip.path(&format!("curr{number}_enable"));
        let off = root.in_time(&current, Root::integer).is_ok_and(|enable| enable == 0);
        if disabled || off || label == NOT_CONNECTED {
            continue;
        }
        let (volts, amperes) = (file("input"), chip.path(&format!("curr{number}_input")));
        let scope = match &given {
            Some(label) => known.scope(&chip.name, Some(label)),
            None => own_rail(catalogue, &name),
        };
        let limits = watts_of(&scope, ANY_WATTS);
        let source = format!("/{volts} × curr{number}_input");
        let entry = Entry { source, ..rail_entry(label, scope, Class::Derived) };
        match root.open(&volts).and_then(|volts| Ok((volts, root.open(&amperes)?))) {
            Ok((volts, amperes)) => {
                let channel = catalogue.gauge(entry);
                let formula = Formula::Product(volts.into(), amperes.into(), 1e-6);
                slots.push(Slot::new(vec![channel], formula, limits));
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
        if label.is_none() && supplies::is_monitor(&chip.name) && known.told(&chip.name, None).is_none() {
            slots.extend(extension(root, chip, number, catalogue));
            continue;
        }
        let class = chip.power_input(label.as_deref()).map_or(Class::Measured, |input| input.class);
        let entry = match (&label, supplies::is_monitor(&chip.name)) {
            (Some(label), true) => rail_entry(label, scope(chip, known, Some(label)), class),
            (None, true) => rail_entry(&chip.name, scope(chip, known, None), class),
            _ => Entry {
                id: chip.id("power", label.as_deref(), &input),
                ..rail_entry("", scope(chip, known, label.as_deref()), class)
            },
        };
        let limits = watts_of(&entry.scope, chip.most_watts());
        let how = (scaled(1e-6), limits);
        slots.extend(enter(root, catalogue, entry, Kind::Gauge, &chip.path(&file), how, gate.as_ref()));
    }
    slots
}

/// The scope of a rail that has no name but that of its channel, which differs between alike chips.
fn own_rail(catalogue: &Catalogue, name: &str) -> Scope {
    let id = catalogue.free_id(&rail_power(name));
    Scope::Rail(id.strip_prefix("power.rail.").unwrap_or(name).to_owned())
}

/// The power of a monitor in a lead that nobody named. If the bus has the voltage of lithium cells, it is a battery's.
fn extension(root: &Root, chip: &Chip, number: u32, catalogue: &mut Catalogue) -> Option<Slot> {
    // in1 is the bus and in0 the shunt; with several inputs they count along with the powers.
    let bus = root.in_time(&chip.path(&format!("in{number}_input")), Root::integer);
    let is_cells = bus.is_ok_and(|millivolts| supplies::is_cells(millivolts as f64 / 1e3));
    let scope = if is_cells { Scope::Battery } else { own_rail(catalogue, &chip.name) };
    let entry = rail_entry(&chip.name, scope, Class::Measured);
    let path = chip.path(&format!("power{number}_input"));
    let current = chip.path(&format!("curr{number}_input"));
    if !root.exists(&current) {
        return enter(root, catalogue, entry, Kind::Gauge, &path, (scaled(1e-6), WATTS), None);
    }
    let signed = move |power| Formula::Signed(power, Input::later(current), 1e-6);
    enter(root, catalogue, entry, Kind::Gauge, &path, (signed, WATTS), None)
}

/// `energyN_input`, in µJ.
fn joules(root: &Root, chip: &Chip, known: Known<'_>, catalogue: &mut Catalogue) -> Vec<Slot> {
    let mut slots = Vec::new();
    for number in chip.inputs("energy", "_input") {
        let input = format!("energy{number}");
        let label = label(root, chip, "energy", number);
        let id = match (&label, supplies::is_monitor(&chip.name)) {
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

fn label(root: &Root, chip: &Chip, prefix: &str, number: u32) -> Option<String> {
    if chip.is_card() {
        return None;
    }
    if chip.name == "power_meter" {
        return meter_info(root, chip);
    }
    let own = chip.label(root, &format!("{prefix}{number}_label"));
    if own.is_none() && supplies::is_monitor(&chip.name) {
        return chip.label(root, &format!("in{number}_label")).or_else(|| chip.label(root, "label"));
    }
    own
}

fn scope(chip: &Chip, known: Known<'_>, label: Option<&str>) -> Scope {
    match (chip.name.as_str(), label) {
        // The integrated kind has a second voltage, of the north bridge, and its sensor sees the package.
        ("amdgpu", _) if chip.files.iter().any(|file| file == "in1_input") => Scope::Package,
        ("power_meter", info) => meter_scope(info),
        (name, _) => match chip.power_input(label) {
            Some(input) => input.place.scope(label.unwrap_or(name)),
            None if chip.is_on_card => Scope::Gpu,
            None => known.scope(name, label),
        },
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
