//! Graphics processors whose kernel driver shows them in sysfs.
//!
//! | module | drivers |
//! |---|---|
//! | `amd` | amdgpu, cards and integrated ones |
//! | `intel` | xe and i915 |
//! | `devfreq` | Tegra's integrated one, Mali under the vendor's driver and under Panfrost and Panthor |
//! | `soc` | V3D of the Raspberry Pi, Adreno under the vendor's driver |
//!
//! Whether a card sleeps is read before anything else: of one that does, no other file is opened. All of
//! them are numbered in the order of their devices, after those that NVIDIA's library knows.

use std::collections::HashSet;
use std::sync::Arc;

use slmscope_profiles::channel::{ChannelId, Class, Quantity, Reason, ReasonCode, Scope, Unit};

use crate::catalogue::{Catalogue, Entry};
use crate::machine::root::Root;
use crate::source::{Group, Source};
use crate::sources::accelerators::fdinfo::worker::Sign;
use crate::sources::files::{self, Files, Formula, Gate, Input, Kind, Limits, Slot};
use crate::sources::pci;

mod amd;
mod devfreq;
mod intel;
mod metrics;
mod soc;

const DRM: &str = "sys/class/drm";

const BYTES: Limits = Limits::new(0.0, 1e15);
const SHARE: Limits = Limits::new(0.0, 1.0);
const HERTZ: Limits = Limits::new(0.0, 1e10);
const WATTS: Limits = Limits::new(0.0, 10_000.0);
const JOULES: Limits = Limits::new(0.0, 1e15);

/// What was found.
#[derive(Default)]
pub(crate) struct Cards {
    /// Sources in the order of the cards.
    pub(crate) sources: Vec<Box<dyn Source>>,
    /// Monitors (`hwmon4`) whose power is entered here.
    pub(crate) monitors: HashSet<String>,
    /// Number of each processor, and what identifies its clients.
    pub(crate) signs: Vec<(u32, Sign)>,
}

/// Enters the processors, numbered from `first`.
pub(crate) fn discover(root: &Root, first: u32, catalogue: &mut Catalogue) -> Cards {
    let mut found = Cards::default();
    let mut slots = Vec::new();
    let mut next = first;
    for name in root.list_class("drm").unwrap_or_default() {
        if name.strip_prefix("card").is_none_or(|number| number.parse::<u32>().is_err()) {
            continue;
        }
        let drm = format!("{DRM}/{name}");
        let folder = format!("{drm}/device");
        let mut card = Card::new(root, folder, next, catalogue);
        if amd::is(&card) {
            found.sources.extend(amd::enter(&mut card, &mut found.monitors));
        } else if intel::is(&card, &drm) {
            let address = address(root, &drm);
            found.sources.extend(intel::enter(&mut card, &drm, address.as_deref(), &mut found.monitors));
        } else {
            continue;
        }
        slots.append(&mut card.slots);
        found.signs.extend(address(root, &drm).map(|address| (next, Sign::Address(address))));
        next += 1;
    }
    next = devfreq::discover(root, next, catalogue, &mut slots, &mut found.signs);
    soc::discover(root, next, catalogue, &mut slots, &mut found);
    found.sources.extend(Files::boxed(root, slots));
    found
}

/// Whether Tegra's integrated processor reports its load.
pub(crate) fn has_tegra_load(root: &Root) -> bool {
    devfreq::has_tegra_load(root)
}

/// The PCI address of a card, from where its entry points.
fn address(root: &Root, drm: &str) -> Option<String> {
    let target = root.link(drm).or_else(|| root.link(&format!("{drm}/device")))?;
    let is_address = |part: &&str| {
        let mut fields = part.split([':', '.']);
        part.len() == 12
            && part.matches(':').count() == 2
            && fields.all(|field| u32::from_str_radix(field, 16).is_ok())
    };
    target.split('/').rfind(is_address).map(str::to_owned)
}

/// One processor while its channels are entered.
struct Card<'c> {
    root: &'c Root,
    catalogue: &'c mut Catalogue,
    /// Of the device.
    folder: String,
    gpu: u32,
    gate: Option<Arc<Gate>>,
    slots: Vec<Slot>,
}

impl<'c> Card<'c> {
    fn new(root: &'c Root, folder: String, gpu: u32, catalogue: &'c mut Catalogue) -> Self {
        let gate = pci::gate(root, &folder);
        Self { root, catalogue, folder, gpu, gate, slots: Vec::new() }
    }

