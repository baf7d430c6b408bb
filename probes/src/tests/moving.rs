//! Boards that are moved on by the test: sensors, clocks and loads.

use std::sync::Arc;

use slmscope_profiles::channel::{Class, ReasonCode, Scope, Value, rate};

use super::Board;

const SECOND: u64 = 1_000_000_000;

#[test]
fn monitors_of_bandwidth_answer_in_words_at_times() {
    let file = |domain: u32| format!("sys/fs/resctrl/mon_data/mon_L3_0{domain}/mbm_total_bytes");
    let board = Board::new(&[(&file(0), "Unavailable\n"), (&file(1), "4096\n")]);
    board.set("sys/fs/resctrl/mine/mon_data/mon_L3_01/mbm_total_bytes", "1000\n");
    board.set("sys/fs/resctrl/mon_groups/m/mon_data/mon_L3_01/mbm_total_bytes", "7\n");
    let mut machine = board.start();
    let values = machine.read();
    assert_eq!(values["membw.L3-00.bytes"], Value::Absent(ReasonCode::ReadError));
    assert_eq!(values["membw.L3-01.bytes"], Value::Present(5096.0), "control groups, not the groups in them");
    assert_eq!(values["membw.dram.bytes"], Value::Absent(ReasonCode::ReadError), "half is not the machine");
    board.set(&file(0), "64\n");
    assert_eq!(machine.read()["membw.dram.bytes"], Value::Present(5160.0));
}

#[test]
fn activity_of_the_memory_is_a_share_and_not_bytes() {
    let board = Board::new(&[
        ("sys/kernel/actmon_avg_activity/mc_all", "319900\n"),
        ("sys/kernel/debug/bpmp/debug/clk/emc/rate", "3199000000\n"),
        ("sys/class/devfreq/dmc/load", "11@528000000Hz\n"),
        ("sys/class/devfreq/dmc/cur_freq", "528000000\n"),
    ]);
    let mut machine = board.start();
    let values = machine.read();
    assert_eq!(values["membw.emc.busy"], Value::Present(0.1));
    assert_eq!(values["membw.dmc.busy"], Value::Present(0.11));
    assert_eq!(values["freq.dmc"], Value::Present(528e6));
    assert_eq!(machine.channel("membw.emc.busy").class, Class::Modelled);
    assert!(machine.channel("membw.dram").reason.is_some());
    board.set("sys/kernel/debug/bpmp/debug/clk/emc/rate", "0\n");
    board.set("sys/class/devfreq/dmc/load", "300@528000000Hz\n");
    let values = machine.read();
    assert_eq!(values["membw.emc.busy"], Value::Absent(ReasonCode::GatedOrAsleep));
    assert_eq!(values["membw.dmc.busy"], Value::Absent(ReasonCode::Implausible));
}

#[test]
fn zones_are_switched_off_and_vanish_one_by_one() {
    let zone = |number: u32, file: &str| format!("sys/class/thermal/thermal_zone{number}/{file}");
    let board = Board::new(&[]);
    for number in 0..3 {
        board.set(&zone(number, "type"), "cpu-thermal");
        board.set(&zone(number, "temp"), "45000");
        board.set(&zone(number, "mode"), "enabled");
    }
    board.set(&zone(0, "trip_point_0_type"), "active");
    board.set(&zone(0, "trip_point_0_temp"), "50000");
    board.set(&zone(0, "trip_point_1_type"), "passive");
    board.set(&zone(0, "trip_point_1_temp"), "95000");
    board.set(&zone(0, "trip_point_2_type"), "passive");
    board.set(&zone(0, "trip_point_2_temp"), "-273150");
    board.set(&zone(1, "trip_point_0_type"), "passive");
    board.set(&zone(1, "trip_point_0_temp"), "65261850");
    let mut machine = board.start();
    assert_eq!(machine.read()["throttle.cpu-thermal.margin"], Value::Present(50.0));
    assert!(!machine.channels.iter().any(|channel| channel.id == "throttle.cpu-thermal.margin#2"));
    board.set(&zone(0, "temp"), "");
    board.set(&zone(1, "mode"), "disabled");
    board.set(&zone(2, "temp"), "-256000");
    let values = machine.read();
    assert_eq!(values["temp.cpu-thermal"], Value::Absent(ReasonCode::GatedOrAsleep));
    assert_eq!(values["throttle.cpu-thermal.margin"], Value::Absent(ReasonCode::GatedOrAsleep));
    assert_eq!(values["temp.cpu-thermal#2"], Value::Absent(ReasonCode::GatedOrAsleep));
    assert_eq!(values["temp.cpu-thermal#3"], Value::Absent(ReasonCode::Implausible));
}

