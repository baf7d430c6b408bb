//! Single cases with figures that can be checked by hand.

use slmscope_profiles::channel::{Channel, Kind, ReasonCode, Sample, Unit, Value};
use slmscope_profiles::energy::{Stretch, Window, phase_energy};
use slmscope_profiles::op::Phase;

use crate::sensor::{MS, Sensor, Shows, told};

fn channel(kind: Kind) -> Channel {
    let sensor = Sensor { shows: Shows::Power, period_ns: MS, offset_ns: 0, noise: 0.0 };
    let unit = if kind == Kind::Gauge { Unit::Watts } else { Unit::Joules };
    Channel { kind, unit, ..sensor.channel() }
}

fn samples(every_ms: u64, until_ms: u64, value: impl Fn(u64) -> f64) -> Vec<Sample> {
    (0..=until_ms / every_ms)
        .map(|index| index * every_ms)
        .map(|ms| Sample { t_ns: ms * MS, values: vec![(3, Value::Present(value(ms)))], ..Sample::default() })
        .collect()
}

fn window(begin_ms: u64, end_ms: u64) -> Window {
    Window { begin_ns: begin_ms * MS, end_ns: end_ms * MS }
}

#[test]
fn a_counter_with_a_wrap_and_two_windows() {
    // 10 W, a range of 20 J, read every 10 ms for 6 s.
    let readings = samples(10, 6_000, |ms| (ms as f64 / 100.0) % 20.0);
    let counter = channel(Kind::Counter { range: Some(20.0) });
    let windows = [window(1_005, 2_005), window(3_333, 4_333)];
    let stretch =
        Stretch { phase: Phase::Decode, windows: &windows, tokens: 50, idle: Some(window(100, 500)) };
    let energy = phase_energy(&stretch, &counter, &readings);
    assert!((energy.joules.unwrap() - 20.0).abs() < 1e-6, "{energy:?}");
    assert!((energy.joules_per_token.unwrap() - 0.4).abs() < 1e-6);
    assert!((energy.baseline_watts.unwrap() - 10.0).abs() < 1e-6);
    assert!(energy.above_baseline_joules.unwrap().abs() < 1e-6);
    assert_eq!((energy.coverage, energy.updates), (Some(1.0), 200));
    assert!(energy.low <= energy.joules && energy.joules <= energy.high);
    assert!(energy.high.unwrap() - energy.low.unwrap() < 1.0);
}

#[test]
fn a_counter_that_was_reset_between_two_windows_is_known_and_inside_one_it_is_not() {
    let readings =
        samples(10, 6_000, |ms| if ms < 3_000 { 500.0 + ms as f64 / 100.0 } else { ms as f64 / 50.0 });
    let counter = channel(Kind::Counter { range: None });
    assert!((told(&counter, &readings, window(1_000, 2_000)).joules.unwrap() - 10.0).abs() < 1e-6);
    assert!((told(&counter, &readings, window(4_000, 5_000)).joules.unwrap() - 20.0).abs() < 1e-6);
    let broken = told(&counter, &readings, window(2_500, 3_500));
    assert_eq!(broken.joules, None);
    assert!(broken.reason.unwrap().contains("both ends"));
    assert!(broken.coverage.unwrap() < 0.6);
}

#[test]
fn a_counter_that_told_nonsense_is_not_connected_across_it_and_one_that_was_silent_is() {
    let with = |code: ReasonCode| {
        let mut readings = samples(10, 6_000, |ms| ms as f64 / 100.0 + if ms > 3_000 { 1e6 } else { 0.0 });
        readings[300].values[0].1 = Value::Absent(code);
        told(&channel(Kind::Counter { range: None }), &readings, window(2_000, 4_000)).joules
    };
    assert_eq!(with(ReasonCode::Implausible), None);
    assert!((with(ReasonCode::Stale).unwrap() - 1_000_020.0).abs() < 1e-3);
}

