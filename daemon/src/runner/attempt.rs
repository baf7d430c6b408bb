//! One job, from its turn to its result: prepare, load, warm up, measure, and find what measuring cost.
//!
//! Whatever ends it early (the owner, a time limit, the worker's death) ends up in one place, and what was
//! measured until then becomes the result.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use slmscope_engine::setup::Setup;
use slmscope_probes::process;
use slmscope_profiles::channel::Quantity;
use slmscope_profiles::job::{JobId, JobState, Progress};
use slmscope_profiles::op::Phase;
use slmscope_profiles::overhead::LEAST_OVERHEAD_TOKENS;
use slmscope_profiles::profile::Profile;
use slmscope_profiles::result::RunStatus;
use slmscope_profiles::stats::Estimate;
use slmscope_profiles::wire::{Frame, PlanFrame};
use slmscope_profiles::workload::OverheadMode;

use super::ending::{Draft, Moment};
use super::{Order, Shared};
use crate::clock::now_ns;
use crate::supervisor::WorkerProcess;
use crate::worker::protocol::{Command, Event, Load, Loaded};

/// How often the ring is drained and the wish to cancel is looked at.
const TURN: Duration = Duration::from_millis(25);
/// A worker that does not end its command in this time is killed.
const GRACE: Duration = Duration::from_secs(2);
/// Power is observed for so long before anything runs, where it can be observed at all.
const BASELINE: Duration = Duration::from_secs(2);
/// Power is observed for so long after the last repetition.
const SETTLE: Duration = Duration::from_millis(300);
/// Automatic repetitions: at least so many, then until the interval is this narrow or the time is up.
const LEAST_RUNS: u32 = 5;
const NARROW: f64 = 0.02;
const LONGEST: Duration = Duration::from_mins(1);
/// The longest that the recorder's cost is looked for, ns.
const OVERHEAD_NS: u64 = 6_000_000_000;
/// Tokens for a thorough look.
const OVERHEAD_TOKENS: u32 = 1024;

/// Why an attempt ended before its time.
enum Stop {
    Cancelled(String),
    Failed(String),
    /// The worker is gone; how it ended is found out when it is reaped.
    WorkerGone,
}

impl From<io::Error> for Stop {
    fn from(_: io::Error) -> Self {
        Self::WorkerGone
    }
}

/// A job in progress.
pub(super) struct Attempt<'a> {
    shared: &'a Arc<Shared>,
    job: JobId,
    order: Order,
    worker: &'a mut Option<WorkerProcess>,
    draft: Draft,
    deadline: Option<Instant>,
    lost_before: u64,
}

impl<'a> Attempt<'a> {
    pub(super) fn new(
        shared: &'a Arc<Shared>,
        job: JobId,
        order: Order,
        worker: &'a mut Option<WorkerProcess>,
    ) -> Self {
        let draft = Draft::new(&order, shared.hub.header().host);
        let timeout = order.submit.workload.timeout;
        let deadline = timeout.map(|seconds| Instant::now() + Duration::from_secs(u64::from(seconds)));
        Self { shared, job, order, worker, draft, deadline, lost_before: 0 }
    }

    /// Runs the job to its end and sends the result to whoever asked for it.
    pub(super) fn run(mut self) {
        let outcome = self.turns();
        let (state, status, error) = match outcome {
            Ok(()) => (JobState::Done, RunStatus::Complete, None),
            Err(Stop::Cancelled(reason)) => (JobState::Cancelled, RunStatus::Cancelled, Some(reason)),
            Err(Stop::Failed(reason)) => (JobState::Failed, RunStatus::Failed, Some(reason)),
            Err(Stop::WorkerGone) => {
                self.drain();
                let reason =
                    self.worker.take().map_or_else(|| "the worker is gone".to_owned(), WorkerProcess::end);
                (JobState::Failed, RunStatus::Failed, Some(reason))
            }
        };
        if state != JobState::Done || self.order.submit.workload.fresh {
            // A worker that failed or was interrupted is not trusted with the next job.
            if let Some(worker) = self.worker.take() {
                worker.kill();
            }
            self.shared.sampler.set_worker(None);
        }
        self.draft.profile.close_broken(self.job);
        self.deliver(status, error.clone());
        self.shared.update(self.job, |job| {
            job.state = state;
            job.run = None;
            job.worker = None;
            job.error = error;
        });
    }

