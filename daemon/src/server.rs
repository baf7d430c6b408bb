//! The socket: accepts clients, judges their rights, and serves them until the caller says stop.

mod connection;
pub mod endpoint;
mod hangup;
mod http;
pub mod listener;
mod rights;
mod session;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use slmscope_profiles::display::excerpt;
use slmscope_profiles::metrics::Exposition;
use slmscope_profiles::status::Status;
use slmscope_profiles::wire::{MAX_ECHO, MAX_UNMATCHED, Subscribe, Subscribed, glob_matches};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::task::JoinSet;

pub use endpoint::Endpoint;

use crate::clock;
use crate::config::Config;
use crate::hub::Hub;
use crate::metrics::{Metrics, Own};
use crate::pace::PaceControl;
use crate::recorder::Recordings;
use crate::runner::Runner;
use slmscope_probes::Sampler;

/// Time in which clients that read get what waits for them when the daemon stops.
const LAST_WORDS: Duration = Duration::from_millis(150);

/// Everything that a connection may ask.
pub struct Daemon {
    /// Orders and hands out records.
    pub hub: Arc<Hub>,
    /// Runs jobs.
    pub runner: Runner,
    /// What is recorded.
    pub recordings: Arc<Recordings>,
    /// Running totals and last readings.
    pub metrics: Arc<Metrics>,
    /// Reads the machine.
    pub sampler: Arc<Sampler>,
    /// Decides how often.
    pub pace: Arc<PaceControl>,
    /// The administrator's settings; [`Daemon::reload`] replaces them.
    pub config: Mutex<Arc<Config>>,
    /// Path of the socket; `None` if it has no name.
    pub socket: Option<String>,
    /// How long a client that reads gets what waits for it when its connection ends.
    pub farewell: Duration,
}

/// Serves clients, and metrics to whoever connects to `metrics`, until `stop` is done, or until the only client of a
/// private daemon is gone.
///
/// # Errors
/// If the endpoint cannot be used.
pub async fn serve(
    endpoint: Endpoint,
    metrics: Vec<std::net::TcpListener>,
    daemon: Arc<Daemon>,
    stop: impl Future<Output = ()>,
) -> std::io::Result<()> {
    let mut connections = JoinSet::new();
    // They end with this.
    let mut scrapes = JoinSet::new();
    for listener in metrics {
        listener.set_nonblocking(true)?;
        scrapes.spawn(http::serve(TcpListener::from_std(listener)?, daemon.clone()));
    }
    tokio::pin!(stop);
    match endpoint {
        Endpoint::Private(stream) => {
            stream.set_nonblocking(true)?;
            let stream = UnixStream::from_std(stream)?;
            connections.spawn(connection::serve(stream, daemon.clone()));
            tokio::select! {
                _ = connections.join_next() => {}
                () = &mut stop => {}
            }
        }
        Endpoint::Listener(listener) => {
            listener.set_nonblocking(true)?;
            let listener = UnixListener::from_std(listener)?;
            loop {
                tokio::select! {
                    () = &mut stop => break,
                    accepted = listener.accept() => match accepted {
                        Ok((stream, _)) => drop(connections.spawn(connection::serve(stream, daemon.clone()))),
                        Err(error) => {
                            tracing::warn!(%error, "A client could not be accepted.");
                            tokio::time::sleep(Duration::from_millis(100)).await;
                        }
                    },
                    Some(_) = connections.join_next(), if !connections.is_empty() => {}
                }
            }
        }
    }
    let runner = daemon.clone();
    // Jobs end first, so that their last words still reach the clients.
    let _ = tokio::task::spawn_blocking(move || runner.runner.stop()).await;
    daemon.hub.close("the daemon stops");
    let drained = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(LAST_WORDS, drained).await;
    Ok(())
}

impl Daemon {
    /// The daemon's own figures. Lists the folder of sessions.
    pub fn status(&self) -> Status {
        let pid = std::process::id();
        let header = self.hub.header();
        let uptime_ns = clock::now_ns().saturating_sub(header.origin_ns);
        Status {
            schema: "slmscope.status/1".to_owned(),
            slmscope: crate::VERSION.to_owned(),
            pid,
            uid: rustix::process::geteuid().as_raw(),
            socket: self.socket.clone(),
            uptime_ns,
            cpu_ns: slmscope_probes::process::cpu_ns(pid),
            rss: slmscope_probes::process::rss(pid),
            clients: self.hub.clients() as u32,
            channels: self.hub.channels().len() as u32,
            late_ticks: self.sampler.late_ticks(),
            lost_batches: self.runner.lost_batches(),
            dropped_batches: self.hub.dropped(),
            jobs: self.runner.jobs(),
            recording: Some(self.recordings.status(uptime_ns)),
        }
    }

    /// The metrics as they are now.
    pub fn metrics_page(&self, exposition: Exposition) -> String {
        let (pid, header) = (std::process::id(), self.hub.header());
        let own = Own {
            now_ns: clock::now_ns(),
            started_wall_ns: header.wall_ns,
            cpu_ns: slmscope_probes::process::cpu_ns(pid),
            rss: slmscope_probes::process::rss(pid),
            clients: self.hub.clients(),
            late_ticks: self.sampler.late_ticks(),
            lost_batches: self.runner.lost_batches(),
            dropped_batches: self.hub.dropped(),
            jobs: self.runner.jobs(),
        };
        self.metrics.page(exposition, &own)
    }

    /// The answer to a subscription.
    fn subscribed(&self, subscribe: &Subscribe) -> Subscribed {
        let channels = self.hub.channels();
        let matches_none = |pattern: &&String| !channels.iter().any(|known| glob_matches(pattern, &known.id));
        let unmatched = subscribe.channels.iter().filter(matches_none).take(MAX_UNMATCHED);
        Subscribed { unmatched: unmatched.map(|pattern| excerpt(pattern, MAX_ECHO)).collect() }
    }

    /// The settings as they are now.
    pub fn config(&self) -> Arc<Config> {
        self.config.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes the settings that can change while the daemon runs: the rate of energy counters, and who may do what from now
    /// on. Returns the names of those that changed and need a restart; they keep their old values.
    pub fn reload(&self, new: Config) -> Vec<&'static str> {
        let mut config = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        let fixed = config.needs_restart(&new);
        self.sampler.set_counters_hz(new.energy_hz);
        *config = Arc::new(Config {
            model_folders: new.model_folders,
            read_for_others: new.read_for_others,
            energy_hz: new.energy_hz,
            metrics_token_file: new.metrics_token_file,
            threads: new.threads,
            overhead_budget: new.overhead_budget,
            schedule: new.schedule,
            ..(**config).clone()
        });
        fixed
    }

    /// Adapts the pace of the sensors to whether anybody watches.
    fn watched_changed(&self) {
        self.pace.set_watched(self.hub.streams() > 0);
    }
}
