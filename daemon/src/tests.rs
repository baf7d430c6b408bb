//! Tests at the daemon's border: real connections in front, a scripted engine and a clock that tests move behind. They
//! sleep nowhere; what has to happen first is waited for.

mod admission;
mod clients;
mod engines;
mod failures;
mod jobs;
mod manners;
mod metrics;
mod owners;
mod results;
mod schedule;
mod sessions;
mod tables;

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};
use slmscope_probes::{Root, Sampler};
use slmscope_profiles::channel::{Channel, ChannelId, Class, Kind, Quantity, Scope, Unit};
use slmscope_profiles::host::Host;
use slmscope_profiles::lane::{Lane, LaneKind};
use slmscope_profiles::op::Granularity;
use slmscope_profiles::record::{Header, PlanRecord, Record};
use slmscope_profiles::roofline::Roofs;
use tokio::sync::oneshot;

use crate::backend::Command;
use crate::backend::scripted::{self, Script, ScriptedBackend, Step};
use crate::clock::manual::ManualClock;
use crate::config::Config;
use crate::hub::Hub;
use crate::metrics::Metrics;
use crate::pace::PaceControl;
use crate::recorder::{Recordings, SessionFolder};
use crate::results::{Limits, Results};
use crate::runner::{Parts, Runner};
use crate::server::{self, Daemon, Endpoint};

/// What the clock shows at first, ns.
const START_NS: u64 = 1_000_000_000_000;

/// What test daemons keep.
const LIMITS: Limits = Limits { count: 20, bytes: 1 << 20 };

/// A channel of that number and quantity.
pub(crate) fn channel(number: ChannelId, quantity: Quantity) -> Channel {
    Channel {
        channel: number,
        id: format!("test.{number}"),
        quantity,
        unit: if quantity == Quantity::Power { Unit::Watts } else { Unit::Count },
        scope: Scope::Machine,
        class: Class::Measured,
        kind: Kind::Gauge,
        source: String::new(),
        period_ns: None,
        update_ns: None,
        reason: None,
        remedy: None,
    }
}

/// A hub with these channels.
pub(crate) fn hub(channels: Vec<Channel>) -> Hub {
    let header = Header {
        origin_ns: START_NS,
        wall_ns: 0,
        boottime_offset_ns: 0,
        boot_id: None,
        version: crate::VERSION.to_owned(),
        host: Host::default(),
    };
    Hub::new(header, channels)
}

/// A plan of scripted sites, with the host's lane and one of a device.
pub(crate) fn plan() -> Record {
    let kind = LaneKind::Device { device: "a card".to_owned(), queue: 0 };
    Record::Plan(PlanRecord {
        plan: 1,
        model: "m".to_owned(),
        threads: 1,
        path: "p".to_owned(),
        granularity: Granularity::Op,
        lanes: vec![Lane::host(1), Lane { lane: 1, name: "compute".to_owned(), kind }],
        roofs: Roofs::default(),
        sites: scripted::sites(),
    })
}

/// A daemon that serves a socket in a folder of its own, on a machine without sensors.
struct TestDaemon {
    daemon: Arc<Daemon>,
    engines: ScriptedBackend,
    clock: Arc<ManualClock>,
    folder: tempfile::TempDir,
    stop: Option<oneshot::Sender<()>>,
    server: Option<JoinHandle<()>>,
}

impl TestDaemon {
    /// One whose engines do as usual.
    fn start() -> Self {
        Self::with(Vec::new(), Arc::new(|_: &Command, _| None))
    }

    /// One whose engines follow a script.
    fn scripted(script: impl Fn(&Command, u64) -> Option<Vec<Step>> + Send + Sync + 'static) -> Self {
        Self::with(Vec::new(), Arc::new(script))
    }

    fn with(channels: Vec<Channel>, script: Arc<Script>) -> Self {
        Self::listening(channels, script, Duration::from_mins(1))
    }

    /// One that does not wait for clients that read nothing when their connections end.
    fn impatient(script: impl Fn(&Command, u64) -> Option<Vec<Step>> + Send + Sync + 'static) -> Self {
        Self::listening(Vec::new(), Arc::new(script), Duration::ZERO)
    }

