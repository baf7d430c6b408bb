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
mod steps;
mod usage;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use slmscope_profiles::job::{Job, JobId, JobState};
use slmscope_profiles::result::RunStatus;
use slmscope_profiles::setup::Setup;
use slmscope_profiles::workload::Workload;

use super::result_builder::ResultBuilder;
use super::samples::SampleLog;
use super::{JobRequest, Shared};
use crate::backend::{Engine, StartError};
use crate::error::with_sources;
use crate::recorder::JobRecording;
use usage::LastTurn;

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
    /// What was read at the end of the last turn and still holds for the next one.
    last_turn: LastTurn,
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
            last_turn: LastTurn::default(),
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
}
