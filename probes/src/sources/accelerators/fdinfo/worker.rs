//! The worker's share of each graphics processor.

use std::collections::BTreeMap;
use std::fmt;

use slmscope_profiles::channel::{ChannelId, Class, Quantity, Reason, ReasonCode, Scope, Unit, Value};

use super::{Client, Clients, Engine};
use crate::catalogue::{Catalogue, Entry};
use crate::machine::clock::monotonic_ns;
use crate::machine::root::Root;
use crate::source::{Group, Source};
use crate::sources::load::self_usage::WorkerPid;

/// Engines that compute; copying and video are none of a model's work.
const COMPUTING: [&str; 9] =
    ["gfx", "compute", "render", "rcs", "ccs", "gpu", "panthor", "vertex-tiler", "csd"];

/// Enters `gpuN.worker.busy` and `gpuN.worker.memory` for each processor whose clients can be identified.
pub(crate) fn discover(
    root: &Root,
    processors: &[(u32, Sign)],
    worker: &WorkerPid,
    catalogue: &mut Catalogue,
) -> Option<Box<dyn Source>> {
    let mut devices = Vec::new();
    for (gpu, sign) in processors {
        let id = format!("gpu{gpu}.worker.busy");
        if !root.is_live() {
            let reason = Reason::new(ReasonCode::NoSuchInterface, "a captured tree runs no process of ours");
            catalogue.absent((&id, Quantity::Gpu, Unit::Ratio, Scope::Process), "/proc/PID/fdinfo", reason);
            continue;
        }
        let entry = |what: &str, unit, class| Entry {
            id: format!("gpu{gpu}.worker.{what}"),
            quantity: Quantity::Gpu,
            unit,
            scope: Scope::Process,
            class,
            source: format!("/proc/PID/fdinfo of the worker, {sign}"),
            group: Group::Gpu,
        };
        let busy = catalogue.counter(entry("busy.time", Unit::Seconds, Class::Derived), None);
        catalogue.rate(&id, busy, Quantity::Gpu, Unit::Ratio);
        let memory = catalogue.gauge(entry("memory", Unit::Bytes, Class::Measured));
        devices.push(Device { sign: sign.clone(), busy, memory, usage: Usage::default() });
    }
    (!devices.is_empty()).then(|| {
        let (root, worker) = (root.clone(), worker.clone());
        Box::new(WorkerShare { root, worker, clients: None, devices }) as Box<dyn Source>
    })
}

/// What the clients of one processor have in common.
#[derive(Debug, Clone)]
pub(crate) enum Sign {
    /// Its address on the bus.
    Address(String),
    /// Its driver, where the processor is part of the chip and there is one of it.
    Driver(&'static [&'static str]),
}

impl Sign {
    fn is_on(&self, client: &Client) -> bool {
        match self {
            Self::Address(address) => client.device.as_deref() == Some(address),
            Self::Driver(names) => names.contains(&client.driver.as_str()),
        }
    }
}

impl fmt::Display for Sign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "device {address}"),
            Self::Driver(names) => write!(f, "driver {}", names.join(" or ")),
        }
    }
}

struct Device {
    sign: Sign,
    busy: ChannelId,
    memory: ChannelId,
    usage: Usage,
}

struct WorkerShare {
    root: Root,
    worker: WorkerPid,
    /// Of this process.
    clients: Option<(u32, Clients)>,
    devices: Vec<Device>,
}

impl WorkerShare {
    /// Opens the descriptors of a worker that is new.
    fn open(&mut self) -> Result<(), ReasonCode> {
        let pid = self.worker.get().ok_or(ReasonCode::NoSuchInterface)?;
        if self.clients.as_ref().is_none_or(|(of, _)| *of != pid) {
            self.devices.iter_mut().for_each(|device| device.usage = Usage::default());
            let opened = Clients::of(&self.root, &[pid]).map_err(|reason| reason.code)?;
            self.clients = Some((pid, opened));
        }
        Ok(())
    }
}

