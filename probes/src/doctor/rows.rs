//! The rows of the report: what readings say of each channel, and why others say nothing.

use slmscope_profiles::channel::derive::{self, Cause};
use slmscope_profiles::channel::{
    BATTERY_POWER, Channel, ChannelId, Class, Kind, Reason, ReasonCode, Sample, Scope, Value,
};
use slmscope_profiles::doctor::DoctorRow;

use crate::machine::root::plain_reason;

/// The readings of a channel.
#[derive(Default, Clone)]
struct Seen {
    /// When (CLOCK_MONOTONIC, ns) and what, oldest first.
    readings: Vec<(u64, Value)>,
    cost_ns: Option<u64>,
    update_ns: Option<u64>,
}

/// One row for each of `channels`, which are in the order of their numbers. `samples` are what was read of them, the
/// oldest first. `now_ns` (CLOCK_MONOTONIC) is the time of the report; `None` where readings have no age, as in a
/// captured tree.
pub fn rows(channels: &[Channel], samples: &[Sample], now_ns: Option<u64>) -> Vec<DoctorRow> {
    let mut seen = vec![Seen::default(); channels.len()];
    for sample in samples {
        for &(channel, value) in &sample.values {
            let Some(seen) = seen.get_mut(usize::from(channel)) else { continue };
            seen.readings.push((sample.t_ns, value));
            // The cost of the last reading: the first one costs more than later ones.
            seen.cost_ns = Some(sample.cost_ns);
            seen.update_ns = sample.update_ns_of(channel).or(seen.update_ns);
        }
    }
    channels.iter().map(|channel| row(channel, channels, &seen, now_ns)).collect()
}

/// `now` is given where readings have an age.
fn row(channel: &Channel, all: &[Channel], seen: &[Seen], now: Option<u64>) -> DoctorRow {
    // A rate costs what its counter costs, and is new when that is. A sum has no source of its own.
    let behind = match channel.kind {
        Kind::Rate { of } => Some(of),
        Kind::Gauge | Kind::Counter { .. } => Some(channel.channel),
        Kind::Sum { .. } => None,
    };
    let behind = behind.and_then(|behind| seen.get(usize::from(behind))).filter(|_| now.is_some());
    let (time, value, reason) = match reading(channel, all, seen, now) {
        Ok((time, value)) => (Some(time), Some(value), None),
        Err(reason) => (None, None, Some(reason)),
    };
    // A channel that only needs a second reading is not unavailable.
    let class = match &reason {
        Some(reason) if reason.code != ReasonCode::NeedsTwoReadings => Class::Unavailable,
        _ => channel.class,
    };
    DoctorRow {
        id: channel.id.clone(),
        quantity: channel.quantity,
        unit: channel.unit,
        scope: channel.scope.clone(),
        class,
        source: channel.source.clone(),
        period_ns: channel.period_ns,
        update_ns: behind.and_then(|seen| seen.update_ns),
        cost_ns: behind.and_then(|seen| seen.cost_ns),
        age_ns: now.and_then(|now| Some(now.saturating_sub(time?))),
        value,
        reason,
        remedy: channel.remedy.clone(),
    }
}

/// The value of a channel, and when it was read. `now` is given where readings have an age.
fn reading(
    channel: &Channel,
    all: &[Channel],
    seen: &[Seen],
    now: Option<u64>,
) -> Result<(u64, f64), Reason> {
    if let Some(reason) = &channel.reason {
        return Err(reason.clone());
    }
    let readings = |number: ChannelId| {
        let readings = seen.get(usize::from(number)).map_or(&[][..], |seen| &seen.readings);
        Some((all.get(usize::from(number))?, readings.iter().rev().copied()))
    };
    let derived = derive::value(channel, now, readings);
    derived.map(|derived| (derived.t_ns, derived.value)).map_err(|missing| {
        let read = all.get(usize::from(missing.channel)).unwrap_or(channel);
        explain(missing.cause, read)
    })
}

