//! What measuring cost: the recorder inside the engine, and the CPU time of everything around it.

use serde::{Deserialize, Serialize};

use crate::phase::Phase;
use crate::profile::{OpRow, PhaseBooks};
use crate::stats::{Estimate, median};
use crate::totals::saturating_sum;

/// What the measuring cost, as a share of the measured time.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Overhead {
    /// Recording: decode with the recorder on against off; null with a reason.
    pub recording: Option<f64>,
    /// CPU time that daemon, clients and helper threads took, divided by that of the engine threads; null where
    /// the kernel does not report it.
    pub stolen: Option<f64>,
    /// Their sum; null if one is.
    pub fraction: Option<f64>,
    /// Lower end of the sum.
    pub low: Option<f64>,
    /// Upper end of the sum.
    pub high: Option<f64>,
    /// Level of the interval, which is that of the median of the comparisons with the recorder on and off: 0.95 (see
    /// [`stats`](crate::stats)). There are 64 comparisons or more, or no figure at all.
    #[serde(default)]
    pub level: Option<f64>,
    /// Tokens that `recording` was found with.
    pub tokens: u64,
    /// Share of the measured tokens whose events were recorded: less than 1 where a budget left some out, or
    /// the daemon was too slow for them. `recording` is that much of what recording all of them costs.
    #[serde(default)]
    pub recorded: Option<f64>,
    /// Why there is no figure.
    pub reason: Option<String>,
}

/// With fewer tokens than this a cost of one percent cannot be measured.
pub const MIN_OVERHEAD_TOKENS: u32 = 256;

/// Comparisons that the tokens are divided into.
const COMPARISONS: usize = 64;

/// What is known of the recorder's cost.
#[derive(Debug, Clone, Copy)]
pub enum Recording<'a> {
    /// Times of the same decode step, recorder on, off, off, on and so on, ns.
    Times {
        /// With the recorder on.
        on_ns: &'a [u32],
        /// With the recorder off.
        off_ns: &'a [u32],
    },
    /// It was not asked for.
    Off,
    /// The run ended before.
    Missing,
}

/// CPU time of the tool's own processes and threads beside the engine.
#[derive(Debug, Clone, Copy)]
pub struct Stolen {
    /// What they used, ns.
    pub cpu_ns: u64,
    /// In so much time, ns.
    pub wall_ns: u64,
    /// Engine threads.
    pub threads: u32,
}

impl Stolen {
    fn share(self) -> Option<f64> {
        let capacity = self.wall_ns as f64 * f64::from(self.threads);
        (capacity > 0.0).then(|| self.cpu_ns as f64 / capacity)
    }
}

/// The cost of measuring a run with these phases and ops.
///
/// With a decode phase, recording is the relative difference of a decode step, times the share of the steps that
/// were recorded; without one, the cost of one event times the events of prefill.
pub fn overhead(
    recording: &Recording<'_>,
    stolen: Option<Stolen>,
    phases: &[PhaseBooks],
    ops: &[OpRow],
) -> Overhead {
    let stolen = stolen.and_then(Stolen::share);
    let decodes = phases.iter().any(|books| books.phase == Phase::Decode);
    let main = if decodes { Phase::Decode } else { Phase::Prefill };
    let recorded = recorded_share(phases, main);
    let none = |tokens: usize, reason: &str| Overhead {
        stolen,
        recorded,
        tokens: tokens as u64,
        reason: Some(reason.to_owned()),
        ..Overhead::default()
    };
    let (on_ns, off_ns) = match *recording {
        Recording::Times { on_ns, off_ns } => (on_ns, off_ns),
        Recording::Off => return none(0, "switched off"),
        Recording::Missing => return none(0, "the run ended before it was measured"),
    };
    let tokens = on_ns.len() + off_ns.len();
    if tokens < MIN_OVERHEAD_TOKENS as usize {
        return none(tokens, "too short: fewer than 256 tokens; ask for more tokens, or for --overhead full");
    }
    // In every four a drift of the machine's speed cancels out; of many such turns the medians are compared, so
    // that what interrupts one of them counts little.
    let turns = (on_ns.len() / 2 / COMPARISONS).max(1);
    let groups = on_ns.chunks_exact(2 * turns).zip(off_ns.chunks_exact(2 * turns));
    let shares: Vec<f64> = groups
        .filter_map(|(on, off)| {
            let middle = |times: &[u32]| median(&times.iter().map(|&ns| f64::from(ns)).collect::<Vec<_>>());
            let (on, off) = (middle(on)?, middle(off)?);
            Some(if decodes { on / off - 1.0 } else { on - off })
        })
        .collect();
    let scale = if decodes { recorded.unwrap_or(1.0) } else { per_token_to_share(phases, ops) };
    let Some(Estimate { median: middle, low, high, level, .. }) = Estimate::of(&shares) else {
        return none(tokens, "too short");
    };
    let total = |share: f64| stolen.map(|stolen| share * scale + stolen);
    Overhead {
        recording: Some(middle * scale),
        stolen,
        fraction: total(middle),
        low: total(low),
        high: total(high),
        level: level.filter(|_| stolen.is_some()),
        tokens: tokens as u64,
        recorded,
        reason: stolen.is_none().then(|| "the kernel does not report CPU times".to_owned()),
    }
}

