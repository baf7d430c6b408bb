//! The control groups of this process, in which the worker runs too: CPU time, memory, and the limits that an ancestor
//! may set. Version 2 has one group for everything, version 1 one for each controller.
//!
//! A limit binds everything below it, so the tightest on the way to the root counts. Mapped weights are `file`
//! memory that the kernel may drop again; the working set leaves out what it has not touched for long.
//!
//! | | version 2 | version 1 |
//! |---|---|---|
//! | CPU time | `cpu.stat` | `cpuacct.usage` |
//! | limit of CPUs | `cpu.max` | `cpu.cfs_quota_us` ÷ `cpu.cfs_period_us` |
//! | memory | `memory.current`, `.peak`, `.stat`, `.events` | `memory.usage_in_bytes`, `.max_usage_in_bytes`, `.stat`, `.oom_control` |
//! | limit of memory | `memory.max` | `memory.limit_in_bytes` |

use slmscope_profiles::channel::{ChannelId, Class, Quantity, Reason, ReasonCode, Scope, Unit, Value};

use crate::catalogue::{Catalogue, Entry, missing};
use crate::machine::control_group::{ControlGroup, Controller, Version, field, limit_of_version_1};
use crate::machine::root::{Handle, Root};
use crate::source::{Group, Source};

/// `memory.stat` has some sixty lines.
const CAP: usize = 8192;

/// Enters the channels of scope `cgroup`.
pub(crate) fn discover(root: &Root, catalogue: &mut Catalogue) -> Option<Box<dyn Source>> {
    let groups = if root.is_live() {
        Groups::of_this_process(root)
    } else {
        let none = || Err(missing("a captured tree runs no process of ours"));
        Groups { cpu: none(), usage: none(), memory: none() }
    };
    Some(Box::new(Cgroup::enter(root, &groups, catalogue)?))
}

/// The groups of this process, the same one in version 2, or why there is none.
struct Groups {
    /// It limits CPU time.
    cpu: Result<ControlGroup, Reason>,
    /// It counts CPU time.
    usage: Result<ControlGroup, Reason>,
    memory: Result<ControlGroup, Reason>,
}

impl Groups {
    fn of_this_process(root: &Root) -> Self {
        let of = |controller| ControlGroup::of_this_process(root, controller);
        Self { cpu: of(Controller::Cpu), usage: of(Controller::CpuAccount), memory: of(Controller::Memory) }
    }
}

/// Values of lines `name number`.
#[derive(Clone, Copy)]
struct Line {
    name: &'static str,
    channel: ChannelId,
    factor: f64,
}

/// A file of such lines, or of one number.
struct Part {
    handle: Handle,
    lines: Vec<Line>,
}

/// A file that sets a limit.
enum Limit {
    /// `quota period`
    Max(Handle),
    /// Quota and period in a file each.
    Quota(Handle, Handle),
    /// Bytes.
    Bytes(Handle),
}

impl Limit {
    /// `None` where it sets none.
    fn read(&self) -> Option<f64> {
        let mut buffer = [0; 64];
        match self {
            Self::Max(handle) => cpus(handle.read(&mut buffer).ok()?),
            Self::Quota(quota, period) => {
                let quota = field(quota.read(&mut buffer).ok()?, "")?;
                let period = field(period.read(&mut buffer).ok()?, "").filter(|&period| period > 0)?;
                Some(quota as f64 / period as f64)
            }
            Self::Bytes(handle) => {
                let bytes = field(handle.read(&mut buffer).ok()?, "")?;
                limit_of_version_1(bytes).map(|bytes| bytes as f64)
            }
        }
    }
}

