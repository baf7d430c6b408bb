//! Comparisons of sessions on the noise of real runs: how often they alarm for nothing, and what they find.
//!
//! `compare/tokens.csv` holds the decode steps of a run (its head says which): wall time and time by kind of op, ns. A
//! simulated session has repetitions that are each put together of blocks of one recorded repetition, so that both the
//! noise between repetitions and that between neighbouring tokens are the recorded ones.

use slmscope_profiles::clock::ClockSource;
use slmscope_profiles::compare::{Comparison, Options, Part, Repetition, Repetitions, Verdict, compare};
use slmscope_profiles::lane::HOST_LANE;
use slmscope_profiles::op::{BatchHead, OpBatch, OpEvent, Phase};
use slmscope_profiles::plan::Rows;
use slmscope_profiles::plan::site::{Cost, Module, OpKind, OpSite};
use slmscope_profiles::stats::SplitMix;

/// Tokens of a block.
const BLOCK: usize = 8;
/// Blocks of a repetition.
const BLOCKS: usize = 16;
/// Repetitions of a simulated session where nothing is to be found.
const FEW: usize = 24;
/// Repetitions that always show a difference of 8 %: the recorded ones differ by 3.6 % (standard deviation).
const SOME: usize = 50;
/// Repetitions that show 3 % in one kind of op.
const MANY: usize = 100;
/// Repetitions that show two sessions to be the same within 2 %, if they differ by 0.3 %.
const MOST: usize = 150;

const KINDS: [OpKind; 8] = [
    OpKind::Embed,
    OpKind::Norm,
    OpKind::Matmul,
    OpKind::Rope,
    OpKind::KvAppend,
    OpKind::Attention,
    OpKind::Elementwise,
    OpKind::Activation,
];

/// A recorded decode step.
#[derive(Clone, Copy)]
struct Token {
    wall_ns: u64,
    by_kind: [u64; KINDS.len()],
}

/// The recorded steps, by repetition.
fn recorded() -> Vec<Vec<Token>> {
    let mut repetitions: Vec<Vec<Token>> = Vec::new();
    for line in include_str!("compare/tokens.csv").lines().filter(|line| !line.starts_with(['#', 'r'])) {
        let numbers: Vec<u64> = line.split(',').map(|number| number.parse().expect("a number")).collect();
        let [repetition, _, wall_ns, by_kind @ ..] = &numbers[..] else { panic!("{line}") };
        repetitions.resize_with(repetitions.len().max(*repetition as usize + 1), Vec::new);
        let token = Token { wall_ns: *wall_ns, by_kind: by_kind.try_into().expect("a time for each kind") };
        repetitions[*repetition as usize].push(token);
    }
    repetitions
}

/// What is done to a session: ops of a kind, or everything, take longer by a share.
#[derive(Clone, Copy)]
enum Delay {
    Nothing,
    Kind(usize, f64),
    Everything(f64),
}

impl Delay {
    fn apply(self, mut token: Token) -> Token {
        let longer = |ns: u64, share: f64| (ns as f64 * (1.0 + share)) as u64;
        match self {
            Self::Nothing => {}
            Self::Kind(kind, share) => {
                let delayed_ns = longer(token.by_kind[kind], share);
                token.wall_ns += delayed_ns - token.by_kind[kind];
                token.by_kind[kind] = delayed_ns;
            }
            Self::Everything(share) => {
                token.wall_ns = longer(token.wall_ns, share);
                token.by_kind = token.by_kind.map(|ns| longer(ns, share));
            }
        }
        token
    }
}

fn sites() -> Vec<OpSite> {
    let cost = Cost {
        bytes: 0,
        bytes_per_row: 0,
        bytes_per_cached: 0,
        flops_per_row: 0,
        flops_per_attended: 0,
        window: None,
        rows: Rows::All,
    };
    let site = |(id, kind): (usize, OpKind)| OpSite {
        id: id as u16,
        layer: None,
        module: Module::Ffn,
        name: kind.as_str().to_owned(),
        kind,
        weights: Vec::new(),
        fuses: Vec::new(),
        cost,
    };
    KINDS.into_iter().enumerate().map(site).collect()
}

fn batch(repetition: u32, token: Token) -> OpBatch {
    let event = |(site, &ns): (usize, &u64)| OpEvent {
        site: site as u16,
        reserved: 0,
        gap: 0,
        duration: u32::try_from(ns).expect("an op takes less than 4 s"),
    };
    OpBatch {
        head: BatchHead {
            job: 1,
            plan: 1,
            lane: HOST_LANE,
            repetition,
            phase: Phase::Decode,
            token: 0,
            rows: 1,
            context: 0,
            seq: 0,
            begin_ns: 0,
            end_ns: token.wall_ns,
            tick_ns: 1,
            clock: ClockSource::Host,
        },
        spans: Vec::new(),
        columns: Vec::new(),
        events: token.by_kind.iter().enumerate().map(event).collect(),
    }
}

