//! What the binaries use of the daemon: serving, running as a worker, the probes' report, inspecting a model's files,
//! and comparing with reference logits.

use std::future::Future;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, bail};
use slmscope_engine::export::{self, ExportError};
use slmscope_engine::setup::{ExecutorKind, Setup};
use slmscope_engine::weights::Loading;
use slmscope_probes::{Root, Sampler, host};
use slmscope_profiles::channel::Sample;
use slmscope_profiles::record::Header;
use tokio::signal::unix::{SignalKind, signal};

use crate::backend::worker::WorkerBackend;
use crate::clock::{self, SystemClock};
use crate::config::Config;
pub use crate::doctor::{capture, doctor};
use crate::hub::Hub;
pub use crate::inspect::{Inspected, inspect};
use crate::pace::PaceControl;
use crate::runner::{Parts, Runner, SampleLog};
use crate::server::{self, Daemon, Endpoint, listener};
pub use crate::verify::{VerifyOptions, VerifyStep, verify};
use crate::worker;

pub use slmscope_engine::export::{Exported, Order};

/// How the daemon is started.
#[derive(Debug, Default, clap::Args)]
pub struct ServeArgs {
    /// Listen here instead of the user's own socket
    #[arg(long, value_name = "PATH", conflicts_with = "private")]
    pub socket: Option<PathBuf>,
    /// Read settings from this file; without it, defaults hold
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Serve the one client at standard input, and end with it
    #[arg(long, hide = true)]
    pub private: bool,
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
}

/// Runs the daemon in the foreground until a signal ends it.
///
/// # Errors
/// If it cannot begin to serve.
pub fn serve(args: ServeArgs) -> anyhow::Result<()> {
    init_log();
    // A process that was started as /proc/self/exe is called `exe`.
    let _ = rustix::thread::set_name(c"slmscoped");
    let config = args.config.as_deref().map(Config::read).transpose()?.unwrap_or_default();
    let Opened { endpoint, socket, bound_here } = open(&args)?;
    let root = Root::live().context("cannot read this machine")?;
    let daemon = Arc::new(assemble(&root, config, socket.clone())?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(async {
        let stop = stop_signal()?;
        // Tells systemd, if it started this process, that clients may connect.
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
        if let Some(socket) = &socket {
            tracing::info!(socket, version = crate::VERSION, "Listening.");
        }
        server::serve(endpoint, daemon, stop).await.context("cannot serve")
    });
    if let Some(socket) = socket.filter(|_| bound_here) {
        let _ = std::fs::remove_file(socket);
    }
    result
}

/// Puts a daemon together that samples the machine under `root` and waits for jobs.
pub(crate) fn assemble(root: &Root, config: Config, socket: Option<String>) -> anyhow::Result<Daemon> {
    let inventory = slmscope_probes::discover(root);
    let header = Header {
        origin_ns: clock::now_ns(),
        wall_ns: clock::wall_ns(),
        boottime_offset_ns: clock::boottime_offset_ns(),
        boot_id: std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .ok()
            .map(|id| id.trim().to_owned()),
        version: crate::VERSION.to_owned(),
        host: host::describe(root),
    };
    let samples = Arc::new(SampleLog::new(&inventory.channels));
    let hub = Arc::new(Hub::new(header, inventory.channels.clone()));
    let (publish, keep) = (hub.clone(), samples.clone());
    let sink = Arc::new(move |sample: &Sample| {
        keep.add(sample);
        publish.sample(sample);
    });
    let sampler = Sampler::start(inventory, sink).context("cannot start the probes' threads")?;
    sampler.set_counters_hz(config.energy_hz);
    let sampler = Arc::new(sampler);
    let pace = Arc::new(PaceControl::new(sampler.clone()));
    let parts = Parts {
        hub: hub.clone(),
        sampler: sampler.clone(),
        pace: pace.clone(),
        samples,
        root: root.clone(),
        backend: Box::new(WorkerBackend),
        clock: Arc::new(SystemClock),
    };
    let runner = Runner::start(parts).context("cannot start the runner")?;
    Ok(Daemon { hub, runner, sampler, pace, config, socket })
}

/// Done when the daemon is asked to end.
fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("Stopping.");
    })
}

/// Where clients come from.
struct Opened {
    endpoint: Endpoint,
    /// Path of the socket; `None` if it has no name.
    socket: Option<String>,
    /// This process made the file, and takes it away.
    bound_here: bool,
}

fn open(args: &ServeArgs) -> anyhow::Result<Opened> {
    if args.private {
        let endpoint = Endpoint::Private(UnixStream::from(standard_input()?));
        return Ok(Opened { endpoint, socket: None, bound_here: false });
    }
    let passed = sd_notify::listen_fds().ok().and_then(|mut passed| passed.next());
    let listener = match passed {
        Some(descriptor) => passed_listener(descriptor)?,
        None => listener::bind(&args.socket.clone().unwrap_or_else(listener::user_socket))?,
    };
    let address = listener.local_addr().context("the socket has no address")?;
    let socket = address.as_pathname().map(|path| path.display().to_string());
    Ok(Opened { endpoint: Endpoint::Listener(listener), socket, bound_here: passed.is_none() })
}

/// A copy of standard input, whatever kind of file it is.
fn standard_input() -> anyhow::Result<OwnedFd> {
    let copy = std::io::stdin().as_fd().try_clone_to_owned().context("there is no standard input")?;
    if rustix::net::sockopt::socket_domain(&copy).is_err() {
        bail!("standard input is no socket: this command is started by slmscope itself");
    }
    Ok(copy)
}

#[expect(unsafe_code, reason = "descriptors of the service manager come as numbers")]
fn passed_listener(descriptor: std::os::fd::RawFd) -> anyhow::Result<server::StdListener> {
    use std::os::fd::FromRawFd;
    // SAFETY: the service manager opened this descriptor for us, and nothing else in this process uses it.
    let listener = unsafe { OwnedFd::from_raw_fd(descriptor) };
    anyhow::ensure!(
        rustix::net::sockopt::socket_domain(&listener).is_ok(),
        "the passed descriptor is no socket"
    );
    Ok(listener.into())
}

/// Runs as a worker at the socket on standard input.
///
/// # Errors
/// If it was not started by the daemon, or the engine's threads cannot start.
pub fn worker(args: &WorkerArgs) -> anyhow::Result<()> {
    init_log();
    let setup = Setup { threads: args.threads, executor: args.executor, ..Setup::default() };
    worker::run(UnixStream::from(standard_input()?), &setup)
}

/// Writes synthetic weights as a GGUF file, with all cores; see [`slmscope_engine::export`].
///
/// # Errors
/// A model that no architecture of GGUF computes, a file that cannot be written, and `cancel` going up;
/// nothing is left behind then.
pub fn weights(
    order: &Order<'_>,
    cancel: &AtomicBool,
    report: &mut dyn FnMut(u64, u64),
) -> Result<Exported, ExportError> {
    export::write(order, &mut Loading::new(cancel, report))
}

/// Log lines go to standard error, as many as `SLMSCOPE_LOG` asks for.
fn init_log() {
    use std::io::IsTerminal;
    let filter = tracing_subscriber::EnvFilter::try_from_env("SLMSCOPE_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let log =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours);
    // A second call in one process keeps the first.
    let _ = log.try_init();
}
