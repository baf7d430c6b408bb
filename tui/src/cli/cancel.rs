//! `slmscope cancel`: ends a job, and waits until it has ended.

use std::io::{IsTerminal, Write as _};
use std::process::ExitCode;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use clap::Args;
use slmscope_profiles::job::{Job, JobId, JobState};
use slmscope_profiles::kept::KeptResult;
use slmscope_profiles::wire::{Frame, Method, Subscribe, Talk};

use super::jobs::{Listed, Now, describe, listed, short_model};
use super::number;
use super::status::daemon;
use crate::client::Connection;
use crate::connect::Target;
use crate::failure::{Failure, print};
use crate::listen::{self, Event};
use crate::style::Style;

/// Options of `cancel`.
#[derive(Debug, Args)]
#[command(after_help = "A queued job ends at once. One that runs stops at its next token, or the next part
of a file that it loads: this command waits for that, at most 30 s. What it has
measured until then is its result: `slmscope result JOB`.

Exit codes: 0 the job has ended, or with --no-wait is asked to; 1 there is no such
job, it is somebody else's, or it has not ended in time; 2 wrong flags.")]
pub struct CancelArgs {
    /// Number of the job, as `slmscope jobs` lists it
    #[arg(value_parser = number::long)]
    job: JobId,
    /// Return at once, while the job is still ending
    #[arg(long)]
    no_wait: bool,
    /// Do not ask before another user's job is ended
    #[arg(long)]
    yes: bool,
}

/// Time that a job has to end, once it is asked to: it looks after each token, and a slow machine may take seconds for one.
const ENDS_WITHIN: Duration = Duration::from_secs(30);

