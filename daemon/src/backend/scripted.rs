//! An engine that follows a script, for tests of what lies in front of the border.

use std::collections::VecDeque;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use slmscope_profiles::engine_memory::EngineMemory;
use slmscope_profiles::format::KvFormat;
use slmscope_profiles::isa::Isa;
use slmscope_profiles::op::{OpBatch, Phase};
use slmscope_profiles::roofline::RoofSample;
use slmscope_profiles::setup::Setup;
use slmscope_profiles::spec::Lengths;
use slmscope_profiles::workload::ExecutorKind;

use super::protocol::{Load, Source};
use super::{Backend, Command, Engine, Event, StartError};
use crate::clock::Clock as _;
use crate::clock::manual::ManualClock;

mod model;

pub(crate) use model::{GAP_NS, OP_NS, SAMPLE_NS, TOKEN_NS, Token, failed, loaded, sites, span, token};

/// One thing that a scripted engine does.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Reports an event.
    Report(Event),
    /// Makes a batch.
    Batch(OpBatch),
    /// Leaves something that is no batch.
    DamagedBatch,
    /// Loses batches.
    Lose(u64),
    /// Lets time pass.
    Pass(u64),
    /// Does nothing until it is released or cancelled.
    Hold,
    /// Does nothing ever again, and ignores that it is cancelled.
    Hang,
    /// Ends by itself, for this reason.
    Die(&'static str),
}

/// What an engine does at a command, at a time; `None` for the usual.
pub(crate) type Script = dyn Fn(&Command, u64) -> Option<Vec<Step>> + Send + Sync;

/// Starts scripted engines, and is the test's view of them.
#[derive(Clone)]
pub(crate) struct ScriptedBackend {
    clock: Arc<ManualClock>,
    script: Arc<Script>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// What happened to all engines, in order.
    log: Vec<String>,
    /// Entries that the test has waited for.
    seen: usize,
    releases: u32,
    /// Engines that were started, or should have been.
    starts: u32,
    /// The start that fails.
    refused_start: Option<u32>,
    /// Engines up to this number were ended from outside.
    ended: u32,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, entry: impl Into<String>) {
        self.state().log.push(entry.into());
        self.changed.notify_all();
    }
}

impl ScriptedBackend {
    pub(crate) fn new(clock: Arc<ManualClock>, script: Arc<Script>) -> Self {
        Self { clock, script, shared: Arc::default() }
    }

