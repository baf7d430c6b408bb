//! One job, from its turn in the queue to its result.
//!
//! | state | what happens |
//! |---|---|
//! | preparing | roofs of earlier runs are read, and power is measured while nothing runs |
//! | loading | an engine is started and loads the model |
//! | warmup | the roofs are measured, then the unmeasured repetitions run |
//! | measuring | the measured repetitions run, then the roofs are measured again |
//! | overhead | the cost of recording is measured |
//! | cooling | the weights are hashed |
//!
//! A loop repeats the last three, without roofs and overhead. Whatever ends a job early (its owner, its time limit, the
//! death of the engine) is a [`Stop`], and what was measured until then becomes the result.

mod exchange;

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use slmscope_probes::{Root, available_memory, process};
use slmscope_profiles::channel::Unit;
use slmscope_profiles::job::{Job, JobId, JobState, Span};
use slmscope_profiles::op::Phase;
use slmscope_profiles::overhead::MIN_OVERHEAD_TOKENS;
use slmscope_profiles::profile::Profile;
use slmscope_profiles::record::{PlanRecord, Record};
use slmscope_profiles::result::RunStatus;
use slmscope_profiles::setup::Setup;
use slmscope_profiles::stats::{Estimate, MIN_VALUES};
use slmscope_profiles::workload::{OverheadMode, Workload};

use super::result_builder::ResultBuilder;
use super::samples::SampleLog;
use super::usage::UsageSnapshot;
use super::{JobRequest, Shared};
use crate::backend::protocol::{Load, Loaded};
use crate::backend::{Command, Engine, Event, StartError};
use crate::clock::Clock;
use crate::error::with_sources;
use crate::recorder::JobRecording;

/// Power is measured for this long before anything runs, on machines that measure it at all.
const IDLE_BASELINE: Duration = Duration::from_secs(2);
/// And for this long after the last repetition: its energy is known up to its end only by a reading from after it.
const SETTLE: Duration = Duration::from_millis(300);
/// Without a given number of repetitions: at least as many as an interval needs, until the interval of both rates is this narrow or the
/// time is up.
const MIN_REPETITIONS: u32 = MIN_VALUES as u32;
const TARGET_HALF_WIDTH: f64 = 0.02;
const MAX_MEASURING: Duration = Duration::from_mins(1);
/// Longest time to measure the recorder's cost, ns.
const MAX_OVERHEAD_NS: u64 = 6_000_000_000;
/// Tokens to measure it with if all of it was asked for.
const FULL_OVERHEAD_TOKENS: u32 = 1024;

/// Takes a snapshot of the machine, the engine and these clients.
type TakeUsage = fn(&Root, Option<&dyn Engine>, &[u32], &dyn Clock) -> UsageSnapshot;

/// Why a job ends before it is done.
#[derive(Debug, thiserror::Error)]
enum Stop {
    #[error("{0}")]
    Cancelled(String),
    #[error("not done within {0} s: ask for less, or for a longer timeout")]
    Timeout(u32),
    /// The engine reported an error.
    #[error("{0}")]
    Failed(String),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("the engine's op events cannot be read")]
    Events(#[source] io::Error),
    #[error("the worker answered out of turn")]
    UnexpectedAnswer,
    /// How it ended is known when it is reaped.
    #[error("the worker is gone")]
    EngineGone,
}

/// A job that runs.
pub(super) struct JobRun<'a> {
    shared: &'a Arc<Shared>,
    job: JobId,
    request: JobRequest,
    setup: Setup,
    /// Started for this job, and ended with it: what is in its memory is this job's alone.
    engine: Option<Box<dyn Engine>>,
    builder: ResultBuilder,
    /// Readings of this turn.
    samples: SampleLog,
    /// `None` once it is finished.
    recording: Option<JobRecording<'a>>,
    /// When the time limit is reached.
    deadline_ns: Option<u64>,
    /// Batches that the engine had lost when they were last counted.
    lost_before: u64,
    /// All that was measured is in a result that was sent.
    is_delivered: bool,
}

