//! Which power sensor tells a run's energy, and what it says of each phase.

use slmscope_profiles::channel::{Channel, Class, Kind, Quantity, Sample, Scope, Unit};
use slmscope_profiles::energy::{Window, phase_energy};
use slmscope_profiles::job::Span;
use slmscope_profiles::result::{Energy, PhaseEnergy};

use super::ending::MEASURED;

/// Energy of the measured phases from the best source there is, or why there is none.
pub(super) fn of_phases(
    spans: &[Span],
    idle: Option<(u64, u64)>,
    samples: &[Sample],
    channels: &[Channel],
) -> Energy {
    let sources = best(channels);
    let phases = MEASURED.into_iter().filter(|phase| spans.iter().any(|span| span.phase == *phase));
    let of_phase = |phase| {
        let windows: Vec<_> = spans
            .iter()
            .filter(|span| span.phase == phase)
            .map(|span| Window { begin_ns: span.begin_ns, end_ns: span.end_ns })
            .collect();
        let idle = idle.map(|(begin_ns, end_ns)| Window { begin_ns, end_ns });
        let parts = sources.iter().map(|channel| phase_energy(phase, &windows, idle, channel, samples));
        parts.reduce(add).unwrap_or_else(|| PhaseEnergy {
            phase,
            joules: None,
            low: None,
            high: None,
            baseline_watts: None,
            source: None,
            scope: None,
            class: Class::Unavailable,
            updates: 0,
            coverage: None,
            reason: Some(why_none(channels)),
        })
    };
    Energy { phases: phases.map(of_phase).collect() }
}

/// Two parts of the same scope, such as the packages of a machine, as one: known only if both are.
fn add(a: PhaseEnergy, b: PhaseEnergy) -> PhaseEnergy {
    let sum = |a: Option<f64>, b: Option<f64>| Some(a? + b?);
    PhaseEnergy {
        phase: a.phase,
        joules: sum(a.joules, b.joules),
        low: sum(a.low, b.low),
        high: sum(a.high, b.high),
        baseline_watts: sum(a.baseline_watts, b.baseline_watts),
        source: a.source.zip(b.source).map(|(a, b)| format!("{a} + {b}")),
        scope: a.scope,
        class: Class::Derived,
        updates: a.updates.min(b.updates),
        coverage: a.coverage.zip(b.coverage).map(|(a, b)| a.min(b)),
        reason: a.reason.or(b.reason),
    }
}

/// The channel that covers most: the board's input, then the platform, a battery, the packages; counters
/// before gauges. All packages of a machine count together.
fn best(channels: &[Channel]) -> Vec<&Channel> {
    let rank = |channel: &Channel| {
        let scope = match channel.scope {
            Scope::BoardInput => 0,
            Scope::Platform => 1,
            Scope::Battery => 2,
            Scope::Package => 3,
            _ => return None,
        };
        Some((scope, channel.unit != Unit::Joules))
    };
    let usable = channels
        .iter()
        .filter(|channel| channel.class != Class::Unavailable && !matches!(channel.kind, Kind::Rate { .. }))
        .filter(|channel| matches!(channel.quantity, Quantity::Energy | Quantity::Power));
    let ranked: Vec<_> = usable.filter_map(|channel| Some((rank(channel)?, channel))).collect();
    let Some(&(first, channel)) = ranked.iter().min_by_key(|(rank, _)| *rank) else { return Vec::new() };
    if channel.scope != Scope::Package {
        return vec![channel];
    }
    ranked.iter().filter(|(rank, _)| *rank == first).map(|(_, channel)| *channel).collect()
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
    use slmscope_profiles::channel::{Sample, Value};
    use slmscope_profiles::op::Phase;

    fn channel(number: u16, id: &str, scope: Scope) -> Channel {
        Channel {
            channel: number,
            id: id.to_owned(),
            quantity: Quantity::Energy,
            unit: Unit::Joules,
            scope,
            class: Class::Measured,
            kind: Kind::Counter { range: None },
            source: String::new(),
            period_ns: None,
            reason: None,
            remedy: None,
        }
    }

    fn span() -> Span {
        let (begin_ns, end_ns) = (1_000_000_000, 2_000_000_000);
        Span {
            job: 1,
            run: 0,
            phase: Phase::Decode,
            begin_ns,
            end_ns,
            tokens: 1,
            sample_ns: 0,
            token_ends_ns: vec![],
        }
    }

    /// 5 W on channel 0 and 7 W on channel 1, every 10 ms for 3 s.
    fn samples() -> Vec<Sample> {
        let value = |watts: u64, ms: u64| Value::Present((watts * ms) as f64 / 1e3);
        (0..300)
            .map(|tick| {
                let ms = tick * 10;
                Sample {
                    t_ns: ms * 1_000_000,
                    cost_ns: 0,
                    values: vec![(0, value(5, ms)), (1, value(7, ms))],
                }
            })
            .collect()
    }

    #[test]
    fn packages_add_up_and_other_scopes_do_not() {
        let packages =
            [channel(0, "energy.package-0", Scope::Package), channel(1, "energy.package-1", Scope::Package)];
        let energy = of_phases(&[span()], None, &samples(), &packages);
        assert!((energy.phases[0].joules.expect("enough readings") - 12.0).abs() < 1e-6);
        assert_eq!(energy.phases[0].source.as_deref(), Some("energy.package-0 + energy.package-1"));
        let mixed =
            [channel(0, "energy.package-0", Scope::Package), channel(1, "energy.psys", Scope::Platform)];
        let energy = of_phases(&[span()], None, &samples(), &mixed);
        assert!((energy.phases[0].joules.expect("enough readings") - 7.0).abs() < 1e-6);
    }

    #[test]
    fn without_a_sensor_there_is_a_reason_and_no_number() {
        let energy = of_phases(&[span()], None, &samples(), &[channel(0, "energy.dram-0", Scope::Dram)]);
        assert_eq!((energy.phases[0].joules, energy.phases[0].class), (None, Class::Unavailable));
        assert!(energy.phases[0].reason.is_some());
    }
}
