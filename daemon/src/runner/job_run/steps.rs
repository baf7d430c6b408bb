//! What a turn of a job does, step by step: power while nothing runs, loading, roofs, repetitions, the recorder's cost,
//! and the hash of the weights.

use std::os::fd::AsFd;
use std::time::Duration;

use slmscope_probes::available_memory;
use slmscope_profiles::channel::Unit;
use slmscope_profiles::job::Span;
use slmscope_profiles::op::Phase;
use slmscope_profiles::overhead::MIN_OVERHEAD_TOKENS;
use slmscope_profiles::profile::Profile;
use slmscope_profiles::record::{PlanRecord, Record};
use slmscope_profiles::stats::{Estimate, MIN_VALUES};
use slmscope_profiles::workload::OverheadMode;

use super::{JobRun, Stop};
use crate::backend::protocol::{Load, Loaded};
use crate::backend::{Command, Event};

/// Power is measured for this long before anything runs, on machines that measure it at all.
const IDLE_BASELINE: Duration = Duration::from_secs(2);
/// And for this long after the last repetition: its energy is known up to its end only by a reading from after it.
const SETTLE: Duration = Duration::from_millis(300);
/// Without a given number of repetitions: at least as many as an interval needs, until the interval of both rates is this
/// narrow or the time is up.
const MIN_REPETITIONS: u32 = MIN_VALUES as u32;
const TARGET_HALF_WIDTH: f64 = 0.02;
const MAX_MEASURING: Duration = Duration::from_mins(1);
/// Longest time to measure the recorder's cost, ns.
const MAX_OVERHEAD_NS: u64 = 6_000_000_000;
/// Tokens to measure it with if all of it was asked for.
const FULL_OVERHEAD_TOKENS: u32 = 1024;

impl JobRun<'_> {
    /// Waits while power is sampled; not on machines that do not measure it.
    pub(super) fn measure_idle_power(&mut self) -> Result<(), Stop> {
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

    pub(super) fn load(&mut self) -> Result<(), Stop> {
        let setup = self.setup;
        self.start_engine()?;
        if self.workload().cold {
            self.drop_cached_pages();
        }
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

    /// Drops the model's files from the page cache. The kernel keeps what others have mapped or changed.
    fn drop_cached_pages(&self) {
        for file in &self.request.submitter.files {
            if let Err(error) = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed) {
                tracing::debug!(%error, "A file stays in the page cache.");
            }
        }
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
    pub(super) fn measure_roofs(&mut self) -> Result<(), Stop> {
        let setup = self.setup;
        let mut roofs = std::mem::take(&mut self.builder.roofs);
        let (backend, clock) = (self.shared.backend.as_ref(), self.shared.clock.as_ref());
        roofs.measure(backend, clock, setup, &self.shared.root, || self.stop_reason().is_some());
        self.builder.roofs = roofs;
        self.stop_reason().map_or(Ok(()), Err)
    }

    /// Publishes which steps are going to run, and the machine's roofs.
    pub(super) fn publish_plan(&self) {
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
    pub(super) fn measure(&mut self) -> Result<(), Stop> {
        let end_ns = self.shared.clock.now_ns() + MAX_MEASURING.as_nanos() as u64;
        self.take_usage_before();
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
        self.take_usage_after();
        if self.measures_power() {
            self.wait(SETTLE)?;
        }
        Ok(())
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

    pub(super) fn repeat(&mut self, repetition: u32, measured: bool) -> Result<(), Stop> {
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

    pub(super) fn measure_overhead(&mut self) -> Result<(), Stop> {
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
    pub(super) fn identify(&mut self) -> Result<(), Stop> {
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