/// Share of a phase's tokens that were recorded; `None` without any.
fn recorded_share(phases: &[PhaseBooks], phase: Phase) -> Option<f64> {
    let sum = |part: fn(&PhaseBooks) -> u64| {
        saturating_sum(phases.iter().filter(|books| books.phase == phase).map(part)) as f64
    };
    let tokens = sum(|books| books.tokens);
    (tokens > 0.0).then(|| sum(|books| books.recorded_tokens) / tokens)
}

/// The extra time of one decode step as a share of prefill: scaled by the number of events of both. Events of all
/// lanes count, as recording each of them costs.
fn per_token_to_share(phases: &[PhaseBooks], ops: &[OpRow]) -> f64 {
    let events = saturating_sum(ops.iter().map(|op| op.count));
    let wall = saturating_sum(phases.iter().map(|books| books.wall_ns));
    let steps = ops.len().max(1) as f64;
    if wall == 0 { 0.0 } else { events as f64 / steps / wall as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode() -> Vec<PhaseBooks> {
        vec![PhaseBooks {
            phase: Phase::Decode,
            repetition: 0,
            tokens: 1,
            recorded_tokens: 1,
            wall_ns: 1,
            recorded_wall_ns: 1,
            ops_ns: 1,
            gap_ns: 0,
            unattributed_ns: 0,
            other: Vec::new(),
        }]
    }

    #[test]
    fn a_drift_of_the_machine_does_not_look_like_overhead() {
        let (mut on_ns, mut off_ns) = (Vec::new(), Vec::new());
        for group in 0..200_u32 {
            // Steps get slower and slower; recording adds 1 % to each.
            let step = |index: u32| f64::from(10_000_000 + 20_000 * (4 * group + index));
            on_ns.extend([(step(0) * 1.01) as u32, (step(3) * 1.01) as u32]);
            off_ns.extend([step(1) as u32, step(2) as u32]);
        }
        let times = Recording::Times { on_ns: &on_ns, off_ns: &off_ns };
        let stolen = Stolen { cpu_ns: 2, wall_ns: 100, threads: 2 };
        let cost = overhead(&times, Some(stolen), &decode(), &[]);
        assert!((cost.recording.unwrap() - 0.01).abs() < 1e-4, "{cost:?}");
        assert!((cost.fraction.unwrap() - 0.02).abs() < 1e-4, "{cost:?}");
        assert!(cost.low <= cost.fraction && cost.fraction <= cost.high);
    }

    #[test]
    fn tokens_that_were_not_recorded_cost_nothing() {
        let (on_ns, off_ns) = ([102_u32; 200], [100_u32; 200]);
        let mut phases = decode();
        (phases[0].tokens, phases[0].recorded_tokens) = (40, 10);
        let times = Recording::Times { on_ns: &on_ns, off_ns: &off_ns };
        let cost = overhead(&times, None, &phases, &[]);
        assert_eq!(cost.recorded, Some(0.25));
        assert!((cost.recording.unwrap() - 0.005).abs() < 1e-9, "{cost:?}");
    }

    #[test]
    fn too_little_is_no_figure() {
        let few = [1_u32; 100];
        let cost = overhead(&Recording::Times { on_ns: &few, off_ns: &few }, None, &decode(), &[]);
        assert_eq!((cost.recording, cost.fraction, cost.tokens), (None, None, 200));
        assert!(cost.reason.unwrap().contains("256"));
        assert!(overhead(&Recording::Off, None, &[], &[]).reason.is_some());
    }
}
