//! What sampling costs. `cargo bench -p slmscope-probes`; ends with an error where a bar is not kept.
//!
//! - CPU time of one reading, by source, on this machine: what every sample carries as `cost_ns`.
//! - A tick of the fast group at 100 Hz, while two threads compute: at most 1.8 times what a thread costs here that
//!   parks as often and reads nothing.
//! - Energy counters at 1 kHz on an idle machine: at most 1.2 times that.
//!
//! The absolute times are the host's more than ours: on a virtual machine most of a tick is the wake-up. Both threads
//! take turns, a stretch each; every pair of stretches gives a ratio, and a bar is missed where the lower end of the
//! ratios' interval is above it.
//!
//! The last two read files of a folder (RAPL and cpufreq of a small server), because not every machine has
//! such; the kernel's own work behind a real one comes on top: about 1 µs for a RAPL register.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a program for developers: it prints figures, and without what it measures there are none"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use slmscope_probes::{Pace, Root, Sampler, discover};
use slmscope_profiles::channel::{ChannelId, Sample};

/// Most that a tick may cost, in costs of a bare wake-up.
const TICK_BAR: f64 = 1.8;
const KHZ_BAR: f64 = 1.2;

/// Main waits out these times while the sampler's own threads are measured: a cost per tick or reading needs many.
const STRETCH: Duration = Duration::from_millis(800);
/// Of sampling before a stretch: files are opened and buffers grow in it.
const SETTLING: Duration = Duration::from_millis(200);
/// In which the slow sources are read a few times too.
const ALL_SOURCES: Duration = Duration::from_secs(5);
/// Pairs of stretches. Between the third smallest and the third largest of 13 ratios lies their median with 98 %.
const STRETCHES: usize = 13;
const CUT: usize = 2;

fn main() -> ExitCode {
    by_source();
    let fixture = fixture();
    let computing = Computing::start(2);
    let tick = Pairs::measure(fixture.path(), 100);
    drop(computing);
    let khz = Pairs::measure(fixture.path(), 1000);
    let kept = [
        tick.report("fast group at 100 Hz, 2 threads compute", TICK_BAR),
        khz.report("counters at 1 kHz, idle", KHZ_BAR),
    ];
    if kept.into_iter().all(|kept| kept) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// CPU times of a tick, µs: of a thread that only wakes up, and of the fast lane, measured in turns.
struct Pairs(Vec<(f64, f64)>);

impl Pairs {
    fn measure(tree: &Path, hz: u32) -> Self {
        let pair = |_| (wake_ups(hz, STRETCH), lane_time(tree, hz, STRETCH));
        Self((0..STRETCHES).map(pair).collect())
    }

    /// Prints both and their ratio. Whether the bar is kept.
    fn report(&self, what: &str, bar: f64) -> bool {
        let sorted = |of: fn(&(f64, f64)) -> f64| {
            let mut times: Vec<f64> = self.0.iter().map(of).collect();
            times.sort_by(f64::total_cmp);
            times
        };
        let (bare, lane, ratios) =
            (sorted(|pair| pair.0), sorted(|pair| pair.1), sorted(|pair| pair.1 / pair.0));
        let middle = STRETCHES / 2;
        let (low, high) = (ratios[CUT], ratios[STRETCHES - 1 - CUT]);
        println!(
            "{what}: {:.1} µs a tick, {:.1} µs for parking alone: {:.2} times as much, {low:.2} to {high:.2} (at most {bar})",
            lane[middle], bare[middle], ratios[middle],
        );
        low <= bar
    }
}

/// CPU time of a wake-up in a thread that does nothing else, µs.
fn wake_ups(hz: u32, time: Duration) -> f64 {
    let period = Duration::from_secs(1) / hz;
    let body = move || {
        let (begin, before) = (Instant::now(), thread_ns("bare"));
        let mut woken = 0;
        while begin.elapsed() < time {
            woken += 1;
            thread::park_timeout((period * woken).saturating_sub(begin.elapsed()));
        }
        (thread_ns("bare") - before) as f64 / 1e3 / f64::from(woken)
    };
    thread::Builder::new().name("bare".to_owned()).spawn(body).unwrap().join().unwrap()
}

/// Every source of this machine, by the first of its channels.
fn by_source() {
    let inventory = discover(&Root::live().unwrap());
    let names: Vec<String> = inventory.channels.iter().map(|channel| channel.id.clone()).collect();
    // Channels, and the cost of each reading, by the first channel.
    type Costs = BTreeMap<ChannelId, (usize, Vec<u64>)>;
    let costs: Arc<Mutex<Costs>> = Arc::default();
    let seen = Arc::clone(&costs);
    let sink = move |sample: &Sample| {
        let Some(&(first, _)) = sample.values.first() else { return };
        let mut seen = seen.lock().unwrap();
        let entry = seen.entry(first).or_default();
        entry.0 = sample.values.len();
        entry.1.push(sample.cost_ns);
    };
    let sampler = Sampler::start(inventory, Arc::new(sink)).unwrap();
    sampler.set_pace(Pace::Workload);
    sampler.set_worker(Some(std::process::id()));
    // The time that is measured: the sampler's own threads read meanwhile.
    thread::sleep(ALL_SOURCES);
    sampler.stop();
    println!(
        "{:32} {:>8} {:>12} {:>12} {:>8}",
        "source, by its first channel", "channels", "median ns", "p95 ns", "reads"
    );
    for (first, (channels, costs)) in costs.lock().unwrap().iter_mut() {
        costs.sort_unstable();
        let at = |q: usize| costs[(costs.len() - 1) * q / 100];
        println!(
            "{:32} {channels:>8} {:>12} {:>12} {:>8}",
            names[usize::from(*first)],
            at(50),
            at(95),
            costs.len()
        );
    }
}

/// CPU time of a tick of the fast lane, µs, while it reads `tree` for a time.
fn lane_time(tree: &Path, hz: u32, time: Duration) -> f64 {
    let inventory = discover(&Root::tree(tree).unwrap());
    let energy = inventory.channels.iter().find(|channel| channel.id == "energy.package-0").unwrap().channel;
    let ticks = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&ticks);
    let sink = move |sample: &Sample| {
        if sample.values.iter().any(|(id, _)| *id == energy) {
            counted.fetch_add(1, Ordering::Relaxed);
        }
    };
    let sampler = Sampler::start(inventory, Arc::new(sink)).unwrap();
    sampler.set_pace(Pace::Workload);
    sampler.set_counters_hz(hz);
    // Opening files and finding the pace is no cost of a tick.
    thread::sleep(SETTLING);
    let (cpu_ns, before) = (thread_ns("probe-fast"), ticks.load(Ordering::Relaxed));
    // The time that is measured.
    thread::sleep(time);
    let (cpu_ns, ticks) = (thread_ns("probe-fast") - cpu_ns, ticks.load(Ordering::Relaxed) - before);
    sampler.stop();
    assert!(ticks as f64 > 0.9 * time.as_secs_f64() * f64::from(hz), "it kept its cadence: {ticks} ticks");
    cpu_ns as f64 / 1e3 / ticks as f64
}