struct Cgroup {
    parts: Vec<Part>,
    /// Memory in use and `memory.stat`, for the working set, with the name of the line for files that rest.
    working_set: Option<(ChannelId, Handle, Handle, &'static str)>,
    /// The tightest counts.
    limits: Vec<(ChannelId, Vec<Limit>)>,
    buffer: Vec<u8>,
}

impl Cgroup {
    /// `None` if this process is in no group at all.
    fn enter(root: &Root, groups: &Groups, catalogue: &mut Catalogue) -> Option<Self> {
        let mut entered = Entered { root, catalogue, parts: Vec::new(), limits: Vec::new() };
        match &groups.usage {
            Ok(group) => entered.cpu_time(group),
            Err(reason) => {
                let channel = ("cpu.cgroup", Quantity::Cpu, Unit::Ratio, Scope::Cgroup);
                entered.catalogue.absent(channel, "/proc/self/cgroup", reason.clone());
            }
        }
        if let Ok(group) = &groups.cpu {
            entered.throttled(group);
        }
        let mut working_set = None;
        match &groups.memory {
            Ok(group) => {
                entered.memory(group);
                working_set = entered.working_set(group);
                entered.kills(group);
            }
            Err(reason) => {
                let channel = ("mem.cgroup.current", Quantity::Memory, Unit::Bytes, Scope::Cgroup);
                entered.catalogue.absent(channel, "/proc/self/cgroup", reason.clone());
            }
        }
        if let Ok(group) = &groups.cpu {
            entered.cpu_limit(group);
        }
        if let Ok(group) = &groups.memory {
            entered.memory_limit(group);
        }
        let (parts, limits) = (entered.parts, entered.limits);
        let is_read = !parts.is_empty() || !limits.is_empty();
        is_read.then(|| Self { parts, working_set, limits, buffer: vec![0; CAP] })
    }
}

/// Channels and files while they are entered.
struct Entered<'a> {
    root: &'a Root,
    catalogue: &'a mut Catalogue,
    parts: Vec<Part>,
    limits: Vec<(ChannelId, Vec<Limit>)>,
}

/// The one of two names that a group's version has.
fn named(group: &ControlGroup, two: &'static str, one: &'static str) -> &'static str {
    if group.version == Version::Two { two } else { one }
}

fn entry(id: &str, quantity: Quantity, unit: Unit, path: &str) -> Entry {
    Entry {
        id: id.to_owned(),
        quantity,
        unit,
        scope: Scope::Cgroup,
        class: Class::Measured,
        source: format!("/{path}"),
        group: Group::Slow,
    }
}

