//! Readings on the screens: rates, sums, staleness, and the choice of power and heat.

use slmscope_profiles::channel::{Channel, Kind, Quantity, ReasonCode, Sample, Scope, Unit, Value};
use slmscope_profiles::record::Record;

use super::super::channels::Track;
use super::fixture::{busy, catalogue, channel, frame};

#[test]
fn rates_come_from_counters() {
    let state = busy();
    let power = state.shown().channels.power().and_then(Track::value);
    assert_eq!(power, Some(12.5));
}

/// The doctor's tests have the same readings and the same answers.
#[test]
fn a_busy_cpu_is_not_shown_as_101_percent() {
    let mut state = busy();
    let mut channels = catalogue();
    channels.push(Channel {
        kind: Kind::Counter { range: None },
        ..channel(7, "cpu.machine.time", Quantity::Cpu, Unit::Seconds, Scope::Machine)
    });
    channels.push(Channel {
        kind: Kind::Rate { of: 7 },
        ..channel(8, "cpu.machine", Quantity::Cpu, Unit::Ratio, Scope::Machine)
    });
    frame(&mut state, Record::Catalogue { channels });
    for (t_ns, seconds) in [(20_000_000_000, 5.0), (20_250_000_000, 5.253)] {
        let sample = Sample { t_ns, values: vec![(7, Value::Present(seconds))], ..Sample::default() };
        frame(&mut state, Record::Sample(sample));
    }
    assert_eq!(state.shown().channels.by_id("cpu.machine").unwrap().value(), Some(1.0));
}

/// The doctor's tests have the same readings and the same answers.
#[test]
fn an_energy_counter_that_did_not_move_is_shown_as_stale_and_not_as_0_watts() {
    let mut state = busy();
    let mut channels = catalogue();
    channels.push(Channel {
        kind: Kind::Counter { range: None },
        ..channel(7, "energy.dram", Quantity::Energy, Unit::Joules, Scope::Dram)
    });
    channels.push(Channel {
        kind: Kind::Rate { of: 7 },
        ..channel(8, "power.dram", Quantity::Power, Unit::Watts, Scope::Dram)
    });
    frame(&mut state, Record::Catalogue { channels });
    for t_ns in [20_000_000_000, 20_250_000_000] {
        let sample = Sample { t_ns, values: vec![(7, Value::Present(7.0))], ..Sample::default() };
        frame(&mut state, Record::Sample(sample));
    }
    let dram = state.shown().channels.by_id("power.dram").unwrap();
    assert_eq!((dram.value(), dram.absent), (None, Some(ReasonCode::Stale)));
}

#[test]
fn the_total_of_the_board_is_the_power_that_is_shown() {
    let mut state = busy();
    let mut channels = catalogue();
    // Of a narrower scope than the package, and still what the probes chose.
    channels.push(channel(7, "power.board", Quantity::Power, Unit::Watts, Scope::Battery));
    frame(&mut state, Record::Catalogue { channels });
    let values = vec![(7, Value::Present(21.0))];
    let next = Sample {
        t_ns: 20_000_000_000,
        cost_ns: 4_200,
        update_ns: Some(70_000_000),
        values,
        ..Sample::default()
    };
    frame(&mut state, Record::Sample(next));
    let power = state.shown().channels.power().unwrap();
    assert_eq!((power.channel.id.as_str(), power.value()), ("power.board", Some(21.0)));
    assert_eq!((power.cost_ns, power.channel.update_ns), (Some(4_200), Some(70_000_000)));
}

#[test]
fn each_channel_of_a_sample_shows_the_period_of_its_own_sensor() {
    let mut state = busy();
    let mut channels = catalogue();
    let counter = Kind::Counter { range: None };
    channels.push(channel(7, "power.fast", Quantity::Power, Unit::Watts, Scope::Machine));
    channels.push(Channel {
        kind: counter,
        ..channel(8, "energy.slow", Quantity::Energy, Unit::Joules, Scope::Machine)
    });
    channels.push(Channel {
        kind: Kind::Rate { of: 8 },
        ..channel(9, "power.slow", Quantity::Power, Unit::Watts, Scope::Machine)
    });
    channels.push(channel(10, "power.constant", Quantity::Power, Unit::Watts, Scope::Machine));
    frame(&mut state, Record::Catalogue { channels });
    let sample = Sample {
        t_ns: 20_000_000_000,
        update_ns: Some(1_000_000),
        other_update_ns: vec![(8, Some(70_000_000)), (10, None)],
        values: [7, 8, 10].map(|id| (id, Value::Present(2.0))).to_vec(),
        ..Sample::default()
    };
    frame(&mut state, Record::Sample(sample));
    let of = |id| state.shown().channels.by_id(id).unwrap().channel.update_ns;
    let ids = ["power.fast", "energy.slow", "power.slow", "power.constant"];
    assert_eq!(ids.map(of), [Some(1_000_000), Some(70_000_000), Some(70_000_000), None]);
}

