//! The schedule of a daemon that runs: its jobs, its sensors, its clock.

use std::sync::Arc;
use std::time::Duration;

use slmscope_profiles::job::JobId;

use super::{Entry, Moment, Queue, Schedule};
use crate::clock;
use crate::error::with_sources;
use crate::runner::{JobRequest, Submitter};
use crate::server::Daemon;

/// Time between two looks at the schedule.
const TICK: Duration = Duration::from_secs(5);

impl Queue for &Daemon {
    fn submit(&mut self, entry: &Entry) -> Result<JobId, String> {
        let uid = rustix::process::geteuid().as_raw();
        // No client has this number, so nobody is told but by the log, the list of jobs and the result.
        let submitter = Submitter { client: 0, uid, files: Vec::new() };
        let request = JobRequest { submit: entry.submit(), submitter };
        let request = self.runner.check(request, &self.config()).map_err(|error| with_sources(&error))?;
        self.runner.submit(request).map_err(|error| error.to_string())
    }

    fn is_open(&self, job: JobId) -> bool {
        self.runner.jobs().iter().any(|known| known.job == job && !known.state.is_final())
    }

    fn count(&mut self, entry: &Entry, outcome: &'static str) {
        self.metrics.scheduled(&entry.name, outcome);
    }
}

impl Moment {
    fn now(daemon: &Daemon) -> Self {
        let now_ns = clock::now_ns();
        let load = std::fs::read_to_string("/proc/loadavg").ok();
        Self {
            now_ns,
            wall_minute: (clock::wall_ns() / 60_000_000_000) as i64,
            is_busy: daemon.runner.jobs().iter().any(|job| !job.state.is_final()),
            load: load.and_then(|text| text.split(' ').next()?.parse().ok()),
            hottest: daemon.metrics.hottest(now_ns),
            battery: daemon.metrics.battery(now_ns),
        }
    }
}

/// Runs the schedule of the settings, as they are at each moment, until it is dropped.
pub(crate) async fn run(daemon: Arc<Daemon>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut schedule, mut is_start) = (Schedule::default(), true);
    loop {
        ticks.tick().await;
        let entries = daemon.config();
        if entries.schedule.is_empty() && schedule.is_empty() {
            is_start = false;
            continue;
        }
        let daemon = daemon.clone();
        // Submitting stores the job's number on the disk.
        let look = move || {
            let moment = Moment::now(&daemon);
            schedule.set(&entries.schedule, &moment, is_start);
            schedule.look(&moment, &mut &*daemon);
            schedule
        };
        match tokio::task::spawn_blocking(look).await {
            Ok(looked) => schedule = looked,
            Err(error) => {
                tracing::error!(%error, "The schedule ended.");
                return;
            }
        }
        is_start = false;
    }
}
