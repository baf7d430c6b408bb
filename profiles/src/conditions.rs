//! The conditions under which tokens were generated: clock, temperature and throttling at each of them, and the
//! speed once the machine is warm.
//!
//! | split | which tokens |
//! |---|---|
//! | clean, throttled | by the throttle channels, over the time that the token took |
//! | burst | the first [`BURST_NS`] of measured decode |
//! | sustained | what comes after [`WARM_NS`] of it |
//!
//! Time between repetitions does not count: a machine cools then, but hardly.

use serde::{Deserialize, Serialize};

use crate::channel::{Channel, ChannelId, Class, Kind, Quantity, Sample, Scope, Unit};
use crate::job::Span;
use crate::phase::Phase;
use crate::stats::percentile;
use crate::totals::saturating_sum;

/// Decode that counts as a burst, ns.
pub const BURST_NS: u64 = 10_000_000_000;

/// Decode after which a machine counts as warm, ns.
pub const WARM_NS: u64 = 60_000_000_000;

/// A reading that is older than this is not used for a token, ns.
const FRESH_NS: u64 = 3_000_000_000;

/// Tokens that are stamped one by one; of more, the first.
const MAX_STAMPS: usize = 1 << 16;

/// The conditions of a run's decode.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Conditions {
    /// One for each decode step, in the order in which they ran.
    pub tokens: Vec<TokenStamp>,
    /// Tokens during which nothing throttled; null where the machine does not report it.
    pub clean: Option<Split>,
    /// Tokens during which something did.
    pub throttled: Option<Split>,
    /// Tokens of the first 10 s.
    pub burst: Option<Split>,
    /// Tokens after the first 60 s; null for shorter runs.
    pub sustained: Option<Split>,
    /// Why there is no split by throttling.
    pub reason: Option<String>,
}

/// The conditions of one decode step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TokenStamp {
    /// Repetition, from 0.
    #[serde(rename = "run")]
    pub repetition: u32,
    /// Step of the repetition, from 0.
    pub token: u32,
    /// When it was done, CLOCK_MONOTONIC ns.
    pub end_ns: u64,
    /// What it took, ns.
    pub duration_ns: u64,
    /// Mean clock of as many of the fastest CPUs as there are engine threads, Hz.
    pub frequency_hz: Option<f64>,
    /// The hottest sensor of what computes, °C; without one, the hottest that the firmware reports.
    pub celsius: Option<f64>,
    /// Whether anything throttled; null where no channel reports it.
    pub throttled: Option<bool>,
}

/// The speed of some of the tokens.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Split {
    /// How many.
    pub tokens: u64,
    /// Steps divided by their time.
    pub tokens_per_s: f64,
    /// Median time of a step, ns.
    pub token_ns: u64,
}

impl Split {
    fn of<'s>(stamps: impl Iterator<Item = &'s TokenStamp>) -> Option<Self> {
        let mut times: Vec<u64> = stamps.map(|stamp| stamp.duration_ns).collect();
        let (tokens, total_ns) = (times.len() as u64, saturating_sum(times.iter().copied()));
        let token_ns = percentile(&mut times, 0.5).filter(|_| total_ns > 0)?;
        Some(Self { tokens, tokens_per_s: tokens as f64 / (total_ns as f64 / 1e9), token_ns })
    }
}

impl Conditions {
    /// Stamps the decode steps of `spans`, computed by `threads` threads, with the readings of `samples`.
    pub fn of(spans: &[Span], threads: u32, samples: &[Sample], channels: &[Channel]) -> Self {
        let readings = Readings::of(samples, channels);
        let decode = spans.iter().filter(|span| span.phase == Phase::Decode);
        let tokens: Vec<TokenStamp> = decode.flat_map(|span| readings.stamps(span, threads)).collect();
        let since = tokens.iter().scan(0_u64, |sum_ns, stamp| {
            *sum_ns = sum_ns.saturating_add(stamp.duration_ns);
            Some(*sum_ns)
        });
        let since: Vec<u64> = since.collect();
        let by_time = |is_in: &dyn Fn(u64) -> bool| {
            Split::of(tokens.iter().zip(&since).filter(|&(_, &since)| is_in(since)).map(|(stamp, _)| stamp))
        };
        let by_throttling = |state| Split::of(tokens.iter().filter(|stamp| stamp.throttled == Some(state)));
        let is_known = tokens.iter().any(|stamp| stamp.throttled.is_some());
        let mut conditions = Self {
            clean: by_throttling(false),
            throttled: by_throttling(true),
            burst: by_time(&|since| since <= BURST_NS),
            sustained: by_time(&|since| since > WARM_NS),
            reason: (!is_known && !tokens.is_empty())
                .then(|| "this machine has no channel that reports throttling".to_owned()),
            tokens,
        };
        conditions.tokens.truncate(MAX_STAMPS);
        conditions
    }

