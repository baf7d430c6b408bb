//! Values that are derived from readings: rates of counters, and sums of channels.
//!
//! The doctor has two readings of a channel, the dashboard a stream of them, a recording all of them. Each calls
//! [`value`], so they report the same of the same readings. The rules:
//!
//! | question | rule |
//! |---|---|
//! | over which time is a rate taken | the last second, or two updates of a sensor that is slower ([`window_ns`]); over what there is where readings begin later |
//! | there is only one reading, or no time passed | no rate: two readings are needed |
//! | a reading has no value | no rate is taken across it; where it is the last one, its reason is that of the rate |
//! | the counter fell | it wrapped, once, if its range is known and the fall fits; otherwise this reading has no rate, and later ones start anew from it |
//! | the clock of the readings went back | the same as a counter that fell. The clock is CLOCK_MONOTONIC, which nobody sets |
//! | a share is above 1 | it is 1: one thing cannot be busy for longer than the time that passed, but time is counted in ticks of up to 10 ms. Processes and control groups use several CPUs, so their share may be above 1 |
//! | an energy counter did not move | no power: what runs uses energy all the time, so the sensor stands still. It is stale, not 0 W |
//! | the last reading is old | stale after three periods, but not before 6 s ([`stale_after_ns`]) |
//! | a part of a sum has no value | the sum has none, for the same reason |
//! | how old is a sum | as old as its oldest part |

use super::{Channel, ChannelId, Kind, Quantity, ReasonCode, Scope, Unit, Value};

/// Counters tick in steps; a rate over less than this shows the steps.
const RATE_WINDOW_NS: u64 = 1_000_000_000;

/// A rate is taken over so many updates of a sensor that is slower than the window.
const UPDATES: u64 = 2;

/// A value is stale after so many periods, but not before [`FRESH_NS`]: an idle daemon reads every 5 s.
const STALE_PERIODS: u64 = 3;
const FRESH_NS: u64 = 6_000_000_000;

/// A value that was derived.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Derived {
    /// CLOCK_MONOTONIC ns of the reading it is as old as.
    pub t_ns: u64,
    /// The value, in the unit of the channel that was asked for.
    pub value: f64,
}

/// Why a channel has no value now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missing {
    /// The channel that was read, or should have been: the counter of a rate, the part of a sum.
    pub channel: ChannelId,
    /// What is the matter with it.
    pub cause: Cause,
}

/// What is the matter with a channel that something is derived from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Its last reading has no value.
    Absent(ReasonCode),
    /// It was never read.
    Unread,
    /// It is not in the catalogue.
    Unknown,
    /// A counter with one reading, or one since the last that had no value.
    NeedsTwoReadings,
    /// A counter that fell, or readings whose times did.
    WentBackwards,
    /// An energy counter that did not move.
    Unmoved,
    /// Its last reading is too old.
    Old,
}

impl Cause {
    /// The code under which this is reported.
    pub fn code(self) -> ReasonCode {
        match self {
            Self::Absent(code) => code,
            Self::Unread => ReasonCode::Deadline,
            Self::Unknown => ReasonCode::Vanished,
            Self::NeedsTwoReadings => ReasonCode::NeedsTwoReadings,
            Self::WentBackwards => ReasonCode::Implausible,
            Self::Unmoved | Self::Old => ReasonCode::Stale,
        }
    }
}

/// The value of `channel` from readings: of itself, of its counter, of its parts.
///
/// `readings` returns, of the channel with a number, its line of the catalogue and its readings, the newest first;
/// `None` if there is no such channel. `now_ns` is the time at which old readings are stale; `None` where readings
/// have no age, as those of a captured tree.
///
/// # Errors
/// Which channel has no value, and why.
pub fn value<'c, R>(
    channel: &Channel,
    now_ns: Option<u64>,
    readings: impl Fn(ChannelId) -> Option<(&'c Channel, R)>,
) -> Result<Derived, Missing>
where
    R: Iterator<Item = (u64, Value)>,
{
    let last = |number: ChannelId| {
        let missing = |cause| Missing { channel: number, cause };
        let (channel, readings) = readings(number).ok_or(missing(Cause::Unknown))?;
        let mut readings = readings.peekable();
        let &(t_ns, value) = readings.peek().ok_or(missing(Cause::Unread))?;
        match value {
            _ if now_ns.is_some_and(|now_ns| is_stale(channel, t_ns, now_ns)) => Err(missing(Cause::Old)),
            Value::Absent(code) => Err(missing(Cause::Absent(code))),
            Value::Present(value) => Ok((channel, readings, Derived { t_ns, value })),
        }
    };
    let latest = |number| last(number).map(|(_, _, derived)| derived);
    let rate = |number| {
        let (counter, readings, last) = last(number)?;
        let value =
            rate_of(counter, channel, readings).map_err(|cause| Missing { channel: number, cause })?;
        Ok(Derived { value, ..last })
    };
    let is_counter = |&number: &ChannelId| {
        readings(number).is_some_and(|(part, _)| matches!(part.kind, Kind::Counter { .. }))
    };
    match &channel.kind {
        Kind::Gauge | Kind::Counter { .. } => latest(channel.channel),
        &Kind::Rate { of } => rate(of),
        Kind::Sum { of } => of
            .iter()
            .map(|part| if is_counter(part) { rate(*part) } else { latest(*part) })
            .reduce(|sum, part| {
                let (sum, part) = (sum?, part?);
                Ok(Derived { t_ns: sum.t_ns.min(part.t_ns), value: sum.value + part.value })
            })
            .unwrap_or(Err(Missing { channel: channel.channel, cause: Cause::Unknown })),
    }
}

