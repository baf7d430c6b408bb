//! Entering the channels of the control groups, and opening their files.

use slmscope_profiles::channel::{ChannelId, Class, Quantity, Reason, Scope, Unit};

use super::{Limit, Line, StatFile};
use crate::catalogue::{Catalogue, Entry};
use crate::machine::control_group::{ControlGroup, Version};
use crate::machine::root::{Handle, Root};
use crate::source::Group;

/// Channels and files while they are entered.
pub(super) struct Entered<'a> {
    pub(super) root: &'a Root,
    pub(super) catalogue: &'a mut Catalogue,
    pub(super) files: Vec<StatFile>,
    pub(super) limits: Vec<(ChannelId, Vec<Limit>)>,
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
    pub(super) fn cpu_time(&mut self, group: &ControlGroup) {
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
        self.files.push(StatFile { handle, lines: vec![line] });
    }

    pub(super) fn throttled(&mut self, group: &ControlGroup) {
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
        match self.files.iter_mut().find(|file| file.handle.path() == path) {
            Some(file) => file.lines.extend(lines),
            None => self.files.push(StatFile { handle, lines }),
        }
    }

    pub(super) fn memory(&mut self, group: &ControlGroup) {
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
            self.files.push(StatFile { handle, lines: lines.to_vec() });
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
        self.files.push(StatFile { handle, lines: vec![Line { name: "", channel, factor: 1.0 }] });
        Ok(())
    }

    pub(super) fn working_set(
        &mut self,
        group: &ControlGroup,
    ) -> Option<(ChannelId, Handle, Handle, &'static str)> {
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

    pub(super) fn kills(&mut self, group: &ControlGroup) {
        let path = group.file(named(group, "memory.events", "memory.oom_control"));
        let Ok(handle) = self.root.open(&path) else { return };
        let entry = entry("mem.cgroup.oom_kills", Quantity::Memory, Unit::Count, &path);
        let channel = self.catalogue.counter(entry, None);
        self.files.push(StatFile { handle, lines: vec![Line { name: "oom_kill", channel, factor: 1.0 }] });
    }

    pub(super) fn cpu_limit(&mut self, group: &ControlGroup) {
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

    pub(super) fn memory_limit(&mut self, group: &ControlGroup) {
        let file = named(group, "memory.max", "memory.limit_in_bytes");
        let entry = entry("mem.cgroup.limit", Quantity::Memory, Unit::Bytes, &group.file(file));
        let channel = self.catalogue.gauge(entry);
        let groups = group.memory_limits(self.root);
        let handles = groups.iter().filter_map(|group| self.root.open(&group.file(file)).ok());
        self.limits.push((channel, handles.map(Limit::Bytes).collect()));
    }
}
