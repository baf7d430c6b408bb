//! Which sensors tell the energy of a run.
//!
//! The widest scope that was read comes first: a battery that was discharged, the board's input, the platform
//! as the firmware sums it, the packages. After it come narrower ones, each for itself, because watts of
//! different scopes overlap in ways that differ from machine to machine and are never added. All packages (or
//! memory channels, or graphics processors) of a machine are one scope.

use std::cmp::Reverse;

use super::{Stretch, Window, phase_energy};
use crate::channel::{Channel, Class, Quantity, Sample, Scope, Unit};
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
        let of_source = |group: &Vec<&Channel>| {
            group.iter().map(|channel| phase_energy(&stretch, channel, samples)).reduce(add)
        };
        phases.extend(sources.iter().filter_map(of_source));
        if sources.is_empty() {
            phases.push(none(&stretch, why_none(channels)));
        }
    }
    Energy { phases }
}

/// Channels that tell energy, those of one scope together, the widest scope first. Where something was read,
/// what was not is left out.
pub fn sources<'c>(channels: &'c [Channel], samples: &[Sample]) -> Vec<Vec<&'c Channel>> {
    let is_read = |channel: &Channel| {
        let values = samples.iter().flat_map(|sample| &sample.values);
        values.into_iter().any(|(id, value)| *id == channel.channel && value.get().is_some())
    };
    let mut usable: Vec<&Channel> = channels
        .iter()
        .filter(|channel| channel.class != Class::Unavailable && channel.kind.is_sampled())
        .filter(|channel| matches!(channel.quantity, Quantity::Energy | Quantity::Power))
        .filter(|channel| matches!(channel.unit, Unit::Joules | Unit::Watts))
        // The board's total repeats what is listed already.
        .filter(|channel| rank(&channel.scope).is_some() && !channel.is_board_total())
        .collect();
    if usable.iter().any(|channel| is_read(channel)) {
        usable.retain(|channel| is_read(channel));
    }
    // Rails are parts of what the wider scopes hold; they count where there is nothing else.
    if usable.iter().any(|channel| !matches!(channel.scope, Scope::Rail(_))) {
        usable.retain(|channel| !matches!(channel.scope, Scope::Rail(_)));
    }
    // Counters before gauges of the same scope.
    usable.sort_by_key(|channel| {
        (rank(&channel.scope), channel.scope.clone(), Reverse(channel.unit == Unit::Joules))
    });
    let mut groups: Vec<Vec<&Channel>> = Vec::new();
    for channel in usable {
        match groups.last_mut().and_then(|group| Some((group.first().copied()?, group))) {
            Some((first, group)) if first.scope == channel.scope => {
                if adds_up(&channel.scope) && first.unit == channel.unit {
                    group.push(channel);
                }
            }
            _ => groups.push(vec![channel]),
        }
    }
    groups
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

/// Whether several sensors of this scope are several things; two of a board's input are the same watts.
fn adds_up(scope: &Scope) -> bool {
    matches!(scope, Scope::Battery | Scope::Package | Scope::Dram | Scope::Gpu)
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
mod tests {
    use super::*;
    use crate::channel::{Kind, Value};

    fn channel(number: u16, id: &str, scope: Scope, unit: Unit) -> Channel {
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

    #[test]
    fn without_a_sensor_there_is_a_reason_and_no_number() {
        let cores = [channel(0, "energy.core-0", Scope::Cores, Unit::Joules)];
        let energy = of_phases(&[span()], None, &samples(), &cores);
        assert_eq!((energy.phases[0].joules, energy.phases[0].class), (None, Class::Unavailable));
        assert!(energy.phases[0].reason.is_some());
    }
}
