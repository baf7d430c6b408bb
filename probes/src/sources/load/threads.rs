//! Threads of the worker, from the scheduler's own account: `run ns, wait ns, times scheduled` in
//! `/proc/PID/task/TID/schedstat`, exact to the nanosecond.

use std::collections::BTreeMap;

use slmscope_profiles::channel::{ChannelId, Class, Quantity, Reason, ReasonCode, Scope, Unit, Value};

use crate::catalogue::{Catalogue, Entry, missing};
use crate::machine::root::{Handle, Root};
use crate::machine::topology;
use crate::source::{Group, Source};
use crate::sources::load::self_usage::WorkerPid;

/// Readings between two searches for new threads, where the kernel does not report how many there are.
const LOOK_EVERY: u32 = 10;

/// Threads that have a channel of their own; the sums are over all.
const MAX_SHOWN: usize = 16;

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

/// What one thread did so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Account {
    run_ns: u64,
    wait_ns: u64,
    slices: u64,
}

/// Reads the accounts of all threads.
struct Threads {
    root: Root,
    worker: WorkerPid,
    pid: Option<u32>,
    accounts: BTreeMap<u32, (Handle, Account)>,
    /// Sums of threads that ended.
    ended: Account,
    readings: u32,
    /// `/proc/PID/stat`, which holds the number of threads: the folder is listed only when that changes.
    stat: Option<Handle>,
    /// One of them could not be read.
    missed: bool,
    wait: ChannelId,
    slices: ChannelId,
    shown: Vec<ChannelId>,
}

impl Threads {
    fn new(root: &Root, catalogue: &mut Catalogue, worker: &WorkerPid, cpus: usize) -> Self {
        let mut counter = |id: String, unit| {
            let entry = Entry {
                id: if unit == Unit::Seconds { format!("{id}.time") } else { id.clone() },
                quantity: Quantity::Cpu,
                unit,
                scope: Scope::Process,
                class: Class::Measured,
                source: "/proc/PID/task/TID/schedstat of the worker".to_owned(),
                group: Group::Medium,
            };
            let channel = catalogue.counter(entry, None);
            if unit == Unit::Seconds {
                catalogue.rate(&id, channel, Quantity::Cpu, Unit::Ratio);
            }
            channel
        };
        let wait = counter("cpu.worker.wait".to_owned(), Unit::Seconds);
        let slices = counter("cpu.worker.slices".to_owned(), Unit::Count);
        let shown = (0..MAX_SHOWN.min(cpus + 1))
            .map(|number| counter(format!("cpu.worker.thread{number}"), Unit::Seconds))
            .collect();
        Self {
            root: root.clone(),
            worker: worker.clone(),
            pid: None,
            accounts: BTreeMap::new(),
            ended: Account::default(),
            readings: 0,
            stat: None,
            missed: false,
            wait,
            slices,
            shown,
        }
    }

    fn look(&mut self, pid: u32) {
        let folder = format!("proc/{pid}/task");
        let names = self.root.list(&folder).unwrap_or_default();
        let present: Vec<u32> = names.iter().filter_map(|name| name.parse().ok()).take(MAX_THREADS).collect();
        let ended = &mut self.ended;
        self.accounts.retain(|thread, (_, account)| {
            let stays = present.contains(thread);
            if !stays {
                ended.run_ns = ended.run_ns.saturating_add(account.run_ns);
                ended.wait_ns = ended.wait_ns.saturating_add(account.wait_ns);
                ended.slices = ended.slices.saturating_add(account.slices);
            }
            stays
        });
        for thread in present {
            if !self.accounts.contains_key(&thread)
                && let Ok(handle) = self.root.open(&format!("{folder}/{thread}/schedstat"))
            {
                self.accounts.insert(thread, (handle, Account::default()));
            }
        }
    }

