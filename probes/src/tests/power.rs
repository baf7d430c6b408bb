//! Energy counters, power monitors and batteries of boards that are moved on by the test.

use slmscope_profiles::channel::{Class, Kind, ReasonCode, Scope, Value, rate};

use super::{Board, Machine};

const RAPL: &str = "sys/class/powercap";
const SECOND: u64 = 1_000_000_000;

pub(super) fn zone(board: &Board, folder: &str, name: &str, energy: u64, range: Option<u64>) {
    board.set(&format!("{RAPL}/{folder}/name"), name);
    board.set(&format!("{RAPL}/{folder}/energy_uj"), &energy.to_string());
    if let Some(range) = range {
        board.set(&format!("{RAPL}/{folder}/max_energy_range_uj"), &range.to_string());
    }
}

/// Mean watts of a counter between two readings that are a second apart.
fn watts(machine: &Machine, id: &str, older: Value, newer: Value) -> Option<f64> {
    let Kind::Counter { range } = machine.channel(id).kind else { panic!("{id} is no counter") };
    let watts = rate((0, older.get()?), (SECOND, newer.get()?), range)?;
    Some((watts * 1e6).round() / 1e6)
}

#[test]
fn a_server_s_counters_step_and_wrap_each_at_its_own_range() {
    let board = Board::new(&[]);
    // Folder numbers run against the package numbers.
    zone(&board, "intel-rapl:0", "package-1", 262_000_000_000, Some(262_143_328_850));
    zone(&board, "intel-rapl:0:0", "dram", 65_712_000_000, Some(65_712_999_613));
    zone(&board, "intel-rapl:1", "package-0", 1_000_000, Some(262_143_328_850));
    zone(&board, "intel-rapl:1:0", "dram", 2_000_000, Some(65_712_999_613));
    zone(&board, "intel-rapl-mmio:0", "package-0", 1_000_001, Some(262_143_328_850));
    let mut machine = board.start();
    let first = machine.read();
    zone(&board, "intel-rapl:0", "package-1", 50_000_000, None);
    zone(&board, "intel-rapl:0:0", "dram", 4_000_387, None);
    zone(&board, "intel-rapl:1", "package-0", 81_000_000, None);
    zone(&board, "intel-rapl:1:0", "dram", 7_000_000, None);
    let second = machine.read();
    let of = |id: &str| watts(&machine, id, first[id], second[id]);
    assert_eq!(of("energy.package-1"), Some(193.328_85));
    assert_eq!(of("energy.dram-1"), Some(5.0));
    assert_eq!(of("energy.package-0"), Some(80.0));
    assert_eq!(of("energy.dram-0"), Some(5.0));
    assert_eq!(of("energy.board"), Some(283.328_85), "all four, the duplicate not");
    let board = machine.channel("energy.board");
    assert_eq!((board.class, &board.scope), (Class::Derived, &Scope::Rail("package+dram".to_owned())));
    assert!(board.source.contains("energy.package-1 + energy.package-0"), "{}", board.source);
    assert!(!machine.channels.iter().any(|channel| channel.id.contains('#')));
}

#[test]
fn a_wrap_at_an_unknown_range_is_a_gap() {
    let board = Board::new(&[]);
    zone(&board, "intel-rapl:0", "package-0", 900, None);
    let mut machine = board.start();
    let first = machine.read();
    zone(&board, "intel-rapl:0", "package-0", 100, None);
    let second = machine.read();
    assert_eq!(
        watts(&machine, "energy.package-0", first["energy.package-0"], second["energy.package-0"]),
        None
    );
    zone(&board, "intel-rapl:0", "package-0", 1_000_100, None);
    let third = machine.read();
    let step = watts(&machine, "energy.package-0", second["energy.package-0"], third["energy.package-0"]);
    assert_eq!(step, Some(1.0));
}

#[test]
fn psys_is_the_board_and_its_packages_are_not_added() {
    let board = Board::new(&[]);
    zone(&board, "intel-rapl:0", "package-0", 9_000_000, Some(262_143_328_850));
    zone(&board, "intel-rapl:0:0", "core", 4_000_000, Some(262_143_328_850));
    zone(&board, "intel-rapl:1", "psys", 21_000_000, Some(262_143_328_850));
    let mut machine = board.start();
    assert_eq!(machine.read()["energy.board"], Value::Present(21.0));
    assert_eq!(machine.channel("energy.board").scope, Scope::Platform);
    assert_eq!(machine.channel("power.board").scope, Scope::Platform);
}

