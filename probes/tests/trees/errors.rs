//! What the error numbers of drivers mean, and that one file that fails costs none of its siblings. A capture's list
//! of failures makes reads fail that no ordinary file system fails.

use slmscope_profiles::channel::ReasonCode;

use crate::tree::{Tree, has, reason, row, value};

/// A machine on which a file of each kind fails, beside one that does not.
const FAILING: &[(&str, &str)] = &[
    ("sys/class/powercap/intel-rapl:0/name", "package-0"),
    ("sys/class/powercap/intel-rapl:0/energy_uj", ""),
    ("sys/class/powercap/intel-rapl:1/name", "package-1"),
    ("sys/class/powercap/intel-rapl:1/energy_uj", "7000000"),
    ("sys/class/hwmon/hwmon0/name", "ina3221"),
    ("sys/class/hwmon/hwmon0/in1_label", "VDD_IN"),
    ("sys/class/hwmon/hwmon0/in1_input", "5000"),
    ("sys/class/hwmon/hwmon0/curr1_input", "1000"),
    ("sys/class/hwmon/hwmon0/in2_label", "VDD_SOC"),
    ("sys/class/hwmon/hwmon0/in2_input", "5000"),
    ("sys/class/hwmon/hwmon0/curr2_input", ""),
    ("sys/devices/system/cpu/present", "0-1"),
    ("sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq", "1800000"),
    ("sys/devices/system/cpu/cpufreq/policy1/scaling_cur_freq", ""),
    ("proc/pressure/cpu", ""),
    ("sys/class/power_supply/BAT0/type", "Battery"),
    ("sys/class/power_supply/BAT0/status", "Discharging"),
    ("sys/class/power_supply/BAT0/power_now", ""),
    ("sys/class/drm/card0/device/gpu_busy_percent", ""),
    ("sys/class/drm/card0/device/mem_info_vram_used", "4096"),
    ("sys/class/hwmon/hwmon1/name", "thinkpad"),
    ("sys/class/hwmon/hwmon1/fan1_input", ""),
    (
        "slmscope-failures",
        "open 13 sys/class/powercap/intel-rapl:0/energy_uj\n\
         read 5 sys/class/hwmon/hwmon0/curr2_input\n\
         read 16 sys/devices/system/cpu/cpufreq/policy1/scaling_cur_freq\n\
         read 95 proc/pressure/cpu\n\
         read 19 sys/class/power_supply/BAT0/power_now\n\
         read 6 sys/class/hwmon/hwmon1/fan1_input\n\
         read 22 sys/class/drm/card0/device/gpu_busy_percent\n\
         read 11 sys/class/thermal/thermal_zone1/temp\n\
         read 22 sys/class/thermal/thermal_zone2/temp\n\
         read 61 sys/class/thermal/thermal_zone3/temp\n",
    ),
];

#[test]
fn each_error_number_has_its_meaning_and_costs_only_its_own_file() {
    let tree = Tree::new(FAILING);
    for (zone, name, text) in
        [(0, "cpu-thermal", "45000"), (1, "cv0-thermal", ""), (2, "soc-thermal", ""), (3, "iwlwifi", "")]
    {
        tree.file(&format!("sys/class/thermal/thermal_zone{zone}/type"), name);
        tree.file(&format!("sys/class/thermal/thermal_zone{zone}/temp"), text);
    }
    let report = tree.doctor();
    for (id, code) in [
        ("energy.package-0", ReasonCode::Permission),
        ("power.rail.VDD_SOC", ReasonCode::NotWired),
        ("freq.cpu1", ReasonCode::Offline),
        ("psi.cpu.some", ReasonCode::NotSupported),
        // The file is there: the firmware does not know the rate.
        ("power.battery.BAT0", ReasonCode::NotSupported),
        ("fan.thinkpad_fan1", ReasonCode::ReadError),
        ("gpu0.busy", ReasonCode::ReadError),
        ("temp.cv0-thermal", ReasonCode::GatedOrAsleep),
        ("temp.soc-thermal", ReasonCode::ReadError),
        ("temp.iwlwifi", ReasonCode::ReadError),
    ] {
        assert_eq!(reason(&report, id), code, "{id}");
    }
    let detail = |id: &str| row(&report, id).reason.clone().unwrap().detail;
    assert!(detail("fan.thinkpad_fan1").ends_with("fan1_input: No such device or address"));
    assert!(detail("power.battery.BAT0").ends_with("power_now: No such device"));
    assert!(row(&report, "energy.package-0").remedy.as_deref().unwrap().contains("chgrp"));
    for (id, expected) in [
        ("energy.package-1", 7.0),
        ("power.rail.VDD_IN", 5.0),
        ("freq.cpu0", 1.8e9),
        ("gpu0.vram_used", 4096.0),
        ("temp.cpu-thermal", 45.0),
    ] {
        assert_eq!(value(&report, id), Some(expected), "{id}");
    }
}

