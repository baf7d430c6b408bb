//! `power.board`: the best figure there is for the whole machine, named after what it is taken from.
//!
//! | order | source | scope |
//! |---|---|---|
//! | 1 | the batteries, while they alone feed the machine | `battery` |
//! | 2 | the management controller's meter, ACPI's power meter | `board-input` |
//! | 3 | a sensor at the board's input, the meters of all modules or supplies | `board-input`, `platform` |
//! | 4 | the platform counter (`psys`) | `platform` |
//! | 5 | the input rails that the board's description lists, summed | `rail:A+B` |
//! | 6 | all packages, memory where it is reported beside them, cards that report theirs | `package`, `rail:package+dram+gpu` |
//! | 7 | the rails of a power-management chip, summed | `rail:pmic` |
//!
//! Sums are derived and partial: they leave out regulators, disks and fans. Nothing is ever filled in from a
//! nominal figure. What several drivers report of the same packages is counted once. The choice is made once, at
//! the start; a machine that is plugged in afterwards has no figure until the next one.
//!
//! Parts may be read in different threads, and some report watts where others count joules. Such a sum is not
//! sampled: it names its parts, and is derived where it is shown ([`Kind::Sum`]). While a
//! card sleeps it has no value, because a sleeping card's power is not known.

mod none;
mod sum;

use std::thread;
use std::time::Duration;

use slmscope_profiles::channel::{
    BOARD_ENERGY, BOARD_POWER, Channel, ChannelId, Class, Coverage, Kind, Quantity, Scope, Unit, id_part,
};
use slmscope_profiles::energy::{cards, kinds};

use crate::catalogue::{Catalogue, Entry, Interface};
use crate::facts::ANY_WATTS;
use crate::machine::board::Profile;
use crate::machine::root::Root;
use crate::source::{Group, Source};
use crate::sources::pci;
use crate::sources::sensors::hwmon::watts_of;

use none::why_none;
use sum::{Addend, WithTotal, value_of};

/// The channel of a management controller's reading.
pub(crate) const NODE_POWER: &str = "power.node";

/// The channel of the sum over a power-management chip's rails.
pub(crate) const PMIC_POWER: &str = "power.rail.pmic";

/// The channel of what flows through the rail of this label.
pub(crate) fn rail_power(label: &str) -> String {
    format!("power.rail.{}", id_part(label))
}

/// How the channels of ACPI's power meters begin: the chip is called `power_meter`.
const METER_POWER: &str = "power.power_meter";

/// How the counters of integrated graphics processors begin, after the name that RAPL has for them.
const INTEGRATED_ENERGY: &str = "energy.uncore";

/// How often a performance counter is read to see whether it moves, and the time between two readings. Its registers
/// are updated about every millisecond, and it begins at zero when it is opened.
const ATTEMPTS: u32 = 10;
const BETWEEN: Duration = Duration::from_millis(2);

type Sources = Vec<Box<dyn Source>>;

/// What the figure is made of.
struct Choice {
    parts: Vec<ChannelId>,
    scope: Scope,
    coverage: Coverage,
    /// What the sum leaves out; empty where it leaves nothing out.
    without: &'static str,
}

impl Choice {
    /// All of these, which are of one scope.
    fn of(parts: &[&Channel]) -> Self {
        let scope = parts.first().map_or(Scope::BoardInput, |first| first.scope.clone());
        Self {
            parts: parts.iter().map(|part| part.channel).collect(),
            coverage: scope.coverage().unwrap_or(Coverage::Rail),
            scope,
            without: "",
        }
    }
}

/// Enters `power.board`, and `energy.board` if it comes from counters. If one list reads all parts, it reads the
/// total too. `discharging` is the channel of what the machine draws from its batteries now.
pub(crate) fn discover(
    root: &Root,
    catalogue: &mut Catalogue,
    board: Option<&Profile>,
    discharging: Option<ChannelId>,
    lists: &mut [&mut Sources],
) {
    let works = |channel: &Channel| works(root, lists, channel, catalogue.interface(channel.channel));
    let Some(choice) = candidates(catalogue.channels(), board, discharging, works).into_iter().next() else {
        return enter_none(catalogue);
    };
    let is_part = |channels: Vec<ChannelId>| channels.iter().any(|it| choice.parts.contains(it));
    let reads_all = |list: &Sources| {
        let read_here: Vec<ChannelId> = list.iter().flat_map(|source| source.channels()).collect();
        choice.parts.iter().all(|part| read_here.contains(part))
    };
    match lists.iter_mut().find(|list| reads_all(list)).filter(|_| are_alike(catalogue, &choice)) {
        Some(list) => {
            let (inner, rest) =
                std::mem::take(*list).into_iter().partition(|source| is_part(source.channels()));
            **list = rest;
            list.push(Box::new(WithTotal { inner, ..enter(catalogue, &choice) }));
        }
        None => enter_sum(catalogue, &choice),
    }
}

