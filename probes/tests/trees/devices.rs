//! Families of machines: what each shows under its own names, and the reason for what it does not show.

use slmscope_profiles::channel::{ReasonCode, Scope};

use crate::tree::{Tree, has, reason, row, value};

/// An accelerator of the class, by its driver.
fn accelerator(driver: &str, files: &[(&str, &str)]) -> Tree {
    let tree = Tree::new(&[]);
    tree.file("sys/class/accel/accel0/device/uevent", "");
    tree.link("sys/class/accel/accel0/device/driver", &format!("../../../../bus/pci/drivers/{driver}"));
    for (file, text) in files {
        tree.file(&format!("sys/class/accel/accel0/device/{file}"), text);
    }
    tree
}

#[test]
fn a_neural_accelerator_says_what_its_driver_tells_and_why_not_the_rest() {
    let intel = accelerator(
        "intel_vpu",
        &[
            ("npu_busy_time_us", "2500000"),
            ("npu_memory_utilization", "4096"),
            ("npu_current_frequency_mhz", "1400"),
        ],
    )
    .doctor();
    assert_eq!(value(&intel, "npu0.busy.time"), Some(2.5));
    assert_eq!(value(&intel, "npu0.memory_used"), Some(4096.0));
    assert_eq!(value(&intel, "npu0.clock"), Some(1.4e9));
    let older = accelerator("intel_vpu", &[]).doctor();
    assert!(row(&older, "npu0.busy").reason.as_ref().unwrap().detail.contains("6.11"));
    for driver in ["amdxdna", "rocket", "ethosu", "qaic"] {
        let report = accelerator(driver, &[]).doctor();
        let told = row(&report, "npu0.busy").reason.clone().unwrap();
        assert!(told.code == ReasonCode::NotSupported && told.detail.contains(driver), "{told}");
        assert!(!has(&report, "npu0.clock"));
    }
    let gaudi = accelerator("habanalabs", &[("clk_cur_freq_mhz", "1650")]).doctor();
    assert_eq!(
        (value(&gaudi, "npu0.clock"), reason(&gaudi, "npu0.busy")),
        (Some(1.65e9), ReasonCode::NotSupported)
    );
    let unknown = accelerator("some_new_driver", &[("npu_busy_time_us", "7")]).doctor();
    assert_eq!(
        reason(&unknown, "npu0.busy"),
        ReasonCode::NotSupported,
        "another driver's file may mean something else"
    );
    let hailo = Tree::new(&[("sys/class/hailo_chardev/hailo0/dev", "510:0")]).doctor();
    assert!(row(&hailo, "npu0.busy").reason.as_ref().unwrap().detail.contains("Hailo"));
}

/// Thor's processor shows its clock and no load, and a monitor at the board's input.
#[test]
fn a_jetson_without_a_load_file_has_its_clock_and_its_input() {
    let report = Tree::new(&[
        ("proc/device-tree/compatible", "nvidia,p3834-0008\0nvidia,tegra264\0"),
        ("sys/class/devfreq/gpu-gpc-0/cur_freq", "1575000000"),
        ("sys/class/hwmon/hwmon0/name", "ina238"),
        ("sys/class/hwmon/hwmon0/power1_input", "41500000"),
        ("sys/class/hwmon/hwmon0/in1_label", "VIN"),
    ])
    .doctor();
    assert_eq!(value(&report, "gpu0.clock"), Some(1.575e9));
    assert_eq!(reason(&report, "gpu0.busy"), ReasonCode::NotSupported);
    assert_eq!(
        (value(&report, "power.board"), &row(&report, "power.board").scope),
        (Some(41.5), &Scope::BoardInput)
    );
}

#[test]
fn cores_have_the_names_of_their_makers() {
    let names = |cpuinfo: &str| {
        let cores = Tree::new(&[("proc/cpuinfo", cpuinfo)]).doctor().board.cores;
        cores.into_iter().map(|kind| (kind.name, kind.cpus)).collect::<Vec<_>>()
    };
    let kind = |name: &str, cpus: &[u32]| (name.to_owned(), cpus.to_vec());
    let arm = |cpu: u32, implementer: &str, part: &str| {
        format!("processor\t: {cpu}\nCPU implementer\t: {implementer}\nCPU part\t: {part}\n\n")
    };
    let m1 = [arm(0, "0x61", "0x022"), arm(1, "0x61", "0x023")].concat();
    assert_eq!(names(&m1), [kind("Icestorm (M1)", &[0]), kind("Firestorm (M1)", &[1])]);
    assert_eq!(names(&arm(0, "0x51", "0x001")), [kind("Oryon", &[0])]);
    let u74 = "processor\t: 0\nhart\t\t: 1\nuarch\t\t: sifive,u74-mc\n";
    assert_eq!(names(u74), [kind("sifive,u74-mc", &[0])]);
}

#[test]
fn boards_with_a_risc_v_processor_are_known() {
    for (compatible, profile) in [
        ("milkv,mars-cm\0starfive,jh7110\0", "jh7110"),
        ("bananapi,bpi-f3\0spacemit,k1\0", "spacemit-k1"),
        ("sifive,hifive-premier-p550\0eswin,eic7700\0", "eic7700"),
        ("sipeed,lichee-pi-4a\0thead,th1520\0", "th1520"),
        ("milkv,pioneer\0sophgo,sg2042\0", "sg2042"),
    ] {
        let report = Tree::new(&[("proc/device-tree/compatible", compatible)]).doctor();
        assert_eq!(report.board.profile.as_deref(), Some(profile));
    }
}

/// Every supply of a server measures what it takes; one in reserve that reads zero leaves no sum.
#[test]
fn supplies_with_pmbus_are_the_machine_together() {
    let report = |watts: [&str; 2]| {
        let tree = Tree::new(&[]);
        for (number, watts) in watts.into_iter().enumerate() {
            let chip = format!("sys/class/hwmon/hwmon{number}");
            tree.file(&format!("{chip}/name"), "cffps2");
            for (input, label, watts) in [(1, "pin", watts), (2, "pout1", "90000000")] {
                tree.file(&format!("{chip}/power{input}_label"), label);
                tree.file(&format!("{chip}/power{input}_input"), watts);
            }
        }
        tree.doctor()
    };
    let both = report(["120000000", "110000000"]);
    assert_eq!(
        (value(&both, "power.board"), &row(&both, "power.board").scope),
        (Some(230.0), &Scope::Platform)
    );
    assert_eq!(row(&both, "power.cffps2_pout1").scope, Scope::Rail("pout1".to_owned()));
    assert_eq!(reason(&report(["120000000", "0"]), "power.board"), ReasonCode::NoSuchInterface);
}