impl Entered<'_> {
    fn cpu_time(&mut self, group: &ControlGroup) {
        let path = group.file(named(group, "cpu.stat", "cpuacct.usage"));
        let handle = match self.root.open(&path) {
            Ok(handle) => handle,
            Err(reason) => {
                let channel = ("cpu.cgroup", Quantity::Cpu, Unit::Ratio, Scope::Cgroup);
                self.catalogue.absent(channel, &format!("/{path}"), reason);
                return;
            }
        };
        let entry = entry("cpu.cgroup.time", Quantity::Cpu, Unit::Seconds, &path);
        let channel = self.catalogue.counter(entry, None);
        self.catalogue.rate("cpu.cgroup", channel, Quantity::Cpu, Unit::Ratio);
        let factor = if group.version == Version::Two { 1e-6 } else { 1e-9 };
        let line = Line { name: named(group, "usage_usec", ""), channel, factor };
        self.parts.push(Part { handle, lines: vec![line] });
    }

    fn throttled(&mut self, group: &ControlGroup) {
        let path = group.file("cpu.stat");
        let Ok(handle) = self.root.open(&path) else { return };
        let mut counter = |id, unit| {
            let entry = entry(id, Quantity::Throttle, unit, &path);
            self.catalogue.counter(entry, None)
        };
        let count = counter("throttle.cgroup", Unit::Count);
        let time = counter("throttle.cgroup.time", Unit::Seconds);
        let factor = if group.version == Version::Two { 1e-6 } else { 1e-9 };
        let lines = vec![
            Line { name: "nr_throttled", channel: count, factor: 1.0 },
            Line { name: named(group, "throttled_usec", "throttled_time"), channel: time, factor },
        ];
        // In version 2 the file has the CPU time too, and is read once for both.
        match self.parts.iter_mut().find(|part| part.handle.path() == path) {
            Some(part) => part.lines.extend(lines),
            None => self.parts.push(Part { handle, lines }),
        }
    }

    fn memory(&mut self, group: &ControlGroup) {
        let stat = group.file("memory.stat");
        if let Ok(handle) = self.root.open(&stat) {
            // In version 1 only the lines with `total_` count the groups below.
            let kinds = [
                (named(group, "anon", "total_rss"), "mem.cgroup.anon"),
                (named(group, "file", "total_cache"), "mem.cgroup.file"),
            ];
            let lines = kinds.map(|(name, id)| {
                let entry = entry(id, Quantity::Memory, Unit::Bytes, &stat);
                Line { name, channel: self.catalogue.gauge(entry), factor: 1.0 }
            });
            self.parts.push(Part { handle, lines: lines.to_vec() });
        }
        let current = group.file(named(group, "memory.current", "memory.usage_in_bytes"));
        if let Err(reason) = self.bytes(&current, "mem.cgroup.current") {
            // The root group has no such file: it is the machine.
            let channel = ("mem.cgroup.current", Quantity::Memory, Unit::Bytes, Scope::Cgroup);
            self.catalogue.absent(channel, &format!("/{current}"), reason);
        }
        let peak = group.file(named(group, "memory.peak", "memory.max_usage_in_bytes"));
        let _ = self.bytes(&peak, "mem.cgroup.peak");
    }

    /// A file that is one number of bytes.
    fn bytes(&mut self, path: &str, id: &str) -> Result<(), Reason> {
        let handle = self.root.open(path)?;
        let entry = entry(id, Quantity::Memory, Unit::Bytes, path);
        let channel = self.catalogue.gauge(entry);
        self.parts.push(Part { handle, lines: vec![Line { name: "", channel, factor: 1.0 }] });
        Ok(())
    }

    fn working_set(&mut self, group: &ControlGroup) -> Option<(ChannelId, Handle, Handle, &'static str)> {
        let path = group.file(named(group, "memory.current", "memory.usage_in_bytes"));
        let resting = named(group, "inactive_file", "total_inactive_file");
        let current = self.root.open(&path).ok()?;
        let stat = self.root.open(&group.file("memory.stat")).ok()?;
        let mut entry = entry("mem.cgroup.working_set", Quantity::Memory, Unit::Bytes, &path);
        entry.class = Class::Derived;
        entry.source.push_str(" less ");
        entry.source.push_str(resting);
        Some((self.catalogue.gauge(entry), current, stat, resting))
    }

    fn kills(&mut self, group: &ControlGroup) {
        let path = group.file(named(group, "memory.events", "memory.oom_control"));
        let Ok(handle) = self.root.open(&path) else { return };
        let entry = entry("mem.cgroup.oom_kills", Quantity::Memory, Unit::Count, &path);
        let channel = self.catalogue.counter(entry, None);
        self.parts.push(Part { handle, lines: vec![Line { name: "oom_kill", channel, factor: 1.0 }] });
    }

    fn cpu_limit(&mut self, group: &ControlGroup) {
        let path = group.file(named(group, "cpu.max", "cpu.cfs_quota_us"));
        let entry = entry("cpu.cgroup.limit", Quantity::Cpu, Unit::Count, &path);
        let channel = self.catalogue.gauge(entry);
        let open = |group: &ControlGroup, file: &str| self.root.open(&group.file(file)).ok();
        let limit = |group: ControlGroup| match group.version {
            Version::Two => open(&group, "cpu.max").map(Limit::Max),
            Version::One => {
                Some(Limit::Quota(open(&group, "cpu.cfs_quota_us")?, open(&group, "cpu.cfs_period_us")?))
            }
        };
        self.limits.push((channel, group.upward().filter_map(limit).collect()));
    }

    fn memory_limit(&mut self, group: &ControlGroup) {
        let file = named(group, "memory.max", "memory.limit_in_bytes");
        let entry = entry("mem.cgroup.limit", Quantity::Memory, Unit::Bytes, &group.file(file));
        let channel = self.catalogue.gauge(entry);
        let groups = group.memory_limits(self.root);
        let handles = groups.iter().filter_map(|group| self.root.open(&group.file(file)).ok());
        self.limits.push((channel, handles.map(Limit::Bytes).collect()));
    }
}

