use super::*;
use crate::channel::Class;

const SECOND: u64 = 1_000_000_000;
const MS: u64 = 1_000_000;

fn channel(number: ChannelId, (quantity, unit): (Quantity, Unit), scope: Scope, kind: Kind) -> Channel {
    Channel {
        channel: number,
        id: format!("channel{number}"),
        quantity,
        unit,
        scope,
        class: Class::Measured,
        kind,
        source: format!("file{number}"),
        period_ns: Some(100 * MS),
        update_ns: None,
        reason: None,
        remedy: None,
    }
}

/// A counter with its rate.
fn counter(quantity: Quantity, unit: Unit, scope: Scope, range: Option<f64>) -> [Channel; 2] {
    let (counted, rate) = match quantity {
        Quantity::Power => ((Quantity::Energy, Unit::Joules), Kind::Rate { of: 0 }),
        _ => ((quantity, Unit::Seconds), Kind::Rate { of: 0 }),
    };
    [channel(0, counted, scope.clone(), Kind::Counter { range }), channel(1, (quantity, unit), scope, rate)]
}

type Readings = Vec<(u64, Value)>;

fn of(all: &[Channel], number: usize, now_ns: u64, seen: &[Readings]) -> Result<(u64, f64), ReasonCode> {
    let readings = |number: ChannelId| {
        let readings = seen.get(usize::from(number)).map_or(&[][..], Vec::as_slice);
        Some((all.get(usize::from(number))?, readings.iter().rev().copied()))
    };
    value(&all[number], Some(now_ns), readings)
        .map(|derived| (derived.t_ns, derived.value))
        .map_err(|missing| missing.cause.code())
}

/// The rate at the last of these readings of a counter.
fn rate_at_last(channels: &[Channel; 2], readings: &[(u64, f64)]) -> Result<f64, ReasonCode> {
    let seen: Readings = readings.iter().map(|&(t_ns, value)| (t_ns, Value::Present(value))).collect();
    let now_ns = seen.last().map_or(0, |last| last.0);
    of(channels, 1, now_ns, &[seen]).map(|(_, rate)| rate)
}

#[test]
fn a_counter_wraps_once_and_never_guesses() {
    assert_eq!(rate((0, 10.0), (2_000_000_000, 30.0), None), Some(10.0));
    assert_eq!(rate((0, 95.0), (1_000_000_000, 5.0), Some(100.0)), Some(10.0));
    assert_eq!(rate((0, 95.0), (1_000_000_000, 5.0), None), None);
    assert_eq!(rate((5, 1.0), (5, 2.0), None), None);
    assert_eq!(rate((6, 1.0), (5, 2.0), None), None);
    assert_eq!(difference(500.0, 5.0, Some(100.0)), None);
}

#[test]
fn a_busy_cpu_is_not_busy_for_101_percent_and_a_process_may_be_for_200() {
    let busy = [(0, 5.0), (250 * MS, 5.253)];
    let share = |scope| rate_at_last(&counter(Quantity::Cpu, Unit::Ratio, scope, None), &busy);
    assert_eq!(share(Scope::Machine), Ok(1.0));
    assert_eq!(share(Scope::CpuN(3)), Ok(1.0));
    assert_eq!(share(Scope::GpuN(0)), Ok(1.0));
    let above = share(Scope::Process).unwrap();
    assert!((above - 1.012).abs() < 1e-9, "{above}");
    assert_eq!(share(Scope::Cgroup), Ok(above));
}

#[test]
fn an_energy_counter_that_did_not_move_is_stale_and_not_0_watts() {
    let power = counter(Quantity::Power, Unit::Watts, Scope::Package, None);
    assert_eq!(rate_at_last(&power, &[(0, 7.0), (250 * MS, 7.0)]), Err(ReasonCode::Stale));
    assert_eq!(rate_at_last(&power, &[(0, 7.0), (250 * MS, 10.0), (500 * MS, 10.0)]), Ok(6.0));
    let cpu = counter(Quantity::Cpu, Unit::Ratio, Scope::CpuN(0), None);
    assert_eq!(rate_at_last(&cpu, &[(0, 7.0), (250 * MS, 7.0)]), Ok(0.0), "an idle CPU is a measurement");
}

#[test]
fn a_rate_is_that_of_the_last_second_or_of_two_updates_of_a_slower_sensor() {
    let mut power = counter(Quantity::Power, Unit::Watts, Scope::Package, None);
    // 10 W for two seconds, then 20 W.
    let readings: Vec<(u64, f64)> = (0..=30_u64)
        .map(|tenth| (tenth * SECOND / 10, tenth.min(20) as f64 + tenth.saturating_sub(20) as f64 * 2.0))
        .collect();
    assert_eq!(rate_at_last(&power, &readings), Ok(20.0));
    power[0].update_ns = Some(SECOND);
    assert_eq!(rate_at_last(&power, &readings), Ok(15.0));
}

