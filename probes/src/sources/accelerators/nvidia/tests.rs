//! Against a library of our own that is built with the system's C compiler.

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use slmscope_profiles::channel::{Channel, ReasonCode, Value};

use super::{DRIVER, Nvidia, REOPEN_EVERY};
use crate::catalogue::Catalogue;
use crate::machine::root::Root;
use crate::source::{Pace, Source};

const CARD: &str = "sys/bus/pci/devices/0000:01:00.0";

/// A machine with one card, and a library.
struct Machine {
    dir: tempfile::TempDir,
    library: &'static OsStr,
}

impl Machine {
    /// `None` without a compiler. `switches` are names that `fake.c` asks for.
    fn new(switches: &[&str]) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let library = dir.path().join("libnvidia-ml.so.1");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-o"])
            .arg(&library)
            .arg(format!("-DSTATE=\"{}\"", dir.path().join("state").display()))
            .args(switches.iter().map(|switch| format!("-D{switch}")))
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/src/sources/accelerators/nvidia/fake.c"))
            .status();
        let Ok(built) = built else {
            println!("skipped: there is no C compiler (cc)");
            return None;
        };
        assert!(built.success(), "fake.c does not compile");
        // The library's name lives as long as the process, as the real one's does.
        let library = Box::leak(library.into_os_string().into_boxed_os_str());
        let machine = Self { dir, library };
        machine.card("vendor", "0x10de");
        machine.card("class", "0x030000");
        machine.card("power/runtime_status", "active");
        machine.card("power/control", "auto");
        Some(machine)
    }

    fn card(&self, file: &str, text: &str) {
        self.file(&format!("{CARD}/{file}"), text);
    }

    fn file(&self, path: &str, text: &str) {
        let path = self.dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn state(&self, what: &str) -> PathBuf {
        self.dir.path().join(format!("state.{what}"))
    }

    /// How often the library is open; `None` if it never was.
    fn open(&self) -> Option<u32> {
        fs::read_to_string(self.state("open")).ok()?.parse().ok()
    }

    fn discover(&self) -> (Result<Nvidia, ReasonCode>, Vec<Channel>) {
        let mut catalogue = Catalogue::default();
        let root = Root::tree(self.dir.path()).unwrap();
        let found = Nvidia::with_library(self.library, root, &mut catalogue);
        (found.map(|(nvidia, _)| nvidia).map_err(|reason| reason.code), catalogue.finish())
    }
}

fn read(nvidia: &mut Nvidia, channels: &[Channel], id: &str) -> Value {
    let mut values = Vec::new();
    nvidia.read(&mut values);
    let channel = channels.iter().find(|channel| channel.id == id).unwrap().channel;
    values.into_iter().find(|&(found, _)| found == channel).unwrap().1
}

fn reason(channels: &[Channel], id: &str) -> Option<ReasonCode> {
    channels.iter().find(|channel| channel.id == id).unwrap().reason.as_ref().map(|reason| reason.code)
}

#[test]
fn a_driver_that_is_there_is_read_and_closed_when_nobody_looks() {
    let Some(machine) = Machine::new(&["INSTANT_POWER"]) else { return };
    let (nvidia, channels) = machine.discover();
    let mut nvidia = nvidia.unwrap();
    for (id, value) in [
        ("gpu0.busy", 0.37),
        ("gpu0.memory_busy", 0.05),
        ("gpu0.vram_used", f64::from(1_u32 << 31)),
        ("gpu0.clock", 1.5e9),
        ("gpu0.power", 55.5),
        ("gpu0.energy", 123.456),
        ("temp.gpu0", 61.0),
        ("throttle.gpu0", 1.0),
    ] {
        assert_eq!(read(&mut nvidia, &channels, id), Value::Present(value), "{id}");
    }
    assert_eq!(machine.open(), Some(1));
    nvidia.set_pace(Pace::Idle);
    assert_eq!(machine.open(), Some(0));
    assert_eq!(read(&mut nvidia, &channels, "gpu0.busy"), Value::Absent(ReasonCode::GatedOrAsleep));
    assert_eq!(machine.open(), Some(0), "an idle daemon leaves it closed");
    nvidia.set_pace(Pace::Workload);
    assert_eq!(read(&mut nvidia, &channels, "gpu0.busy"), Value::Present(0.37));
    assert_eq!(machine.open(), Some(1));
    drop(nvidia);
    assert_eq!(machine.open(), Some(0));
}

#[test]
fn a_card_that_cannot_sleep_keeps_its_library() {
    let Some(machine) = Machine::new(&[]) else { return };
    machine.card("power/control", "on");
    let (nvidia, channels) = machine.discover();
    let mut nvidia = nvidia.unwrap();
    nvidia.set_pace(Pace::Idle);
    assert_eq!(machine.open(), Some(1));
    assert_eq!(
        read(&mut nvidia, &channels, "gpu0.power"),
        Value::Present(42.0),
        "the mean, without the other"
    );
    assert!(channels.iter().any(|channel| channel.source.contains("mean over 1 s")));
}

