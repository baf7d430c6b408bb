//! The worker's share of each graphics processor.

use std::collections::BTreeMap;

use slmscope_profiles::channel::{ChannelId, Class, Quantity, Reason, ReasonCode, Scope, Unit, Value};

use super::{Client, Engine, clients};
use crate::catalogue::{Catalogue, Entry};
use crate::clock::monotonic_ns;
use crate::own::WorkerPid;
use crate::root::Root;
use crate::source::{Group, Source};

/// Engines that compute; copying and video are none of a model's work.
const COMPUTING: [&str; 9] =
    ["gfx", "compute", "render", "rcs", "ccs", "gpu", "panthor", "vertex-tiler", "csd"];

/// Enters `gpuN.worker.busy` and `gpuN.worker.memory` for each processor with an address.
pub(crate) fn discover(
    root: &Root,
    addresses: &[(u32, String)],
    worker: &WorkerPid,
    catalogue: &mut Catalogue,
) -> Option<Box<dyn Source>> {
    let mut devices = Vec::new();
    for (gpu, address) in addresses {
        let id = format!("gpu{gpu}.worker.busy");
        if !root.is_live() {
            let reason = Reason::new(ReasonCode::NoSuchInterface, "a captured tree runs no process of ours");
            catalogue.absent(
                (&id, Quantity::Gpu, Unit::Ratio, Scope::Process),
                "/proc/PID/fdinfo",
                reason,
                None,
            );
            continue;
        }
        let entry = |what: &str, unit, class| Entry {
            id: format!("gpu{gpu}.worker.{what}"),
            quantity: Quantity::Gpu,
            unit,
            scope: Scope::Process,
            class,
            source: format!("/proc/PID/fdinfo of the worker, device {address}"),
            group: Group::Gpu,
        };
        let busy = catalogue.counter(entry("busy.time", Unit::Seconds, Class::Derived), None);
        catalogue.rate(&id, busy, Quantity::Gpu, Unit::Ratio);
        let memory = catalogue.gauge(entry("memory", Unit::Bytes, Class::Measured));
        devices.push(Device { address: address.clone(), busy, memory, usage: Usage::default() });
    }
    (!devices.is_empty()).then(|| {
        let (root, worker) = (root.clone(), worker.clone());
        Box::new(WorkerShare { root, worker, devices }) as Box<dyn Source>
    })
}

struct Device {
    address: String,
    busy: ChannelId,
    memory: ChannelId,
    usage: Usage,
}

struct WorkerShare {
    root: Root,
    worker: WorkerPid,
    devices: Vec<Device>,
}

impl Source for WorkerShare {
    fn channels(&self) -> Vec<ChannelId> {
        self.devices.iter().flat_map(|device| [device.busy, device.memory]).collect()
    }

    fn read(&mut self, values: &mut Vec<(ChannelId, Value)>) {
        let pid = self.worker.get();
        let all = pid.map(|pid| clients(&self.root, &[pid])).unwrap_or_default();
        let now_ns = monotonic_ns();
        for device in &mut self.devices {
            let ours: Vec<&Client> =
                all.iter().filter(|client| client.device.as_deref() == Some(&device.address)).collect();
            let (busy, memory) = if ours.is_empty() {
                (Err(ReasonCode::NoSuchInterface), Err(ReasonCode::NoSuchInterface))
            } else {
                let memory =
                    ours.iter().filter_map(|client| client.memory_bytes()).reduce(u64::saturating_add);
                (
                    device.usage.add(now_ns, &ours),
                    memory.map(|bytes| bytes as f64).ok_or(ReasonCode::NotSupported),
                )
            };
            values.push((device.busy, busy.map_or_else(Value::Absent, Value::Present)));
            values.push((device.memory, memory.map_or_else(Value::Absent, Value::Present)));
        }
    }
}

/// Busy time of the clients of one device.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    last_ns: Option<u64>,
    engines: BTreeMap<(u64, String), Engine>,
    busy_s: f64,
}