    /// One turn, or for a loop turn after turn until it is cancelled.
    fn turns(&mut self) -> Result<(), Stop> {
        self.once(true)?;
        while self.order.submit.workload.looped {
            self.deliver(RunStatus::Complete, None);
            self.shared.update(self.job, |job| job.turns += 1);
            self.wait(Duration::from_secs(u64::from(self.order.submit.workload.pause)))?;
            self.draft.begin_turn();
            self.once(false)?;
        }
        Ok(())
    }

    fn once(&mut self, first: bool) -> Result<(), Stop> {
        self.shared.samples.begin();
        if first {
            self.state(JobState::Preparing);
            self.baseline()?;
            self.state(JobState::Loading);
            self.load()?;
            self.state(JobState::Warmup);
            self.look()?;
            self.announce();
            for run in 0..self.order.submit.workload.warmup {
                self.repeat(run, false)?;
            }
        }
        self.state(JobState::Measuring);
        self.measure()?;
        if first {
            self.look()?;
            self.state(JobState::Overhead);
            self.overhead()?;
        }
        self.state(JobState::Cooling);
        if self.draft.hash.is_none() {
            self.command(&Command::Identify)?;
            if let Event::Identity { hash, changed } = self.answer()? {
                self.draft.hash = Some(hash);
                self.draft.file_changed = changed;
            }
        }
        Ok(())
    }

    /// Power before the run; nothing to wait for on machines that do not measure it.
    fn baseline(&mut self) -> Result<(), Stop> {
        if self.measures_power() {
            let begin = now_ns();
            self.wait(BASELINE)?;
            self.draft.idle = Some((begin, now_ns()));
        }
        Ok(())
    }

    fn measures_power(&self) -> bool {
        let channels = self.shared.hub.channels();
        channels.iter().any(|channel| {
            channel.reason.is_none() && matches!(channel.quantity, Quantity::Energy | Quantity::Power)
        })
    }

    fn load(&mut self) -> Result<(), Stop> {
        let setup = self.order.setup();
        let fresh = self.order.submit.workload.fresh;
        // One that died while it was idle is replaced like one that does not suit.
        // Pools are made once a process; the instruction set is chosen with each load.
        let suits = |old: &Setup| (old.threads, old.executor) == (setup.threads, setup.executor);
        if let Some(old) = self.worker.take_if(|old| fresh || !suits(&old.setup) || !old.is_alive()) {
            old.kill();
        }
        let worker = match self.worker.take() {
            Some(worker) => worker,
            None => WorkerProcess::spawn(setup).map_err(|error| Stop::Failed(format!("{error:#}")))?,
        };
        let pid = worker.pid();
        self.lost_before = worker.ring.lost();
        *self.worker = Some(worker);
        self.shared.sampler.set_worker(Some(pid));
        self.shared.update(self.job, |job| job.worker = Some(pid));
        let workload = &self.order.submit.workload;
        let load = Load {
            job: self.job,
            plan: self.job as u32,
            source: self.order.weights(),
            setup,
            kv: self.order.kv(),
            prompt: self.order.prompt(),
            generate: workload.generate,
            depth: workload.depth,
            seed: workload.seed,
            stops_at_end: workload.stops_at_end(),
            memory_limit: available_memory(),
        };
        let files: Vec<_> = self.order.source.files.iter().map(AsFd::as_fd).collect();
        let worker = self.worker.as_mut().ok_or(Stop::WorkerGone)?;
        worker.send(&Command::Load(Box::new(load)), &files)?;
        let Event::Loaded(loaded) = self.answer()? else {
            return Err(Stop::Failed("the worker answered out of turn".to_owned()));
        };
        self.draft.profile = Profile::new(loaded.sites.clone(), path(&loaded));
        self.draft.loaded = Some(*loaded);
        Ok(())
    }

    /// Looks at the machine's roofs; twice a job, however many turns it has.
    fn look(&mut self) -> Result<(), Stop> {
        let setup = self.order.setup();
        let mut looks = std::mem::take(&mut self.draft.looks);
        looks.add(setup, || self.wish_to_stop().is_some());
        self.draft.looks = looks;
        self.wish_to_stop().map_or(Ok(()), Err)
    }