/// What the scheduler counted for this process's thread of that name, ns.
fn thread_ns(name: &str) -> u64 {
    let tasks = fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
    let of_name =
        tasks.filter(|task| fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim_end() == name));
    of_name
        .filter_map(|task| {
            fs::read_to_string(task.join("schedstat")).ok()?.split(' ').next()?.parse::<u64>().ok()
        })
        .sum()
}

/// Two packages with memory and cores, and two cpufreq policies.
fn fixture() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let file = |path: &str, text: &str| {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    for (folder, name) in [
        ("intel-rapl:0", "package-0"),
        ("intel-rapl:0:0", "core"),
        ("intel-rapl:0:1", "dram"),
        ("intel-rapl:1", "package-1"),
        ("intel-rapl:1:0", "core"),
        ("intel-rapl:1:1", "dram"),
    ] {
        let folder = format!("sys/class/powercap/{folder}");
        file(&format!("{folder}/name"), name);
        file(&format!("{folder}/energy_uj"), "123456789012");
        file(&format!("{folder}/max_energy_range_uj"), "262143328850");
    }
    file("sys/devices/system/cpu/present", "0-1");
    for cpu in 0..2 {
        let policy = format!("sys/devices/system/cpu/cpufreq/policy{cpu}");
        file(&format!("{policy}/scaling_cur_freq"), "2400000");
        file(&format!("{policy}/related_cpus"), &cpu.to_string());
    }
    dir
}

/// Threads that do nothing but compute, until this is dropped.
struct Computing {
    stop: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<u64>>,
}

impl Computing {
    fn start(count: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let body = |stop: Arc<AtomicBool>| {
            move || {
                let mut x = 1_u64;
                while !stop.load(Ordering::Relaxed) {
                    for _ in 0..10_000 {
                        x = std::hint::black_box(x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
                    }
                }
                x
            }
        };
        let threads = (0..count).map(|_| thread::spawn(body(Arc::clone(&stop)))).collect();
        Self { stop, threads }
    }
}

impl Drop for Computing {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}
