//! `slmscope` without a command: the dashboard, on the running daemon or on a private one.
//!
//! A thread of its own holds the connection. It connects, forwards messages to the dashboard, and connects again when
//! the daemon has gone. A private daemon that died is started again, and so is its workload. Of several hosts each has
//! such a thread.

mod tasks;

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{ExitCode, Stdio};
use std::sync::mpsc::{self, Sender as Queue};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use slmscope_profiles::catalogue::{self, DEFAULT_MODEL};
use slmscope_profiles::display;
use slmscope_profiles::format::WeightFormat;
use slmscope_profiles::job::ModelRef;
use slmscope_profiles::wire::codec::Incoming;
use slmscope_profiles::wire::{Method, Reply, Request, Submit};
use slmscope_profiles::workload::Workload;

use crate::client::Sender;
use crate::connect::{self, Attached, Private, Target};
use crate::dashboard::{
    self, Choice, FIRST_JOB, Idle, Msg, Need, Options, Order, Recording, Settings, Source, Task,
};
use crate::failure::Failure;
use crate::model_source::{self, ChosenModel};
use tasks::{FIRST_OF_TASKS, Tasks};

/// Time before the first attempt to reach a daemon that has gone.
const RETRY: Duration = Duration::from_millis(500);
/// Longest time between two attempts: on this machine an attempt costs nothing, to another one it starts ssh.
const MAX_RETRY: [Duration; 2] = [RETRY, Duration::from_secs(16)];

/// Most files that are offered.
const MAX_FILES: usize = 200;

/// The current connection to the daemon.
#[derive(Default)]
struct Link {
    sender: Option<Sender>,
    private: Option<Private>,
    /// What is queued when a private daemon was started.
    job: Option<Arc<WatchedJob>>,
}

/// What the dashboard is opened on.
pub struct WatchedJob {
    /// The model, as it was named.
    pub name: String,
    /// Its files.
    pub chosen: ChosenModel,
    /// What it runs.
    pub workload: Workload,
    /// The daemon records it, if it records jobs at all.
    pub record: bool,
    /// On a daemon of its own, even if one runs.
    pub private: bool,
}

impl WatchedJob {
    /// The default model in a loop, one measured repetition per turn.
    fn default_job() -> Self {
        Self {
            name: DEFAULT_MODEL.to_owned(),
            chosen: ChosenModel { model: ModelRef::Catalogue(DEFAULT_MODEL.to_owned()), files: Vec::new() },
            workload: in_a_loop(Workload::default()),
            record: true,
            private: false,
        }
    }

    fn submit(&self, sender: &Sender, id: u64) -> anyhow::Result<()> {
        let submit =
            Submit { record: self.record, ..Submit::new(self.chosen.model.clone(), self.workload.clone()) };
        let files: Vec<_> = self.chosen.files.iter().map(AsFd::as_fd).collect();
        sender.send(&Request::new(Some(id), Method::Submit(submit)), &files)
    }
}

/// The workload again and again, one measured repetition per turn, unless it says how often.
pub fn in_a_loop(workload: Workload) -> Workload {
    if workload.looped || workload.repetitions.is_some() {
        return workload;
    }
    Workload { repetitions: Some(1), warmup: 0, looped: true, ..workload }
}

/// The connection as the dashboard's thread and the connector's thread share it.
#[derive(Clone, Default)]
struct SharedLink(Arc<Mutex<Link>>);

