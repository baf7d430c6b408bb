//! The control group (version 2) of this process, in which the worker runs too: its CPU time, its memory, and
//! the limits that an ancestor may set.
//!
//! A limit binds everything below it, so the tightest on the way to the root counts. Mapped weights are `file`
//! memory that the kernel may drop again; the working set leaves out what it has not touched for long.

use slmscope_profiles::channel::{ChannelId, Class, Quantity, Reason, ReasonCode, Scope, Unit, Value};

use crate::catalogue::{Catalogue, Entry, missing};
use crate::machine::root::{Handle, Root};
use crate::source::{Group, Source};

/// Where version 2 is mounted: alone, or beside version 1.
const MOUNTS: [&str; 2] = ["sys/fs/cgroup", "sys/fs/cgroup/unified"];

/// `memory.stat` has some sixty lines.
const CAP: usize = 8192;

/// Groups between ours and the root.
const MAX_DEPTH: usize = 64;

/// Enters the channels of scope `cgroup`.
pub(crate) fn discover(root: &Root, catalogue: &mut Catalogue) -> Option<Box<dyn Source>> {
    let folder =
        if root.is_live() { folder(root) } else { Err(missing("a captured tree runs no process of ours")) };
    match folder {
        Ok((mount, group)) => Some(Box::new(Cgroup::enter(root, mount, &group, catalogue))),
        Err(reason) => {
            let cpu = ("cpu.cgroup", Quantity::Cpu, Unit::Ratio, Scope::Cgroup);
            catalogue.absent(cpu, "/proc/self/cgroup", reason.clone());
            let memory = ("mem.cgroup.current", Quantity::Memory, Unit::Bytes, Scope::Cgroup);
            catalogue.absent(memory, "/proc/self/cgroup", reason);
            None
        }
    }
}

/// The mount and our group below it.
fn folder(root: &Root) -> Result<(&'static str, String), Reason> {
    let text = root.text("proc/self/cgroup")?;
    let group = own_group(&text).ok_or_else(|| missing("this process is in no group of version 2"))?;
    let mount = MOUNTS
        .into_iter()
        .find(|mount| root.exists(&format!("{mount}/cgroup.controllers")))
        .ok_or_else(|| missing("control groups of version 2 are not mounted"))?;
    Ok((mount, group))
}

