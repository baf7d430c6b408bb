//! Channels with their recent history, and the choice of those that the Live screen shows.

use std::collections::{HashMap, VecDeque};

use slmscope_profiles::channel::derive::{self, Cause};
use slmscope_profiles::channel::{
    Channel, ChannelId, Class, Coverage, Kind, Quantity, ReasonCode, Sample, Scope, Unit, Value,
};

/// Readings kept per channel: a minute at 10 Hz.
const HISTORY: usize = 600;
/// Readings within which a counter of throttling moved if something throttles: four seconds at 5 Hz.
const THROTTLE_READINGS: usize = 20;
/// Limit of channels, far more than any machine has.
const MAX_CHANNELS: usize = 8192;

/// One channel and its recent readings.
#[derive(Debug, Clone)]
pub(super) struct Track {
    /// Its catalogue entry, with the observed time between two new values.
    pub(super) channel: Channel,
    /// Time of the last reading, ns; `None` before the first.
    pub(super) read_ns: Option<u64>,
    /// Why the last reading had no value.
    pub(super) absent: Option<ReasonCode>,
    /// CPU time of a reading of its source, ns.
    pub(super) cost_ns: Option<u64>,
    /// Time and value, oldest first; `None` is a gap.
    history: VecDeque<(u64, Option<f64>)>,
}

impl Track {
    fn new(channel: Channel) -> Self {
        Self { channel, read_ns: None, absent: None, cost_ns: None, history: VecDeque::new() }
    }

    fn push(&mut self, t_ns: u64, value: Option<f64>) {
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        self.history.push_back((t_ns, value));
        self.read_ns = Some(t_ns);
    }

    /// Adds a value that was derived from other channels.
    fn derived(&mut self, t_ns: u64, value: Result<f64, ReasonCode>) {
        self.push(t_ns, value.ok());
        self.absent = value.err();
    }

    /// The kept readings, newest first.
    fn readings(&self) -> impl Iterator<Item = (u64, Value)> {
        let absent = Value::Absent(self.absent.unwrap_or(ReasonCode::NeedsTwoReadings));
        self.history.iter().rev().map(move |&(t_ns, value)| (t_ns, value.map_or(absent, Value::Present)))
    }

    /// Notes what the sample says of the sensor behind this channel, or behind the counter that it is a rate of.
    fn see_source(&mut self, sample: &Sample, sensor: ChannelId) {
        self.cost_ns = Some(sample.cost_ns).filter(|&ns| ns > 0);
        self.channel.update_ns = sample.update_ns_of(sensor).or(self.channel.update_ns);
    }

    fn gap(&mut self) {
        if let Some(&(t_ns, Some(_))) = self.history.back() {
            self.history.push_back((t_ns, None));
        }
    }

    /// The last reading; `None` if it was absent.
    pub(super) fn value(&self) -> Option<f64> {
        self.history.back()?.1
    }

    /// Values, oldest first; `None` is a gap.
    pub(super) fn values(&self) -> impl DoubleEndedIterator<Item = Option<f64>> + ExactSizeIterator {
        self.history.iter().map(|&(_, value)| value)
    }

    /// Mean of the last `count` readings that had a value; `None` without any, or if the last one had none.
    pub(super) fn mean(&self, count: usize) -> Option<f64> {
        self.value()?;
        let (sum, known) = self
            .values()
            .rev()
            .take(count)
            .flatten()
            .fold((0.0, 0_u32), |(sum, known), value| (sum + value, known + 1));
        (known > 0).then(|| sum / f64::from(known))
    }

    /// Times and values from a moment on, oldest first.
    pub(super) fn readings_since(&self, t_ns: u64) -> impl Iterator<Item = (u64, f64)> {
        let later = self.history.iter().skip_while(move |(read_ns, _)| *read_ns < t_ns);
        later.filter_map(|&(read_ns, value)| Some((read_ns, value?)))
    }

    /// When a counter moved, or a flag was up, from a moment on.
    fn events_since(&self, t_ns: u64) -> Vec<u64> {
        let readings: Vec<_> = self.readings_since(t_ns).collect();
        if matches!(self.channel.kind, Kind::Counter { .. }) {
            let moved = readings.windows(2).filter(|pair| pair[1].1 > pair[0].1);
            return moved.map(|pair| pair[1].0).collect();
        }
        readings.into_iter().filter(|&(_, value)| value > 0.0).map(|(read_ns, _)| read_ns).collect()
    }

