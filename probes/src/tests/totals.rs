//! Machines that report their power twice, in parts or wrongly, and what their total is then.

use slmscope_profiles::channel::{Class, Kind, ReasonCode, Scope, Value};

use super::power::zone;
use super::{Board, Machine};

const RANGE: Option<u64> = Some(262_143_328_850);

/// A pack, or what feeds the machine.
fn supply(board: &Board, name: &str, files: &[(&str, &str)]) {
    for (file, text) in files {
        board.set(&format!("sys/class/power_supply/{name}/{file}"), text);
    }
}

fn battery(board: &Board, name: &str, status: &str, power_uw: &str) {
    supply(board, name, &[("type", "Battery"), ("status", status), ("power_now", power_uw)]);
}

fn chip(board: &Board, number: u32, files: &[(&str, &str)]) {
    for (file, text) in files {
        board.set(&format!("sys/class/hwmon/hwmon{number}/{file}"), text);
    }
}

/// An ACPI meter of one of Grace's sockets.
fn meter(board: &Board, number: u32, info: &str, watts: u32) {
    let power = format!("{watts}000000");
    let files = [("name", "power_meter"), ("device/power1_oem_info", info), ("power1_average", &power)];
    chip(board, number, &files);
}

fn amd_energy(board: &Board, sockets: u32) {
    chip(board, 0, &[("name", "amd_energy"), ("energy1_label", "Ecore000"), ("energy1_input", "5000000")]);
    for socket in 0..sockets {
        let input = format!("energy{}", socket + 2);
        let label = format!("Esocket{socket}");
        chip(board, 0, &[(&format!("{input}_label"), &label), (&format!("{input}_input"), "1000000000")]);
    }
}

/// The value of the total and the names of what it is made of.
fn total(machine: &mut Machine) -> (Value, String) {
    let value = machine.read()["power.board"];
    (value, parts(machine, "power.board"))
}

fn parts(machine: &Machine, id: &str) -> String {
    let source = &machine.channel(id).source;
    let names = source.split_once('(').unwrap().1.trim_end_matches(')');
    names.split(';').next().unwrap().to_owned()
}

/// Why there is no total.
fn none(board: &Board) -> ReasonCode {
    board.start().channel("power.board").reason.as_ref().unwrap().code
}

#[test]
fn packages_that_two_drivers_count_are_the_processor_s_own() {
    let board = Board::new(&[]);
    amd_energy(&board, 2);
    let machine = board.start();
    assert_eq!(parts(&machine, "energy.board"), "energy.amd_energy_Esocket0 + energy.amd_energy_Esocket1");
    zone(&board, "intel-rapl:0", "package-0", 7_000_000, RANGE);
    zone(&board, "intel-rapl:1", "package-1", 8_000_000, RANGE);
    let mut machine = board.start();
    assert_eq!(machine.read()["energy.board"], Value::Present(15.0));
    assert_eq!(parts(&machine, "energy.board"), "energy.package-0 + energy.package-1");
}

#[test]
fn a_package_that_only_the_other_driver_may_read_is_told_by_it() {
    let board = Board::new(&[]);
    amd_energy(&board, 1);
    board.set("sys/class/powercap/intel-rapl:0/name", "package-0");
    assert_eq!(parts(&board.start(), "energy.board"), "energy.amd_energy_Esocket0");
}

#[test]
fn parts_that_different_threads_read_are_a_sum_of_channels() {
    let board = Board::new(&[]);
    meter(&board, 0, "Grace Power Socket 0", 100);
    zone(&board, "intel-rapl:0:0", "dram", 7_000_000, RANGE);
    let machine = board.start();
    let board = machine.channel("power.board");
    assert!(matches!(&board.kind, Kind::Sum { of } if of.len() == 2), "{board:?}");
    assert_eq!(parts(&machine, "power.board"), "energy.dram + power.power_meter_Grace_Power_Socket_0");
}