    /// Blocks until the log has `entry` after the last entry that was waited for.
    pub(crate) fn wait_for(&self, entry: &str) {
        let mut state = self.shared.state();
        loop {
            if let Some(at) = state.log[state.seen..].iter().position(|found| found == entry) {
                state.seen += at + 1;
                return;
            }
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Lets the engine that holds go on.
    pub(crate) fn release(&self) {
        self.shared.state().releases += 1;
        self.clock.wake();
    }

    /// Makes a start fail, counted from 1.
    pub(crate) fn refuse_start(&self, number: u32) {
        self.shared.state().refused_start = Some(number);
    }

    /// Ends all engines that were started so far, whatever they do.
    pub(crate) fn end_all(&self) {
        let mut state = self.shared.state();
        state.ended = state.starts;
    }

    /// What happened so far.
    pub(crate) fn log(&self) -> Vec<String> {
        self.shared.state().log.clone()
    }
}

/// Memory that scripted engines need for weights, and for a token of the context, bytes.
pub(crate) const WEIGHTS: u64 = 1 << 20;
pub(crate) const KV_TOKEN: u64 = 1 << 10;

/// How an engine ended that did not end by itself.
pub(crate) const ENDED: &str = "it was ended";

/// The one instruction set that scripted engines have.
const ISA: Isa = Isa::Scalar;

impl Backend for ScriptedBackend {
    fn has_isa(&self, isa: Isa) -> bool {
        isa == ISA
    }

    fn best_isa(&self) -> Isa {
        ISA
    }

    fn has_executor(&self, executor: ExecutorKind) -> bool {
        executor == ExecutorKind::Cpu
    }

    fn default_threads(&self, _executor: ExecutorKind) -> NonZeroUsize {
        NonZeroUsize::MIN
    }

    fn memory(&self, _: &Source, _: KvFormat, lengths: Lengths, _: Setup) -> Option<EngineMemory> {
        let kv = u64::from(lengths.total) * KV_TOKEN;
        Some(EngineMemory { weights: WEIGHTS, kv, ..EngineMemory::default() })
    }

    fn start(&self, setup: Setup) -> Result<Box<dyn Engine>, StartError> {
        self.clock.register();
        let number = {
            let mut state = self.shared.state();
            state.starts += 1;
            if state.refused_start == Some(state.starts) {
                return Err(StartError::Process(io::Error::other("too many processes")));
            }
            state.starts
        };
        self.shared.note("start");
        Ok(Box::new(ScriptedEngine {
            number,
            setup,
            clock: self.clock.clone(),
            script: self.script.clone(),
            shared: self.shared.clone(),
            steps: VecDeque::new(),
            batches: VecDeque::new(),
            lost: 0,
            seq: 0,
            is_held: false,
            load: None,
            died: None,
        }))
    }
}

struct ScriptedEngine {
    /// Of the start.
    number: u32,
    setup: Setup,
    clock: Arc<ManualClock>,
    script: Arc<Script>,
    shared: Arc<Shared>,
    steps: VecDeque<Step>,
    /// Those that can be fetched; `None` for a damaged one.
    batches: VecDeque<Option<OpBatch>>,
    lost: u64,
    seq: u64,
    is_held: bool,
    load: Option<Load>,
    died: Option<&'static str>,
}

impl Engine for ScriptedEngine {
    fn process(&self) -> Option<u32> {
        None
    }

    fn computes(&self, _thread: &str) -> bool {
        true
    }

    fn send(&mut self, command: &Command, _files: &[BorrowedFd<'_>]) -> io::Result<()> {
        if self.is_ended() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.shared.note(name(command));
        if let Command::Load(load) = command {
            self.load = Some((**load).clone());
        }
        let scripted = (self.script)(command, self.clock.now_ns());
        if matches!(command, Command::Cancel) {
            if matches!(self.steps.front(), Some(Step::Hang)) {
                return Ok(());
            }
            self.steps.clear();
        }
        let steps = scripted.unwrap_or_else(|| self.usual(command));
        self.steps.extend(steps);
        Ok(())
    }

    fn next_event(&mut self, timeout: Duration) -> io::Result<Option<Event>> {
        loop {
            match self.steps.pop_front() {
                Some(Step::Report(event)) => return Ok(Some(event)),
                Some(Step::Batch(batch)) => self.batches.push_back(Some(batch)),
                Some(Step::DamagedBatch) => self.batches.push_back(None),
                Some(Step::Lose(batches)) => self.lost += batches,
                Some(Step::Pass(ns)) => self.clock.advance(ns),
                Some(Step::Die(reason)) => {
                    self.died = Some(reason);
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                Some(Step::Hang) => {
                    self.steps.push_front(Step::Hang);
                    self.clock.advance(timeout.as_nanos() as u64);
                    return Ok(None);
                }
                Some(Step::Hold) => {
                    if !self.take_release() {
                        self.steps.push_front(Step::Hold);
                        self.clock.park(None);
                        return Ok(None);
                    }
                }
                None => {
                    self.clock.park(None);
                    return Ok(None);
                }
            }
        }
    }

    fn next_batch(&mut self) -> io::Result<Option<OpBatch>> {
        match self.batches.pop_front() {
            Some(None) => Err(io::Error::other("a damaged batch")),
            Some(batch) => Ok(batch),
            None => Ok(None),
        }
    }

    fn lost_batches(&self) -> u64 {
        self.lost
    }

    fn end(self: Box<Self>) -> String {
        self.shared.note("end");
        self.died.unwrap_or(ENDED).to_owned()
    }

    fn kill(self: Box<Self>) {
        self.shared.note("kill");
    }
}

impl ScriptedEngine {
    fn is_ended(&self) -> bool {
        self.number <= self.shared.state().ended
    }

    fn take_release(&mut self) -> bool {
        let mut state = self.shared.state();
        if state.releases > 0 {
            state.releases -= 1;
            self.is_held = false;
            return true;
        }
        if !self.is_held {
            self.is_held = true;
            state.log.push("hold".to_owned());
            self.shared.changed.notify_all();
        }
        false
    }

    /// What a healthy engine does.
    fn usual(&mut self, command: &Command) -> Vec<Step> {
        let answer = match command {
            Command::Load(_) => Event::Loaded(Box::new(loaded(self.setup))),
            Command::Repeat { repetition, measured, .. } => return self.repetition(*repetition, *measured),
            Command::Overhead { .. } => Event::Overhead { on_ns: vec![1010; 256], off_ns: vec![1000; 256] },
            Command::Identify => Event::Identity { hash: "5c".repeat(32), changed: false },
            Command::MeasureRoofs(request) => {
                let sample = RoofSample {
                    at_ns: self.clock.now_ns(),
                    read_bytes: 1e10,
                    f32_flops: 1e11,
                    int8_ops: 4e11,
                };
                Event::Roofs(vec![sample; request.samples as usize])
            }
            Command::Cancel => Event::Cancelled,
        };
        vec![Step::Report(answer)]
    }

    fn repetition(&mut self, repetition: u32, measured: bool) -> Vec<Step> {
        let Some(load) = &self.load else { return vec![Step::Report(failed("no model is loaded"))] };
        let phase = if measured { Phase::Decode } else { Phase::Warmup };
        let first = Token { load: load.clone(), repetition, phase, index: 0, begin_ns: self.clock.now_ns() };
        let mut steps = Vec::new();
        let tokens: Vec<Token> = (0..load.generate).map(|token| first.after(token)).collect();
        for token in &tokens {
            self.seq += 1;
            steps.extend([Step::Batch(token.batch(self.seq)), Step::Pass(TOKEN_NS)]);
        }
        steps.push(Step::Report(Event::Span(span(&tokens))));
        let ids = (0..load.generate).collect();
        steps.push(Step::Report(Event::RepetitionDone { repetition, ids }));
        steps
    }
}

/// A command as the log has it.
fn name(command: &Command) -> String {
    match command {
        Command::Load(_) => "load".to_owned(),
        Command::Repeat { repetition, measured: true, .. } => format!("repeat {repetition}"),
        Command::Repeat { repetition, .. } => format!("warm up {repetition}"),
        Command::Overhead { .. } => "overhead".to_owned(),
        Command::Identify => "identify".to_owned(),
        Command::MeasureRoofs(_) => "roofs".to_owned(),
        Command::Cancel => "cancel".to_owned(),
    }
}