    /// The last value within the second before `t_ns`.
    fn at(&self, t_ns: u64) -> Option<f64> {
        let found = self.history.iter().rev().find(|(read_ns, _)| *read_ns <= t_ns)?;
        found.1.filter(|_| t_ns - found.0 <= 1_000_000_000)
    }

    /// Whether a counter moved within its last `count` readings, or a flag is up.
    fn is_up(&self, count: usize) -> bool {
        let mut recent = self.values().rev().take(count).flatten();
        let Some(last) = recent.next() else { return false };
        match self.channel.kind {
            Kind::Counter { .. } => recent.any(|value| value < last),
            _ => last > 0.0,
        }
    }

    /// Time since the last reading, ns; `None` before the first.
    pub(super) fn age_ns(&self, now_ns: u64) -> Option<u64> {
        Some(now_ns.saturating_sub(self.read_ns?))
    }

    /// Whether the last reading is older than it should be; see [`derive::is_stale`].
    pub(super) fn is_stale(&self, now_ns: u64) -> bool {
        self.read_ns.is_some_and(|read_ns| derive::is_stale(&self.channel, read_ns, now_ns))
    }
}

/// All channels, in the order of their arrival.
#[derive(Debug, Clone, Default)]
pub(super) struct Channels {
    tracks: Vec<Track>,
    by_number: HashMap<ChannelId, usize>,
    /// Rate channels by the number of their counter.
    rates: HashMap<ChannelId, Vec<usize>>,
    /// Sums by the number of their last part, which is the slowest one.
    sums: HashMap<ChannelId, Vec<usize>>,
}

impl Channels {
    /// Adds the channels of a catalogue. A channel whose name is already known keeps its history.
    pub(super) fn catalogue(&mut self, channels: &[Channel]) {
        let mut known: HashMap<_, _> =
            self.tracks.iter().enumerate().map(|(at, track)| (track.channel.id.clone(), at)).collect();
        for channel in channels {
            let at = match known.get(&channel.id) {
                Some(&at) => {
                    self.tracks[at].channel = channel.clone();
                    at
                }
                None if self.tracks.len() >= MAX_CHANNELS => continue,
                None => {
                    self.tracks.push(Track::new(channel.clone()));
                    known.insert(channel.id.clone(), self.tracks.len() - 1);
                    self.tracks.len() - 1
                }
            };
            self.by_number.insert(channel.channel, at);
            let found_from = match &channel.kind {
                &Kind::Rate { of } => Some((&mut self.rates, of)),
                Kind::Sum { of } => of.last().map(|&last| (&mut self.sums, last)),
                Kind::Gauge | Kind::Counter { .. } => None,
            };
            if let Some((found, of)) = found_from {
                let found = found.entry(of).or_default();
                if !found.contains(&at) {
                    found.push(at);
                }
            }
        }
    }

    /// Adds readings; values of unknown channels are ignored.
    pub(super) fn sample(&mut self, sample: &Sample) {
        for &(number, value) in &sample.values {
            let Some(track) = self.by_number.get(&number).and_then(|&at| self.tracks.get_mut(at)) else {
                continue;
            };
            track.absent = match value {
                Value::Present(_) => None,
                Value::Absent(code) => Some(code),
            };
            track.see_source(sample, number);
            track.push(sample.t_ns, value.get().filter(|value| value.is_finite()));
            for &at in self.rates.get(&number).map_or(&[][..], Vec::as_slice) {
                let rate = self.derive(at, sample.t_ns);
                if let Some(track) = self.tracks.get_mut(at) {
                    track.derived(sample.t_ns, rate);
                    track.see_source(sample, number);
                }
            }
            for &at in self.sums.get(&number).map_or(&[][..], Vec::as_slice) {
                let sum = self.derive(at, sample.t_ns);
                if let Some(track) = self.tracks.get_mut(at) {
                    track.derived(sample.t_ns, sum);
                }
            }
        }
    }