    /// One that keeps its results in `folder`, and whose engines follow a script.
    fn keeping(
        folder: &Path,
        script: impl Fn(&Command, u64) -> Option<Vec<Step>> + Send + Sync + 'static,
    ) -> Self {
        let results = Results::in_folder(folder.to_owned(), LIMITS).unwrap();
        let parts = (results, Recordings::off());
        Self::listening_with(Vec::new(), Arc::new(script), Duration::from_mins(1), parts)
    }

    /// One that records its jobs in `folder`, of at most `max_bytes`, and whose engines follow a script.
    fn recording(
        folder: &Path,
        max_bytes: u64,
        script: impl Fn(&Command, u64) -> Option<Vec<Step>> + Send + Sync + 'static,
    ) -> Self {
        let recordings = Recordings::in_folder(SessionFolder::open(folder.to_owned(), max_bytes).unwrap());
        let parts = (Results::in_memory(LIMITS), recordings);
        Self::listening_with(Vec::new(), Arc::new(script), Duration::from_mins(1), parts)
    }

    fn listening(channels: Vec<Channel>, script: Arc<Script>, farewell: Duration) -> Self {
        Self::listening_with(channels, script, farewell, (Results::in_memory(LIMITS), Recordings::off()))
    }

    fn listening_with(
        channels: Vec<Channel>,
        script: Arc<Script>,
        farewell: Duration,
        parts: (Results, Recordings),
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("socket")).unwrap();
        Self::build(folder, Endpoint::Listener(listener), channels, script, farewell, parts)
    }

    /// One that serves a single client and ends with it, and that client, which has subscribed.
    fn private(
        script: impl Fn(&Command, u64) -> Option<Vec<Step>> + Send + Sync + 'static,
    ) -> (Self, Client) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let farewell = Duration::from_mins(1);
        let parts = (Results::in_memory(LIMITS), Recordings::off());
        let endpoint = Endpoint::Private(theirs);
        let daemon = Self::build(folder, endpoint, Vec::new(), Arc::new(script), farewell, parts);
        let mut client = Client::of(ours);
        client.ask(&json!({"subscribe": {"channels": []}}));
        (daemon, client)
    }

    fn build(
        folder: tempfile::TempDir,
        endpoint: Endpoint,
        channels: Vec<Channel>,
        script: Arc<Script>,
        farewell: Duration,
        (results, recordings): (Results, Recordings),
    ) -> Self {
        let recordings = Arc::new(recordings);
        std::fs::create_dir(folder.path().join("root")).unwrap();
        let root = Root::tree(&folder.path().join("root")).unwrap();
        let clock = Arc::new(ManualClock::at(START_NS));
        let engines = ScriptedBackend::new(clock.clone(), script);
        let hub = Arc::new(hub(channels));
        let inventory = slmscope_probes::discover(&root);
        let sampler = Arc::new(Sampler::start(inventory, Arc::new(|_: &_| {})).unwrap());
        let pace = Arc::new(PaceControl::new(sampler.clone()));
        let metrics = Metrics::of(&hub);
        let parts = Parts {
            hub: hub.clone(),
            sampler: sampler.clone(),
            pace: pace.clone(),
            root,
            backend: Box::new(engines.clone()),
            clock: clock.clone(),
            results,
            recordings: recordings.clone(),
            metrics: metrics.clone(),
        };
        let runner = Runner::start(parts).unwrap();
        let daemon = Arc::new(Daemon {
            hub,
            runner,
            recordings,
            metrics,
            sampler,
            pace,
            config: Mutex::new(Arc::new(Config::default())),
            socket: None,
            farewell,
        });
        let (stop, stopped) = oneshot::channel::<()>();
        let served = daemon.clone();
        let server = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let stopped = async {
                let _ = stopped.await;
            };
            runtime.block_on(server::serve(endpoint, Vec::new(), served, stopped)).unwrap();
        });
        Self { daemon, engines, clock, folder, stop: Some(stop), server: Some(server) }
    }

    /// A connection that has said nothing yet.
    fn connect(&self) -> Client {
        Client::of(UnixStream::connect(self.folder.path().join("socket")).unwrap())
    }

    /// A client that has subscribed to everything but samples.
    fn watch(&self) -> Client {
        let mut client = self.connect();
        client.ask(&json!({"subscribe": {"channels": [], "ops": ["summary", "raw"]}}));
        client
    }

    /// Stops the daemon, and waits until it has ended.
    fn stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(server) = self.server.take() {
            server.join().unwrap();
        }
    }
}