#[test]
fn meters_of_all_sockets_are_added_and_nested_ones_are_not() {
    let board = Board::new(&[]);
    meter(&board, 0, "Module Power Socket 0", 100);
    meter(&board, 1, "Grace Power Socket 0", 80);
    meter(&board, 2, "CPU Power Socket 0", 60);
    let mut machine = board.start();
    assert_eq!(total(&mut machine).0, Value::Present(100.0));
    assert_eq!(machine.channel("power.board").class, Class::Measured);
    meter(&board, 3, "Module Power Socket 1", 104);
    meter(&board, 4, "Grace Power Socket 1", 85);
    meter(&board, 5, "CPU Power Socket 1", 65);
    let mut machine = board.start();
    let names = |kind: &str| {
        let name = |socket| format!("power.power_meter_{kind}_Power_Socket_{socket}");
        format!("{} + {}", name(0), name(1))
    };
    assert_eq!(total(&mut machine), (Value::Present(204.0), names("Module")));
    let all = machine.channel("power.board");
    assert_eq!((all.class, &all.scope), (Class::Derived, &Scope::Platform));
    // A meter without a sensor: half of the modules is not the machine, the packages are known.
    meter(&board, 3, "Module Power Socket 1", 4_294_967);
    let mut machine = board.start();
    assert_eq!(total(&mut machine), (Value::Present(165.0), names("Grace")));
    assert_eq!(machine.channel("power.board").scope, Scope::Package);
}

#[test]
fn a_zone_without_a_name_is_no_package() {
    let board = Board::new(&[]);
    zone(&board, "intel-rapl:0", "package-0", 9_000_000, RANGE);
    zone(&board, "intel-rapl:1", "vendor", 5_000_000, RANGE);
    board.set("sys/class/powercap/intel-rapl:2/energy_uj", "7000000");
    let mut machine = board.start();
    let values = machine.read();
    assert_eq!(values["energy.board"], Value::Present(9.0));
    assert_eq!(values["energy.intel-rapl_2"], Value::Present(7.0));
    let rail = |name: &str| Scope::Rail(name.to_owned());
    assert_eq!(machine.channel("energy.vendor").scope, rail("vendor"));
    assert_eq!(machine.channel("power.intel-rapl_2").scope, rail("intel-rapl:2"));
}

#[test]
fn a_count_far_above_its_range_gives_no_total() {
    let board = Board::new(&[]);
    zone(&board, "intel-rapl:0", "package-0", 9_000_000, RANGE);
    zone(&board, "intel-rapl:1", "package-1", 999_999_999_999_999, RANGE);
    let values = board.start().read();
    assert_eq!(values["energy.package-0"], Value::Present(9.0));
    assert_eq!(values["energy.package-1"], Value::Absent(ReasonCode::Implausible));
    assert_eq!(values["energy.board"], Value::Absent(ReasonCode::Implausible));
}

/// Nothing says in whose lead an extension's monitor sits, neither on a board nor in a PC.
#[test]
fn a_lone_monitor_is_a_rail_and_never_the_board() {
    let board = Board::new(&[]);
    chip(&board, 0, &[("name", "ina2xx"), ("power1_input", "4100000"), ("in1_input", "5100")]);
    for compatible in ["", "acme,board-7\0", "raspberrypi,5-model-b\0brcm,bcm2712\0"] {
        board.set("sys/firmware/devicetree/base/compatible", compatible);
        let machine = board.start();
        assert_eq!(machine.channel("power.rail.ina2xx").scope, Scope::Rail("ina2xx".to_owned()));
        let reason = machine.channel("power.board").reason.clone().unwrap();
        assert!(reason.code == ReasonCode::NoSuchInterface && reason.detail.contains("power.rail.ina2xx"));
    }
}

