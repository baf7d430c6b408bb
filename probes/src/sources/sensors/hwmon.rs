//! Hardware monitors below `/sys/class/hwmon`: temperatures, fans, power and energy.
//!
//! Their numbers change from boot to boot; channels are named by the driver and the input's label. Each kind
//! of quantity is a source of its own, because an input may be a register behind a slow bus.

use std::collections::HashSet;
use std::sync::Arc;

use slmscope_profiles::channel::{Class, Quantity, Scope, Unit, id_part};

use crate::catalogue::{Catalogue, Entry};
use crate::facts::{self, boards::OPEN_AIR};
use crate::machine::board::Profile;
use crate::machine::root::Root;
use crate::source::{Group, Source};
use crate::sources::files::{self, Files, Gate, Kind, Limits, Slot, scaled};
use crate::sources::pci;
use crate::sources::sensors::peers::Peers;
use crate::sources::sensors::{sensor_location, thermal};

mod alarms;
mod ina3221x;
mod power;

pub(crate) use power::watts_of;

const FOLDER: &str = "sys/class/hwmon";

/// The file of the Jetson's tachometer, which has no number.
const TACHOMETER: &str = "rpm";

/// One monitor.
struct Chip {
    /// Its entry in the class: `hwmon4`.
    number: String,
    /// The driver's name for it.
    name: String,
    /// Where its files are.
    folder: String,
    /// Its entry in the class.
    base: String,
    files: Vec<String>,
    /// Where its entry points, if it is a link.
    target: String,
    /// Whether it is on a graphics or accelerator card.
    is_on_card: bool,
    /// What is known of its driver.
    known: Option<&'static facts::Driver>,
}

impl Chip {
    fn open_all(root: &Root) -> Vec<Self> {
        let mut chips = Vec::new();
        let mut cards = HashSet::new();
        for base in entries(root) {
            let entry = base.rsplit_once('/').map_or(base.as_str(), |(_, entry)| entry).to_owned();
            let target = root.link(&base).unwrap_or_default();
            // Old drivers keep name and inputs in the device's folder.
            let found = [base.clone(), format!("{base}/device")].into_iter().find_map(|folder| {
                let files = root.list(&folder).ok()?;
                let holds = |file: &String| {
                    ["_input", "_average", "_alarm", "_event_cnt"].iter().any(|end| file.ends_with(end))
                        || file == TACHOMETER
                };
                files.iter().any(holds).then_some((folder, files))
            });
            let Some((folder, files)) = found else { continue };
            let name = [format!("{folder}/name"), format!("{base}/name")]
                .iter()
                .find_map(|path| root.text(path).ok().filter(|name| !name.is_empty()))
                .unwrap_or_else(|| "hwmon".to_owned());
            let known = facts::driver(&name);
            let device = format!("{base}/device");
            let is_on_card = known.is_some_and(is_of_cards) || is_accelerator(root, &device);
            // Some drivers show one card twice.
            let identity = root.identity(&format!("{device}/hwmon"));
            if is_on_card && identity.is_some_and(|card| !cards.insert((card, name.clone()))) {
                continue;
            }
            chips.push(Self { number: entry, name, folder, base, files, target, is_on_card, known });
        }
        chips
    }