    /// Tells what is going to run, and on what machine.
    fn announce(&self) {
        let Some(loaded) = &self.draft.loaded else { return };
        let setup = self.order.setup();
        self.shared.hub.set_plan(PlanFrame {
            plan: self.job as u32,
            model: self.order.model_id(),
            threads: setup.threads.get() as u32,
            path: path(loaded),
            roofs: self.draft.looks.roofs(setup, now_ns()),
            sites: loaded.sites.clone(),
        });
    }

    /// The measured repetitions: as many as asked for, or until the figures are narrow enough.
    fn measure(&mut self) -> Result<(), Stop> {
        let begin = Instant::now();
        self.draft.before = Some(self.moment());
        let asked = self.order.submit.workload.repetitions;
        let mut run = 0;
        loop {
            self.shared.update(self.job, |job| job.run = Some(run));
            self.repeat(run, true)?;
            run += 1;
            let enough = match asked {
                Some(asked) => run >= asked,
                None => run >= LEAST_RUNS && (self.is_narrow() || begin.elapsed() >= LONGEST),
            };
            if enough {
                break;
            }
        }
        self.draft.after = Some(self.moment());
        let pid = self.worker.as_ref().map(WorkerProcess::pid);
        self.draft.process = pid.map(process::memory);
        if self.measures_power() {
            // The last phase is known up to its end only with a reading from after it.
            self.wait(SETTLE)?;
        }
        Ok(())
    }

    fn moment(&self) -> Moment {
        let pid = self.worker.as_ref().map(WorkerProcess::pid);
        Moment::take(&self.shared.root, pid, &self.shared.client_pids())
    }

    fn is_narrow(&self) -> bool {
        [Phase::Prefill, Phase::Decode].into_iter().all(|phase| {
            let estimate = Estimate::of(&self.draft.profile.rates(phase));
            estimate
                .is_none_or(|estimate| estimate.relative_half_width().is_some_and(|width| width <= NARROW))
        })
    }

    fn repeat(&mut self, run: u32, measured: bool) -> Result<(), Stop> {
        let budget = self.order.submit.workload.overhead_budget;
        self.command(&Command::Repeat { run, measured, budget })?;
        match self.answer()? {
            Event::RunDone { ids, .. } => {
                if measured && run == 0 {
                    self.draft.generated_ids = ids;
                }
                self.drain();
                self.shared.hub.flush();
                Ok(())
            }
            _ => Err(Stop::Failed("the worker answered out of turn".to_owned())),
        }
    }

    fn overhead(&mut self) -> Result<(), Stop> {
        let decode_ns: u64 =
            self.draft.profile.spans().iter().map(slmscope_profiles::job::Span::wall_ns).sum();
        let (limit_ns, least_tokens) = match self.order.submit.workload.overhead {
            OverheadMode::Off => return Ok(()),
            // A loop measures it once for all its turns: then it should be known.
            OverheadMode::Auto if self.order.submit.workload.looped => (0, LEAST_OVERHEAD_TOKENS),
            OverheadMode::Auto => (decode_ns.min(OVERHEAD_NS), 0),
            OverheadMode::Full => (decode_ns.min(OVERHEAD_NS), OVERHEAD_TOKENS),
        };
        self.command(&Command::Overhead { limit_ns, least_tokens })?;
        if let Event::Overhead { on_ns, off_ns } = self.answer()? {
            self.draft.recording = Some((on_ns, off_ns));
        }
        self.drain();
        self.shared.hub.flush();
        Ok(())
    }

    fn state(&mut self, state: JobState) {
        self.shared.update(self.job, |job| {
            job.state = state;
            job.run = None;
        });
    }

    fn command(&mut self, command: &Command) -> Result<(), Stop> {
        Ok(self.worker.as_mut().ok_or(Stop::WorkerGone)?.send(command, &[])?)
    }