    /// The first decode step during which something throttled.
    pub fn first_throttled(&self) -> Option<&TokenStamp> {
        self.tokens.iter().find(|stamp| stamp.throttled == Some(true))
    }
}

/// The readings that tokens are stamped with.
struct Readings {
    /// Clocks of CPUs.
    clocks: Vec<Steps>,
    temperatures: Vec<Steps>,
    /// Counters of throttling.
    counts: Vec<Steps>,
    /// Flags that are up while something throttles.
    flags: Vec<Steps>,
}

impl Readings {
    fn of(samples: &[Sample], channels: &[Channel]) -> Self {
        let readings = |wanted: &dyn Fn(&Channel) -> bool| -> Vec<Steps> {
            let wanted = channels.iter().filter(|channel| channel.reason.is_none() && wanted(channel));
            wanted.map(|channel| Steps::of(channel, samples)).filter(|steps| !steps.0.is_empty()).collect()
        };
        let first = |best: Vec<Steps>, other: &dyn Fn(&Channel) -> bool| {
            if best.is_empty() { readings(other) } else { best }
        };
        // Memory has a clock too. A frequency from counters is preferred to the one that the driver reports.
        let is_cpu_clock = |channel: &Channel| {
            let is_clock = channel.quantity == Quantity::Frequency && channel.unit == Unit::Hertz;
            is_clock && matches!(channel.scope, Scope::CpuN(_))
        };
        let counted = readings(&|channel| is_cpu_clock(channel) && channel.class == Class::Derived);
        let is_temperature = |channel: &Channel| channel.quantity == Quantity::Temperature;
        let near = readings(&|channel| is_temperature(channel) && channel.scope.computes());
        // A limit, and the distance to one, are no events.
        let is_throttle = |channel: &Channel| {
            channel.quantity == Quantity::Throttle && matches!(channel.unit, Unit::Count | Unit::Seconds)
        };
        Self {
            clocks: first(counted, &is_cpu_clock),
            temperatures: first(near, &|channel| is_temperature(channel) && channel.class == Class::Reported),
            counts: readings(&|channel| is_throttle(channel) && matches!(channel.kind, Kind::Counter { .. })),
            flags: readings(&|channel| is_throttle(channel) && channel.kind == Kind::Gauge),
        }
    }

    /// A stamp for each step of `span`, which `threads` threads computed.
    fn stamps(&self, span: &Span, threads: u32) -> impl Iterator<Item = TokenStamp> {
        let begins = std::iter::once(&span.begin_ns).chain(&span.token_ends_ns);
        let steps = span.token_ends_ns.iter().zip(begins).enumerate();
        steps.map(move |(token, (&end_ns, &begin_ns))| {
            let clocks = self.clocks.iter().filter_map(|steps| steps.at(end_ns));
            let temperatures = self.temperatures.iter().filter_map(|steps| steps.at(end_ns));
            TokenStamp {
                repetition: span.repetition,
                token: token as u32,
                end_ns,
                duration_ns: end_ns.saturating_sub(begin_ns),
                frequency_hz: mean_of_fastest(clocks, threads),
                celsius: temperatures.max_by(f64::total_cmp),
                throttled: throttled(&self.counts, &self.flags, begin_ns, end_ns),
            }
        })
    }
}

/// Readings of one channel, in order.
struct Steps(Vec<(u64, f64)>);

impl Steps {
    fn of(channel: &Channel, samples: &[Sample]) -> Self {
        let value = |sample: &Sample, id: ChannelId| {
            sample.values.iter().find(|(found, _)| *found == id).and_then(|(_, value)| value.get())
        };
        let mut steps: Vec<_> = samples
            .iter()
            .filter_map(|sample| Some((sample.t_ns, value(sample, channel.channel)?)))
            .collect();
        steps.sort_by_key(|&(t_ns, _)| t_ns);
        Self(steps)
    }