    /// Updates all accounts.
    fn update(&mut self) -> Result<(), ReasonCode> {
        let pid = self.worker.get().ok_or(ReasonCode::NoSuchInterface)?;
        if self.pid != Some(pid) {
            self.pid = Some(pid);
            self.accounts.clear();
            self.ended = Account::default();
            self.readings = 0;
            self.stat = self.root.open(&format!("proc/{pid}/stat")).ok();
        }
        let mut line = [0; 1024];
        let count = self.stat.as_ref().and_then(|stat| thread_count(stat.read(&mut line).ok()?));
        let changed = match count {
            Some(count) => self.missed || count.min(MAX_THREADS) != self.accounts.len(),
            None => self.readings.is_multiple_of(LOOK_EVERY),
        };
        if changed {
            self.look(pid);
        }
        self.missed = false;
        self.readings = self.readings.wrapping_add(1);
        let mut buffer = [0; 96];
        for (handle, account) in self.accounts.values_mut() {
            // A thread that ended keeps its last account until the search finds it gone.
            match handle.read(&mut buffer) {
                Ok(text) => *account = parse(text).unwrap_or(*account),
                Err(_) => self.missed = true,
            }
        }
        if self.accounts.is_empty() { Err(ReasonCode::Vanished) } else { Ok(()) }
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
        [self.wait, self.slices].into_iter().chain(self.shown.iter().copied()).collect()
    }

    fn read(&mut self, values: &mut Vec<(ChannelId, Value)>) {
        if let Err(code) = self.update() {
            let channels = [self.wait, self.slices].into_iter().chain(self.shown.iter().copied());
            values.extend(channels.map(|channel| (channel, Value::Absent(code))));
            return;
        }
        let accounts = self.accounts.values().map(|(_, account)| account);
        let all = accounts.clone().fold((self.ended.wait_ns, self.ended.slices), |sum, account| {
            (sum.0.saturating_add(account.wait_ns), sum.1.saturating_add(account.slices))
        });
        values.push((self.wait, Value::Present(all.0 as f64 / 1e9)));
        values.push((self.slices, Value::Present(all.1 as f64)));
        let mut accounts = accounts;
        values.extend(self.shown.iter().map(|&channel| {
            let value = accounts.next().filter(|account| **account != Account::default());
            let absent = Value::Absent(ReasonCode::Vanished);
            (channel, value.map_or(absent, |account| Value::Present(account.run_ns as f64 / 1e9)))
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_come_and_end_and_their_sum_never_falls() {
        let dir = tempfile::tempdir().unwrap();
        let write = |thread: u32, text: &str| {
            let folder = dir.path().join(format!("proc/7/task/{thread}"));
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("schedstat"), text).unwrap();
        };
        write(7, "1000000000 5000000 10\n");
        write(9, "2000000000 0 4\n");
        let root = Root::tree(dir.path()).unwrap();
        let (mut catalogue, worker) = (Catalogue::default(), WorkerPid::default());
        let mut source = Threads::new(&root, &mut catalogue, &worker, 2);
        let read = |source: &mut Threads| {
            let mut values = Vec::new();
            source.read(&mut values);
            values.into_iter().map(|(_, value)| value).collect::<Vec<_>>()
        };
        assert!(read(&mut source).iter().all(|&value| value == Value::Absent(ReasonCode::NoSuchInterface)));
        worker.set(Some(7));
        let values = read(&mut source);
        assert_eq!(values[..4], [0.005, 14.0, 1.0, 2.0].map(Value::Present));
        assert_eq!(values[4], Value::Absent(ReasonCode::Vanished), "no third thread");
        std::fs::remove_dir_all(dir.path().join("proc/7/task/9")).unwrap();
        write(7, "1500000000 6000000 12\n");
        source.readings = 0;
        let values = read(&mut source);
        assert_eq!(values[..3], [0.006, 16.0, 1.5].map(Value::Present));
        worker.set(Some(8));
        assert!(read(&mut source).iter().all(|&value| value == Value::Absent(ReasonCode::Vanished)));
    }

    #[test]
    fn threads_are_counted_behind_the_name() {
        let stat = b"7 (a) b) S 1 7 7 0 -1 4194304 150 0 7 0 5 6 0 0 20 0 12 0 999";
        assert_eq!(thread_count(stat), Some(12));
        assert_eq!(thread_count(b"7 (a) S 1"), None);
    }

    #[test]
    fn accounts_that_are_not_kept_are_none() {
        assert_eq!(parse(b"0 0 0\n"), None);
        assert_eq!(parse(b"1 2\n"), None);
        assert_eq!(parse(b"1 x 3\n"), None);
        assert_eq!(parse(b"1 2 3\n"), Some(Account { run_ns: 1, wait_ns: 2, slices: 3 }));
    }

    #[test]
    fn noise_is_refused() {
        crate::tests::noise::against(b"1000000000 5000000 10\n", |text| {
            assert_ne!(parse(text), Some(Account::default()));
        });
    }
}