    /// Waits for the answer to the last command; what comes before it is passed on.
    fn answer(&mut self) -> Result<Event, Stop> {
        loop {
            if let Some(stop) = self.wish_to_stop() {
                self.interrupt();
                return Err(stop);
            }
            let event = self.worker.as_mut().ok_or(Stop::WorkerGone)?.next_event(TURN)?;
            self.drain();
            match event {
                None => {}
                Some(Event::Progress { phase, done, total }) => {
                    self.shared.hub.publish(&Frame::Progress(Progress { job: self.job, phase, done, total }));
                }
                Some(Event::Span(span)) => {
                    self.shared.hub.publish(&Frame::Span(span.clone()));
                    self.draft.profile.add_span(span);
                }
                Some(Event::Text { run, text }) => {
                    let frame = Frame::Text { job: self.job, run, text: text.clone() };
                    self.shared.hub.send(self.order.source.client, &frame);
                    self.draft.text = Some(text);
                }
                Some(Event::Failed { message }) => return Err(Stop::Failed(message)),
                Some(Event::Cancelled) => return Err(Stop::Cancelled("cancelled".to_owned())),
                Some(answer) => return Ok(answer),
            }
        }
    }

    /// Takes everything out of the ring.
    fn drain(&mut self) {
        let Some(worker) = self.worker.as_mut() else { return };
        loop {
            match worker.ring.next() {
                Ok(Some(batch)) => {
                    self.draft.profile.add_batch(&batch);
                    self.shared.hub.ops(&batch);
                }
                Ok(None) => break,
                Err(error) => {
                    tracing::error!(%error, "The op ring cannot be read.");
                    break;
                }
            }
        }
        let lost = worker.ring.lost();
        if lost > self.lost_before {
            let batches = lost - self.lost_before;
            self.lost_before = lost;
            self.shared.lost.fetch_add(batches, Ordering::Relaxed);
            self.shared.hub.publish(&Frame::Loss { batches });
        }
    }

    /// Why the job is to end now; `None` if it is not.
    fn wish_to_stop(&self) -> Option<Stop> {
        if let Some(reason) = self.shared.cancelled(self.job) {
            return Some(Stop::Cancelled(reason));
        }
        let late = self.deadline.is_some_and(|deadline| Instant::now() >= deadline);
        late.then(|| {
            let seconds = self.order.submit.workload.timeout.unwrap_or(0);
            Stop::Failed(format!("not done within {seconds} s: ask for less, or for a longer timeout"))
        })
    }

    /// Asks the worker to end its command, so that its last batches still come; then kills it.
    fn interrupt(&mut self) {
        let until = Instant::now() + GRACE;
        if self.command(&Command::Cancel).is_err() {
            return;
        }
        while Instant::now() < until {
            let Some(worker) = self.worker.as_mut() else { return };
            match worker.next_event(TURN) {
                Ok(Some(Event::Span(span))) => self.draft.profile.add_span(span),
                Ok(Some(Event::Progress { .. } | Event::Text { .. }) | None) => {}
                Ok(Some(_)) | Err(_) => break,
            }
            self.drain();
        }
        self.drain();
    }

    /// Waits without a command, unless the job is to end.
    fn wait(&mut self, time: Duration) -> Result<(), Stop> {
        let until = Instant::now() + time;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            if let Some(stop) = self.wish_to_stop() {
                return Err(stop);
            }
            std::thread::sleep(left.min(TURN));
        }
        Ok(())
    }

    fn deliver(&mut self, status: RunStatus, error: Option<String>) {
        let samples = self.shared.samples.take();
        let mut channels = self.shared.hub.channels();
        for state in self.shared.sampler.states() {
            if let Some(channel) = channels.get_mut(usize::from(state.channel)) {
                channel.see_update(state.update_ns);
            }
        }
        let result = self.draft.result(status, error, self.job, &samples, &channels);
        let frame = Frame::Result { job: self.job, result: Box::new(result) };
        self.shared.hub.send(self.order.source.client, &frame);
    }
}

/// What the kernels of a loaded model are called in tables.
fn path(loaded: &Loaded) -> String {
    format!("{}:{}", loaded.executor, loaded.isa)
}

/// Memory that can still be had, bytes: by the kernel's estimate and this control group's limit. `None` if
/// neither says.
pub(crate) fn available_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let free = line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? << 10;
    let group = |file: &str| {
        let text = std::fs::read_to_string(format!("/sys/fs/cgroup/{file}")).ok()?;
        text.trim().parse::<u64>().ok()
    };
    let limit = group("memory.max").zip(group("memory.current")).map(|(max, now)| max.saturating_sub(now));
    Some(limit.map_or(free, |limit| limit.min(free)))
}
