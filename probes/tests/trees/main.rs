//! What the probes make of captured trees: small ones, each with the traps of one kind of machine, and real
//! ones where they are at hand.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests")]

use std::fs;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use slmscope_profiles::channel::{Class, ReasonCode};

mod belief;
mod boards;
mod cases;
mod devices;
mod errors;
mod expected;
mod power;
mod random;
mod sensors;
mod tree;
use tree::{Tree, has, reason, row, value};

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
