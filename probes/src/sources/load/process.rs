//! CPU time and memory of a process.

use std::fs;
use std::io::Read;

use crate::sources::cpu::ticks;

/// Longest `/proc` file that is read here, bytes.
const CAP: u64 = 64 * 1024;

/// The kernel's limit. Larger numbers do not fit the clock's id and would name another process.
const MAX_PID: libc::pid_t = 1 << 22;

/// Processes that are listed.
const MAX_PROCESSES: usize = 32_768;

/// Threads of one process that are listed.
const MAX_THREADS: usize = 4096;

/// Memory of a process, bytes. `None` where the kernel does not report it or the process is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ProcessMemory {
    /// Resident set.
    pub rss: Option<u64>,
    /// Largest resident set so far.
    pub rss_peak: Option<u64>,
    /// Resident set with shared pages divided by their number of users.
    pub pss: Option<u64>,
    /// Resident anonymous memory.
    pub anon: Option<u64>,
    /// Resident pages of mapped files; mapped weights are here.
    pub file: Option<u64>,
    /// Resident shared memory.
    pub shmem: Option<u64>,
    /// Address space.
    pub mapped: Option<u64>,
}

/// Memory of a process. Walks its page tables for the PSS, about 5 ms for a large one: not for every tick.
pub fn memory(pid: u32) -> ProcessMemory {
    let status = text(&format!("/proc/{pid}/status")).unwrap_or_default();
    let rollup = text(&format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    ProcessMemory {
        rss: kib(&status, "VmRSS:"),
        rss_peak: kib(&status, "VmHWM:"),
        pss: kib(&rollup, "Pss:"),
        anon: kib(&status, "RssAnon:"),
        file: kib(&status, "RssFile:"),
        shmem: kib(&status, "RssShmem:"),
        mapped: kib(&status, "VmSize:"),
    }
}

/// Resident memory of a process, bytes, from the kernel's running count (no page tables are walked). `None` if the
/// kernel does not report it or the process is gone.
pub fn rss(pid: u32) -> Option<u64> {
    kib(&text(&format!("/proc/{pid}/status"))?, "VmRSS:")
}

/// CPU time of a process with all its threads, also those that ended, ns. `None` if it is gone.
pub fn cpu_ns(pid: u32) -> Option<u64> {
    CpuClock::of(pid)?.now_ns()
}

/// Page faults of a process for which the kernel had to read from storage, so far. `None` if it is gone.
pub fn major_faults(pid: u32) -> Option<u64> {
    Some(Stat::parse(&text(&format!("/proc/{pid}/stat"))?)?.major_faults)
}

/// CPU time of one process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessTime {
    /// Its number.
    pub pid: u32,
    /// Its name as the kernel keeps it, without control characters.
    pub name: String,
    /// CPU time so far, in steps of the kernel's clock tick, ns.
    pub cpu_ns: u64,
    /// When it was started, clock ticks since boot: tells it from a later process of the same number.
    pub start_ticks: u64,
}

/// CPU times of all processes that we may see; about 10 µs each: not for every tick.
pub fn all() -> Vec<ProcessTime> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let tick_ns = 1e9 / ticks::per_second(true);
    let time = |pid: u32| {
        let stat = Stat::parse(&text(&format!("/proc/{pid}/stat"))?)?;
        let cpu_ns = (stat.cpu_ticks as f64 * tick_ns) as u64;
        Some(ProcessTime { pid, name: stat.name, cpu_ns, start_ticks: stat.start_ticks })
    };
    pids.take(MAX_PROCESSES).filter_map(time).collect()
}

/// What is used of `/proc/PID/stat`.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    name: String,
    major_faults: u64,
    /// In user and in kernel mode.
    cpu_ticks: u64,
    /// Since boot.
    start_ticks: u64,
}

impl Stat {
    /// The name is in brackets and may hold brackets itself; numbers follow it.
    fn parse(text: &str) -> Option<Self> {
        let (begin, rest) = text.rsplit_once(')')?;
        let (_, name) = begin.split_once('(')?;
        let mut fields = rest.split_ascii_whitespace();
        // Fields 12, 14, 15 and 22 of the line; the first after the name is the third.
        let major_faults = fields.nth(9)?.parse().ok()?;
        let user: u64 = fields.nth(1)?.parse().ok()?;
        let kernel: u64 = fields.next()?.parse().ok()?;
        let start_ticks = fields.nth(6)?.parse().ok()?;
        let name = name.chars().filter(|c| !c.is_control()).collect();
        Some(Self { name, major_faults, cpu_ticks: user.checked_add(kernel)?, start_ticks })
    }
}

/// What one thread used so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThreadUsage {
    /// Its number.
    pub tid: u32,
    /// Its name.
    pub name: String,
    /// Time on a CPU, ns.
    pub cpu_ns: u64,
    /// Time in which it was ready to run and waited for a CPU, ns.
    pub waited_ns: u64,
}