impl Drop for TestDaemon {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A client that speaks JSON.
struct Client {
    reader: BufReader<UnixStream>,
    next: u64,
    /// Messages that came while an answer was waited for.
    early: VecDeque<Value>,
}

impl Client {
    fn of(stream: UnixStream) -> Self {
        // Only so that a test that fails ends.
        stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
        Self { reader: BufReader::new(stream), next: 1, early: VecDeque::new() }
    }

    fn write(&self, bytes: &[u8]) {
        self.reader.get_ref().write_all(bytes).unwrap();
    }

    /// Sends a request, and returns its answer.
    fn ask(&mut self, request: &Value) -> Value {
        let id = self.send(request);
        loop {
            let line = self.read().expect("an answer");
            if line["re"] == id {
                return line;
            }
            self.early.push_back(line);
        }
    }

    /// Sends a request without waiting for the answer.
    fn send(&mut self, request: &Value) -> u64 {
        let id = self.next;
        self.next += 1;
        let mut request = request.clone();
        request["id"] = id.into();
        self.write(format!("{request}\n").as_bytes());
        id
    }

    /// Submits a job of four tokens with these further options, and returns its number.
    fn submit(&mut self, options: &Value) -> u64 {
        let answer = self.ask(&submission(options));
        answer["ok"]["job"].as_u64().unwrap_or_else(|| panic!("{answer}"))
    }

    /// The next message; `None` at the end.
    fn line(&mut self) -> Option<Value> {
        self.early.pop_front().or_else(|| self.read())
    }

    fn read(&mut self) -> Option<Value> {
        let mut line = String::new();
        let count = self.reader.read_line(&mut line).unwrap();
        (count > 0).then(|| serde_json::from_str(&line).unwrap())
    }

    /// The next message of a kind.
    fn frame(&mut self, kind: &str) -> Value {
        loop {
            let mut line = self.line().unwrap_or_else(|| panic!("no {kind} came"));
            if !line[kind].is_null() {
                return line[kind].take();
            }
        }
    }

    /// Waits until job `job` is in `state`, and returns it.
    fn job(&mut self, job: u64, state: &str) -> Value {
        loop {
            let found = self.frame("job");
            if found["job"] == job && found["state"] == state {
                return found;
            }
        }
    }

    /// The result of a job of this client.
    fn result(&mut self) -> Value {
        self.frame("result")["result"].take()
    }

    fn close_writing_half(&self) {
        self.reader.get_ref().shutdown(Shutdown::Write).unwrap();
    }
}

/// A request for a job of four tokens with these further options.
fn submission(options: &Value) -> Value {
    let mut workload = json!({"prompt": 0, "generate": 4, "repetitions": 1, "warmup": 0, "overhead": "off"});
    let mut submit = json!({"model": {"catalogue": "smollm2-135m"}});
    for (key, value) in options.as_object().into_iter().flatten() {
        if key == "detach" { submit[key] = value.clone() } else { workload[key] = value.clone() }
    }
    submit["workload"] = workload;
    json!({ "submit": submit })
}

/// Asserts that the books of every phase, or lane of a phase, close.
fn books_close(books: &Value) {
    let books = books.as_array().expect("a list");
    assert!(!books.is_empty());
    for books in books {
        let number = |key: &str| books[key].as_u64().unwrap_or_else(|| panic!("{key} in {books}"));
        let wall = if books["recorded_wall_ns"].is_null() { "wall_ns" } else { "recorded_wall_ns" };
        let other = books["other"].as_array().unwrap().iter();
        let other: u64 = other.map(|span| span["ns"].as_u64().unwrap()).sum();
        let parts = number("ops_ns") + number("gap_ns") + other + number("unattributed_ns");
        assert_eq!(parts, number(wall), "{books}");
    }
}
