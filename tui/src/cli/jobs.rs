//! `slmscope jobs` and `slmscope cancel`.

use std::io::{IsTerminal, Write as _};
use std::process::{ExitCode, Stdio};
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use clap::Args;
use serde::{Deserialize, Serialize};
use slmscope_profiles::display;
use slmscope_profiles::job::{Job, JobId, JobState};
use slmscope_profiles::kept::KeptResult;
use slmscope_profiles::wire::{Frame, Method, Subscribe, Talk};

use super::number;
use super::status::{StatusArgs, daemon};
use crate::client::Connection;
use crate::connect::{self, Target};
use crate::failure::{Failure, print, print_json};
use crate::listen::{self, Event};
use crate::style::Style;
use crate::table::{Align, Table};
use crate::user;
use crate::width::{columns, cut};

/// Columns of a model's name; longer ones, such as paths, are cut.
const MODEL_COLUMNS: usize = 24;
/// The same in tables that are else too wide.
const LESS_MODEL_COLUMNS: [usize; 3] = [20, 16, 12];

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

/// What the daemon answers to the request `jobs`.
#[derive(Debug, Deserialize)]
pub struct Listed {
    /// Those that wait or run, and the last ones that ended.
    pub jobs: Vec<Job>,
    /// Results that are kept, also of earlier daemons.
    #[serde(default)]
    pub results: Vec<KeptResult>,
}

/// Asks the daemon for its jobs.
///
/// # Errors
/// If it is gone, or its answer cannot be read.
pub fn listed(connection: &mut Connection) -> Result<Listed, Failure> {
    let answer = connection.call(Method::Jobs {}, &[])??;
    serde_json::from_value(answer)
        .map_err(|error| Failure::error(format!("the daemon's jobs cannot be read: {error}")))
}

