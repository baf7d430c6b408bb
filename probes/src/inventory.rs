//! What this machine offers: every channel, and the sources that read them.

use std::sync::Arc;

use slmscope_profiles::channel::{Channel, Quantity, Reason, ReasonCode, Scope, Unit};
pub use slmscope_profiles::doctor::Board;

use crate::catalogue::{Catalogue, Interface, missing};
use crate::machine::board;
use crate::machine::reader::Reader;
use crate::machine::root::Root;
use crate::remedy;
use crate::source::{Group, Lane, Source};
use crate::sources::accelerators::{cards, fdinfo, kfd, npu, nvidia::Nvidia};
use crate::sources::cpu::{frequency, throttle, time::CpuTime};
use crate::sources::load::self_usage::{self, WorkerPid};
use crate::sources::load::{cgroup, other_load, pressure::Pressure, threads};
use crate::sources::memory::{membw, meminfo::MemInfo};
use crate::sources::perf;
use crate::sources::power::{battery::Batteries, cray, iio, ipmi, pmic, powercap::Powercap, scmi, total};
use crate::sources::sensors::{hwmon, thermal};

/// The row of what packages draw, where nothing reports it.
pub(crate) const PACKAGE_ENERGY: &str = "energy.package";

/// The row of the processor's temperature, where nothing reports it.
pub(crate) const CPU_TEMPERATURE: &str = "temp.cpu";

/// The catalogue of one machine with the sources behind it.
pub struct Inventory {
    /// All channels, those without a value included; the id of each is its index.
    pub channels: Vec<Channel>,
    /// What the firmware calls the board.
    pub board: Board,
    /// The sources that read them. Sources of one lane may wait for each other.
    pub(crate) lanes: Vec<Lane>,
    /// The process that the worker's channels are about.
    pub(crate) worker: WorkerPid,
    /// What each channel is read through.
    pub(crate) interfaces: Vec<Interface>,
}

/// Finds every channel of the machine or tree. Each family has at least one row; if it is empty, the row holds the
/// reason. Sensors that may hang are opened. If a value is needed to know what exists, the wait for it is at most
/// half a second, and for NVIDIA's library 1.2 s.
pub fn discover(root: &Root) -> Inventory {
    let mut catalogue = Catalogue::default();
    let worker = WorkerPid::default();
    let profile = board::profile(root);
    let mut bus: Vec<Box<dyn Source>> = Vec::new();

    let Files { mut fast, mut medium, mut slow } = processor_and_memory(root, &mut catalogue, &worker);
    let traffic = membw::discover(root, &mut catalogue, &worker);
    fast.extend(Powercap::discover(root, &mut catalogue).map(boxed));
    let (nvidia, cards) = processors(root, &mut catalogue);
    let peers = Arc::default();
    let monitors = hwmon::discover(root, profile, &cards.monitors, &peers, &mut catalogue);
    bus.extend(parts(monitors.power));
    bus.extend(parts(cray::discover(root, &mut catalogue)));
    bus.extend(parts(iio::discover(root, &mut catalogue)));
    bus.extend(parts(scmi::discover(root, &mut catalogue)));
    bus.extend(pmic::discover(root, &mut catalogue));
    let batteries = Batteries::discover(root, &mut catalogue);
    let discharging = batteries.as_ref().and_then(|batteries| batteries.discharging(root));
    let mut battery: Vec<_> = batteries.map(boxed).into_iter().collect();
    let mut node: Vec<_> = ipmi::discover(root, &mut catalogue).into_iter().collect();
    let zones = thermal::discover(root, &peers, &mut catalogue);
    slow.extend(throttle::discover(root, &mut catalogue));
    slow.extend(frequency::limits(root, &mut catalogue));
    slow.extend(Pressure::discover(root, &mut catalogue).map(boxed));
    medium.extend(npu::discover(root, &mut catalogue));
    let mut processors = cards.sources;
    processors.extend(fdinfo::worker::discover(root, &cards.signs, &worker, &mut catalogue));
    processors.extend(kfd::discover(root, &cards.signs, &worker, &mut catalogue));
    let lists = &mut [&mut battery, &mut node, &mut bus, &mut fast, &mut processors];
    total::discover(root, &mut catalogue, profile, discharging, lists);
    fill(&mut catalogue);

    let shared = [
        ("probe-fast", Group::Fast, fast),
        ("probe-medium", Group::Medium, medium),
        ("probe-slow", Group::Slow, slow),
    ];
    let apart = [
        ("probe-power", Group::Bus, bus),
        ("probe-battery", Group::Slow, battery),
        ("probe-node", Group::Slow, node),
        ("probe-thermal", Group::Slow, zones.into_iter().collect()),
        ("probe-hwmon", Group::Slow, monitors.temperatures.into_iter().collect()),
        ("probe-fans", Group::Slow, monitors.fans.into_iter().chain(monitors.alarms).collect()),
        ("probe-nvidia", Group::Gpu, nvidia.into_iter().collect()),
        ("probe-cards", Group::Gpu, processors),
        ("probe-membw", Group::Medium, traffic.counters),
        ("probe-traffic", Group::Slow, traffic.files),
    ];
    let lanes = lanes(shared, apart);
    remedy::complete(&mut catalogue, root, &Reader::own(root));
    let (channels, interfaces) = catalogue.into_parts();
    Inventory { channels, board: board::describe(root, profile), lanes, worker, interfaces }
}

