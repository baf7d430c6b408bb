//! `power.board`: the best figure there is for the whole machine, named after what it is taken from.
//!
//! | order | source | scope |
//! |---|---|---|
//! | 1 | the batteries, while they alone feed the machine | `battery` |
//! | 2 | the management controller's meter, ACPI's power meter | `board-input` |
//! | 3 | a sensor at the board's input, a module's meter | `board-input`, `platform` |
//! | 4 | the platform counter (`psys`) | `platform` |
//! | 5 | the input rails that the board's description lists, summed | `rail:A+B` |
//! | 6 | all packages, memory where it is counted beside them, cards that tell theirs | `package`, `rail:package+dram+gpu` |
//! | 7 | the rails of a power-management chip, summed | `rail:pmic` |
//!
//! Sums are derived and partial: they leave out regulators, disks and fans. Nothing is ever filled in from a
//! nominal figure. The choice is made once, at the start; a machine that is plugged in afterwards has no figure
//! until the next one.
//!
//! Cards are read in threads of their own, and some tell watts where packages count joules, so a sum with them
//! is not sampled: it names its parts, and whoever shows it adds what they tell ([`Kind::Sum`]). A card that
//! falls asleep leaves it without a figure, for what a sleeping card draws is not known.

use slmscope_profiles::channel::{
    Channel, ChannelId, Class, Kind, Quantity, Reason, ReasonCode, Scope, Unit, Value, difference,
};

use crate::board::Profile;
use crate::catalogue::{Catalogue, Entry};
use crate::root::Root;
use crate::source::{Group, Pace, Source};

/// The channel of a management controller's reading.
pub(crate) const NODE_POWER: &str = "power.node";

/// The channel of the sum over a power-management chip's rails.
pub(crate) const PMIC_POWER: &str = "power.rail.pmic";

/// What the figure is made of.
struct Choice {
    parts: Vec<ChannelId>,
    /// What is added to them, from other threads.
    cards: Vec<ChannelId>,
    scope: Scope,
    /// What the sum leaves out; empty for a single sensor.
    without: &'static str,
    only_while_positive: bool,
}

/// Enters `power.board`, with `energy.board` where it comes from counters, and lets the source that reads its
/// parts answer for it too. `discharging` are the batteries that feed the machine now.
pub(crate) fn discover(
    root: &Root,
    catalogue: &mut Catalogue,
    board: Option<&Profile>,
    discharging: Option<Vec<ChannelId>>,
    lists: &mut [&mut Vec<Box<dyn Source>>],
) {
    for choice in candidates(root, catalogue.channels(), board, discharging) {
        if !choice.cards.is_empty() {
            return enter_sum(catalogue, &choice);
        }
        for list in lists.iter_mut() {
            let read_here: Vec<ChannelId> = list.iter().flat_map(|source| source.channels()).collect();
            if !choice.parts.iter().all(|part| read_here.contains(part)) {
                continue;
            }
            let has_part = |channels: Vec<ChannelId>| channels.iter().any(|it| choice.parts.contains(it));
            let (inner, rest) =
                std::mem::take(*list).into_iter().partition(|source| has_part(source.channels()));
            **list = rest;
            list.push(Box::new(WithTotal { inner, ..enter(catalogue, &choice) }));
            return;
        }
    }
    let (reason, remedy) = why_none(catalogue.channels());
    let channel = ("power.board", Quantity::Power, Unit::Watts, Scope::BoardInput);
    catalogue.absent(channel, "", reason, remedy);
}