#[test]
fn power_that_steps_with_the_phase_is_told_by_a_slow_counter() {
    // 4 W, and 40 W from 2 s to 3 s; the sensor makes a value every 100 ms and is read every 10 ms.
    let joules = |ms: u64| 4e-3 * ms as f64 + 36e-3 * (ms.clamp(2_000, 3_000) - 2_000) as f64;
    let readings = samples(10, 5_000, |ms| joules((ms + 37) / 100 * 100 - 37_u64.min((ms + 37) / 100 * 100)));
    let counter = channel(Kind::Counter { range: None });
    let energy = told(&counter, &readings, window(2_000, 3_000));
    assert!((energy.joules.unwrap() - 40.0).abs() < 0.4, "{energy:?}");
    let nothing = samples(10, 5_000, |ms| 36e-3 * (ms.clamp(2_000, 3_000) - 2_000) as f64);
    assert!((told(&counter, &nothing, window(2_000, 3_000)).joules.unwrap() - 36.0).abs() < 0.4);
}

#[test]
fn a_gauge_is_integrated_and_the_idle_power_kept_apart() {
    let readings = samples(100, 10_000, |ms| {
        if ms < 4_000 { 2.0 + (ms % 200) as f64 / 1e4 } else { 8.0 + (ms % 200) as f64 / 1e4 }
    });
    let windows = [window(5_000, 9_000)];
    let stretch =
        Stretch { phase: Phase::Decode, windows: &windows, tokens: 0, idle: Some(window(0, 3_500)) };
    let energy = phase_energy(&stretch, &channel(Kind::Gauge), &readings);
    assert!((energy.joules.unwrap() - 32.0).abs() < 0.1, "{energy:?}");
    assert!((energy.baseline_watts.unwrap() - 2.0).abs() < 0.02);
    assert!((energy.above_baseline_joules.unwrap() - 24.0).abs() < 0.2);
    assert_eq!(energy.joules_per_token, None);
}

#[test]
fn a_gauge_that_was_silent_for_a_while_gives_no_figure() {
    let mut readings = samples(10, 5_000, |ms| ms as f64);
    readings.retain(|sample| !(2_000 * MS..2_800 * MS).contains(&sample.t_ns));
    let energy = told(&channel(Kind::Gauge), &readings, window(1_000, 4_000));
    assert_eq!(energy.joules, None);
    assert!(energy.reason.unwrap().contains("73 %"));
    let counter = told(&channel(Kind::Counter { range: None }), &readings, window(1_000, 4_000));
    assert!((counter.joules.unwrap() - 3_000.0).abs() < 1.0, "a counter does not forget");
}

#[test]
fn few_updates_or_a_silent_sensor_give_no_figure() {
    let slow = samples(10, 5_000, |ms| (ms / 1_000) as f64);
    let counter = channel(Kind::Counter { range: None });
    let energy = told(&counter, &slow, window(1_500, 3_500));
    assert_eq!((energy.joules, energy.updates), (None, 2));
    assert!(energy.reason.unwrap().contains("at least 5"));
    let none = told(&counter, &[], window(0, 10));
    assert_eq!((none.joules, none.coverage), (None, Some(0.0)));
}

#[test]
fn readings_that_end_early_give_no_figure() {
    let readings = samples(10, 2_000, |ms| ms as f64);
    for kind in [Kind::Gauge, Kind::Counter { range: None }] {
        let energy = told(&channel(kind), &readings, window(1_000, 3_000));
        assert_eq!((energy.joules, energy.coverage), (None, Some(0.5)));
    }
}

#[test]
fn readings_out_of_order_or_at_the_same_time_do_no_harm() {
    let mut readings = samples(10, 3_000, |ms| ms as f64);
    readings.insert(120, readings[119].clone());
    readings.swap(200, 240);
    for kind in [Kind::Gauge, Kind::Counter { range: None }, Kind::Counter { range: Some(1e4) }] {
        let energy = told(&channel(kind), &readings, window(1_000, 2_900));
        assert!(energy.joules.is_none_or(|joules| joules.is_finite() && joules >= 0.0), "{energy:?}");
    }
}