impl<'a> JobRun<'a> {
    pub(super) fn new(shared: &'a Arc<Shared>, job: JobId, request: JobRequest) -> Self {
        let setup = request.setup(shared.backend.as_ref());
        let builder = ResultBuilder::new(job, &request, setup, shared.hub.header().host);
        let timeout = request.submit.workload.timeout.map(|seconds| Duration::from_secs(seconds.into()));
        let deadline_ns = timeout.map(|timeout| shared.clock.now_ns() + timeout.as_nanos() as u64);
        let samples = SampleLog::new();
        let recording = shared.job(job).filter(|_| request.submit.record).map(|known| {
            let job = Job { workload: request.submit.workload.clone(), ..known };
            shared.recordings.begin(&shared.hub, &shared.clock, job)
        });
        Self {
            shared,
            job,
            request,
            setup,
            engine: None,
            builder,
            samples,
            recording,
            deadline_ns,
            lost_before: 0,
            is_delivered: false,
        }
    }

    /// Runs the job to its end and sends the result to its submitter.
    pub(super) fn run(mut self) {
        let outcome = self.run_turns();
        let (state, status, error) = match outcome {
            Ok(()) => (JobState::Done, RunStatus::Complete, None),
            Err(Stop::Cancelled(reason)) => (JobState::Cancelled, RunStatus::Cancelled, Some(reason)),
            Err(Stop::EngineGone) => {
                // Why it is gone says more than what it left half written.
                let _ = self.drain_batches();
                let reason = self.engine.take().map(Engine::end);
                let reason = reason.unwrap_or_else(|| Stop::EngineGone.to_string());
                (JobState::Failed, RunStatus::Failed, Some(reason))
            }
            Err(stop) => (JobState::Failed, RunStatus::Failed, Some(with_sources(&stop))),
        };
        if let Some(engine) = self.engine.take() {
            engine.kill();
        }
        self.shared.sampler.set_worker(None);
        self.close_broken();
        // In the pause of a loop its last result has been sent.
        if !self.is_delivered {
            self.deliver(status, error.clone());
        }
        // Kept before the job is known to have ended: whoever waits for that asks for the result next.
        self.shared.results.keep(self.job, state);
        let now_ns = self.shared.clock.now_ns();
        let end = |job: &mut Job| {
            job.state = state;
            job.repetition = None;
            job.worker = None;
            job.error = error;
            job.ended_ns = Some(now_ns);
        };
        self.shared.progress().take();
        // So is its session.
        if let Some((recording, mut job)) = self.recording.take().zip(self.shared.job(self.job)) {
            job.workload = self.request.submit.workload.clone();
            end.clone()(&mut job);
            recording.finish(&self.shared.hub, job, now_ns);
        }
        self.shared.update(self.job, end);
    }

    fn workload(&self) -> &Workload {
        &self.request.submit.workload
    }

    /// One turn; for a loop, turn after turn until it is cancelled.
    fn run_turns(&mut self) -> Result<(), Stop> {
        self.run_turn(true)?;
        while self.workload().looped {
            self.deliver(RunStatus::Complete, None);
            self.shared.update(self.job, |job| job.turns += 1);
            self.wait(Duration::from_secs(u64::from(self.workload().pause)))?;
            self.is_delivered = false;
            self.builder.start_turn(self.job);
            self.run_turn(false)?;
        }
        Ok(())
    }

    fn run_turn(&mut self, is_first: bool) -> Result<(), Stop> {
        self.samples.start(&self.shared.hub);
        if is_first {
            let host = self.shared.hub.header().host;
            self.builder.earlier = self.shared.results.earlier_roofs(&host);
            self.measure_idle_power()?;
            self.set_state(JobState::Loading);
            self.load()?;
            self.set_state(JobState::Warmup);
            self.measure_roofs()?;
            self.publish_plan();
            for repetition in 0..self.workload().warmup {
                self.repeat(repetition, false)?;
            }
        }
        self.set_state(JobState::Measuring);
        self.measure()?;
        if is_first {
            self.measure_roofs()?;
            self.set_state(JobState::Overhead);
            self.measure_overhead()?;
        }
        self.set_state(JobState::Cooling);
        self.identify()
    }