#[test]
fn a_table_of_the_firmware_tells_what_a_file_refuses() {
    let tree = Tree::new(&[
        ("sys/class/drm/card0/device/gpu_busy_percent", ""),
        ("sys/class/drm/card0/device/mem_info_vram_used", "4096"),
        ("slmscope-failures", "read 22 sys/class/drm/card0/device/gpu_busy_percent\n"),
    ]);
    let mut table = vec![0xff; 120];
    table[..4].copy_from_slice(&[120, 0, 1, 3]);
    table[16..18].copy_from_slice(&[42, 0]);
    std::fs::write(tree.path().join("sys/class/drm/card0/device/gpu_metrics"), table).unwrap();
    let report = tree.doctor();
    assert_eq!(value(&report, "gpu0.busy"), Some(0.42));
    assert_eq!(reason(&report, "gpu0.power"), ReasonCode::NotSupported);
    assert_eq!(reason(&report, "throttle.gpu0.thermal"), ReasonCode::NotSupported);
}

/// Most systems let only root into debugfs.
#[test]
fn what_is_behind_a_closed_folder_is_locked_and_not_missing() {
    let closed = [
        ("sys/kernel/debug/cactmon/mc_all", ""),
        ("sys/kernel/debug/bpmp/debug/clk/emc/rate", ""),
        ("sys/kernel/debug/rknpu/load", ""),
        (
            "slmscope-failures",
            "reach 13 sys/kernel/debug/cactmon/mc_all\n\
             reach 13 sys/kernel/debug/bpmp/debug/clk/emc/rate\n\
             reach 13 sys/kernel/debug/rknpu/load\n",
        ),
    ];
    let report = |files: &[(&str, &str)]| Tree::new(&[&closed, files].concat()).doctor();
    let jetson = report(&[("proc/device-tree/compatible", "nvidia,p3768\0nvidia,tegra234\0")]);
    assert_eq!(reason(&jetson, "membw.emc.busy"), ReasonCode::Permission);
    let remedy = row(&jetson, "membw.emc.busy").remedy.as_deref().unwrap();
    assert!(remedy.starts_with("sudo chgrp ") && remedy.contains("/sys/kernel/debug"), "{remedy}");
    let older = report(&[("sys/kernel/actmon_avg_activity/mc_all", "1000")]);
    assert_eq!(reason(&older, "membw.emc.busy"), ReasonCode::Permission, "the clock is behind it");
    assert!(row(&older, "membw.emc.busy").source.ends_with("emc/rate"));
    let rockchip = report(&[("sys/class/devfreq/fdab0000.npu/cur_freq", "1000000000")]);
    assert_eq!(reason(&rockchip, "npu0.busy"), ReasonCode::Permission);
    assert!(row(&rockchip, "npu0.busy").remedy.as_deref().unwrap().contains("/sys/kernel/debug"));
    assert_eq!(value(&rockchip, "npu0.clock"), Some(1e9));
    assert!(!has(&report(&[]), "membw.emc.busy"), "other machines have none to unlock");
}

#[test]
fn a_slot_without_a_battery_is_no_battery_that_went_away() {
    let tree = Tree::new(&[
        ("sys/class/power_supply/qcom-bat/type", "Battery"),
        ("sys/class/power_supply/qcom-bat/present", ""),
        ("sys/class/power_supply/qcom-bat/status", ""),
        ("sys/class/power_supply/qcom-bat/power_now", ""),
        (
            "slmscope-failures",
            "read 19 sys/class/power_supply/qcom-bat/present\n\
             read 19 sys/class/power_supply/qcom-bat/status\n\
             read 19 sys/class/power_supply/qcom-bat/power_now\n",
        ),
    ]);
    let report = tree.doctor();
    let reason = row(&report, "power.battery").reason.clone().unwrap();
    assert_eq!((reason.code, reason.detail.as_str()), (ReasonCode::NoSuchInterface, "no battery is fitted"));
}
