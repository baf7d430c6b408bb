//! What the daemon says to systemd, if it started this process (`sd_notify(3)`), and what it does at its request.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};

use crate::clock;
use crate::config::Config;
use crate::error::with_sources;
use crate::server::Daemon;

/// Says that clients may connect.
pub fn ready() {
    let _ = sd_notify::notify(&[NotifyState::Ready]);
}

/// Says that the daemon is about to end.
pub fn stopping() {
    let _ = sd_notify::notify(&[NotifyState::Stopping]);
}

/// Tells systemd that the daemon works, after rounds of readings: one that hangs is killed and started again.
///
/// Each group of sensors has a thread of its own and feeds it, so a driver that hangs in one of them is no reason.
#[derive(Debug)]
pub struct Watchdog {
    /// Time between two messages: an eighth of what systemd allows.
    every_ns: u64,
    sent_ns: AtomicU64,
}

impl Watchdog {
    /// `None` if systemd asks this process for nothing.
    pub fn new() -> Option<Self> {
        sd_notify::watchdog_enabled().map(Self::allowing)
    }

    fn allowing(limit: Duration) -> Self {
        Self { every_ns: limit.as_nanos() as u64 / 8, sent_ns: AtomicU64::new(0) }
    }

    /// Called after each round of readings, by any thread.
    pub fn round_done(&self) {
        if self.is_due(clock::now_ns()) {
            let _ = sd_notify::notify(&[NotifyState::Watchdog]);
        }
    }

    /// Whether a message is due. Only one of several threads that ask is answered so, and sends it.
    fn is_due(&self, now_ns: u64) -> bool {
        let sent_ns = self.sent_ns.load(Ordering::Relaxed);
        now_ns.saturating_sub(sent_ns) >= self.every_ns
            && self.sent_ns.compare_exchange(sent_ns, now_ns, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

/// Reads the settings again at each SIGHUP. Settings that cannot be used leave the old ones in force.
///
/// # Errors
/// If the signal cannot be waited for.
pub fn reload_on_hangup(daemon: Arc<Daemon>, file: PathBuf) -> io::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            let now_us = i128::from(clock::now_ns() / 1000);
            let _ = sd_notify::notify(&[NotifyState::Reloading, NotifyState::MonotonicUsec(now_us)]);
            match Config::read(&file) {
                Ok(config) => report(&daemon.reload(config)),
                Err(error) => {
                    let error = with_sources(&error);
                    tracing::error!(error, "The settings were not read again; the old ones hold.");
                }
            }
            ready();
        }
    });
    Ok(())
}

fn report(needs_restart: &[&str]) {
    if needs_restart.is_empty() {
        tracing::info!("The settings were read again.");
    } else {
        let settings = needs_restart.join(", ");
        tracing::warn!(settings, "The settings were read again; these need a restart.");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watchdog_is_fed_by_rounds_and_not_by_each() {
        let watchdog = Watchdog::allowing(Duration::from_secs(8));
        let second = 1_000_000_000;
        assert!(watchdog.is_due(second));
        assert!(!watchdog.is_due(second + second / 2));
        assert!(watchdog.is_due(2 * second));
        assert!(watchdog.is_due(60 * second), "a round that is late feeds it as well");
    }
}
