//! Which sensors tell the energy of a run.
//!
//! The widest scope that was read comes first: a battery that was discharged, the board's input, the platform
//! as the firmware sums it, the packages. After it come narrower ones, each for itself, because watts of
//! different scopes overlap in ways that differ from machine to machine and are never added. All packages (or
//! memory channels, or graphics processors) of a machine are one scope, and where one of them was not read the
//! scope has no figure.
//!
//! A battery tells what the machine takes only while it is discharged and nothing else feeds the machine. Where
//! it was charged, rested or did not tell at any time of a phase, it is no source for that phase.

use std::collections::HashSet;

use super::parts::{cards, kinds};
use super::{Stretch, Window, phase_energy};
use crate::channel::{BATTERY_POWER, Channel, ChannelId, Class, Quantity, Sample, Scope, Unit};
use crate::job::Span;
use crate::op::Phase;
use crate::result::{Energy, PhaseEnergy};

/// Phases that energy is told for.
const MEASURED: [Phase; 2] = [Phase::Prefill, Phase::Decode];

/// Energy of the measured phases by source, the widest scope first, or why there is none. `idle` is a time
/// before anything ran, begin and end.
pub fn of_phases(
    spans: &[Span],
    idle: Option<(u64, u64)>,
    samples: &[Sample],
    channels: &[Channel],
) -> Energy {
    let sources = sources(channels, samples);
    let idle = idle.map(|(begin_ns, end_ns)| Window { begin_ns, end_ns });
    let mut phases = Vec::new();
    for phase in MEASURED {
        let of_phase = || spans.iter().filter(|span| span.phase == phase);
        let windows: Vec<Window> =
            of_phase().map(|span| Window { begin_ns: span.begin_ns, end_ns: span.end_ns }).collect();
        if windows.is_empty() {
            continue;
        }
        let tokens = of_phase().map(|span| u64::from(span.tokens)).sum();
        let stretch = Stretch { phase, windows: &windows, tokens, idle };
        let told = phases.len();
        phases.extend(
            sources
                .iter()
                .filter(|group| !is_battery(group) || feeds(group, samples, &windows))
                .filter_map(|group| of_group(&stretch, group, samples)),
        );
        if phases.len() == told {
            let reason = if sources.is_empty() {
                why_none(channels)
            } else {
                "no sensor but the battery, which was not discharged throughout the phase".to_owned()
            };
            phases.push(none(&stretch, reason));
        }
    }
    Energy { phases }
}

/// Channels that tell energy, those of one scope together, the widest scope first. Where something was read,
/// what was not is left out, unless it is a part of what was.
fn sources<'c>(channels: &'c [Channel], samples: &[Sample]) -> Vec<Vec<&'c Channel>> {
    let all: Vec<&Channel> = channels.iter().filter(|channel| tells_energy(channel)).collect();
    let values = samples.iter().flat_map(|sample| &sample.values);
    let read: HashSet<ChannelId> =
        values.filter(|(_, value)| value.get().is_some()).map(|&(id, _)| id).collect();
    let any_read = all.iter().any(|channel| read.contains(&channel.channel));
    let is_usable = |channel: &Channel| {
        channel.class != Class::Unavailable && (!any_read || read.contains(&channel.channel))
    };
    let mut scopes: Vec<&Scope> =
        all.iter().filter(|channel| is_usable(channel)).map(|channel| &channel.scope).collect();
    // Rails are parts of what the wider scopes hold; they count where there is nothing else.
    if scopes.iter().any(|scope| !matches!(scope, Scope::Rail(_))) {
        scopes.retain(|scope| !matches!(scope, Scope::Rail(_)));
    }
    scopes.sort_by_key(|&scope| (rank(scope), scope));
    scopes.dedup();
    let of_scope = |scope: &Scope| {
        let all: Vec<&Channel> = all.iter().copied().filter(|channel| channel.scope == *scope).collect();
        let usable = all.iter().copied().filter(|channel| is_usable(channel));
        match scope {
            Scope::Battery => batteries(all, is_usable),
            Scope::Package | Scope::Dram | Scope::Platform => best_kind(&all, is_usable),
            Scope::Gpu => cards(usable),
            // Two sensors of a board's input are the same watts.
            _ => usable.min_by_key(|channel| channel.unit != Unit::Joules).into_iter().collect(),
        }
    };
    scopes.into_iter().map(of_scope).filter(|group| !group.is_empty()).collect()
}

fn tells_energy(channel: &Channel) -> bool {
    matches!(channel.quantity, Quantity::Energy | Quantity::Power)
        && matches!(channel.unit, Unit::Joules | Unit::Watts)
        && channel.kind.is_sampled()
        && rank(&channel.scope).is_some()
        // The board's total repeats what is listed already.
        && !channel.is_board_total()
}

/// What the batteries give together, where that is told apart from what each of them does; else all of them, for
/// half is not the machine.
fn batteries(channels: Vec<&Channel>, is_usable: impl Fn(&Channel) -> bool) -> Vec<&Channel> {
    let told = match channels.iter().find(|channel| channel.id == BATTERY_POWER) {
        Some(together) => vec![*together],
        None => channels,
    };
    if told.iter().all(|channel| is_usable(channel)) { told } else { Vec::new() }
}