    /// The value of the rate or sum at index `at`, after a channel that it is derived from was read.
    fn derive(&self, at: usize, now_ns: u64) -> Result<f64, ReasonCode> {
        let track = self.tracks.get(at).ok_or(Cause::Unknown.code())?;
        let readings = |number: ChannelId| {
            let track = self.by_number.get(&number).and_then(|&at| self.tracks.get(at))?;
            Some((&track.channel, track.readings()))
        };
        let derived = derive::value(&track.channel, Some(now_ns), readings);
        derived.map(|derived| derived.value).map_err(|missing| missing.cause.code())
    }

    /// Marks a gap in all readings. Channel numbers are forgotten: the next catalogue assigns new ones.
    pub(super) fn gap(&mut self) {
        self.tracks.iter_mut().for_each(Track::gap);
        self.by_number.clear();
        self.rates.clear();
        self.sums.clear();
    }

    /// Channels whose name, scope, source or class contains `filter`, by family, available ones first, sorted by name.
    pub(super) fn grouped(&self, filter: &str) -> Vec<(Quantity, Vec<&Track>)> {
        let filter = filter.to_lowercase();
        let groups = Quantity::ALL.into_iter().map(|quantity| {
            let has = |text: &str| text.to_lowercase().contains(&filter);
            let matches = |track: &&Track| {
                let channel = &track.channel;
                has(&channel.id)
                    || has(&channel.scope.to_string())
                    || has(&channel.source)
                    || has(channel.class.as_str())
            };
            let of_family = |track: &&Track| track.channel.quantity == quantity;
            let mut tracks: Vec<_> = self.tracks.iter().filter(of_family).filter(matches).collect();
            tracks
                .sort_by_key(|track| (track.channel.class == Class::Unavailable, natural(&track.channel.id)));
            (quantity, tracks)
        });
        groups.filter(|(_, tracks)| !tracks.is_empty()).collect()
    }

    /// The channel of that name.
    pub(super) fn by_id(&self, id: &str) -> Option<&Track> {
        self.tracks.iter().find(|track| track.channel.id == id)
    }

    fn available(&self, quantity: Quantity) -> impl Iterator<Item = &Track> {
        self.tracks
            .iter()
            .filter(move |track| track.channel.quantity == quantity)
            .filter(|track| track.channel.class != Class::Unavailable)
    }

    /// The power channel that covers most of the machine: the board's total, which the probes choose and name, or else
    /// the first in the order of [`Coverage`]. A channel whose last reading had no value, such as a sum with a sleeping
    /// card, comes after those that had one. A battery counts only while it discharges.
    pub(super) fn power(&self) -> Option<&Track> {
        let is_fed_from_elsewhere = |track: &&Track| {
            let feeds = |watts: f64| watts > 0.0 || track.channel.scope != Scope::Battery && watts >= 0.0;
            track.value().is_some_and(|watts| !feeds(watts))
        };
        let rank = |track: &&Track| match track.channel.scope.coverage() {
            _ if track.channel.is_board_total() => (false, None),
            Some(coverage) => (true, Some(coverage)),
            // Parts of a package, such as its cores.
            None => (true, Some(Coverage::Rail)),
        };
        self.available(Quantity::Power)
            .filter(|track| track.channel.unit == Unit::Watts)
            .filter(|Track { channel, .. }| {
                channel.scope != Scope::Battery || channel.is_of_batteries() || channel.is_board_total()
            })
            .filter(|track| !is_fed_from_elsewhere(track))
            .min_by_key(|track| (track.absent.is_some(), rank(track)))
    }

    /// A channel of these families that is unavailable on this machine, with its reason.
    pub(super) fn missing(&self, families: &[Quantity]) -> Option<&Track> {
        let unavailable = |track: &&Track| track.channel.class == Class::Unavailable;
        self.tracks.iter().filter(unavailable).find(|track| families.contains(&track.channel.quantity))
    }

    /// The hottest sensor of a processor; without one, the hottest of all.
    pub(super) fn hottest(&self) -> Option<&Track> {
        let rank = |track: &&Track| {
            let degrees = track.value();
            (degrees.is_some() && track.channel.scope.computes(), degrees.unwrap_or(f64::NEG_INFINITY))
        };
        self.available(Quantity::Temperature).filter(|track| track.channel.unit == Unit::Celsius).max_by(
            |a, b| {
                let ((a, x), (b, y)) = (rank(a), rank(b));
                a.cmp(&b).then(x.total_cmp(&y))
            },
        )
    }

