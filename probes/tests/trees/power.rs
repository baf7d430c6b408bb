//! Energy counters, power monitors and batteries of captured trees.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use slmscope_probes::{Root, discover};
use slmscope_profiles::channel::{Class, Kind, ReasonCode, Scope, rate};

use super::tree::{Tree, has, reason, row, value};

const RAPL: &str = "sys/class/powercap";

/// Two sockets whose folders are numbered the other way round, with memory, platform and a duplicate.
fn two_sockets() -> Tree {
    let tree = Tree::new(&[]);
    for (folder, name, energy, range) in [
        ("intel-rapl:0", "package-1", "7000000", "262143000000"),
        ("intel-rapl:0:0", "dram", "500000", "65712000000"),
        ("intel-rapl:1", "package-0", "9000000", "262143000000"),
        ("intel-rapl:1:0", "core", "4000000", "262143000000"),
        ("intel-rapl:2", "psys", "21000000", "262143000000"),
        ("intel-rapl-mmio:0", "package-0", "9000001", "262143000000"),
    ] {
        tree.file(&format!("{RAPL}/{folder}/name"), name);
        tree.file(&format!("{RAPL}/{folder}/energy_uj"), energy);
        tree.file(&format!("{RAPL}/{folder}/max_energy_range_uj"), range);
    }
    tree.broken(&format!("{RAPL}/intel-rapl"));
    tree
}

#[test]
fn rapl_zones_are_known_by_name_and_listed_once() {
    let report = two_sockets().doctor();
    assert_eq!(value(&report, "energy.package-0"), Some(9.0));
    assert_eq!(value(&report, "energy.package-1"), Some(7.0));
    assert_eq!(value(&report, "energy.dram-1"), Some(0.5));
    assert_eq!(value(&report, "energy.core-0"), Some(4.0));
    assert_eq!(row(&report, "energy.psys").scope, Scope::Platform);
    assert_eq!(row(&report, "energy.dram-1").scope, Scope::Dram);
    assert!(!has(&report, "energy.package-0#2"));
    assert_eq!(reason(&report, "power.package-0"), ReasonCode::NeedsTwoReadings);
}

#[test]
fn rapl_counters_wrap_at_their_own_range() {
    let tree = two_sockets();
    fs::remove_file(tree.path().join(RAPL).join("intel-rapl:2/max_energy_range_uj")).unwrap();
    let inventory = discover(&Root::tree(tree.path()).unwrap());
    let range = |id: &str| match &inventory.channels.iter().find(|channel| channel.id == id).unwrap().kind {
        Kind::Counter { range } => *range,
        other => panic!("{other:?}"),
    };
    assert_eq!(range("energy.package-0"), Some(262_143.0));
    assert_eq!(range("energy.dram-1"), Some(65_712.0));
    assert_eq!(range("energy.psys"), None);
    let second = 1_000_000_000;
    let wrapped = rate((0, 65_711.0), (second, 4.0), range("energy.dram-1")).unwrap();
    assert!((wrapped - 5.0).abs() < 1e-6);
    assert_eq!(rate((0, 65_711.0), (second, 4.0), range("energy.psys")), None);
}