/// Why the channel that was read has no value, for a person.
fn explain(cause: Cause, channel: &Channel) -> Reason {
    match cause {
        Cause::Absent(code @ ReasonCode::NoSuchInterface) if channel.scope == Scope::Process => {
            Reason::new(code, "no worker process runs at the moment")
        }
        Cause::Absent(code @ ReasonCode::Vanished) if channel.id == BATTERY_POWER => Reason::new(
            code,
            "the batteries do not feed the machine, or not alone: see their status and what is plugged in",
        ),
        Cause::Absent(code @ ReasonCode::NotSupported) if channel.scope == Scope::Cgroup => {
            Reason::new(code, "no limit is set for this group or above it")
        }
        Cause::WentBackwards => {
            Reason::new(cause.code(), format!("{}: the counter went backwards", channel.source))
        }
        _ => plain_reason(cause.code(), &channel.source),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slmscope_profiles::channel::{Quantity, Unit};

    const SECOND: u64 = 1_000_000_000;

    fn channel(channel: ChannelId, unit: Unit, kind: Kind) -> Channel {
        Channel {
            channel,
            id: format!("part{channel}"),
            quantity: if unit == Unit::Joules { Quantity::Energy } else { Quantity::Power },
            unit,
            scope: Scope::Package,
            class: Class::Measured,
            kind,
            source: format!("file{channel}"),
            period_ns: None,
            update_ns: None,
            reason: None,
            remedy: None,
        }
    }

    /// The clock of the readings is never set; a share would stay at most one even if it were.
    #[test]
    fn a_clock_that_steps_makes_no_wild_share() {
        let mut busy = channel(0, Unit::Seconds, Kind::Counter { range: None });
        busy.id = "cpu.machine.time".to_owned();
        let share = Channel {
            quantity: Quantity::Cpu,
            unit: Unit::Ratio,
            scope: Scope::Machine,
            kind: Kind::Rate { of: 0 },
            ..channel(1, Unit::Ratio, Kind::Gauge)
        };
        let all = [busy, share];
        let over = |elapsed_ns: u64| {
            let readings =
                vec![(20 * SECOND, Value::Present(5.0)), (10 * SECOND + elapsed_ns, Value::Present(5.1))];
            reading(&all[1], &all, &[Seen { readings, ..Seen::default() }], None)
                .map_err(|reason| reason.code)
        };
        assert_eq!(over(10 * SECOND + SECOND / 100), Ok((20 * SECOND + SECOND / 100, 1.0)), "0.1 s in 10 ms");
        assert_eq!(over(SECOND / 4), Err(ReasonCode::Implausible), "10 s back");
        let (_, after) = over(20 * SECOND).unwrap();
        assert!((after - 0.01).abs() < 1e-9, "10 s on: {after}");
    }

    /// The dashboard's tests have the same readings and the same answers.
    #[test]
    fn a_busy_cpu_is_not_reported_as_101_percent() {
        let share = Channel {
            quantity: Quantity::Cpu,
            scope: Scope::Machine,
            kind: Kind::Rate { of: 0 },
            ..channel(1, Unit::Ratio, Kind::Gauge)
        };
        let all = [channel(0, Unit::Seconds, Kind::Counter { range: None }), share];
        let readings =
            vec![(20 * SECOND, Value::Present(5.0)), (20 * SECOND + SECOND / 4, Value::Present(5.253))];
        let row = row(&all[1], &all, &[Seen { readings, ..Seen::default() }], None);
        assert_eq!((row.value, row.reason), (Some(1.0), None));
    }

    /// The dashboard's tests have the same readings and the same answers.
    #[test]
    fn an_energy_counter_that_did_not_move_is_reported_as_stale_and_not_as_0_watts() {
        let energy = channel(0, Unit::Joules, Kind::Counter { range: None });
        let power = Channel { kind: Kind::Rate { of: 0 }, ..channel(1, Unit::Watts, Kind::Gauge) };
        let all = [energy, power];
        let readings = [20 * SECOND, 20 * SECOND + SECOND / 4].map(|t_ns| (t_ns, Value::Present(7.0)));
        let row = row(&all[1], &all, &[Seen { readings: readings.to_vec(), ..Seen::default() }], None);
        assert_eq!((row.value, row.reason.map(|reason| reason.code)), (None, Some(ReasonCode::Stale)));
    }

    #[test]
    fn a_sum_adds_watts_of_counters_and_gauges_and_is_as_old_as_its_oldest_part() {
        let all = [
            channel(0, Unit::Joules, Kind::Counter { range: Some(100.0) }),
            channel(1, Unit::Watts, Kind::Gauge),
            channel(2, Unit::Watts, Kind::Sum { of: vec![0, 1] }),
        ];
        let second = SECOND;
        let sum = |counter: [f64; 2], gauge: Value| {
            let seen = |readings: Vec<(u64, Value)>| Seen { readings, ..Seen::default() };
            let [older, newer] = counter.map(Value::Present);
            let seen = [seen(vec![(0, older), (second, newer)]), seen(vec![(2 * second, gauge)])];
            reading(&all[2], &all, &seen, None).map_err(|reason| (reason.code, reason.detail))
        };
        assert_eq!(sum([95.0, 5.0], Value::Present(36.0)), Ok((second, 46.0)));
        let asleep = sum([1.0, 5.0], Value::Absent(ReasonCode::GatedOrAsleep)).unwrap_err();
        assert_eq!(asleep.0, ReasonCode::GatedOrAsleep);
        let stuck = sum([5.0, 5.0], Value::Present(36.0)).unwrap_err();
        assert!(stuck.0 == ReasonCode::Stale && stuck.1.contains("file0"), "{stuck:?}");
    }
}
