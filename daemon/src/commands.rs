//! What the binaries use of the daemon: serving, running as a worker, the probes' report, inspecting a model's files,
//! and comparing with reference logits.

use std::future::Future;
use std::io;
use std::num::NonZeroUsize;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use slmscope_engine::export::{self, ExportError};
use slmscope_engine::setup::{self, ExecutorKind, Setup};
use slmscope_engine::weights::Loading;
use slmscope_probes::{Root, Sampler, host};
use slmscope_profiles::channel::Sample;
use slmscope_profiles::cpu_set::CpuSet;
use slmscope_profiles::host::Host;
use slmscope_profiles::record::Header;
use slmscope_profiles::sessions::RecordMode;
use tokio::signal::unix::{SignalKind, signal};

use crate::backend::worker::WorkerBackend;
use crate::clock::{self, SystemClock};
use crate::config::{Config, ConfigError};
pub use crate::doctor::{capture, doctor};
use crate::hub::Hub;
pub use crate::inspect::{InspectError, Inspected, facts, inspect};
use crate::log;
use crate::metrics::Metrics;
use crate::once;
pub use crate::once::OnceError;
use crate::pace::PaceControl;
use crate::recorder::{self, Recordings, SessionFolder};
use crate::results::{FolderError, Results};
use crate::runner::{Parts, Runner};
use crate::schedule;
use crate::server::endpoint::{self, EndpointError, Opened};
use crate::server::{self, Daemon};
use crate::service::{self, Watchdog};
pub use crate::verify::{VerifyError, VerifyOptions, VerifyStep, verify};
use crate::worker;
pub use crate::worker::WorkerError;

pub use slmscope_engine::export::{ExportOptions, Exported};

/// How the daemon is started.
#[derive(Debug, Default, clap::Args)]
pub struct ServeArgs {
    /// Listen here instead of the user's own socket
    #[arg(long, value_name = "PATH", conflicts_with = "private")]
    pub socket: Option<PathBuf>,
    /// Read settings from this file; without it, defaults hold
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Read the settings, say whether they can be used, and end
    #[arg(long, requires = "config")]
    pub check_config: bool,
    /// Run this entry of the schedule now, print its result as JSON, and end; its conditions are not waited for
    #[arg(long, value_name = "ENTRY", requires = "config", conflicts_with_all = ["socket", "check_config"])]
    pub once: Option<String>,
    /// Keep results of jobs in this folder; `none` keeps none [default: results_folder of the configuration, then
    /// $STATE_DIRECTORY/results, $XDG_STATE_HOME/slmscope/results, ~/.local/state/slmscope/results]
    #[arg(long, value_name = "FOLDER")]
    pub results: Option<PathBuf>,
    /// Record every job into a file of the folder of sessions, or nothing [default: record of the configuration: jobs]
    #[arg(long, value_name = "WHAT", value_parser = record_mode)]
    pub record: Option<RecordMode>,
    /// Serve the one client at standard input, and end with it
    #[arg(long, hide = true)]
    pub private: bool,
}

impl ServeArgs {
    /// The settings of the configuration file, or the defaults, with what flags say in their place.
    fn settings(&self) -> Result<Config, ConfigError> {
        let mut config = self.config.as_deref().map(Config::read).transpose()?.unwrap_or_default();
        match &self.results {
            Some(word) if word.as_os_str() == "none" => config.results_count = 0,
            Some(folder) => config.results_folder.clone_from(folder),
            None => {}
        }
        config.record = self.record.unwrap_or(config.record);
        Ok(config)
    }
}

/// How a worker is started; only the daemon does.
#[derive(Debug, clap::Args)]
pub struct WorkerArgs {
    /// Engine threads
    #[arg(long)]
    pub threads: NonZeroUsize,
    /// Executor
    #[arg(long)]
    pub executor: ExecutorKind,
    /// CPUs to compute on
    #[arg(long)]
    pub cores: Option<CpuSet>,
}

