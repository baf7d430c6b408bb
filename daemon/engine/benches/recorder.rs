//! What recording costs inside the engine: `cargo bench -p slmscope-engine --bench recorder -- [THREADS]
//! [MODEL.gguf …]`; ends with an error where a bar is not kept.
//!
//! - One op event, two clock reads and a store: at most 35 ns, alone, where nothing hides it, and
//!   between steps that read and add up some memory, as those of a model do.
//! - All events of a token of SmolLM2-135M: at most 0.5 % of decode, 0.3 % is the aim.
//!
//! The last two compare the same work with the recorder on and off, in turns on, off, off, on, so that a drift
//! of the machine's speed falls on both alike. Of several such turns the medians are compared, so that what
//! interrupts one of them counts little; shown are medians over these comparisons with their 95 % intervals.
//! What lies between the processes, and around them, is the daemon's bench `own_cost`.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a program for developers: it prints figures, and without what it measures there are none"
)]

use std::num::NonZeroUsize;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use slmscope_engine::clock::{Clock, Monotonic, Ticks};
use slmscope_engine::error::{EngineError, LoadError};
use slmscope_engine::executor::{EngineMemory, Executor, forward};
use slmscope_engine::gguf::GgufFile;
use slmscope_engine::map::MappedFile;
use slmscope_engine::model::Model;
use slmscope_engine::recorder::Recorder;
use slmscope_engine::setup::{self, Setup};
use slmscope_engine::threads;
use slmscope_engine::weights::Loading;
use slmscope_profiles::catalogue;
use slmscope_profiles::format::{KvFormat, WeightFormat};
use slmscope_profiles::plan::Plan;
use slmscope_profiles::spec::Lengths;
use slmscope_profiles::stats::{Estimate, median};

const EVENT_BAR_NS: f64 = 35.0;
const TOKEN_BAR: f64 = 0.005;
const TOKEN_AIM: f64 = 0.003;
/// Comparisons of passes over the plan.
const EVENT_GROUPS: usize = 200;
/// Comparisons of tokens.
const TOKEN_GROUPS: usize = 120;
/// Turns of a comparison, of four passes each.
const TURNS: usize = 10;
/// Tokens in the cache before the one that is decoded again and again.
const CONTEXT: u32 = 64;
/// What a step reads, in words of 4 bytes.
const STEP_WORDS: usize = 2048;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench").peekable();
    let count = arguments.next_if(|argument| argument.parse::<NonZeroUsize>().is_ok());
    let default = setup::native();
    let count =
        count.map_or_else(|| threads::default_count(default.executor), |count| count.parse().unwrap());
    let setup = Setup { threads: count, ..default };
    threads::configure(&setup).unwrap();
    let spec = catalogue::find("smollm2-135m").unwrap().spec();
    let model = Model::synthetic(spec, WeightFormat::Q4_0, 1, KvFormat::F16).unwrap();
    println!("clocks: kernel {:.1} ns, ticks {:.1} ns a reading", reading(&Monotonic), reading(&ticking()));
    let mut all_kept = true;
    for (what, cost) in [("alone", event_alone()), ("between steps", event(model.plan()))] {
        let kept = cost.median <= EVENT_BAR_NS;
        all_kept &= kept;
        println!("op event {what}: {} (at most {EVENT_BAR_NS} ns){}", shown(cost, 1.0, " ns"), missed(kept));
    }
    let mut token_of = |name: &str, model: &Model| {
        let share = token(model, &setup);
        let kept = share.median <= TOKEN_BAR;
        all_kept &= kept;
        println!(
            "recording {name}, {} threads: {} of decode (at most {:.1} %, aim {:.1} %){}",
            setup.threads,
            shown(share, 100.0, " %"),
            TOKEN_BAR * 100.0,
            TOKEN_AIM * 100.0,
            missed(kept)
        );
    };
    token_of("smollm2-135m synthetic q4_0", &model);
    for path in arguments {
        let file = GgufFile::open(Arc::new(MappedFile::open(Path::new(&path)).unwrap())).unwrap();
        token_of(&path, &Model::gguf(&file, KvFormat::F16).unwrap());
    }
    if all_kept { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn missed(kept: bool) -> &'static str {
    if kept { "" } else { ": MISSED" }
}

fn shown(value: Estimate, scale: f64, unit: &str) -> String {
    format!("{:.3}{unit} ({:.3} to {:.3})", value.median * scale, value.low * scale, value.high * scale)
}

/// A clock that knows what a tick is.
fn ticking() -> Ticks {
    let mut clock = Ticks::default();
    let begin = Monotonic.now_ns();
    while Monotonic.now_ns() - begin < 100_000_000 {}
    clock.align();
    clock
}