    /// The last value at or before a time, if it is fresh.
    fn at(&self, t_ns: u64) -> Option<f64> {
        let after = self.0.partition_point(|&(at, _)| at <= t_ns);
        let &(at, value) = self.0.get(after.checked_sub(1)?)?;
        (t_ns - at <= FRESH_NS).then_some(value)
    }

    /// The first value at or after a time, if it comes soon.
    fn after(&self, t_ns: u64) -> Option<f64> {
        let at = self.0.partition_point(|&(at, _)| at < t_ns);
        self.0.get(at).filter(|&&(at, _)| at - t_ns <= FRESH_NS).map(|&(_, value)| value)
    }
}

/// Counters that moved between the readings around the token, or flags that were up at its begin or end.
fn throttled(counts: &[Steps], flags: &[Steps], begin_ns: u64, end_ns: u64) -> Option<bool> {
    let moved = counts.iter().filter_map(|steps| {
        let (before, after) = (steps.at(begin_ns)?, steps.after(end_ns).or_else(|| steps.at(end_ns))?);
        Some(after > before)
    });
    let up = flags.iter().filter_map(|steps| {
        let ends = [steps.at(begin_ns), steps.at(end_ns)];
        ends.into_iter().flatten().reduce(f64::max).map(|flag| flag > 0.0)
    });
    moved.chain(up).reduce(|a, b| a || b)
}