#[test]
fn throttling_is_counted_per_package_and_seen_in_cooling_devices_and_limits() {
    let cpu = |number: u32, file: &str| format!("sys/devices/system/cpu/cpu{number}/{file}");
    let board = Board::new(&[("sys/devices/system/cpu/present", "0-3")]);
    for number in 0..4 {
        // Core numbers repeat in the second package.
        board.set(&cpu(number, "topology/thread_siblings_list"), &number.to_string());
        board.set(&cpu(number, "topology/core_id"), &(number % 2).to_string());
        board.set(&cpu(number, "topology/physical_package_id"), &(number / 2).to_string());
        board.set(&cpu(number, "thermal_throttle/core_throttle_count"), &number.to_string());
        board.set(&cpu(number, "thermal_throttle/package_throttle_count"), &(10 + number / 2).to_string());
        board.set(&cpu(number, "thermal_throttle/package_throttle_total_time_ms"), "1500");
        board.set(&cpu(number, "cpufreq/scaling_max_freq"), "1200000");
        board.set(&cpu(number, "cpufreq/cpuinfo_max_freq"), "2400000");
    }
    let cooling = |number: u32, file: &str| format!("sys/class/thermal/cooling_device{number}/{file}");
    for (number, kind) in [(0, "Processor"), (1, "Fan"), (2, "intel_powerclamp"), (3, "cpufreq-cpu0")] {
        board.set(&cooling(number, "type"), kind);
        board.set(&cooling(number, "cur_state"), if number == 2 { "-1" } else { "3" });
    }
    board.set("sys/class/hwmon/hwmon0/name", "soctherm_oc");
    board.set("sys/class/hwmon/hwmon0/oc1_event_cnt", "4");
    let mut machine = board.start();
    let values = machine.read();
    assert_eq!(values["throttle.package-1"], Value::Present(11.0));
    assert_eq!(values["throttle.package-0.time"], Value::Present(1.5));
    assert_eq!(values["throttle.cpu3.core"], Value::Present(3.0));
    assert_eq!(values["throttle.cooling.Processor"], Value::Present(3.0));
    assert_eq!(values["throttle.cooling.cpufreq-cpu0"], Value::Present(3.0));
    assert_eq!(values["throttle.cpu0.limit"], Value::Present(0.5));
    assert_eq!(values["throttle.over_current1"], Value::Present(4.0));
    assert_eq!(values.keys().filter(|id| id.starts_with("throttle.cooling")).count(), 2);
    board.set(&cooling(0, "cur_state"), "x");
    assert_eq!(machine.read()["throttle.cooling.Processor"], Value::Absent(ReasonCode::Implausible));
}

#[test]
fn a_v3d_s_queues_move_on() {
    let path = "sys/devices/platform/axi/1002000000.v3d/gpu_stats";
    let text = |render: u64, csd: u64| {
        format!("queue\ttimestamp\tjobs\truntime\nbin\t9\t1\t1\nrender\t9\t1\t{render}\ncsd\t9\t1\t{csd}\n")
    };
    let board = Board::new(&[(path, &text(0, 0))]);
    let mut machine = board.start();
    let first = machine.read()["gpu0.busy.time"];
    assert_eq!(first, Value::Present(0.0), "a processor that did nothing is measured");
    board.set(path, &text(250_000_000, 250_000_000));
    let second = machine.read()["gpu0.busy.time"];
    assert_eq!(rate((0, first.get().unwrap()), (SECOND, second.get().unwrap()), None), Some(0.5));
    board.set(path, "queue\ttimestamp\tjobs\truntime\n");
    assert_eq!(machine.read()["gpu0.busy.time"], Value::Absent(ReasonCode::Implausible));
}

