//! Memory traffic of the phases: what the model must have moved, beside what the memory controllers counted.
//!
//! The two answer different questions. Derived traffic is the plan's bytes (weights that are multiplied, cache
//! read and written) divided by time: by the wall time of the phase where it is compared with anything that was
//! measured during the phase, and by the time of the ops for the ops' own speed. Measured traffic is everything
//! that went through the controllers, whoever asked for it; it is higher where something else runs or caches miss
//! more than they must, and lower where the caches hold part of the weights.

use serde::{Deserialize, Serialize};

use crate::channel::{Channel, Class, Kind, Quantity, Reason, ReasonCode, Sample, Scope, Unit};
use crate::energy::{NoTotal, Window, total};
use crate::job::Span;
use crate::phase::Phase;
use crate::profile::{OpRow, PhaseBooks};
use crate::rate::counted_per_second;
use crate::totals::{OpTotals, saturating_sum};

/// Memory traffic of one phase, all repetitions together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PhaseBandwidth {
    /// Which phase.
    pub phase: Phase,
    /// Bytes by the plan's rules, divided by the time of the recorded ops, B/s; null where the plan counts none, or
    /// ops ran in several lanes, whose times are not added up.
    pub derived_bytes_per_s: Option<f64>,
    /// The same bytes, divided by the wall time of the recorded tokens, B/s; null where the plan counts none.
    #[serde(default)]
    pub derived_wall_bytes_per_s: Option<f64>,
    /// FLOPs by the plan's rules, divided by the wall time of the recorded tokens, FLOP/s; null where the plan counts none.
    #[serde(default)]
    pub derived_wall_flops_per_s: Option<f64>,
    /// What was counted, divided by the phase's wall time, B/s; null with a reason.
    pub measured_bytes_per_s: Option<f64>,
    /// Channels that counted.
    pub source: Option<String>,
    /// What they cover.
    pub scope: Option<Scope>,
    /// How far to trust them.
    pub class: Class,
    /// Why there is no measured figure.
    pub reason: Option<String>,
}

/// What was measured in the phases of a run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Measured<'a> {
    /// When the phases ran.
    pub spans: &'a [Span],
    /// Their books.
    pub books: &'a [PhaseBooks],
    /// Their ops.
    pub ops: &'a [OpRow],
}

/// Traffic of the measured phases.
pub fn of_phases(measured: Measured<'_>, samples: &[Sample], channels: &[Channel]) -> Vec<PhaseBandwidth> {
    let phases = [Phase::Prefill, Phase::Decode].into_iter();
    phases
        .filter(|phase| measured.spans.iter().any(|span| span.phase == *phase))
        .map(|phase| of_phase(phase, measured, samples, channels))
        .collect()
}

fn of_phase(
    phase: Phase,
    Measured { spans, books, ops }: Measured<'_>,
    samples: &[Sample],
    channels: &[Channel],
) -> PhaseBandwidth {
    let mut derived = OpTotals::default();
    ops.iter().filter(|op| op.phase == phase).for_each(|op| derived.add(&op.totals().totals));
    let mut lanes = ops.iter().filter(|op| op.phase == phase).map(|op| op.lane);
    let lane = lanes.next();
    let is_one_lane = lanes.all(|other| Some(other) == lane);
    let recorded = books.iter().filter(|books| books.phase == phase);
    let recorded_ns = saturating_sum(recorded.map(|books| books.recorded_wall_ns));
    let windows: Vec<Window> = spans
        .iter()
        .filter(|span| span.phase == phase)
        .map(|span| Window { begin_ns: span.begin_ns, end_ns: span.end_ns })
        .collect();
    let wall_ns = saturating_sum(windows.iter().map(|window| window.end_ns.saturating_sub(window.begin_ns)));
    let sources = counters(channels);
    let counted = if sources.is_empty() { Err(NoTraffic::no_counter(channels)) } else { Ok(&sources) };
    let measured = counted.and_then(|sources| {
        let amounts = sources.iter().map(|channel| Ok(total(channel, samples, &windows)?.amount));
        let bytes: f64 = amounts.collect::<Result<Vec<_>, NoTotal>>()?.iter().sum();
        if wall_ns > 0 { Ok(bytes / (wall_ns as f64 / 1e9)) } else { Err(NoTraffic::NoTime) }
    });
    let names: Vec<&str> = sources.iter().map(|channel| channel.id.as_str()).collect();
    PhaseBandwidth {
        phase,
        derived_bytes_per_s: derived.bytes_per_second().filter(|_| is_one_lane),
        derived_wall_bytes_per_s: counted_per_second(derived.bytes, recorded_ns),
        derived_wall_flops_per_s: counted_per_second(derived.flops, recorded_ns),
        measured_bytes_per_s: measured.as_ref().ok().copied(),
        source: (!names.is_empty()).then(|| names.join(" + ")),
        scope: sources.first().map(|channel| channel.scope.clone()),
        class: sources.iter().map(|channel| channel.class).max().unwrap_or(Class::Unavailable),
        reason: measured.err().map(|none| none.to_string()),
    }
}