/// Whether all parts are counters, or all gauges.
fn are_alike(catalogue: &Catalogue, choice: &Choice) -> bool {
    let mut units = choice.parts.iter().filter_map(|&part| Some(catalogue.get(part)?.unit));
    let first = units.next();
    units.all(|unit| Some(unit) == first)
}

/// What the total may be made of, the best first.
fn candidates(
    channels: &[Channel],
    board: Option<&Profile>,
    discharging: Option<ChannelId>,
    mut works: impl FnMut(&Channel) -> bool,
) -> Vec<Choice> {
    // All that reports power or energy, readable or not.
    let reported: Vec<&Channel> = channels
        .iter()
        .filter(|channel| matches!(channel.quantity, Quantity::Energy | Quantity::Power))
        .filter(|channel| matches!(channel.unit, Unit::Joules | Unit::Watts) && channel.kind.is_sampled())
        .collect();
    let good: Vec<&Channel> =
        reported.iter().copied().filter(|channel| channel.reason.is_none() && works(channel)).collect();
    let is_good = |channel: &Channel| good.iter().any(|good| good.channel == channel.channel);
    let watts_of = |scope: Scope| {
        good.iter().copied().filter(move |channel| channel.scope == scope && channel.unit == Unit::Watts)
    };
    // One kind of channels of a scope, all of them readable.
    let whole = |scope: Scope, unit: Option<Unit>| {
        let of_scope = reported.iter().copied().filter(|channel| channel.scope == scope);
        let of_unit = of_scope.filter(|channel| unit.is_none_or(|unit| channel.unit == unit));
        kinds(of_unit).into_iter().find(|kind| kind.iter().all(|channel| is_good(channel)))
    };
    let mut choices = Vec::new();
    let battery = good.iter().filter(|channel| Some(channel.channel) == discharging);
    choices.extend(battery.map(|&battery| Choice::of(&[battery])));
    let mut inputs: Vec<&Channel> = watts_of(Scope::BoardInput).collect();
    inputs.sort_by_key(|channel| (channel.id != NODE_POWER, !is_meter(channel)));
    choices.extend(inputs.iter().map(|&input| Choice::of(&[input])));
    choices.extend(whole(Scope::Platform, Some(Unit::Watts)).map(|meters| Choice::of(&meters)));
    let psys = good.iter().filter(|channel| is_psys(channel));
    choices.extend(psys.map(|&psys| Choice::of(&[psys])));
    choices.extend(board.and_then(|board| rails(channels, board)));
    let packages = whole(Scope::Package, None);
    choices.extend(packages.map(|packages| {
        let cards = cards(good.iter().copied().filter(|channel| is_card(channel)));
        of_packages(&packages, &whole(Scope::Dram, None).unwrap_or_default(), &cards)
    }));
    let pmic = good.iter().filter(|channel| channel.id == PMIC_POWER);
    choices.extend(
        pmic.map(|&pmic| Choice { without: "regulators, USB and 5 V consumers", ..Choice::of(&[pmic]) }),
    );
    // Of channels that cover the same, those that were found first are better.
    choices.sort_by_key(|choice| choice.coverage);
    choices
}

fn is_meter(channel: &Channel) -> bool {
    channel.id.starts_with(METER_POWER)
}

fn is_psys(channel: &Channel) -> bool {
    channel.scope == Scope::Platform && channel.unit == Unit::Joules
}

/// Integrated graphics processors are not counted as cards.
fn is_card(channel: &Channel) -> bool {
    channel.scope == Scope::Gpu && !channel.id.starts_with(INTEGRATED_ENERGY)
}

