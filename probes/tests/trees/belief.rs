//! Which values are believed: for each rule a tree where it speaks, and one where it stays silent.

use slmscope_profiles::channel::{Class, ReasonCode, Scope};

use crate::tree::{Tree, has, reason, row, value};

/// A chip with temperatures in m°C, by label.
fn temperatures(tree: &Tree, number: u32, driver: &str, inputs: &[(&str, &str)]) {
    let chip = format!("sys/class/hwmon/hwmon{number}");
    tree.file(&format!("{chip}/name"), driver);
    for (at, (label, value)) in inputs.iter().enumerate() {
        let input = at + 1;
        tree.file(&format!("{chip}/temp{input}_input"), value);
        if !label.is_empty() {
            tree.file(&format!("{chip}/temp{input}_label"), label);
        }
    }
}

fn zone(tree: &Tree, number: u32, kind: &str, millidegrees: &str) {
    tree.file(&format!("sys/class/thermal/thermal_zone{number}/type"), kind);
    tree.file(&format!("sys/class/thermal/thermal_zone{number}/temp"), millidegrees);
}

#[test]
fn what_means_that_nothing_is_connected_is_no_temperature() {
    let tree = Tree::new(&[]);
    temperatures(&tree, 0, "asusec", &[("CPU", "62000"), ("T_Sensor", "-40000"), ("Water_In", "-55000")]);
    temperatures(&tree, 1, "thinkpad", &[("CPU", "71000"), ("GPU", "0"), ("", "-128000")]);
    temperatures(&tree, 2, "nct6775", &[("SYSTIN", "39000"), ("AUXTIN0", "-128000"), ("PCH_CHIP_TEMP", "0")]);
    zone(&tree, 0, "mtkts_bts1", "125000");
    zone(&tree, 1, "cpu-thermal", "0");
    let report = tree.doctor();
    for id in ["temp.asusec_T_Sensor", "temp.asusec_Water_In", "temp.thinkpad_GPU", "temp.thinkpad_temp3"] {
        assert_eq!(reason(&report, id), ReasonCode::NotWired, "{id}");
    }
    for id in ["temp.nct6775_AUXTIN0", "temp.mtkts_bts1"] {
        assert_eq!(reason(&report, id), ReasonCode::NotWired, "{id}");
    }
    for id in ["temp.nct6775_PCH_CHIP_TEMP", "temp.cpu-thermal"] {
        assert_eq!(reason(&report, id), ReasonCode::Implausible, "{id}");
    }
    for (id, expected) in
        [("temp.asusec_CPU", 62.0), ("temp.thinkpad_CPU", 71.0), ("temp.nct6775_SYSTIN", 39.0)]
    {
        assert_eq!(value(&report, id), Some(expected), "{id}");
    }
}

/// It was started outside at 4 °C, with a drive and a thermometer in the frost.
#[test]
fn a_cold_board_is_believed() {
    let tree = Tree::new(&[]);
    temperatures(&tree, 0, "coretemp", &[("Package id 0", "6000"), ("Core 0", "4000"), ("Core 1", "5000")]);
    temperatures(&tree, 1, "nct6775", &[("SYSTIN", "-3000"), ("AUXTIN0", "-39500")]);
    temperatures(&tree, 2, "drivetemp", &[("", "0")]);
    temperatures(&tree, 3, "sht3x", &[("", "-40000")]);
    zone(&tree, 0, "cpu-thermal", "4000");
    let report = tree.doctor();
    for (id, expected) in [
        ("temp.coretemp_Core_0", 4.0),
        ("temp.nct6775_SYSTIN", -3.0),
        ("temp.nct6775_AUXTIN0", -39.5),
        ("temp.drivetemp_temp1", 0.0),
        ("temp.sht3x_temp1", -40.0),
        ("temp.cpu-thermal", 4.0),
    ] {
        assert_eq!(value(&report, id), Some(expected), "{id}");
    }
}

#[test]
fn a_sensor_far_below_all_others_of_the_processor_is_not_believed() {
    let report = |cold: &str, warm: &str| {
        let tree = Tree::new(&[]);
        temperatures(&tree, 0, "coretemp", &[("Core 0", cold), ("Core 1", warm), ("Core 2", "71000")]);
        tree.doctor()
    };
    assert_eq!(reason(&report("1000", "58000"), "temp.coretemp_Core_0"), ReasonCode::Implausible);
    assert_eq!(value(&report("1000", "58000"), "temp.coretemp_Core_1"), Some(58.0));
    assert_eq!(value(&report("14000", "48000"), "temp.coretemp_Core_0"), Some(14.0), "34 K below");
    assert_eq!(value(&report("16000", "70000"), "temp.coretemp_Core_0"), Some(16.0), "not cold");
    assert_eq!(value(&report("1000", "30000"), "temp.coretemp_Core_0"), Some(1.0), "29 K below");
}

