//! Threads of the worker, from the scheduler's own account: `run ns, wait ns, times scheduled` in
//! `/proc/PID/task/TID/schedstat`, exact to the nanosecond.
//!
//! | channel | threads |
//! |---|---|
//! | `cpu.worker.engine-main` | the one that issues the work |
//! | `cpu.worker.engine-N` | the one of that name that computes with it |
//! | `cpu.worker.engine-ray`, `cpu.worker.candle-bp` | the pools `engine-ray-N` and `candle-bp-N`, each as a whole |
//! | `cpu.worker.other` | all others, and what ended threads had used |
//!
//! Each thread is in exactly one of them, so their sum is the worker's CPU time, but for what a thread used between its
//! last reading and its end.

use std::collections::BTreeMap;

use slmscope_profiles::channel::{ChannelId, Class, Quantity, Reason, ReasonCode, Scope, Unit, Value};

use crate::catalogue::{Catalogue, Entry, missing};
use crate::machine::root::{Handle, Root};
use crate::machine::topology;
use crate::source::{Group, Source};
use crate::sources::load::self_usage::WorkerPid;

/// Readings between two searches for new threads, where the kernel does not report how many there are.
const LOOK_EVERY: u32 = 10;

/// Engine threads that have a channel of their own; the sums are over all.
const MAX_SHOWN: usize = 32;

/// Threads that are read.
const MAX_THREADS: usize = 512;

/// Enters the sums over all threads of the worker and a channel for each of the first ones.
pub(crate) fn discover(
    root: &Root,
    catalogue: &mut Catalogue,
    worker: &WorkerPid,
) -> Option<Box<dyn Source>> {
    let id = "cpu.worker.wait";
    let refused = if root.is_live() {
        root.text("proc/self/schedstat").err().map(|reason| {
            Reason::new(
                ReasonCode::NotSupported,
                format!("the kernel keeps no scheduler statistics: {}", reason.detail),
            )
        })
    } else {
        Some(missing("a captured tree runs no process of ours"))
    };
    if let Some(reason) = refused {
        let channel = (id, Quantity::Cpu, Unit::Ratio, Scope::Process);
        catalogue.absent(channel, "/proc/PID/task/TID/schedstat", reason);
        return None;
    }
    Some(Box::new(Threads::new(root, catalogue, worker, topology::present(root).len())))
}

/// What a thread does, which decides the channel that it counts in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// The issuing thread, number 0, or an engine thread of this number.
    Engine(usize),
    /// rayon's pool.
    Rayon,
    /// The pool of candle's quantized products.
    Barrier,
    Other,
}

impl Role {
    /// The role of a thread of this name; `engines` have a channel.
    fn of(name: &[u8], engines: usize) -> Self {
        let engine = || -> Option<usize> {
            let number = std::str::from_utf8(name.strip_prefix(b"engine-")?).ok()?;
            if number == "main" { Some(0) } else { number.parse().ok().filter(|&number| number > 0) }
        };
        match engine() {
            Some(number) if number < engines => Self::Engine(number),
            _ if name.starts_with(b"engine-ray-") => Self::Rayon,
            _ if name.starts_with(b"candle-bp-") => Self::Barrier,
            _ => Self::Other,
        }
    }

    /// Its place among the sums of `engines` engine threads, the two pools, and the others.
    fn place(self, engines: usize) -> usize {
        match self {
            Self::Engine(number) => number,
            Self::Rayon => engines,
            Self::Barrier => engines + 1,
            Self::Other => engines + 2,
        }
    }
}

/// The last words of the channels' ids, in the order of [`Role::place`].
fn role_names(engines: usize) -> impl Iterator<Item = String> {
    let name = |number| if number == 0 { "engine-main".to_owned() } else { format!("engine-{number}") };
    (0..engines).map(name).chain(["engine-ray", "candle-bp", "other"].map(str::to_owned))
}