    fn set_state(&mut self, state: JobState) {
        self.shared.progress().take();
        self.shared.update(self.job, |job| {
            job.state = state;
            job.repetition = None;
        });
    }

    /// Waits while power is sampled; not on machines that do not measure it.
    fn measure_idle_power(&mut self) -> Result<(), Stop> {
        if self.measures_power() {
            let begin_ns = self.shared.clock.now_ns();
            self.wait(IDLE_BASELINE)?;
            self.builder.idle = Some((begin_ns, self.shared.clock.now_ns()));
        }
        Ok(())
    }

    fn measures_power(&self) -> bool {
        let channels = self.shared.hub.channels();
        channels
            .iter()
            .any(|channel| channel.reason.is_none() && matches!(channel.unit, Unit::Joules | Unit::Watts))
    }

    fn load(&mut self) -> Result<(), Stop> {
        let setup = self.setup;
        self.start_engine()?;
        let workload = self.workload();
        let load = Load {
            job: self.job,
            plan: self.job as u32,
            source: self.request.weights(),
            setup,
            kv: self.request.kv(),
            prompt: self.request.prompt(),
            generate: workload.generate,
            depth: workload.depth,
            seed: workload.seed,
            stops_at_end: workload.stops_at_end(),
            memory_limit: available_memory(&self.shared.root),
        };
        let files: Vec<_> = self.request.submitter.files.iter().map(AsFd::as_fd).collect();
        let engine = self.engine.as_mut().ok_or(Stop::EngineGone)?;
        engine.send(&Command::Load(Box::new(load)), &files).map_err(|_| Stop::EngineGone)?;
        let Event::Loaded(loaded) = self.await_answer()? else { return Err(Stop::UnexpectedAnswer) };
        let profile = Profile::new(loaded.sites.clone(), kernel_path(&loaded));
        self.builder.profile = profile.with_lanes(&loaded.lanes);
        let format = loaded.format;
        self.shared.update(self.job, |job| job.format = format);
        self.builder.loaded = Some(*loaded);
        Ok(())
    }

    fn start_engine(&mut self) -> Result<(), Stop> {
        let engine = self.shared.backend.start(self.setup)?;
        let pid = engine.process();
        self.lost_before = engine.lost_batches();
        self.engine = Some(engine);
        self.shared.sampler.set_worker(pid);
        self.shared.update(self.job, |job| job.worker = pid);
        Ok(())
    }

    /// Measures the machine's roofs: twice a job, however many turns it has.
    fn measure_roofs(&mut self) -> Result<(), Stop> {
        let setup = self.setup;
        let mut roofs = std::mem::take(&mut self.builder.roofs);
        let (backend, clock) = (self.shared.backend.as_ref(), self.shared.clock.as_ref());
        roofs.measure(backend, clock, setup, &self.shared.root, || self.stop_reason().is_some());
        self.builder.roofs = roofs;
        self.stop_reason().map_or(Ok(()), Err)
    }

    /// Publishes which steps are going to run, and the machine's roofs.
    fn publish_plan(&self) {
        let Some(loaded) = &self.builder.loaded else { return };
        self.shared.hub.record(Record::Plan(PlanRecord {
            plan: self.job as u32,
            model: self.request.model_id(),
            threads: self.setup.threads.get() as u32,
            path: kernel_path(loaded),
            granularity: loaded.granularity,
            lanes: loaded.lanes.clone(),
            roofs: self.builder.roofs.roofs(self.shared.clock.now_ns()),
            sites: loaded.sites.clone(),
        }));
    }

