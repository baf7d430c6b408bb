//! Performance counters of the kernel: opened once, read with one system call for each group.
//!
//! [`pmu`] reads from sysfs what a counter is called, how it is encoded, its scale, and on which CPUs it may be
//! opened. Counters that share a PMU take turns when there are too many; then a count is
//! extrapolated from the time it ran, interval by interval.

use rustix::fd::{AsRawFd, FromRawFd, OwnedFd};
use rustix::io::Errno;
use slmscope_profiles::channel::{Reason, ReasonCode};

use crate::machine::root::code;

mod controllers;
pub(crate) mod cycles;
pub(crate) mod dram;
pub(crate) mod energy;
pub(crate) mod engines;
pub(crate) mod misses;
mod pmu;

/// Events of one group; PMUs have fewer counters than this.
const MAX_EVENTS: usize = 16;

/// `perf_event_attr` as of its first revision that has `config2`; the kernel takes the rest as zero.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
struct Attr {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_events: u32,
    bp_type: u32,
    config1: u64,
    config2: u64,
}

/// Bits of `flags`.
const EXCLUDE_KERNEL: u64 = 1 << 5;
const EXCLUDE_HV: u64 = 1 << 6;

/// Time enabled, time running, all values of the group.
const READ_FORMAT: u64 = 1 | 2 | 8;

/// `PERF_FLAG_FD_CLOEXEC`.
const CLOEXEC: libc::c_ulong = 8;

/// An event as the kernel takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Event {
    /// Number of its PMU.
    pub(crate) kind: u32,
    pub(crate) config: u64,
    pub(crate) config1: u64,
    pub(crate) config2: u64,
}

/// What is counted.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target {
    /// Everything that happens as this CPU sees it.
    Cpu(u32),
    /// One thread wherever it runs, in user mode; 0 is the caller.
    Thread(u32),
}

/// Counters that run and are read together.
#[derive(Debug)]
pub(crate) struct Group {
    leader: OwnedFd,
    /// Held so that the counters stay open.
    _others: Vec<OwnedFd>,
    events: usize,
}

impl Group {
    /// Opens the events; they count from now on. All are of one PMU: Linux 6.18 was seen to lose counts of page
    /// faults in a group that the task clock leads.
    ///
    /// # Errors
    /// The kernel's error number; a group needs an event and has room for 16.
    pub(crate) fn open(events: &[Event], target: Target) -> Result<Self, Errno> {
        let (first, rest) = events.split_first().ok_or(Errno::INVAL)?;
        if events.len() > MAX_EVENTS {
            return Err(Errno::TOOBIG);
        }
        let leader = open(*first, target, None)?;
        let others =
            rest.iter().map(|&event| open(event, target, Some(&leader))).collect::<Result<_, _>>()?;
        Ok(Self { leader, _others: others, events: events.len() })
    }

    /// Reads all counters.
    ///
    /// # Errors
    /// What the error number means, or that the kernel's answer has another form.
    pub(crate) fn read(&self) -> Result<Counts, ReasonCode> {
        let mut bytes = [0_u8; 8 * (3 + MAX_EVENTS)];
        let wanted = 8 * (3 + self.events);
        let length = match rustix::io::read(&self.leader, bytes.get_mut(..wanted).unwrap_or_default()) {
            Ok(length) => length,
            Err(errno) => return Err(code(errno)),
        };
        Counts::parse(bytes.get(..length).unwrap_or_default(), self.events)
    }
}

/// One reading of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    /// How long the group was enabled, ns.
    enabled_ns: u64,
    /// How long it counted, ns; less where it took turns.
    running_ns: u64,
    values: [u64; MAX_EVENTS],
}

impl Counts {
    /// Numbers of 64 bits: how many values, time enabled, time running, the values.
    fn parse(bytes: &[u8], events: usize) -> Result<Self, ReasonCode> {
        let mut words =
            bytes.chunks_exact(8).map(|word| u64::from_ne_bytes(word.try_into().unwrap_or_default()));
        let mut next = || words.next().ok_or(ReasonCode::ReadError);
        if next()? != events as u64 {
            return Err(ReasonCode::ReadError);
        }
        let (enabled_ns, running_ns) = (next()?, next()?);
        let mut values = [0; MAX_EVENTS];
        for value in values.iter_mut().take(events) {
            *value = next()?;
        }
        Ok(Self { enabled_ns, running_ns, values })
    }
}

/// Turns the readings of one counter of a group into a total that does not run backwards.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Total {
    last: Option<(u64, u64, u64)>,
    sum: f64,
}

impl Total {
    /// What was counted until the last reading.
    pub(crate) fn so_far(&self) -> f64 {
        self.sum
    }

    /// Adds what happened since the last reading, extrapolated to the whole time if the counter took turns.
    ///
    /// # Errors
    /// [`ReasonCode::Stale`] if it did not run at all since then: others hold the PMU's counters.
    pub(crate) fn add(&mut self, counts: &Counts, event: usize) -> Result<f64, ReasonCode> {
        let value = counts.values.get(event).copied().unwrap_or(0);
        let now = (value, counts.enabled_ns, counts.running_ns);
        let before = self.last.replace(now).unwrap_or((0, 0, 0));
        let since = |now: u64, before: u64| now.saturating_sub(before) as f64;
        let (count, enabled, running) =
            (since(now.0, before.0), since(now.1, before.1), since(now.2, before.2));
        if running > 0.0 {
            self.sum += count * (enabled / running).max(1.0);
            Ok(self.sum)
        } else if enabled > 0.0 || counts.running_ns == 0 {
            Err(ReasonCode::Stale)
        } else {
            Ok(self.sum)
        }
    }
}