#[test]
fn cards_are_added_to_the_packages_and_processors_inside_them_are_not() {
    let parts = |board: &Board| {
        let machine = board.start();
        let total = machine.channel("power.board");
        let Kind::Sum { of } = &total.kind else { return (Vec::new(), total.scope.clone()) };
        assert_eq!(total.class, Class::Derived);
        assert!(!machine.channels.iter().any(|channel| channel.id == "energy.board"));
        let id = |&part: &u16| machine.channels[usize::from(part)].id.clone();
        (of.iter().map(id).collect(), total.scope.clone())
    };
    let board = super::asleep::amd("active", "D0");
    zone(&board, "intel-rapl:0", "package-0", 9_000_000, Some(262_143_328_850));
    zone(&board, "intel-rapl:0:0", "uncore", 1_000_000, Some(262_143_328_850));
    let rail = |name: &str| Scope::Rail(name.to_owned());
    let ids = |ids: &[&str]| ids.iter().map(|&id| id.to_owned()).collect::<Vec<_>>();
    assert_eq!(parts(&board), (ids(&["energy.package-0", "gpu0.power"]), rail("package+gpu")));
    zone(&board, "intel-rapl:0:1", "dram", 2_000_000, Some(65_712_999_613));
    // A card that is not shown as such, and counts its energy.
    board.set("sys/class/hwmon/hwmon9/name", "xe");
    board.set("sys/class/hwmon/hwmon9/energy1_input", "5000000");
    let all = ids(&["energy.package-0", "energy.dram-0", "gpu0.power", "energy.xe"]);
    assert_eq!(parts(&board), (all, rail("package+dram+gpu")));
    let integrated = super::asleep::amd("active", "D0");
    integrated.set("sys/class/hwmon/hwmon3/in1_input", "700");
    zone(&integrated, "intel-rapl:0", "package-0", 9_000_000, Some(262_143_328_850));
    assert_eq!(parts(&integrated), (vec![], Scope::Package), "its sensor sees the package");
}

#[test]
fn zones_that_may_not_be_read_leave_no_half_of_a_board() {
    let board = Board::new(&[]);
    zone(&board, "intel-rapl:0", "package-0", 9_000_000, Some(262_143_328_850));
    board.set(&format!("{RAPL}/intel-rapl:1/name"), "package-1");
    let machine = board.start();
    assert!(!machine.channels.iter().any(|channel| channel.id == "energy.board"));
    let reason = machine.channel("power.board").reason.as_ref().unwrap();
    assert_eq!(reason.code, ReasonCode::NoSuchInterface);
}

#[test]
fn a_laptop_is_plugged_in_and_out() {
    let supply = |file: &str| format!("sys/class/power_supply/{file}");
    let board = Board::new(&[
        (&supply("AC/type"), "Mains"),
        (&supply("AC/online"), "0"),
        (&supply("BAT0/type"), "Battery"),
        (&supply("BAT0/status"), "Discharging"),
        (&supply("BAT0/power_now"), "11000000"),
        (&supply("BAT1/type"), "Battery"),
        (&supply("BAT1/status"), "Unknown"),
        (&supply("BAT1/power_now"), "0"),
        (&supply("BAT1/temp"), "305"),
    ]);
    zone(&board, "intel-rapl:0", "package-0", 9_000_000, Some(262_143_328_850));
    let mut machine = board.start();
    let values = machine.read();
    assert_eq!(values["power.board"], Value::Present(11.0), "both packs");
    assert_eq!(values["temp.battery.BAT1"], Value::Present(30.5));
    assert_eq!(machine.channel("power.board").scope, Scope::Battery);
    board.set(&supply("AC/online"), "1");
    board.set(&supply("BAT0/status"), "Charging");
    let values = machine.read();
    assert_eq!(values["power.battery.BAT0"], Value::Present(-11.0));
    assert_eq!(values["power.board"], Value::Absent(ReasonCode::Vanished), "charging is no consumption");
    // A daemon that starts now takes the packages.
    let mut machine = board.start();
    machine.read();
    assert_eq!(machine.channel("power.board").scope, Scope::Package);
}

