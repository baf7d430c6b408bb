//! CPU time from `/proc/stat`: the machine, what the host took away, and each logical CPU.
//!
//! The machine's counters are divided by the number of CPUs that were present at start, so that their rates
//! are shares from 0 to 1.

use slmscope_profiles::channel::{ChannelId, Class, Quantity, Reason, ReasonCode, Scope, Unit, Value};

use crate::catalogue::{Catalogue, Entry, missing};
use crate::machine::root::{Handle, Root};
use crate::machine::topology;
use crate::source::{Group, Source};
use crate::sources::cpu::ticks;
use crate::sources::load::other_load::OtherLoad;

const STAT: &str = "proc/stat";

/// Room for one line: ten numbers of twenty digits.
const LINE: usize = 224;

/// Reads `/proc/stat`.
pub(crate) struct CpuTime {
    handle: Handle,
    buffer: Vec<u8>,
    ticks_per_second: f64,
    cpus: f64,
    machine: ChannelId,
    steal: ChannelId,
    /// Channel by CPU number.
    channels: Vec<Option<ChannelId>>,
    /// Values of the reading in progress, by CPU number.
    values: Vec<Value>,
    /// What it leaves for others; the file lists every interrupt, so it is read once for both.
    other: Option<OtherLoad>,
}

impl CpuTime {
    /// Enters the channels; `None` if nothing counts CPU time here.
    pub(crate) fn discover(root: &Root, catalogue: &mut Catalogue) -> Option<Self> {
        match Self::open(root, catalogue) {
            Ok(source) => Some(source),
            Err(reason) => {
                let channel = ("cpu.machine", Quantity::Cpu, Unit::Ratio, Scope::Machine);
                catalogue.absent(channel, "/proc/stat", reason);
                None
            }
        }
    }

    /// Reads for `other` too.
    pub(crate) fn with(self, other: Option<OtherLoad>) -> Self {
        Self { other, ..self }
    }

    fn open(root: &Root, catalogue: &mut Catalogue) -> Result<Self, Reason> {
        let handle = root.open(STAT)?;
        let mut known = topology::present(root);
        let first = root.read(STAT, 1 << 20)?;
        let mut machine_line = None;
        for (cpu, ticks) in ticks::lines(&first) {
            match cpu {
                Some(number) => known.extend((number < 8192).then_some(number)),
                None => machine_line = Some(ticks),
            }
        }
        match machine_line {
            None => return Err(missing("/proc/stat has no cpu line")),
            Some(ticks) if ticks.blank => {
                return Err(Reason::new(
                    ReasonCode::Implausible,
                    "/proc/stat is all zeros: nothing counts here",
                ));
            }
            Some(_) => {}
        }

        let mut counter = |id: &str, scope: Scope| {
            let entry = Entry {
                id: format!("{id}.time"),
                quantity: Quantity::Cpu,
                unit: Unit::Seconds,
                scope,
                class: Class::Measured,
                source: "/proc/stat".to_owned(),
                group: Group::Medium,
            };
            let channel = catalogue.counter(entry, None);
            catalogue.rate(id, channel, Quantity::Cpu, Unit::Ratio);
            channel
        };
        let machine = counter("cpu.machine", Scope::Machine);
        let steal = counter("cpu.steal", Scope::Machine);
        let mut channels = vec![None; known.last().map_or(0, |&last| last as usize + 1)];
        for &cpu in &known {
            if let Some(slot) = channels.get_mut(cpu as usize) {
                *slot = Some(counter(&format!("cpu.cpu{cpu}"), Scope::CpuN(cpu)));
            }
        }
        Ok(Self {
            handle,
            buffer: vec![0; LINE * (known.len() + 2)],
            ticks_per_second: ticks::per_second(root.is_live()),
            cpus: known.len().max(1) as f64,
            machine,
            steal,
            values: vec![Value::Absent(ReasonCode::Offline); channels.len()],
            channels,
            other: None,
        })
    }
}

impl Source for CpuTime {
    fn channels(&self) -> Vec<ChannelId> {
        let other = self.other.as_ref().map(OtherLoad::channel);
        [self.machine, self.steal]
            .into_iter()
            .chain(self.channels.iter().copied().flatten())
            .chain(other)
            .collect()
    }

    fn read(&mut self, values: &mut Vec<(ChannelId, Value)>) {
        let stat = match self.handle.read(&mut self.buffer) {
            Ok(stat) => stat,
            Err(code) => {
                values.extend(self.channels().into_iter().map(|channel| (channel, Value::Absent(code))));
                return;
            }
        };
        self.values.fill(Value::Absent(ReasonCode::Offline));
        let mut machine = None;
        for (cpu, ticks) in ticks::lines(stat) {
            match cpu {
                None => machine = Some(ticks),
                Some(cpu) => {
                    if let Some(slot) = self.values.get_mut(cpu as usize) {
                        *slot = Value::Present(ticks.busy as f64 / self.ticks_per_second);
                    }
                }
            }
        }
        let share = |ticks: Option<u64>| match ticks {
            Some(ticks) => Value::Present(ticks as f64 / self.ticks_per_second / self.cpus),
            None => Value::Absent(ReasonCode::ReadError),
        };
        values.push((self.machine, share(machine.map(|ticks| ticks.busy))));
        values.push((self.steal, share(machine.map(|ticks| ticks.steal))));
        let each = self.channels.iter().zip(&self.values);
        values.extend(each.filter_map(|(channel, &value)| Some(((*channel)?, value))));
        if let Some(other) = &mut self.other {
            let busy_s = machine.map(|ticks| ticks.busy as f64 / self.ticks_per_second);
            values.push((other.channel(), other.value(busy_s.ok_or(ReasonCode::ReadError))));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_leave_and_return_and_iowait_may_fall() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("proc")).unwrap();
        let write = |stat: &str| std::fs::write(dir.path().join(STAT), stat).unwrap();
        write("cpu  300 0 0 900 50\ncpu0 100 0 0 300 40\ncpu1 200 0 0 600 10\n");
        let mut catalogue = Catalogue::default();
        let mut source = CpuTime::discover(&Root::tree(dir.path()).unwrap(), &mut catalogue).unwrap();
        let mut read = || {
            let mut values = Vec::new();
            source.read(&mut values);
            values.into_iter().map(|(_, value)| value).collect::<Vec<_>>()
        };
        let present = Value::Present;
        assert_eq!(read(), [present(1.5), present(0.0), present(1.0), present(2.0)]);
        write("cpu  310 0 0 920 20\ncpu1 210 0 0 620 5\n");
        assert_eq!(read(), [present(1.55), present(0.0), Value::Absent(ReasonCode::Offline), present(2.1)]);
        write("cpu  315 0 0 930 20\ncpu0 5 0 0 10 0\ncpu1 210 0 0 620 5\n");
        assert_eq!(read()[2], present(0.05));
    }

    #[test]
    fn all_zeros_are_no_measurement() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("proc")).unwrap();
        std::fs::write(dir.path().join(STAT), "cpu  0 0 0 0 0 0 0 0 0 0\n").unwrap();
        let mut catalogue = Catalogue::default();
        assert!(CpuTime::discover(&Root::tree(dir.path()).unwrap(), &mut catalogue).is_none());
        let channels = catalogue.finish();
        assert_eq!(channels[0].reason.as_ref().unwrap().code, ReasonCode::Implausible);
    }
}
