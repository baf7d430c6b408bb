//! From a file of the kernel to the joules of a phase, in simulated time: a load of known power on a folder that
//! looks like a machine's.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;

use slmscope_profiles::channel::{Channel, Sample};
use slmscope_profiles::energy::of_phases;
use slmscope_profiles::job::Span;
use slmscope_profiles::op::Phase;
use slmscope_profiles::result::PhaseEnergy;

use crate::inventory::discover;
use crate::machine::root::Root;
use crate::source::Source;

const MS: u64 = 1_000_000;
const ZONE: &str = "sys/class/powercap/intel-rapl:0";

/// A machine with one energy counter, whose file the test writes.
struct Machine {
    dir: tempfile::TempDir,
    counter: fs::File,
    channels: Vec<Channel>,
    sources: Vec<Box<dyn Source>>,
    samples: Vec<Sample>,
}

impl Machine {
    /// `range` is where the counter wraps, µJ, if the machine reports that.
    fn new(range: Option<u64>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let zone = dir.path().join(ZONE);
        fs::create_dir_all(&zone).unwrap();
        fs::write(zone.join("name"), "package-0\n").unwrap();
        fs::write(zone.join("energy_uj"), "0").unwrap();
        if let Some(range) = range {
            fs::write(zone.join("max_energy_range_uj"), range.to_string()).unwrap();
        }
        let inventory = discover(&Root::tree(dir.path()).unwrap());
        let sources = inventory.lanes.into_iter().flat_map(|lane| lane.sources).collect();
        let counter = OpenOptions::new().write(true).open(zone.join("energy_uj")).unwrap();
        Self { dir, counter, channels: inventory.channels, sources, samples: Vec::new() }
    }

    /// The counter shows `uj` from now on.
    fn show(&self, uj: u64) {
        // Of one length, so that no reader sees the rest of a longer number.
        self.counter.write_all_at(format!("{uj:020}").as_bytes(), 0).unwrap();
    }

    /// Everything is read at this time.
    fn read(&mut self, t_ns: u64) {
        for source in &mut self.sources {
            let mut values = Vec::new();
            source.read(&mut values);
            self.samples.push(Sample { t_ns, values, ..Sample::default() });
        }
    }

    fn decode(&self, begin_ms: u64, end_ms: u64) -> PhaseEnergy {
        let span = Span {
            job: 1,
            repetition: 0,
            phase: Phase::Decode,
            begin_ns: begin_ms * MS,
            end_ns: end_ms * MS,
            tokens: 100,
            sample_ns: 0,
            token_ends_ns: Vec::new(),
        };
        let idle = Some((0, 900 * MS));
        let energy = of_phases(&[span], idle, &self.samples, &self.channels);
        assert_eq!(energy.phases.len(), 1, "{energy:?}");
        assert!(self.dir.path().exists());
        energy.phases.into_iter().next().unwrap()
    }
}

/// 5 W at first, 25 W from 1 s on, µJ.
fn used_uj(t_ms: u64) -> u64 {
    5_000 * t_ms + 20_000 * t_ms.saturating_sub(1_000)
}

#[test]
fn a_counter_that_wraps_again_and_again_tells_the_phase_and_the_idle_power() {
    let range = 7_000_000;
    let mut machine = Machine::new(Some(range));
    for t_ms in (0..6_000).step_by(10) {
        // The sensor makes a value each millisecond.
        machine.show(used_uj(t_ms) % range);
        machine.read(t_ms * MS);
    }
    let energy = machine.decode(1_000, 5_000);
    assert!((energy.joules.unwrap() / 100.0 - 1.0).abs() < 0.01, "{energy:?}");
    assert!(energy.low.unwrap() <= 100.0 && energy.high.unwrap() >= 100.0, "{energy:?}");
    assert!((energy.baseline_watts.unwrap() - 5.0).abs() < 0.05);
    assert!((energy.above_baseline_joules.unwrap() / 80.0 - 1.0).abs() < 0.02);
    assert!((energy.joules_per_token.unwrap() - 1.0).abs() < 0.01);
    assert_eq!(energy.source.as_deref(), Some("energy.package-0"));
}

#[test]
fn a_counter_that_steps_back_without_a_known_range_gives_no_figure_and_no_wild_one() {
    let mut machine = Machine::new(None);
    for t_ms in (0..6_000).step_by(10) {
        machine.show(if t_ms < 3_000 { 9_000_000 + used_uj(t_ms) } else { used_uj(t_ms - 3_000) });
        machine.read(t_ms * MS);
    }
    let energy = machine.decode(2_000, 5_000);
    assert_eq!(energy.joules, None);
    assert!(energy.reason.unwrap().contains("both ends"));
    assert!(machine.decode(1_000, 2_900).joules.is_some());
}

#[test]
fn a_counter_that_stalls_is_as_good_as_its_updates() {
    let mut machine = Machine::new(Some(262_143_328_850));
    for t_ms in (0..6_000).step_by(10) {
        // From 2 s to 3 s nothing moves; then the counter makes up for it.
        machine.show(used_uj(if (2_000..3_000).contains(&t_ms) { 2_000 } else { t_ms }));
        machine.read(t_ms * MS);
    }
    let whole = machine.decode(1_000, 5_000);
    assert!((whole.joules.unwrap() / 100.0 - 1.0).abs() < 0.01, "{whole:?}");
    let part = machine.decode(1_000, 2_500);
    assert!(part.low.unwrap() <= 37.5 && part.high.unwrap() >= 37.5, "the interval says so: {part:?}");
    let stalled = machine.decode(2_100, 2_900);
    assert_eq!((stalled.joules, stalled.updates), (None, 0));
}

#[test]
fn a_machine_whose_counter_may_not_be_read_says_so() {
    let machine = Machine::new(None);
    let energy = machine.decode(1_000, 2_000);
    assert_eq!(energy.joules, None);
    assert!(energy.reason.is_some());
}