/// Why the daemon does not serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Its settings cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Clients cannot reach it.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The machine's root cannot be opened.
    #[error("cannot read this machine")]
    Machine(#[source] io::Error),
    /// No threads to read the sensors.
    #[error("cannot start the probes' threads")]
    Sampler(#[source] io::Error),
    /// No thread to run jobs.
    #[error("cannot start the runner")]
    Runner(#[source] io::Error),
    /// No notice of signals.
    #[error("cannot wait for signals")]
    Signal(#[source] io::Error),
    /// One entry of the schedule was to run.
    #[error(transparent)]
    Once(#[from] OnceError),
    /// The socket cannot be used.
    #[error("cannot serve")]
    Serve(#[source] io::Error),
}

/// What the daemon is to record, as a flag spells it.
fn record_mode(word: &str) -> Result<RecordMode, UnknownRecordMode> {
    match word {
        "jobs" => Ok(RecordMode::Jobs),
        "off" => Ok(RecordMode::Off),
        _ => Err(UnknownRecordMode),
    }
}

/// No word for what the daemon records.
#[derive(Debug, thiserror::Error)]
#[error("write jobs or off")]
struct UnknownRecordMode;

/// The folder in which daemons of this user keep sessions.
///
/// # Errors
/// If there is no state folder, or it cannot be used.
pub fn own_sessions() -> Result<SessionFolder, OwnSessionsError> {
    let config = Config::default();
    let folder = recorder::folder(&config).ok_or(OwnSessionsError::NoStateFolder)?;
    Ok(SessionFolder::open(folder, u64::from(config.sessions_mib) << 20)?)
}

/// Why this user's sessions cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum OwnSessionsError {
    /// Neither `XDG_STATE_HOME` nor `HOME` names a folder.
    #[error("there is no folder of sessions: set HOME or XDG_STATE_HOME")]
    NoStateFolder,
    /// It cannot be made, or is somebody else's.
    #[error("the folder of sessions cannot be used")]
    Folder(#[from] FolderError),
}

/// Runs the daemon in the foreground until a signal ends it.
///
/// # Errors
/// If it cannot begin to serve.
pub fn serve(args: ServeArgs) -> Result<(), ServeError> {
    // The only client of a private daemon says what becomes of its jobs.
    log::init(if args.private { "warn" } else { "info" });
    // A process that was started as /proc/self/exe is called `exe`.
    let _ = rustix::thread::set_name(c"slmscoped");
    let config = args.settings()?;
    if args.check_config {
        return Ok(());
    }
    if let Some(entry) = &args.once {
        return Ok(once::run(config, entry)?);
    }
    let Opened { endpoint, metrics, socket, bound_here } = endpoint::open(args.private, args.socket)?;
    let root = Root::live().map_err(ServeError::Machine)?;
    let daemon = Arc::new(assemble(&root, config, socket.clone())?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(ServeError::Serve)?;
    let result = runtime.block_on(async {
        let stop = stop_signal()?;
        if let Some(file) = args.config {
            service::reload_on_hangup(daemon.clone(), file).map_err(ServeError::Signal)?;
        }
        tokio::spawn(schedule::run(daemon.clone()));
        service::ready();
        if let Some(socket) = &socket {
            tracing::info!(socket, version = crate::VERSION, "Listening.");
        }
        server::serve(endpoint, metrics, daemon, stop).await.map_err(ServeError::Serve)
    });
    if let Some(socket) = socket.filter(|_| bound_here) {
        let _ = std::fs::remove_file(socket);
    }
    result
}

/// Puts a daemon together that samples the machine under `root` and waits for jobs.
///
/// # Errors
/// If a thread cannot be started.
pub fn assemble(root: &Root, config: Config, socket: Option<String>) -> Result<Daemon, ServeError> {
    let inventory = slmscope_probes::discover(root);
    let header = Header {
        origin_ns: clock::now_ns(),
        wall_ns: clock::wall_ns(),
        boottime_offset_ns: clock::boottime_offset_ns(),
        boot_id: std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .ok()
            .map(|id| id.trim().to_owned()),
        version: crate::VERSION.to_owned(),
        host: Host { name: host::name(root), ..host::describe(root) },
    };
    let hub = Arc::new(Hub::new(header, inventory.channels.clone()));
    let publish = hub.clone();
    let watchdog = Watchdog::new();
    let sink = Arc::new(move |sample: &Sample| {
        publish.sample(sample);
        if let Some(watchdog) = &watchdog {
            watchdog.round_done();
        }
    });
    let sampler = Sampler::start(inventory, sink).map_err(ServeError::Sampler)?;
    sampler.set_counters_hz(config.energy_hz);
    let sampler = Arc::new(sampler);
    let pace = Arc::new(PaceControl::new(sampler.clone()));
    let recordings = Arc::new(Recordings::open(&config));
    let metrics = Metrics::of(&hub);
    let parts = Parts {
        hub: hub.clone(),
        sampler: sampler.clone(),
        pace: pace.clone(),
        root: root.clone(),
        backend: Box::new(WorkerBackend),
        clock: Arc::new(SystemClock),
        results: Results::open(&config),
        recordings: recordings.clone(),
        metrics: metrics.clone(),
    };
    let runner = Runner::start(parts).map_err(ServeError::Runner)?;
    let config = Mutex::new(Arc::new(config));
    let farewell = Duration::from_secs(1);
    Ok(Daemon { hub, runner, recordings, metrics, sampler, pace, config, socket, farewell })
}

/// Done when the daemon is asked to end.
pub(crate) fn stop_signal() -> Result<impl Future<Output = ()>, ServeError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(ServeError::Signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ServeError::Signal)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        service::stopping();
        tracing::info!("Stopping.");
    })
}

/// Runs as a worker at the socket on standard input.
///
/// # Errors
/// If it was not started by the daemon, or the engine's threads cannot start.
pub fn worker(args: &WorkerArgs) -> Result<(), WorkerError> {
    log::init("info");
    let setup =
        Setup { threads: args.threads, executor: args.executor, cores: args.cores, ..setup::native() };
    worker::run(UnixStream::from(endpoint::standard_input()?), &setup)
}

/// Writes synthetic weights as a GGUF file, with all cores; see [`slmscope_engine::export`].
///
/// # Errors
/// A model that no architecture of GGUF computes, a file that cannot be written, and `cancel` going up;
/// nothing is left behind then.
pub fn weights(
    options: &ExportOptions<'_>,
    cancel: &AtomicBool,
    report: &mut dyn FnMut(u64, u64),
) -> Result<Exported, ExportError> {
    export::write(options, &mut Loading::new(cancel, report))
}

#[cfg(test)]
mod tests {
    use clap::{Args, Command, FromArgMatches};

    use super::*;
    use crate::server::Endpoint;

    fn parsed(words: &[&str]) -> ServeArgs {
        let command = ServeArgs::augment_args(Command::new("slmscoped"));
        let matches = command.try_get_matches_from([&["slmscoped"], words].concat()).expect("they are right");
        ServeArgs::from_arg_matches(&matches).expect("clap has checked them")
    }

    /// The flags are those of clap's own list, so a new one whose effect is not looked at here fails the test.
    #[test]
    fn every_flag_of_the_daemon_has_an_effect() {
        let folder = tempfile::tempdir().unwrap();
        let (socket, file) = (folder.path().join("test.sock"), folder.path().join("slmscope.toml"));
        std::fs::write(&file, "energy_hz = 7\nresults_count = 3").unwrap();
        let [socket, file] = [&socket, &file].map(|path| path.to_str().unwrap());
        let command = ServeArgs::augment_args(Command::new("slmscoped"));
        for arg in command.get_arguments() {
            let plain = || parsed(&[]).settings().unwrap();
            match arg.get_id().as_str() {
                "socket" => {
                    let args = parsed(&["--socket", socket]);
                    let opened = endpoint::open(args.private, args.socket).unwrap();
                    assert_eq!(opened.socket.as_deref(), Some(socket));
                    assert!(matches!(opened.endpoint, Endpoint::Listener(_)) && opened.bound_here);
                }
                "config" => {
                    let config = parsed(&["--config", file]).settings().unwrap();
                    assert_eq!((config.energy_hz, config.results_count), (7, 3));
                    assert_ne!(plain().energy_hz, 7);
                    assert!(parsed(&["--config", "/nowhere.toml"]).settings().is_err());
                }
                "results" => {
                    let kept = parsed(&["--config", file, "--results", "/srv/kept"]).settings().unwrap();
                    assert_eq!((kept.results_folder, kept.results_count), ("/srv/kept".into(), 3));
                    assert_eq!(parsed(&["--results", "none"]).settings().unwrap().results_count, 0);
                    assert!(plain().results_folder.as_os_str().is_empty() && plain().results_count > 0);
                }
                "record" => {
                    assert_eq!(parsed(&["--record", "off"]).settings().unwrap().record, RecordMode::Off);
                    assert_eq!(plain().record, RecordMode::Jobs);
                }
                // It serves standard input, whatever that is in a test, and binds nothing.
                "private" => match endpoint::open(parsed(&["--private"]).private, None) {
                    Ok(opened) => assert!(matches!(opened.endpoint, Endpoint::Private(_))),
                    Err(error) => assert!(matches!(error, EndpointError::InputIsNoSocket), "{error}"),
                },
                // What it runs needs an engine; that it is looked for shows that it is not served.
                "once" => {
                    let once = serve(parsed(&["--config", file, "--once", "nightly"]));
                    let refused = once.unwrap_err().to_string();
                    assert!(refused.contains("no entry `nightly`"), "{refused}");
                }
                // It returns instead of serving.
                "check_config" => {
                    assert!(serve(parsed(&["--config", file, "--check-config"])).is_ok());
                    assert!(serve(parsed(&["--config", "/nowhere.toml", "--check-config"])).is_err());
                }
                other => panic!("nothing shows what --{other} does"),
            }
        }
    }
}
