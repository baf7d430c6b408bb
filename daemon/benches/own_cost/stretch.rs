//! Stretches of decode: of a worker that is recorded, drained, probed and shown to a client, and of the same worker left
//! alone.
//!
//! *On* is a daemon with its probes at a workload's pace, its server, a recording of everything into a file, and a client in
//! a process of its own that takes the dashboard's stream. *Off* is none of that: no probe, no server, no recording, no
//! client, and a recorder that records no token. The
//! worker is the same process throughout, so the two do not differ in where its memory lies or how warm it is.

use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command as Process, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use slmscope_engine::setup::{self, Setup};
use slmscope_engine::threads;
use slmscope_probes::hygiene::CpuSnapshot;
use slmscope_probes::{Pace, Root, process};
use slmscope_profiles::catalogue;
use slmscope_profiles::format::{KvFormat, WeightFormat};
use slmscope_profiles::job::{Job, JobState, Span};
use slmscope_profiles::lane::Lane;
use slmscope_profiles::model::ModelSource;
use slmscope_profiles::model_files::ModelFiles;
use slmscope_profiles::op::Granularity;
use slmscope_profiles::profile::Profile;
use slmscope_profiles::record::{PlanRecord, Record};
use slmscope_profiles::roofline::Roofs;
use slmscope_profiles::wire::codec::{Codec, Envelope};
use slmscope_profiles::wire::{MAGIC, Method, Request, Subscribe};
use slmscope_profiles::workload::Workload;
use tokio::sync::oneshot;

use slmscope_daemon::backend::protocol::{Load, Loaded, Prompt, Source};
use slmscope_daemon::backend::worker::WorkerProcess;
use slmscope_daemon::backend::{Command, Engine, Event};
use slmscope_daemon::clock::{Clock, SystemClock};
use slmscope_daemon::commands;
use slmscope_daemon::config::Config;
use slmscope_daemon::server::{self, Daemon, Endpoint};

/// Word on the command line of a process that is to be a [`client`].
pub const CLIENT: &str = "client";

/// How often the ring is drained, as the runner does.
const POLL: Duration = Duration::from_millis(25);
/// Steps that are run to find out how long one takes.
const TRIAL_STEPS: u32 = 48;
const DEADLINE: Duration = Duration::from_mins(1);

/// Decode rates of one stretch each.
#[derive(Debug, Clone, Copy)]
pub struct Pair {
    /// Tokens per second with everything on.
    pub on: f64,
    /// Tokens per second with everything off.
    pub off: f64,
    /// The larger share of the machine that others, or its host, had in one of the two; 0 to 1.
    pub disturbed: f64,
}

/// A worker with a model, which is observed or left alone.
pub struct OwnCost {
    worker: WorkerProcess,
    root: Root,
    loaded: Loaded,
    run: u32,
}

impl OwnCost {
    /// Starts a worker with a catalogue model in q4_0 or a GGUF file, on which a stretch of decode takes about
    /// `stretch`.
    ///
    /// # Errors
    /// If there is no such model, or the worker fails.
    pub fn start(model: &str, stretch: Duration) -> anyhow::Result<Self> {
        let setup = Setup { threads: threads::default_count(setup::native().executor), ..setup::native() };
        let mut worker = WorkerProcess::spawn(setup)?;
        let mut longest = u32::MAX;
        let (source, file) = if Path::new(model).is_file() {
            let file = std::fs::File::open(model).with_context(|| format!("cannot open {model}"))?;
            (Source::Files { files: ModelFiles::gguf(model), format: None }, Some(file))
        } else {
            let Ok(row) = catalogue::find(model) else { bail!("{model} is no model and no file") };
            let spec = row.spec();
            longest = spec.max_context - 1;
            (Source::Synthetic { spec: Box::new(spec), format: WeightFormat::Q4_0, seed: 1 }, None)
        };
        let load = |worker: &mut WorkerProcess, generate| {
            let load = Load {
                job: 1,
                plan: 1,
                source: source.clone(),
                setup,
                kv: KvFormat::F16,
                prompt: Prompt::Random(0),
                generate,
                depth: 0,
                seed: 1,
                stops_at_end: false,
                memory_limit: None,
            };
            let files: Vec<_> = file.iter().map(AsFd::as_fd).collect();
            worker.send(&Command::Load(Box::new(load)), &files)?;
            match answer(worker, POLL, |_, _| ())? {
                Event::Loaded(loaded) => Ok(*loaded),
                other => bail!("the worker answered {other:?} to a load"),
            }
        };
        let loaded = load(&mut worker, TRIAL_STEPS)?;
        let mut own = Self { worker, root: Root::live()?, loaded, run: 0 };
        own.decode(Some(0.0), |_, _| ())?;
        let rate = own.decode(Some(0.0), |_, _| ())?;
        let steps = (rate * stretch.as_secs_f64()).clamp(1.0, f64::from(longest));
        own.loaded = load(&mut own.worker, steps as u32)?;
        own.decode(Some(0.0), |_, _| ())?;
        Ok(own)
    }

