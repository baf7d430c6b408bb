//! Trees of real machines, kept outside the repository; `SLMSCOPE_BOARDS` names their folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use slmscope_probes::{Root, discover, doctor};
use slmscope_profiles::channel::{Class, Kind, ReasonCode, Scope};
use slmscope_profiles::doctor::DoctorReport;

use crate::tree::{check, has, reason, row, value};

fn boards() -> Option<PathBuf> {
    let folder = std::env::var_os("SLMSCOPE_BOARDS").map(PathBuf::from);
    if folder.is_none() {
        println!("skipped: SLMSCOPE_BOARDS names no folder of captured trees");
    }
    folder
}

fn report(folder: &Path, board: &str) -> DoctorReport {
    doctor(&Root::tree(&folder.join(board)).unwrap())
}

#[test]
fn every_board_has_every_family_and_no_value_from_nothing() {
    let Some(folder) = boards() else { return };
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if !path.is_dir() {
            continue;
        }
        let report = doctor(&Root::tree(&path).unwrap());
        check(&report);
        for row in report.channels.iter().filter(|row| row.value.is_some()) {
            // Every number comes from a file that can be read there; a product names its first factor.
            let file = row.source.split([' ']).next().unwrap().trim_start_matches('/');
            let root = Root::tree(&path).unwrap();
            assert!(root.read(file, 64).is_ok_and(|bytes| !bytes.is_empty()), "{}: {row:?}", path.display());
        }
        let values = report.channels.iter().filter(|row| row.value.is_some()).count();
        println!("{}: {values} of {} channels have a value", path.display(), report.channels.len());
    }
}

#[test]
fn a_server_with_four_sockets_knows_its_packages() {
    let Some(folder) = boards() else { return };
    let report = report(&folder, "intel-server-4s-smp01");
    assert_eq!(value(&report, "energy.package-3"), Some(226_618.687_799));
    assert_eq!(value(&report, "energy.package-0"), Some(143_013.545_932));
    assert_eq!(value(&report, "energy.dram-1"), Some(32_651.449_214));
    let channels = discover(&Root::tree(&folder.join("intel-server-4s-smp01")).unwrap()).channels;
    let ranges: BTreeMap<_, _> = channels
        .iter()
        .filter_map(|channel| match channel.kind {
            Kind::Counter { range: Some(range) } => Some((channel.id.as_str(), range)),
            _ => None,
        })
        .collect();
    assert_eq!(ranges.get("energy.package-2"), Some(&262_143.328_85));
    assert_eq!(ranges.get("energy.dram-2"), Some(&65_712.999_613));
    assert_eq!(reason(&report, "power.package-1"), ReasonCode::NeedsTwoReadings);
}

#[test]
fn jetsons_tell_the_boards_input_from_its_rails() {
    let Some(folder) = boards() else { return };
    for (board, watts) in [("jetson-orin-nano-jp5", 4.832_256), ("jetson-orin-nano-super-jp6", 6.130_432)] {
        let report = report(&folder, board);
        assert_eq!(value(&report, "power.rail.VDD_IN"), Some(watts), "{board}");
        assert_eq!(row(&report, "power.rail.VDD_IN").scope, Scope::BoardInput);
        assert_eq!(row(&report, "power.rail.VDD_SOC").scope, Scope::Rail("VDD_SOC".to_owned()));
        let power = report.channels.iter().filter(|row| row.id.starts_with("power.rail."));
        assert_eq!(power.count(), 3, "{board}");
        assert_eq!(value(&report, "power.board"), Some(watts), "{board}");
    }
    let orin = report(&folder, "jetson-agx-orin-jp5");
    assert!(orin.channels.iter().all(|row| row.scope != Scope::BoardInput));
    assert!(has(&orin, "power.rail.VDDQ_VDD2_1V8AO") && !has(&orin, "power.rail.NC"));
    assert_eq!(reason(&orin, "temp.CV0-therm"), ReasonCode::NotAFile);
    assert_eq!(value(&orin, "temp.tj-therm"), Some(72.0));
    let nano = report(&folder, "jetson-nano-jp4-constructed");
    assert_eq!(row(&nano, "power.rail.POM_5V_IN").scope, Scope::BoardInput);
    assert_eq!(reason(&nano, "temp.PMIC-Die"), ReasonCode::Implausible);
}

#[test]
fn batteries_of_laptops() {
    let Some(folder) = boards() else { return };
    let hp = report(&folder, "battery-hp-no-current");
    assert_eq!(reason(&hp, "power.battery.BAT0"), ReasonCode::NoSuchInterface);
    let milli = report(&folder, "battery-ma-units");
    assert_eq!(reason(&milli, "power.battery.battery"), ReasonCode::Implausible);
    let dual = report(&folder, "laptop-thinkpad-dual-battery");
    assert_eq!(value(&dual, "power.battery.BAT0"), Some(27.758));
    assert_eq!(value(&dual, "power.battery.BAT1"), Some(0.0));
    assert_eq!(value(&report(&folder, "laptop-thinkpad-9cell"), "power.battery.BAT0"), Some(15.453));
    assert_eq!(value(&report(&folder, "steamdeck-vangogh"), "power.battery.BAT1"), Some(14.8225));
}

#[test]
fn clocks_are_not_invented() {
    let Some(folder) = boards() else { return };
    let guest = report(&folder, "vm-virtualbox-2cpu");
    assert_eq!(reason(&guest, "freq.cpu0"), ReasonCode::NoSuchInterface);
    assert_eq!(value(&report(&folder, "amd-desktop-ryzen1600-rx580"), "freq.cpu0"), Some(1.55e9));
    let laptop = report(&folder, "x86-laptop-nodeexporter");
    assert_eq!(value(&laptop, "freq.cpu0"), Some(1.699_981e9));
    assert_eq!(reason(&laptop, "freq.cpu3"), ReasonCode::Implausible);
    assert_eq!(row(&laptop, "freq.cpu3").class, Class::Unavailable);
}

#[test]
fn what_is_not_the_boards_power_is_not_shown_as_such() {
    let Some(folder) = boards() else { return };
    for board in ["orangepi5-rk3588s", "nvidia-gb10", "raspberry-pi-5b"] {
        assert_eq!(reason(&report(&folder, board), "power.board"), ReasonCode::NoSuchInterface, "{board}");
    }
    let orange = report(&folder, "orangepi5-rk3588s");
    let temperatures = orange.channels.iter().filter(|row| row.id.starts_with("temp."));
    assert_eq!(temperatures.count(), 7);
    let deck = report(&folder, "steamdeck-vangogh");
    assert_eq!(row(&deck, "gpu0.power").scope, Scope::Package);
    assert!(
        deck.channels.iter().filter(|row| row.scope == Scope::Package && row.value.is_some()).count() == 1
    );
    let card = report(&folder, "intel-i7-1270p-arc-b580-xe");
    assert_eq!(value(&card, "gpu0.energy"), Some(29_523.753_173));
    let apu = report(&folder, "amd-strixpoint-apu");
    assert_eq!(row(&apu, "energy.core-0").class, Class::Unavailable);
    assert_eq!(value(&report(&folder, "raspberry-pi-4b-ups"), "throttle.under_voltage"), Some(1.0));
}
