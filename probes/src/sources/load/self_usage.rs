//! What this tool's own processes cost: CPU time, memory and page faults of the worker and of the daemon.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use slmscope_profiles::channel::{ChannelId, Class, Quantity, Reason, ReasonCode, Scope, Unit, Value};

use crate::catalogue::{Catalogue, Entry};
use crate::machine::root::{Handle, Root, code};
use crate::source::{Group, Source};
use crate::sources::load::process::CpuClock;

/// The worker's process id, shared between the daemon that starts workers and the sources that read them.
#[derive(Debug, Clone, Default)]
pub(crate) struct WorkerPid(Arc<AtomicU32>);

impl WorkerPid {
    pub(crate) fn set(&self, pid: Option<u32>) {
        self.0.store(pid.unwrap_or(0), Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> Option<u32> {
        Some(self.0.load(Ordering::Relaxed)).filter(|&pid| pid != 0)
    }
}

/// Which process a source reads.
#[derive(Clone)]
enum Who {
    Daemon,
    Worker(WorkerPid),
}

impl Who {
    fn name(&self) -> &'static str {
        match self {
            Self::Daemon => "daemon",
            Self::Worker(_) => "worker",
        }
    }

    fn pid(&self) -> Option<u32> {
        match self {
            Self::Daemon => Some(std::process::id()),
            Self::Worker(pid) => pid.get(),
        }
    }
}

type Sources = Vec<Box<dyn Source>>;

/// Enters the channels of both processes, all of the medium group. A clock need not be integrated, and reading it a
/// hundred times a second would cost more than everything else that is sampled.
pub(crate) fn discover(root: &Root, catalogue: &mut Catalogue, worker: &WorkerPid) -> Sources {
    let who = [Who::Worker(worker.clone()), Who::Daemon];
    if !root.is_live() {
        for name in who.iter().map(Who::name) {
            let reason =
                || Reason::new(ReasonCode::NoSuchInterface, "a captured tree runs no process of ours");
            let cpu = format!("cpu.{name}");
            catalogue.absent((&cpu, Quantity::Cpu, Unit::Ratio, Scope::Process), "", reason());
            let rss = format!("mem.{name}.rss");
            catalogue.absent((&rss, Quantity::Memory, Unit::Bytes, Scope::Process), "", reason());
        }
        return Vec::new();
    }
    let times =
        who.each_ref().map(|who| Box::new(ProcessTime::new(who.clone(), catalogue)) as Box<dyn Source>);
    let memory = who.map(|who| Box::new(ProcessMemory::new(who, catalogue)) as Box<dyn Source>);
    times.into_iter().chain(memory).collect()
}

/// CPU time of one process.
struct ProcessTime {
    who: Who,
    clock: Option<(u32, CpuClock)>,
    channel: ChannelId,
}

impl ProcessTime {
    fn new(who: Who, catalogue: &mut Catalogue) -> Self {
        let id = format!("cpu.{}", who.name());
        let entry = Entry {
            id: format!("{id}.time"),
            quantity: Quantity::Cpu,
            unit: Unit::Seconds,
            scope: Scope::Process,
            class: Class::Measured,
            source: format!("CPU clock of the {} process", who.name()),
            group: Group::Medium,
        };
        let channel = catalogue.counter(entry, None);
        catalogue.rate(&id, channel, Quantity::Cpu, Unit::Ratio);
        Self { who, clock: None, channel }
    }
}

impl Source for ProcessTime {
    fn channels(&self) -> Vec<ChannelId> {
        vec![self.channel]
    }

    fn read(&mut self, values: &mut Vec<(ChannelId, Value)>) {
        let pid = self.who.pid();
        if self.clock.map(|(pid, _)| pid) != pid {
            self.clock = pid.and_then(|pid| Some((pid, CpuClock::of(pid)?)));
        }
        let value = match (self.clock, pid) {
            (Some((_, clock)), _) => clock
                .now_ns()
                .map_or(Value::Absent(ReasonCode::Vanished), |ns| Value::Present(ns as f64 / 1e9)),
            (None, Some(_)) => Value::Absent(ReasonCode::Vanished),
            (None, None) => Value::Absent(ReasonCode::NoSuchInterface),
        };
        values.push((self.channel, value));
    }
}

/// Files of one process, open as long as it lives.
struct Files {
    pid: u32,
    statm: Result<Handle, ReasonCode>,
    stat: Result<Handle, ReasonCode>,
}

/// Resident memory and page faults of one process.
struct ProcessMemory {
    who: Who,
    files: Option<Files>,
    page: f64,
    rss: ChannelId,
    minor: ChannelId,
    major: ChannelId,
}

impl ProcessMemory {
    fn new(who: Who, catalogue: &mut Catalogue) -> Self {
        let name = who.name();
        let entry = |what: &str, unit, file: &str| Entry {
            id: format!("mem.{name}.{what}"),
            quantity: Quantity::Memory,
            unit,
            scope: Scope::Process,
            class: Class::Measured,
            source: format!("/proc/PID/{file} of the {name} process"),
            group: Group::Medium,
        };
        Self {
            files: None,
            page: rustix::param::page_size() as f64,
            rss: catalogue.gauge(entry("rss", Unit::Bytes, "statm")),
            minor: catalogue.counter(entry("faults_minor", Unit::Count, "stat"), None),
            major: catalogue.counter(entry("faults_major", Unit::Count, "stat"), None),
            who,
        }
    }
}

impl Source for ProcessMemory {
    fn channels(&self) -> Vec<ChannelId> {
        vec![self.rss, self.minor, self.major]
    }