/// Lists the daemon's jobs, and the results that it keeps. Without a running daemon, one is started to read these.
///
/// # Errors
/// If the daemon that is named does not answer.
pub fn jobs(args: &StatusArgs, target: &Target) -> Result<ExitCode, Failure> {
    #[derive(Serialize)]
    struct Document {
        schema: &'static str,
        /// Whether a daemon runs; without one there are no jobs, only results that were kept.
        daemon: bool,
        jobs: Vec<Job>,
        results: Vec<KeptResult>,
    }
    let mut attached = connect::attach(target, false, Stdio::inherit)?;
    let is_running = attached.private.is_none();
    let Listed { jobs, results } = listed(&mut attached.connection)?;
    drop(attached);
    if args.json() {
        print_json(&Document { schema: "slmscope.jobs/1", daemon: is_running, jobs, results })?;
    } else {
        if !is_running {
            note_line!("slmscope: no daemon is running, so no jobs are; these are the results that are kept");
        }
        print(&table(&jobs, &results, Now::read(), Style::of_stdout()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Time that a job has to end, once it is asked to: it looks after each token, and a slow machine may take seconds for one.
const ENDS_WITHIN: Duration = Duration::from_secs(30);

/// Cancels a job, waits until it has ended, and says which it was. Asks first if it is another user's.
///
/// # Errors
/// If there is no such job, it belongs to another user, the user does not want to, or it does not end in time.
pub fn cancel(args: &CancelArgs, target: &Target) -> Result<ExitCode, Failure> {
    let mut connection = daemon(target)?;
    let (job, style) = (args.job, Style::of_stdout());
    let before = listed(&mut connection)?.jobs.into_iter().find(|known| known.job == job);
    let uid = rustix::process::geteuid().as_raw();
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
                    return Ok(changed);
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

/// A job in a few words: `job 3 (smollm2-135m, measuring, started by anna 12 s ago)`.
fn describe(job: &Job, now: Now) -> String {
    let state = match job.state {
        JobState::Queued => "queued".to_owned(),
        state => format!("{}, started", state.as_str()),
    };
    let age = job.submitted_ns.map(|ns| format!(" {} ago", now.since(ns))).unwrap_or_default();
    format!("job {} ({}, {state} by {}{age})", job.job, short_model(&job.model), user::name(job.uid))
}

/// The time by the clocks that jobs and files carry.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    monotonic_ns: u64,
    unix_s: u64,
}

impl Now {
    /// The time now.
    pub fn read() -> Self {
        let monotonic = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let wall = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
        Self {
            monotonic_ns: monotonic.tv_sec as u64 * 1_000_000_000 + monotonic.tv_nsec as u64,
            unix_s: wall.tv_sec as u64,
        }
    }

    /// Time since a moment of CLOCK_MONOTONIC, in whole seconds.
    fn since(self, ns: u64) -> String {
        age(self.monotonic_ns.saturating_sub(ns) / 1_000_000_000)
    }
}

/// An age in its largest unit.
pub fn age(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// Text of a client or a file without control characters.
pub fn plain(text: &str) -> String {
    display::printable(text).into_owned()
}

/// The last part of a path, as far as it fits.
pub fn short_model(model: &str) -> String {
    shorter_model(model, MODEL_COLUMNS)
}

/// The last part of a path, in at most `room` columns.
pub fn shorter_model(model: &str, room: usize) -> String {
    let model = plain(model.trim_end_matches('/').rsplit('/').next().unwrap_or(model));
    if columns(&model) <= room { model } else { format!("{}…", cut(&model, room - 1)) }
}

/// Jobs, and below them kept results of which the daemon knows no job any more.
pub fn table(jobs: &[Job], results: &[KeptResult], now: Now, style: Style) -> String {
    let of = |room| table_of(jobs, results, now, style, room);
    let fits = |text: &String| text.lines().all(|line| !style.overflows(columns(line)));
    let widest = of(MODEL_COLUMNS);
    if fits(&widest) {
        return widest;
    }
    LESS_MODEL_COLUMNS.into_iter().map(of).find(fits).unwrap_or(widest)
}

/// The table with `room` columns for a model's name.
fn table_of(jobs: &[Job], results: &[KeptResult], now: Now, style: Style, room: usize) -> String {
    let older = || results.iter().filter(|kept| jobs.iter().all(|job| job.job != kept.job));
    if jobs.is_empty() && older().next().is_none() {
        return "no jobs\n".to_owned();
    }
    let mut table = Table::new(&[
        ("job", Align::Right),
        ("state", Align::Left),
        ("model", Align::Left),
        ("user", Align::Left),
        ("age", Align::Right),
        ("", Align::Left),
    ]);
    for kept in older() {
        table.row([
            kept.job.to_string(),
            kept.state.as_str().to_owned(),
            shorter_model(&kept.model, room),
            user::name(kept.uid),
            age(now.unix_s.saturating_sub(kept.unix_s)),
            "result kept".to_owned(),
        ]);
    }
    for job in jobs {
        let begin = job.ended_ns.or(job.submitted_ns);
        let is_kept = results.iter().any(|kept| kept.job == job.job);
        table.row([
            job.job.to_string(),
            job.state.as_str().to_owned(),
            shorter_model(&job.model, room),
            user::name(job.uid),
            display::or_absent(begin, |ns| now.since(ns)),
            progress(job, is_kept),
        ]);
    }
    let is_unknown = |job: &Job| job.ended_ns.or(job.submitted_ns).is_none();
    let note = if jobs.iter().any(is_unknown) {
        "  —: the daemon, of an older version, does not tell it\n"
    } else {
        ""
    };
    table.render(style) + note
}

/// How far a job is, or how it ended.
fn progress(job: &Job, is_kept: bool) -> String {
    let mut parts = Vec::new();
    if job.workload.looped {
        parts.push(match job.state {
            JobState::Queued => "loop".to_owned(),
            state if state.is_final() => format!("loop, {}", display::plural(job.turns.into(), "turn")),
            _ => format!("loop, turn {}", job.turns + 1),
        });
    }
    match job.state {
        JobState::Queued => parts.push(format!("{} before it", display::plural(job.ahead.into(), "job"))),
        state if state.is_final() => {
            parts.extend(job.error.as_deref().map(plain));
            parts.extend(is_kept.then(|| "result kept".to_owned()));
        }
        _ => {
            if let Some(repetition) = job.repetition {
                let of = job.workload.repetitions.map(|all| format!(" of {all}")).unwrap_or_default();
                parts.push(format!("repetition {}{of}", repetition + 1));
            }
            parts.extend(job.progress.as_ref().map(|progress| {
                let phase = progress.phase.as_str();
                match progress.total.filter(|&total| total > 0) {
                    Some(total) => {
                        format!("{phase} {}", display::rough_share(progress.done as f64 / total as f64))
                    }
                    None => phase.to_owned(),
                }
            }));
        }
    }
    parts.join(", ")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::pinned;
    use slmscope_profiles::job::Progress;
    use slmscope_profiles::model::ModelSource;
    use slmscope_profiles::phase::Phase;
    use slmscope_profiles::workload::Workload;

    pub const NOW: Now = Now { monotonic_ns: 100_000_000_000, unix_s: 1_000_000 };

    pub fn job(job: JobId, state: JobState) -> Job {
        Job {
            job,
            model: "smollm2-135m".to_owned(),
            source: ModelSource::Synthetic,
            format: None,
            files: Vec::new(),
            workload: Workload { repetitions: Some(5), ..Workload::default() },
            // No user has this number.
            uid: 4_294_967_294,
            state,
            ahead: 0,
            repetition: None,
            turns: 0,
            worker: None,
            error: None,
            submitted_ns: Some(88_000_000_000),
            ended_ns: None,
            progress: None,
        }
    }

    #[test]
    fn jobs_show_how_far_they_are_and_results_of_earlier_daemons_too() {
        let progress = Progress { job: 3, phase: Phase::Decode, done: 41, total: Some(100) };
        let measuring =
            Job { repetition: Some(1), progress: Some(Box::new(progress)), ..job(3, JobState::Measuring) };
        let failed = Job {
            model: "/home/anna/models/\u{1b}[31mSmolLM2-135M-Instruct.Q4_1.gguf".to_owned(),
            error: Some("the worker was ended by signal 9".to_owned()),
            ended_ns: Some(99_000_000_000),
            ..job(2, JobState::Failed)
        };
        let looped = Workload { looped: true, repetitions: None, ..Workload::default() };
        let looping = Job { workload: looped, turns: 4, ..job(4, JobState::Cooling) };
        let queued = Job { ahead: 2, ..job(5, JobState::Queued) };
        let kept = |job, state| KeptResult {
            job,
            run_id: format!("18f-{job}"),
            model: "smollm2-135m".to_owned(),
            uid: 4_294_967_294,
            state,
            unix_s: 1_000_000 - 3 * 3600,
            bytes: 1,
        };
        let results = [kept(1, JobState::Done), kept(2, JobState::Failed)];
        let jobs = [failed, measuring, looping, queued];
        pinned::check("jobs.txt", &table(&jobs, &results, NOW, pinned::terminal()));
        let text = table(&jobs, &results, NOW, Style::plain());
        let lines: Vec<_> =
            text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(
            lines,
            [
                "job state model user age",
                "1 done smollm2-135m 4294967294 3 h result kept",
                "2 failed [31mSmolLM2-135M-Instru… 4294967294 1 s the worker was ended by signal 9, result kept",
                "3 measuring smollm2-135m 4294967294 12 s repetition 2 of 5, decode 41 %",
                "4 cooling smollm2-135m 4294967294 12 s loop, turn 5",
                "5 queued smollm2-135m 4294967294 12 s 2 jobs before it",
            ]
        );
        assert_eq!(table(&[], &[], NOW, Style::plain()), "no jobs\n");
    }

    #[test]
    fn a_cancelled_job_is_described_by_model_state_user_and_age() {
        assert_eq!(
            describe(&job(3, JobState::Measuring), NOW),
            "job 3 (smollm2-135m, measuring, started by 4294967294 12 s ago)"
        );
        assert_eq!(
            describe(&Job { submitted_ns: None, ..job(3, JobState::Queued) }, NOW),
            "job 3 (smollm2-135m, queued by 4294967294)"
        );
    }

    /// It said "cancelled" while the job was still measuring.
    #[test]
    fn cancel_waits_for_the_jobs_end_and_says_what_it_did() {
        let frame = |job: Job| Ok(Event::Frame(Box::new(Talk::Job(job).into())));
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
            "cancelled job 3 (smollm2-135m, measuring, started by 4294967294 12 s ago); `slmscope result 3` prints \
             what it had measured\n"
        );
        assert_eq!(
            outcome(&job(3, JobState::Queued), &cancelled, NOW, Style::plain()),
            "cancelled job 3 (smollm2-135m, queued by 4294967294 12 s ago)\n"
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

    #[test]
    fn ages_have_one_unit() {
        for (seconds, text) in
            [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7_200, "2 h"), (172_800, "2 days")]
        {
            assert_eq!(age(seconds), text);
        }
    }
}
