//! RAPL energy counters below `/sys/class/powercap`.
//!
//! Folder numbers are not package numbers: a zone is known by its `name`, a zone inside it by the name of its
//! parent too. Counters wrap at `max_energy_range_uj`, which differs from zone to zone. `intel-rapl-mmio`
//! shows the packages a second time and is used only where the first is missing. A zone whose name is not known,
//! or may not be read, is listed as a rail and is no part of any total.

mod limit;

use std::time::Instant;

use slmscope_profiles::channel::{
    ChannelId, Class, Kind, Quantity, Reason, ReasonCode, Scope, Unit, Value, id_part,
};

use crate::catalogue::{Catalogue, Entry, Interface};
use crate::machine::root::{Handle, Root};
use crate::source::{Group, Source};
use crate::sources::files::integer;
use crate::sources::perf::energy::PerfEnergy;

use limit::Limit;

const FOLDER: &str = "sys/class/powercap";

/// AMD's counters have this range; used to know them in captures without `/proc/cpuinfo`.
const AMD_RANGE_UJ: i64 = 65_532_610_987;

/// Intel and AMD state that the registers behind these counters are new about every millisecond.
pub(crate) const UPDATE_NS: u64 = 1_000_000;

/// A counter of a running CPU moves every millisecond; one that is unchanged for longer does not count.
const STALE_S: u64 = 10;

/// A counter wraps at its range, if that is stated correctly; a value of so many ranges is implausible.
const FAR: i64 = 2;

struct Zone {
    channel: ChannelId,
    handle: Handle,
    range_uj: Option<i64>,
    last_uj: Option<i64>,
    changed: Instant,
}

/// Reads the counters: those of the kernel's `power` PMU where it may be opened, the rest from files.
pub(crate) struct Powercap {
    perf: PerfEnergy,
    zones: Vec<Zone>,
    /// Of each channel, in the order of readings; none under a tree, where no time passes.
    limits: Vec<(ChannelId, Limit)>,
}

impl Powercap {
    /// Enters `energy.ZONE` and `power.ZONE` for each zone.
    pub(crate) fn discover(root: &Root, catalogue: &mut Catalogue) -> Option<Self> {
        let perf = PerfEnergy::discover(root, catalogue);
        let mut zones = Vec::new();
        let folders = root.list(FOLDER).unwrap_or_default();
        for driver in ["intel-rapl:", "intel-rapl-mmio:"] {
            for folder in folders.iter().filter(|folder| folder.starts_with(driver)) {
                zones.extend(zone(root, folder, driver, catalogue));
            }
        }
        let mut found = Self { perf, zones, limits: Vec::new() };
        if root.is_live() {
            found.limit(catalogue);
        }
        (!found.zones.is_empty() || !found.perf.is_empty()).then_some(found)
    }

    /// From now on no counter may rise faster than a zone can draw.
    fn limit(&mut self, catalogue: &Catalogue) {
        let limit = |channel| {
            let channel = catalogue.get(channel)?;
            let range = if let Kind::Counter { range } = channel.kind { range } else { None };
            Some((channel.channel, Limit::new(&channel.scope, range)))
        };
        self.limits = self.channels().into_iter().filter_map(limit).collect();
    }
}

/// Enters the zone in a folder; `None` if it is shown already or cannot be read.
fn zone(root: &Root, folder: &str, driver: &str, catalogue: &mut Catalogue) -> Option<Zone> {
    let path = format!("{FOLDER}/{folder}");
    let (kind, label) = name(root, folder, driver);
    let id = format!("energy.{}", id_part(&label));
    // Shown already: by the PMU, or by the registers that `intel-rapl-mmio` repeats.
    let is_mmio = driver == "intel-rapl-mmio:";
    if catalogue.has_id(&id) && (is_mmio || catalogue.is_perf(&id)) {
        return None;
    }
    let scope = match kind.as_str() {
        "core" => Scope::Cores,
        "uncore" => Scope::Gpu,
        "dram" => Scope::Dram,
        "psys" => Scope::Platform,
        "package" => Scope::Package,
        _ => Scope::Rail(label),
    };
    let range_uj = root.integer(&format!("{path}/max_energy_range_uj")).ok().filter(|&range| range > 0);
    let file = format!("{path}/energy_uj");
    let source = format!("/{file}");
    let power = id.replacen("energy.", "power.", 1);
    let opened = if kind == "core" && is_amd(root, range_uj) {
        let detail = "AMD counts the energy of each core apart; this file shows one of them";
        Err(Reason::new(ReasonCode::NotSupported, detail))
    } else {
        root.open(&file)
    };
    match opened {
        Ok(handle) => {
            let entry = Entry {
                id,
                quantity: Quantity::Energy,
                unit: Unit::Joules,
                scope,
                class: Class::Measured,
                source,
                group: Group::Fast,
            };
            let is_register = !matches!(entry.scope, Scope::Platform | Scope::Rail(_));
            let channel = catalogue.counter(entry, range_uj.map(|range| range as f64 / 1e6));
            // The board maker chooses what `psys` covers, and what other zones cover is not known.
            if is_register {
                catalogue.set_update(channel, UPDATE_NS);
            }
            catalogue.set_interface(channel, Interface::File(file));
            catalogue.rate(&power, channel, Quantity::Power, Unit::Watts);
            Some(Zone { channel, handle, range_uj, last_uj: None, changed: Instant::now() })
        }
        Err(reason) => {
            let rows = [(id, Quantity::Energy, Unit::Joules), (power, Quantity::Power, Unit::Watts)];
            for (id, quantity, unit) in rows {
                let channel = (id.as_str(), quantity, unit, scope.clone());
                let channel = catalogue.absent(channel, &source, reason.clone());
                catalogue.set_interface(channel, Interface::File(file.clone()));
            }
            None
        }
    }
}