fn candidates(
    root: &Root,
    channels: &[Channel],
    board: Option<&Profile>,
    discharging: Option<Vec<ChannelId>>,
) -> Vec<Choice> {
    let single = |channel: &Channel| Choice {
        parts: vec![channel.channel],
        cards: Vec::new(),
        scope: channel.scope.clone(),
        without: "",
        only_while_positive: false,
    };
    let sampled = |quantity: Quantity| {
        channels.iter().filter(move |channel| {
            channel.quantity == quantity && channel.reason.is_none() && channel.kind.is_sampled()
        })
    };
    let watts = || sampled(Quantity::Power);
    let mut choices = Vec::new();
    choices.extend(discharging.map(|parts| Choice {
        parts,
        cards: Vec::new(),
        scope: Scope::Battery,
        without: "",
        only_while_positive: true,
    }));
    choices.extend(watts().filter(|channel| channel.id == NODE_POWER).map(single));
    let is_meter = |channel: &&Channel| channel.id.starts_with("power.power_meter");
    let watts = || watts().filter(|channel| !is_meter(channel) || works(root, channel));
    choices.extend(watts().filter(is_meter).filter(|meter| meter.scope == Scope::BoardInput).map(single));
    choices.extend(watts().filter(|channel| channel.scope == Scope::BoardInput).map(single));
    choices.extend(watts().filter(is_meter).filter(|meter| meter.scope == Scope::Platform).map(single));
    let joules = |scope: Scope| sampled(Quantity::Energy).filter(move |channel| channel.scope == scope);
    choices.extend(joules(Scope::Platform).filter(|psys| works(root, psys)).map(single));
    choices.extend(board.and_then(|board| rails(channels, board)));
    choices.extend(packages(channels));
    let package = |channel: &&Channel| channel.scope == Scope::Package;
    choices.extend(watts().filter(package).take(1).map(single));
    choices.extend(
        watts()
            .filter(|channel| channel.id == PMIC_POWER)
            .map(|channel| Choice { without: "regulators, USB and 5 V consumers", ..single(channel) }),
    );
    choices
}

/// Whether the file holds a number that can be true. Some meters have no sensor and answer all ones, and the
/// platform counter of some servers stays at zero; neither hangs.
fn works(root: &Root, channel: &Channel) -> bool {
    let Some(path) = channel.source.strip_prefix('/') else { return true };
    root.integer(path)
        .is_ok_and(|micro| (1..50_000_000_000).contains(&micro) || channel.unit == Unit::Joules && micro > 0)
}

/// The rails of the board's description, if all of them are read.
fn rails(channels: &[Channel], board: &Profile) -> Option<Choice> {
    let of = |label: &String| {
        let id = format!("power.rail.{}", slmscope_profiles::channel::id_part(label));
        channels.iter().find(|channel| channel.id == id && channel.reason.is_none())
    };
    let parts: Option<Vec<&Channel>> = board.input_rails.iter().map(of).collect();
    let parts = parts.filter(|parts| !parts.is_empty())?;
    Some(Choice {
        parts: parts.iter().map(|channel| channel.channel).collect(),
        cards: Vec::new(),
        scope: Scope::Rail(board.input_rails.join("+")),
        without: "the regulators before these rails",
        only_while_positive: false,
    })
}

/// All packages with the memory and the cards beside them; none if one of the packages cannot be read.
fn packages(channels: &[Channel]) -> Option<Choice> {
    let all = |scope: Scope| {
        let counters: Vec<&Channel> = channels
            .iter()
            .filter(|channel| channel.quantity == Quantity::Energy && channel.unit == Unit::Joules)
            .filter(|channel| channel.scope == scope && channel.kind.is_sampled())
            .collect();
        let readable = !counters.is_empty() && counters.iter().all(|channel| channel.reason.is_none());
        readable.then(|| counters.iter().map(|channel| channel.channel).collect::<Vec<_>>())
    };
    let mut parts = all(Scope::Package)?;
    let dram = all(Scope::Dram);
    let cards = cards(channels);
    let scope = match (dram.is_some(), cards.is_empty()) {
        (false, true) => Scope::Package,
        (true, true) => Scope::Rail("package+dram".to_owned()),
        (false, false) => Scope::Rail("package+gpu".to_owned()),
        (true, false) => Scope::Rail("package+dram+gpu".to_owned()),
    };
    parts.extend(dram.unwrap_or_default());
    let without =
        if cards.is_empty() { "board, disks, fans and cards" } else { "board, disks, fans and other cards" };
    Some(Choice { parts, cards, scope, without, only_while_positive: false })
}

/// A channel of each card that tells what it draws: its counter, else its gauge. Processors inside a package
/// are no cards.
fn cards(channels: &[Channel]) -> Vec<ChannelId> {
    let mut found: Vec<&Channel> = channels
        .iter()
        .filter(|channel| matches!(channel.unit, Unit::Joules | Unit::Watts))
        .filter(|channel| channel.scope == Scope::Gpu && !channel.id.starts_with("energy.uncore"))
        .filter(|channel| channel.reason.is_none() && channel.kind.is_sampled())
        .collect();
    found.sort_by_key(|channel| (card(&channel.id).to_owned(), channel.unit != Unit::Joules));
    found.dedup_by(|later, first| card(&later.id) == card(&first.id));
    found.iter().map(|channel| channel.channel).collect()
}

