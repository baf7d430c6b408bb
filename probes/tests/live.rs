//! The machine that runs the tests, whatever it is.

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
