//! `slmscoped --once`: runs one entry of the schedule, prints its result, and ends.

use std::io::{self, Write};
use std::time::Duration;

use slmscope_probes::Root;
use slmscope_profiles::job::{Job, JobId, JobState};
use slmscope_profiles::kept::Wanted;
use slmscope_profiles::words::nearest;

use crate::commands::{ServeError, assemble, stop_signal};
use crate::config::Config;
use crate::error::with_sources;
use crate::runner::ResultError;
use crate::schedule::Queue;
use crate::server::Daemon;

/// How often the job is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Why an entry was not run to its end.
#[derive(Debug, thiserror::Error)]
pub enum OnceError {
    /// The schedule has no such entry.
    #[error("the schedule has no entry `{}`{}", .name, hint(.nearest.as_deref()))]
    NoEntry {
        /// What was asked for.
        name: String,
        /// The entry that may have been meant.
        nearest: Option<String>,
    },
    /// Nothing runs here.
    #[error(transparent)]
    Start(Box<ServeError>),
    /// The job is not queued.
    #[error("the job is refused: {0}")]
    Refused(String),
    /// It ended otherwise than asked.
    #[error("job {job} {}: {reason}", .state.as_str())]
    Ended {
        /// The job.
        job: JobId,
        /// How it ended.
        state: JobState,
        /// Why.
        reason: String,
    },
    /// It ended, and has no result.
    #[error("the result of job {0} cannot be read")]
    Result(JobId, #[source] ResultError),
    /// Standard output is closed.
    #[error("the result cannot be written")]
    Write(#[source] io::Error),
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |nearest| format!("; did you mean `{nearest}`?"))
}

/// Runs the entry of that name, whatever its conditions, and writes the result to standard output.
pub(crate) fn run(config: Config, name: &str) -> Result<(), OnceError> {
    let Some(entry) = config.schedule.iter().find(|entry| entry.name == name).cloned() else {
        let nearest =
            nearest(name, config.schedule.iter().map(|entry| entry.name.as_str())).map(str::to_owned);
        return Err(OnceError::NoEntry { name: name.to_owned(), nearest });
    };
    let start = |error| OnceError::Start(Box::new(error));
    let root = Root::live().map_err(|error| start(ServeError::Machine(error)))?;
    let daemon = assemble(&root, config, None).map_err(start)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| start(ServeError::Serve(error)))?;
    let ended = runtime.block_on(async {
        let stop = stop_signal().map_err(start)?;
        let job = (&daemon).submit(&entry).map_err(OnceError::Refused)?;
        tokio::select! {
            ended = until_ended(&daemon, job) => Ok(ended),
            () = stop => {
                daemon.runner.stop();
                Ok(until_ended(&daemon, job).await)
            }
        }
    })?;
    daemon.runner.stop();
    let uid = rustix::process::geteuid().as_raw();
    let Job { job, state, error, .. } = ended;
    match (daemon.runner.result(&Wanted::Job(job), uid), state) {
        (Ok(kept), _) => print(&kept.result)?,
        (Err(error), JobState::Done) => return Err(OnceError::Result(job, error)),
        (Err(error), _) => tracing::debug!(error = with_sources(&error), "There is no result."),
    }
    match state {
        JobState::Done => Ok(()),
        _ => Err(OnceError::Ended { job, state, reason: error.unwrap_or_default() }),
    }
}

fn print(result: &impl serde::Serialize) -> Result<(), OnceError> {
    let mut text = serde_json::to_string(result).map_err(|error| OnceError::Write(error.into()))?;
    text.push('\n');
    io::stdout().write_all(text.as_bytes()).map_err(OnceError::Write)
}

/// The job when it has ended.
async fn until_ended(daemon: &Daemon, job: JobId) -> Job {
    let mut looks = tokio::time::interval(LOOK);
    loop {
        looks.tick().await;
        let ended = |known: &Job| known.job == job && known.state.is_final();
        if let Some(ended) = daemon.runner.jobs().into_iter().find(ended) {
            return ended;
        }
    }
}