#[test]
fn a_zone_is_on_the_processor_only_if_its_name_says_so() {
    let tree = Tree::new(&[("sys/class/power_supply/soc-gauge/type", "Unknown")]);
    let zones =
        ["mtktscpu", "mtktspmic", "quiet-thermal", "soc-gauge", "cluster1-thermal", "vendor_zone", "battery"];
    for (number, kind) in (0..).zip(zones) {
        zone(&tree, number, kind, "41000");
    }
    temperatures(&tree, 0, "120e0000.tmon", &[("", "36300")]);
    temperatures(&tree, 1, "scmi_sensors", &[("CPU_B0", "40000"), ("PCB_HOT", "39000")]);
    temperatures(
        &tree,
        2,
        "ibmpowernv",
        &[("Chip 8 Core 136", "38000"), ("Chip 0 DIMM 1", "0"), ("Ambient", "20000")],
    );
    let report = tree.doctor();
    for (id, scope) in [
        ("temp.mtktscpu", Scope::Package),
        ("temp.mtktspmic", Scope::Machine),
        ("temp.quiet-thermal", Scope::Machine),
        ("temp.soc-gauge", Scope::Machine),
        ("temp.cluster1-thermal", Scope::Package),
        ("temp.vendor_zone", Scope::Machine),
        ("temp.battery", Scope::Machine),
        ("temp.120e0000.tmon_temp1", Scope::Package),
        ("temp.scmi_sensors_CPU_B0", Scope::Package),
        ("temp.scmi_sensors_PCB_HOT", Scope::Machine),
        ("temp.ibmpowernv_Chip_8_Core_136", Scope::Package),
        ("temp.ibmpowernv_Ambient", Scope::Machine),
    ] {
        assert_eq!(row(&report, id).scope, scope, "{id}");
    }
    assert_eq!(reason(&report, "temp.ibmpowernv_Chip_0_DIMM_1"), ReasonCode::NotWired);
}

#[test]
fn a_control_scale_is_no_measured_temperature() {
    let class = |family: &str, labels: &[(&str, &str)], id: &str| {
        let tree = Tree::new(&[]);
        tree.file("proc/cpuinfo", &format!("vendor_id\t: AuthenticAMD\ncpu family\t: {family}\n"));
        temperatures(&tree, 0, "k10temp", labels);
        row(&tree.doctor(), id).class
    };
    assert_eq!(class("21", &[("", "12500")], "temp.k10temp_temp1"), Class::Reported);
    assert_eq!(class("25", &[("Tctl", "52500")], "temp.k10temp_Tctl"), Class::Measured);
    let offset = [("Tctl", "79500"), ("Tdie", "52500")];
    assert_eq!(class("23", &offset, "temp.k10temp_Tctl"), Class::Reported, "Threadripper adds 27 K");
    assert_eq!(class("23", &offset, "temp.k10temp_Tdie"), Class::Measured);
}

/// A chip with powers in µW, by label.
fn powers(tree: &Tree, number: u32, driver: &str, inputs: &[(&str, &str)]) {
    let chip = format!("sys/class/hwmon/hwmon{number}");
    tree.file(&format!("{chip}/name"), driver);
    for (at, (label, value)) in inputs.iter().enumerate() {
        tree.file(&format!("{chip}/power{}_input", at + 1), value);
        if !label.is_empty() {
            tree.file(&format!("{chip}/power{}_label", at + 1), label);
        }
    }
}

#[test]
fn drivers_of_processor_power_are_known_by_their_labels() {
    let tree = Tree::new(&[]);
    powers(
        &tree,
        0,
        "ibmpowernv",
        &[("System", "286000000"), ("Chip 0", "48000000"), ("Chip 0 Vdd", "23000000")],
    );
    powers(&tree, 1, "fam15h_power", &[("", "61000000")]);
    powers(&tree, 2, "zenpower", &[("SVI2_P_Core", "9000000"), ("SVI2_P_SoC", "6000000")]);
    powers(&tree, 3, "macsmc_hwmon", &[("Total System Power", "11200000"), ("Heatpipe Power", "4200000")]);
    let report = tree.doctor();
    for (id, scope, class) in [
        ("power.ibmpowernv_System", Scope::BoardInput, Class::Measured),
        ("power.ibmpowernv_Chip_0", Scope::Package, Class::Measured),
        ("power.ibmpowernv_Chip_0_Vdd", Scope::Rail("Chip 0 Vdd".to_owned()), Class::Measured),
        ("power.fam15h_power_power1", Scope::Package, Class::Measured),
        ("power.zenpower_SVI2_P_Core", Scope::Cores, Class::Measured),
        ("power.zenpower_SVI2_P_SoC", Scope::Rail("SVI2_P_SoC".to_owned()), Class::Measured),
        ("power.macsmc_hwmon_Total_System_Power", Scope::BoardInput, Class::Measured),
        ("power.macsmc_hwmon_Heatpipe_Power", Scope::Rail("Heatpipe Power".to_owned()), Class::Reported),
    ] {
        let row = row(&report, id);
        assert_eq!((&row.scope, row.class), (&scope, class), "{id}");
    }
}