#[test]
fn a_monitor_at_the_voltage_of_cells_is_a_battery_s_with_the_sign_of_its_current() {
    for (millivolts, scope) in
        [("3700", Scope::Battery), ("7900", Scope::Battery), ("12100", Scope::Rail("ina219".to_owned()))]
    {
        let board = Board::new(&[]);
        let files = [("name", "ina219"), ("power1_input", "2000000"), ("curr1_input", "-540")];
        chip(&board, 0, &files);
        chip(&board, 0, &[("in1_input", millivolts)]);
        let mut machine = board.start();
        assert_eq!(machine.channel("power.rail.ina219").scope, scope, "{millivolts}");
        assert_eq!(machine.read()["power.rail.ina219"], Value::Present(-2.0));
        assert_eq!(none(&board), ReasonCode::NoSuchInterface);
        // On mains nothing flows, which is not what the board draws.
        chip(&board, 0, &[("power1_input", "0"), ("curr1_input", "0")]);
        assert_eq!(board.start().read()["power.rail.ina219"], Value::Present(0.0));
        assert_eq!(none(&board), ReasonCode::NoSuchInterface);
    }
}

/// Two sockets of which one has no sensor, an integrated processor that answers one milliwatt: no total.
#[test]
fn a_part_that_cannot_be_true_is_never_the_total() {
    let board = Board::new(&[]);
    chip(&board, 0, &[("name", "amd_hsmp_hwmon"), ("power1_input", "151000000")]);
    chip(&board, 1, &[("name", "amd_hsmp_hwmon"), ("power1_input", "149500000")]);
    let mut machine = board.start();
    assert_eq!(total(&mut machine).0, Value::Present(300.5));
    for watts in ["0", "1000", "100000"] {
        chip(&board, 1, &[("power1_input", watts)]);
        let mut machine = board.start();
        assert_eq!(none(&board), ReasonCode::NoSuchInterface, "{watts} µW");
        assert_eq!(machine.read()["power.amd_hsmp_hwmon_power1#2"], Value::Absent(ReasonCode::Implausible));
    }
    chip(&board, 1, &[("power1_input", "3000000")]);
    assert_eq!(total(&mut board.start()).0, Value::Present(154.0), "a package at rest");
}

#[test]
fn a_stuck_adapter_does_not_outweigh_a_battery_that_is_discharged() {
    let board = Board::new(&[]);
    battery(&board, "BAT0", "Discharging", "9000000");
    let adapter = |name: &str, online: &str| supply(&board, name, &[("type", "Mains"), ("online", online)]);
    adapter("ADP1", "0");
    adapter("sbs-charger", "1");
    let mut machine = board.start();
    assert_eq!(machine.read()["power.board"], Value::Present(9.0));
    assert!(machine.channel("power.battery").source.contains("one offline"));
    // One adapter alone that is online is too weak: the battery reports what it lacks.
    adapter("ADP1", "1");
    assert_eq!(none(&board), ReasonCode::NoSuchInterface);
    // And so is a charger on USB, whatever the adapters say.
    adapter("ADP1", "0");
    supply(&board, "ucsi", &[("type", "USB"), ("online", "1")]);
    assert_eq!(none(&board), ReasonCode::NoSuchInterface);
}

#[test]
fn a_pen_s_dock_is_no_mains() {
    let board = Board::new(&[]);
    battery(&board, "BAT0", "Discharging", "9000000");
    supply(&board, "pen", &[("type", "Mains"), ("scope", "Device"), ("online", "1")]);
    assert_eq!(total(&mut board.start()).0, Value::Present(9.0));
    supply(&board, "pen", &[("scope", "System")]);
    assert_eq!(none(&board), ReasonCode::NoSuchInterface);
}

#[test]
fn a_full_battery_that_nothing_charges_is_drawn_from() {
    let board = Board::new(&[]);
    battery(&board, "BAT0", "Full", "11200000");
    supply(&board, "AC", &[("type", "Mains"), ("online", "0")]);
    assert_eq!(board.start().read()["power.battery.BAT0"], Value::Present(11.2));
    supply(&board, "AC", &[("online", "1")]);
    assert_eq!(board.start().read()["power.battery.BAT0"], Value::Present(-11.2));
}

