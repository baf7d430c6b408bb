//! From records to tables: parts add up to their whole whatever the records say, and a delay is found where it was put.

use slmscope_profiles::clock::ClockSource;
use slmscope_profiles::job::Span;
use slmscope_profiles::lane::HOST_LANE;
use slmscope_profiles::op::{BatchHead, OpBatch, OpEvent, Phase};
use slmscope_profiles::plan::Rows;
use slmscope_profiles::plan::site::{Cost, Module, OpKind, OpSite};
use slmscope_profiles::profile::{BreakdownRow, By, PERCENTILE_ERROR, Profile, RowKind};
use slmscope_profiles::roofline::{RoofSample, Roofs};
use slmscope_profiles::span::{NamedSpan, SpanName};
use slmscope_profiles::stats::SplitMix;
use slmscope_profiles::stats::percentile;

/// Divisions whose rows are parts of a phase.
const DIVISIONS: [By; 6] = [By::Phase, By::Module, By::Kind, By::Name, By::Site, By::Layer];

/// A model of two layers: what comes before, three ops a layer, and what comes after.
fn sites() -> Vec<OpSite> {
    let ops = [
        (None, Module::Embedding, OpKind::Embed, "embed"),
        (Some(0), Module::Attention, OpKind::Matmul, "attn.qkv_proj"),
        (Some(0), Module::Attention, OpKind::Attention, "attn.core"),
        (Some(0), Module::Ffn, OpKind::Matmul, "ffn.up_proj"),
        (Some(1), Module::Attention, OpKind::Matmul, "attn.qkv_proj"),
        (Some(1), Module::Attention, OpKind::Attention, "attn.core"),
        (Some(1), Module::Ffn, OpKind::Matmul, "ffn.up_proj"),
        (None, Module::LmHead, OpKind::Matmul, "lm_head"),
    ];
    let site = |(id, (layer, module, kind, name)): (usize, (Option<u32>, Module, OpKind, &str))| OpSite {
        id: id as u16,
        layer,
        module,
        name: name.to_owned(),
        kind,
        weights: Vec::new(),
        fuses: Vec::new(),
        cost: Cost {
            bytes: 1_000 * (id as u64 + 1),
            bytes_per_row: 10,
            bytes_per_cached: u64::from(kind == OpKind::Attention) * 64,
            flops_per_row: 5_000,
            flops_per_attended: u64::from(kind == OpKind::Attention) * 256,
            window: None,
            rows: Rows::All,
        },
    };
    ops.into_iter().enumerate().map(site).collect()
}

/// A token at 0 ns with these gaps and durations of the sites in order, a sampler, and time before and after.
fn token(number: u32, times: &[(u32, u32)], sample_ns: u64, idle_ns: u64) -> OpBatch {
    let event = |(site, &(gap, duration)): (usize, &(u32, u32))| OpEvent {
        site: site as u16,
        reserved: 0,
        gap,
        duration,
    };
    let ops_ns: u64 = times.iter().map(|&(gap, duration)| u64::from(gap) + u64::from(duration)).sum();
    OpBatch {
        head: BatchHead {
            job: 1,
            plan: 1,
            lane: HOST_LANE,
            repetition: 0,
            phase: Phase::Decode,
            token: number,
            rows: 1,
            context: number,
            seq: u64::from(number),
            begin_ns: 0,
            end_ns: ops_ns + sample_ns + idle_ns,
            tick_ns: 1,
            clock: ClockSource::Host,
        },
        spans: vec![NamedSpan { name: SpanName::Sample, ns: sample_ns }],
        columns: Vec::new(),
        events: times.iter().enumerate().map(event).collect(),
    }
}

fn roofs() -> Roofs {
    Roofs::of(&[RoofSample { at_ns: 0, read_bytes: 1e10, f32_flops: 1e11, int8_ops: 4e11 }], 1, "scalar", 0)
}