fn session(
    count: usize,
    delay: Delay,
    recorded: &[Vec<Token>],
    sites: &[OpSite],
    random: &mut SplitMix,
) -> Vec<Repetition> {
    let mut repetitions = Repetitions::default();
    for repetition in 0..count {
        let from = &recorded[random.below(recorded.len())];
        for _ in 0..BLOCKS {
            let begin = random.below(from.len() - BLOCK + 1);
            for &token in &from[begin..begin + BLOCK] {
                repetitions.add(&batch(repetition as u32, delay.apply(token)), sites);
            }
        }
    }
    repetitions.of(Phase::Decode, sites)
}

/// The comparisons of `count` simulated pairs of sessions with so many repetitions, of which the second has a delay.
fn comparisons(count: usize, repetitions: usize, delay: Delay, seed: u64) -> Vec<Comparison> {
    let (recorded, sites) = (recorded(), sites());
    let mut random = SplitMix(seed);
    (0..count)
        .map(|_| {
            let a = session(repetitions, Delay::Nothing, &recorded, &sites, &mut random);
            let b = session(repetitions, delay, &recorded, &sites, &mut random);
            compare(&a, &b, Options::default()).expect("both have repetitions")
        })
        .collect()
}

fn share(found: &[Comparison], what: impl Fn(&Comparison) -> bool) -> f64 {
    found.iter().filter(|found| what(found)).count() as f64 / found.len() as f64
}

fn names(found: &Comparison, kind: usize) -> bool {
    let part = Part::Ops(KINDS[kind].as_str().to_owned());
    found.parts.iter().any(|found| found.part == part && found.is_named)
}

fn is_change(found: &Comparison) -> bool {
    matches!(found.verdict, Verdict::Faster | Verdict::Slower)
}

const MATMUL: usize = 2;

#[test]
fn equal_sessions_alarm_in_at_most_six_of_a_hundred() {
    let found = comparisons(2000, FEW, Delay::Nothing, 1);
    let alarms = share(&found, |found| is_change(found) || found.parts.iter().any(|part| part.is_named));
    assert!(alarms <= 0.06, "{alarms}");
}

#[test]
fn three_percent_in_one_kind_are_found_and_named() {
    let found = comparisons(100, MANY, Delay::Kind(MATMUL, 0.03), 2);
    let named = share(&found, |found| names(found, MATMUL));
    assert!(named >= 0.9, "{named}");
}

#[test]
fn eight_percent_in_one_kind_are_always_found() {
    let found = comparisons(200, SOME, Delay::Kind(MATMUL, 0.08), 3);
    let both = share(&found, |found| names(found, MATMUL) && found.verdict == Verdict::Slower);
    assert!((both - 1.0).abs() < f64::EPSILON, "{both}");
}

#[test]
fn a_third_of_a_percent_is_the_same_within_two() {
    let found = comparisons(100, MOST, Delay::Everything(0.003), 4);
    let same = share(&found, |found| found.verdict == Verdict::Same);
    assert!(same >= 0.9, "{same}");
}

#[test]
fn deltas_of_the_parts_add_up_to_that_of_the_whole() {
    for found in comparisons(50, FEW, Delay::Kind(MATMUL, 0.05), 5) {
        let sum: f64 = found.parts.iter().map(|part| part.difference.delta_ns).sum();
        assert!((sum - found.total.delta_ns).abs() < 1e-6 * found.total.a_ns, "{sum}");
    }
}

#[test]
fn intervals_hold_the_true_difference_as_often_as_they_say() {
    let found = comparisons(1000, FEW, Delay::Everything(0.02), 6);
    let (recorded, true_share) = (recorded(), 0.02);
    let all: Vec<u64> = recorded.iter().flatten().map(|token| token.wall_ns).collect();
    let mean = all.iter().sum::<u64>() as f64 / all.len() as f64;
    let holds = share(&found, |found| {
        let (low, high) = (found.total.low_ns.unwrap(), found.total.high_ns.unwrap());
        low <= true_share * mean && true_share * mean <= high
    });
    assert!(holds >= 0.93, "{holds}");
}

#[test]
fn one_repetition_cannot_tell_and_says_so() {
    let (recorded, sites) = (recorded(), sites());
    let a = session(FEW, Delay::Nothing, &recorded, &sites, &mut SplitMix(7));
    let found = compare(&a, &a[..1], Options::default()).unwrap();
    assert_eq!(
        (found.verdict, found.detectable, found.repetitions_needed),
        (Verdict::CannotTell, None, None)
    );
    assert!(compare(&a, &[], Options::default()).is_none());
}