#[test]
fn a_pack_that_tells_nothing_leaves_no_total() {
    let board = Board::new(&[]);
    battery(&board, "BAT0", "Discharging", "9000000");
    assert_eq!(total(&mut board.start()).0, Value::Present(9.0));
    supply(&board, "BAT1", &[("type", "Battery"), ("status", "Discharging"), ("voltage_now", "8000000")]);
    let machine = board.start();
    let reason = machine.channel("power.board").reason.as_ref().unwrap();
    assert!(reason.detail.contains("not all of its batteries"), "{reason}");
}

#[test]
fn a_pack_beside_one_that_tells_nothing_may_rest() {
    let board = Board::new(&[]);
    battery(&board, "BAT0", "Discharging", "0");
    assert_eq!(board.start().read()["power.battery.BAT0"], Value::Absent(ReasonCode::Implausible));
    supply(&board, "BAT1", &[("type", "Battery"), ("status", "Discharging")]);
    assert_eq!(board.start().read()["power.battery.BAT0"], Value::Present(0.0));
}

#[test]
fn a_pack_that_rests_takes_nothing_from_the_other() {
    let board = Board::new(&[]);
    battery(&board, "BAT0", "Discharging", "-9000000");
    battery(&board, "BAT1", "Discharging", "0");
    let mut machine = board.start();
    let values = machine.read();
    assert_eq!(
        (values["power.battery.BAT1"], values["power.board"]),
        (Value::Present(0.0), Value::Present(9.0))
    );
    // What a machine draws is not nothing.
    battery(&board, "BAT0", "Discharging", "0");
    assert_eq!(machine.read()["power.board"], Value::Absent(ReasonCode::Vanished));
    assert_eq!(none(&board), ReasonCode::NoSuchInterface);
}

#[test]
fn without_mains_only_a_battery_that_says_so_is_discharged() {
    for files in [&[("status", "Unknown")][..], &[]] {
        let board = Board::new(&[]);
        supply(&board, "BAT0", &[("type", "Battery"), ("power_now", "9000000")]);
        supply(&board, "BAT0", files);
        let values = board.start().read();
        assert_eq!(values["power.battery.BAT0"], Value::Absent(ReasonCode::NotSupported));
        assert_eq!(none(&board), ReasonCode::NoSuchInterface);
        supply(&board, "AC", &[("type", "Mains"), ("online", "0")]);
        assert_eq!(total(&mut board.start()).0, Value::Present(9.0), "nothing else feeds it");
    }
}

#[test]
fn milliamperes_are_no_power_whatever_the_status() {
    for status in ["Discharging", "Charging", "Unknown"] {
        let board = Board::new(&[]);
        let files =
            [("type", "Battery"), ("status", status), ("current_now", "898"), ("voltage_now", "11829000")];
        supply(&board, "BAT0", &files);
        supply(&board, "AC", &[("type", "Mains"), ("online", "0")]);
        let values = board.start().read();
        assert_eq!(values["power.battery.BAT0"], Value::Absent(ReasonCode::Implausible), "{status}");
        assert!(!values.contains_key("power.board"));
    }
}

#[test]
fn a_power_file_without_a_number_gives_way_to_current_and_voltage() {
    for text in ["", "n/a"] {
        let board = Board::new(&[]);
        battery(&board, "BAT0", "Discharging", text);
        let first = board.start().read()["power.battery.BAT0"];
        assert_eq!(first.get(), None, "{text:?}");
        supply(&board, "BAT0", &[("current_now", "1000000"), ("voltage_now", "12000000")]);
        let mut machine = board.start();
        assert_eq!(machine.read()["power.battery.BAT0"], Value::Present(12.0));
        assert_eq!(machine.channel("power.battery.BAT0").class, Class::Derived);
        assert!(machine.channel("power.battery.BAT0").source.ends_with("current_now × voltage_now"));
        // The channel is what it is called after, until that fails.
        battery(&board, "BAT0", "Discharging", "13000000");
        assert_eq!(machine.read()["power.battery.BAT0"], Value::Present(12.0));
        supply(&board, "BAT0", &[("current_now", "n/a")]);
        assert_eq!(machine.read()["power.battery.BAT0"], Value::Present(13.0));
    }
}