    /// Channels that count throttling, or are up while something throttles; a limit, and the distance to one, are no
    /// such events.
    fn throttle_events(&self) -> impl Iterator<Item = &Track> {
        self.available(Quantity::Throttle).filter(|track| {
            let is_event = matches!(track.channel.unit, Unit::Count | Unit::Seconds);
            is_event && track.channel.kind.is_sampled()
        })
    }

    /// Whether anything here would say that it throttles.
    pub(super) fn reports_throttling(&self) -> bool {
        self.throttle_events().any(|track| track.value().is_some())
    }

    /// When something throttled, from a moment on, in no order.
    pub(super) fn throttled_since(&self, t_ns: u64) -> impl Iterator<Item = u64> {
        self.throttle_events().flat_map(move |track| track.events_since(t_ns))
    }

    /// What throttles now, or did in the last two seconds.
    pub(super) fn throttling(&self) -> Option<&Track> {
        self.throttle_events().find(|track| track.is_up(THROTTLE_READINGS))
    }

    /// The clocks of the CPUs, or the temperatures near a processor.
    fn near_processors(&self, unit: Unit) -> impl Iterator<Item = &Track> {
        let is_cpu_clock = |track: &&Track| matches!(track.channel.scope, Scope::CpuN(_));
        let is_near = |track: &&Track| track.channel.scope.computes();
        let tracks = self.tracks.iter().filter(move |track| track.channel.unit == unit);
        tracks.filter(move |track| if unit == Unit::Hertz { is_cpu_clock(track) } else { is_near(track) })
    }

    /// The clock of the fastest CPU, or the highest temperature near a processor, at a time of the last minute; `None`
    /// where none was read within the second before.
    pub(super) fn at(&self, unit: Unit, t_ns: u64) -> Option<f64> {
        self.near_processors(unit).filter_map(|track| track.at(t_ns)).max_by(f64::total_cmp)
    }

    /// Whether any of these was read in the last minute.
    pub(super) fn at_any_time(&self, unit: Unit) -> bool {
        self.near_processors(unit).any(|track| track.values().flatten().next().is_some())
    }

    /// Clock of the fastest CPU.
    pub(super) fn fastest_clock(&self) -> Option<&Track> {
        let is_cpu = |track: &&Track| {
            track.channel.unit == Unit::Hertz && matches!(track.channel.scope, Scope::CpuN(_))
        };
        let hertz = |track: &Track| track.value().unwrap_or(f64::NEG_INFINITY);
        let clocks =
            self.available(Quantity::Frequency).filter(is_cpu).filter(|track| track.value().is_some());
        clocks.max_by(|a, b| hertz(a).total_cmp(&hertz(b)))
    }

    /// What a channel's value is multiplied with to be shown: shares of all CPUs are shown as shares of one core.
    pub(super) fn factor(&self, channel: &Channel) -> f64 {
        let is_of_all = channel.quantity == Quantity::Cpu
            && channel.unit == Unit::Ratio
            && channel.scope == Scope::Machine;
        if is_of_all { self.cores().len().max(1) as f64 } else { 1.0 }
    }

    /// Busy share of each logical CPU, in the order of their numbers.
    pub(super) fn cores(&self) -> Vec<(u32, Option<f64>)> {
        let mut cores: Vec<_> = self
            .available(Quantity::Cpu)
            .filter(|track| track.channel.unit == Unit::Ratio)
            .filter_map(|track| match track.channel.scope {
                Scope::CpuN(cpu) => Some((cpu, track.value())),
                _ => None,
            })
            .collect();
        cores.sort_by_key(|&(cpu, _)| cpu);
        cores
    }
}

/// A sort key that compares numbers in names by value, so that `cpu10` comes after `cpu9`.
fn natural(id: &str) -> Vec<(String, u64)> {
    let mut parts = vec![(String::new(), 0_u64)];
    let mut in_number = false;
    for letter in id.chars() {
        let last = parts.len() - 1;
        if let Some(digit) = letter.to_digit(10) {
            parts[last].1 = parts[last].1.saturating_mul(10).saturating_add(u64::from(digit));
            in_number = true;
        } else {
            if in_number {
                parts.push((String::new(), 0));
                in_number = false;
            }
            let last = parts.len() - 1;
            parts[last].0.push(letter);
        }
    }
    parts
}