/// Nanoseconds of one reading.
fn reading(clock: &impl Clock) -> f64 {
    const READINGS: u32 = 100_000;
    let round = || {
        let begin = Monotonic.now_ns();
        for _ in 0..READINGS {
            std::hint::black_box(clock.now_ns());
        }
        (Monotonic.now_ns() - begin) as f64 / f64::from(READINGS)
    };
    (0..20).map(|_| round()).fold(f64::INFINITY, f64::min)
}

/// Nanoseconds of an event that nothing hides.
fn event_alone() -> Estimate {
    const EVENTS: usize = 4096;
    let (mut recorder, clock) = (Recorder::new(EVENTS), ticking());
    let mut round = || {
        let begin = Monotonic.now_ns();
        recorder.begin(begin);
        for site in 0..EVENTS as u16 {
            let begin = clock.now_ns();
            recorder.close(site, begin, clock.now_ns());
        }
        std::hint::black_box(recorder.recorded());
        (Monotonic.now_ns() - begin) as f64 / EVENTS as f64
    };
    let rounds: Vec<f64> = (0..500).map(|_| round()).collect();
    Estimate::of(&rounds).unwrap()
}

/// Steps that add up memory, each its own part of it.
struct Sums {
    words: Vec<u32>,
    sum: u32,
}

impl Executor for Sums {
    fn begin(&mut self, _: &[u32], _: u32) -> Result<(), EngineError> {
        Ok(())
    }

    fn step(&mut self, _: &Plan, index: usize) -> Result<(), EngineError> {
        let words = &self.words[index * STEP_WORDS..][..STEP_WORDS];
        self.sum = words.iter().fold(self.sum, |sum, word| sum.rotate_left(1) ^ word);
        Ok(())
    }

    fn context(&self) -> u32 {
        0
    }

    fn rows(&self) -> usize {
        1
    }

    fn logits(&self) -> &[f32] {
        &[]
    }

    fn truncate(&mut self, context: u32) -> u32 {
        context
    }

    fn keep(&mut self) {}

    fn reserve(&mut self, _: &Plan, _: Lengths) -> Result<(), LoadError> {
        Ok(())
    }

    fn memory(&self) -> EngineMemory {
        EngineMemory::default()
    }
}

/// Nanoseconds that an event adds to a pass over `plan`.
fn event(plan: &Plan) -> Estimate {
    let steps = plan.steps.len();
    let mut executor = Sums { words: (0..(steps * STEP_WORDS) as u32).collect(), sum: 0 };
    let (mut recorder, mut clock, never) = (Recorder::new(steps), ticking(), AtomicBool::new(false));
    let groups = groups(EVENT_GROUPS, |on| {
        recorder.set_on(on);
        let begin = clock.align();
        recorder.begin(begin);
        forward(plan, &mut executor, &[1], 0, &mut recorder, &clock, &never).unwrap();
        std::hint::black_box(recorder.recorded());
        clock.align() - begin
    });
    std::hint::black_box(executor.sum);
    let costs: Vec<f64> = groups.iter().map(|[on, off]| (on - off) / steps as f64).collect();
    Estimate::of(&costs).unwrap()
}

/// Share that recording adds to decoding a token of `model`.
fn token(model: &Model, setup: &Setup) -> Estimate {
    let never = AtomicBool::new(false);
    let mut session = model.load(CONTEXT + 1, setup, &mut Loading::new(&never, &mut |_, _| ())).unwrap();
    let (mut recorder, mut clock) = (Recorder::new(session.plan().steps.len()), ticking());
    let ids: Vec<u32> = (0..CONTEXT).map(|id| 100 + id).collect();
    for chunk in ids.chunks(session.rows()) {
        session.forward(chunk, &mut recorder, &clock, &never).unwrap();
    }
    session.keep();
    // What the recorder hands over leaves by a copy, as it does in the worker.
    let mut sent = Vec::with_capacity(session.plan().steps.len());
    let groups = groups(TOKEN_GROUPS, |on| {
        session.rewind(CONTEXT);
        recorder.set_on(on);
        let begin = clock.align();
        recorder.begin(begin);
        session.forward(&[7], &mut recorder, &clock, &never).unwrap();
        sent.clear();
        if let Some(recorded) = recorder.recorded() {
            sent.extend_from_slice(recorded.events);
        }
        std::hint::black_box(&sent);
        clock.align() - begin
    });
    let shares: Vec<f64> = groups.iter().map(|[on, off]| on / off - 1.0).collect();
    Estimate::of(&shares).unwrap()
}

/// Median nanoseconds of a pass with the recorder on and off, comparison by comparison; the first is dropped.
fn groups(count: usize, mut pass: impl FnMut(bool) -> u64) -> Vec<[f64; 2]> {
    let mut group = || {
        let mut times = [const { Vec::new() }; 2];
        for on in [true, false, false, true].into_iter().cycle().take(4 * TURNS) {
            times[usize::from(!on)].push(pass(on) as f64);
        }
        times.map(|times| median(&times).unwrap())
    };
    group();
    (0..count).map(|_| group()).collect()
}