#[test]
fn a_sleeping_card_is_never_touched() {
    let Some(machine) = Machine::new(&[]) else { return };
    machine.card("power/runtime_status", "suspended");
    let (nvidia, channels) = machine.discover();
    assert_eq!(nvidia.err(), Some(ReasonCode::GatedOrAsleep));
    assert_eq!((machine.open(), channels.len()), (None, 0));
}

#[test]
fn a_card_that_sleeps_at_the_start_is_read_once_it_is_awake() {
    let Some(machine) = Machine::new(&["SYMBOLS_MISSING"]) else { return };
    machine.file(DRIVER, "NVRM version: 550.54.14");
    machine.card("power/runtime_status", "suspended");
    let (nvidia, channels) = machine.discover();
    let mut nvidia = nvidia.unwrap();
    for id in ["gpu0.busy", "gpu0.power", "gpu0.energy", "temp.gpu0"] {
        assert_eq!(read(&mut nvidia, &channels, id), Value::Absent(ReasonCode::GatedOrAsleep), "{id}");
    }
    assert_eq!(machine.open(), None);
    machine.card("power/runtime_status", "active");
    assert_eq!(read(&mut nvidia, &channels, "temp.gpu0"), Value::Present(61.0));
    assert_eq!(read(&mut nvidia, &channels, "gpu0.power"), Value::Present(42.0));
    assert_eq!(read(&mut nvidia, &channels, "gpu0.energy"), Value::Absent(ReasonCode::NotSupported));
}

#[test]
fn a_card_that_falls_asleep_after_it_was_let_go_is_not_woken() {
    let Some(machine) = Machine::new(&[]) else { return };
    let (nvidia, channels) = machine.discover();
    let mut nvidia = nvidia.unwrap();
    nvidia.set_pace(Pace::Idle);
    machine.card("power/runtime_status", "suspended");
    nvidia.set_pace(Pace::Client);
    for _ in 0..2 * REOPEN_EVERY {
        assert_eq!(read(&mut nvidia, &channels, "gpu0.busy"), Value::Absent(ReasonCode::GatedOrAsleep));
    }
    assert_eq!(machine.open(), Some(0));
}

#[test]
fn no_library_and_no_driver_are_two_reasons() {
    let Some(machine) = Machine::new(&["NO_DRIVER"]) else { return };
    assert_eq!(machine.discover().0.err(), Some(ReasonCode::NoSuchInterface));
    let library = OsStr::new("/nowhere/libnvidia-ml.so.1");
    let none = Machine { library, dir: tempfile::tempdir().unwrap() };
    assert_eq!(none.discover().0.err(), Some(ReasonCode::NoSuchInterface));
}

#[test]
fn functions_that_the_library_lacks_are_absent_and_the_rest_is_read() {
    let Some(machine) = Machine::new(&["SYMBOLS_MISSING"]) else { return };
    let (nvidia, channels) = machine.discover();
    let mut nvidia = nvidia.unwrap();
    for id in ["gpu0.busy", "gpu0.vram_used", "gpu0.energy"] {
        assert_eq!(reason(&channels, id), Some(ReasonCode::NotSupported), "{id}");
    }
    assert_eq!(read(&mut nvidia, &channels, "temp.gpu0"), Value::Present(61.0));
}

#[test]
fn what_the_driver_does_not_support_is_absent_and_never_zero() {
    let Some(machine) = Machine::new(&["UNIFIED_MEMORY"]) else { return };
    let (_, channels) = machine.discover();
    assert_eq!(reason(&channels, "gpu0.power"), Some(ReasonCode::NotSupported));
}

#[test]
fn a_processor_that_was_lost_is_looked_for_again_but_not_each_time() {
    let Some(machine) = Machine::new(&[]) else { return };
    let (nvidia, channels) = machine.discover();
    let mut nvidia = nvidia.unwrap();
    fs::write(machine.state("lost"), "").unwrap();
    assert_eq!(read(&mut nvidia, &channels, "gpu0.busy"), Value::Absent(ReasonCode::Vanished));
    assert_eq!(machine.open(), Some(0), "the library that lost it is closed");
    fs::remove_file(machine.state("lost")).unwrap();
    let mut tries = 0;
    while read(&mut nvidia, &channels, "gpu0.busy") != Value::Present(0.37) {
        assert_eq!(machine.open(), Some(0));
        tries += 1;
        assert!(tries <= REOPEN_EVERY);
    }
    assert_eq!(tries, REOPEN_EVERY - 1);
}

#[test]
fn a_library_that_does_not_open_in_time_is_given_up() {
    let Some(machine) = Machine::new(&["SLOW_TO_OPEN=3"]) else { return };
    assert_eq!(machine.discover().0.err(), Some(ReasonCode::Deadline));
    // A driver whose cards are not on the bus: there is nothing that could be entered for later.
    machine.file(DRIVER, "NVRM version: 550.54.14");
    machine.card("class", "0x020000");
    assert_eq!(machine.discover().0.err(), Some(ReasonCode::Deadline));
}