/// The card's part of `gpu0.power` or, where the card itself is not shown, of `energy.xe`.
fn card(id: &str) -> &str {
    match id.split_once('.') {
        Some(("energy" | "power", card) | (card, _)) => card,
        None => id,
    }
}

/// What stands in the way of a figure for the board.
fn why_none(channels: &[Channel]) -> (Reason, Option<String>) {
    let power = |channel: &&Channel| matches!(channel.quantity, Quantity::Energy | Quantity::Power);
    let locked = channels
        .iter()
        .filter(power)
        .find(|channel| channel.reason.as_ref().is_some_and(|reason| reason.code == ReasonCode::Permission));
    if let Some(channel) = locked {
        let detail = format!("{} would tell it, but this user may not read it", channel.id);
        return (Reason::new(ReasonCode::Permission, detail), channel.remedy.clone());
    }
    let battery = channels.iter().any(|channel| channel.scope == Scope::Battery && channel.reason.is_none());
    let detail = if battery {
        "no sensor of what the machine draws; its battery tells while it discharges"
    } else {
        "no sensor of what the machine draws"
    };
    (Reason::new(ReasonCode::NoSuchInterface, detail), None)
}

/// The first source, the names of all parts, and what they leave out.
fn describe(parts: &[Channel], choice: &Choice) -> String {
    let names = parts.iter().map(|part| part.id.as_str()).collect::<Vec<_>>().join(" + ");
    let first = parts.first().map_or("", |part| part.source.as_str());
    let without =
        if choice.without.is_empty() { String::new() } else { format!("; without {}", choice.without) };
    format!("{first} ({names}{without})")
}

fn enter_sum(catalogue: &mut Catalogue, choice: &Choice) {
    let of: Vec<ChannelId> = choice.parts.iter().chain(&choice.cards).copied().collect();
    let parts: Vec<Channel> = of.iter().filter_map(|&part| catalogue.get(part)).cloned().collect();
    let source = describe(&parts, choice);
    catalogue.sum(("power.board", Quantity::Power, Unit::Watts, choice.scope.clone()), of, source);
}

fn enter(catalogue: &mut Catalogue, choice: &Choice) -> WithTotal {
    let parts: Vec<Channel> = choice.parts.iter().filter_map(|&part| catalogue.get(part)).cloned().collect();
    let counter = matches!(parts.first().map(|part| &part.kind), Some(Kind::Counter { .. }));
    let (id, quantity, unit) = if counter {
        ("energy.board", Quantity::Energy, Unit::Joules)
    } else {
        ("power.board", Quantity::Power, Unit::Watts)
    };
    let alone = parts.first().filter(|_| parts.len() == 1);
    let entry = Entry {
        id: id.to_owned(),
        quantity,
        unit,
        scope: choice.scope.clone(),
        class: alone.map_or(Class::Derived, |part| part.class),
        source: describe(&parts, choice),
        group: Group::Bus,
    };
    let range = |part: &Channel| if let Kind::Counter { range } = part.kind { range } else { None };
    let to = if counter {
        let range = alone.and_then(range);
        let to = catalogue.counter_every(entry, range, parts.first().and_then(|part| part.period_ns));
        catalogue.rate("power.board", to, Quantity::Power, Unit::Watts);
        to
    } else {
        catalogue.gauge_every(entry, parts.first().and_then(|part| part.period_ns))
    };
    let parts =
        parts.iter().map(|part| Part { channel: part.channel, range: range(part), last: None }).collect();
    WithTotal {
        inner: Vec::new(),
        parts,
        to,
        sum: None,
        counter,
        only_while_positive: choice.only_while_positive,
    }
}

struct Part {
    channel: ChannelId,
    /// Of a counter that wraps.
    range: Option<f64>,
    last: Option<f64>,
}

/// Sources that answer for one more channel: the sum of some of their own.
struct WithTotal {
    inner: Vec<Box<dyn Source>>,
    parts: Vec<Part>,
    to: ChannelId,
    /// Of several counters, which wrap each at its own range.
    sum: Option<f64>,
    counter: bool,
    only_while_positive: bool,
}

