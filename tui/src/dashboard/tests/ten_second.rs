//! The ten-second rule: who has never seen the dashboard reads from Live at 80×24 how fast the model runs, what takes the
//! time, what binds it, whether the machine was fit, and what to try.
//!
//! Six states are kept as text in `tests/ten-second/`; `SLMSCOPE_UPDATE_SNAPSHOTS=1` writes them anew. Whoever changes a
//! word on Live reads them as a stranger would.

use std::path::Path;

use slmscope_profiles::books::Books;
use slmscope_profiles::channel::{
    Channel, Class, Kind, Quantity, Reason, ReasonCode, Sample, Scope, Unit, Value,
};
use slmscope_profiles::finding::{Finding, FindingCode};
use slmscope_profiles::format::WeightFormat;
use slmscope_profiles::hygiene::Grade;
use slmscope_profiles::job::{Job, JobState};
use slmscope_profiles::model::ModelSource;
use slmscope_profiles::op::Phase;
use slmscope_profiles::record::{PlanRecord, Record};
use slmscope_profiles::result::RunResult;
use slmscope_profiles::roofline::{RoofSample, Roofs};
use slmscope_profiles::span::{NamedSpan, SpanName};
use slmscope_profiles::summary::Summary;
use slmscope_profiles::totals::SiteTotals;
use slmscope_profiles::wire::Talk;
use slmscope_profiles::workload::Workload;

use super::super::Msg;
use super::super::state::State;
use super::super::update::update;
use super::fixture::{channel, connected, frame, job, plan, summary};
use super::screens::picture;
use crate::pinned;

const SECOND: u64 = 1_000_000_000;
/// Sites of the fixture's plan that are attention itself.
const ATTENTION: [usize; 2] = [2, 5];

/// A phase: for each site of the fixture's plan the time, bytes and FLOPs of a token, and the time of sampling.
struct Work {
    ns: [u64; 8],
    bytes: [u64; 8],
    flops: [u64; 8],
    sample_ns: u64,
}

impl Work {
    fn summary(&self, phase: Phase, second: u64) -> Summary {
        let like = summary(phase);
        let (ops_ns, unattributed_ns) = (self.ns.iter().sum::<u64>(), 4_000);
        let gap_ns = 12_000;
        let token_ns = ops_ns + gap_ns + unattributed_ns + self.sample_ns;
        let tokens = SECOND / token_ns;
        let sites = like.sites.iter().enumerate().map(|(at, site)| {
            let mut totals = site.totals;
            (totals.count, totals.time_ns, totals.max_ns) = (tokens, self.ns[at] * tokens, self.ns[at] * 2);
            (totals.bytes, totals.flops) = (self.bytes[at] * tokens, self.flops[at] * tokens);
            SiteTotals { site: site.site, totals }
        });
        Summary {
            begin_ns: second * SECOND,
            end_ns: (second + 1) * SECOND,
            rows: tokens,
            context: 600,
            bytes: self.bytes.iter().sum::<u64>() * tokens,
            flops: self.flops.iter().sum::<u64>() * tokens,
            books: Books {
                wall_ns: token_ns * tokens,
                ops_ns: ops_ns * tokens,
                gap_ns: gap_ns * tokens,
                other: vec![NamedSpan { name: SpanName::Sample, ns: self.sample_ns * tokens }],
                unattributed_ns: unattributed_ns * tokens,
            },
            token_ns: (0..tokens).map(|at| token_ns + at % 9 * (token_ns / 90)).collect(),
            sites: sites.collect(),
            ..like
        }
    }
}

/// A step that moves 72 MB and is bound by reading them; times in units of 10 µs.
fn decode(times: [u64; 8]) -> Work {
    const MEGABYTE: u64 = 1_000_000;
    let bytes = [
        1_000,
        9 * MEGABYTE,
        3 * MEGABYTE,
        18 * MEGABYTE,
        9 * MEGABYTE,
        3 * MEGABYTE,
        18 * MEGABYTE,
        14 * MEGABYTE,
    ];
    Work {
        ns: times.map(|time| time * 10_000),
        bytes,
        flops: bytes.map(|bytes| bytes * 4),
        sample_ns: 50_000,
    }
}

/// A prompt token, bound by arithmetic.
fn prefill() -> Work {
    let bytes = [1_000, 40_000, 90_000, 80_000, 40_000, 90_000, 80_000, 1_000];
    let flops = [0, 40_000_000, 4_000_000, 80_000_000, 40_000_000, 4_000_000, 80_000_000, 100_000];
    Work {
        ns: [1_000, 80_000, 60_000, 150_000, 80_000, 60_000, 150_000, 1_000],
        bytes,
        flops,
        sample_ns: 1_000,
    }
}