/// The path in the line `0::/path`. One that leaves the mount belongs to another namespace.
fn own_group(text: &str) -> Option<String> {
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let inside = path.split('/').all(|part| part != ".." && part != ".");
    (inside && path.split('/').count() <= MAX_DEPTH).then(|| path.to_owned())
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

struct Cgroup {
    parts: Vec<Part>,
    /// Current and inactive file memory, for the working set.
    working_set: Option<(ChannelId, Handle, Handle)>,
    /// Files with a limit, from our group up, and what the tightest means.
    cpu_limit: (ChannelId, Vec<Handle>),
    memory_limit: (ChannelId, Vec<Handle>),
    buffer: Vec<u8>,
}

impl Cgroup {
    fn enter(root: &Root, mount: &str, group: &str, catalogue: &mut Catalogue) -> Self {
        let folder = format!("{mount}/{group}").trim_end_matches('/').to_owned();
        let open = |file: &str| root.open(&format!("{folder}/{file}"));
        let entry = |id: &str, quantity, unit, file: &str| Entry {
            id: id.to_owned(),
            quantity,
            unit,
            scope: Scope::Cgroup,
            class: Class::Measured,
            source: format!("/{folder}/{file}"),
            group: Group::Slow,
        };
        let mut parts = Vec::new();
        match open("cpu.stat") {
            Ok(handle) => {
                let mut counter =
                    |id, quantity, unit| catalogue.counter(entry(id, quantity, unit, "cpu.stat"), None);
                let time = counter("cpu.cgroup.time", Quantity::Cpu, Unit::Seconds);
                let throttled = counter("throttle.cgroup", Quantity::Throttle, Unit::Count);
                let stopped = counter("throttle.cgroup.time", Quantity::Throttle, Unit::Seconds);
                catalogue.rate("cpu.cgroup", time, Quantity::Cpu, Unit::Ratio);
                let line = |name, channel, factor| Line { name, channel, factor };
                let lines = vec![
                    line("usage_usec", time, 1e-6),
                    line("nr_throttled", throttled, 1.0),
                    line("throttled_usec", stopped, 1e-6),
                ];
                parts.push(Part { handle, lines });
            }
            Err(reason) => {
                let channel = ("cpu.cgroup", Quantity::Cpu, Unit::Ratio, Scope::Cgroup);
                catalogue.absent(channel, &format!("/{folder}/cpu.stat"), reason);
            }
        }
        let gauge = |catalogue: &mut Catalogue, id: &str, file: &str| {
            catalogue.gauge(entry(id, Quantity::Memory, Unit::Bytes, file))
        };
        if let Ok(handle) = open("memory.stat") {
            let lines = [("anon", "mem.cgroup.anon"), ("file", "mem.cgroup.file")].map(|(name, id)| Line {
                name,
                channel: gauge(catalogue, id, "memory.stat"),
                factor: 1.0,
            });
            parts.push(Part { handle, lines: lines.to_vec() });
        }
        for (file, id) in [("memory.current", "mem.cgroup.current"), ("memory.peak", "mem.cgroup.peak")] {
            match open(file) {
                Ok(handle) => {
                    let lines = vec![Line { name: "", channel: gauge(catalogue, id, file), factor: 1.0 }];
                    parts.push(Part { handle, lines });
                }
                Err(reason) if file == "memory.current" => {
                    // The root group has no such file: it is the machine.
                    let source = format!("/{folder}/{file}");
                    let channel = (id, Quantity::Memory, Unit::Bytes, Scope::Cgroup);
                    catalogue.absent(channel, &source, reason);
                }
                Err(_) => {}
            }
        }
        let working_set = match (open("memory.current"), open("memory.stat")) {
            (Ok(current), Ok(stat)) => {
                let mut entry =
                    entry("mem.cgroup.working_set", Quantity::Memory, Unit::Bytes, "memory.current");
                entry.class = Class::Derived;
                entry.source.push_str(" less inactive_file");
                Some((catalogue.gauge(entry), current, stat))
            }
            _ => None,
        };
        if let Ok(handle) = open("memory.events") {
            let entry = entry("mem.cgroup.oom_kills", Quantity::Memory, Unit::Count, "memory.events");
            let channel = catalogue.counter(entry, None);
            parts.push(Part { handle, lines: vec![Line { name: "oom_kill", channel, factor: 1.0 }] });
        }
        let ancestors = |file: &str| {
            let mut path = group.to_owned();
            let mut handles = Vec::new();
            loop {
                handles.extend(root.open(&format!("{mount}/{path}/{file}")).ok());
                match path.rsplit_once('/') {
                    Some((parent, _)) => path = parent.to_owned(),
                    None if path.is_empty() => return handles,
                    None => path.clear(),
                }
            }
        };
        let cpu = catalogue.gauge(entry("cpu.cgroup.limit", Quantity::Cpu, Unit::Count, "cpu.max"));
        let memory = catalogue.gauge(entry("mem.cgroup.limit", Quantity::Memory, Unit::Bytes, "memory.max"));
        Self {
            parts,
            working_set,
            cpu_limit: (cpu, ancestors("cpu.max")),
            memory_limit: (memory, ancestors("memory.max")),
            buffer: vec![0; CAP],
        }
    }
}

impl Source for Cgroup {
    fn channels(&self) -> Vec<ChannelId> {
        let lines = self.parts.iter().flat_map(|part| &part.lines).map(|line| line.channel);
        let limits = [self.cpu_limit.0, self.memory_limit.0];
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
        if let Some((channel, current, stat)) = &self.working_set {
            let value = working_set(current, stat, &mut self.buffer);
            values.push((*channel, value.map_or_else(Value::Absent, Value::Present)));
        }
        for ((channel, handles), parse) in
            [(&self.cpu_limit, cpus as fn(&[u8]) -> Option<f64>), (&self.memory_limit, bytes)]
        {
            let mut buffer = [0; 64];
            let limits = handles.iter().filter_map(|handle| parse(handle.read(&mut buffer).ok()?));
            // No limit is not a limit of zero.
            let tightest = limits.min_by(f64::total_cmp);
            values.push((*channel, tightest.map_or(Value::Absent(ReasonCode::NotSupported), Value::Present)));
        }
    }
}

fn working_set(current: &Handle, stat: &Handle, buffer: &mut [u8]) -> Result<f64, ReasonCode> {
    let used = field(current.read(buffer)?, "").ok_or(ReasonCode::ReadError)?;
    let idle = field(stat.read(buffer)?, "inactive_file").ok_or(ReasonCode::NotSupported)?;
    Ok(used.saturating_sub(idle) as f64)
}

/// The number after a name at the start of a line; without a name the whole file.
fn field(text: &[u8], name: &str) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    if name.is_empty() {
        return text.trim().parse().ok();
    }
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

/// CPUs that `quota period` allow; `max` is no limit.
fn cpus(text: &[u8]) -> Option<f64> {
    let mut words = std::str::from_utf8(text).ok()?.split_ascii_whitespace();
    let (quota, period): (u64, u64) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    (period > 0).then(|| quota as f64 / period as f64)
}

/// A number of bytes; `max` is no limit.
fn bytes(text: &[u8]) -> Option<f64> {
    field(text, "").map(|bytes| bytes as f64)
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
        let mut source = Cgroup::enter(&root, MOUNTS[0], "a/b", &mut catalogue);
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
        assert!(values.contains(&(source.cpu_limit.0, Value::Absent(ReasonCode::NotSupported))));
    }

    #[test]
    fn groups_of_another_namespace_or_version_are_none() {
        assert_eq!(own_group("9:cpu:/x\n0::/user.slice/a\n").as_deref(), Some("user.slice/a"));
        assert_eq!(own_group("0::/\n").as_deref(), Some(""));
        assert_eq!(own_group("0::/../outside\n"), None);
        assert_eq!(own_group("9:cpu:/x\n"), None);
        assert_eq!(cpus(b"50000 0\n"), None);
    }

    #[test]
    fn noise_is_refused() {
        crate::tests::noise::against(b"0::/user.slice/a\nusage_usec 2500000\n50000 100000\n", |text| {
            let words = String::from_utf8_lossy(text);
            assert!(own_group(&words).is_none_or(|group| !group.split('/').any(|part| part == "..")));
            let _ = (field(text, "usage_usec"), field(text, ""), bytes(text));
            assert!(cpus(text).is_none_or(|cpus| cpus.is_finite() && cpus >= 0.0));
        });
    }
}