impl Source for Cgroup {
    fn channels(&self) -> Vec<ChannelId> {
        let lines = self.parts.iter().flat_map(|part| &part.lines).map(|line| line.channel);
        let limits = self.limits.iter().map(|limit| limit.0);
        lines.chain(self.working_set.as_ref().map(|set| set.0)).chain(limits).collect()
    }

    fn read(&mut self, values: &mut Vec<(ChannelId, Value)>) {
        for part in &self.parts {
            let text = part.handle.read(&mut self.buffer);
            for line in &part.lines {
                let value = match text {
                    Ok(text) => match field(text, line.name) {
                        Some(number) => Value::Present(number as f64 * line.factor),
                        None => Value::Absent(ReasonCode::NotSupported),
                    },
                    Err(code) => Value::Absent(code),
                };
                values.push((line.channel, value));
            }
        }
        if let Some((channel, current, stat, resting)) = &self.working_set {
            let value = working_set(current, stat, resting, &mut self.buffer);
            values.push((*channel, value.map_or_else(Value::Absent, Value::Present)));
        }
        for (channel, limits) in &self.limits {
            // No limit is not a limit of zero.
            let tightest = limits.iter().filter_map(Limit::read).min_by(f64::total_cmp);
            values.push((*channel, tightest.map_or(Value::Absent(ReasonCode::NotSupported), Value::Present)));
        }
    }
}

fn working_set(current: &Handle, stat: &Handle, resting: &str, buffer: &mut [u8]) -> Result<f64, ReasonCode> {
    let used = field(current.read(buffer)?, "").ok_or(ReasonCode::ReadError)?;
    let idle = field(stat.read(buffer)?, resting).ok_or(ReasonCode::NotSupported)?;
    Ok(used.saturating_sub(idle) as f64)
}

