//! Which sensors are chosen, on known power.

use super::*;
use crate::channel::{Kind, Reason, ReasonCode, Value};

pub(crate) fn channel(number: u16, id: &str, scope: Scope, unit: Unit) -> Channel {
    let counts = unit == Unit::Joules;
    Channel {
        channel: number,
        id: id.to_owned(),
        quantity: if counts { Quantity::Energy } else { Quantity::Power },
        unit,
        scope,
        class: Class::Measured,
        kind: if counts { Kind::Counter { range: None } } else { Kind::Gauge },
        source: String::new(),
        period_ns: None,
        update_ns: None,
        reason: None,
        remedy: None,
    }
}

fn span() -> Span {
    Span {
        job: 1,
        repetition: 0,
        phase: Phase::Decode,
        begin_ns: 1_000_000_000,
        end_ns: 2_000_000_000,
        tokens: 10,
        sample_ns: 0,
        token_ends_ns: vec![],
    }
}

/// Counters of 5 W on channel 0 and of 7 W on channel 1, every 10 ms for 3 s.
fn samples() -> Vec<Sample> {
    let value = |watts: u64, ms: u64| Value::Present((watts * ms) as f64 / 1e3);
    (0..300)
        .map(|tick| {
            let ms = tick * 10;
            let values = vec![(0, value(5, ms)), (1, value(7, ms))];
            Sample { t_ns: ms * 1_000_000, values, ..Sample::default() }
        })
        .collect()
}

fn told(channels: &[Channel]) -> Vec<(String, f64)> {
    let energy = of_phases(&[span()], None, &samples(), channels);
    let round = |joules: f64| (joules * 1e6).round() / 1e6;
    energy.phases.into_iter().map(|phase| (phase.source.unwrap(), round(phase.joules.unwrap()))).collect()
}

#[test]
fn packages_add_up_and_scopes_do_not() {
    let packages = [
        channel(0, "energy.package-0", Scope::Package, Unit::Joules),
        channel(1, "energy.package-1", Scope::Package, Unit::Joules),
    ];
    assert_eq!(told(&packages), [("energy.package-0 + energy.package-1".to_owned(), 12.0)]);
    let energy = of_phases(&[span()], None, &samples(), &packages);
    assert!((energy.phases[0].joules_per_token.unwrap() - 1.2).abs() < 1e-6);
    let mixed = [
        channel(0, "energy.package-0", Scope::Package, Unit::Joules),
        channel(1, "energy.psys", Scope::Platform, Unit::Joules),
    ];
    assert_eq!(told(&mixed), [("energy.psys".to_owned(), 7.0), ("energy.package-0".to_owned(), 5.0)]);
}

#[test]
fn two_sensors_of_the_input_are_the_same_watts_and_rails_are_parts() {
    let inputs = [
        channel(1, "energy.input#2", Scope::BoardInput, Unit::Joules),
        channel(0, "energy.input", Scope::BoardInput, Unit::Joules),
        channel(0, "energy.rail.CPU", Scope::Rail("CPU".to_owned()), Unit::Joules),
    ];
    assert_eq!(told(&inputs), [("energy.input#2".to_owned(), 7.0)]);
    assert_eq!(told(&inputs[2..]), [("energy.rail.CPU".to_owned(), 5.0)]);
}

#[test]
fn a_battery_that_tells_nothing_while_it_charges_is_passed_over() {
    let channels = [
        channel(8, "power.battery.BAT0", Scope::Battery, Unit::Watts),
        channel(0, "energy.package-0", Scope::Package, Unit::Joules),
    ];
    assert_eq!(told(&channels), [("energy.package-0".to_owned(), 5.0)]);
}

/// Readings of 14, 15 or 16 W on channel 2, every 50 ms, that are charged where the test says so.
fn with_battery(watts: impl Fn(u64) -> Value) -> Vec<Sample> {
    let mut samples = samples();
    for sample in samples.iter_mut().step_by(5) {
        sample.values.push((2, watts(sample.t_ns / 1_000_000)));
    }
    samples
}

fn draw(ms: u64) -> f64 {
    14.0 + (ms / 50 % 3) as f64
}

fn sources_of(channels: &[Channel], samples: &[Sample]) -> Vec<String> {
    let energy = of_phases(&[span()], None, samples, channels);
    energy.phases.into_iter().filter_map(|phase| phase.source).collect()
}

#[test]
fn a_battery_counts_only_while_it_is_discharged_all_the_time() {
    let channels = [
        channel(2, "power.battery.BAT0", Scope::Battery, Unit::Watts),
        channel(1, "energy.package-0", Scope::Package, Unit::Joules),
    ];
    let told = |watts: &dyn Fn(u64) -> Value| sources_of(&channels, &with_battery(watts));
    let both = ["power.battery.BAT0", "energy.package-0"];
    assert_eq!(told(&|ms| Value::Present(draw(ms))), both);
    assert_eq!(told(&|ms| Value::Present(-draw(ms))), both[1..], "charging");
    let wrong = |at: u64, value: Value| told(&|ms| if ms == at { value } else { Value::Present(draw(ms)) });
    assert_eq!(wrong(1500, Value::Present(-1.0)), both[1..]);
    assert_eq!(wrong(1500, Value::Present(0.0)), both[1..]);
    assert_eq!(wrong(1500, Value::Absent(ReasonCode::Implausible)), both[1..]);
    assert_eq!(wrong(2000, Value::Present(-1.0)), both[1..], "at the edge");
    assert_eq!(wrong(900, Value::Present(-1.0)), both, "before the phase");
    let charging = with_battery(|ms| Value::Present(-draw(ms)));
    let energy = of_phases(&[span()], None, &charging, &channels[..1]);
    assert_eq!((energy.phases.len(), energy.phases[0].joules), (1, None));
    assert!(energy.phases[0].reason.as_ref().unwrap().contains("not discharged"), "{energy:?}");
}