impl WithTotal {
    fn total(&mut self, values: &[(ChannelId, Value)]) -> Result<f64, ReasonCode> {
        let mut plain = 0.0;
        for part in &self.parts {
            plain += value_of(part.channel, values)?;
        }
        if !self.counter {
            // A battery that is charged says nothing about what the machine draws.
            return if self.only_while_positive && plain <= 0.0 {
                Err(ReasonCode::Vanished)
            } else {
                Ok(plain)
            };
        }
        if self.parts.len() == 1 {
            return Ok(plain);
        }
        let mut sum = self.sum.unwrap_or(plain);
        let mut reset = false;
        for part in &mut self.parts {
            let value = value_of(part.channel, values)?;
            if let Some(last) = part.last.replace(value) {
                match difference(last, value, part.range) {
                    Some(step) => sum += step,
                    None => reset = true,
                }
            }
        }
        self.sum = Some(sum);
        // What a counter lost is not known, so this interval has no figure; the next one has.
        if reset { Err(ReasonCode::Implausible) } else { Ok(sum) }
    }
}

fn value_of(channel: ChannelId, values: &[(ChannelId, Value)]) -> Result<f64, ReasonCode> {
    match values.iter().find(|(of, _)| *of == channel) {
        Some((_, Value::Present(value))) => Ok(*value),
        Some((_, Value::Absent(code))) => Err(*code),
        None => Err(ReasonCode::ReadError),
    }
}

impl Source for WithTotal {
    fn channels(&self) -> Vec<ChannelId> {
        self.inner.iter().flat_map(|source| source.channels()).chain([self.to]).collect()
    }

    fn read(&mut self, values: &mut Vec<(ChannelId, Value)>) {
        let first = values.len();
        self.inner.iter_mut().for_each(|source| source.read(values));
        let total = self.total(values.get(first..).unwrap_or_default());
        values.push((self.to, total.map_or_else(Value::Absent, Value::Present)));
    }

    fn bears_khz(&self) -> bool {
        self.inner.iter().all(|source| source.bears_khz())
    }

    fn set_pace(&mut self, pace: Pace) {
        self.inner.iter_mut().for_each(|source| source.set_pace(pace));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    /// Readings of channels 0, 1, … in turn.
    struct Script(VecDeque<Vec<Value>>);

    impl Source for Script {
        fn channels(&self) -> Vec<ChannelId> {
            vec![0, 1]
        }

        fn read(&mut self, values: &mut Vec<(ChannelId, Value)>) {
            let row = self.0.pop_front().unwrap();
            values.extend(row.into_iter().enumerate().map(|(channel, value)| (channel as ChannelId, value)));
        }
    }

    fn of(rows: &[[f64; 2]], ranges: [Option<f64>; 2]) -> Vec<Value> {
        let value = |value: f64| {
            if value.is_nan() { Value::Absent(ReasonCode::Permission) } else { Value::Present(value) }
        };
        let script = Script(rows.iter().map(|row| row.map(value).to_vec()).collect());
        let part = |channel: ChannelId| Part { channel, range: ranges[usize::from(channel)], last: None };
        let mut total = WithTotal {
            inner: vec![Box::new(script)],
            parts: vec![part(0), part(1)],
            to: 2,
            sum: None,
            counter: true,
            only_while_positive: false,
        };
        rows.iter()
            .map(|_| {
                let mut values = Vec::new();
                total.read(&mut values);
                values.pop().unwrap().1
            })
            .collect()
    }

    #[test]
    fn each_counter_wraps_at_its_own_range() {
        let rows = [[90.0, 5.0], [95.0, 8.0], [3.0, 9.0], [4.0, 1.0]];
        let ranges = [Some(100.0), Some(10.0)];
        let expected = [95.0, 103.0, 112.0, 115.0].map(Value::Present);
        assert_eq!(of(&rows, ranges), expected);
    }

    #[test]
    fn a_reset_or_an_absent_part_leaves_a_gap_and_no_jump() {
        let rows = [[90.0, 5.0], [3.0, 6.0], [4.0, 7.0], [f64::NAN, 8.0], [6.0, 9.0]];
        let values = of(&rows, [None, None]);
        assert_eq!(values[1], Value::Absent(ReasonCode::Implausible));
        assert_eq!(values[2], Value::Present(98.0));
        assert_eq!(values[3], Value::Absent(ReasonCode::Permission));
        assert_eq!(values[4], Value::Present(102.0));
    }
}
