//! Once everything has been read a few times, sampling allocates nothing.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::HashMap;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use slmscope_probes::fdinfo::Clients;
use slmscope_probes::{Pace, Root, Sampler, discover};
use slmscope_profiles::channel::{ChannelId, Sample};

use crate::tree::Tree;

/// The system's allocator, counting for each thread.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    /// What had been counted when this thread left the sink.
    static LEFT_AT: Cell<u64> = const { Cell::new(0) };
}

#[expect(unsafe_code, reason = "an allocator is unsafe by its contract")]
// SAFETY: everything is passed on to the system's allocator; the counter is a plain number without a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `GlobalAlloc::alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from `System.alloc` with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the pointer came from `System.alloc` with this layout.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Readings of a source before it counts: the first ones open files and grow buffers.
const WARM: u32 = 3;
const READINGS: usize = 200;

/// Allocations between two samples of a thread, by the sample's first channel.
fn allocations(root: &Root, worker: Option<u32>) -> HashMap<String, u64> {
    let inventory = discover(root);
    let names: Vec<String> = inventory.channels.iter().map(|channel| channel.id.clone()).collect();
    let (sender, counts) = mpsc::channel::<(ChannelId, u64)>();
    let sender = Mutex::new(sender);
    // Readings before the worker is named, or at another pace, warm nothing up.
    let ready = Arc::new(AtomicBool::new(false));
    let counting = Arc::clone(&ready);
    let sink = move |sample: &Sample| {
        let since = ALLOCATIONS.get() - LEFT_AT.get();
        let first = sample.values.first().map_or(ChannelId::MAX, |&(channel, _)| channel);
        if counting.load(Ordering::Acquire) {
            let _ = sender.lock().unwrap().send((first, since));
        }
        LEFT_AT.set(ALLOCATIONS.get());
    };
    let sampler = Sampler::start(inventory, Arc::new(sink)).unwrap();
    sampler.set_pace(Pace::Workload);
    sampler.set_counters_hz(1000);
    sampler.set_worker(worker);
    ready.store(true, Ordering::Release);
    let mut readings: HashMap<ChannelId, u32> = HashMap::new();
    let mut found: HashMap<String, u64> = HashMap::new();
    // A channel is heard of first when it is new to its lane; then every later one is warm.
    for (channel, since) in counts.iter().take(READINGS) {
        let seen = readings.entry(channel).or_default();
        *seen += 1;
        if *seen > WARM {
            *found.entry(names[usize::from(channel)].clone()).or_default() += since;
        }
    }
    sampler.stop();
    found
}

#[test]
fn nothing_is_allocated_on_this_machine() {
    // Its threads stay the same, unlike those of the process that runs the tests.
    let mut worker = Command::new("sleep").arg("60").spawn().unwrap();
    let found = allocations(&Root::live().unwrap(), Some(worker.id()));
    worker.kill().unwrap();
    worker.wait().unwrap();
    println!("{found:?}");
    assert!(found.contains_key("cpu.worker.wait.time"), "{found:?}");
    assert!(found.values().all(|&count| count == 0), "{found:?}");
}

#[test]
fn nothing_is_allocated_for_clients_of_graphics_devices() {
    let other = "pos:\t0\nflags:\t02100000\n";
    let client = |id: u32| {
        format!(
            "drm-driver:\txe\ndrm-client-id:\t{id}\ndrm-pdev:\t0000:03:00.0\ndrm-resident-vram0:\t24 MiB\n\
             drm-cycles-ccs:\t10\ndrm-total-cycles-ccs:\t40\ndrm-engine-capacity-ccs:\t4\n"
        )
    };
    let tree = Tree::new(&[
        ("proc/7/fdinfo/0", other),
        ("proc/7/fdinfo/3", &client(1)),
        ("proc/7/fdinfo/4", &client(1)),
        ("proc/7/fdinfo/12", &client(2)),
    ]);
    let mut clients = Clients::of(&Root::tree(tree.path()).unwrap(), &[7]).unwrap();
    assert_eq!(clients.read().unwrap().count(), 2, "two descriptors of one client count once");
    let before = ALLOCATIONS.get();
    for _ in 0..50 {
        assert_eq!(
            clients.read().unwrap().filter_map(slmscope_probes::fdinfo::Client::memory_bytes).sum::<u64>(),
            48 << 20
        );
    }
    assert_eq!(ALLOCATIONS.get() - before, 0);
}

#[test]
fn nothing_is_allocated_on_a_board_with_many_sensors() {
    let tree = Tree::new(&[
        ("proc/stat", "cpu  300 0 0 900 50 0 0 0 0 0\ncpu0 300 0 0 900 50 0 0 0 0 0\n"),
        ("proc/meminfo", "MemTotal: 8000 kB\nMemFree: 10 kB\nMemAvailable: 4000 kB\n"),
        ("proc/pressure/cpu", "some avg10=0.00 avg60=0.00 avg300=0.00 total=7\n"),
        ("sys/class/powercap/intel-rapl:0/name", "package-0"),
        ("sys/class/powercap/intel-rapl:0/energy_uj", "9000000"),
        ("sys/class/powercap/intel-rapl:0/max_energy_range_uj", "262143000000"),
        ("sys/class/thermal/thermal_zone0/type", "cpu-thermal"),
        ("sys/class/thermal/thermal_zone0/temp", "45000"),
        ("sys/class/hwmon/hwmon0/name", "ina3221"),
        ("sys/class/hwmon/hwmon0/in1_label", "VDD_IN"),
        ("sys/class/hwmon/hwmon0/in1_input", "5000"),
        ("sys/class/hwmon/hwmon0/curr1_input", "1000"),
        ("sys/class/hwmon/hwmon1/name", "pwmfan"),
        ("sys/class/hwmon/hwmon1/fan1_input", "1200"),
        ("sys/devices/system/cpu/present", "0"),
        ("sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq", "1800000"),
        ("sys/devices/system/cpu/cpufreq/policy0/related_cpus", "0"),
    ]);
    let found = allocations(&Root::tree(tree.path()).unwrap(), None);
    println!("{found:?}");
    assert!(found.contains_key("energy.package-0"), "{found:?}");
    assert!(found.values().all(|&count| count == 0), "{found:?}");
}
