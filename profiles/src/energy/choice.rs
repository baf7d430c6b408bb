//! Which sensors the energy of a run is read from.
//!
//! The widest scope that was read comes first, in the order of [`Coverage`](crate::channel::Coverage), a battery
//! only where it was discharged. Narrower scopes follow, each with its own figure: what they cover overlaps
//! differently on each machine, so watts of different scopes are never added. All packages (or
//! memory channels, or graphics processors) of a machine are one scope, and where one of them was not read the
//! scope has no figure.
//!
//! A battery reports what the machine uses only while it is discharged and nothing else feeds the machine. If it
//! was charged, rested or was not readable at any time of a phase, it is no source for that phase.

use std::collections::HashSet;

use super::parts::{cards, kinds};
use super::{Energy, PhaseEnergy, Stretch, Window, phase_energy};
use crate::channel::{
    BATTERY_POWER, Channel, ChannelId, Class, Quantity, Reason, ReasonCode, Sample, Scope, Unit,
};
use crate::job::Span;
use crate::phase::Phase;

/// Phases that energy is reported for.
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
            phases.push(if sources.is_empty() {
                let Reason { code, detail } = why_none(channels);
                none(&stretch, detail, Some(code))
            } else {
                let text = "no sensor but the battery, which was not discharged throughout the phase";
                none(&stretch, text.to_owned(), None)
            });
        }
    }
    Energy { phases }
}

/// Channels that energy can be read from, grouped by scope, the widest scope first. If any was read, those that
/// were not are left out, unless they are parts of one that was.
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
    scopes.sort_by_key(|&scope| (scope.coverage(), scope));
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
        && channel.scope.coverage().is_some()
        // The board's total repeats what is listed already.
        && !channel.is_board_total()
        && (channel.scope != Scope::Battery || channel.is_of_batteries())
}

/// The channel of all batteries together if there is one, else the channels of all batteries: a part of them does
/// not feed the whole machine.
fn batteries(channels: Vec<&Channel>, is_usable: impl Fn(&Channel) -> bool) -> Vec<&Channel> {
    let told = match channels.iter().find(|channel| channel.id == BATTERY_POWER) {
        Some(together) => vec![*together],
        None => channels,
    };
    if told.iter().all(|channel| is_usable(channel)) { told } else { Vec::new() }
}

/// The channels of the best kind whose channels are all usable; else of the best kind with a usable one, which gives
/// no figure but the reason.
fn best_kind<'c>(channels: &[&'c Channel], is_usable: impl Fn(&Channel) -> bool) -> Vec<&'c Channel> {
    let kinds = kinds(channels.iter().copied());
    let whole = kinds.iter().find(|kind| kind.iter().all(|channel| is_usable(channel)));
    let best = whole.or_else(|| kinds.iter().find(|kind| kind.iter().any(|channel| is_usable(channel))));
    let mut best = best.cloned().unwrap_or_default();
    // Modules have a meter for each socket; the platform has one counter, even if several drivers show it.
    if best.first().is_some_and(|first| first.scope == Scope::Platform && first.unit == Unit::Joules) {
        best.truncate(1);
    }
    best
}

fn is_battery(group: &[&Channel]) -> bool {
    group.first().is_some_and(|first| first.scope == Scope::Battery)
}

/// Whether the batteries fed the machine at every reading in these windows, and at the readings next to them that
/// determine the power at the edges: together they delivered power, and none was charged or not readable.
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
        joules_per_token_interval: a
            .joules_per_token_interval
            .zip(b.joules_per_token_interval)
            .map(|([low, high], [more_low, more_high])| [low + more_low, high + more_high]),
        above_baseline_joules: sum(a.above_baseline_joules, b.above_baseline_joules),
        baseline_watts: sum(a.baseline_watts, b.baseline_watts),
        source: a.source.zip(b.source).map(|(a, b)| format!("{a} + {b}")),
        scope: a.scope,
        class: Class::Derived,
        updates: a.updates.min(b.updates),
        coverage: a.coverage.zip(b.coverage).map(|(a, b)| a.min(b)),
        reason: a.reason.or(b.reason),
        reason_code: a.reason_code.or(b.reason_code),
    }
}

fn none(stretch: &Stretch<'_>, reason: String, reason_code: Option<ReasonCode>) -> PhaseEnergy {
    PhaseEnergy {
        phase: stretch.phase,
        joules: None,
        low: None,
        high: None,
        tokens: stretch.tokens,
        joules_per_token: None,
        joules_per_token_interval: None,
        above_baseline_joules: None,
        baseline_watts: None,
        source: None,
        scope: None,
        class: Class::Unavailable,
        updates: 0,
        coverage: None,
        reason: Some(reason),
        reason_code,
    }
}

/// The reason that the machine's channels give for having no power sensor.
fn why_none(channels: &[Channel]) -> Reason {
    let missing = channels
        .iter()
        .filter(|channel| matches!(channel.quantity, Quantity::Energy | Quantity::Power))
        .find_map(|channel| channel.reason.as_ref());
    let text = match missing.filter(|reason| reason.code != ReasonCode::NoSuchInterface) {
        Some(reason) => format!("no power sensor can be read ({reason}): see `slmscope doctor power`"),
        None => "this machine has no power sensor: see `slmscope doctor power`".to_owned(),
    };
    Reason::new(missing.map_or(ReasonCode::NoSuchInterface, |reason| reason.code), text)
}

#[cfg(test)]
pub(super) mod tests;