impl SharedLink {
    fn link(&self) -> MutexGuard<'_, Link> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Opens the dashboard, on `job` if there is one, and stays until the user or a signal ends it.
///
/// # Errors
/// If no daemon can be reached or started, or there is no terminal to draw on.
pub fn run(target: &Target, job: Option<WatchedJob>, settings: Settings) -> Result<ExitCode, Failure> {
    let settings = said(settings);
    if target.host.len() > 1 {
        return watch_hosts(target, &settings);
    }
    let always_private = job.as_ref().is_some_and(|job| job.private);
    let attached = connect::attach(target, always_private, log)?;
    let private = attached.private.is_some();
    let is_asked_for = job.is_some();
    let job = job.unwrap_or_else(WatchedJob::default_job);
    let name = match target.host.first() {
        Some(host) => host.to_string(),
        None => if private { "private daemon" } else { "daemon" }.to_owned(),
    };
    let mut options = options(private, name, settings);
    (options.models, options.remote) = (models(target), target.is_remote());
    options.model.clone_from(&job.name);
    if is_asked_for {
        options.idle = Idle::Wait;
    }
    let shared = SharedLink::default();
    shared.link().job = Some(Arc::new(job));
    let (messages, received) = mpsc::channel();
    let board = Board::new(0, target.clone(), shared, messages.clone(), private);
    let is_first_job_queued = private || is_asked_for;
    board.clone().connect_and_forward(Some(attached), is_first_job_queued)?;
    let send = |_, order| board.take(order);
    connect::remote::ask_nothing();
    let ended = dashboard::run(received, messages, send, vec![options])?;
    // A private daemon ends here, before this process does.
    let private = board.shared.link().private.take();
    drop(private);
    exit_code(ended)
}

/// Opens the dashboard on a recording, and stays until the user or a signal ends it. `target` is the daemon whose sessions
/// are listed beside it.
///
/// # Errors
/// If the recording cannot be read, or there is no terminal to draw on.
pub fn replay(recording: Recording, target: &Target, settings: Settings) -> Result<ExitCode, Failure> {
    let (messages, received) = mpsc::channel();
    let board = Board::new(0, target.clone(), SharedLink::default(), messages.clone(), false);
    let send = |_, order| {
        if matches!(order, Order::Task(_)) {
            board.take(order);
        }
    };
    let mut options = options(false, "recording".to_owned(), said(settings));
    options.models = models(target);
    connect::remote::ask_nothing();
    exit_code(dashboard::replay(received, messages, send, recording, options)?)
}

/// The daemon whose sessions are shown: a private one keeps its sessions in this user's own folder.
fn target_of_sessions(target: &Target, private: bool) -> Target {
    if private { Target { socket: Some("none".into()), host: Vec::new() } } else { target.clone() }
}

/// Opens the overview of several hosts. Each is connected to while it is shown, so ssh can ask nothing.
fn watch_hosts(target: &Target, settings: &Arc<Settings>) -> Result<ExitCode, Failure> {
    connect::remote::ask_nothing();
    let (messages, received) = mpsc::channel();
    let (mut boards, mut shown) = (Vec::new(), Vec::new());
    for (number, host) in target.host.iter().enumerate() {
        let target = target.of_host(host);
        let mut options = options(false, host.to_string(), settings.clone());
        (options.models, options.idle, options.remote) = (models(&target), Idle::Wait, true);
        shown.push(options);
        let board = Board::new(number, target, SharedLink::default(), messages.clone(), false);
        board.clone().connect_and_forward(None, false)?;
        boards.push(board);
    }
    let send = |number: usize, order| {
        if let Some(board) = boards.get(number) {
            board.take(order);
        }
    };
    exit_code(dashboard::run(received, messages, send, shown)?)
}

/// Says what of the settings is left out, before the dashboard covers the terminal.
pub fn said(settings: Settings) -> Arc<Settings> {
    for problem in &settings.problems {
        note_line!("slmscope: {problem}");
    }
    Arc::new(settings)
}

/// The models that can be run on the target: files of the current folder, if that is there, then those of the catalogue.
fn models(target: &Target) -> Vec<Choice> {
    let folder = if target.is_remote() { None } else { std::fs::read_dir(".").ok() };
    let files = folder.into_iter().flatten().flatten().filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let is_model = Path::new(&name).extension().is_some_and(|end| end.eq_ignore_ascii_case("gguf"));
        let metadata = entry.metadata().ok().filter(std::fs::Metadata::is_file)?;
        is_model.then(|| Choice { name, facts: "file".to_owned(), bytes: metadata.len(), needs: None })
    });
    let mut models: Vec<_> = files.take(MAX_FILES).collect();
    models.sort_by(|a, b| a.name.cmp(&b.name));
    models.extend(catalogue::rows().iter().map(|row| Choice {
        name: row.id.clone(),
        facts: format!("{}, synthetic q4_0", display::parameters(row.params().stored)),
        bytes: row.spec().weight_bytes(WeightFormat::Q4_0),
        needs: Need::of(&row.id, &Workload::default()).map(Need::total),
    }));
    models
}