/// Whether the channel's value is plausible. Some meters have no sensor and return all ones or nothing, the platform
/// counter of some servers stays at zero, and so does the power of some packages and cards.
fn works(root: &Root, lists: &mut [&mut Sources], channel: &Channel, interface: &Interface) -> bool {
    if is_psys(channel) {
        let Interface::File(path) = interface else {
            // The counter moves by itself, about every millisecond; nothing says when, so it is waited for.
            return counts(channel.channel, lists, || thread::sleep(BETWEEN));
        };
        return root.in_time(path, Root::integer).is_ok_and(|microjoules| microjoules > 0);
    }
    let is_judged = matches!(channel.scope, Scope::Package | Scope::Gpu) || covers_board(&channel.scope);
    // In hwmon and nowhere else, `power1_…` is in µW.
    let is_hwmon = |path: &str| {
        path.rsplit_once('/')
            .is_some_and(|(folder, file)| folder.contains("hwmon") && file.starts_with("power"))
    };
    match interface {
        Interface::File(path)
            if is_judged && channel.unit == Unit::Watts && is_hwmon(path) && !sleeps(root, path) =>
        {
            let watts = root.in_time(path, Root::integer).map(|microwatts| microwatts as f64 / 1e6);
            watts.is_ok_and(|watts| watts_of(&channel.scope, ANY_WATTS).check(watts).get().is_some())
        }
        _ => true,
    }
}

fn covers_board(scope: &Scope) -> bool {
    matches!(scope, Scope::BoardInput | Scope::Platform)
}

/// Whether a monitor's file belongs to a device that a reading would wake.
fn sleeps(root: &Root, path: &str) -> bool {
    let device = path.split_once("/hwmon/hwmon").map(|(device, _)| device.to_owned());
    let device = device.or_else(|| path.rsplit_once('/').map(|(folder, _)| format!("{folder}/device")));
    device.and_then(|device| pci::gate(root, &device)).is_some_and(|gate| gate.closed().is_some())
}

/// Whether a performance counter has counted anything yet, or does so in the next few milliseconds.
fn counts(channel: ChannelId, lists: &mut [&mut Sources], mut wait: impl FnMut()) -> bool {
    let mut sources = lists.iter_mut().flat_map(|list| list.iter_mut());
    let Some(source) = sources.find(|source| source.channels().contains(&channel)) else { return false };
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            wait();
        }
        let mut values = Vec::new();
        source.read(&mut values);
        match value_of(channel, &values) {
            Ok(0.0) => {}
            found => return found.is_ok(),
        }
    }
    false
}

/// The rails of the board's description, if all of them are read.
fn rails(channels: &[Channel], board: &Profile) -> Option<Choice> {
    let of = |label: &String| {
        let id = rail_power(label);
        channels.iter().find(|channel| channel.id == id && channel.reason.is_none())
    };
    let parts: Option<Vec<&Channel>> = board.input_rails.iter().map(of).collect();
    let parts = parts.filter(|parts| !parts.is_empty())?;
    Some(Choice {
        scope: Scope::Rail(board.input_rails.join("+")),
        coverage: Coverage::InputRails,
        without: "the regulators before these rails",
        ..Choice::of(&parts)
    })
}

/// All packages, with memory and cards that are counted apart from them.
fn of_packages(packages: &[&Channel], dram: &[&Channel], cards: &[&Channel]) -> Choice {
    let scope = match (dram.is_empty(), cards.is_empty()) {
        (true, true) => Scope::Package,
        (false, true) => Scope::Rail("package+dram".to_owned()),
        (true, false) => Scope::Rail("package+gpu".to_owned()),
        (false, false) => Scope::Rail("package+dram+gpu".to_owned()),
    };
    let without =
        if cards.is_empty() { "board, disks, fans and cards" } else { "board, disks, fans and other cards" };
    let coverage = Coverage::Package;
    Choice { scope, coverage, without, ..Choice::of(&[packages, dram, cards].concat()) }
}

/// Enters that there is no figure for the board, and why.
fn enter_none(catalogue: &mut Catalogue) {
    let (locked, reason) = why_none(catalogue.channels());
    let source =
        locked.and_then(|locked| catalogue.get(locked)).map_or(String::new(), |it| it.source.clone());
    let interface = locked.map_or(Interface::Other, |locked| catalogue.interface(locked).clone());
    let channel = (BOARD_POWER, Quantity::Power, Unit::Watts, Scope::BoardInput);
    let channel = catalogue.absent(channel, &source, reason);
    catalogue.set_interface(channel, interface);
}

