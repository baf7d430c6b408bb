//! What the worker's loads brought in from memory, by an assumption: each miss of the last-level cache moved 64
//! bytes. Prefetching, write-backs, streaming stores and devices are not seen, so the truth may be twice that
//! or half.
//!
//! Counted for each thread of the worker in user mode, which needs no privilege, and only while a workload
//! runs. Machines with two kinds of cores have a PMU for each.

use std::collections::HashMap;

use rustix::io::Errno;
use slmscope_profiles::channel::{ChannelId, Class, Quantity, ReasonCode, Scope, Unit, Value};

use super::pmu::{Pmu, names};
use super::{Event, Group, Target, Total, refusal};
use crate::catalogue::{Catalogue, Entry, Interface};
use crate::machine::proc_dir::ProcDir;
use crate::machine::root::Root;
use crate::source::{Pace, Source};
use crate::sources::load::self_usage::WorkerPid;

/// Bytes of a line of the last-level cache, on every machine that this runs on.
const LINE: f64 = 64.0;

/// `PERF_COUNT_HW_CACHE_MISSES` of `PERF_TYPE_HARDWARE`.
const CACHE_MISSES: u64 = 3;

/// Readings between two searches for new threads.
const LOOK_EVERY: u32 = 10;

/// Threads that are counted.
const MAX_THREADS: usize = 256;

/// Enters `membw.worker`, where this CPU counts the misses.
pub(crate) fn discover(
    root: &Root,
    catalogue: &mut Catalogue,
    worker: &WorkerPid,
) -> Option<Box<dyn Source>> {
    let id = "membw.worker";
    let mut absent = |reason| {
        let channel = (id, Quantity::MemoryBandwidth, Unit::BytesPerSecond, Scope::Process);
        let channel = catalogue.absent(channel, SOURCE, reason);
        catalogue.set_interface(channel, Interface::PerformanceCounter);
    };
    if !root.is_live() {
        absent(crate::catalogue::missing("a captured tree runs no process of ours"));
        return None;
    }
    let events = events(root);
    if let Err(errno) = Group::open(&events[..1], Target::Thread(0)) {
        absent(refusal("cache misses", errno));
        return None;
    }
    let entry = Entry {
        id: format!("{id}.bytes"),
        quantity: Quantity::MemoryBandwidth,
        unit: Unit::Bytes,
        scope: Scope::Process,
        class: Class::Modelled,
        source: SOURCE.to_owned(),
        group: crate::source::Group::Medium,
    };
    let channel = catalogue.counter(entry, None);
    catalogue.rate(id, channel, Quantity::MemoryBandwidth, Unit::BytesPerSecond);
    Some(Box::new(Misses {
        events,
        root: root.clone(),
        worker: worker.clone(),
        pid: None,
        tasks: None,
        present: Vec::new(),
        threads: HashMap::new(),
        ended: 0.0,
        readings: 0,
        active: false,
        channel,
    }))
}

const SOURCE: &str = "perf cache-misses × 64 B, threads of the worker";

/// The event, once for each kind of core.
fn events(root: &Root) -> Vec<Event> {
    let kinds: Vec<u32> = names(root)
        .iter()
        .filter(|name| name.starts_with("cpu_"))
        .filter_map(|name| Some(Pmu::find(root, name).ok()?.kind))
        .collect();
    if kinds.is_empty() {
        return vec![Event { config: CACHE_MISSES, ..Event::default() }];
    }
    kinds
        .iter()
        .map(|&kind| Event { config: u64::from(kind) << 32 | CACHE_MISSES, ..Event::default() })
        .collect()
}

struct Misses {
    events: Vec<Event>,
    root: Root,
    worker: WorkerPid,
    pid: Option<u32>,
    /// Its threads, and which there were at the last search.
    tasks: Option<ProcDir>,
    present: Vec<u32>,
    threads: HashMap<u32, Vec<(Group, Total)>>,
    /// Misses of threads that ended.
    ended: f64,
    readings: u32,
    active: bool,
    channel: ChannelId,
}

impl Misses {
    fn look(&mut self) -> Result<(), ReasonCode> {
        let Self { tasks, present, threads, ended, .. } = self;
        tasks.as_ref().ok_or(ReasonCode::Vanished)?.list(present)?;
        threads.retain(|thread, groups| {
            let stays = present.binary_search(thread).is_ok();
            if !stays {
                // Counters outlive their thread.
                let rest = groups.iter_mut().map(|(group, total)| count(group, total).unwrap_or(0.0));
                *ended += rest.sum::<f64>();
            }
            stays
        });
        for &thread in &self.present {
            if self.threads.contains_key(&thread) {
                continue;
            }
            let open = |&event| Ok((Group::open(&[event], Target::Thread(thread))?, Total::default()));
            match self.events.iter().map(open).collect::<Result<Vec<_>, Errno>>() {
                Ok(groups) => {
                    self.threads.insert(thread, groups);
                }
                Err(Errno::SRCH) => {}
                Err(errno) => return Err(crate::machine::root::code(errno)),
            }
        }
        Ok(())
    }

    fn bytes(&mut self) -> Result<f64, ReasonCode> {
        let pid = self.worker.get().ok_or(ReasonCode::NoSuchInterface)?;
        if !self.active {
            return Err(ReasonCode::GatedOrAsleep);
        }
        if self.pid != Some(pid) {
            self.pid = Some(pid);
            self.threads.clear();
            self.tasks = ProcDir::open(&self.root, &format!("proc/{pid}/task"), MAX_THREADS).ok();
            self.readings = 0;
        }
        if self.readings.is_multiple_of(LOOK_EVERY) {
            self.look()?;
        }
        self.readings = self.readings.wrapping_add(1);
        let groups = self.threads.values_mut().flatten();
        let running: f64 = groups.map(|(group, total)| count(group, total)).sum::<Result<f64, _>>()?;
        Ok((self.ended + running) * LINE)
    }
}

/// Misses so far. A thread that has not run since it was opened has none.
fn count(group: &Group, total: &mut Total) -> Result<f64, ReasonCode> {
    let counts = group.read()?;
    match total.add(&counts, 0) {
        Err(ReasonCode::Stale) => Ok(total.so_far()),
        other => other,
    }
}

impl Source for Misses {
    fn channels(&self) -> Vec<ChannelId> {
        vec![self.channel]
    }

    fn set_pace(&mut self, pace: Pace) {
        self.active = pace == Pace::Workload;
        if !self.active {
            self.threads.clear();
            self.pid = None;
        }
    }

    fn read(&mut self, values: &mut Vec<(ChannelId, Value)>) {
        let value = self.bytes().map_or_else(Value::Absent, Value::Present);
        values.push((self.channel, value));
    }
}