fn mean_of_fastest(clocks: impl Iterator<Item = f64>, threads: u32) -> Option<f64> {
    let mut clocks: Vec<f64> = clocks.collect();
    clocks.sort_by(|a, b| b.total_cmp(a));
    clocks.truncate(threads.max(1) as usize);
    (!clocks.is_empty()).then(|| clocks.iter().sum::<f64>() / clocks.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::{Reason, ReasonCode, Value};

    const SECOND: u64 = 1_000_000_000;

    fn channel(number: u16, id: &str, quantity: Quantity, unit: Unit, kind: Kind) -> Channel {
        Channel {
            channel: number,
            id: id.to_owned(),
            quantity,
            unit,
            scope: match id.strip_prefix("freq.cpu").and_then(|rest| rest[..1].parse().ok()) {
                Some(cpu) => Scope::CpuN(cpu),
                None if id == "temp.cpu" => Scope::Package,
                None => Scope::Machine,
            },
            class: if id.ends_with(".active") { Class::Derived } else { Class::Measured },
            kind,
            source: String::new(),
            period_ns: None,
            update_ns: None,
            reason: None,
            remedy: None,
        }
    }

    fn channels() -> Vec<Channel> {
        vec![
            channel(0, "freq.cpu0", Quantity::Frequency, Unit::Hertz, Kind::Gauge),
            channel(1, "freq.cpu1", Quantity::Frequency, Unit::Hertz, Kind::Gauge),
            channel(2, "temp.cpu", Quantity::Temperature, Unit::Celsius, Kind::Gauge),
            channel(3, "temp.nvme.Composite", Quantity::Temperature, Unit::Celsius, Kind::Gauge),
            channel(4, "throttle.cpu0.core", Quantity::Throttle, Unit::Count, Kind::Counter { range: None }),
            channel(5, "freq.emc", Quantity::Frequency, Unit::Hertz, Kind::Gauge),
        ]
    }

    /// Ten steps a second for 100 s, five after 80 s; the throttle counter moves all the time from then on.
    fn run() -> (Vec<Span>, Vec<Sample>) {
        let mut ends = Vec::new();
        let mut at = 0;
        while at < 100 * SECOND {
            at += if at < 80 * SECOND { SECOND / 10 } else { SECOND / 5 };
            ends.push(at);
        }
        let span = Span {
            job: 1,
            repetition: 0,
            phase: Phase::Decode,
            begin_ns: 0,
            end_ns: at,
            tokens: ends.len() as u32,
            sample_ns: 0,
            token_ends_ns: ends,
        };
        let samples = (0..202)
            .map(|half| {
                let t_ns = half * SECOND / 2;
                let (clock, heat) = if half < 160 { (2e9, 70.0) } else { (1e9, 95.0) };
                let throttles = half.saturating_sub(160) as f64;
                let values = [clock, 4e8, heat, 99.0, 7.0 + throttles, 3.2e9];
                let values = (0..).zip(values.map(Value::Present)).collect();
                Sample { t_ns, values, ..Sample::default() }
            })
            .collect();
        (vec![span], samples)
    }

    #[test]
    fn tokens_are_stamped_and_split() {
        let (spans, samples) = run();
        let conditions = Conditions::of(&spans, 1, &samples, &channels());
        let first = conditions.tokens[0];
        assert_eq!((first.frequency_hz, first.celsius), (Some(2e9), Some(70.0)));
        assert_eq!(first.throttled, Some(false));
        let last = conditions.tokens.last().unwrap();
        assert_eq!((last.frequency_hz, last.celsius, last.throttled), (Some(1e9), Some(95.0), Some(true)));
        let rate = |split: Option<Split>| split.unwrap().tokens_per_s;
        assert!((rate(conditions.burst) - 10.0).abs() < 1e-6);
        assert!((rate(conditions.sustained) - 7.5).abs() < 0.05, "200 steps in 20 s, 100 in 20 s");
        assert!((rate(conditions.clean) - 10.0).abs() < 0.1);
        assert!((rate(conditions.throttled) - 5.0).abs() < 0.1);
        assert_eq!(conditions.first_throttled().unwrap().end_ns / SECOND, 80);
        assert_eq!(Conditions::of(&spans, 2, &samples, &channels()).tokens[0].frequency_hz, Some(1.2e9));
    }

    #[test]
    fn counted_clocks_go_before_reported_ones() {
        let (spans, mut samples) = run();
        let mut channels = channels();
        channels.push(channel(6, "freq.cpu1.active", Quantity::Frequency, Unit::Hertz, Kind::Gauge));
        assert_eq!(Conditions::of(&spans, 1, &samples, &channels).tokens[0].frequency_hz, Some(2e9));
        for sample in &mut samples {
            sample.values.push((6, Value::Present(1.5e9)));
        }
        assert_eq!(Conditions::of(&spans, 1, &samples, &channels).tokens[0].frequency_hz, Some(1.5e9));
    }

    #[test]
    fn the_heat_is_that_of_what_computes_or_what_the_firmware_reports() {
        let (spans, samples) = run();
        let mut channels = channels();
        let first = |channels: &[Channel]| Conditions::of(&spans, 1, &samples, channels).tokens[0].celsius;
        assert_eq!(first(&channels), Some(70.0), "the drive has 99 °C");
        channels[2].scope = Scope::Machine;
        assert_eq!(first(&channels), None);
        channels[2].class = Class::Reported;
        assert_eq!(first(&channels), Some(70.0));
    }

    /// A clock that may go as high as it can, and 25 °C below the trip point.
    #[test]
    fn what_is_left_to_a_limit_is_no_throttling() {
        let (spans, mut samples) = run();
        let mut channels = channels();
        channels[4].reason = Some(Reason::new(ReasonCode::Permission, ""));
        channels.push(channel(6, "throttle.cpu0.limit", Quantity::Throttle, Unit::Ratio, Kind::Gauge));
        channels.push(channel(7, "throttle.cpu.margin", Quantity::Throttle, Unit::Celsius, Kind::Gauge));
        for sample in &mut samples {
            sample.values.extend([(6, Value::Present(1.0)), (7, Value::Present(25.0))]);
        }
        assert_eq!(Conditions::of(&spans, 1, &samples, &channels).tokens[0].throttled, None);
        channels.push(channel(8, "throttle.throttled", Quantity::Throttle, Unit::Count, Kind::Gauge));
        for sample in &mut samples {
            sample.values.push((8, Value::Present(0.0)));
        }
        assert_eq!(Conditions::of(&spans, 1, &samples, &channels).tokens[0].throttled, Some(false));
    }

    #[test]
    fn without_channels_there_are_times_and_no_conditions() {
        let (spans, _) = run();
        let conditions = Conditions::of(&spans, 1, &[], &[]);
        let first = conditions.tokens[0];
        assert_eq!((first.frequency_hz, first.celsius, first.throttled), (None, None, None));
        assert_eq!((conditions.clean, conditions.throttled), (None, None));
        assert!(conditions.burst.is_some() && conditions.reason.is_some());
        assert_eq!(Conditions::of(&[], 1, &[], &[]), Conditions::default());
    }

    #[test]
    fn old_readings_say_nothing() {
        let (spans, mut samples) = run();
        samples.truncate(3);
        let conditions = Conditions::of(&spans, 1, &samples, &channels());
        assert!(conditions.tokens[0].celsius.is_some());
        assert!(conditions.tokens[100].celsius.is_none());
        assert_eq!(conditions.tokens[100].throttled, None);
    }
}