impl Usage {
    /// Adds what the engines did since the last reading. A kernel that runs for long may be counted when it
    /// ends, so one interval is bounded by what all engines of the kind could do in it.
    ///
    /// # Errors
    /// [`ReasonCode::NotSupported`] where the driver counts no time, as Panfrost does until its profiling is on.
    pub(crate) fn add(&mut self, now_ns: u64, clients: &[&Client]) -> Result<f64, ReasonCode> {
        let passed_s =
            self.last_ns.replace(now_ns).map_or(0.0, |last| now_ns.saturating_sub(last) as f64 / 1e9);
        let mut counts = false;
        let mut engines = BTreeMap::new();
        for client in clients {
            let computing = client.engines.iter().filter(|(name, _)| COMPUTING.contains(&name.as_str()));
            for (name, engine) in computing {
                let of = (client.id, name.clone());
                counts |= engine.busy_ns.or(engine.cycles).is_some_and(|count| count > 0)
                    || !matches!(client.driver.as_str(), "panfrost" | "panthor");
                let step = self.engines.get(&of).and_then(|before| step_s(before, engine, passed_s));
                // Of several engines of a kind, all busy is busy.
                self.busy_s += step.unwrap_or(0.0).clamp(0.0, passed_s * f64::from(engine.count()))
                    / f64::from(engine.count());
                engines.insert(of, *engine);
            }
        }
        self.engines = engines;
        if counts { Ok(self.busy_s) } else { Err(ReasonCode::NotSupported) }
    }
}

/// Busy seconds between two readings: nanoseconds, or the busy share of the cycles that passed.
fn step_s(before: &Engine, now: &Engine, passed_s: f64) -> Option<f64> {
    if let (Some(before), Some(now)) = (before.busy_ns, now.busy_ns) {
        return Some(now.saturating_sub(before) as f64 / 1e9);
    }
    let cycles = now.cycles?.checked_sub(before.cycles?)?;
    let total = now.total_cycles?.checked_sub(before.total_cycles?)?;
    (total > 0).then(|| cycles as f64 / total as f64 * passed_s)
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    fn client(lines: &str) -> Client {
        parse(format!("drm-driver: x\ndrm-client-id: 1\n{lines}").as_bytes()).unwrap()
    }

    #[test]
    fn time_and_cycles_become_busy_seconds() {
        let mut usage = Usage::default();
        let at = |usage: &mut Usage, s: u64, lines: &str| usage.add(s * 1_000_000_000, &[&client(lines)]);
        assert_eq!(at(&mut usage, 10, "drm-engine-gfx: 5000000000 ns"), Ok(0.0));
        assert_eq!(at(&mut usage, 12, "drm-engine-gfx: 6000000000 ns"), Ok(1.0));
        // Counted late: bounded by the time that passed. Running back a little is no work.
        assert_eq!(at(&mut usage, 13, "drm-engine-gfx: 9000000000 ns"), Ok(2.0));
        assert_eq!(at(&mut usage, 14, "drm-engine-gfx: 8999999000 ns"), Ok(2.0));
        let mut usage = Usage::default();
        let ccs = |busy: u32, total: u32| {
            format!("drm-cycles-ccs: {busy}\ndrm-total-cycles-ccs: {total}\ndrm-engine-capacity-ccs: 4")
        };
        assert_eq!(at(&mut usage, 1, &ccs(100, 1000)), Ok(0.0));
        // Two of four engines for the whole 2 s.
        assert_eq!(at(&mut usage, 3, &ccs(2100, 2000)), Ok(1.0));
    }

    #[test]
    fn a_driver_that_does_not_profile_has_no_busy_time() {
        let text = b"drm-driver: panfrost\ndrm-client-id: 4\ndrm-engine-vertex-tiler: 0 ns\n";
        let client = parse(text).unwrap();
        assert_eq!(Usage::default().add(5, &[&client]), Err(ReasonCode::NotSupported));
    }
}
