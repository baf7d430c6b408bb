use super::*;
use crate::bandwidth::{self, Measured as MeasuredRun};
use crate::catalogue;
use crate::clock::{Calibration, CalibrationMethod};
use crate::finding::rules::findings;
use crate::format::{KvFormat, WeightFormat};
use crate::lane::LaneKind;
use crate::model::ModelSource;
use crate::op::{BatchHead, OpEvent};
use crate::overhead::{Recording, overhead};
use crate::plan::Plan;
use crate::result::RunResult;
use crate::span::NamedSpan;
use crate::stats::SplitMix;
use crate::workload::Workload;

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

#[test]
fn percentiles_of_steps_have_intervals_and_far_repetitions_are_marked_and_counted() {
    let mut random = SplitMix(12);
    let mut of = |count: u32, odd: Option<u32>| {
        let mut profile = Profile::new(Vec::new(), "test".to_owned());
        for repetition in 0..count {
            let slow = if odd == Some(repetition) { 3 } else { 1 };
            let mut at = 0;
            let token_ends_ns: Vec<u64> = (0..50)
                .map(|_| {
                    at += slow * (1_000_000 + random.below(100_000) as u64);
                    at
                })
                .collect();
            let (job, phase, begin_ns, end_ns, tokens, sample_ns) = (1, Phase::Decode, 0, at, 50, 0);
            profile.add_span(Span {
                job,
                repetition,
                phase,
                begin_ns,
                end_ns,
                tokens,
                sample_ns,
                token_ends_ns,
            });
        }
        profile.figures(0, false, None)
    };
    let few = of(5, None);
    assert_eq!((few.token_ns_intervals, few.outliers.len()), (None, 0));
    let even = of(12, None);
    let (found, intervals) = (even.token_ns.unwrap(), even.token_ns_intervals.unwrap());
    for (found, [low, high]) in
        [(found.median, intervals.median), (found.p95, intervals.p95), (found.p99, intervals.p99)]
    {
        assert!(low <= found + found / 100 && found <= high + high / 100, "{low} to {high}: {found}");
        assert!((high - low) as f64 <= 0.03 * found as f64, "{low} to {high}");
    }
    assert!(even.outliers.is_empty());
    let odd = of(12, Some(7));
    assert_eq!((odd.outliers.len(), odd.outliers[0].repetition), (1, 7));
    let rates = odd.decode_tokens_per_s.unwrap();
    assert_eq!(rates.count, 12, "it counts all the same");
    // The slow repetition has the highest 8 % of the steps: whether it is drawn decides the 95th percentile.
    let [low, high] = odd.token_ns_intervals.unwrap().p95;
    assert!(high > 2 * low, "{low} to {high}");
}

fn device() -> Lane {
    let kind = LaneKind::Device { device: "a card".to_owned(), queue: 0 };
    Lane { lane: 1, name: "queue 0".to_owned(), kind }
}

#[test]
fn the_place_of_a_lane_is_unknown_once_one_of_its_batches_was_not_placed() {
    let error_of = |errors: &[Option<u64>]| {
        let mut profile = Profile::new(plan().sites, "test".to_owned()).with_lanes(&[device()]);
        for (index, &error_ns) in (0..).zip(errors) {
            let mut batch = token(0, index, 3, 1_000 * u64::from(index));
            let calibration = Calibration { method: CalibrationMethod::Bracketed, offset_ns: 0, error_ns };
            (batch.head.lane, batch.head.clock) = (1, ClockSource::Device { calibration });
            profile.add_batch(&batch);
        }
        profile.lanes()[0].placement_error_ns
    };
    assert_eq!(error_of(&[Some(40), Some(70), Some(50)]), Some(70));
    assert_eq!(error_of(&[Some(40), None, Some(50)]), None);
    assert_eq!(error_of(&[None, Some(40)]), None);
}

#[test]
fn sums_of_hostile_numbers_neither_panic_nor_start_again_at_0() {
    let mut random = SplitMix(23);
    for _ in 0..200 {
        let mut extreme = || match random.below(3) {
            0 => 0,
            1 => u64::MAX - random.below(9) as u64,
            _ => random.next_u64(),
        };
        let mut profile = Profile::new(plan().sites, "test".to_owned()).with_lanes(&[device()]);
        for repetition in 0..4 {
            for phase in [Phase::Prefill, Phase::Decode] {
                let mut batch = token(repetition, 0, 5, 0);
                let head = &mut batch.head;
                (head.phase, head.lane) = (phase, (extreme() % 2) as LaneId);
                (head.begin_ns, head.end_ns) = (extreme(), extreme());
                (head.rows, head.context, head.tick_ns) =
                    (extreme() as u32, extreme() as u32, extreme() as u32);
                batch.spans[0].ns = extreme();
                batch.events.iter_mut().for_each(|event| event.duration = extreme() as u32);
                profile.add_batch(&batch);
                profile.add_span(Span {
                    job: 1,
                    repetition,
                    phase,
                    begin_ns: extreme(),
                    end_ns: extreme(),
                    tokens: extreme() as u32,
                    sample_ns: extreme(),
                    token_ends_ns: vec![extreme(), extreme()],
                });
            }
        }
        profile.close_broken(1);
        let load =
            LoadTimes { open_ns: extreme(), weights_ns: extreme(), tokenizer_ns: None, waited_ns: extreme() };
        let mut result = RunResult::failed("m", ModelSource::Synthetic, &Workload::default(), "");
        result.summary = profile.figures(extreme(), true, Some(load));
        (result.phases, result.lanes) = (profile.phases(), profile.lanes());
        result.ops = profile.ops(&Roofs::default());
        let run = MeasuredRun { spans: profile.spans(), books: &result.phases, ops: &result.ops };
        result.bandwidth = bandwidth::of_phases(run, &[], &[]);
        let times = Recording::Times { on_ns: &[u32::MAX; 200], off_ns: &[0; 200] };
        result.overhead = overhead(&times, None, &result.phases, &result.ops);
        result.findings = findings(&result);
        let walls = result.phases.iter().map(|books| books.recorded_wall_ns);
        let largest = walls.clone().max().unwrap();
        assert!(totals::saturating_sum(walls) >= largest);
        assert!(result.ops.iter().all(|op| op.share.is_finite() && op.share >= 0.0));
    }
}