/// Byte counters of the best class that there is. Reads and writes of all controllers add up; a counter of both
/// together stands alone.
fn counters(channels: &[Channel]) -> Vec<&Channel> {
    let counts = |channel: &&Channel| {
        let is_counter = matches!(channel.kind, Kind::Counter { .. });
        let is_traffic = channel.quantity == Quantity::MemoryBandwidth && channel.unit == Unit::Bytes;
        is_counter && is_traffic && channel.class != Class::Unavailable
    };
    let best = channels.iter().filter(counts).map(|channel| (channel.class, channel.scope.clone())).min();
    let Some((class, scope)) = best else { return Vec::new() };
    let of_best = || channels.iter().filter(counts).filter(|it| it.class == class && it.scope == scope);
    let one_way = |channel: &&Channel| Direction::of(channel) != Direction::Both;
    let parts: Vec<&Channel> = of_best().filter(one_way).collect();
    if parts.is_empty() { of_best().take(1).collect() } else { parts }
}

/// Which traffic a counter holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Reads,
    Writes,
    Both,
}

impl Direction {
    /// By the words of the channel's id, which are all that the kernel's counters say of it.
    fn of(channel: &Channel) -> Self {
        let mut words = channel.id.split(['.', '_', '-', '#']);
        let named = words.find_map(|word| match word {
            "read" | "reads" => Some(Self::Reads),
            "write" | "writes" => Some(Self::Writes),
            _ => None,
        });
        named.unwrap_or(Self::Both)
    }
}

