//! Files that are no files, that may not be read, or that go away: the rest is sampled on.

use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::sync::{Arc, Mutex, mpsc};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use slmscope_probes::{Pace, Root, Sampler, discover};
use slmscope_profiles::channel::{ChannelId, ReasonCode, Sample, Value};

use crate::tree::Tree;

const ZONES: &str = "sys/class/thermal";

/// Four thermal zones and two energy counters.
fn board() -> Tree {
    let tree = Tree::new(&[]);
    for zone in 0..4 {
        tree.file(&format!("{ZONES}/thermal_zone{zone}/type"), &format!("zone-{zone}"));
        tree.file(&format!("{ZONES}/thermal_zone{zone}/temp"), &format!("{}000", 40 + zone));
    }
    for package in 0..2 {
        let zone = format!("sys/class/powercap/intel-rapl:{package}");
        tree.file(&format!("{zone}/name"), &format!("package-{package}"));
        tree.file(&format!("{zone}/energy_uj"), "1000000");
    }
    tree
}

struct Sampled {
    sampler: Sampler,
    samples: mpsc::Receiver<Sample>,
    names: Vec<String>,
}

impl Sampled {
    fn start(tree: &Tree) -> Self {
        let inventory = discover(&Root::tree(tree.path()).unwrap());
        let names = inventory.channels.iter().map(|channel| channel.id.clone()).collect();
        let (sender, samples) = mpsc::channel();
        let sender = Mutex::new(sender);
        let sink = move |sample: &Sample| {
            let _ = sender.lock().unwrap().send(sample.clone());
        };
        let sampler = Sampler::start(inventory, Arc::new(sink)).unwrap();
        sampler.set_pace(Pace::Workload);
        Self { sampler, samples, names }
    }

    fn channel(&self, id: &str) -> ChannelId {
        self.names.iter().position(|name| name == id).unwrap() as ChannelId
    }

    /// Waits until a channel has this value.
    fn wait(&self, id: &str, value: Value) {
        let wanted = (self.channel(id), value);
        assert!(self.samples.iter().any(|sample| sample.values.contains(&wanted)));
    }
}

#[test]
fn a_pipe_or_a_folder_in_place_of_a_file_costs_only_itself() {
    let tree = board();
    let pipe = tree.path().join(ZONES).join("thermal_zone1/temp");
    fs::remove_file(&pipe).unwrap();
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let folder = tree.path().join("sys/class/powercap/intel-rapl:0/energy_uj");
    fs::remove_file(&folder).unwrap();
    fs::create_dir(&folder).unwrap();
    let sampled = Sampled::start(&tree);
    for _ in 0..3 {
        sampled.wait("temp.zone-0", Value::Present(40.0));
        sampled.wait("temp.zone-2", Value::Present(42.0));
        sampled.wait("energy.package-1", Value::Present(1.0));
    }
    sampled.sampler.stop();
}

#[test]
fn a_file_that_may_not_be_read_costs_only_itself() {
    let tree = board();
    let energy = tree.path().join("sys/class/powercap/intel-rapl:0/energy_uj");
    fs::set_permissions(&energy, fs::Permissions::from_mode(0o000)).unwrap();
    let sampled = Sampled::start(&tree);
    for _ in 0..10 {
        sampled.wait("energy.package-1", Value::Present(1.0));
    }
    sampled.sampler.stop();
}

#[test]
fn files_that_lose_their_contents_and_get_them_back_are_absent_in_between() {
    let tree = board();
    let sampled = Sampled::start(&tree);
    let energy = "sys/class/powercap/intel-rapl:0/energy_uj";
    sampled.wait("energy.package-0", Value::Present(1.0));
    tree.file(energy, "");
    sampled.wait("energy.package-0", Value::Absent(ReasonCode::GatedOrAsleep));
    sampled.wait("energy.package-1", Value::Present(1.0));
    tree.file(energy, "garbage");
    sampled.wait("energy.package-0", Value::Absent(ReasonCode::Implausible));
    tree.file(energy, "3500000");
    sampled.wait("energy.package-0", Value::Present(3.5));
    sampled.sampler.stop();
}

#[test]
fn what_was_seen_of_each_channel_can_be_asked_for() {
    let tree = board();
    let sampled = Sampled::start(&tree);
    sampled.sampler.set_counters_hz(1000);
    for joules in 1..6 {
        // Written over, not anew: a reader never finds it empty.
        let path = tree.path().join("sys/class/powercap/intel-rapl:0/energy_uj");
        let file = fs::OpenOptions::new().write(true).open(path).unwrap();
        file.write_all_at(format!("{joules}000000").as_bytes(), 0).unwrap();
        sampled.wait("energy.package-0", Value::Present(f64::from(joules)));
    }
    let channel = sampled.channel("energy.package-0");
    // A source that is being read just now is left out, so the question may have to be put again.
    let state = loop {
        let states = sampled.sampler.states();
        if let Some(state) = states.into_iter().find(|state| state.channel == channel) {
            break state;
        }
    };
    assert!(state.update_ns.is_some_and(|ns| ns > 0), "{state:?}");
    assert!(state.cost_ns > 0, "{state:?}");
    sampled.sampler.stop();
}
