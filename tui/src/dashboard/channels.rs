//! Channels with their recent history, and which of them the Live screen shows.

use std::collections::{HashMap, VecDeque};

use slmscope_profiles::channel::{
    self, Channel, ChannelId, Class, Kind, Quantity, ReasonCode, Sample, Scope, Unit, Value,
};

/// Readings kept of a channel: a minute at 10 Hz.
const HISTORY: usize = 600;
/// Channels kept; far more than any machine has.
const MOST_CHANNELS: usize = 8192;
/// Counters tick in steps; a rate over less than this shows the steps.
const RATE_WINDOW_NS: u64 = 1_000_000_000;
/// A value is stale after so many periods, but not before [`FRESH_NS`].
const STALE_PERIODS: u64 = 3;
const FRESH_NS: u64 = 6_000_000_000;

/// One channel and what it has shown.
#[derive(Debug, Clone)]
pub(super) struct Track {
    /// The catalogue's line.
    pub(super) channel: Channel,
    /// Time of the last reading, ns; `None` before the first.
    pub(super) read_ns: Option<u64>,
    /// Why the last reading had no value.
    pub(super) absent: Option<ReasonCode>,
    /// CPU time of a reading of its source, ns, and how often that has something new; see [`Sample`].
    pub(super) cost_ns: Option<u64>,
    pub(super) update_ns: Option<u64>,
    /// Time and value, oldest first; `None` is a gap.
    history: VecDeque<(u64, Option<f64>)>,
}

impl Track {
    fn new(channel: Channel) -> Self {
        let update_ns = channel.update_ns;
        Self { channel, read_ns: None, absent: None, cost_ns: None, update_ns, history: VecDeque::new() }
    }

    fn push(&mut self, t_ns: u64, value: Option<f64>) {
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        self.history.push_back((t_ns, value));
        self.read_ns = Some(t_ns);
    }

    /// Takes a value that was found from other channels.
    fn find(&mut self, t_ns: u64, value: Result<f64, ReasonCode>) {
        self.push(t_ns, value.ok());
        self.absent = value.err();
    }