/// A thread.
struct Thread {
    /// Its `schedstat`.
    account_file: Handle,
    /// Its `comm`.
    name_file: Option<Handle>,
    role: Role,
    account: Account,
}

/// What one thread did so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Account {
    run_ns: u64,
    wait_ns: u64,
    slices: u64,
}

impl Account {
    fn add(&mut self, more: &Self) {
        self.run_ns = self.run_ns.saturating_add(more.run_ns);
        self.wait_ns = self.wait_ns.saturating_add(more.wait_ns);
        self.slices = self.slices.saturating_add(more.slices);
    }
}

/// Reads the accounts of all threads.
struct Threads {
    root: Root,
    worker: WorkerPid,
    pid: Option<u32>,
    found: BTreeMap<u32, Thread>,
    /// Sums of threads that ended.
    ended: Account,
    readings: u32,
    /// Names are read with the next reading: a thread gets its name after it began.
    names_due: bool,
    /// `/proc/PID/stat`, which holds the number of threads: the folder is listed only when that changes.
    stat: Option<Handle>,
    /// One of them could not be read.
    missed: bool,
    wait: ChannelId,
    slices: ChannelId,
    /// In the order of [`Role::place`].
    roles: Vec<ChannelId>,
    /// How long the threads of each role ran, ns; `None` if there are none.
    run_ns: Vec<Option<u64>>,
}

impl Threads {
    fn new(root: &Root, catalogue: &mut Catalogue, worker: &WorkerPid, cpus: usize) -> Self {
        let mut counter = |id: String, unit, source: &str| {
            let entry = Entry {
                id: if unit == Unit::Seconds { format!("{id}.time") } else { id.clone() },
                quantity: Quantity::Cpu,
                unit,
                scope: Scope::Process,
                class: Class::Measured,
                source: source.to_owned(),
                group: Group::Medium,
            };
            let channel = catalogue.counter(entry, None);
            if unit == Unit::Seconds {
                catalogue.rate(&id, channel, Quantity::Cpu, Unit::Ratio);
            }
            channel
        };
        let all = "/proc/PID/task/TID/schedstat of the worker";
        let wait = counter("cpu.worker.wait".to_owned(), Unit::Seconds, all);
        let slices = counter("cpu.worker.slices".to_owned(), Unit::Count, all);
        let roles = role_names(MAX_SHOWN.min(cpus.max(1))).map(|name| {
            let source = format!("{all}: {name}");
            counter(format!("cpu.worker.{name}"), Unit::Seconds, &source)
        });
        let roles: Vec<_> = roles.collect();
        Self {
            root: root.clone(),
            worker: worker.clone(),
            pid: None,
            found: BTreeMap::new(),
            ended: Account::default(),
            readings: 0,
            names_due: false,
            stat: None,
            missed: false,
            wait,
            slices,
            run_ns: vec![None; roles.len()],
            roles,
        }
    }

    /// Engine threads that have a channel.
    fn engines(&self) -> usize {
        self.roles.len().saturating_sub(Role::Other.place(0) + 1)
    }

    fn look(&mut self, pid: u32) {
        let folder = format!("proc/{pid}/task");
        let names = self.root.list(&folder).unwrap_or_default();
        let present: Vec<u32> = names.iter().filter_map(|name| name.parse().ok()).take(MAX_THREADS).collect();
        let ended = &mut self.ended;
        self.found.retain(|thread, Thread { account, .. }| {
            let stays = present.contains(thread);
            if !stays {
                ended.add(account);
            }
            stays
        });
        for thread in present {
            if !self.found.contains_key(&thread)
                && let Ok(account_file) = self.root.open(&format!("{folder}/{thread}/schedstat"))
            {
                let name_file = self.root.open(&format!("{folder}/{thread}/comm")).ok();
                let (role, account) = (Role::Other, Account::default());
                self.found.insert(thread, Thread { account_file, name_file, role, account });
            }
        }
    }

