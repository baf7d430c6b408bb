//! Reads that never return: a driver that hangs costs its own channels and nothing else.

use std::sync::{Arc, Mutex};

use slmscope_profiles::channel::ReasonCode;

use super::Board;
use crate::doctor::doctor;
use crate::hygiene;

const CARD: &str = "sys/class/drm/card0/device";
const XE: &str = "sys/class/drm/card1/device";

/// A machine with a file of each kind that is read while channels are found.
const MACHINE: &[(&str, &str)] = &[
    ("sys/class/power_supply/BAT0/type", "Battery"),
    ("sys/class/power_supply/BAT0/present", "1"),
    ("sys/class/power_supply/BAT0/status", "Discharging"),
    ("sys/class/power_supply/BAT0/power_now", "7000000"),
    ("sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq", "1800000"),
    ("sys/class/powercap/intel-rapl:0/name", "psys"),
    ("sys/class/powercap/intel-rapl:0/energy_uj", "9000000"),
    ("sys/class/hwmon/hwmon0/name", "power_meter"),
    ("sys/class/hwmon/hwmon0/power1_average", "90000000"),
    ("sys/class/hwmon/hwmon1/name", "ina3221"),
    ("sys/class/hwmon/hwmon1/in1_label", "VDD_CPU"),
    ("sys/class/hwmon/hwmon1/in1_enable", "1"),
    ("sys/class/hwmon/hwmon1/in1_input", "5000"),
    ("sys/class/hwmon/hwmon1/curr1_input", "1000"),
    ("sys/class/thermal/thermal_zone0/type", "hung"),
    ("sys/class/thermal/thermal_zone0/temp", "45000"),
    ("sys/class/thermal/thermal_zone0/trip_point_0_type", "passive"),
    ("sys/class/thermal/thermal_zone0/trip_point_0_temp", "95000"),
    ("sys/class/thermal/thermal_zone1/type", "well"),
    ("sys/class/thermal/thermal_zone1/temp", "46000"),
    ("sys/devices/platform/soc/soc:firmware/get_throttled", "0"),
    ("sys/firmware/acpi/platform_profile", "balanced"),
    ("proc/meminfo", "MemTotal: 1000 kB\nMemAvailable: 700 kB\nSwapTotal: 10 kB\nSwapFree: 4 kB\n"),
];

/// Those of its files that never come.
const STUCK: &[&str] = &[
    "sys/class/power_supply/BAT0/present",
    "sys/class/power_supply/BAT0/power_now",
    "sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq",
    "sys/class/powercap/intel-rapl:0/energy_uj",
    "sys/class/hwmon/hwmon0/power1_average",
    "sys/class/hwmon/hwmon1/in1_enable",
    "sys/class/thermal/thermal_zone0/trip_point_0_temp",
    "sys/class/thermal/thermal_zone0/temp",
    "sys/devices/platform/soc/soc:firmware/get_throttled",
    "sys/firmware/acpi/platform_profile",
    "sys/class/drm/card0/device/gpu_busy_percent",
    "sys/class/drm/card0/device/gpu_metrics",
    "sys/class/drm/card1/device/hwmon/hwmon9/energy1_input",
];

#[test]
fn what_hangs_while_channels_are_found_is_late_and_the_rest_is_there() {
    let board = Board::new(MACHINE);
    for (file, text) in [("gpu_busy_percent", "40"), ("gpu_metrics", ""), ("mem_info_vram_used", "1000")] {
        board.set(&format!("{CARD}/{file}"), text);
    }
    board.set(&format!("{XE}/tile0/gt0/freq0/act_freq"), "400");
    board.set(&format!("{XE}/hwmon/hwmon9/energy1_input"), "1");
    let never = Arc::new(Mutex::new(()));
    let held = never.lock().unwrap();
    let mut root = board.root();
    root.stuck.0 = STUCK.to_vec();
    root.stuck.1 = never.clone();

    // Finding them takes longer than reading may; what can be read is read all the same.
    let report = doctor(&root, None);
    let row = |id: &str| {
        let row = report.channels.iter().find(|row| row.id == id);
        let row = row.unwrap_or_else(|| panic!("no `{id}`"));
        row.value.ok_or_else(|| row.reason.as_ref().unwrap().code)
    };
    for id in [
        "power.battery.BAT0",
        "freq.cpu0",
        "energy.psys",
        "power.power_meter_power1",
        "temp.hung",
        "throttle.under_voltage",
        "gpu0.busy",
        "gpu1.energy",
    ] {
        assert_eq!(row(id), Err(ReasonCode::Deadline), "{id}");
    }
    for (id, value) in [
        ("temp.well", 46.0),
        ("power.rail.VDD_CPU", 5.0),
        ("gpu0.vram_used", 1000.0),
        ("gpu1.clock", 4e8),
        ("mem.available", 716_800.0),
    ] {
        assert_eq!(row(id), Ok(value), "{id}");
    }
    assert_eq!(row("power.board"), Err(ReasonCode::NoSuchInterface), "nothing is made of what hangs");

    let readings = hygiene::read(&root);
    assert_eq!((readings.max_celsius, readings.throttled_now, readings.platform_profile), (None, None, None));
    assert_eq!(readings.swap_used, Some(6144));
    drop(held);
}
