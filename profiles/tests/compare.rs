//! Comparisons of sessions on the noise of real runs: how often they alarm for nothing, and what they find.
//!
//! `compare/tokens.csv` holds the decode steps of a run (its head says which): wall time and time by kind of op, ns. A
//! simulated session has repetitions that are each put together of blocks of one recorded repetition, so that both the
//! noise between repetitions and that between neighbouring tokens are the recorded ones.

use slmscope_profiles::clock::ClockSource;
use slmscope_profiles::compare::{
    Comparison, Difference, Floor, Options, Part, Repetition, Repetitions, Unit, Verdict, compare,
};
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
/// Repetitions that always show a difference of 8 %: the typical tokens of the recorded ones differ by 1.7 % (standard
/// deviation), the means of all tokens by 3.6 %.
const SOME: usize = 12;
/// Repetitions that show 3 % in one kind of op.
const MANY: usize = 30;
/// Repetitions that show two sessions to be the same within 2 %, if they differ by 0.3 %.
const MOST: usize = 40;

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
            compare(&[a], &[b], Options::default()).expect("both have repetitions")
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
    let (recorded, sites, true_share) = (recorded(), sites(), 0.02);
    // What simulated sessions come to on average, all tokens and typical ones.
    let many = session(3_000, Delay::Nothing, &recorded, &sites, &mut SplitMix(8));
    let mean = |of: fn(&Repetition) -> f64| many.iter().map(of).sum::<f64>() / many.len() as f64;
    let holds = |of: fn(&Comparison) -> &Difference, mean: f64| {
        share(&found, |found| {
            let (low, high) = (of(found).low_ns.unwrap(), of(found).high_ns.unwrap());
            low <= true_share * mean && true_share * mean <= high
        })
    };
    let typical = holds(|found| &found.total, mean(Repetition::wall_per_token));
    let all = holds(|found| &found.all_tokens, mean(Repetition::mean_wall_per_token));
    assert!(typical >= 0.93 && all >= 0.93, "{typical} {all}");
}

#[test]
fn one_repetition_cannot_tell_and_says_so() {
    let (recorded, sites) = (recorded(), sites());
    let a = session(FEW, Delay::Nothing, &recorded, &sites, &mut SplitMix(7));
    let found = compare(std::slice::from_ref(&a), &[a[..1].to_vec()], Options::default()).unwrap();
    assert_eq!(
        (found.verdict, found.detectable, found.repetitions_needed),
        (Verdict::CannotTell, None, None)
    );
    assert!(compare(&[a], &[Vec::new()], Options::default()).is_none());
}

#[test]
fn the_typical_token_scatters_half_as_much_as_the_mean_of_all() {
    let (recorded, sites) = (recorded(), sites());
    let mut repetitions = Repetitions::default();
    for (number, tokens) in (0..).zip(&recorded) {
        for &token in tokens {
            repetitions.add(&batch(number, token), &sites);
        }
    }
    let found = repetitions.of(Phase::Decode, &sites);
    let scatter = |of: fn(&Repetition) -> f64| {
        let values: Vec<f64> = found.iter().map(of).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let squares = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
        (squares / (values.len() - 1) as f64).sqrt() / mean
    };
    let (typical, all) = (scatter(Repetition::wall_per_token), scatter(Repetition::mean_wall_per_token));
    assert!((0.017..0.018).contains(&typical) && (0.035..0.037).contains(&all), "{typical} {all}");
}

#[test]
fn a_token_that_is_disturbed_now_and_then_does_not_change_the_typical_one_and_shows_in_all() {
    let (recorded, sites) = (recorded(), sites());
    let gather = |stall_ns: u64| {
        let mut repetitions = Repetitions::default();
        for (index, &token) in recorded[0].iter().enumerate() {
            let wall_ns = token.wall_ns + if index % 16 == 7 { stall_ns } else { 0 };
            repetitions.add(&batch(0, Token { wall_ns, ..token }), &sites);
        }
        repetitions.of(Phase::Decode, &sites).remove(0)
    };
    let (quiet, stalled) = (gather(0), gather(50_000_000));
    assert!((stalled.wall_per_token() / quiet.wall_per_token() - 1.0).abs() < 0.005);
    assert!(stalled.mean_wall_per_token() > 1.8 * quiet.mean_wall_per_token());
}

/// Sessions whose speed as a whole differs from run to run by a standard deviation of 2 %.
fn runs(
    count: usize,
    delay: f64,
    recorded: &[Vec<Token>],
    sites: &[OpSite],
    random: &mut SplitMix,
) -> Vec<Vec<Repetition>> {
    let run = |_| {
        // The sum of twelve uniform numbers less six is nearly normal, with a standard deviation of 1.
        let uniform = |_| random.below(1 << 20) as f64 / f64::from(1 << 20);
        let normal = (0..12).map(uniform).sum::<f64>() - 6.0;
        session(8, Delay::Everything(delay + 0.02 * normal), recorded, sites, random)
    };
    (0..count).map(run).collect()
}

#[test]
fn runs_that_differ_as_a_whole_alarm_no_more_often_when_sets_of_them_are_compared() {
    let (recorded, sites, mut random) = (recorded(), sites(), SplitMix(9));
    let mut make = |count, delay| runs(count, delay, &recorded, &sites, &mut random);
    let mut alarms = [0; 2];
    for _ in 0..200 {
        let (a, b) = (make(4, 0.0), make(4, 0.0));
        let found = compare(&a, &b, Options::default()).unwrap();
        assert_eq!((found.unit, found.values), (Unit::Run, [4, 4]));
        alarms[0] += u32::from(is_change(&found));
        // One run of each knows nothing of how much runs differ.
        alarms[1] += u32::from(is_change(&compare(&a[..1], &b[..1], Options::default()).unwrap()));
    }
    assert!(alarms[0] <= 18 && alarms[1] >= 50, "{alarms:?}");
    let found = compare(&make(6, 0.0), &make(6, 0.12), Options::default()).unwrap();
    assert_eq!(found.verdict, Verdict::Slower);
    let sum: f64 = found.parts.iter().map(|part| part.difference.delta_ns).sum();
    assert!((sum - found.total.delta_ns).abs() < 1e-6 * found.total.a_ns);
}

#[test]
fn a_measured_floor_keeps_single_runs_from_alarming() {
    let (recorded, sites, mut random) = (recorded(), sites(), SplitMix(10));
    let mut make = |count| runs(count, 0.0, &recorded, &sites, &mut random);
    let mut alarms = 0;
    for _ in 0..200 {
        let floor = Floor::of(&make(4));
        let options = Options { floor, ..Options::default() };
        let found = compare(&make(1), &make(1), options).unwrap();
        assert_eq!(found.floor, floor);
        alarms += u32::from(is_change(&found));
    }
    assert!(alarms <= 18, "{alarms}");
    assert_eq!(Floor::of(&make(2)), None);
}
