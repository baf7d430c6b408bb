//! `slmscope jobs`, and jobs in words.

use std::process::{ExitCode, Stdio};

use serde::{Deserialize, Serialize};
use slmscope_profiles::display;
use slmscope_profiles::job::{Job, JobState};
use slmscope_profiles::kept::KeptResult;
use slmscope_profiles::wire::Method;

use super::status::StatusArgs;
use crate::client::Connection;
use crate::clock;
use crate::connect::{self, Target};
use crate::failure::{Failure, print, print_json};
use crate::style::Style;
use crate::table::{Align, Table};
use crate::user;
use crate::width::{columns, cut};

/// Columns of a model's name; longer ones, such as paths, are cut.
const MODEL_COLUMNS: usize = 24;
/// The same in tables that are else too wide.
const LESS_MODEL_COLUMNS: [usize; 3] = [20, 16, 12];

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

/// A job in a few words: `job 3 (smollm2-135m, measuring, submitted by anna 12 s ago)`.
pub fn describe(job: &Job, now: Now) -> String {
    let state = job.state.as_str();
    let age = job.submitted_ns.map(|ns| format!(" {} ago", now.since(ns))).unwrap_or_default();
    let (model, user) = (short_model(&job.model), user::name(job.uid));
    format!("job {} ({model}, {state}, submitted by {user}{age})", job.job)
}

/// The time by the clocks that jobs and files carry.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    monotonic_ns: u64,
    unix_s: u64,
}

impl Now {
    /// The time now, where the daemon is.
    pub fn read() -> Self {
        let wall = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
        Self { monotonic_ns: clock::daemon_ns(), unix_s: wall.tv_sec as u64 }
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
    use slmscope_profiles::job::{JobId, Progress};
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
            "job 3 (smollm2-135m, measuring, submitted by 4294967294 12 s ago)"
        );
        assert_eq!(
            describe(&Job { submitted_ns: None, ..job(3, JobState::Queued) }, NOW),
            "job 3 (smollm2-135m, queued, submitted by 4294967294)"
        );
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
