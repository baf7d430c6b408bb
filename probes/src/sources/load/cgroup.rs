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

mod entered;

use slmscope_profiles::channel::{ChannelId, Quantity, Reason, ReasonCode, Scope, Unit, Value};

use crate::catalogue::{Catalogue, missing};
use crate::machine::control_group::{ControlGroup, Controller, field, limit_of_version_1};
use crate::machine::root::{Handle, Root};
use crate::source::Source;
use entered::Entered;

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
struct StatFile {
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
    files: Vec<StatFile>,
    /// Memory in use and `memory.stat`, for the working set, with the name of the line for files that rest.
    working_set: Option<(ChannelId, Handle, Handle, &'static str)>,
    /// The tightest counts.
    limits: Vec<(ChannelId, Vec<Limit>)>,
    buffer: Vec<u8>,
}

impl Cgroup {
    /// `None` if this process is in no group at all.
    fn enter(root: &Root, groups: &Groups, catalogue: &mut Catalogue) -> Option<Self> {
        let mut entered = Entered { root, catalogue, files: Vec::new(), limits: Vec::new() };
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
        let (files, limits) = (entered.files, entered.limits);
        let is_read = !files.is_empty() || !limits.is_empty();
        is_read.then(|| Self { files, working_set, limits, buffer: vec![0; CAP] })
    }
}

impl Source for Cgroup {
    fn channels(&self) -> Vec<ChannelId> {
        let lines = self.files.iter().flat_map(|file| &file.lines).map(|line| line.channel);
        let limits = self.limits.iter().map(|limit| limit.0);
        lines.chain(self.working_set.as_ref().map(|set| set.0)).chain(limits).collect()
    }

    fn read(&mut self, values: &mut Vec<(ChannelId, Value)>) {
        for file in &self.files {
            let text = file.handle.read(&mut self.buffer);
            for line in &file.lines {
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