/// Sources that read files of the kernel, which answer at once.
#[derive(Default)]
struct Files {
    fast: Vec<Box<dyn Source>>,
    medium: Vec<Box<dyn Source>>,
    slow: Vec<Box<dyn Source>>,
}

/// What processors and memory do, and for whom.
fn processor_and_memory(root: &Root, catalogue: &mut Catalogue, worker: &WorkerPid) -> Files {
    let mut files = Files::default();
    let time = CpuTime::discover(root, catalogue);
    files.medium.extend(self_usage::discover(root, catalogue, worker));
    files.medium.extend(threads::discover(root, catalogue, worker));
    let other = other_load::discover(root, catalogue, worker, time.is_some());
    files.medium.extend(time.map(|time| boxed(time.with(other))));
    files.slow.extend(cgroup::discover(root, catalogue));
    if let Some((group, source)) = frequency::discover(root, catalogue) {
        let list = match group {
            Group::Fast => &mut files.fast,
            Group::Medium => &mut files.medium,
            Group::Slow | Group::Bus | Group::Gpu => &mut files.slow,
        };
        list.push(source);
    }
    files.medium.extend(perf::cycles::discover(root, catalogue));
    files.slow.extend(MemInfo::discover(root, catalogue).map(boxed));
    files
}

type Named = (&'static str, Group, Vec<Box<dyn Source>>);

/// The lanes that have something to read. Sources of `apart` may hang, so each of their sensors is one of its own.
fn lanes<const N: usize, const M: usize>(shared: [Named; N], apart: [Named; M]) -> Vec<Lane> {
    let apart = apart.map(|(name, group, sources)| (name, group, parts(sources)));
    let all = shared.into_iter().chain(apart).filter(|(.., sources)| !sources.is_empty());
    all.map(|(name, group, sources)| Lane { name, group, sources }).collect()
}

/// Sensors behind a driver that may hang, each in a source of its own.
fn parts(sources: impl IntoIterator<Item = Box<dyn Source>>) -> Vec<Box<dyn Source>> {
    sources.into_iter().flat_map(|mut source| source.parts().unwrap_or_else(|| vec![source])).collect()
}

fn boxed(source: impl Source + 'static) -> Box<dyn Source> {
    Box::new(source)
}

type Optional = Option<Box<dyn Source>>;

/// Graphics processors of all kinds. That the NVIDIA library is missing is reported only where nothing else was found.
fn processors(root: &Root, catalogue: &mut Catalogue) -> (Optional, cards::Cards) {
    // The library starts on Tegra too, and then supports nothing.
    let nvidia = if cards::has_tegra_load(root) {
        Err(missing("Tegra's processor is read in sysfs"))
    } else {
        Nvidia::discover(root, catalogue)
    };
    let count = nvidia.as_ref().map_or(0, |(_, count)| *count);
    let cards = cards::discover(root, count, catalogue);
    match nvidia {
        Ok((source, _)) => (Some(boxed(source)), cards),
        Err(reason) => {
            if !catalogue.has(Quantity::Gpu) || reason.code == ReasonCode::GatedOrAsleep {
                let busy = |number: u32| format!("gpu{number}.busy");
                let number = u32::from(catalogue.has_id(&busy(0)));
                let detail = format!("no kernel driver shows a GPU's load in sysfs, and {}", reason.detail);
                let reason = if number == 0 { Reason::new(reason.code, detail) } else { reason };
                let id = busy(number);
                let channel = (id.as_str(), Quantity::Gpu, Unit::Ratio, Scope::GpuN(number));
                catalogue.absent(channel, "libnvidia-ml.so.1", reason);
            }
            (None, cards)
        }
    }
}

/// Adds a row for each family that has none yet, and for what a family is asked about first: the processor's
/// temperature, and what it or the board draws. A drive's or a card's sensor does not replace these.
fn fill(catalogue: &mut Catalogue) {
    use Quantity::{Energy, Fan, Power, Temperature};
    let has = |wanted: &dyn Fn(&Channel) -> bool| catalogue.channels().iter().any(wanted);
    let is_drawn = |channel: &Channel| {
        let is_total = channel.is_board_total() && channel.reason.is_some();
        matches!(channel.quantity, Energy | Power) && channel.scope.is_whole() && !is_total
    };
    let no_energy = !has(&is_drawn) || !catalogue.has(Energy);
    let is_cpu = |channel: &Channel| {
        let is_card = matches!(channel.scope, Scope::Gpu | Scope::GpuN(_));
        channel.quantity == Temperature && channel.scope.computes() && !is_card
    };
    let no_temperature = !has(&is_cpu);
    if no_energy {
        let channel = (PACKAGE_ENERGY, Energy, Unit::Joules, Scope::Package);
        let reason = missing("no RAPL zone and no energy counter of a processor or the board in hwmon");
        catalogue.absent(channel, "/sys/class/powercap", reason);
    }
    if no_temperature {
        let channel = (CPU_TEMPERATURE, Temperature, Unit::Celsius, Scope::Package);
        let reason = missing("no thermal zone and no hwmon temperature of a processor");
        catalogue.absent(channel, "/sys/class/thermal", reason);
    }
    if !catalogue.has(Fan) {
        let channel = ("fan.fan1", Fan, Unit::Rpm, Scope::Machine);
        catalogue.absent(channel, "/sys/class/hwmon", missing("no fan with a tachometer"));
    }
}