#[test]
fn a_zone_that_may_not_be_read_says_how_to_change_that() {
    let tree = two_sockets();
    let energy = tree.path().join(RAPL).join("intel-rapl:1/energy_uj");
    fs::set_permissions(&energy, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::read(&energy).is_ok() {
        println!("skipped: this user may read everything");
        return;
    }
    let report = tree.doctor();
    assert_eq!(reason(&report, "energy.package-0"), ReasonCode::Permission);
    assert!(row(&report, "power.package-0").remedy.as_ref().unwrap().contains("chgrp"));
    assert_eq!(value(&report, "energy.package-1"), Some(7.0));
}

#[test]
fn one_core_of_an_amd_processor_is_not_its_cores() {
    let tree = two_sockets();
    tree.file("proc/cpuinfo", "processor\t: 0\nvendor_id\t: AuthenticAMD\n");
    assert_eq!(reason(&tree.doctor(), "energy.core-0"), ReasonCode::NotSupported);
}

#[test]
fn a_masked_zone_in_a_container_is_absent() {
    let tree = Tree::new(&[]);
    tree.link(&format!("{RAPL}/intel-rapl:0"), "../../devices/virtual/powercap/intel-rapl/intel-rapl:0");
    let report = tree.doctor();
    assert_eq!(reason(&report, "energy.intel-rapl_0"), ReasonCode::NoSuchInterface);
}

#[test]
fn an_ina3221_has_three_rails_and_its_sums_are_none() {
    let chip = |file: &str| format!("sys/class/hwmon/hwmon3/{file}");
    let tree = Tree::new(&[]);
    tree.file(&chip("name"), "ina3221");
    for (number, label, millivolts, milliamperes) in
        [(1, "VDD_IN", "5040", "1500"), (2, "VDD_CPU_GPU_CV", "5032", "500"), (3, "NC", "0", "0")]
    {
        tree.file(&chip(&format!("in{number}_label")), label);
        tree.file(&chip(&format!("in{number}_input")), millivolts);
        tree.file(&chip(&format!("curr{number}_input")), milliamperes);
        tree.file(&chip(&format!("in{number}_enable")), "1");
    }
    for number in 4..=7 {
        tree.file(&chip(&format!("in{number}_input")), "7500");
        tree.file(&chip(&format!("in{number}_label")), "sum of shunt voltages");
    }
    tree.file(&chip("curr4_input"), "2000");
    let report = tree.doctor();
    assert_eq!(value(&report, "power.rail.VDD_IN"), Some(7.56));
    assert_eq!(row(&report, "power.rail.VDD_IN").scope, Scope::BoardInput);
    assert_eq!(row(&report, "power.rail.VDD_IN").class, Class::Derived);
    assert_eq!(row(&report, "power.rail.VDD_CPU_GPU_CV").scope, Scope::Rail("VDD_CPU_GPU_CV".to_owned()));
    assert_eq!(report.channels.iter().filter(|row| row.id.starts_with("power.rail.")).count(), 2);
    assert_eq!(value(&report, "power.board"), Some(7.56));
}

#[test]
fn fans_usb_contracts_and_broken_meters_are_not_the_boards_power() {
    let tree = Tree::new(&[
        ("sys/class/hwmon/hwmon0/name", "acpi_fan"),
        ("sys/class/hwmon/hwmon0/power1_input", "5000"),
        ("sys/class/hwmon/hwmon0/fan1_input", "3"),
        ("sys/class/hwmon/hwmon1/name", "ucsi_source_psy_USBC000:001"),
        ("sys/class/hwmon/hwmon1/power1_input", "45000000"),
        ("sys/class/hwmon/hwmon2/name", "power_meter"),
        ("sys/class/hwmon/hwmon2/power1_average", "4294967295000"),
        ("sys/class/hwmon/hwmon3/name", "nvme"),
        ("sys/class/hwmon/hwmon3/temp1_input", "38850"),
        ("sys/class/hwmon/hwmon3/temp1_label", "Composite"),
    ]);
    let report = tree.doctor();
    let power: Vec<_> = report.channels.iter().filter(|row| row.id.starts_with("power.")).collect();
    assert_eq!(power.len(), 2, "{power:?}");
    assert_eq!(power[0].scope, Scope::BoardInput);
    assert_eq!(reason(&report, "power.power_meter_power1"), ReasonCode::Implausible);
    assert_eq!(reason(&report, "power.board"), ReasonCode::NoSuchInterface);
    assert_eq!(row(&report, "fan.acpi_fan_fan1").class, Class::Reported);
    assert_eq!(value(&report, "temp.nvme_Composite"), Some(38.85));
}

#[test]
fn batteries_say_power_only_where_they_measure_it() {
    let tree = Tree::new(&[]);
    let supply = |name: &str, files: &[(&str, &str)]| {
        for (file, text) in files {
            tree.file(&format!("sys/class/power_supply/{name}/{file}"), text);
        }
    };
    supply("AC", &[("type", "Mains"), ("online", "0")]);
    supply("BAT0", &[("type", "Battery"), ("status", "Discharging"), ("power_now", "-11500000")]);
    supply("BAT1", &[("type", "Battery"), ("status", "Unknown"), ("power_now", "0")]);
    supply(
        "BAT2",
        &[
            ("type", "Battery"),
            ("status", "Charging"),
            ("current_now", "2000000"),
            ("voltage_now", "8000000"),
        ],
    );
    supply("BAT3", &[("type", "Battery"), ("status", "Discharging"), ("voltage_now", "8000000")]);
    supply(
        "BAT4",
        &[
            ("type", "Battery"),
            ("status", "Discharging"),
            ("current_now", "950"),
            ("voltage_now", "11000000"),
        ],
    );
    supply("mouse", &[("type", "Battery"), ("scope", "Device"), ("power_now", "1000")]);
    supply("usb", &[("type", "USB"), ("current_now", "3000000"), ("voltage_now", "9000000")]);
    let report = tree.doctor();
    assert_eq!(value(&report, "power.battery.BAT0"), Some(11.5));
    assert_eq!(value(&report, "power.battery.BAT1"), Some(0.0));
    assert_eq!(value(&report, "power.battery.BAT2"), Some(-16.0));
    assert_eq!(row(&report, "power.battery.BAT2").class, Class::Derived);
    assert_eq!(reason(&report, "power.battery.BAT3"), ReasonCode::NoSuchInterface);
    assert_eq!(reason(&report, "power.battery.BAT4"), ReasonCode::Implausible);
    assert_eq!(row(&report, "power.battery.BAT0").scope, Scope::Battery);
    assert!(!has(&report, "power.battery.mouse") && !has(&report, "power.battery.usb"));
}

#[test]
fn batteries_of_a_machine_that_is_plugged_in_say_so() {
    let tree = Tree::new(&[
        ("sys/class/power_supply/AC/type", "Mains"),
        ("sys/class/power_supply/AC/online", "1"),
        ("sys/class/power_supply/BAT0/type", "Battery"),
        ("sys/class/power_supply/BAT0/status", "Full"),
        ("sys/class/power_supply/BAT0/power_now", "0"),
    ]);
    let report = tree.doctor();
    assert_eq!(value(&report, "power.battery.BAT0"), Some(0.0));
    let reason = row(&report, "power.battery").reason.as_ref().unwrap();
    assert!(reason.code == ReasonCode::Vanished && reason.detail.contains("not alone"), "{reason}");
}

#[test]
fn an_input_that_leads_nowhere_is_no_rail_on_old_releases_either() {
    let device = "sys/bus/i2c/drivers/ina3221x/1-0040/iio:device0";
    let tree = Tree::new(&[]);
    for (rail, label) in [(0, "POM_5V_IN"), (1, "NC")] {
        tree.file(&format!("{device}/rail_name_{rail}"), label);
        tree.file(&format!("{device}/in_power{rail}_input"), "2000");
    }
    let report = tree.doctor();
    assert_eq!(value(&report, "power.rail.POM_5V_IN"), Some(2.0));
    assert!(!has(&report, "power.rail.NC"));
}