/// All channels of the best kind of which each is usable, else of the best of which one is: that has no figure,
/// and says why.
fn best_kind<'c>(channels: &[&'c Channel], is_usable: impl Fn(&Channel) -> bool) -> Vec<&'c Channel> {
    let kinds = kinds(channels.iter().copied());
    let whole = kinds.iter().find(|kind| kind.iter().all(|channel| is_usable(channel)));
    let best = whole.or_else(|| kinds.iter().find(|kind| kind.iter().any(|channel| is_usable(channel))));
    let mut best = best.cloned().unwrap_or_default();
    // Meters of modules are one for each socket, but there is one platform counter, however often it is shown.
    if best.first().is_some_and(|first| first.scope == Scope::Platform && first.unit == Unit::Joules) {
        best.truncate(1);
    }
    best
}

/// Place in the order of scopes; `None` for those that are parts of another.
fn rank(scope: &Scope) -> Option<u8> {
    Some(match scope {
        Scope::Battery => 0,
        Scope::BoardInput => 1,
        Scope::Platform => 2,
        Scope::Package => 3,
        Scope::Dram => 4,
        Scope::Gpu => 5,
        Scope::Rail(_) => 6,
        _ => return None,
    })
}

fn is_battery(group: &[&Channel]) -> bool {
    group.first().is_some_and(|first| first.scope == Scope::Battery)
}

/// Whether the batteries fed the machine at every reading in these windows and at those next to them, from which
/// the power at the edges follows: together they gave something, and none was charged or silent.
fn feeds(group: &[&Channel], samples: &[Sample], windows: &[Window]) -> bool {
    let of_group = |id: ChannelId| group.iter().any(|channel| channel.channel == id);
    let reading = |sample: &Sample| {
        let values = || sample.values.iter().filter(|(id, _)| of_group(*id)).map(|(_, value)| value.get());
        let gives = values().all(|value| value >= Some(0.0)) && values().any(|value| value > Some(0.0));
        values().next().map(|_| (sample.t_ns, gives))
    };
    let readings: Vec<(u64, bool)> = samples.iter().filter_map(reading).collect();
    windows.iter().all(|window| {
        let first = readings.partition_point(|&(t_ns, _)| t_ns <= window.begin_ns).saturating_sub(1);
        let last = readings.partition_point(|&(t_ns, _)| t_ns < window.end_ns);
        readings.iter().take(last + 1).skip(first).all(|&(_, gives)| gives)
    })
}

/// What all channels of a group used together.
fn of_group(stretch: &Stretch<'_>, group: &[&Channel], samples: &[Sample]) -> Option<PhaseEnergy> {
    let of_channel = |channel: &&Channel| {
        let mut energy = phase_energy(stretch, channel, samples);
        if let Some(reason) = &channel.reason {
            energy.reason = Some(reason.to_string());
        }
        if group.len() > 1 {
            energy.reason = energy.reason.map(|reason| format!("{}: {reason}", channel.id));
        }
        energy
    };
    group.iter().map(of_channel).reduce(add)
}

/// Two parts of the same scope, such as the packages of a machine, as one: known only if both are.
fn add(a: PhaseEnergy, b: PhaseEnergy) -> PhaseEnergy {
    let sum = |a: Option<f64>, b: Option<f64>| Some(a? + b?);
    PhaseEnergy {
        phase: a.phase,
        joules: sum(a.joules, b.joules),
        low: sum(a.low, b.low),
        high: sum(a.high, b.high),
        tokens: a.tokens,
        joules_per_token: sum(a.joules_per_token, b.joules_per_token),
        above_baseline_joules: sum(a.above_baseline_joules, b.above_baseline_joules),
        baseline_watts: sum(a.baseline_watts, b.baseline_watts),
        source: a.source.zip(b.source).map(|(a, b)| format!("{a} + {b}")),
        scope: a.scope,
        class: Class::Derived,
        updates: a.updates.min(b.updates),
        coverage: a.coverage.zip(b.coverage).map(|(a, b)| a.min(b)),
        reason: a.reason.or(b.reason),
    }
}

fn none(stretch: &Stretch<'_>, reason: String) -> PhaseEnergy {
    PhaseEnergy {
        phase: stretch.phase,
        joules: None,
        low: None,
        high: None,
        tokens: stretch.tokens,
        joules_per_token: None,
        above_baseline_joules: None,
        baseline_watts: None,
        source: None,
        scope: None,
        class: Class::Unavailable,
        updates: 0,
        coverage: None,
        reason: Some(reason),
    }
}

/// The machine's own words for having no power sensor.
fn why_none(channels: &[Channel]) -> String {
    let missing = channels
        .iter()
        .filter(|channel| matches!(channel.quantity, Quantity::Energy | Quantity::Power))
        .find_map(|channel| channel.reason.as_ref());
    match missing {
        Some(reason) => format!("no power sensor: {reason}; see `slmscope doctor`"),
        None => "no sensor of the board, platform, battery or package; see `slmscope doctor`".to_owned(),
    }
}

#[cfg(test)]
pub(super) mod tests {
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
            run: 0,
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
        let wrong =
            |at: u64, value: Value| told(&|ms| if ms == at { value } else { Value::Present(draw(ms)) });
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
    }
}