    fn read(&mut self, values: &mut Vec<(ChannelId, Value)>) {
        let pid = self.who.pid();
        if self.files.as_ref().map(|files| files.pid) != pid {
            self.files = pid.map(|pid| Files { pid, statm: open(pid, "statm"), stat: open(pid, "stat") });
        }
        let absent = ReasonCode::NoSuchInterface;
        let mut buffer = [0; 1024];
        let (rss, faults) = match &self.files {
            None => (Err(absent), Err(absent)),
            Some(Files { statm, stat, .. }) => {
                (text(statm, &mut buffer).and_then(resident_pages), text(stat, &mut buffer).and_then(faults))
            }
        };
        let value = |read: Result<f64, ReasonCode>| read.map_or_else(Value::Absent, Value::Present);
        values.push((self.rss, value(rss.map(|pages| pages * self.page))));
        values.push((self.minor, value(faults.map(|(minor, _)| minor))));
        values.push((self.major, value(faults.map(|(_, major)| major))));
    }
}

fn open(pid: u32, file: &str) -> Result<Handle, ReasonCode> {
    let root = Root::live().map_err(|error| {
        error
            .raw_os_error()
            .map_or(ReasonCode::ReadError, |number| code(rustix::io::Errno::from_raw_os_error(number)))
    })?;
    root.open(&format!("proc/{pid}/{file}")).map_err(|reason| match reason.code {
        ReasonCode::NoSuchInterface => ReasonCode::Vanished,
        other => other,
    })
}

fn text<'b>(handle: &Result<Handle, ReasonCode>, buffer: &'b mut [u8]) -> Result<&'b str, ReasonCode> {
    let bytes = handle.as_ref().map_err(|&code| code)?.read(buffer)?;
    // The name in `stat` may be any bytes; what follows its last bracket is ASCII.
    let after = bytes.iter().rposition(|&byte| byte == b')').map_or(0, |at| at + 1);
    std::str::from_utf8(bytes.get(after..).unwrap_or_default()).map_err(|_| ReasonCode::ReadError)
}

/// Second field of `statm`.
fn resident_pages(statm: &str) -> Result<f64, ReasonCode> {
    nth(statm, 1)
}

/// Minor and major faults: the 10th and 12th field of `stat`, where the first two are already cut off.
fn faults(stat: &str) -> Result<(f64, f64), ReasonCode> {
    Ok((nth(stat, 7)?, nth(stat, 9)?))
}

fn nth(fields: &str, index: usize) -> Result<f64, ReasonCode> {
    let field = fields.split_ascii_whitespace().nth(index).ok_or(ReasonCode::ReadError)?;
    Ok(field.parse::<u64>().map_err(|_| ReasonCode::ReadError)? as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_comes_and_goes() {
        let mut catalogue = Catalogue::default();
        let pid = WorkerPid::default();
        let mut time = ProcessTime::new(Who::Worker(pid.clone()), &mut catalogue);
        let mut memory = ProcessMemory::new(Who::Worker(pid.clone()), &mut catalogue);
        let mut read = || {
            let mut values = Vec::new();
            time.read(&mut values);
            memory.read(&mut values);
            values.into_iter().map(|(_, value)| value).collect::<Vec<_>>()
        };
        assert!(read().iter().all(|&value| value == Value::Absent(ReasonCode::NoSuchInterface)));
        pid.set(Some(std::process::id()));
        assert!(read().iter().all(|value| value.get().is_some()));
        pid.set(Some(1 << 22));
        assert!(read().iter().all(|&value| value == Value::Absent(ReasonCode::Vanished)));
        pid.set(None);
        assert!(read().iter().all(|&value| value == Value::Absent(ReasonCode::NoSuchInterface)));
    }

    #[test]
    fn the_name_of_a_process_cannot_shift_its_fields() {
        let stat = b"12 (evil) name) 9 9) S 1 12 12 0 -1 4194304 150 0 7 0";
        let after = stat.iter().rposition(|&byte| byte == b')').unwrap();
        assert_eq!(faults(std::str::from_utf8(&stat[after + 1..]).unwrap()), Ok((150.0, 7.0)));
    }
}