/// What a zone is, `package`, and its label: its name, after which comes that of the zone around it.
fn name(root: &Root, folder: &str, driver: &str) -> (String, String) {
    let name = match root.text(&format!("{FOLDER}/{folder}/name")) {
        Ok(name) => name,
        // In containers the class lists zones whose folders are masked.
        Err(_) => folder.to_owned(),
    };
    let kind = name.split('-').next().unwrap_or(&name).to_owned();
    let parent = folder.rsplit_once(':').filter(|(parent, _)| format!("{parent}:").len() > driver.len());
    let parent = parent.and_then(|(parent, _)| root.text(&format!("{FOLDER}/{parent}/name")).ok());
    let label = match parent {
        Some(parent) => format!("{name}-{}", parent.strip_prefix("package-").unwrap_or(&parent)),
        None => name,
    };
    (kind, label)
}

fn is_amd(root: &Root, range_uj: Option<i64>) -> bool {
    match root.read("proc/cpuinfo", 4096) {
        Ok(text) => text.windows(12).any(|window| window == b"AuthenticAMD"),
        Err(_) => range_uj == Some(AMD_RANGE_UJ),
    }
}

impl Zone {
    fn read(&mut self, now: Instant) -> Value {
        let mut buffer = [0; 32];
        let most_uj = self.range_uj.map_or(i64::MAX, |range| range.saturating_mul(FAR));
        let uj = match self.handle.read(&mut buffer).map(integer) {
            Ok(Some(uj)) if (0..=most_uj).contains(&uj) => uj,
            Ok(_) => return Value::Absent(ReasonCode::Implausible),
            Err(code) => return Value::Absent(code),
        };
        if self.last_uj != Some(uj) {
            self.last_uj = Some(uj);
            self.changed = now;
        } else if now.saturating_duration_since(self.changed).as_secs() >= STALE_S {
            return Value::Absent(ReasonCode::Stale);
        }
        Value::Present(uj as f64 / 1e6)
    }
}

impl Source for Powercap {
    fn channels(&self) -> Vec<ChannelId> {
        self.perf.channels().chain(self.zones.iter().map(|zone| zone.channel)).collect()
    }

    fn read(&mut self, values: &mut Vec<(ChannelId, Value)>) {
        let first = values.len();
        self.perf.read(values);
        let now = Instant::now();
        values.extend(self.zones.iter_mut().map(|zone| (zone.channel, zone.read(now))));
        for ((channel, value), (of, limit)) in values.iter_mut().skip(first).zip(&mut self.limits) {
            debug_assert_eq!(channel, of);
            *value = limit.judge(now, *value);
        }
    }

    fn supports_khz(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_counter_that_stands_still_is_stale_and_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("sys/class/powercap/intel-rapl:0");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("name"), "package-0\n").unwrap();
        std::fs::write(folder.join("energy_uj"), "5000000\n").unwrap();
        let root = Root::tree(dir.path()).unwrap();
        let mut source = Powercap::discover(&root, &mut Catalogue::default()).unwrap();
        let zone = &mut source.zones[0];
        let begin = Instant::now();
        assert_eq!(zone.read(begin), Value::Present(5.0));
        assert_eq!(zone.read(begin + Duration::from_secs(9)), Value::Present(5.0));
        assert_eq!(zone.read(begin + Duration::from_secs(11)), Value::Absent(ReasonCode::Stale));
        std::fs::write(folder.join("energy_uj"), "5000001\n").unwrap();
        assert_eq!(zone.read(begin + Duration::from_secs(12)), Value::Present(5.000_001));
        std::fs::write(folder.join("energy_uj"), "-1\n").unwrap();
        assert_eq!(zone.read(begin + Duration::from_secs(13)), Value::Absent(ReasonCode::Implausible));
    }

    #[test]
    fn a_count_far_above_the_range_and_a_jump_that_no_zone_can_draw_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("sys/class/powercap/intel-rapl:0");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("name"), "package-0\n").unwrap();
        std::fs::write(folder.join("max_energy_range_uj"), "262143328850\n").unwrap();
        std::fs::write(folder.join("energy_uj"), "5000000\n").unwrap();
        let root = Root::tree(dir.path()).unwrap();
        let mut catalogue = Catalogue::default();
        let mut source = Powercap::discover(&root, &mut catalogue).unwrap();
        let read = |source: &mut Powercap, uj: &str| {
            std::fs::write(folder.join("energy_uj"), uj).unwrap();
            let mut values = Vec::new();
            source.read(&mut values);
            values[0].1
        };
        assert_eq!(read(&mut source, "999999999999999"), Value::Absent(ReasonCode::Implausible));
        assert_eq!(read(&mut source, "200000000000"), Value::Present(200_000.0), "a tree has no time");
        source.limit(&catalogue);
        assert_eq!(read(&mut source, "5000000"), Value::Present(5.0));
        let jump = read(&mut source, "200000000000");
        assert_eq!(jump, Value::Absent(ReasonCode::Implausible), "200 kJ in no time");
    }
}
