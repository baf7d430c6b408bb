//! Energy: whether its sensor was fast enough, and how far off the figure may be.

use super::{FindingCode, Found, Use};
use crate::energy::MIN_UPDATES;
use crate::phase::Phase;
use crate::result::RunResult;

/// Half-width of the energy's interval, as a share, above which the energy is called uncertain.
const ENERGY_SHARE: f64 = 0.2;

/// Sensor too slow for this phase: it gave new readings, but fewer than a figure needs.
pub(super) fn too_slow(result: &RunResult) -> Option<Found> {
    let is_slow = |updates: u64| (1..MIN_UPDATES).contains(&updates);
    let energy = result.energy.phases.iter().find(|row| row.joules.is_none() && is_slow(row.updates))?;
    Some(
        Found::new(FindingCode::SensorTooSlow, Use::Note, 0.1)
            .reason(format!("{} new readings of power during {}", energy.updates, energy.phase.as_str()))
            .figure("new readings", energy.updates as f64, "")
            .figure("needed", MIN_UPDATES as f64, "")
            .advice("The sensor is too slow for this phase: more tokens or more repetitions."),
    )
}

/// Energy that may be far off: its interval is wider than ± 20 %.
pub(super) fn uncertain(result: &RunResult, phase: Phase) -> Option<Found> {
    let energy = result.energy.phases.iter().find(|row| row.phase == phase)?;
    let (joules, low, high) = (energy.joules?, energy.low?, energy.high?);
    if joules <= 0.0 || (high - low) / 2.0 <= ENERGY_SHARE * joules {
        return None;
    }
    let source = energy.source.as_deref().unwrap_or("the sensor");
    Some(
        Found::new(FindingCode::EnergyUncertain, Use::Note, (high - low) / 2.0 / joules)
            .reason(format!(
                "energy of {} from {source} lies between {low:.1} and {high:.1} J",
                phase.as_str()
            ))
            .figure("energy", joules, "J")
            .figure("at least", low, "J")
            .figure("at most", high, "J")
            .figure("new readings", energy.updates as f64, "")
            .advice("The sensor is slow for this phase, or power swings faster than it is read; run longer."),
    )
}