/// What each thread of a process used. Empty if it is gone; a thread of which the kernel reports nothing is left out.
pub fn threads(pid: u32) -> Vec<ThreadUsage> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    entries
        .take(MAX_THREADS)
        .filter_map(|entry| {
            let tid: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let task = format!("/proc/{pid}/task/{tid}");
            let name = text(&format!("{task}/comm"))?.trim_end_matches('\n').to_owned();
            let (cpu_ns, waited_ns) = scheduled_ns(&text(&format!("{task}/schedstat"))?)?;
            Some(ThreadUsage { tid, name, cpu_ns, waited_ns })
        })
        .collect()
}

/// The first fields of `schedstat`: time on a CPU, time of waiting for one. All zeros mean that the kernel does not keep
/// them.
fn scheduled_ns(schedstat: &str) -> Option<(u64, u64)> {
    let mut fields = schedstat.split_ascii_whitespace().map(str::parse::<u64>);
    let (run, wait, slices) = (fields.next()?.ok()?, fields.next()?.ok()?, fields.next()?.ok()?);
    (run != 0 || wait != 0 || slices != 0).then_some((run, wait))
}

/// The kernel's clock of a process: counts the time that its threads run, exact to the nanosecond and in one
/// system call, whatever their number.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CpuClock(libc::clockid_t);

impl CpuClock {
    /// `None` if there is no such process.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let pid = libc::pid_t::try_from(pid).ok().filter(|pid| (1..=MAX_PID).contains(pid))?;
        let mut clock = 0;
        // SAFETY: `clock` is a valid place for the result; the call keeps no pointer.
        #[expect(unsafe_code)]
        let failed = unsafe { libc::clock_getcpuclockid(pid, &raw mut clock) };
        (failed == 0).then_some(Self(clock))
    }

    /// CPU time so far, ns. `None` once the process is gone.
    pub(crate) fn now_ns(self) -> Option<u64> {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `time` is a valid place for the result; the call keeps no pointer.
        #[expect(unsafe_code)]
        let failed = unsafe { libc::clock_gettime(self.0, &raw mut time) };
        let seconds = u64::try_from(time.tv_sec).ok()?;
        (failed == 0)
            .then_some(seconds.checked_mul(1_000_000_000)?.checked_add(u64::try_from(time.tv_nsec).ok()?)?)
    }
}

fn text(path: &str) -> Option<String> {
    let mut file = fs::File::open(path).ok()?;
    // The kernel writes these files with the first read of them; what is shorter than the buffer has come whole.
    let mut buffer = [0; 4096];
    let length = file.read(&mut buffer).ok()?;
    let mut bytes = buffer.get(..length)?.to_vec();
    if length == buffer.len() {
        file.take(CAP).read_to_end(&mut bytes).ok()?;
    }
    // A thread may have been given any bytes as its name.
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Value of a `Name:   N kB` line, bytes.
fn kib(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_process_has_time_memory_and_a_thread() {
        let pid = std::process::id();
        assert!(cpu_ns(pid).unwrap() > 0);
        let memory = memory(pid);
        assert!(rss(pid).unwrap() > 0);
        assert!(memory.rss.unwrap() > 0 && memory.mapped.unwrap() >= memory.rss.unwrap());
        assert!(!threads(pid).is_empty() || text("/proc/self/schedstat").is_none());
    }

    #[test]
    fn a_process_has_name_faults_and_time_behind_any_name() {
        let line = "7 (a) b\u{1b}) S 1 7 7 0 -1 4194304 150 0 12 3 50 25 0 0 20 0 1 0 999";
        let expected = Stat { name: "a) b".to_owned(), major_faults: 12, cpu_ticks: 75, start_ticks: 999 };
        assert_eq!(Stat::parse(line), Some(expected));
        for cut in 0..line.len() - 3 {
            assert!(line.get(..cut).is_none_or(|line| Stat::parse(line).is_none()), "{cut}");
        }
        let ours = all().into_iter().find(|process| process.pid == std::process::id()).unwrap();
        assert!(!ours.name.is_empty() && major_faults(ours.pid).is_some());
    }

    #[test]
    fn a_process_that_is_gone_has_nothing() {
        for gone in [0, 1 << 22, u32::MAX >> 1, u32::MAX] {
            assert_eq!(cpu_ns(gone), None);
            assert_eq!((memory(gone), rss(gone)), (ProcessMemory::default(), None));
            assert!(threads(gone).is_empty() && major_faults(gone).is_none());
        }
    }

    #[test]
    fn zeros_in_schedstat_are_no_measurement() {
        assert_eq!(scheduled_ns("0 0 0\n"), None);
        assert_eq!(scheduled_ns("0 5 1\n"), Some((0, 5)));
        assert_eq!(scheduled_ns("x 5 1\n"), None);
    }

    #[test]
    fn sizes_need_their_unit() {
        assert_eq!(kib("VmRSS:\t  12 kB\n", "VmRSS:"), Some(12_288));
        assert_eq!(kib("VmRSS:\t  12 MB\n", "VmRSS:"), None);
    }

    #[test]
    fn noise_is_refused() {
        crate::tests::noise::against(b"VmRSS:\t  12 kB\n", |text| {
            let words = String::from_utf8_lossy(text);
            let _ = (kib(&words, "VmRSS:"), scheduled_ns(&words));
        });
    }
}