#[test]
fn a_jetson_s_input_is_its_board_and_its_sums_are_no_rails() {
    let chip = |file: &str| format!("sys/class/hwmon/hwmon1/{file}");
    let board = Board::new(&[(&chip("name"), "ina3221"), (&chip("curr4_input"), "9000")]);
    for (number, label) in [(1, "VDD_IN"), (2, "VDD_CPU_GPU_CV"), (3, "VDD_SOC")] {
        board.set(&chip(&format!("in{number}_label")), label);
        board.set(&chip(&format!("in{number}_input")), "5000");
        board.set(&chip(&format!("curr{number}_input")), &format!("{number}000"));
        board.set(&chip(&format!("in{}_input", number + 3)), "4840");
        board.set(&chip(&format!("curr{number}_crit_alarm")), "0");
    }
    let mut machine = board.start();
    let values = machine.read();
    assert_eq!(values["power.board"], Value::Present(5.0));
    assert_eq!(values["power.rail.VDD_SOC"], Value::Present(15.0));
    assert_eq!(values.keys().filter(|id| id.starts_with("power.")).count(), 4);
    board.set(&chip("curr1_input"), "2500");
    board.set(&chip("curr1_crit_alarm"), "1");
    let values = machine.read();
    assert_eq!(values["power.board"], Value::Present(12.5));
    assert_eq!(values["throttle.VDD_IN_current_crit"], Value::Present(1.0));
}

#[test]
fn rails_are_summed_only_where_the_board_s_description_says_so() {
    let chip = |file: &str| format!("sys/class/hwmon/hwmon1/{file}");
    let rails = |compatible: &str| {
        let board = Board::new(&[
            (&chip("name"), "ina3221"),
            ("sys/firmware/devicetree/base/compatible", compatible),
        ]);
        for (number, label) in [(1, "VDD_GPU_SOC"), (2, "VDD_CPU_CV"), (3, "VIN_SYS_5V0")] {
            board.set(&chip(&format!("in{number}_label")), label);
            board.set(&chip(&format!("in{number}_input")), "5000");
            board.set(&chip(&format!("curr{number}_input")), "1000");
        }
        board
    };
    let known = rails("nvidia,p3737-0000+p3701-0000\0nvidia,tegra234\0");
    let other = format!("sys/class/hwmon/hwmon2/{}", "name");
    known.set(&other, "ina3221");
    known.set("sys/class/hwmon/hwmon2/in2_label", "VDDQ_VDD2_1V8AO");
    known.set("sys/class/hwmon/hwmon2/in2_input", "5000");
    known.set("sys/class/hwmon/hwmon2/curr2_input", "100");
    let mut machine = known.start();
    assert_eq!(machine.read()["power.board"], Value::Present(15.5));
    assert_eq!(machine.channel("power.board").class, Class::Derived);
    let unknown = rails("acme,board\0");
    let machine = unknown.start();
    assert!(machine.channel("power.board").reason.is_some());
}

#[test]
fn a_battery_that_discharges_at_a_weak_charger_is_not_the_board() {
    let supply = |file: &str| format!("sys/class/power_supply/{file}");
    let board = Board::new(&[
        (&supply("ucsi/type"), "USB"),
        (&supply("ucsi/online"), "1"),
        (&supply("BAT0/type"), "Battery"),
        (&supply("BAT0/status"), "Discharging"),
        (&supply("BAT0/power_now"), "3000000"),
        (&supply("BAT0/capacity"), "83"),
    ]);
    let mut machine = board.start();
    let values = machine.read();
    assert_eq!(values["power.battery.BAT0"], Value::Present(3.0));
    assert_eq!(values["power.battery.BAT0.level"], Value::Present(0.83));
    assert!(machine.channel("power.board").reason.is_some());
    // Plugged in afterwards.
    board.set(&supply("ucsi/online"), "0");
    let mut machine = board.start();
    assert_eq!(machine.read()["power.board"], Value::Present(3.0));
    board.set(&supply("ucsi/online"), "1");
    let values = machine.read();
    assert_eq!(values["power.battery.BAT0"], Value::Present(3.0));
    assert_eq!(values["power.battery"], Value::Absent(ReasonCode::Vanished));
    assert_eq!(values["power.board"], Value::Absent(ReasonCode::Vanished));
}