/// CPUs that `quota period` allow; `max` is no limit.
fn cpus(text: &[u8]) -> Option<f64> {
    let mut words = std::str::from_utf8(text).ok()?.split_ascii_whitespace();
    let (quota, period): (u64, u64) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    (period > 0).then(|| quota as f64 / period as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tightest_limit_of_an_ancestor_binds() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = dir.path().join("sys/fs/cgroup").join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("a/b/cpu.stat", "usage_usec 2500000\nuser_usec 5\nnr_throttled 3\nthrottled_usec 40000\n");
        write("a/b/cpu.max", "max 100000\n");
        write("a/cpu.max", "150000 100000\n");
        write("a/b/memory.max", "4096\n");
        write("a/memory.max", "1024\n");
        write("a/b/memory.current", "1000\n");
        write("a/b/memory.stat", "anon 300\nfile 700\ninactive_file 200\n");
        write("a/b/memory.events", "low 0\noom 1\noom_kill 2\n");
        let root = Root::tree(dir.path()).unwrap();
        let mut catalogue = Catalogue::default();
        let group = || Ok(ControlGroup::at("a/b"));
        let groups = Groups { cpu: group(), usage: group(), memory: group() };
        let mut source = Cgroup::enter(&root, &groups, &mut catalogue).unwrap();
        let mut values = Vec::new();
        source.read(&mut values);
        let channels = catalogue.finish();
        let of = |id: &str| {
            let channel = channels.iter().find(|channel| channel.id == id).unwrap().channel;
            values.iter().find(|(of, _)| *of == channel).unwrap().1
        };
        assert_eq!(of("cpu.cgroup.time"), Value::Present(2.5));
        assert_eq!(of("throttle.cgroup"), Value::Present(3.0));
        assert_eq!(of("throttle.cgroup.time"), Value::Present(0.04));
        assert_eq!(of("cpu.cgroup.limit"), Value::Present(1.5));
        assert_eq!(of("mem.cgroup.limit"), Value::Present(1024.0));
        assert_eq!(of("mem.cgroup.working_set"), Value::Present(800.0));
        assert_eq!(of("mem.cgroup.file"), Value::Present(700.0));
        assert_eq!(of("mem.cgroup.oom_kills"), Value::Present(2.0));
        assert_eq!(source.channels().len(), values.len());
        write("a/cpu.max", "max 100000\n");
        values.clear();
        source.read(&mut values);
        assert!(values.contains(&(source.limits[0].0, Value::Absent(ReasonCode::NotSupported))));
    }

    /// JetPack 4 and 5, Ubuntu 20.04 and many clusters.
    #[test]
    fn version_1_has_the_same_channels() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let cpu = |file: &str, text: &str| write(&format!("sys/fs/cgroup/cpu,cpuacct/{file}"), text);
        let memory = |file: &str, text: &str| write(&format!("sys/fs/cgroup/memory/{file}"), text);
        write("proc/self/cgroup", "4:memory:/hunt\n3:cpu,cpuacct:/hunt/a\n0::/user.slice\n");
        write("sys/fs/cgroup/unified/cgroup.controllers", "");
        cpu("hunt/a/cpuacct.usage", "2500000000\n");
        cpu("hunt/a/cpu.stat", "nr_periods 9\nnr_throttled 3\nthrottled_time 40000000\n");
        cpu("hunt/a/cpu.cfs_quota_us", "-1\n");
        cpu("hunt/a/cpu.cfs_period_us", "100000\n");
        cpu("hunt/cpu.cfs_quota_us", "50000\n");
        cpu("hunt/cpu.cfs_period_us", "100000\n");
        memory("hunt/memory.limit_in_bytes", "268435456\n");
        memory("memory.limit_in_bytes", "9223372036854771712\n");
        memory("hunt/memory.usage_in_bytes", "1000\n");
        memory("hunt/memory.max_usage_in_bytes", "3000\n");
        memory(
            "hunt/memory.stat",
            "cache 1\nrss 2\ntotal_cache 700\ntotal_rss 300\ntotal_inactive_file 200\n",
        );
        memory("hunt/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n");
        let root = Root::tree(dir.path()).unwrap();
        let mut catalogue = Catalogue::default();
        let mut source = Cgroup::enter(&root, &Groups::of_this_process(&root), &mut catalogue).unwrap();
        let mut values = Vec::new();
        source.read(&mut values);
        let channels = catalogue.finish();
        let of = |id: &str| {
            let channel = channels.iter().find(|channel| channel.id == id).unwrap().channel;
            values.iter().find(|(of, _)| *of == channel).unwrap().1
        };
        for (id, expected) in [
            ("cpu.cgroup.time", 2.5),
            ("throttle.cgroup", 3.0),
            ("throttle.cgroup.time", 0.04),
            ("cpu.cgroup.limit", 0.5),
            ("mem.cgroup.limit", 268_435_456.0),
            ("mem.cgroup.current", 1000.0),
            ("mem.cgroup.peak", 3000.0),
            ("mem.cgroup.anon", 300.0),
            ("mem.cgroup.file", 700.0),
            ("mem.cgroup.working_set", 800.0),
            ("mem.cgroup.oom_kills", 2.0),
        ] {
            assert_eq!(of(id), Value::Present(expected), "{id}");
        }
        assert_eq!(source.channels().len(), values.len());
        memory("hunt/memory.limit_in_bytes", "9223372036854771712\n");
        values.clear();
        source.read(&mut values);
        assert!(values.contains(&(source.limits[1].0, Value::Absent(ReasonCode::NotSupported))), "no limit");
    }

    #[test]
    fn noise_is_refused() {
        assert_eq!(cpus(b"50000 0\n"), None);
        crate::tests::noise::against(b"50000 100000\n", |text| {
            assert!(cpus(text).is_none_or(|cpus| cpus.is_finite() && cpus >= 0.0));
        });
    }
}
