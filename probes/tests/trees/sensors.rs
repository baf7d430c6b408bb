//! Thermal zones and hardware monitors of captured trees.

use slmscope_profiles::channel::{Class, ReasonCode, Scope};

use super::tree::{Tree, has, reason, row, value};

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
