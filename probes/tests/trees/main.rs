//! What the probes make of captured trees: small ones, each with the traps of one kind of machine, and real
//! ones where they are at hand.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests")]

use std::fs;
use std::os::unix::fs::PermissionsExt;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use slmscope_probes::{Root, discover};
use slmscope_profiles::channel::{Class, Kind, ReasonCode, Scope, rate};

mod belief;
mod boards;
mod cases;
mod devices;
mod errors;
mod expected;
mod random;
mod tree;
use tree::{Tree, has, reason, row, value};

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
fn one_bad_thermal_zone_drops_no_other() {
    let zone = |number: u32, file: &str| format!("sys/class/thermal/thermal_zone{number}/{file}");
    let tree = Tree::new(&[]);
    for (number, kind, temp) in [
        (0, "cpu-thermal", "51250"),
        (1, "gpu-thermal", ""),
        (2, "acpitz", "30500"),
        (3, "acpitz", "29000"),
        (4, "PMIC-Die", "100000"),
        (5, "nvme", "65261850"),
        (6, "board", "-256000"),
        (7, "edge", "127000"),
        (8, "yard", "-12000"),
        (9, "text", "warm"),
    ] {
        tree.file(&zone(number, "type"), kind);
        tree.file(&zone(number, "temp"), temp);
    }
    tree.file(&zone(10, "type"), "cv0-thermal");
    tree.broken(&zone(10, "temp"));
    let report = tree.doctor();
    assert_eq!(value(&report, "temp.cpu-thermal"), Some(51.25));
    assert_eq!(reason(&report, "temp.gpu-thermal"), ReasonCode::GatedOrAsleep);
    assert_eq!(value(&report, "temp.acpitz"), Some(30.5));
    assert_eq!(value(&report, "temp.acpitz#2"), Some(29.0));
    assert_eq!(row(&report, "temp.acpitz").class, Class::Reported);
    for wrong in ["temp.PMIC-Die", "temp.nvme", "temp.board", "temp.edge", "temp.text"] {
        assert_eq!(reason(&report, wrong), ReasonCode::Implausible, "{wrong}");
    }
    assert_eq!(value(&report, "temp.yard"), Some(-12.0));
    assert_eq!(reason(&report, "temp.cv0-thermal"), ReasonCode::NotAFile);
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
fn a_sensor_shown_as_zone_and_as_monitor_is_listed_once() {
    let tree = Tree::new(&[
        ("sys/devices/virtual/thermal/thermal_zone0/type", "soc-thermal"),
        ("sys/devices/virtual/thermal/thermal_zone0/temp", "33000"),
        ("sys/devices/virtual/thermal/thermal_zone0/hwmon0/name", "soc_thermal"),
        ("sys/devices/virtual/thermal/thermal_zone0/hwmon0/temp1_input", "33000"),
    ]);
    tree.link("sys/class/thermal/thermal_zone0", "../../devices/virtual/thermal/thermal_zone0");
    tree.link("sys/class/hwmon/hwmon0", "../../devices/virtual/thermal/thermal_zone0/hwmon0");
    let report = tree.doctor();
    assert_eq!(report.channels.iter().filter(|row| row.id.starts_with("temp.")).count(), 1);
    assert_eq!(value(&report, "temp.soc-thermal"), Some(33.0));
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
fn frequency_follows_policies_and_is_never_bogomips() {
    let tree = Tree::new(&[
        ("sys/devices/system/cpu/present", "0-3"),
        ("sys/devices/system/cpu/possible", "0-63"),
        ("sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq", "1800000"),
        ("sys/devices/system/cpu/cpufreq/policy0/related_cpus", "0 1"),
        ("sys/devices/system/cpu/cpufreq/policy2/scaling_cur_freq", "8000"),
        ("sys/devices/system/cpu/cpufreq/policy2/related_cpus", "2"),
        ("sys/devices/system/cpu/cpufreq/policy3/related_cpus", "3"),
    ]);
    let report = tree.doctor();
    assert_eq!(value(&report, "freq.cpu0"), Some(1.8e9));
    assert_eq!(value(&report, "freq.cpu1"), Some(1.8e9));
    assert_eq!(row(&report, "freq.cpu0").class, Class::Reported);
    assert_eq!(reason(&report, "freq.cpu2"), ReasonCode::Implausible);
    assert_eq!(reason(&report, "freq.cpu3"), ReasonCode::NoSuchInterface);
    assert!(!has(&report, "freq.cpu4"));

    // Boost goes above what the driver calls the highest, and an idle CPU has no mean.
    let tree = Tree::new(&[
        ("sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq", "4900000"),
        ("sys/devices/system/cpu/cpufreq/policy0/cpuinfo_max_freq", "3600000"),
        ("sys/devices/system/cpu/cpufreq/policy1/cpuinfo_avg_freq", ""),
        ("sys/devices/system/cpu/cpufreq/policy2/cpuinfo_avg_freq", "2400000"),
    ]);
    let report = tree.doctor();
    assert_eq!(value(&report, "freq.cpu0"), Some(4.9e9));
    assert_eq!(reason(&report, "freq.cpu1"), ReasonCode::GatedOrAsleep);
    assert_eq!(value(&report, "freq.cpu2"), Some(2.4e9));

    let arm = Tree::new(&[("proc/cpuinfo", "processor\t: 0\nBogoMIPS\t: 2000.00\n")]);
    assert_eq!(reason(&arm.doctor(), "freq.cpu0"), ReasonCode::NoSuchInterface);
    let x86 = Tree::new(&[(
        "proc/cpuinfo",
        "processor\t: 0\ncpu MHz\t\t: 2995.5\nprocessor\t: 1\ncpu MHz\t: 0.0\n",
    )]);
    assert_eq!(value(&x86.doctor(), "freq.cpu0"), Some(2.9955e9));
    assert!(!has(&x86.doctor(), "freq.cpu1"));
}

#[test]
fn offline_cpus_have_no_time_and_absent_ones_no_row() {
    let tree = Tree::new(&[
        ("sys/devices/system/cpu/present", "0-2"),
        ("sys/devices/system/cpu/possible", "0-127"),
        ("proc/stat", "cpu  60 0 0 100\ncpu0 20 0 0 50\ncpu2 40 0 0 50\nintr 1\n"),
    ]);
    let report = tree.doctor();
    assert_eq!(value(&report, "cpu.cpu2.time"), Some(0.4));
    assert_eq!(reason(&report, "cpu.cpu1.time"), ReasonCode::Offline);
    assert_eq!(reason(&report, "cpu.cpu2"), ReasonCode::NeedsTwoReadings);
    assert!(!has(&report, "cpu.cpu3.time"));
    assert_eq!(value(&report, "cpu.machine.time"), Some(0.2));
}

#[test]
fn a_pipe_in_place_of_a_file_stalls_nothing() {
    let tree = Tree::new(&[("sys/class/thermal/thermal_zone0/type", "cpu"), ("sys/class/thermal/keep", "")]);
    for path in ["sys/class/thermal/thermal_zone0/temp", "proc/stat", "proc/meminfo", "proc/cpuinfo"] {
        let path = tree.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    }
    let report = tree.doctor();
    assert_eq!(reason(&report, "temp.cpu"), ReasonCode::NotAFile);
    assert_eq!(reason(&report, "cpu.machine"), ReasonCode::NotAFile);
    assert_eq!(reason(&report, "mem.available"), ReasonCode::NotAFile);
}

#[test]
fn pressure_is_absent_with_its_remedy() {
    let tree = Tree::new(&[("proc/pressure/cpu", "some avg10=0.00 avg60=0.00 avg300=0.00 total=1500000\n")]);
    tree.broken("proc/pressure/io");
    let report = tree.doctor();
    assert_eq!(value(&report, "psi.cpu.some.time"), Some(1.5));
    assert_eq!(reason(&report, "psi.cpu.some"), ReasonCode::NeedsTwoReadings);
    assert_eq!(reason(&report, "psi.io.some"), ReasonCode::NotAFile);
    assert_eq!(reason(&report, "psi.memory.full"), ReasonCode::NoSuchInterface);
    assert!(row(&report, "psi.memory.full").remedy.as_ref().unwrap().contains("psi=1"));
    assert!(!has(&report, "psi.cpu.full"));
}

#[test]
fn throttling_is_counted_once_per_core_and_flags_are_bits() {
    let cpu = |number: u32, file: &str| format!("sys/devices/system/cpu/cpu{number}/{file}");
    let tree = Tree::new(&[("sys/devices/system/cpu/present", "0-3")]);
    for number in 0..4 {
        tree.file(&cpu(number, "topology/thread_siblings_list"), if number % 2 == 0 { "0,2" } else { "1,3" });
        tree.file(&cpu(number, "thermal_throttle/core_throttle_count"), "17");
    }
    tree.file("sys/devices/platform/soc/soc:firmware/get_throttled", "50005\n");
    let report = tree.doctor();
    assert_eq!(value(&report, "throttle.cpu0.core"), Some(17.0));
    assert!(has(&report, "throttle.cpu1.core") && !has(&report, "throttle.cpu2.core"));
    assert_eq!(value(&report, "throttle.under_voltage"), Some(1.0));
    assert_eq!(value(&report, "throttle.capped"), Some(0.0));
    assert_eq!(value(&report, "throttle.throttled"), Some(1.0));
}

#[test]
fn a_sleeping_card_is_left_alone() {
    let card = |file: &str| format!("sys/class/drm/card1/device/{file}");
    let tree = Tree::new(&[]);
    tree.file(&card("gpu_busy_percent"), "40");
    tree.file(&card("mem_info_vram_used"), "1000");
    tree.file(&card("hwmon/hwmon4/name"), "amdgpu");
    tree.file(&card("hwmon/hwmon4/power1_average"), "21000000");
    tree.link(&card("hwmon/hwmon4/device"), "../..");
    tree.link("sys/class/hwmon/hwmon4", "../drm/card1/device/hwmon/hwmon4");
    assert_eq!(value(&tree.doctor(), "gpu0.busy"), Some(0.4));
    tree.file(&card("power/runtime_status"), "suspended");
    let report = tree.doctor();
    assert_eq!(reason(&report, "gpu0.busy"), ReasonCode::GatedOrAsleep);
    assert_eq!(reason(&report, "gpu0.vram_used"), ReasonCode::GatedOrAsleep);
    assert_eq!(reason(&report, "gpu0.power"), ReasonCode::GatedOrAsleep);
}

#[test]
fn an_empty_tree_has_every_family_and_no_number() {
    let report = Tree::new(&[]).doctor();
    assert!(report.channels.iter().all(|row| row.value.is_none() && row.class == Class::Unavailable));
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json.as_object().unwrap().keys().count(), 5);
    assert!(json["channels"][0]["value"].is_null());
}

#[test]
fn the_board_is_what_the_firmware_says() {
    let tree = Tree::new(&[
        ("sys/firmware/devicetree/base/compatible", "acme,board-7\0acme,soc\0"),
        ("sys/firmware/devicetree/base/model", "Acme Board 7\0"),
    ]);
    tree.link("proc/device-tree", "/sys/firmware/devicetree/base");
    let board = tree.doctor().board;
    assert_eq!((board.id.as_deref(), board.name.as_deref()), (Some("acme,board-7"), Some("Acme Board 7")));
}

#[test]
fn a_sensor_with_a_fault_is_not_wired() {
    let tree = Tree::new(&[
        ("sys/class/hwmon/hwmon0/name", "nct6798"),
        ("sys/class/hwmon/hwmon0/temp1_input", "24000"),
        ("sys/class/hwmon/hwmon0/temp1_fault", "1"),
        ("sys/class/hwmon/hwmon0/temp2_input", "35500"),
        ("sys/class/hwmon/hwmon0/temp2_fault", "0"),
    ]);
    let report = tree.doctor();
    assert_eq!(reason(&report, "temp.nct6798_temp1"), ReasonCode::NotWired);
    assert_eq!(value(&report, "temp.nct6798_temp2"), Some(35.5));
}

/// The kernel numbers monitors and cards as it finds them, which differs from boot to boot.
#[test]
fn names_that_repeat_follow_the_device_and_not_the_number() {
    let report = |first: u32, second: u32| {
        let tree = Tree::new(&[]);
        for (number, slot, celsius) in [(first, "01", "41000"), (second, "02", "52000")] {
            let device = format!("devices/pci0000:00/0000:{slot}:00.0");
            let drive = format!("{device}/nvme/nvme{number}/hwmon{number}");
            tree.file(&format!("sys/{drive}/name"), "nvme");
            tree.file(&format!("sys/{drive}/temp1_label"), "Composite");
            tree.file(&format!("sys/{drive}/temp1_input"), celsius);
            tree.link(&format!("sys/class/hwmon/hwmon{number}"), &format!("../../{drive}"));
            tree.file(&format!("sys/{device}/mem_info_vram_used"), celsius);
            tree.file(&format!("sys/{device}/drm/card{number}/dev"), "");
            tree.link(&format!("sys/{device}/drm/card{number}/device"), "../..");
            tree.link(&format!("sys/class/drm/card{number}"), &format!("../../{device}/drm/card{number}"));
        }
        tree.doctor()
    };
    for (first, second) in [(0, 1), (1, 0), (10, 9)] {
        let report = report(first, second);
        assert_eq!(value(&report, "temp.nvme_Composite"), Some(41.0), "{first}");
        assert_eq!(value(&report, "temp.nvme_Composite#2"), Some(52.0), "{first}");
        assert_eq!(value(&report, "gpu0.vram_used"), Some(41_000.0), "{first}");
        assert_eq!(value(&report, "gpu1.vram_used"), Some(52_000.0), "{first}");
    }
}

#[test]
fn a_drive_and_a_card_do_not_stand_in_for_the_processor() {
    let amd = ("proc/cpuinfo", "vendor_id : AuthenticAMD\nflags : fpu\n");
    let others = [
        amd,
        ("sys/class/hwmon/hwmon0/name", "nvme"),
        ("sys/class/hwmon/hwmon0/temp1_input", "41000"),
        ("sys/class/hwmon/hwmon1/name", "amdgpu"),
        ("sys/class/hwmon/hwmon1/temp1_input", "42000"),
        ("sys/class/hwmon/hwmon2/name", "xe"),
        ("sys/class/hwmon/hwmon2/energy1_input", "7000000"),
        ("sys/class/thermal/thermal_zone0/type", "iwlwifi_1"),
        ("sys/class/thermal/thermal_zone0/temp", "43000"),
    ];
    let report = Tree::new(&others).doctor();
    assert_eq!(value(&report, "energy.xe"), Some(7.0));
    for (id, remedy) in
        [("temp.cpu", "sudo modprobe k10temp"), ("energy.package", "sudo modprobe intel_rapl_msr")]
    {
        assert_eq!(reason(&report, id), ReasonCode::NoSuchInterface);
        assert!(row(&report, id).remedy.as_deref().unwrap().starts_with(remedy), "{id}");
    }
    for (id, scope) in [
        ("temp.nvme_temp1", Scope::Machine),
        ("temp.amdgpu_edge", Scope::Gpu),
        ("temp.iwlwifi_1", Scope::Machine),
    ] {
        assert_eq!(row(&report, id).scope, scope, "{id}");
    }
    let own = [
        ("sys/class/hwmon/hwmon3/name", "k10temp"),
        ("sys/class/hwmon/hwmon3/temp1_label", "Tctl"),
        ("sys/class/hwmon/hwmon3/temp1_input", "61000"),
        ("sys/class/powercap/intel-rapl:0/name", "package-0"),
        ("sys/class/powercap/intel-rapl:0/energy_uj", "9000000"),
    ];
    let report = Tree::new(&[&others[..], &own].concat()).doctor();
    assert_eq!(row(&report, "temp.k10temp_Tctl").scope, Scope::Package);
    assert!(!has(&report, "temp.cpu") && !has(&report, "energy.package"));
}

/// What comes out of a file is printed on terminals, which obey some characters.
#[test]
fn nothing_that_a_terminal_obeys_gets_out_of_a_tree() {
    let tree = Tree::new(&[
        ("sys/firmware/devicetree/base/model", "Own\u{1b}[2J\u{9b}1m Board\0"),
        ("sys/firmware/devicetree/base/compatible", "own,\u{7}board\0"),
        ("var/lib/nvpmodel/status", "pmode:0002"),
        ("etc/nvpmodel.conf", "< POWER_MODEL ID=2 NAME=\u{1b}c15W >"),
        ("sys/class/hwmon/hwmon0/name", "ina3221"),
        ("sys/class/hwmon/hwmon0/in1_label", "VDD\u{1b}]0;x\u{7}"),
        ("sys/class/hwmon/hwmon0/in1_input", "5000"),
        ("sys/class/hwmon/hwmon0/curr1_input", "1000"),
        ("sys/class/power_supply/BAT\u{1b}[31m/type", "Battery"),
        ("sys/class/drm/card0/device/mem_info_vram_used", "1"),
        ("sys/class/drm/card0/device/gpu_busy_percent", "\u{1b}[5m"),
    ]);
    tree.link("proc/device-tree", "/sys/firmware/devicetree/base");
    let report = tree.doctor();
    let mut texts = vec![report.board.id, report.board.name.clone(), report.board.power_mode];
    for row in report.channels {
        texts.extend([Some(row.id), Some(row.scope.to_string()), Some(row.source), row.remedy]);
        texts.extend([row.reason.map(|reason| reason.detail)]);
    }
    for text in texts.iter().flatten() {
        assert!(!text.contains(char::is_control), "{text:?}");
    }
    assert_eq!(report.board.name.as_deref(), Some("Own\u{fffd}[2J\u{fffd}1m Board"));
    assert!(
        texts.iter().flatten().any(|text| text.starts_with("rail:VDD\u{fffd}")),
        "the label is among them"
    );
}

#[test]
fn one_processor_behind_two_entries_is_one() {
    let tree = Tree::new(&[("sys/devices/platform/17000000.gpu/load", "250")]);
    for (entry, clock) in [("17000000.gpu", "306000000"), ("gpu", "307000000")] {
        tree.file(&format!("sys/class/devfreq/{entry}/cur_freq"), clock);
        tree.link(&format!("sys/class/devfreq/{entry}/device"), "../../../devices/platform/17000000.gpu");
    }
    tree.file("sys/devices/platform/18000000.gpu/load", "500");
    tree.file("sys/class/devfreq/18000000.gpu/cur_freq", "408000000");
    tree.link("sys/class/devfreq/18000000.gpu/device", "../../../devices/platform/18000000.gpu");
    let report = tree.doctor();
    assert_eq!((value(&report, "gpu0.busy"), value(&report, "gpu0.clock")), (Some(0.25), Some(306e6)));
    assert_eq!(value(&report, "gpu1.busy"), Some(0.5));
    assert!(!has(&report, "gpu2.busy"));
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
