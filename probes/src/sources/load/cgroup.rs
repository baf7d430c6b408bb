//! The control group (version 2) of this process, in which the worker runs too: its CPU time, its memory, and
//! the limits that an ancestor may set.
//!
//! A limit binds everything below it, so the tightest on the way to the root counts. Mapped weights are `file`
//! memory that the kernel may drop again; the working set leaves out what it has not touched for long.

use slmscope_profiles::channel::{ChannelId, Class, Quantity, Reason, ReasonCode, Scope, Unit, Value};

use crate::catalogue::{Catalogue, Entry, missing};
use crate::machine::control_group::{ControlGroup, field};
use crate::machine::root::{Handle, Root};
use crate::source::{Group, Source};

/// `memory.stat` has some sixty lines.
const CAP: usize = 8192;

/// Enters the channels of scope `cgroup`.
pub(crate) fn discover(root: &Root, catalogue: &mut Catalogue) -> Option<Box<dyn Source>> {
    let group = if root.is_live() {
        ControlGroup::of_this_process(root)
    } else {
        Err(missing("a captured tree runs no process of ours"))
    };
    match group {
        Ok(group) => Some(Box::new(Cgroup::enter(root, &group, catalogue))),
        Err(reason) => {
            let cpu = ("cpu.cgroup", Quantity::Cpu, Unit::Ratio, Scope::Cgroup);
            catalogue.absent(cpu, "/proc/self/cgroup", reason.clone());
            let memory = ("mem.cgroup.current", Quantity::Memory, Unit::Bytes, Scope::Cgroup);
            catalogue.absent(memory, "/proc/self/cgroup", reason);
            None
        }
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
    fn enter(root: &Root, group: &ControlGroup, catalogue: &mut Catalogue) -> Self {
        let mut files = Files { root, group, catalogue };
        let mut parts: Vec<Part> = Vec::new();
        parts.extend(files.cpu_time());
        parts.extend(files.kinds_of_memory());
        parts.extend(files.memory_in_use());
        parts.extend(files.gauge("memory.peak", "mem.cgroup.peak").ok());
        let working_set = files.working_set();
        parts.extend(files.kills());
        Self {
            parts,
            working_set,
            cpu_limit: files.limit("cpu.max", "cpu.cgroup.limit", Quantity::Cpu, Unit::Count),
            memory_limit: files.limit("memory.max", "mem.cgroup.limit", Quantity::Memory, Unit::Bytes),
            buffer: vec![0; CAP],
        }
    }
}

/// The files of a group, whose channels are being entered.
struct Files<'a> {
    root: &'a Root,
    group: &'a ControlGroup,
    catalogue: &'a mut Catalogue,
}

impl Files<'_> {
    fn open(&self, file: &str) -> Result<Handle, Reason> {
        self.root.open(&self.group.file(file))
    }

    fn entry(&self, id: &str, quantity: Quantity, unit: Unit, file: &str) -> Entry {
        Entry {
            id: id.to_owned(),
            quantity,
            unit,
            scope: Scope::Cgroup,
            class: Class::Measured,
            source: format!("/{}", self.group.file(file)),
            group: Group::Slow,
        }
    }

    fn cpu_time(&mut self) -> Option<Part> {
        let handle = match self.open("cpu.stat") {
            Ok(handle) => handle,
            Err(reason) => {
                let channel = ("cpu.cgroup", Quantity::Cpu, Unit::Ratio, Scope::Cgroup);
                self.catalogue.absent(channel, &format!("/{}", self.group.file("cpu.stat")), reason);
                return None;
            }
        };
        let mut counter = |id, quantity, unit| {
            let entry = self.entry(id, quantity, unit, "cpu.stat");
            self.catalogue.counter(entry, None)
        };
        let time = counter("cpu.cgroup.time", Quantity::Cpu, Unit::Seconds);
        let throttled = counter("throttle.cgroup", Quantity::Throttle, Unit::Count);
        let stopped = counter("throttle.cgroup.time", Quantity::Throttle, Unit::Seconds);
        self.catalogue.rate("cpu.cgroup", time, Quantity::Cpu, Unit::Ratio);
        let line = |name, channel, factor| Line { name, channel, factor };
        let lines = vec![
            line("usage_usec", time, 1e-6),
            line("nr_throttled", throttled, 1.0),
            line("throttled_usec", stopped, 1e-6),
        ];
        Some(Part { handle, lines })
    }

    fn kinds_of_memory(&mut self) -> Option<Part> {
        let handle = self.open("memory.stat").ok()?;
        let lines = [("anon", "mem.cgroup.anon"), ("file", "mem.cgroup.file")].map(|(name, id)| {
            let entry = self.entry(id, Quantity::Memory, Unit::Bytes, "memory.stat");
            Line { name, channel: self.catalogue.gauge(entry), factor: 1.0 }
        });
        Some(Part { handle, lines: lines.to_vec() })
    }

    fn memory_in_use(&mut self) -> Option<Part> {
        let (file, id) = ("memory.current", "mem.cgroup.current");
        match self.gauge(file, id) {
            Ok(part) => Some(part),
            Err(reason) => {
                // The root group has no such file: it is the machine.
                let channel = (id, Quantity::Memory, Unit::Bytes, Scope::Cgroup);
                self.catalogue.absent(channel, &format!("/{}", self.group.file(file)), reason);
                None
            }
        }
    }

    /// A file that is one number of bytes.
    fn gauge(&mut self, file: &str, id: &str) -> Result<Part, Reason> {
        let handle = self.open(file)?;
        let entry = self.entry(id, Quantity::Memory, Unit::Bytes, file);
        Ok(Part { handle, lines: vec![Line { name: "", channel: self.catalogue.gauge(entry), factor: 1.0 }] })
    }

    fn working_set(&mut self) -> Option<(ChannelId, Handle, Handle)> {
        let (current, stat) = (self.open("memory.current").ok()?, self.open("memory.stat").ok()?);
        let mut entry = self.entry("mem.cgroup.working_set", Quantity::Memory, Unit::Bytes, "memory.current");
        entry.class = Class::Derived;
        entry.source.push_str(" less inactive_file");
        Some((self.catalogue.gauge(entry), current, stat))
    }

    fn kills(&mut self) -> Option<Part> {
        let handle = self.open("memory.events").ok()?;
        let entry = self.entry("mem.cgroup.oom_kills", Quantity::Memory, Unit::Count, "memory.events");
        let channel = self.catalogue.counter(entry, None);
        Some(Part { handle, lines: vec![Line { name: "oom_kill", channel, factor: 1.0 }] })
    }

    /// A limit, with its files from our group up.
    fn limit(&mut self, file: &str, id: &str, quantity: Quantity, unit: Unit) -> (ChannelId, Vec<Handle>) {
        let entry = self.entry(id, quantity, unit, file);
        let handles = self.group.upward().filter_map(|group| self.root.open(&group.file(file)).ok());
        let handles = handles.collect();
        (self.catalogue.gauge(entry), handles)
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
        let mut source = Cgroup::enter(&root, &ControlGroup::at("a/b"), &mut catalogue);
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
    fn noise_is_refused() {
        assert_eq!(cpus(b"50000 0\n"), None);
        crate::tests::noise::against(b"50000 100000\n", |text| {
            let _ = bytes(text);
            assert!(cpus(text).is_none_or(|cpus| cpus.is_finite() && cpus >= 0.0));
        });
    }
}
