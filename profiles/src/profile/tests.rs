use super::*;
use crate::catalogue;
use crate::format::{KvFormat, WeightFormat};
use crate::op::{BatchHead, OpEvent};
use crate::plan::Plan;
use crate::span::NamedSpan;

fn plan() -> Plan {
    let spec = catalogue::find("smollm2-135m").unwrap().spec();
    Plan::compile(&spec, KvFormat::F32, |t| t.format_in(WeightFormat::Q4_0))
}

/// A decode step of `sites` ops of 100 ns with gaps of 20 ns and 500 ns of sampling at its end.
fn token(repetition: u32, token: u32, sites: u16, begin_ns: u64) -> OpBatch {
    let end_ns = begin_ns + u64::from(sites) * 120 + 500;
    OpBatch {
        head: BatchHead {
            job: 1,
            plan: 0,
            lane: HOST_LANE,
            repetition,
            phase: Phase::Decode,
            token,
            rows: 1,
            context: 10 + token,
            seq: u64::from(token),
            begin_ns,
            end_ns,
            tick_ns: 1,
            clock: ClockSource::Host,
        },
        spans: vec![NamedSpan { name: SpanName::Sample, ns: 500 }],
        columns: Vec::new(),
        events: (0..sites).map(|site| OpEvent { site, reserved: 0, gap: 20, duration: 100 }).collect(),
    }
}

fn profile(lost: Option<u32>) -> Profile {
    let plan = plan();
    let count = plan.sites.len() as u16;
    let mut profile = Profile::new(plan.sites, "test".to_owned());
    for repetition in 0..3 {
        let begin_ns = 1_000_000_000 * u64::from(repetition);
        let mut at = begin_ns;
        let mut ends = Vec::new();
        for index in 0..8 {
            let batch = token(repetition, index, count, at);
            at = batch.head.end_ns;
            ends.push(at);
            if lost != Some(index) {
                profile.add_batch(&batch);
            }
        }
        profile.add_span(Span {
            job: 1,
            repetition,
            phase: Phase::Decode,
            begin_ns,
            end_ns: at,
            tokens: 8,
            sample_ns: 4_000,
            token_ends_ns: ends,
        });
    }
    profile
}

#[test]
fn books_close_with_and_without_lost_tokens() {
    for (lost, recorded) in [(None, 8), (Some(3), 7)] {
        let phases = profile(lost).phases();
        assert_eq!(phases.len(), 3);
        for books in phases {
            let other: u64 = books.other.iter().map(|row| row.ns).sum();
            assert_eq!(books.ops_ns + books.gap_ns + other + books.unattributed_ns, books.recorded_wall_ns);
            assert_eq!((books.tokens, books.recorded_tokens), (8, recorded));
            assert_eq!(books.recorded_wall_ns == books.wall_ns, lost.is_none());
        }
    }
}

#[test]
fn a_phase_that_broke_off_keeps_its_tokens_and_its_books() {
    let plan = plan();
    let count = plan.sites.len() as u16;
    let mut profile = Profile::new(plan.sites, "test".to_owned());
    let first = token(0, 0, count, 5_000);
    profile.add_batch(&token(0, 1, count, first.head.end_ns));
    profile.clear();
    profile.add_batch(&first);
    profile.add_batch(&token(0, 1, count, first.head.end_ns));
    assert!(profile.phases().is_empty());
    profile.close_broken(1);
    profile.close_broken(1);
    let phases = profile.phases();
    assert_eq!((phases.len(), phases[0].tokens, phases[0].recorded_tokens), (1, 2, 2));
    assert_eq!(phases[0].wall_ns, 2 * (u64::from(count) * 120 + 500));
    assert_eq!(phases[0].unattributed_ns, 2 * 20, "what lies before the first op");
}

#[test]
fn shares_and_rates_follow_from_the_events() {
    let profile = profile(None);
    let ops = profile.ops(&Roofs::default());
    assert_eq!(ops.len(), plan().sites.len());
    assert!(ops.iter().all(|op| op.count == 24 && op.runs == 3 && op.time_ns == 2_400));
    let wall = (ops.len() as u64) * 120 + 500;
    let share: f64 = ops.iter().map(|op| op.share).sum();
    assert!((share - (ops.len() * 100) as f64 / wall as f64).abs() < 1e-9);
    let figures = profile.figures(0, false, None);
    let rate = figures.decode_tokens_per_s.unwrap().median;
    assert!((rate - 1e9 / wall as f64).abs() < 1e-3);
    let forward = figures.forward_tokens_per_s.unwrap().median;
    assert!((forward - 1e9 / (wall - 500) as f64).abs() < 1e-3);
    assert_eq!(figures.token_ns.unwrap().p99, wall);
    assert_eq!(figures.ttft_ns, None);
}