/// Cancels a job, waits until it has ended, and says which it was. Asks first if it is another user's.
///
/// # Errors
/// If there is no such job, it belongs to another user, the user does not want to, or it does not end in time.
pub fn run(args: &CancelArgs, target: &Target) -> Result<ExitCode, Failure> {
    let mut connection = daemon(target)?;
    let (job, style) = (args.job, Style::of_stdout());
    let Listed { jobs, results } = listed(&mut connection)?;
    let before = jobs.into_iter().find(|known| known.job == job);
    if let Some(said) =
        results.iter().find(|kept| kept.job == job).filter(|_| before.is_none()).map(had_ended)
    {
        print(&(style.wrap_words(&said, 0) + "\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let uid = connection.hello.client_uid.unwrap_or_else(|| rustix::process::geteuid().as_raw());
    if let Some(before) = before.as_ref().filter(|before| args.asks(before, uid)) {
        confirm(&describe(before, Now::read()))?;
    }
    if !args.no_wait {
        connection.call(Method::Subscribe(Subscribe::states()), &[])??;
    }
    let answer = connection.call(Method::Cancel { job }, &[])??;
    let after: Job = serde_json::from_value(answer)
        .map_err(|error| Failure::error(format!("the daemon's answer cannot be read: {error}")))?;
    if let Some(had_ended) = before.as_ref().filter(|before| before.state.is_final()) {
        print(&outcome(had_ended, had_ended, Now::read(), style))?;
        return Ok(ExitCode::SUCCESS);
    }
    // As it was before it was asked to end; a job that came in between was as it is.
    let was = before.unwrap_or_else(|| after.clone());
    if after.state.is_final() {
        print(&outcome(&was, &after, Now::read(), style))?;
        return Ok(ExitCode::SUCCESS);
    }
    if args.no_wait {
        print(&format!("ending {}: it stops at its next token\n", describe(&was, Now::read())))?;
        return Ok(ExitCode::SUCCESS);
    }
    note_line!("slmscope: ending: job {job} stops at its next token");
    let ended = wait(connection, job)?;
    print(&outcome(&was, &ended, Now::read(), style))?;
    Ok(ExitCode::SUCCESS)
}

/// Waits until `job`, which was asked to end, has ended.
fn wait(connection: Connection, job: JobId) -> Result<Job, Failure> {
    // A signal ends this process as any other: the job ends without it.
    let events = listen::frames(connection)?;
    let end = Instant::now() + ENDS_WITHIN;
    ended(job, || events.recv_timeout(end.saturating_duration_since(Instant::now())))
}

/// The job's last state among the events that `next` waits for.
fn ended(job: JobId, mut next: impl FnMut() -> Result<Event, RecvTimeoutError>) -> Result<Job, Failure> {
    loop {
        match next() {
            Ok(Event::Frame(frame)) => {
                if let Frame::Talk(Talk::Job(changed)) = *frame
                    && changed.job == job
                    && changed.state.is_final()
                {
                    return Ok(*changed);
                }
            }
            Ok(Event::Gone(reason)) => {
                return Err(Failure::error(
                    reason.unwrap_or_else(|| "the daemon is gone, and its jobs with it".to_owned()),
                ));
            }
            Ok(_) => {}
            Err(_) => {
                let seconds = ENDS_WITHIN.as_secs();
                return Err(Failure::error(format!(
                    "job {job} is asked to end and has not within {seconds} s; `slmscope jobs` shows whether it has"
                )));
            }
        }
    }
}

/// What is said of a job of an earlier daemon, of which the result is kept.
fn had_ended(KeptResult { job, model, state, .. }: &KeptResult) -> String {
    format!("job {job} ({}) had ended already: {}", short_model(model), state.as_str())
}

/// What became of a job that `was` so and has `ended`.
fn outcome(was: &Job, ended: &Job, now: Now, style: Style) -> String {
    let (job, described) = (ended.job, describe(was, now));
    let has_measured = [was, ended].iter().any(|job| job.repetition.is_some() || job.turns > 0);
    let said = match (was.state, ended.state) {
        (state, _) if state.is_final() => {
            format!("job {job} ({}) had ended already: {}", short_model(&was.model), state.as_str())
        }
        (JobState::Queued, JobState::Cancelled) => format!("cancelled {described}"),
        (_, JobState::Cancelled) if has_measured => {
            format!("cancelled {described}; `slmscope result {job}` prints what it had measured")
        }
        (_, JobState::Cancelled) => format!("cancelled {described}; it had measured nothing yet"),
        (_, state) => format!("{described} ended by itself before that: {}", state.as_str()),
    };
    style.wrap_words(&said, 0) + "\n"
}

impl CancelArgs {
    /// Whether user `uid`, who cancels `job`, is asked first: root ends a job of somebody else. Others may not, and the
    /// daemon tells them.
    fn asks(&self, job: &Job, uid: u32) -> bool {
        !self.yes && uid == 0 && job.uid != 0 && !job.state.is_final()
    }
}

/// Asks on the terminal whether another user's job is to end.
fn confirm(job: &str) -> Result<(), Failure> {
    if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        return Err(Failure::usage(format!("{job} is another user's: --yes cancels it without asking")));
    }
    note!("{job} is another user's. Cancel it? [y/N] ");
    let _ = std::io::stderr().flush();
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    let is_yes = read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes");
    if is_yes { Ok(()) } else { Err(Failure::error("nothing was cancelled")) }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::jobs::tests::{NOW, job};
    use super::*;
    use crate::pinned;

    /// It said "cancelled" while the job was still measuring.
    #[test]
    fn cancel_waits_for_the_jobs_end_and_says_what_it_did() {
        let frame = |job: Job| Ok(Event::Frame(Box::new(Talk::Job(Box::new(job)).into())));
        let wait = |events: Vec<Result<Event, RecvTimeoutError>>| {
            let mut events = events.into_iter();
            ended(3, || events.next().unwrap_or(Err(RecvTimeoutError::Timeout)))
        };
        let cancelled = job(3, JobState::Cancelled);
        let found = wait(vec![
            Ok(Event::Answer),
            frame(job(2, JobState::Done)),
            frame(job(3, JobState::Measuring)),
            frame(cancelled.clone()),
        ]);
        assert_eq!(found.unwrap(), cancelled);
        let failed = |events| wait(events).unwrap_err().message.unwrap();
        let told = failed(vec![frame(job(3, JobState::Measuring))]);
        assert!(told.starts_with("job 3 is asked to end and has not within 30 s; `slmscope jobs`"), "{told}");
        assert_eq!(failed(vec![Ok(Event::Gone(None))]), "the daemon is gone, and its jobs with it");

        let was = Job { repetition: Some(0), ..job(3, JobState::Measuring) };
        let loading = job(3, JobState::Loading);
        assert!(
            outcome(&loading, &cancelled, NOW, Style::plain()).ends_with("it had measured nothing yet\n")
        );
        assert_eq!(
            outcome(&was, &cancelled, NOW, Style::plain()),
            "cancelled job 3 (smollm2-135m, measuring, submitted by 4294967294 12 s ago); `slmscope result 3` prints \
             what it had measured\n"
        );
        assert_eq!(
            outcome(&job(3, JobState::Queued), &cancelled, NOW, Style::plain()),
            "cancelled job 3 (smollm2-135m, queued, submitted by 4294967294 12 s ago)\n"
        );
        let done = job(3, JobState::Done);
        let began = [was.clone(), job(3, JobState::Queued), was.clone(), done.clone()];
        let ends = [&cancelled, &cancelled, &done, &done];
        let said: String =
            began.iter().zip(ends).map(|(was, end)| outcome(was, end, NOW, pinned::terminal())).collect();
        pinned::check("cancel.txt", &said);
        assert!(
            outcome(&was, &done, NOW, Style::plain())
                .ends_with("12 s ago) ended by itself before that: done\n")
        );
        assert_eq!(
            outcome(&done, &done, NOW, Style::plain()),
            "job 3 (smollm2-135m) had ended already: done\n"
        );
    }

    /// It said that there is no such job, beside `slmscope jobs`, which lists it.
    #[test]
    fn a_job_of_an_earlier_daemon_had_ended() {
        let kept = KeptResult {
            job: 2,
            run_id: "18f-2".to_owned(),
            model: "/models/a\u{1b}.gguf".to_owned(),
            uid: 0,
            state: JobState::Done,
            unix_s: 0,
            bytes: 1,
        };
        assert_eq!(had_ended(&kept), "job 2 (a.gguf) had ended already: done");
    }

    #[test]
    fn only_who_may_end_another_users_job_is_asked_and_only_while_it_runs() {
        let args = CancelArgs { job: 3, no_wait: false, yes: false };
        let running = job(3, JobState::Measuring);
        assert!(args.asks(&running, 0));
        assert!(!args.asks(&job(3, JobState::Done), 0));
        assert!(!args.asks(&Job { uid: 0, ..running.clone() }, 0));
        assert!(!args.asks(&running, 1000), "the daemon refuses");
    }

    /// Whether root is asked before somebody else's job is cancelled.
    pub fn asked(args: &CancelArgs) -> String {
        let is_asked = args.asks(&job(args.job, JobState::Measuring), 0);
        if is_asked { "asks first" } else { "cancels" }.to_owned()
    }
}
