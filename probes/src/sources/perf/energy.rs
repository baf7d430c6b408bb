//! The kernel's `power` PMU: the same energy counters as RAPL's zones, but 64 bits wide and readable as
//! `perf_event_paranoid` allows, where only root may read the zones' files.
//!
//! `power_core` of recent kernels counts each core of AMD processors; their sum is the cores of a package.

use std::collections::BTreeMap;

use slmscope_profiles::channel::{ChannelId, Class, Quantity, Scope, Unit, Value};

use super::pmu::{Pmu, names};
use super::{Group, Target, Total};
use crate::catalogue::{Catalogue, Entry, Interface};
use crate::machine::root::Root;
use crate::machine::topology;
use crate::sources::power::powercap::UPDATE_NS;

/// PMU, event, name of the domain and what it covers.
const DOMAINS: [(&str, &str, &str, Scope); 6] = [
    ("power", "energy-pkg", "package", Scope::Package),
    ("power", "energy-cores", "core", Scope::Cores),
    ("power_core", "energy-core", "core", Scope::Cores),
    ("power", "energy-ram", "dram", Scope::Dram),
    ("power", "energy-gpu", "uncore", Scope::Gpu),
    ("power", "energy-psys", "psys", Scope::Platform),
];

/// Counters of one domain of one package.
struct Domain {
    channel: ChannelId,
    /// Group and its scale, J per count; several where each core has a counter of its own.
    groups: Vec<(Group, f64, Total)>,
}

/// Reads them.
#[derive(Default)]
pub(crate) struct PerfEnergy {
    domains: Vec<Domain>,
}

impl PerfEnergy {
    /// Enters `energy.DOMAIN-N` and `power.DOMAIN-N` for what may be opened. What may not is left to the files
    /// of powercap, which hold the reason.
    pub(crate) fn discover(root: &Root, catalogue: &mut Catalogue) -> Self {
        let mut energy = Self::default();
        if !root.is_live() || !names(root).iter().any(|name| name == "power") {
            return energy;
        }
        for (pmu, event, domain, scope) in DOMAINS {
            let Ok(pmu) = Pmu::find(root, pmu) else { continue };
            let Some(described) = pmu.event(root, event) else { continue };
            let (Some(scale), Some("Joules")) = (described.scale, described.unit.as_deref()) else {
                continue;
            };
            let mut labels: BTreeMap<String, Vec<u32>> = BTreeMap::new();
            for (label, cpu) in labelled(root, domain, &pmu.cpus) {
                labels.entry(label).or_default().push(cpu);
            }
            for (label, cpus) in labels {
                let open = |cpu| Group::open(&[described.event], Target::Cpu(cpu));
                let groups: Result<Vec<_>, _> = cpus
                    .into_iter()
                    .map(|cpu| Ok::<_, rustix::io::Errno>((open(cpu)?, scale, Total::default())))
                    .collect();
                let id = format!("energy.{label}");
                let Ok(groups) = groups else { continue };
                if catalogue.has_id(&id) {
                    continue;
                }
                let entry = Entry {
                    id,
                    quantity: Quantity::Energy,
                    unit: Unit::Joules,
                    scope: scope.clone(),
                    class: Class::Measured,
                    source: format!("perf {}/{event}/", pmu.name),
                    group: crate::source::Group::Fast,
                };
                let channel = catalogue.counter(entry, None);
                catalogue.set_interface(channel, Interface::PerformanceCounter);
                if scope != Scope::Platform {
                    catalogue.set_update(channel, UPDATE_NS);
                }
                catalogue.rate(&format!("power.{label}"), channel, Quantity::Power, Unit::Watts);
                energy.domains.push(Domain { channel, groups });
            }
        }
        energy
    }

    pub(crate) fn channels(&self) -> impl Iterator<Item = ChannelId> + '_ {
        self.domains.iter().map(|domain| domain.channel)
    }

    pub(crate) fn read(&mut self, values: &mut Vec<(ChannelId, Value)>) {
        for domain in &mut self.domains {
            let sum = domain.groups.iter_mut().try_fold(0.0, |sum, (group, scale, total)| {
                let count = total.add(&group.read()?, 0)?;
                Ok(sum + count * *scale)
            });
            values.push((domain.channel, sum.map_or_else(Value::Absent, Value::Present)));
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.domains.is_empty()
    }
}

/// Names of a domain as powercap has them: `package-0`, `package-0-die-1` where a package has several dies,
/// `dram-0`, `psys`.
fn labelled(root: &Root, domain: &str, cpus: &[u32]) -> Vec<(String, u32)> {
    let die =
        |cpu: u32| root.integer(&format!("sys/devices/system/cpu/cpu{cpu}/topology/die_id")).unwrap_or(0);
    let places: Vec<(u32, i64, i64)> =
        cpus.iter().map(|&cpu| (cpu, topology::package(root, cpu).unwrap_or(0), die(cpu))).collect();
    let several = |package: i64| {
        let mut dies: Vec<i64> =
            places.iter().filter(|place| place.1 == package).map(|&(.., die)| die).collect();
        dies.sort_unstable();
        dies.dedup();
        dies.len() > 1
    };
    let label = |&(cpu, package, die): &(u32, i64, i64)| {
        let name = match domain {
            "psys" => "psys".to_owned(),
            _ if several(package) => format!("{domain}-{package}-die-{die}"),
            _ => format!("{domain}-{package}"),
        };
        (name, cpu)
    };
    places.iter().map(label).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_are_named_like_the_zones() {
        let dir = tempfile::tempdir().unwrap();
        let topology = |cpu: u32, package: &str, die: &str| {
            let folder = dir.path().join(format!("sys/devices/system/cpu/cpu{cpu}/topology"));
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("physical_package_id"), package).unwrap();
            std::fs::write(folder.join("die_id"), die).unwrap();
        };
        topology(0, "0", "0");
        topology(24, "0", "1");
        topology(48, "1", "0");
        let root = Root::tree(dir.path()).unwrap();
        let names = |domain, cpus: &[u32]| {
            labelled(&root, domain, cpus).into_iter().map(|(name, _)| name).collect::<Vec<_>>()
        };
        assert_eq!(names("package", &[0, 48]), ["package-0", "package-1"]);
        assert_eq!(names("dram", &[0, 24, 48]), ["dram-0-die-0", "dram-0-die-1", "dram-1"]);
        assert_eq!(names("psys", &[0]), ["psys"]);
        assert!(PerfEnergy::discover(&root, &mut Catalogue::default()).is_empty());
    }
}