impl Source for WorkerShare {
    fn channels(&self) -> Vec<ChannelId> {
        self.devices.iter().flat_map(|device| [device.busy, device.memory]).collect()
    }

    fn read(&mut self, values: &mut Vec<(ChannelId, Value)>) {
        let now_ns = monotonic_ns();
        if let Err(code) = self.open() {
            let absent = |channel| (channel, Value::Absent(code));
            values.extend(self.devices.iter().flat_map(|device| [device.busy, device.memory].map(absent)));
            return;
        }
        let all = self.clients.as_mut().ok_or(ReasonCode::NoSuchInterface).and_then(|(_, all)| all.read());
        for device in &mut self.devices {
            let (busy, memory) = match &all {
                Ok(all) => device.read(now_ns, all.clone()),
                Err(code) => (Err(*code), Err(*code)),
            };
            values.push((device.busy, busy.map_or_else(Value::Absent, Value::Present)));
            values.push((device.memory, memory.map_or_else(Value::Absent, Value::Present)));
        }
    }
}

type Reading = Result<f64, ReasonCode>;

impl Device {
    /// Busy seconds and bytes of the clients among `all` that are its own.
    fn read<'c>(&mut self, now_ns: u64, all: impl Iterator<Item = &'c Client> + Clone) -> (Reading, Reading) {
        let Self { sign, usage, .. } = self;
        let ours = all.filter(|client| sign.is_on(client));
        if ours.clone().next().is_none() {
            return (Err(ReasonCode::NoSuchInterface), Err(ReasonCode::NoSuchInterface));
        }
        let memory = ours.clone().filter_map(Client::memory_bytes).reduce(u64::saturating_add);
        let memory = memory.map(|bytes| bytes as f64).ok_or(ReasonCode::NotSupported);
        (usage.add(now_ns, ours), memory)
    }
}

/// Busy time of the clients of one device.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    last_ns: Option<u64>,
    /// By client and name.
    engines: BTreeMap<u64, BTreeMap<String, Engine>>,
    busy_s: f64,
}

impl Usage {
    /// Adds what the engines did since the last reading. A kernel that runs for long may be counted when it
    /// ends, so one interval is bounded by what all engines of the kind could do in it.
    ///
    /// # Errors
    /// [`ReasonCode::NotSupported`] where the driver counts no time, as Panfrost does until its profiling is on.
    pub(crate) fn add<'c>(
        &mut self,
        now_ns: u64,
        clients: impl Iterator<Item = &'c Client> + Clone,
    ) -> Result<f64, ReasonCode> {
        let passed_s =
            self.last_ns.replace(now_ns).map_or(0.0, |last| now_ns.saturating_sub(last) as f64 / 1e9);
        let mut counts = false;
        self.engines.retain(|id, _| clients.clone().any(|client| client.id == *id));
        for client in clients {
            let seen = self.engines.entry(client.id).or_default();
            let computing = client.engines.iter().filter(|(name, _)| COMPUTING.contains(&name.as_str()));
            for (name, engine) in computing {
                counts |= engine.busy_ns.or(engine.cycles).is_some_and(|count| count > 0)
                    || !matches!(client.driver.as_str(), "panfrost" | "panthor");
                let before = seen.get_mut(name).map(|before| std::mem::replace(before, *engine));
                if before.is_none() {
                    seen.insert(name.clone(), *engine);
                }
                let step = before.and_then(|before| step_s(&before, engine, passed_s));
                // Of several engines of a kind, all busy is busy.
                self.busy_s += step.unwrap_or(0.0).clamp(0.0, passed_s * f64::from(engine.count()))
                    / f64::from(engine.count());
            }
        }
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
        let at = |usage: &mut Usage, s: u64, lines: &str| {
            usage.add(s * 1_000_000_000, [&client(lines)].into_iter())
        };
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
        assert_eq!(Usage::default().add(5, [&client].into_iter()), Err(ReasonCode::NotSupported));
    }
}