#[test]
fn batteries_count_together_and_one_may_rest() {
    let mut channels = [
        channel(2, "power.battery.BAT0", Scope::Battery, Unit::Watts),
        channel(3, "power.battery.BAT1", Scope::Battery, Unit::Watts),
        channel(1, "energy.package-0", Scope::Package, Unit::Joules),
    ];
    let mut samples = with_battery(|ms| Value::Present(draw(ms)));
    samples.iter_mut().step_by(5).for_each(|sample| sample.values.push((3, Value::Present(0.0))));
    assert_eq!(sources_of(&channels, &samples)[0], "power.battery.BAT0 + power.battery.BAT1");
    channels[1].class = Class::Unavailable;
    assert_eq!(sources_of(&channels, &samples), ["energy.package-0"], "half of the batteries");
}

#[test]
fn a_monitor_in_a_battery_s_lead_is_not_the_machine() {
    let channels = [
        channel(2, "power.rail.ina219", Scope::Battery, Unit::Watts),
        channel(1, "energy.package-0", Scope::Package, Unit::Joules),
    ];
    let samples = with_battery(|ms| Value::Present(draw(ms)));
    assert_eq!(sources_of(&channels, &samples), ["energy.package-0"]);
}

#[test]
fn a_battery_that_helps_a_weak_charger_is_passed_over() {
    let channels = [
        channel(2, "power.battery.BAT0", Scope::Battery, Unit::Watts),
        channel(3, "power.battery", Scope::Battery, Unit::Watts),
        channel(1, "energy.package-0", Scope::Package, Unit::Joules),
    ];
    let mut samples = with_battery(|ms| Value::Present(draw(ms)));
    let mut together = |value: &dyn Fn(u64) -> Value| {
        for sample in samples.iter_mut().step_by(5) {
            sample.values.retain(|(id, _)| *id != 3);
            sample.values.push((3, value(sample.t_ns / 1_000_000)));
        }
        sources_of(&channels, &samples)
    };
    assert_eq!(together(&|ms| Value::Present(draw(ms))), ["power.battery", "energy.package-0"]);
    let plugged = Value::Absent(ReasonCode::Vanished);
    assert_eq!(together(&|_| plugged), ["energy.package-0"]);
    assert_eq!(together(&|ms| if ms < 1500 { Value::Present(draw(ms)) } else { plugged }).len(), 1);
}

#[test]
fn a_package_that_two_drivers_tell_of_is_counted_once() {
    let twice = [
        channel(0, "energy.amd_energy_Esocket0", Scope::Package, Unit::Joules),
        channel(1, "energy.package-0", Scope::Package, Unit::Joules),
    ];
    assert_eq!(told(&twice), [("energy.package-0".to_owned(), 7.0)]);
    assert_eq!(told(&twice[..1]), [("energy.amd_energy_Esocket0".to_owned(), 5.0)]);
}

#[test]
fn half_of_the_packages_is_no_figure() {
    let mut packages = [
        channel(0, "energy.package-0", Scope::Package, Unit::Joules),
        channel(8, "energy.package-1", Scope::Package, Unit::Joules),
    ];
    let reason = |packages: &[Channel]| {
        let energy = of_phases(&[span()], None, &samples(), packages);
        assert_eq!((energy.phases.len(), energy.phases[0].joules), (1, None));
        energy.phases[0].reason.clone().unwrap()
    };
    assert!(reason(&packages).starts_with("energy.package-1: 0 new readings"), "{}", reason(&packages));
    packages[1].class = Class::Unavailable;
    packages[1].reason = Some(Reason::new(ReasonCode::Permission, "only root may read it"));
    assert!(reason(&packages).contains("only root may read it"), "{}", reason(&packages));
}

#[test]
fn counters_and_gauges_of_several_cards_add_up() {
    let cards = [
        channel(0, "energy.uncore-0", Scope::Gpu, Unit::Joules),
        channel(2, "gpu0.power", Scope::Gpu, Unit::Watts),
    ];
    let energy = of_phases(&[span()], None, &with_battery(|ms| Value::Present(draw(ms))), &cards);
    let [both] = &energy.phases[..] else { panic!("{energy:?}") };
    assert_eq!(both.source.as_deref(), Some("gpu0.power + energy.uncore-0"));
    assert!((both.joules.unwrap() - 20.0).abs() < 0.2, "5 W and 15 W: {both:?}");
}

#[test]
fn meters_of_two_sockets_add_up() {
    let module = |number, socket| {
        let id = format!("power.power_meter_Module_Power_Socket_{socket}");
        channel(number, &id, Scope::Platform, Unit::Watts)
    };
    let mut samples = with_battery(|ms| Value::Present(draw(ms)));
    for sample in samples.iter_mut().step_by(5) {
        sample.values.push((3, Value::Present(draw(sample.t_ns / 1_000_000 + 50))));
    }
    let energy = of_phases(&[span()], None, &samples, &[module(2, 0), module(3, 1)]);
    assert!((energy.phases[0].joules.unwrap() - 30.0).abs() < 0.3, "{energy:?}");
    assert_eq!(energy.phases.len(), 1);
}

#[test]
fn without_a_sensor_there_is_a_reason_and_no_number() {
    let cores = [channel(0, "energy.core-0", Scope::Cores, Unit::Joules)];
    let energy = of_phases(&[span()], None, &samples(), &cores);
    assert_eq!((energy.phases[0].joules, energy.phases[0].class), (None, Class::Unavailable));
    assert!(energy.phases[0].reason.is_some());
    assert_eq!(energy.phases[0].reason_code, Some(ReasonCode::NoSuchInterface));
}