/// An accelerator card with two monitors of one device.
fn card(driver: &str, microwatts: &str) -> Tree {
    const DEVICE: &str = "sys/devices/pci0000:00/0000:01:00.0";
    let tree = Tree::new(&[]);
    tree.file(&format!("{DEVICE}/class"), "0x120000");
    for monitor in ["hwmon0", "hwmon1"] {
        let folder = format!("{DEVICE}/hwmon/{monitor}");
        tree.file(&format!("{folder}/name"), driver);
        tree.file(&format!("{folder}/power1_input"), microwatts);
        tree.file(&format!("{folder}/temp1_input"), "33800");
        tree.link(&format!("{folder}/device"), "../..");
        tree.link(
            &format!("sys/class/hwmon/{monitor}"),
            &format!("../../devices/pci0000:00/0000:01:00.0/hwmon/{monitor}"),
        );
    }
    tree
}

#[test]
fn an_accelerator_card_is_one_card_and_bound_by_what_it_can_draw() {
    for driver in ["wormhole", "some_new_accelerator"] {
        let report = card(driver, "22000000").doctor();
        let (power, heat) = (format!("power.{driver}_power1"), format!("temp.{driver}_temp1"));
        assert_eq!((value(&report, &power), &row(&report, &power).scope), (Some(22.0), &Scope::Gpu));
        assert_eq!(row(&report, &heat).scope, Scope::Gpu);
        assert!(!has(&report, &format!("{power}#2")) && !has(&report, &format!("{heat}#2")));
    }
    assert_eq!(
        reason(&card("blackhole", "4080000000").doctor(), "power.blackhole_power1"),
        ReasonCode::Implausible
    );
    assert_eq!(value(&card("blackhole", "3000000").doctor(), "power.blackhole_power1"), Some(3.0), "idle");
    assert_eq!(
        reason(&card("blackhole", "1000").doctor(), "power.blackhole_power1"),
        ReasonCode::Implausible
    );
}

#[test]
fn the_second_die_of_a_card_is_counted_by_the_first() {
    let die = |device: &str, microwatts: &str| {
        let tree = Tree::new(&[]);
        for (file, text) in [
            ("device", device),
            ("gpu_busy_percent", "0"),
            ("hwmon/hwmon0/name", "amdgpu"),
            ("hwmon/hwmon0/power1_average", microwatts),
        ] {
            tree.file(&format!("sys/class/drm/card0/device/{file}"), text);
        }
        tree.doctor()
    };
    let second = die("0x7408", "0");
    let told = row(&second, "gpu0.power").reason.clone().unwrap();
    assert!(told.code == ReasonCode::NotSupported && told.detail.contains("other die"), "{told}");
    assert_eq!(value(&die("0x7408", "89000000"), "gpu0.power"), Some(89.0));
    assert_eq!(reason(&die("0x73bf", "0"), "gpu0.power"), ReasonCode::Implausible, "a card with one die");
    assert_eq!(value(&die("0x73bf", "3000000"), "gpu0.power"), Some(3.0), "a card that is idle");
}

#[test]
fn inputs_of_a_monitor_without_labels_are_listed_by_number() {
    let tree = Tree::new(&[("sys/class/hwmon/hwmon0/name", "ina3221")]);
    for (input, volts, amperes) in [(1, "5112", "820"), (2, "4096", "-112"), (3, "0", "0")] {
        tree.file(&format!("sys/class/hwmon/hwmon0/in{input}_input"), volts);
        tree.file(&format!("sys/class/hwmon/hwmon0/curr{input}_input"), amperes);
    }
    tree.file("sys/class/hwmon/hwmon0/in4_input", "82000");
    let report = tree.doctor();
    for (id, watts) in [
        ("power.rail.ina3221_1", 4.19184),
        ("power.rail.ina3221_2", -0.458_752),
        ("power.rail.ina3221_3", 0.0),
    ] {
        assert_eq!(value(&report, id), Some(watts), "{id}");
        assert_eq!(row(&report, id).class, Class::Derived);
    }
    assert!(!has(&report, "power.rail.ina3221_4"), "a shunt voltage");
    assert_eq!(reason(&report, "power.board"), ReasonCode::NoSuchInterface);
}

#[test]
fn a_source_names_the_file_that_is_read() {
    let tree = Tree::new(&[
        ("sys/class/power_supply/BAT0/type", "Battery"),
        ("sys/class/power_supply/BAT0/status", "Discharging"),
        ("sys/class/power_supply/BAT0/power_now", "9000000"),
        ("sys/class/power_supply/BAT0/current_now", "1000000"),
        ("sys/class/power_supply/BAT0/voltage_now", "12000000"),
        ("proc/cpuinfo", "CPU MHz\t\t: 2500.00\n"),
    ]);
    let report = tree.doctor();
    let pack = row(&report, "power.battery.BAT0");
    assert_eq!((pack.class, pack.value), (Class::Measured, Some(9.0)));
    assert!(pack.source.ends_with("/BAT0/power_now"), "{}", pack.source);
    let clock = row(&report, "freq.cpu0").reason.clone().unwrap();
    assert!(clock.detail.contains("nominal"), "{clock}");
}