    /// The measured repetitions: as many as were asked for, or until the rates are known well enough.
    fn measure(&mut self) -> Result<(), Stop> {
        let end_ns = self.shared.clock.now_ns() + MAX_MEASURING.as_nanos() as u64;
        self.builder.before = Some(self.usage(UsageSnapshot::at_begin));
        let requested = self.workload().repetitions;
        let mut repetition = 0;
        loop {
            self.shared.update(self.job, |job| job.repetition = Some(repetition));
            self.repeat(repetition, true)?;
            repetition += 1;
            let is_known = || self.is_precise() || self.shared.clock.now_ns() >= end_ns;
            if requested.map_or_else(
                || repetition >= MIN_REPETITIONS && is_known(),
                |requested| repetition >= requested,
            ) {
                break;
            }
        }
        self.builder.after = Some(self.usage(UsageSnapshot::at_end));
        let pid = self.engine.as_ref().and_then(|engine| engine.process());
        self.builder.process = pid.map(process::memory);
        if self.measures_power() {
            self.wait(SETTLE)?;
        }
        Ok(())
    }

    /// By [`UsageSnapshot::at_begin`] or [`UsageSnapshot::at_end`].
    fn usage(&self, take: TakeUsage) -> UsageSnapshot {
        let clients = self.shared.client_pids();
        take(&self.shared.root, self.engine.as_deref(), &clients, self.shared.clock.as_ref())
    }

    /// Whether the intervals of both rates are narrow enough.
    fn is_precise(&self) -> bool {
        [Phase::Prefill, Phase::Decode].into_iter().all(|phase| {
            let estimate = Estimate::of(&self.builder.profile.rates(phase));
            estimate.is_none_or(|estimate| {
                estimate.relative_half_width().is_some_and(|width| width <= TARGET_HALF_WIDTH)
            })
        })
    }

    fn repeat(&mut self, repetition: u32, measured: bool) -> Result<(), Stop> {
        let budget = self.workload().overhead_budget;
        self.send(&Command::Repeat { repetition, measured, budget })?;
        let answer = self.await_answer();
        if !measured {
            // The result has the text of a measured repetition.
            self.builder.text = None;
        }
        let Event::RepetitionDone { ids, .. } = answer? else {
            return Err(Stop::UnexpectedAnswer);
        };
        if measured && repetition == 0 {
            self.builder.generated_ids = ids;
        }
        self.drain_batches()?;
        self.shared.hub.flush();
        Ok(())
    }

    fn measure_overhead(&mut self) -> Result<(), Stop> {
        let walls = self.builder.profile.spans().iter().map(Span::wall_ns);
        let measured_ns = walls.fold(0, u64::saturating_add);
        let limit_ns = measured_ns.min(MAX_OVERHEAD_NS);
        let (limit_ns, min_tokens) = match self.workload().overhead {
            OverheadMode::Off => return Ok(()),
            // A loop measures it once for all its turns, so it takes as many tokens as a figure needs.
            OverheadMode::Auto if self.workload().looped => (0, MIN_OVERHEAD_TOKENS),
            OverheadMode::Auto => (limit_ns, 0),
            OverheadMode::Full => (limit_ns, FULL_OVERHEAD_TOKENS),
        };
        self.send(&Command::Overhead { limit_ns, min_tokens })?;
        if let Event::Overhead { on_ns, off_ns } = self.await_answer()? {
            self.builder.recording = Some((on_ns, off_ns));
        }
        self.drain_batches()?;
        self.shared.hub.flush();
        Ok(())
    }

    /// Hashes the weights, once a job. After the measured repetitions, so that these found the caches as they were.
    fn identify(&mut self) -> Result<(), Stop> {
        if self.builder.hash.is_none() {
            self.send(&Command::Identify)?;
            if let Event::Identity { hash, changed } = self.await_answer()? {
                self.builder.hash = Some(hash);
                self.builder.file_changed = changed;
            }
        }
        Ok(())
    }
}

/// Executor and instruction set, as tables show them.
fn kernel_path(loaded: &Loaded) -> String {
    format!("{}:{}", loaded.executor, loaded.isa)
}