/// The rate of `counter` in the unit of `channel`, from readings of which the last has a value.
fn rate_of(
    counter: &Channel,
    channel: &Channel,
    newest_first: impl Iterator<Item = (u64, Value)>,
) -> Result<f64, Cause> {
    let range = if let Kind::Counter { range } = counter.kind { range } else { None };
    let window_ns = window_ns(counter);
    let mut readings = newest_first.map_while(|(t_ns, value)| Some((t_ns, value.get()?)));
    let newest = readings.next().ok_or(Cause::NeedsTwoReadings)?;
    let (mut first, mut increase, mut broken) = (newest, 0.0, Cause::NeedsTwoReadings);
    for older in readings {
        let Some(step) = difference(older.1, first.1, range).filter(|_| older.0 <= first.0) else {
            broken = Cause::WentBackwards;
            break;
        };
        increase += step;
        first = older;
        if newest.0 - older.0 >= window_ns {
            break;
        }
    }
    if newest.0 == first.0 {
        return Err(broken);
    }
    let rate = increase / ((newest.0 - first.0) as f64 / 1e9);
    if !rate.is_finite() {
        return Err(Cause::WentBackwards);
    }
    if channel.quantity == Quantity::Power && increase <= 0.0 {
        return Err(Cause::Unmoved);
    }
    let is_capped = channel.unit == Unit::Ratio && !uses_several_cpus(&channel.scope);
    Ok(if is_capped { rate.min(1.0) } else { rate })
}

/// Whether a share of this scope may be above 1.
fn uses_several_cpus(scope: &Scope) -> bool {
    matches!(scope, Scope::Process | Scope::Cgroup)
}

/// The time over which the rate of a counter is taken where its readings reach back so far, ns.
pub fn window_ns(counter: &Channel) -> u64 {
    counter.update_ns.map_or(0, |ns| ns.saturating_mul(UPDATES)).max(RATE_WINDOW_NS)
}

/// The age from which on a reading of this channel is stale, ns.
pub fn stale_after_ns(channel: &Channel) -> u64 {
    channel.period_ns.map_or(0, |ns| ns.saturating_mul(STALE_PERIODS)).max(FRESH_NS)
}

/// Whether a reading that was taken at `t_ns` is older at `now_ns` than one of this channel should be.
pub fn is_stale(channel: &Channel, t_ns: u64, now_ns: u64) -> bool {
    now_ns.saturating_sub(t_ns) > stale_after_ns(channel)
}

/// Increase per second of a counter between two readings, with at most one wrap.
///
/// `None` if no time passed, or the counter went down and its range is unknown or smaller than the value.
pub fn rate(older: (u64, f64), newer: (u64, f64), range: Option<f64>) -> Option<f64> {
    let elapsed_ns = newer.0.checked_sub(older.0).filter(|&ns| ns > 0)?;
    Some(difference(older.1, newer.1, range)? / (elapsed_ns as f64 / 1e9))
}

/// Increase of a counter between two readings, with at most one wrap; see [`rate`] for `None`.
pub fn difference(older: f64, newer: f64, range: Option<f64>) -> Option<f64> {
    let direct = newer - older;
    if direct >= 0.0 {
        return Some(direct);
    }
    let wrapped = direct + range?;
    (wrapped >= 0.0).then_some(wrapped)
}

#[cfg(test)]
mod tests;