/// What a state shows beside the work.
struct Scene {
    decode: Work,
    threads: u32,
    throttle_counts: [f64; 2],
    celsius: f64,
    /// Load of other programs, of all four CPUs.
    others: f64,
    grade: Option<(Grade, Vec<String>)>,
    findings: Vec<Finding>,
    has_power: bool,
}

fn finding(code: FindingCode, reason: &str, advice: &str) -> Finding {
    Finding { code, reason: reason.to_owned(), evidence: Vec::new(), advice: advice.to_owned() }
}

fn memory_bound() -> Finding {
    finding(
        FindingCode::BandwidthBound,
        "decode moves 17.6 GB/s of 25.0 GB/s that can be read",
        "Fewer bytes per token make it faster, more arithmetic does not: a smaller model or a shorter context.",
    )
}

impl Default for Scene {
    fn default() -> Self {
        Self {
            decode: decode([1, 48, 36, 94, 48, 36, 94, 62]),
            threads: 4,
            throttle_counts: [3.0, 3.0],
            celsius: 61.0,
            others: 0.006,
            grade: Some((Grade::Clean, Vec::new())),
            findings: vec![memory_bound()],
            has_power: true,
        }
    }
}

fn channels(has_power: bool) -> Vec<Channel> {
    let derived = |channel| Channel { class: Class::Derived, ..channel };
    let cpus = (0..4).map(|cpu| {
        derived(channel(cpu, &format!("cpu.cpu{cpu}"), Quantity::Cpu, Unit::Ratio, Scope::CpuN(cpu.into())))
    });
    let mut channels: Vec<Channel> = cpus.collect();
    channels.push(derived(channel(4, "cpu.foreign", Quantity::Cpu, Unit::Ratio, Scope::Machine)));
    channels.push(channel(5, "temp.x86_pkg_temp", Quantity::Temperature, Unit::Celsius, Scope::Package));
    channels.push(channel(6, "mem.available", Quantity::Memory, Unit::Bytes, Scope::Machine));
    channels.push(channel(7, "mem.total", Quantity::Memory, Unit::Bytes, Scope::Machine));
    channels.push(channel(8, "mem.worker.rss", Quantity::Memory, Unit::Bytes, Scope::Process));
    channels.push(channel(9, "freq.cpu0", Quantity::Frequency, Unit::Hertz, Scope::CpuN(0)));
    channels.push(Channel {
        kind: Kind::Counter { range: None },
        ..channel(10, "throttle.package", Quantity::Throttle, Unit::Count, Scope::Package)
    });
    let power = derived(channel(11, "power.package-0", Quantity::Power, Unit::Watts, Scope::Package));
    channels.push(if has_power {
        power
    } else {
        Channel {
            class: Class::Unavailable,
            reason: Some(Reason::new(ReasonCode::NoSuchInterface, "no RAPL, no battery")),
            ..power
        }
    });
    channels.push(derived(channel(12, "cpu.daemon", Quantity::Cpu, Unit::Ratio, Scope::Process)));
    channels
}

impl Scene {
    fn sample(&self, second: u64) -> Sample {
        let gib = f64::from(1 << 30);
        let count = self.throttle_counts[usize::from(second > 6)];
        let busy = (f64::from(self.threads) / 4.0).min(0.97);
        let mut values = vec![(4, self.others), (5, self.celsius), (6, 5.2 * gib), (7, 7.7 * gib)];
        values.extend([(8, 117.0 * 1024.0 * 1024.0), (9, 2.4e9), (10, count), (12, 0.012)]);
        values.extend((0..4).map(|cpu| (cpu, busy)));
        if self.has_power {
            values.push((11, 11.8));
        }
        let values = values.into_iter().map(|(number, value)| (number, Value::Present(value))).collect();
        Sample { t_ns: second * SECOND, values, ..Sample::default() }
    }