    fn see_source(&mut self, sample: &Sample) {
        self.cost_ns = Some(sample.cost_ns).filter(|&ns| ns > 0);
        self.update_ns = sample.update_ns.or(self.update_ns);
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

    /// Time since the last reading, ns; `None` before the first.
    pub(super) fn age_ns(&self, now_ns: u64) -> Option<u64> {
        Some(now_ns.saturating_sub(self.read_ns?))
    }

    /// Whether the last reading is older than it should be.
    pub(super) fn is_stale(&self, now_ns: u64) -> bool {
        let limit =
            self.channel.period_ns.map_or(FRESH_NS, |ns| ns.saturating_mul(STALE_PERIODS).max(FRESH_NS));
        self.age_ns(now_ns).is_some_and(|age| age > limit)
    }

    /// Increase per second over about the last second of this counter, without crossing a gap.
    fn rate(&self) -> Option<f64> {
        let Kind::Counter { range } = self.channel.kind else { return None };
        let &(now, value) = self.history.back()?;
        let mut older = None;
        for &(t_ns, value) in self.history.iter().rev().skip(1) {
            let Some(value) = value else { break };
            older = Some((t_ns, value));
            if now.saturating_sub(t_ns) >= RATE_WINDOW_NS {
                break;
            }
        }
        channel::rate(older?, (now, value?), range).filter(|rate| rate.is_finite())
    }

    /// What it adds to a sum: its value or, of a counter, its rate. An old reading adds nothing.
    fn part(&self, now_ns: u64) -> Result<f64, ReasonCode> {
        if self.is_stale(now_ns) {
            return Err(ReasonCode::Stale);
        }
        let value = if self.channel.kind == Kind::Gauge { self.value() } else { self.rate() };
        value.ok_or(self.absent.unwrap_or(ReasonCode::NeedsTwoReadings))
    }
}

/// All channels, in the order in which they came.
#[derive(Debug, Clone, Default)]
pub(super) struct Channels {
    tracks: Vec<Track>,
    by_number: HashMap<ChannelId, usize>,
    /// Rate channels by the number of their counter.
    rates: HashMap<ChannelId, Vec<usize>>,
    /// Sums by the number of their last part, which is the slowest.
    sums: HashMap<ChannelId, Vec<usize>>,
}

impl Channels {
    /// Enters channels; one that is known by its name keeps its history.
    pub(super) fn catalogue(&mut self, channels: &[Channel]) {
        let mut known: HashMap<_, _> =
            self.tracks.iter().enumerate().map(|(at, track)| (track.channel.id.clone(), at)).collect();
        for channel in channels {
            let at = match known.get(&channel.id) {
                Some(&at) => {
                    self.tracks[at].channel = channel.clone();
                    at
                }
                None if self.tracks.len() >= MOST_CHANNELS => continue,
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

    /// Adds readings; values of unknown channels are skipped.
    pub(super) fn sample(&mut self, sample: &Sample) {
        for &(number, value) in &sample.values {
            let Some(track) = self.by_number.get(&number).and_then(|&at| self.tracks.get_mut(at)) else {
                continue;
            };
            track.absent = match value {
                Value::Present(_) => None,
                Value::Absent(code) => Some(code),
            };
            track.see_source(sample);
            let absent = track.absent;
            track.push(sample.t_ns, value.get().filter(|value| value.is_finite()));
            if let Some(rates) = self.rates.get(&number) {
                let rate = track.rate().ok_or(absent.unwrap_or(ReasonCode::NeedsTwoReadings));
                for &at in rates {
                    if let Some(track) = self.tracks.get_mut(at) {
                        track.find(sample.t_ns, rate);
                        track.see_source(sample);
                    }
                }
            }
            for &at in self.sums.get(&number).map_or(&[][..], Vec::as_slice) {
                let sum = self.sum(at, sample.t_ns);
                if let Some(track) = self.tracks.get_mut(at) {
                    track.find(sample.t_ns, sum);
                }
            }
        }
    }

    /// The sum at this place, now that its last part was read.
    fn sum(&self, at: usize, now_ns: u64) -> Result<f64, ReasonCode> {
        let Some(Kind::Sum { of }) = self.tracks.get(at).map(|track| &track.channel.kind) else {
            return Err(ReasonCode::Vanished);
        };
        let part = |number| {
            let track = self.by_number.get(number).and_then(|&at| self.tracks.get(at));
            track.ok_or(ReasonCode::Vanished)?.part(now_ns)
        };
        of.iter().map(part).sum()
    }

    /// Marks that readings are missing from here on; numbers of the next catalogue are new.
    pub(super) fn gap(&mut self) {
        self.tracks.iter_mut().for_each(Track::gap);
        self.by_number.clear();
        self.rates.clear();
        self.sums.clear();
    }

    /// Channels by family, sorted by name, available ones first; those whose name, scope, source or class
    /// contains `filter`.
    pub(super) fn grouped(&self, filter: &str) -> Vec<(Quantity, Vec<&Track>)> {
        let filter = filter.to_lowercase();
        let groups = Quantity::ALL.into_iter().map(|quantity| {
            let has = |text: &str| text.to_lowercase().contains(&filter);
            let matches = |track: &&Track| {
                let channel = &track.channel;
                has(&channel.id)
                    || has(&channel.scope.to_string())
                    || has(&channel.source)
                    || has(class(channel))
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

    /// The power that covers most of the machine: the board's total where there is one, which is chosen and
    /// named by the probes; else board before package before single rails. A channel whose last reading had no
    /// value, such as a sum with a card that fell asleep, gives way to one that had. What goes into a battery is no
    /// power that the machine takes.
    pub(super) fn power(&self) -> Option<&Track> {
        let rank = |track: &&Track| match track.channel.scope {
            _ if track.channel.is_board_total() => 0,
            Scope::BoardInput => 1,
            Scope::Platform => 2,
            Scope::Package => 3,
            Scope::Battery => 4,
            _ => 5,
        };
        self.available(Quantity::Power)
            .filter(|track| track.channel.unit == Unit::Watts)
            .filter(|track| track.value().is_none_or(|watts| watts >= 0.0))
            .min_by_key(|track| (track.absent.is_some(), rank(track)))
    }

    /// A channel of these families that has no value on this machine, and says why.
    pub(super) fn missing(&self, families: &[Quantity]) -> Option<&Track> {
        let unavailable = |track: &&Track| track.channel.class == Class::Unavailable;
        self.tracks.iter().filter(unavailable).find(|track| families.contains(&track.channel.quantity))
    }

    /// The hottest sensor of what computes; where none tells, of all.
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

    /// Busy share of each logical CPU, by number.
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

/// How far to trust a channel, in a word.
pub(super) fn class(channel: &Channel) -> &'static str {
    match channel.class {
        Class::Measured => "measured",
        Class::Derived => "derived",
        Class::Modelled => "modelled",
        Class::Reported => "reported",
        Class::Unavailable => "unavailable",
    }
}

/// A name with its numbers apart, so that `cpu10` comes after `cpu9`.
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