/// Records of a run with losses, steps that the plan does not have, and phases that broke off.
fn random_run(random: &mut SplitMix) -> Profile {
    let mut profile = Profile::new(sites(), "test".to_owned());
    let mut at = 1_000;
    for repetition in 0..=random.below(3) as u32 {
        for phase in [Phase::Prefill, Phase::Decode] {
            let (begin_ns, mut ends, mut rows) = (at, Vec::new(), 0);
            for number in 0..random.below(6) as u32 {
                let mut times: Vec<(u32, u32)> = Vec::new();
                for _ in 0..sites().len() {
                    times.push((random.below(3_000) as u32, random.below(90_000) as u32));
                }
                let mut batch = token(number, &times, random.below(4_000) as u64, random.below(2_000) as u64);
                let wall = batch.head.end_ns;
                (batch.head.repetition, batch.head.phase) = (repetition, phase);
                (batch.head.rows, batch.head.context) =
                    (1 + random.below(3) as u32, random.below(100) as u32);
                (batch.head.begin_ns, batch.head.end_ns) = (at, at + wall);
                at += wall;
                ends.push(at);
                rows += batch.head.rows;
                match random.below(8) {
                    0 => continue,
                    1 => batch.events[0].site = 900,
                    2 => batch.events.truncate(3),
                    _ => {}
                }
                profile.add_batch(&batch);
            }
            if random.below(5) > 0 {
                let (end_ns, tokens) = (at + random.below(3) as u64, rows);
                let (job, sample_ns, token_ends_ns) = (1, 0, ends);
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
        }
    }
    profile
}

fn sum(rows: &[BreakdownRow], phase: Phase, of: impl Fn(&BreakdownRow) -> u64) -> u64 {
    rows.iter().filter(|row| row.phase == phase && row.kind != RowKind::Whole).map(of).sum()
}

#[test]
fn parts_add_up_to_the_whole_by_every_division() {
    let mut random = SplitMix(31);
    for round in 0..150 {
        let profile = random_run(&mut random);
        let wholes: Vec<_> = profile.breakdown(By::Phase, &roofs());
        for whole in wholes.iter().filter(|row| row.kind == RowKind::Whole) {
            for by in DIVISIONS {
                let rows = profile.breakdown(by, &roofs());
                assert_eq!(sum(&rows, whole.phase, |row| row.time_ns), whole.time_ns, "round {round} {by:?}");
                assert_eq!(
                    sum(&rows, whole.phase, |row| row.bytes.unwrap_or(0)),
                    whole.bytes.unwrap(),
                    "{by:?}"
                );
                assert_eq!(
                    sum(&rows, whole.phase, |row| row.flops.unwrap_or(0)),
                    whole.flops.unwrap(),
                    "{by:?}"
                );
                let share: f64 = rows
                    .iter()
                    .filter(|row| row.phase == whole.phase && row.kind != RowKind::Whole)
                    .map(|row| row.share)
                    .sum();
                assert!(whole.time_ns == 0 || (share - 1.0).abs() < 1e-9, "{share}");
            }
            let steps = profile.breakdown(By::Token, &roofs());
            assert_eq!(sum(&steps, whole.phase, |row| row.bytes.unwrap_or(0)), whole.bytes.unwrap());
            assert_eq!(sum(&steps, whole.phase, |row| row.count.unwrap_or(0)), whole.count.unwrap());
            // What the record's seams lost between the steps is a few ns.
            assert!(sum(&steps, whole.phase, |row| row.time_ns).abs_diff(whole.time_ns) < 12);
        }
        // The rows of the result are the rows of the table by site.
        let by_site: Vec<_> = profile
            .breakdown(By::Site, &roofs())
            .into_iter()
            .filter(|row| row.kind == RowKind::Ops)
            .map(|row| (row.phase, row.site, row.count, row.time_ns, row.bytes, row.share, row.call_ns))
            .collect();
        let ops: Vec<_> = profile
            .ops(&roofs())
            .into_iter()
            .map(|op| {
                (op.phase, Some(op.id), Some(op.count), op.time_ns, Some(op.bytes), op.share, op.call_ns)
            })
            .collect();
        assert_eq!(by_site, ops);
    }
}

const QUIET: [(u32, u32); 8] =
    [(40, 500), (50, 9_000), (50, 4_000), (50, 20_000), (50, 9_000), (50, 4_000), (50, 20_000), (50, 30_000)];

/// The tables of ten tokens, whose fourth is `changed`.
fn tables(changed: &OpBatch, by: By) -> Vec<BreakdownRow> {
    let mut profile = Profile::new(sites(), "test".to_owned());
    for number in 0..10 {
        let mut batch = if number == 3 { changed.clone() } else { token(number, &QUIET, 700, 300) };
        batch.head.token = number;
        profile.add_batch(&batch);
    }
    profile.breakdown(by, &Roofs::default())
}

/// Rows whose time is another one, with the difference.
fn changes(quiet: &[BreakdownRow], loud: &[BreakdownRow]) -> Vec<(String, Option<u32>, i64)> {
    assert_eq!(quiet.len(), loud.len());
    let pairs = quiet.iter().zip(loud).filter(|(before, after)| before.time_ns != after.time_ns);
    pairs
        .map(|(before, after)| {
            (after.name.clone(), after.layer, after.time_ns as i64 - before.time_ns as i64)
        })
        .collect()
}

#[test]
fn a_known_delay_lands_in_its_row_and_in_no_other() {
    const DELAY: u32 = 7_000;
    let quiet = token(3, &QUIET, 700, 300);
    let found = |loud: &OpBatch, by| changes(&tables(&quiet, by), &tables(loud, by));
    let mut op = QUIET;
    op[5].1 += DELAY;
    let op = token(3, &op, 700, 300);
    for (by, name, layer) in [
        (By::Module, "attention", None),
        (By::Kind, "attention", None),
        (By::Name, "attn.core", None),
        (By::Site, "attn.core", Some(1)),
        (By::Layer, "layer", Some(1)),
    ] {
        assert_eq!(found(&op, by), [(name.to_owned(), layer, 7_000)], "{by:?}");
    }
    let mut between = QUIET;
    between[5].0 += DELAY;
    let between = token(3, &between, 700, 300);
    // A border counts 1 µs at the most as gap; the rest of the delay is explained by nothing.
    let split = [("gap".to_owned(), None, 950), ("unattributed".to_owned(), None, 6_050)];
    let sampler = token(3, &QUIET, 700 + u64::from(DELAY), 300);
    let after = token(3, &QUIET, 700, 300 + u64::from(DELAY));
    for by in [By::Module, By::Kind, By::Name, By::Site, By::Layer] {
        assert_eq!(found(&between, by), split, "{by:?}");
        assert_eq!(found(&sampler, by), [("sample".to_owned(), None, 7_000)], "{by:?}");
        assert_eq!(found(&after, by), [("unattributed".to_owned(), None, 7_000)], "{by:?}");
    }
    // Of the tokens only the fourth is longer.
    for loud in [&op, &between, &sampler, &after] {
        let (before, after) = (tables(&quiet, By::Token), tables(loud, By::Token));
        let longer: Vec<_> = before.iter().zip(&after).filter(|(a, b)| a.time_ns != b.time_ns).collect();
        assert_eq!(longer.len(), 1);
        assert_eq!((longer[0].1.token, longer[0].1.time_ns - longer[0].0.time_ns), (Some(3), 7_000));
    }
}

#[test]
fn percentiles_of_a_group_are_those_of_all_its_calls() {
    let (mut random, mut profile, mut all) =
        (SplitMix(8), Profile::new(sites(), "test".to_owned()), Vec::new());
    for number in 0..300 {
        let mut times = QUIET;
        for time in &mut times {
            time.1 += random.below(20_000) as u32;
        }
        all.extend([1, 2, 4, 5].map(|site| u64::from(times[site].1)));
        profile.add_batch(&token(number, &times, 0, 0));
    }
    let rows = profile.breakdown(By::Module, &Roofs::default());
    let row = rows.iter().find(|row| row.name == "attention").unwrap();
    assert_eq!(row.count, Some(1_200));
    let calls = row.call_ns.unwrap();
    for (found, q) in [(calls.median, 0.5), (calls.p95, 0.95), (calls.p99, 0.99)] {
        let exact = percentile(&mut all, q).unwrap();
        assert!(
            found.abs_diff(exact) as f64 <= PERCENTILE_ERROR * exact as f64,
            "{found} instead of {exact}"
        );
    }
}

#[test]
fn a_step_is_held_against_the_least_time_of_all_ops_of_the_plan() {
    let mut profile = Profile::new(sites(), "test".to_owned());
    profile.add_batch(&token(0, &QUIET, 700, 300));
    let mut part = token(1, &QUIET, 700, 300);
    part.events.truncate(4);
    profile.add_batch(&part);
    let rows = profile.breakdown(By::Token, &roofs());
    // 36,000 bytes of weights, 10 a row and op, 64 for the one token that each attention sees, at 10 GB/s: 3,621 of 97,890 ns.
    assert_eq!(
        (rows[0].bytes, rows[0].of_roof.map(|share| (share * 1e6) as u64)),
        (Some(36_208), Some(36_988))
    );
    assert_eq!(rows[1].of_roof, None, "a part of the plan ran");
    let whole = profile.breakdown(By::Phase, &roofs());
    assert_eq!((whole[0].count, whole[0].call_ns.map(|steps| steps.p99 / 1_000)), (Some(2), Some(97)));
}

#[test]
fn a_slow_first_token_does_not_bend_the_series_of_the_rest() {
    // A running mean would fall from token to token; each row is its own token's time.
    let mut profile = Profile::new(sites(), "test".to_owned());
    profile.add_batch(&token(0, &QUIET, 700, 900_000));
    (1..20).for_each(|number| profile.add_batch(&token(number, &QUIET, 700, 300)));
    let times: Vec<u64> =
        profile.breakdown(By::Token, &Roofs::default()).iter().map(|row| row.time_ns).collect();
    assert_eq!(times[0], 997_590);
    assert!(times[1..].iter().all(|&ns| ns == 97_890), "{times:?}");
}

#[test]
fn warm_up_and_the_recorder_s_own_cost_are_in_no_table() {
    let mut profile = Profile::new(sites(), "test".to_owned());
    profile.add_batch(&token(0, &QUIET, 700, 300));
    let only: Vec<_> = DIVISIONS.iter().map(|&by| profile.breakdown(by, &roofs())).collect();
    for phase in [Phase::Load, Phase::Warmup, Phase::Overhead] {
        let mut other = token(1, &QUIET, 9_000, 9_000);
        other.head.phase = phase;
        profile.add_batch(&other);
    }
    let with_others: Vec<_> = DIVISIONS.iter().map(|&by| profile.breakdown(by, &roofs())).collect();
    assert_eq!(only, with_others);
}

#[test]
fn bytes_of_a_step_grow_by_what_the_cache_holds_and_no_more() {
    let mut profile = Profile::new(sites(), "test".to_owned());
    (0..3).for_each(|number| profile.add_batch(&token(number * 100, &QUIET, 700, 300)));
    let bytes: Vec<u64> =
        profile.breakdown(By::Token, &Roofs::default()).iter().filter_map(|row| row.bytes).collect();
    // Two attentions read 64 bytes for each cached token.
    assert_eq!((bytes[1] - bytes[0], bytes[2] - bytes[1]), (2 * 100 * 64, 2 * 100 * 64));
}