/// What the dashboard on the daemon called `target` is started with.
pub fn options(private: bool, target: String, settings: Arc<Settings>) -> Options {
    Options {
        private,
        target,
        remote: false,
        settings,
        model: DEFAULT_MODEL.to_owned(),
        idle: if private { Idle::Wait } else { Idle::Offer },
        models: Vec::new(),
    }
}

/// The exit code of a dashboard that was ended by the user, or by a signal.
///
/// # Errors
/// With the signal's exit code.
pub fn exit_code(ended: Option<i32>) -> Result<ExitCode, Failure> {
    match ended {
        None => Ok(ExitCode::SUCCESS),
        Some(signal) => Err(Failure::silent(128 + u8::try_from(signal).unwrap_or(0))),
    }
}

/// A board, with the connection to it.
#[derive(Clone)]
struct Board {
    /// Its number on the dashboard.
    number: usize,
    target: Target,
    shared: SharedLink,
    messages: Queue<(Source, Msg)>,
    /// Answers to requests of tasks.
    replies: Queue<Reply>,
    /// What waits for files.
    tasks: Queue<Task>,
    private: bool,
}

impl Board {
    fn new(
        number: usize,
        target: Target,
        shared: SharedLink,
        messages: Queue<(Source, Msg)>,
        private: bool,
    ) -> Self {
        let (replies, task_replies) = mpsc::channel();
        let tasks = Tasks {
            board: number,
            target: target_of_sessions(&target, private),
            shared: shared.clone(),
            replies: task_replies,
            messages: messages.clone(),
        };
        Self { number, target, shared, messages, replies, tasks: tasks.start(), private }
    }

    /// Carries out an order of the dashboard, without waiting.
    fn take(&self, order: Order) {
        match order {
            Order::Send(request) => {
                // The connecting thread reports a daemon that has gone.
                if let Some(sender) = &self.shared.link().sender {
                    let _ = sender.send(&request, &[]);
                }
            }
            Order::Task(task) => drop(self.tasks.send(task)),
            Order::Run { id, model, workload } => {
                let board = self.clone();
                // A model of the hub is downloaded first.
                std::thread::spawn(move || {
                    if let Err(problem) = board.queue(id, model, *workload) {
                        board.tell(Msg::Notice(format!("{problem:#}")));
                    }
                });
            }
        }
    }

    /// Tells the dashboard; whether it is still there.
    fn tell(&self, msg: Msg) -> bool {
        self.messages.send((Source::Board(self.number), msg)).is_ok()
    }

    /// Opens a model and queues a job with it.
    fn queue(&self, id: u64, name: String, workload: Workload) -> anyhow::Result<()> {
        let chosen = model_source::choose_on(&self.target, Some(&name))
            .map_err(|failure| anyhow::anyhow!(failure.message.unwrap_or_default()))?;
        let job = WatchedJob { name, chosen, workload, record: true, private: false };
        let mut link = self.shared.link();
        let Some(sender) = &link.sender else { anyhow::bail!("not connected") };
        job.submit(sender, id)?;
        link.job = Some(Arc::new(job));
        Ok(())
    }

