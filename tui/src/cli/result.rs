//! `slmscope result`: the report of a job that has ended, as the daemon keeps it.

use std::process::{ExitCode, Stdio};
use std::str::FromStr;

use clap::Args;
use slmscope_profiles::job::JobId;
use slmscope_profiles::kept::{KeptRun, Wanted};
use slmscope_profiles::result::{RunResult, RunStatus};
use slmscope_profiles::wire::codec::Incoming;
use slmscope_profiles::wire::{Frame, Method, Subscribe, Talk};

use super::jobs::listed;
use crate::client::Connection;
use crate::connect::{self, Target};
use crate::failure::{Failure, print, print_json};
use crate::report::{self, Form};
use crate::style::Style;

/// Options of `result`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  slmscope submit smollm2-135m                       prints the job's number, say 3
  slmscope result 3 --wait                           its report, once it has ended
  slmscope result latest --json | jq .summary

The daemon keeps the newest results in files, so they outlive it; numbers of jobs go on where they were. Of a loop the
last turn is kept. Without a running daemon, one is started to read them.

Exit codes: 0 the run is complete, 1 it failed, was cancelled, or there is no result, 2 wrong flags.")]
pub struct ResultArgs {
    /// A job's number, a run's id (run_id in JSON), or `latest`, the newest of yours
    #[arg(value_name = "JOB|RUN|latest", default_value = "latest")]
    which: Which,
    /// Wait until the job has ended
    #[arg(long)]
    wait: bool,
    /// Print every table, not only what matters
    #[arg(long, conflicts_with = "json")]
    full: bool,
    /// Print the result as one JSON object, as `run --json` does
    #[arg(long)]
    json: bool,
}

/// A result, as it is named on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Which {
    Job(JobId),
    Run(String),
    Latest,
}

/// The word names no result.
#[derive(Debug, thiserror::Error)]
#[error("it is a job's number such as 3, a run's id such as 19abf3c4d5-1f2e-3, or latest")]
struct NoSuchWord;

impl FromStr for Which {
    type Err = NoSuchWord;

    fn from_str(word: &str) -> Result<Self, NoSuchWord> {
        if word == "latest" {
            return Ok(Self::Latest);
        }
        if let Ok(job) = word.parse() {
            return Ok(Self::Job(job));
        }
        let is_run = word.contains('-') && word.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        if is_run { Ok(Self::Run(word.to_owned())) } else { Err(NoSuchWord) }
    }
}

/// Prints the report of a job that has ended.
///
/// # Errors
/// If there is no result, or the run did not complete.
pub fn run(args: &ResultArgs, target: &Target) -> Result<ExitCode, Failure> {
    if args.wait && !matches!(args.which, Which::Job(_)) {
        return Err(Failure::usage("--wait: needs a job's number: runs that have an id have ended"));
    }
    let mut attached = connect::attach(target, false, Stdio::inherit)?;
    let wanted = match &args.which {
        Which::Job(job) => {
            if args.wait {
                wait(&mut attached.connection, *job)?;
            }
            Wanted::Job(*job)
        }
        Which::Run(run) => Wanted::Run(run.clone()),
        Which::Latest => Wanted::Latest {},
    };
    let answer = attached.connection.call(Method::Result(wanted), &[])??;
    // A daemon that was started for this ends before anything is shown.
    drop(attached);
    let kept: KeptRun = serde_json::from_value(answer)
        .map_err(|error| Failure::error(format!("the daemon's answer cannot be read: {error}")))?;
    show(kept, args)
}

fn show(kept: KeptRun, args: &ResultArgs) -> Result<ExitCode, Failure> {
    if args.json {
        print_json(&kept.result)?;
    } else {
        let form = if args.full { Form::Full } else { Form::Short };
        print(&report(&kept.result, form, Style::of_stdout()))?;
    }
    failure(kept).map_or(Ok(ExitCode::SUCCESS), Err)
}

/// The report of what was measured; empty if nothing was.
fn report(result: &RunResult, form: Form, style: Style) -> String {
    let is_void = result.status != RunStatus::Complete && result.ops.is_empty();
    if is_void { String::new() } else { report::with_text(result, form, style) }
}

/// Why the run is not complete; `None` if it is.
fn failure(KeptRun { job, result }: KeptRun) -> Option<Failure> {
    let RunResult { status, error, .. } = *result;
    let reason = || error.unwrap_or_else(|| status.job_state().as_str().to_owned());
    (status != RunStatus::Complete).then(|| Failure::error(format!("job {job}: {}", reason())))
}

/// Waits until `job` has ended. A job that is not known may have a result that is kept.
fn wait(connection: &mut Connection, job: JobId) -> Result<(), Failure> {
    connection.call(Method::Subscribe(Subscribe::states()), &[])??;
    let known = listed(connection)?.jobs.into_iter().find(|known| known.job == job);
    let Some(known) = known.filter(|known| !known.state.is_final()) else { return Ok(()) };
    if known.workload.looped {
        let problem = "runs in a loop until it is cancelled; without --wait its last turn is shown";
        return Err(Failure::error(format!("job {job} {problem}")));
    }
    note_line!(
        "slmscope: waiting for job {job}, which is {}; Ctrl-C leaves it running",
        known.state.as_str()
    );
    loop {
        let ended = match connection.next()? {
            Some(Incoming::Frame(frame)) => match *frame {
                Frame::Talk(Talk::Job(changed)) => changed.job == job && changed.state.is_final(),
                Frame::Talk(Talk::Bye { reason }) => {
                    return Err(Failure::error(format!("the daemon ended the connection: {reason}")));
                }
                _ => false,
            },
            Some(_) => false,
            None => return Err(Failure::error("the daemon is gone; start it again and ask for the result")),
        };
        if ended {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pinned;

    /// That of a complete run is pinned with `run`, whose report it is.
    #[test]
    fn outputs_are_pinned_at_80_columns() {
        let said = |status, error: Option<&str>, has_measured: bool| {
            let mut result = RunResult { status, error: error.map(str::to_owned), ..pinned::run() };
            if !has_measured {
                result.ops.clear();
            }
            let shown = report(&result, Form::Short, pinned::terminal());
            let failed = failure(KeptRun { job: 3, result: Box::new(result) });
            let told = failed.and_then(|failure| failure.text()).map_or_else(String::new, |text| text + "\n");
            format!("{shown}{told}")
        };
        assert_eq!(
            said(RunStatus::Complete, None, true),
            report::with_text(&pinned::run(), Form::Short, pinned::terminal())
        );
        pinned::check(
            "result-cancelled.txt",
            &said(RunStatus::Cancelled, Some("cancelled on request"), true),
        );
        let killed = "the worker was ended by signal 9";
        pinned::check("result-failed.txt", &said(RunStatus::Failed, Some(killed), false));
    }

    #[test]
    fn results_are_named_by_job_run_or_age() {
        assert_eq!("3".parse::<Which>().unwrap(), Which::Job(3));
        assert_eq!("latest".parse::<Which>().unwrap(), Which::Latest);
        assert_eq!("19a-1f-3".parse::<Which>().unwrap(), Which::Run("19a-1f-3".to_owned()));
        for other in ["", "newest", "-3", "1.5", "../x-y", "99999999999999999999"] {
            let named = other.parse::<Which>();
            assert!(named.is_err() || other == "-3", "{other}: {named:?}");
        }
    }
}