    /// Numbers N for which the chip has `PREFIXnSUFFIX`, in order.
    fn inputs<'c>(&'c self, prefix: &'c str, suffix: &'c str) -> impl Iterator<Item = u32> + 'c {
        self.files
            .iter()
            .filter_map(move |file| file.strip_prefix(prefix)?.strip_suffix(suffix)?.parse().ok())
    }

    fn has(&self, file: &str) -> bool {
        self.files.iter().any(|name| name == file)
    }

    fn tachometer(&self) -> Option<String> {
        self.has(TACHOMETER).then(|| TACHOMETER.to_owned())
    }

    fn path(&self, file: &str) -> String {
        format!("{}/{file}", self.folder)
    }

    fn label(&self, root: &Root, file: &str) -> Option<String> {
        root.text(&self.path(file)).ok()?.lines().next().filter(|label| !label.is_empty()).map(str::to_owned)
    }

    /// Graphics cards are left asleep; other devices wake for a moment and sleep again.
    fn gate(&self, root: &Root) -> Option<Arc<Gate>> {
        if self.is_card() { pci::gate(root, &format!("{}/device", self.base)) } else { None }
    }

    fn is_card(&self) -> bool {
        matches!(self.name.as_str(), "amdgpu" | "radeon" | "nouveau" | "i915" | "xe")
    }

    /// A card's labels are constants of its driver. They are not read, because the card may sleep.
    fn temperature_label(&self, root: &Root, number: u32) -> Option<String> {
        let known = match (self.name.as_str(), number) {
            ("amdgpu", 1) => "edge",
            ("amdgpu", 2) => "junction",
            ("amdgpu", 3) => "mem",
            ("xe", 2) => "pkg",
            ("xe", 3) => "vram",
            _ if self.is_card() => return None,
            _ => return self.label(root, &format!("temp{number}_label")),
        };
        Some(known.to_owned())
    }

    /// What a temperature input covers.
    fn temperature_scope(&self, label: Option<&str>) -> Scope {
        if self.is_on_card { Scope::Gpu } else { sensor_location::of_monitor(&self.name, label) }
    }

    /// Whether a temperature is one. Documentation/hwmon/k10temp.rst: before family 17h, Tctl is no physical
    /// temperature but a scale for the fan. Where the driver shows Tdie beside it, Tctl has an offset.
    fn temperature_class(&self, label: Option<&str>, amd_family: Option<u32>) -> Class {
        let is_scale = match label {
            Some("Tctl") => self.has("temp2_input") || amd_family.is_some_and(|family| family < 0x17),
            None => amd_family.is_none_or(|family| family < 0x17),
            Some(_) => false,
        };
        if self.name == "k10temp" && is_scale { Class::Reported } else { Class::Measured }
    }

    /// What is known of a power or energy input.
    fn power_input(&self, label: Option<&str>) -> Option<&'static facts::Input> {
        self.known?.input(facts::Kind::Power, label)
    }

    /// No such device draws more, W.
    fn most_watts(&self) -> f64 {
        self.known.map_or(facts::ANY_WATTS, |known| known.most_watts)
    }

    /// Which temperatures the chip may have.
    fn temperatures(&self) -> Limits {
        if OPEN_AIR.iter().any(|pattern| facts::fits(pattern, &self.name)) {
            let none = self.known.map_or(thermal::OPEN_AIR.unconnected, |known| known.none);
            return Limits { unconnected: none, ..thermal::OPEN_AIR };
        }
        match self.known.map(|known| known.none) {
            Some(none) if !none.is_empty() => Limits { unconnected: none, ..thermal::PLAUSIBLE },
            _ => thermal::PLAUSIBLE,
        }
    }

    /// The battery or charger that the monitor repeats.
    fn is_supply(&self) -> bool {
        self.target.contains("/power_supply/") || self.name.contains("source_psy")
    }

    /// `FAMILY.CHIP_LABEL`, with the input's own name where it has no label.
    fn id(&self, family: &str, label: Option<&str>, input: &str) -> String {
        format!("{family}.{}_{}", id_part(&self.name), id_part(label.unwrap_or(input)))
    }
}

fn is_of_cards(driver: &'static facts::Driver) -> bool {
    driver.input(facts::Kind::Power, None).is_some_and(|input| input.place == facts::Place::Card)
}

/// Whether a device is a processing accelerator by its PCI class.
fn is_accelerator(root: &Root, device: &str) -> bool {
    root.text(&format!("{device}/class")).is_ok_and(|class| class.starts_with("0x12"))
}

/// The family of an AMD processor; `None` for others.
fn amd_family(root: &Root) -> Option<u32> {
    let text = root.text("proc/cpuinfo").ok()?;
    let value = |key: &str| {
        let line = text.lines().find(|line| line.starts_with(key))?;
        line.split_once(':').map(|(_, value)| value.trim().to_owned())
    };
    value("vendor_id").filter(|vendor| vendor == "AuthenticAMD")?;
    value("cpu family")?.parse().ok()
}

/// The monitors of the class in the order of their devices, and those of current monitors on the I2C bus that the
/// class does not show.
fn entries(root: &Root) -> Vec<String> {
    let mut entries: Vec<String> = root
        .list_class("hwmon")
        .unwrap_or_default()
        .iter()
        .map(|entry| format!("{FOLDER}/{entry}"))
        .collect();
    for driver in ["ina3221", "ina2xx", "ina238"] {
        let folder = format!("sys/bus/i2c/drivers/{driver}");
        for chip in root.list(&folder).unwrap_or_default() {
            let monitors = format!("{folder}/{chip}/hwmon");
            for monitor in root.list(&monitors).unwrap_or_default() {
                if !entries.contains(&format!("{FOLDER}/{monitor}")) {
                    entries.push(format!("{monitors}/{monitor}"));
                }
            }
        }
    }
    entries
}