    /// Connects and forwards until the dashboard ends, on a thread of its own; `first` is a connection that there is
    /// already, and `queues` whether the job is queued on it.
    fn connect_and_forward(self, first: Option<Attached>, queues: bool) -> anyhow::Result<()> {
        let work = move || self.forward_always(first, queues);
        std::thread::Builder::new()
            .name("connection".to_owned())
            .spawn(work)
            .context("cannot start a thread")?;
        Ok(())
    }

    fn forward_always(self, first: Option<Attached>, mut queues: bool) {
        let mut attached = first.map_or_else(|| self.connect(), Ok);
        let mut retry = RETRY;
        loop {
            let reason = match attached {
                Ok(attached) => {
                    retry = RETRY;
                    self.forward(attached, queues).unwrap_or_else(|error| format!("{error:#}"))
                }
                Err(error) => format!("{error:#}"),
            };
            self.shared.link().sender = None;
            // Another daemon is not given the job unasked.
            queues = self.private;
            if !self.tell(Msg::Disconnected { reason, retry }) {
                return;
            }
            std::thread::sleep(retry);
            retry = (retry * 2).min(MAX_RETRY[usize::from(self.target.is_remote())]);
            attached = self.connect();
        }
    }

    fn connect(&self) -> anyhow::Result<Attached> {
        if self.private {
            let dead = self.shared.link().private.take();
            drop(dead);
            let started = connect::start_private(log());
            return started.map_err(|failure| anyhow::anyhow!(failure.message.unwrap_or_default()));
        }
        let problem = |failure: Failure| anyhow::anyhow!(failure.message.unwrap_or_default());
        let connection = connect::running(&self.target).map_err(problem)?.context("no daemon is running")?;
        Ok(Attached { connection, private: None })
    }

    /// Forwards messages until the connection ends, and returns why it ended.
    fn forward(&self, attached: Attached, queues: bool) -> anyhow::Result<String> {
        let Attached { mut connection, private } = attached;
        let sender = connection.sender()?;
        {
            let mut link = self.shared.link();
            link.sender = Some(connection.sender()?);
            link.private = private;
        }
        let (hello, ahead_ns) = (connection.hello.clone(), connection.ahead_ns);
        if !(self.tell(Msg::Clock { ahead_ns }) && self.tell(Msg::Connected { hello })) {
            return Ok(String::new());
        }
        let job = self.shared.link().job.clone();
        if let Some(job) = job.filter(|_| queues) {
            job.submit(&sender, FIRST_JOB)?;
        }
        loop {
            let message = match connection.next()? {
                Some(Incoming::Frame(frame)) => Msg::Frame(frame),
                Some(Incoming::Reply(reply)) if reply.re.is_some_and(|re| re >= FIRST_OF_TASKS) => {
                    // The task may have given up.
                    let _ = self.replies.send(reply);
                    continue;
                }
                Some(Incoming::Reply(reply)) if reply.re.is_some_and(|re| re >= FIRST_OF_TASKS) => {
                    // The task may have given up.
                    let _ = self.replies.send(reply);
                    continue;
                }
                Some(Incoming::Reply(reply)) => Msg::Reply(reply),
                Some(Incoming::Unknown) => continue,
                None => return Ok("the daemon is gone".to_owned()),
            };
            if !self.tell(message) {
                return Ok(String::new());
            }
        }
    }
}

/// Where the log of a private daemon goes while the dashboard uses the terminal: a file in the user's state
/// directory, or nowhere if it cannot be opened.
fn log() -> Stdio {
    let home = std::env::var_os("HOME").map(std::path::PathBuf::from);
    let state = std::env::var_os("XDG_STATE_HOME").map(std::path::PathBuf::from);
    let folder =
        state.or_else(|| home.map(|home| home.join(".local/state"))).map(|state| state.join("slmscope"));
    let file = folder.and_then(|folder| {
        std::fs::create_dir_all(&folder).ok()?;
        File::options().create(true).append(true).open(folder.join("daemon.log")).ok()
    });
    file.map_or_else(Stdio::null, Stdio::from)
}