#[test]
fn processors_of_boards_are_found_once_with_their_load() {
    let devfreq = |device: &str, file: &str| format!("sys/class/devfreq/{device}/{file}");
    let board = Board::new(&[
        (&devfreq("15480000.nvdec", "cur_freq"), "115200000"),
        (&devfreq("15480000.nvdec", "device/load"), "500"),
        (&devfreq("17000000.ga10b", "cur_freq"), "306000000"),
        (&devfreq("17000000.ga10b", "device/load"), "421"),
        (&devfreq("fb000000.gpu", "load"), "12@300000000Hz"),
        (&devfreq("fb000000.gpu", "cur_freq"), "300000000"),
        (&devfreq("ffe40000.gpu", "cur_freq"), "500000000"),
        (&devfreq("ffe40000.gpu", "device/profiling"), "0"),
        ("sys/class/kgsl/kgsl-3d0/gpu_busy_percentage", "12 %"),
        ("sys/class/kgsl/kgsl-3d0/gpuclk", "585000000"),
        ("sys/class/kgsl/kgsl-3d0/temp", "45000"),
    ]);
    board.link("sys/devices/gpu.0", "../class/devfreq/17000000.ga10b/device");
    let mut machine = board.start();
    let values = machine.read();
    assert_eq!(values["gpu0.busy"], Value::Present(0.421));
    assert_eq!(values["gpu1.busy"], Value::Present(0.12));
    assert_eq!(values["gpu2.clock"], Value::Present(500e6));
    let reason = machine.channel("gpu2.busy").reason.clone().unwrap();
    assert_eq!(reason.code, ReasonCode::NotSupported);
    assert!(reason.detail.contains("profiling is off"));
    assert_eq!(values["gpu3.busy"], Value::Present(0.12));
    assert_eq!(values["temp.gpu3"], Value::Present(45.0));
    assert!(!machine.channels.iter().any(|channel| channel.id.starts_with("gpu4.")));
}

#[test]
fn a_kernel_s_own_names_do_not_reach_the_sensors_that_repeat_others() {
    let chip = |number: u32, file: &str| format!("sys/class/hwmon/hwmon{number}/{file}");
    let board = Board::new(&[
        (&chip(0, "name"), "power_meter"),
        (&chip(0, "power1_average"), "98000000"),
        (&chip(0, "device/power1_oem_info"), "Grace Power Socket 0"),
        (&chip(1, "name"), "power_meter"),
        (&chip(1, "power1_average"), "130000000"),
        (&chip(1, "device/power1_oem_info"), "Module Power Socket 0"),
        (&chip(2, "name"), "power_meter"),
        (&chip(2, "power1_average"), "51000000"),
        (&chip(2, "device/power1_oem_info"), "CPU Power Socket 0"),
        (&chip(3, "name"), "scmi_sensors"),
        (&chip(3, "power1_input"), "4000000"),
        (&chip(3, "power1_label"), "pm_soc"),
        (&chip(4, "name"), "altra_hwmon"),
        (&chip(4, "power1_input"), "60000000"),
        (&chip(4, "power1_label"), "CPU power"),
    ]);
    let mut machine = board.start();
    let values = machine.read();
    assert_eq!(values["power.board"], Value::Present(130.0), "the module holds the others");
    assert_eq!(machine.channel("power.board").scope, Scope::Platform);
    assert_eq!(machine.channel("power.scmi_sensors_pm_soc").scope, Scope::Rail("pm_soc".to_owned()));
    assert_eq!(machine.channel("power.altra_hwmon_CPU_power").scope, Scope::Cores);
}

#[test]
fn current_monitors_are_found_without_the_class_too() {
    let chip = |file: &str| format!("sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1/{file}");
    let board = Board::new(&[
        (&chip("name"), "ina3221"),
        (&chip("in1_label"), "VDD_IN"),
        (&chip("in1_input"), "5000"),
        (&chip("curr1_input"), "2000"),
    ]);
    assert_eq!(board.start().read()["power.board"], Value::Present(10.0));
    // The class shows the same one: it is listed once.
    board.link("sys/class/hwmon/hwmon1", "../../bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1");
    let machine = board.start();
    assert!(!machine.channels.iter().any(|channel| channel.id.contains('#')));
}

#[test]
fn zones_taken_apart_keep_their_margins() {
    let zone = |number: u32, file: &str| format!("sys/class/thermal/thermal_zone{number}/{file}");
    let board = Board::new(&[]);
    for number in 0..2 {
        board.set(&zone(number, "type"), &format!("zone{number}"));
        board.set(&zone(number, "temp"), "40000");
        board.set(&zone(number, "trip_point_0_type"), "passive");
        board.set(&zone(number, "trip_point_0_temp"), &format!("{}000", 80 + number));
    }
    let mut catalogue = crate::catalogue::Catalogue::default();
    let mut zones =
        crate::sources::sensors::thermal::discover(&board.root(), &Arc::default(), &mut catalogue).unwrap();
    let mut parts = zones.parts().unwrap();
    assert_eq!(parts.len(), 2);
    for (number, part) in parts.iter_mut().enumerate() {
        let mut values = Vec::new();
        part.read(&mut values);
        let of = |(channel, value): &(u16, Value)| (catalogue.get(*channel).unwrap().id.clone(), *value);
        let expected = [
            (format!("temp.zone{number}"), Value::Present(40.0)),
            (format!("throttle.zone{number}.margin"), Value::Present(40.0 + number as f64)),
        ];
        assert_eq!(values.iter().map(of).collect::<Vec<_>>(), expected);
    }
}
