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
    let source = best(channels);
    let phases = MEASURED.into_iter().filter(|phase| spans.iter().any(|span| span.phase == *phase));
    let of_phase = |phase| {
        let windows: Vec<_> = spans
            .iter()
            .filter(|span| span.phase == phase)
            .map(|span| Window { begin_ns: span.begin_ns, end_ns: span.end_ns })
            .collect();
        match source {
            Some(channel) => {
                let idle = idle.map(|(begin_ns, end_ns)| Window { begin_ns, end_ns });
                phase_energy(phase, &windows, idle, channel, samples)
            }
            None => PhaseEnergy {
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
            },
        }
    };
    Energy { phases: phases.map(of_phase).collect() }
}

/// The channel that covers most: the board's input, then the platform, the battery, the package; counters
/// before gauges.
fn best(channels: &[Channel]) -> Option<&Channel> {
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
    channels
        .iter()
        .filter(|channel| channel.class != Class::Unavailable && !matches!(channel.kind, Kind::Rate { .. }))
        .filter(|channel| matches!(channel.quantity, Quantity::Energy | Quantity::Power))
        .filter_map(|channel| Some((rank(channel)?, channel)))
        .min_by_key(|(rank, _)| *rank)
        .map(|(_, channel)| channel)
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