fn open(event: Event, target: Target, leader: Option<&OwnedFd>) -> Result<OwnedFd, Errno> {
    let (pid, cpu, flags) = match target {
        // Counters outside the cores take no filter by mode.
        Target::Cpu(cpu) => (-1, libc::c_int::try_from(cpu).map_err(|_| Errno::INVAL)?, 0),
        Target::Thread(thread) => {
            (libc::pid_t::try_from(thread).map_err(|_| Errno::INVAL)?, -1, EXCLUDE_KERNEL | EXCLUDE_HV)
        }
    };
    let attr = Attr {
        kind: event.kind,
        size: size_of::<Attr>() as u32,
        config: event.config,
        config1: event.config1,
        config2: event.config2,
        read_format: READ_FORMAT,
        flags,
        ..Attr::default()
    };
    let leader = leader.map_or(-1, AsRawFd::as_raw_fd);
    // SAFETY: `attr` is a valid structure of the size it names and lives through the call.
    #[expect(unsafe_code, reason = "the kernel has no safe interface for this call")]
    let fd = unsafe { libc::syscall(libc::SYS_perf_event_open, &raw const attr, pid, cpu, leader, CLOEXEC) };
    match libc::c_int::try_from(fd) {
        Ok(fd) if fd >= 0 => {
            // SAFETY: the kernel just gave this descriptor to us alone.
            #[expect(unsafe_code, reason = "a descriptor from a bare system call")]
            let owned = unsafe { OwnedFd::from_raw_fd(fd) };
            Ok(owned)
        }
        _ => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)),
    }
}

/// The reason that a counter cannot be opened.
pub(crate) fn refusal(what: &str, errno: Errno) -> Reason {
    match errno {
        Errno::ACCESS | Errno::PERM => {
            let detail = format!("{what}: the kernel lets only privileged users count for the whole machine");
            Reason::new(ReasonCode::Permission, detail)
        }
        Errno::NOENT | Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS | Errno::NODEV => {
            let detail = format!("{what}: this machine's hardware or hypervisor does not count it");
            Reason::new(ReasonCode::NotSupported, detail)
        }
        other => Reason::new(code(other), format!("{what}: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(enabled_ns: u64, running_ns: u64, first: u64) -> Counts {
        let mut values = [0; MAX_EVENTS];
        values[0] = first;
        Counts { enabled_ns, running_ns, values }
    }

    #[test]
    fn a_counter_that_took_turns_is_extrapolated_by_interval() {
        let mut total = Total::default();
        assert_eq!(total.add(&counts(100, 100, 1000), 0), Ok(1000.0));
        // Half of the next 100 ns.
        assert_eq!(total.add(&counts(200, 150, 1500), 0), Ok(2000.0));
        assert_eq!(total.add(&counts(300, 150, 1500), 0), Err(ReasonCode::Stale));
        assert_eq!(total.add(&counts(400, 250, 1600), 0), Ok(2100.0));
        assert_eq!(Total::default().add(&counts(100, 0, 0), 0), Err(ReasonCode::Stale));
        assert_eq!(Total::default().add(&counts(0, 0, 0), 0), Err(ReasonCode::Stale));
    }

    #[test]
    fn a_short_or_foreign_answer_is_no_reading() {
        let bytes: Vec<u8> = [2_u64, 50, 40, 7, 8].iter().flat_map(|word| word.to_ne_bytes()).collect();
        let counts = Counts::parse(&bytes, 2).unwrap();
        assert_eq!((counts.enabled_ns, counts.running_ns, &counts.values[..3]), (50, 40, &[7, 8, 0][..]));
        assert_eq!(Counts::parse(&bytes, 3), Err(ReasonCode::ReadError));
        for length in 0..bytes.len() {
            assert_eq!(Counts::parse(&bytes[..length], 2), Err(ReasonCode::ReadError));
        }
    }

    /// Software events need no hardware: they show that groups are opened and read as the kernel has them.
    #[test]
    fn a_group_of_software_events_counts() {
        const SOFTWARE: u32 = 1;
        const FRESH: usize = 64 << 20;
        let event = |config| Event { kind: SOFTWARE, config, ..Event::default() };
        let (task_clock, faults, minor_faults) = (event(1), event(2), event(5));
        let group = match Group::open(&[faults, minor_faults], Target::Thread(0)) {
            Ok(group) => group,
            Err(errno) => {
                println!("skipped: perf_event_open is not allowed here: {errno}");
                return;
            }
        };
        let clock = Group::open(&[task_clock], Target::Thread(0)).unwrap();
        let (before, begin) = (group.read().unwrap(), clock.read().unwrap());
        // Larger than what an allocator keeps, so these pages are fresh.
        let mut pages = vec![0_u8; FRESH];
        pages.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
        assert_eq!(std::hint::black_box(&pages).first(), Some(&1));
        let (after, end) = (group.read().unwrap(), clock.read().unwrap());
        assert!(end.values[0] > begin.values[0], "the clock of the thread");
        // One fault brings in a huge page at most, and those at the ends may be there already.
        let least = (FRESH >> 22) as u64;
        for event in 0..2 {
            assert!(after.values[event] >= before.values[event] + least, "{before:?} {after:?}");
        }
        assert!(after.running_ns > 0 && after.running_ns <= after.enabled_ns);
        assert_eq!(Group::open(&[], Target::Thread(0)).unwrap_err(), Errno::INVAL);
    }

    #[test]
    fn noise_is_refused() {
        crate::tests::noise::against(&[2; 40], |text| {
            let _ = Counts::parse(text, 2).map(|counts| {
                let mut total = Total::default();
                (total.add(&counts, 0), total.add(&counts, usize::MAX))
            });
        });
    }
}
