//! Hardware monitors below `/sys/class/hwmon`: temperatures, fans, power and energy.
//!
//! Their numbers change from boot to boot; channels are named by the driver and the input's label. Each kind
//! of quantity is a source of its own, because an input may be a register behind a slow bus.

use slmscope_profiles::channel::{Class, Quantity, Scope, Unit, id_part};

use crate::catalogue::{Catalogue, Entry};
use crate::files::{Files, Formula, Gate, Limits, Slot};
use crate::root::Root;
use crate::source::{Group, Source};
use crate::{pci, thermal};

mod ina3221x;
mod power;

const FOLDER: &str = "sys/class/hwmon";

/// One monitor.
struct Chip {
    /// The driver's name for it.
    name: String,
    /// Where its files are.
    folder: String,
    /// Its entry in the class.
    base: String,
    files: Vec<String>,
    /// Where its entry points, if it is a link.
    target: String,
}

impl Chip {
    fn open_all(root: &Root) -> Vec<Self> {
        let mut chips = Vec::new();
        for entry in root.list(FOLDER).unwrap_or_default() {
            let base = format!("{FOLDER}/{entry}");
            let target = root.link(&base).unwrap_or_default();
            // Old drivers keep name and inputs in the device's folder.
            let found = [base.clone(), format!("{base}/device")].into_iter().find_map(|folder| {
                let files = root.list(&folder).ok()?;
                files
                    .iter()
                    .any(|file| file.contains("_input") || file.contains("_average"))
                    .then_some((folder, files))
            });
            let Some((folder, files)) = found else { continue };
            let name = [format!("{folder}/name"), format!("{base}/name")]
                .iter()
                .find_map(|path| root.text(path).ok().filter(|name| !name.is_empty()))
                .unwrap_or_else(|| "hwmon".to_owned());
            chips.push(Self { name, folder, base, files, target });
        }
        chips
    }

    /// Numbers N for which the chip has `PREFIXnSUFFIX`, in order.
    fn inputs<'c>(&'c self, prefix: &'c str, suffix: &'c str) -> impl Iterator<Item = u32> + 'c {
        self.files
            .iter()
            .filter_map(move |file| file.strip_prefix(prefix)?.strip_suffix(suffix)?.parse().ok())
    }

    fn path(&self, file: &str) -> String {
        format!("{}/{file}", self.folder)
    }

    fn label(&self, root: &Root, file: &str) -> Option<String> {
        root.text(&self.path(file)).ok().filter(|label| !label.is_empty())
    }

    /// Graphics cards are left asleep; other devices wake for a moment and sleep again.
    fn gate(&self, root: &Root) -> Option<Gate> {
        let is_card = matches!(self.name.as_str(), "amdgpu" | "radeon" | "nouveau" | "i915" | "xe");
        if is_card { pci::gate(root, &format!("{}/device", self.base)) } else { None }
    }

    /// `FAMILY.CHIP_LABEL`, with the input's own name where it has no label.
    fn id(&self, family: &str, label: Option<&str>, input: &str) -> String {
        format!("{family}.{}_{}", id_part(&self.name), id_part(label.unwrap_or(input)))
    }
}

/// Sources of the monitors, one per kind.
pub(crate) struct Monitors {
    pub(crate) temperatures: Option<Box<dyn Source>>,
    pub(crate) fans: Option<Box<dyn Source>>,
    pub(crate) power: Option<Box<dyn Source>>,
}

/// Enters the channels of all monitors.
pub(crate) fn discover(root: &Root, catalogue: &mut Catalogue) -> Monitors {
    let chips = Chip::open_all(root);
    let boxed = |slots| Files::new(root, slots).map(|files| Box::new(files) as Box<dyn Source>);
    let power = power::discover(root, &chips, catalogue);
    Monitors {
        temperatures: boxed(temperatures(root, &chips, catalogue)),
        fans: boxed(fans(root, &chips, catalogue)),
        power: boxed(power),
    }
}

fn temperatures(root: &Root, chips: &[Chip], catalogue: &mut Catalogue) -> Vec<Slot> {
    let mut slots = Vec::new();
    // What the kernel makes out of a thermal zone is listed there already.
    for chip in chips.iter().filter(|chip| !chip.target.contains("thermal_zone")) {
        for number in chip.inputs("temp", "_input") {
            let input = format!("temp{number}");
            let label = chip.label(root, &format!("{input}_label"));
            let entry = Entry {
                id: chip.id("temp", label.as_deref(), &input),
                quantity: Quantity::Temperature,
                unit: Unit::Celsius,
                scope: Scope::Machine,
                class: Class::Measured,
                source: String::new(),
                group: Group::Slow,
            };
            let path = chip.path(&format!("{input}_input"));
            let fault = root.open(&chip.path(&format!("{input}_fault"))).ok().map(Gate::Faulty);
            let slot = enter(root, catalogue, entry, Kind::Gauge, &path, 1e-3, thermal::PLAUSIBLE);
            slots.extend(slot.map(|slot| slot.behind(chip.gate(root)).behind(fault)));
        }
    }
    slots
}

fn fans(root: &Root, chips: &[Chip], catalogue: &mut Catalogue) -> Vec<Slot> {
    let mut slots = Vec::new();
    for chip in chips {
        for number in chip.inputs("fan", "_input") {
            let input = format!("fan{number}");
            let label = chip.label(root, &format!("{input}_label"));
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
            let path = chip.path(&format!("{input}_input"));
            let slot = enter(root, catalogue, entry, Kind::Gauge, &path, 1.0, Limits::new(0.0, 50_000.0));
            slots.extend(slot.map(|slot| slot.behind(chip.gate(root))));
        }
    }
    slots
}

/// Whether a file holds the value or a running total.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Gauge,
    Counter,
}

/// Enters one file, or the reason why it cannot be opened.
fn enter(
    root: &Root,
    catalogue: &mut Catalogue,
    entry: Entry,
    kind: Kind,
    path: &str,
    factor: f64,
    limits: Limits,
) -> Option<Slot> {
    let source = format!("/{path}");
    match root.open(path) {
        Ok(handle) => {
            let entry = Entry { source, ..entry };
            let channel = match kind {
                Kind::Gauge => catalogue.gauge(entry),
                Kind::Counter => catalogue.counter(entry, None),
            };
            Some(Slot::new(vec![channel], Formula::Scaled(handle, factor), limits))
        }
        Err(reason) => {
            catalogue.absent((&entry.id, entry.quantity, entry.unit, entry.scope), &source, reason, None);
            None
        }
    }
}