    /// A stretch with everything on and one with everything off, in this order or the other.
    ///
    /// # Errors
    /// If the worker fails or a part cannot be started.
    pub fn pair(&mut self, on_first: bool) -> anyhow::Result<Pair> {
        let mut pair = Pair { on: 0.0, off: 0.0, disturbed: 0.0 };
        for on in [on_first, !on_first] {
            let (rate, disturbed) = if on { self.on()? } else { self.off()? };
            *(if on { &mut pair.on } else { &mut pair.off }) = rate;
            pair.disturbed = pair.disturbed.max(disturbed);
        }
        Ok(pair)
    }

    fn on(&mut self) -> anyhow::Result<(f64, f64)> {
        let folder = tempfile::tempdir()?;
        let observers = Observers::start(&self.loaded, self.worker.pid(), folder.path())?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let recording = observers.daemon.recordings.begin(&observers.daemon.hub, &clock, job());
        if let Some(problem) = recording.recorded().error {
            bail!("nothing is recorded: {problem}");
        }
        let before = self.usage(Some(&observers));
        let mut profile = Profile::new(self.loaded.sites.clone(), self.loaded.isa.clone());
        let hub = &observers.daemon.hub;
        let rate = self.decode(None, |worker, event| {
            while let Ok(Some(batch)) = worker.next_batch() {
                profile.add_batch(&batch);
                hub.batch(&batch);
            }
            if let Some(Event::Span(span)) = event {
                hub.record(Record::Span(span.clone()));
            }
        })?;
        let disturbed = before.disturbed_until(&self.usage(Some(&observers)));
        recording.finish(&observers.daemon.hub, job(), clock.now_ns());
        anyhow::ensure!(self.worker.lost_batches() == 0, "tokens were lost: {}", self.worker.lost_batches());
        observers.stop();
        Ok((rate, disturbed))
    }

    fn off(&mut self) -> anyhow::Result<(f64, f64)> {
        let before = self.usage(None);
        let rate = self.decode(Some(0.0), |_, _| ())?;
        Ok((rate, before.disturbed_until(&self.usage(None))))
    }

    /// Decodes once and gives the steps per second; `turn` is called with each event, and now and then if
    /// anything is recorded at all.
    fn decode(
        &mut self,
        budget: Option<f64>,
        mut turn: impl FnMut(&mut WorkerProcess, Option<&Event>),
    ) -> anyhow::Result<f64> {
        self.worker.send(&Command::Repeat { repetition: self.run, measured: true, budget }, &[])?;
        self.run += 1;
        let mut rate = None;
        // A worker that records nothing is not polled either.
        let every = if budget.is_some() { DEADLINE } else { POLL };
        let done = answer(&mut self.worker, every, |worker, event| {
            if let Some(Event::Span(span)) = event {
                rate = Some(f64::from(span.tokens) * 1e9 / Span::wall_ns(span).max(1) as f64);
            }
            turn(worker, event);
        })?;
        anyhow::ensure!(
            matches!(done, Event::RepetitionDone { .. }),
            "the worker answered {done:?} to a run"
        );
        rate.context("the worker reported no decode")
    }

    fn usage(&self, observers: Option<&Observers>) -> Usage {
        let pids = [Some(std::process::id()), Some(self.worker.pid()), observers.map(|it| it.client.id())];
        let own_ns = pids.into_iter().flatten().filter_map(process::cpu_ns).sum();
        Usage { cpu: CpuSnapshot::take(&self.root), own_ns }
    }
}

/// Waits for the answer to the last command; `turn` is called with each event, and after `every` without one.
fn answer(
    worker: &mut WorkerProcess,
    every: Duration,
    mut turn: impl FnMut(&mut WorkerProcess, Option<&Event>),
) -> anyhow::Result<Event> {
    let until = Instant::now() + DEADLINE;
    while Instant::now() < until {
        let event = worker.next_event(every).context("the worker is gone")?;
        turn(worker, event.as_ref());
        match event {
            None | Some(Event::Span(_) | Event::Progress { .. } | Event::Text { .. }) => {}
            Some(Event::Failed { message }) => bail!(message),
            Some(answer) => return Ok(answer),
        }
    }
    bail!("the worker did not answer in {} s", DEADLINE.as_secs())
}