#[test]
fn a_counter_that_was_reset_has_no_rate_then_and_has_one_again_at_the_next_reading() {
    let power = |range| counter(Quantity::Power, Unit::Watts, Scope::Package, range);
    let readings = [(0, 90.0), (100 * MS, 95.0), (200 * MS, 3.0), (300 * MS, 5.0)];
    let at = |range, last: usize| rate_at_last(&power(range), &readings[..last]);
    assert_eq!(at(None, 1), Err(ReasonCode::NeedsTwoReadings));
    assert_eq!(at(None, 2), Ok(50.0));
    assert_eq!(at(None, 3), Err(ReasonCode::Implausible));
    assert_eq!(at(None, 4), Ok(20.0));
    let wrapped = at(Some(100.0), 4).unwrap();
    assert!((wrapped - 50.0).abs() < 1e-9, "5 + 8 + 2 J in 0.3 s: {wrapped}");
}

#[test]
fn no_rate_is_taken_across_a_gap_or_a_clock_that_went_back() {
    let power = counter(Quantity::Power, Unit::Watts, Scope::Package, None);
    let gap = Value::Absent(ReasonCode::ReadError);
    let mut seen = vec![(0, Value::Present(1.0)), (100 * MS, gap)];
    assert_eq!(of(&power, 1, 100 * MS, &[seen.clone()]), Err(ReasonCode::ReadError));
    seen.push((200 * MS, Value::Present(9.0)));
    assert_eq!(of(&power, 1, 200 * MS, &[seen.clone()]), Err(ReasonCode::NeedsTwoReadings));
    seen.push((300 * MS, Value::Present(10.0)));
    assert_eq!(of(&power, 1, 300 * MS, &[seen]), Ok((300 * MS, 10.0)));
    assert_eq!(rate_at_last(&power, &[(SECOND, 1.0), (SECOND / 2, 2.0)]), Err(ReasonCode::Implausible));
    assert_eq!(rate_at_last(&power, &[(SECOND, 1.0), (SECOND, 2.0)]), Err(ReasonCode::NeedsTwoReadings));
    assert_eq!(rate_at_last(&power, &[(0, -f64::MAX), (1, f64::MAX)]), Err(ReasonCode::Implausible));
}

#[test]
fn a_sum_is_as_old_as_its_oldest_part_and_lacks_what_a_part_lacks() {
    let watts = (Quantity::Power, Unit::Watts);
    let all = [
        channel(0, (Quantity::Energy, Unit::Joules), Scope::Package, Kind::Counter { range: None }),
        channel(1, watts, Scope::Gpu, Kind::Gauge),
        channel(2, watts, Scope::Package, Kind::Sum { of: vec![0, 1] }),
        channel(3, watts, Scope::Package, Kind::Sum { of: vec![0, 9] }),
        channel(4, watts, Scope::Package, Kind::Sum { of: Vec::new() }),
    ];
    let counted = |newer: f64| vec![(0, Value::Present(5.0)), (SECOND, Value::Present(newer))];
    let card = |value| vec![(2 * SECOND, value)];
    let sum = |seen: [Readings; 2], now_s: u64| of(&all, 2, now_s * SECOND, &seen);
    let there = Value::Present(36.0);
    assert_eq!(sum([counted(15.0), card(there)], 2), Ok((SECOND, 46.0)));
    assert_eq!(sum([counted(5.0), card(there)], 2), Err(ReasonCode::Stale));
    assert_eq!(sum([counted(15.0), card(there)], 8), Err(ReasonCode::Stale), "read 7 s ago, every 0.1 s");
    let asleep = Value::Absent(ReasonCode::GatedOrAsleep);
    assert_eq!(sum([counted(15.0), card(asleep)], 2), Err(ReasonCode::GatedOrAsleep));
    assert_eq!(sum([counted(15.0), Vec::new()], 2), Err(ReasonCode::Deadline));
    let seen = [counted(15.0), card(there)];
    assert_eq!(of(&all, 3, 2 * SECOND, &seen), Err(ReasonCode::Vanished));
    assert_eq!(of(&all, 4, 2 * SECOND, &seen), Err(ReasonCode::Vanished), "nothing is no 0 W");
}

#[test]
fn a_reading_is_stale_after_three_periods_but_not_before_6_seconds() {
    let mut gauge = channel(0, (Quantity::Power, Unit::Watts), Scope::Package, Kind::Gauge);
    assert!(!is_stale(&gauge, SECOND, 7 * SECOND));
    assert!(is_stale(&gauge, SECOND, 7 * SECOND + 1));
    gauge.period_ns = Some(5 * SECOND);
    assert!(!is_stale(&gauge, SECOND, 16 * SECOND));
    assert!(is_stale(&gauge, SECOND, 16 * SECOND + 1));
    assert!(!is_stale(&gauge, SECOND, 0), "a clock that went back makes nothing old");
}