#[test]
fn a_monitor_in_a_battery_s_lead_is_not_the_power_that_is_shown() {
    let mut state = busy();
    let mut channels = catalogue();
    channels.push(channel(7, "power.rail.ina219", Quantity::Power, Unit::Watts, Scope::Battery));
    frame(&mut state, Record::Catalogue { channels });
    let values = vec![(7, Value::Present(9.0))];
    frame(&mut state, Record::Sample(Sample { t_ns: 20_000_000_000, values, ..Sample::default() }));
    assert_eq!(state.shown().channels.power().unwrap().channel.id, "power.package-0");
}

#[test]
fn what_goes_into_a_battery_is_not_the_power_that_is_shown() {
    let mut state = busy();
    let mut channels = catalogue();
    channels.push(channel(7, "power.board", Quantity::Power, Unit::Watts, Scope::Battery));
    frame(&mut state, Record::Catalogue { channels });
    let mut shown = |t: u64, watts: f64| {
        let values = vec![(7, Value::Present(watts))];
        let sample = Sample { t_ns: t * 1_000_000_000, values, ..Sample::default() };
        frame(&mut state, Record::Sample(sample));
        state.shown().channels.power().unwrap().channel.id.clone()
    };
    assert_eq!(shown(20, 9.0), "power.board");
    assert_eq!(shown(21, -14.0), "power.package-0");
}

#[test]
fn a_drive_is_hotter_and_not_what_is_shown() {
    let mut state = busy();
    let mut channels = catalogue();
    let drive = channel(7, "temp.nvme_Composite", Quantity::Temperature, Unit::Celsius, Scope::Machine);
    channels.push(drive);
    frame(&mut state, Record::Catalogue { channels });
    let mut hottest = |t: u64, package: Value| {
        let values = vec![(4, package), (7, Value::Present(80.0))];
        let sample = Sample { t_ns: t * 1_000_000_000, values, ..Sample::default() };
        frame(&mut state, Record::Sample(sample));
        state.shown().channels.hottest().and_then(Track::value)
    };
    assert_eq!(hottest(20, Value::Present(54.0)), Some(54.0));
    assert_eq!(hottest(21, Value::Absent(ReasonCode::ReadError)), Some(80.0), "nothing else tells");
}

#[test]
fn a_sum_is_told_while_all_of_its_parts_are() {
    let mut state = busy();
    let mut channels = catalogue();
    channels.push(channel(7, "gpu0.power", Quantity::Power, Unit::Watts, Scope::Gpu));
    channels.push(Channel {
        kind: Kind::Sum { of: vec![2, 7] },
        ..channel(8, "power.board", Quantity::Power, Unit::Watts, Scope::Rail("package+gpu".to_owned()))
    });
    frame(&mut state, Record::Catalogue { channels });
    let mut card = |t: u64, value: Value| {
        let sample = Sample { t_ns: t * 1_000_000_000, values: vec![(7, value)], ..Sample::default() };
        frame(&mut state, Record::Sample(sample));
        let channels = &state.shown().channels;
        let shown = channels.power().unwrap();
        (shown.channel.id.clone(), shown.value(), channels.by_id("power.board").unwrap().absent)
    };
    let board = "power.board".to_owned();
    assert_eq!(card(10, Value::Present(40.0)), (board, Some(52.5), None));
    let asleep = ReasonCode::GatedOrAsleep;
    let package = "power.package-0".to_owned();
    assert_eq!(card(11, Value::Absent(asleep)), (package.clone(), Some(12.5), Some(asleep)));
    let stale = ReasonCode::Stale;
    assert_eq!(card(60, Value::Present(40.0)), (package, Some(12.5), Some(stale)), "the counter is old");
}