    fn state(&self) -> State {
        let mut state = connected();
        frame(&mut state, Record::Catalogue { channels: channels(self.has_power) });
        let workload = Workload { looped: true, repetitions: Some(1), ..Workload::default() };
        let format = Some(WeightFormat::Q4_0);
        let running = Job { workload, format, turns: 11, ..job(JobState::Measuring) };
        frame(&mut state, Talk::Job(Box::new(running)));
        let look = RoofSample { at_ns: 1, read_bytes: 25e9, f32_flops: 90e9, int8_ops: 700e9 };
        let roofs = Roofs::of(&[look], self.threads, "avx2", 1);
        frame(&mut state, Record::Plan(PlanRecord { threads: self.threads, roofs, ..plan() }));
        for second in 1..=8 {
            frame(&mut state, Record::Sample(self.sample(second)));
        }
        frame(&mut state, prefill().summary(Phase::Prefill, 1));
        for second in 2..8 {
            frame(&mut state, self.decode.summary(Phase::Decode, second));
        }
        if let Some((grade, reasons)) = &self.grade {
            let mut result =
                RunResult::failed("smollm2-135m", ModelSource::Synthetic, &Workload::default(), "");
            result.hygiene.grade = Some(*grade);
            result.hygiene.reasons.clone_from(reasons);
            result.findings.clone_from(&self.findings);
            (result.overhead.fraction, result.overhead.low, result.overhead.high) =
                (Some(0.0041), Some(0.0022), Some(0.006));
            frame(&mut state, Talk::Result { job: 7, result: Box::new(result) });
        }
        update(&mut state, Msg::Tick { now_ns: 8 * SECOND + SECOND / 10 });
        state
    }
}

/// Keeps the state as text, and looks for what the five answers are read from.
fn check(name: &str, scene: &Scene, answers: &[&str]) {
    let shown = picture(&scene.state(), 80, 24);
    pinned::compare(&Path::new("tests/ten-second").join(format!("{name}.txt")), &shown);
    let words = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    for answer in answers {
        assert!(words.contains(answer), "{answer}:\n{shown}");
    }
    let second = shown.lines().nth(2).unwrap_or_default().to_owned();
    assert!(shown.lines().all(|line| line.chars().count() <= 80), "{second}");
}

#[test]
fn bound_by_memory_on_a_quiet_machine() {
    let answers =
        ["tok/s now", "FFN 4", "bound by memory (7", "machine: fit to measure on", "> Fewer bytes per token"];
    check("memory", &Scene::default(), &answers);
}

#[test]
fn disturbed_by_another_program() {
    let load = "other processes used 152 % of one core, most of it cc1plus (148 %)";
    let scene = Scene {
        decode: decode([1, 95, 60, 180, 95, 60, 180, 110]),
        others: 0.38,
        grade: Some((Grade::Poor, vec![load.to_owned()])),
        findings: vec![
            finding(
                FindingCode::ForeignLoad,
                load,
                "End them or wait, and measure again; until then compare these figures with nothing.",
            ),
            memory_bound(),
        ],
        ..Scene::default()
    };
    let answers = ["machine: disturbed, other programs use 152.0 % of one core now", "> End them or wait"];
    check("disturbed", &scene, &answers);
}

#[test]
fn throttled_by_heat() {
    let scene = Scene {
        decode: decode([1, 80, 52, 160, 80, 52, 160, 95]),
        throttle_counts: [3.0, 41.0],
        celsius: 97.0,
        ..Scene::default()
    };
    let answers = [
        "! something throttles: throttle.package",
        "> Let it cool",
        "97.0 °C",
        "machine: disturbed, something throttles",
    ];
    check("throttled", &scene, &answers);
}

#[test]
fn waiting_with_more_threads_than_cpus() {
    let scene = Scene {
        decode: decode([40, 900, 700, 1900, 900, 700, 1900, 800]),
        threads: 12,
        findings: vec![finding(
            FindingCode::TooManyThreads,
            "12 engine threads on 4 CPUs",
            "Threads wait for each other; use at most one a core.",
        )],
        ..Scene::default()
    };
    check(
        "waits",
        &scene,
        &["bound by waits", "12 engine threads on 4 CPUs", "> Threads wait for each other"],
    );
}

#[test]
fn bound_by_compute() {
    let work = decode([1, 100, 40, 200, 100, 40, 200, 120]);
    let scene = Scene {
        // Products of weights; attention computes as little a byte as before.
        decode: Work {
            flops: std::array::from_fn(|at| work.flops[at] * if ATTENTION.contains(&at) { 1 } else { 12 }),
            ..work
        },
        threads: 2,
        findings: Vec::new(),
        ..Scene::default()
    };
    let answers = ["bound by compute", "more threads make it faster", "machine: fit to measure on"];
    check("compute", &scene, &answers);
}

#[test]
fn before_the_first_result_without_a_power_sensor() {
    let scene = Scene { grade: None, has_power: false, ..Scene::default() };
    let answers = [
        "nothing stands out so far; decode is bound by memory",
        "machine: nothing disturbs it now",
        "power — this machine has none",
    ];
    check("first-run", &scene, &answers);
}