/// Sources of the monitors, one per kind.
pub(crate) struct Monitors {
    pub(crate) temperatures: Option<Box<dyn Source>>,
    pub(crate) fans: Option<Box<dyn Source>>,
    /// Over-current events, alarms and undervoltage.
    pub(crate) alarms: Option<Box<dyn Source>>,
    pub(crate) power: Option<Box<dyn Source>>,
}

/// Enters the channels of all monitors, but not the power of those in `cards`: that is listed with the card.
pub(crate) fn discover(
    root: &Root,
    board: Option<&Profile>,
    cards: &HashSet<String>,
    peers: &Arc<Peers>,
    catalogue: &mut Catalogue,
) -> Monitors {
    let chips = Chip::open_all(root);
    let power = power::discover(root, &chips, board, cards, catalogue);
    Monitors {
        temperatures: Files::boxed(root, temperatures(root, &chips, peers, catalogue)),
        fans: Files::boxed(root, fans(root, &chips, catalogue)),
        alarms: Files::boxed(root, alarms::discover(root, &chips, catalogue)),
        power: Files::boxed(root, power),
    }
}

fn temperatures(root: &Root, chips: &[Chip], peers: &Arc<Peers>, catalogue: &mut Catalogue) -> Vec<Slot> {
    let mut slots = Vec::new();
    let family = amd_family(root);
    // A monitor that the kernel makes of a thermal zone is listed as that zone already.
    for chip in chips.iter().filter(|chip| !chip.target.contains("thermal_zone")) {
        let gate = chip.gate(root);
        for number in chip.inputs("temp", "_input") {
            let input = format!("temp{number}");
            let label = chip.temperature_label(root, number);
            let entry = Entry {
                id: chip.id("temp", label.as_deref(), &input),
                quantity: Quantity::Temperature,
                unit: Unit::Celsius,
                scope: chip.temperature_scope(label.as_deref()),
                class: chip.temperature_class(label.as_deref(), family),
                source: String::new(),
                group: Group::Slow,
            };
            let path = chip.path(&format!("{input}_input"));
            let fault =
                if chip.is_card() { None } else { root.open(&chip.path(&format!("{input}_fault"))).ok() };
            let fault = fault.map(|fault| Arc::new(Gate::Faulty(fault)));
            let is_package = entry.scope == Scope::Package;
            let how = (scaled(1e-3), chip.temperatures());
            let slot = files::enter(root, catalogue, entry, Kind::Gauge, &path, how, gate.as_ref());
            let slot = slot.map(|slot| slot.behind(fault));
            if is_package {
                peers.add(root, &path);
            }
            slots.extend(slot.map(|slot| if is_package { slot.among(peers, &path) } else { slot }));
        }
    }
    slots
}

fn fans(root: &Root, chips: &[Chip], catalogue: &mut Catalogue) -> Vec<Slot> {
    let mut slots = Vec::new();
    for chip in chips {
        let gate = chip.gate(root);
        let inputs: Vec<String> = chip
            .inputs("fan", "_input")
            .map(|number| format!("fan{number}"))
            .chain(chip.tachometer())
            .collect();
        for input in inputs {
            let label = if chip.is_card() { None } else { chip.label(root, &format!("{input}_label")) };
            let entry = Entry {
                id: chip.id("fan", label.as_deref(), &input),
                quantity: Quantity::Fan,
                unit: Unit::Rpm,
                scope: Scope::Machine,
                // ACPI firmware may report a step number as if it were a speed.
                class: if chip.name == "acpi_fan" { Class::Reported } else { Class::Measured },
                source: String::new(),
                group: Group::Slow,
            };
            let file = if input == TACHOMETER { input } else { format!("{input}_input") };
            let how = (scaled(1.0), Limits::new(0.0, 50_000.0));
            let path = chip.path(&file);
            slots.extend(files::enter(root, catalogue, entry, Kind::Gauge, &path, how, gate.as_ref()));
        }
    }
    slots
}