/// Why the traffic of a phase was not measured.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
enum NoTraffic {
    #[error("this machine counts no memory traffic: see `slmscope doctor`")]
    NoCounter,
    #[error("the counters of memory traffic cannot be read ({0}): see `slmscope doctor`")]
    Unavailable(Reason),
    #[error("no time passed")]
    NoTime,
    #[error(transparent)]
    NoTotal(#[from] NoTotal),
}

impl NoTraffic {
    fn no_counter(channels: &[Channel]) -> Self {
        let family = channels.iter().filter(|channel| channel.quantity == Quantity::MemoryBandwidth);
        let reason = family.into_iter().find_map(|channel| channel.reason.clone());
        let reason = reason.filter(|reason| reason.code != ReasonCode::NoSuchInterface);
        reason.map_or(Self::NoCounter, Self::Unavailable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::Value;
    use crate::lane::LaneId;
    use crate::plan::site::{Module, OpKind};

    fn channel(number: u16, id: &str, class: Class) -> Channel {
        Channel {
            channel: number,
            id: id.to_owned(),
            quantity: Quantity::MemoryBandwidth,
            unit: Unit::Bytes,
            scope: Scope::Dram,
            class,
            kind: Kind::Counter { range: None },
            source: String::new(),
            period_ns: None,
            update_ns: None,
            reason: None,
            remedy: None,
        }
    }

    fn decode() -> Span {
        Span {
            job: 1,
            repetition: 0,
            phase: Phase::Decode,
            begin_ns: 1_000_000_000,
            end_ns: 3_000_000_000,
            tokens: 1,
            sample_ns: 0,
            token_ends_ns: vec![],
        }
    }

    fn of_decode(spans: &[Span]) -> Measured<'_> {
        Measured { spans, ..Measured::default() }
    }

    /// 10 GB/s read, 2 GB/s written, 9 GB/s of cache misses.
    fn samples() -> Vec<Sample> {
        (0..400)
            .map(|tick| {
                let seconds = f64::from(tick) / 100.0;
                let values = [10e9, 2e9, 9e9].map(|rate| Value::Present(rate * seconds));
                let values = (0..).zip(values).collect();
                Sample { t_ns: (seconds * 1e9) as u64, values, ..Sample::default() }
            })
            .collect()
    }

    #[test]
    fn reads_and_writes_add_up_and_proxies_stand_back() {
        let channels = [
            channel(2, "membw.llc_misses", Class::Modelled),
            channel(0, "membw.dram.read", Class::Measured),
            channel(1, "membw.dram.write", Class::Measured),
        ];
        let found = &of_phases(of_decode(&[decode()]), &samples(), &channels)[0];
        assert!((found.measured_bytes_per_s.unwrap() / 12e9 - 1.0).abs() < 1e-6, "{found:?}");
        assert_eq!(found.source.as_deref(), Some("membw.dram.read + membw.dram.write"));
        let found = &of_phases(of_decode(&[decode()]), &samples(), &channels[..1])[0];
        assert!((found.measured_bytes_per_s.unwrap() / 9e9 - 1.0).abs() < 1e-6);
        assert_eq!(found.class, Class::Modelled);
    }

    #[test]
    fn without_a_counter_there_is_a_reason_and_no_number() {
        let mut none = channel(0, "membw.dram", Class::Unavailable);
        none.reason = Some(Reason::new(ReasonCode::Permission, "perf"));
        let found = &of_phases(of_decode(&[decode()]), &samples(), &[none])[0];
        assert_eq!((found.measured_bytes_per_s, found.derived_bytes_per_s), (None, None));
        assert!(found.reason.as_ref().unwrap().contains("(this user may not read it: perf)"));
    }

    fn op(lane: LaneId) -> OpRow {
        OpRow {
            id: 0,
            phase: Phase::Decode,
            lane,
            module: Module::Ffn,
            name: "ffn.up_proj".to_owned(),
            kind: OpKind::Matmul,
            layer: Some(0),
            path: String::new(),
            runs: 1,
            count: 1,
            time_ns: 1_000_000_000,
            max_ns: 1_000_000_000,
            call_ns: None,
            max_at: None,
            bytes: 8_000_000_000,
            flops: 4_000_000_000,
            share: 0.5,
            roof: None,
        }
    }

    fn books() -> PhaseBooks {
        PhaseBooks {
            phase: Phase::Decode,
            repetition: 0,
            tokens: 2,
            recorded_tokens: 1,
            wall_ns: 4_000_000_000,
            recorded_wall_ns: 2_000_000_000,
            ops_ns: 1_000_000_000,
            gap_ns: 0,
            unattributed_ns: 1_000_000_000,
            other: Vec::new(),
        }
    }

    #[test]
    fn a_phases_derived_traffic_is_divided_by_wall_time_and_its_ops_by_their_own() {
        let measured = Measured { spans: &[decode()], books: &[books()], ops: &[op(0)] };
        let found = &of_phases(measured, &[], &[])[0];
        assert_eq!((found.derived_bytes_per_s, found.derived_wall_bytes_per_s), (Some(8e9), Some(4e9)));
        assert_eq!(found.derived_wall_flops_per_s, Some(2e9));
    }

    #[test]
    fn times_of_ops_in_several_lanes_are_not_added_up() {
        let of = |ops: &[OpRow]| {
            let measured = Measured { spans: &[decode()], books: &[books()], ops };
            let found = of_phases(measured, &[], &[]).remove(0);
            (found.derived_bytes_per_s, found.derived_wall_bytes_per_s)
        };
        assert_eq!(of(&[op(1), op(1)]), (Some(8e9), Some(8e9)));
        assert_eq!(of(&[op(0), op(1)]), (None, Some(8e9)));
    }
}