    /// Reads the names of all threads.
    fn read_names(&mut self) {
        let engines = self.engines();
        let mut name = [0; 64];
        for thread in self.found.values_mut() {
            let read = thread.name_file.as_ref().and_then(|file| file.read(&mut name).ok());
            if let Some(name) = read {
                thread.role = Role::of(name.trim_ascii_end(), engines);
            }
        }
    }

    /// Updates all accounts.
    fn update(&mut self) -> Result<(), ReasonCode> {
        let pid = self.worker.get().ok_or(ReasonCode::NoSuchInterface)?;
        if self.pid != Some(pid) {
            self.pid = Some(pid);
            self.found.clear();
            self.ended = Account::default();
            self.readings = 0;
            self.stat = self.root.open(&format!("proc/{pid}/stat")).ok();
        }
        let mut line = [0; 1024];
        let count = self.stat.as_ref().and_then(|stat| thread_count(stat.read(&mut line).ok()?));
        let changed = match count {
            Some(count) => self.missed || count.min(MAX_THREADS) != self.found.len(),
            None => self.readings.is_multiple_of(LOOK_EVERY),
        };
        if changed {
            self.look(pid);
        }
        if changed || self.names_due || self.readings.is_multiple_of(LOOK_EVERY) {
            self.read_names();
        }
        self.names_due = changed;
        self.missed = false;
        self.readings = self.readings.wrapping_add(1);
        let mut buffer = [0; 96];
        for Thread { account_file, account, .. } in self.found.values_mut() {
            // A thread that ended keeps its last account until the search finds it gone.
            match account_file.read(&mut buffer) {
                Ok(text) => *account = parse(text).unwrap_or(*account),
                Err(_) => self.missed = true,
            }
        }
        if self.found.is_empty() { Err(ReasonCode::Vanished) } else { Ok(()) }
    }
}

/// The 20th field of `stat`. The name before it may hold any bytes, brackets too.
fn thread_count(stat: &[u8]) -> Option<usize> {
    let end = stat.iter().rposition(|&byte| byte == b')')?;
    let fields = std::str::from_utf8(stat.get(end + 1..)?).ok()?;
    fields.split_ascii_whitespace().nth(17)?.parse().ok()
}

/// Three numbers. All zeros mean that the kernel does not keep them.
fn parse(text: &[u8]) -> Option<Account> {
    let mut numbers = std::str::from_utf8(text).ok()?.split_ascii_whitespace().map(str::parse::<u64>);
    let mut next = || numbers.next()?.ok();
    let account = Account { run_ns: next()?, wait_ns: next()?, slices: next()? };
    (account != Account::default()).then_some(account)
}

impl Source for Threads {
    fn channels(&self) -> Vec<ChannelId> {
        [self.wait, self.slices].into_iter().chain(self.roles.iter().copied()).collect()
    }

    fn read(&mut self, values: &mut Vec<(ChannelId, Value)>) {
        if let Err(code) = self.update() {
            let channels = [self.wait, self.slices].into_iter().chain(self.roles.iter().copied());
            values.extend(channels.map(|channel| (channel, Value::Absent(code))));
            return;
        }
        let engines = self.engines();
        let mut all = self.ended;
        self.run_ns.fill(None);
        if let Some(other) = self.run_ns.last_mut() {
            *other = Some(self.ended.run_ns);
        }
        for Thread { role, account, .. } in self.found.values() {
            all.add(account);
            if let Some(sum) = self.run_ns.get_mut(role.place(engines)) {
                *sum = Some(sum.unwrap_or(0).saturating_add(account.run_ns));
            }
        }
        values.push((self.wait, Value::Present(all.wait_ns as f64 / 1e9)));
        values.push((self.slices, Value::Present(all.slices as f64)));
        values.extend(self.roles.iter().zip(&self.run_ns).map(|(&channel, run_ns)| {
            let absent = Value::Absent(ReasonCode::Vanished);
            (channel, run_ns.map_or(absent, |ns| Value::Present(ns as f64 / 1e9)))
        }));
    }
}

#[cfg(test)]
mod tests;