    fn is_asleep(&self) -> bool {
        self.gate.as_ref().is_some_and(|gate| gate.closed().is_some())
    }

    /// Whether the device has this file; it is not opened.
    fn has(&self, file: &str) -> bool {
        self.root.exists(&format!("{}/{file}", self.folder))
    }

    /// The folder below `hwmon`, and its name.
    fn monitor(&self) -> Option<(String, String)> {
        let folder = format!("{}/hwmon", self.folder);
        let name = self.root.list(&folder).ok()?.into_iter().find(|name| name.starts_with("hwmon"))?;
        Some((format!("{folder}/{name}"), name))
    }

    fn entry(&self, what: &str, quantity: Quantity, unit: Unit, class: Class) -> Entry {
        let scope = match quantity {
            Quantity::Power | Quantity::Energy => Scope::Gpu,
            _ => Scope::GpuN(self.gpu),
        };
        Entry {
            id: format!("gpu{}.{what}", self.gpu),
            quantity,
            unit,
            scope,
            class,
            source: String::new(),
            group: Group::Gpu,
        }
    }

    /// A plain number, if the file exists.
    fn number(&mut self, what: &str, path: &str, (unit, factor, limits): (Unit, f64, Limits)) {
        let entry = self.entry(what, Quantity::Gpu, unit, Class::Measured);
        self.gauge(entry, path, files::scaled(factor), limits);
    }

    fn gauge(&mut self, entry: Entry, path: &str, formula: impl FnOnce(Input) -> Formula, limits: Limits) {
        if self.root.exists(path) {
            let gate = self.gate.as_ref();
            let slot =
                files::enter(self.root, self.catalogue, entry, Kind::Gauge, path, (formula, limits), gate);
            self.slots.extend(slot);
        }
    }

    /// The first of several running totals that counts and, where no sensor reports it, the power that follows.
    fn energy(&mut self, mut inputs: Vec<String>) {
        let counts = |path: &String| self.root.in_time(path, Root::integer).is_ok_and(|energy| energy > 0);
        if !self.is_asleep()
            && let Some(first) = inputs.iter().find(|path| counts(path)).cloned()
        {
            inputs = vec![first];
        }
        let source = inputs.iter().map(|path| format!("/{path}")).collect::<Vec<_>>().join(" or ");
        let entry = self.entry("energy", Quantity::Energy, Unit::Joules, Class::Measured);
        let channel = self.catalogue.counter(Entry { source, ..entry }, None);
        let power = format!("gpu{}.power", self.gpu);
        if !self.catalogue.has_id(&power) {
            self.catalogue.rate(&power, channel, Quantity::Power, Unit::Watts);
        }
        let formula = Formula::Counting(inputs.into_iter().map(Input::later).collect(), 1e-6);
        self.slots.push(Slot::new(vec![channel], formula, JOULES).behind(self.gate.clone()));
    }

    /// Memory that the driver reports for no device as a whole.
    fn absent_memory(&mut self) {
        let id = format!("gpu{}.vram_used", self.gpu);
        let channel = (id.as_str(), Quantity::Gpu, Unit::Bytes, Scope::GpuN(self.gpu));
        let detail = "the driver reports it per process only, in /proc/PID/fdinfo";
        self.catalogue.absent(channel, "", Reason::new(ReasonCode::NotSupported, detail));
    }

    /// A flag of what slows the processor down.
    fn throttle(&mut self, what: &str, path: &str) {
        let mut entry = self.entry("", Quantity::Throttle, Unit::Count, Class::Measured);
        entry.id = format!("throttle.gpu{}.{what}", self.gpu);
        self.gauge(entry, path, files::scaled(1.0), SHARE);
    }

    fn absent(&mut self, what: &str, source: &str, code: ReasonCode, detail: &str) {
        let id = format!("gpu{}.{what}", self.gpu);
        let channel = (id.as_str(), Quantity::Gpu, Unit::Ratio, Scope::GpuN(self.gpu));
        self.catalogue.absent(channel, source, Reason::new(code, detail));
    }

    /// A counter of busy seconds with the share that follows from it.
    fn busy_time(&mut self, source: &str) -> ChannelId {
        let entry = self.entry("busy.time", Quantity::Gpu, Unit::Seconds, Class::Derived);
        let channel = self.catalogue.counter(Entry { source: source.to_owned(), ..entry }, None);
        self.catalogue.rate(&format!("gpu{}.busy", self.gpu), channel, Quantity::Gpu, Unit::Ratio);
        channel
    }
}