/// The job as which a stretch is recorded.
fn job() -> Job {
    Job {
        job: 1,
        model: "own cost".to_owned(),
        source: ModelSource::Synthetic,
        format: None,
        files: Vec::new(),
        workload: Workload::default(),
        uid: 0,
        state: JobState::Measuring,
        ahead: 0,
        repetition: None,
        turns: 0,
        worker: None,
        error: None,
        submitted_ns: None,
        ended_ns: None,
        progress: None,
    }
}

/// Who used the machine up to a moment.
struct Usage {
    cpu: Option<CpuSnapshot>,
    own_ns: u64,
}

impl Usage {
    fn disturbed_until(&self, newer: &Self) -> f64 {
        let (Some(older), Some(cpu)) = (&self.cpu, &newer.cpu) else { return 0.0 };
        let foreign = cpu.foreign_share(older, newer.own_ns.saturating_sub(self.own_ns));
        foreign.unwrap_or(0.0).max(cpu.steal_share(older).unwrap_or(0.0))
    }
}

/// A daemon around a worker, and its client.
struct Observers {
    daemon: Arc<Daemon>,
    client: Child,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
}

impl Observers {
    fn start(loaded: &Loaded, worker: u32, sessions: &Path) -> anyhow::Result<Self> {
        // The user's own results and sessions stay as they are.
        let sessions_folder = sessions.join("sessions");
        let config = Config { results_count: 0, sessions_folder, ..Config::default() };
        let daemon = Arc::new(commands::assemble(&Root::live()?, config, None)?);
        let threads = threads::default_count(setup::native().executor).get() as u32;
        daemon.hub.record(Record::Plan(PlanRecord {
            plan: 1,
            model: "own cost".to_owned(),
            threads,
            path: loaded.isa.clone(),
            granularity: Granularity::Op,
            lanes: vec![Lane::host(threads)],
            roofs: Roofs::default(),
            sites: loaded.sites.clone(),
        }));
        let (ours, theirs) = UnixStream::pair()?;
        let client = Process::new("/proc/self/exe")
            .arg0("slmscope")
            .arg(CLIENT)
            .stdin(Stdio::from(OwnedFd::from(ours)))
            .spawn()
            .context("cannot start a client")?;
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let served = daemon.clone();
        let server = std::thread::Builder::new().name("server".to_owned()).spawn(move || {
            let stopped = async {
                // Either way it is over.
                let _ = stopped.await;
            };
            // A client that left early leaves too few tokens to compare, which is seen there.
            let _ = runtime.block_on(server::serve(Endpoint::Private(theirs), Vec::new(), served, stopped));
        })?;
        let until = Instant::now() + DEADLINE;
        while daemon.hub.streams() == 0 {
            anyhow::ensure!(Instant::now() < until, "the client did not subscribe");
            // Before a stretch begins, so this costs nothing that is measured.
            std::thread::sleep(Duration::from_millis(5));
        }
        daemon.sampler.set_worker(Some(worker));
        daemon.sampler.set_pace(Pace::Workload);
        Ok(Self { daemon, client, stop, server })
    }

    fn stop(self) {
        let Self { daemon, mut client, stop, server } = self;
        // It may have ended by itself.
        let _ = stop.send(());
        let _ = client.kill();
        let _ = client.wait();
        let _ = server.join();
        drop(daemon);
    }
}

/// Takes the stream that a dashboard takes from the socket on standard input, decodes it, and shows nothing.
///
/// # Errors
/// If the socket fails or something else than messages comes.
pub fn client() -> anyhow::Result<()> {
    let mut stream = UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    stream.write_all(&MAGIC)?;
    let request = Request::new(None, Method::Subscribe(Subscribe::default()));
    stream.write_all(&Codec::MessagePack.encode(Envelope::Request, &request))?;
    let (mut buffer, mut part) = (Vec::new(), [0; 16 << 10]);
    loop {
        while let Some(message) = Codec::MessagePack.split(&mut buffer)? {
            std::hint::black_box(Codec::MessagePack.incoming(&message)?);
        }
        match stream.read(&mut part)? {
            0 => return Ok(()),
            count => buffer.extend_from_slice(&part[..count]),
        }
    }
}
