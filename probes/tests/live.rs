//! The machine that runs the tests, whatever it is.

use std::io::BufRead as _;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use slmscope_probes::{Pace, Root, Sampler, discover, doctor, host, hygiene};
use slmscope_profiles::channel::{Quantity, Sample};

#[test]
fn the_report_of_this_machine_is_complete() {
    let report = doctor(&Root::live().unwrap(), None);
    for quantity in Quantity::ALL {
        assert!(report.channels.iter().any(|row| row.quantity == quantity), "no row for {quantity:?}");
    }
    for row in &report.channels {
        assert!(row.value.is_some() != row.reason.is_some(), "{row:?}");
        assert_eq!(row.value.is_some(), row.age_ns.is_some(), "{row:?}");
    }
    let ours = report.channels.iter().find(|row| row.id == "cpu.daemon").unwrap();
    assert!(ours.value.unwrap() >= 0.0);
    let worker = report.channels.iter().find(|row| row.id == "cpu.worker").unwrap();
    assert!(worker.value.is_none());
    assert_eq!(report.root, "/");
}

#[test]
fn samples_name_channels_that_are_sampled() {
    let inventory = discover(&Root::live().unwrap());
    let channels = inventory.channels.clone();
    let (sender, samples) = channel();
    let sender = Mutex::new(sender);
    let sink = move |sample: &Sample| {
        let _ = sender.lock().unwrap().send(sample.clone());
    };
    let sampler = Sampler::start(inventory, Arc::new(sink)).unwrap();
    sampler.set_pace(Pace::Workload);
    sampler.set_worker(Some(std::process::id()));
    let mut seen = 0;
    while seen < 100 {
        for (channel, _) in samples.recv().unwrap().values {
            let channel = &channels[usize::from(channel)];
            assert!(channel.reason.is_none() && channel.kind.is_sampled(), "{channel:?}");
            seen += 1;
        }
    }
    sampler.stop();
}

/// Set for the process in which the threads of a worker are tried.
const IS_WORKER: &str = "SLMSCOPE_TEST_IS_WORKER";

/// CPU time of the calling thread, ns.
fn own_cpu_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Uses 100 ms of CPU time in each of three threads that are called as an engine's are, and then sleeps. It is a process of
/// its own, in which nothing else runs.
#[test]
fn a_worker_with_named_threads() {
    if std::env::var_os(IS_WORKER).is_none() {
        return println!("nothing to do: only the process that another test starts computes");
    }
    let spend = |name: &str| {
        let thread = std::thread::Builder::new().name(name.to_owned());
        let (done, is_done) = channel();
        let work = move || {
            while own_cpu_ns() < 100_000_000 {
                std::hint::spin_loop();
            }
            done.send(()).unwrap();
            std::thread::park();
        };
        (thread.spawn(work).unwrap(), is_done)
    };
    let threads = ["engine-main", "engine-1", "helper"].map(spend);
    for (_, is_done) in &threads {
        is_done.recv().unwrap();
    }
    println!("ready");
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

#[test]
fn times_of_the_workers_threads_add_up_to_that_of_the_process() {
    let own = std::env::current_exe().unwrap();
    let mut worker = std::process::Command::new(own)
        .args(["--exact", "a_worker_with_named_threads", "--nocapture"])
        .env(IS_WORKER, "1")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufReader::new(worker.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("ready")), "the worker ended early");
    let report = doctor(&Root::live().unwrap(), Some(worker.id()));
    drop(worker.stdin.take());
    worker.wait().unwrap();
    let seconds = |id: &str| {
        let row = report.channels.iter().find(|row| row.id == format!("cpu.worker{id}.time"));
        row.unwrap_or_else(|| panic!("no {id}")).value.unwrap_or(0.0)
    };
    let whole = seconds("");
    if report.channels.iter().any(|row| row.id == "cpu.worker.wait" && row.value.is_none()) {
        return println!("skipped: this kernel keeps no scheduler statistics");
    }
    assert!(whole >= 0.3, "{whole}");
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let engines = [".engine-main", ".engine-1"].iter().take(cpus.max(1));
    for engine in engines.clone() {
        assert!(seconds(engine) >= 0.1, "{engine}: {}", seconds(engine));
    }
    let is_thread = |id: &str| {
        let name = id.strip_prefix("cpu.worker.").and_then(|id| id.strip_suffix(".time"));
        name.is_some_and(|name| name != "wait")
    };
    let sum: f64 = report.channels.iter().filter(|row| is_thread(&row.id)).filter_map(|row| row.value).sum();
    assert!((sum - whole).abs() <= 0.02 * whole, "{sum} of {whole} s");
}

#[test]
fn every_sample_tells_its_cost() {
    let inventory = discover(&Root::live().unwrap());
    let channels = inventory.channels.clone();
    let (sender, samples) = channel();
    let sender = Mutex::new(sender);
    let sink = move |sample: &Sample| {
        let _ = sender.lock().unwrap().send(sample.clone());
    };
    let sampler = Sampler::start(inventory, Arc::new(sink)).unwrap();
    sampler.set_pace(Pace::Workload);
    let mut costs: std::collections::BTreeMap<String, Vec<u64>> = std::collections::BTreeMap::new();
    for sample in samples.iter().take(400) {
        if let Some(&(channel, _)) = sample.values.first() {
            costs.entry(channels[usize::from(channel)].id.clone()).or_default().push(sample.cost_ns);
        }
    }
    let late = sampler.late_ticks();
    sampler.stop();
    for (first, costs) in &mut costs {
        costs.sort_unstable();
        println!("{first}: median {} ns of {}", costs[costs.len() / 2], costs.len());
    }
    println!("late ticks: {late}");
    assert!(costs["cpu.machine.time"].iter().all(|&ns| ns > 0));
}

#[test]
fn host_and_hygiene_describe_something() {
    let root = Root::live().unwrap();
    let host = host::describe(&root);
    assert!(host.logical_cpus > 0 && !host.arch.is_empty());
    let readings = hygiene::read(&root);
    assert!(readings.cpu.is_none_or(|cpu| cpu.cpus > 0));
    let text = serde_json::to_string(&readings).unwrap();
    assert_eq!(serde_json::from_str::<hygiene::Readings>(&text).unwrap(), readings);
}