/// The first source, the names of all parts, and what they leave out.
fn describe(parts: &[Channel], choice: &Choice) -> String {
    let names = parts.iter().map(|part| part.id.as_str()).collect::<Vec<_>>().join(" + ");
    let first = parts.first().map_or("", |part| part.source.as_str());
    let without =
        if choice.without.is_empty() { String::new() } else { format!("; without {}", choice.without) };
    format!("{first} ({names}{without})")
}

/// Enters a sum that is not sampled, the slowest of its parts last.
fn enter_sum(catalogue: &mut Catalogue, choice: &Choice) {
    let mut parts: Vec<Channel> =
        choice.parts.iter().filter_map(|&part| catalogue.get(part)).cloned().collect();
    parts.sort_by_key(|part| part.period_ns);
    let source = describe(&parts, choice);
    let channel = (BOARD_POWER, Quantity::Power, Unit::Watts, choice.scope.clone());
    catalogue.sum(channel, parts.iter().map(|part| part.channel).collect(), source);
}

fn enter(catalogue: &mut Catalogue, choice: &Choice) -> WithTotal {
    let parts: Vec<Channel> = choice.parts.iter().filter_map(|&part| catalogue.get(part)).cloned().collect();
    let counter = matches!(parts.first().map(|part| &part.kind), Some(Kind::Counter { .. }));
    let (id, quantity, unit) = if counter {
        (BOARD_ENERGY, Quantity::Energy, Unit::Joules)
    } else {
        (BOARD_POWER, Quantity::Power, Unit::Watts)
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
        catalogue.rate(BOARD_POWER, to, Quantity::Power, Unit::Watts);
        to
    } else {
        catalogue.gauge_every(entry, parts.first().and_then(|part| part.period_ns))
    };
    let parts =
        parts.iter().map(|part| Addend { channel: part.channel, range: range(part), last: None }).collect();
    WithTotal { inner: Vec::new(), parts, to, sum: None, counter }
}

#[cfg(test)]
mod tests {
    use super::sum::tests::Script;
    use super::*;
    use slmscope_profiles::channel::{ReasonCode, Value};

    #[test]
    fn a_performance_counter_is_given_a_moment_to_count() {
        let row = |psys: f64| vec![Value::Present(9.0), Value::Present(psys)];
        let counting = |rows: &[f64]| {
            let mut waits = 0;
            let script = Script(rows.iter().map(|&psys| row(psys)).collect());
            let mut list: Sources = vec![Box::new(script)];
            (counts(1, &mut [&mut list], || waits += 1), waits)
        };
        assert_eq!(counting(&[0.5]), (true, 0));
        assert_eq!(counting(&[0.0, 0.0, 1.0]), (true, 2));
        assert_eq!(counting(&[0.0; ATTEMPTS as usize]), (false, ATTEMPTS - 1));
        assert!(!counts(1, &mut [], || ()));
    }

    #[test]
    fn a_platform_counter_of_the_pmu_is_the_board_only_where_it_counts() {
        let scope_with = |psys: Value| {
            let mut catalogue = Catalogue::default();
            for (id, scope) in [("energy.package-0", Scope::Package), ("energy.psys", Scope::Platform)] {
                let entry = Entry {
                    id: id.to_owned(),
                    quantity: Quantity::Energy,
                    unit: Unit::Joules,
                    scope,
                    class: Class::Measured,
                    source: "perf power/energy/".to_owned(),
                    group: Group::Fast,
                };
                catalogue.counter(entry, None);
            }
            let mut list: Sources = vec![Box::new(Script([vec![Value::Present(9.0), psys]].into()))];
            let dir = tempfile::tempdir().unwrap();
            let root = Root::tree(dir.path()).unwrap();
            discover(&root, &mut catalogue, None, None, &mut [&mut list]);
            catalogue.channels().iter().find(|channel| channel.id == BOARD_POWER).unwrap().scope.clone()
        };
        assert_eq!(scope_with(Value::Present(1.0)), Scope::Platform);
        assert_eq!(scope_with(Value::Absent(ReasonCode::ReadError)), Scope::Package);
    }
}
