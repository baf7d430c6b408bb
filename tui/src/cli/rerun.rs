//! `slmscope rerun`: what a session ran, once more and here, and what became faster or slower.

use std::path::PathBuf;
use std::process::{ExitCode, Stdio};

use clap::Args;
use slmscope_profiles::host::Host;
use slmscope_profiles::job::Job;
use slmscope_profiles::kept::Wanted;
use slmscope_profiles::result::{RunResult, RunStatus};
use slmscope_profiles::workload::Workload;

use super::diff::{self, DiffArgs};
use super::run::recorded::{self, Recorded, Recorder};
use crate::connect::{self, Target};
use crate::failure::Failure;
use crate::session_source::SessionSource;
use crate::trace_file;

/// Options of `rerun`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  slmscope rerun 7                           again on this machine, and then diff
  slmscope rerun orangepi.mcap               what another board ran, here
  slmscope rerun orangepi.mcap ~/models/a.gguf   with the file where it lies here

Everything is as it was used: tokens, seed, repetitions, threads, formats. What
this machine cannot do is refused: more threads than 4 for each CPU, an
instruction set or an executor that it does not have, a model that does not fit.
On another machine times are of that machine, and the comparison says so. A model
file must have the same content.

Exit codes: 0 same, faster or cannot tell, 1 error, 2 wrong flags, 3 another
model, 4 slower, 130 interrupted.")]
pub struct RerunArgs {
    /// The session to run again, by number, `latest` or file
    #[arg(value_name = "SESSION")]
    session: SessionSource,
    /// Where the model lies here [default: where the session had it]
    #[arg(value_name = "MODEL")]
    model: Option<String>,
    /// Record the new run into this file [default: the daemon records it as a session]
    #[arg(short = 'o', long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace the file if it exists
    #[arg(long, requires = "output")]
    force: bool,
    /// Print the comparison as one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the session's last run again and compares the two.
///
/// # Errors
/// If the session does not say what ran, it cannot run here, or it fails; with exit code 3 if the model is another one, 4
/// if it is slower.
pub fn run(args: &RerunArgs, target: &Target) -> Result<ExitCode, Failure> {
    // It stays open to the end, so that the new recording cannot replace it.
    let _held = args.session.open(target)?;
    let mut session = args.session.read(target)?;
    let (_, old) = session.take_last_run().ok_or_else(|| args.session.failed(&"no job is in it"))?;
    let (Some(job), Some(before)) = (old.job, old.result) else {
        let problem = "it ends before the job's result, which says what ran and how; record it again";
        return Err(args.session.failed(&problem));
    };
    let workload = again(&job, &before).map_err(|problem| args.session.failed(&problem))?;
    let name = args.model.clone().unwrap_or_else(|| job.to_submit().model.name().to_owned());
    let chosen =
        recorded::choose(target, &name, &workload).map_err(|failure| named(failure, args.model.is_none()))?;
    if let Some(path) = args.output.as_ref().filter(|path| !args.force && path.exists()) {
        return Err(trace_file::exists(path));
    }
    let recorder = args.output.as_deref().map_or(Recorder::Daemon, Recorder::File);
    let attached = connect::attach(target, false, Stdio::inherit)?;
    let Recorded { result, ended } = recorded::run(attached, chosen, workload, recorder)?;
    ended?;
    let Some(result) = result.filter(|result| result.status == RunStatus::Complete) else {
        return Err(Failure::error("the run ended without a result"));
    };
    check_model(&before, &result)?;
    let new = match (&args.output, result.recorded.session) {
        (Some(path), _) => SessionSource::File(path.clone()),
        (None, Some(session)) => SessionSource::Kept(Wanted::Job(session)),
        (None, None) => {
            let reason = result.recorded.error.as_deref().unwrap_or("the daemon records nothing");
            return Err(Failure::error(format!("{reason}: name a file for the new run with --output")));
        }
    };
    if let Some(machines) = machines(before.host.as_ref(), result.host.as_ref()) {
        note_line!("slmscope: {machines}");
    }
    // The latest one is the new one by now.
    let old = match &args.session {
        SessionSource::Kept(Wanted::Latest {}) => SessionSource::Kept(Wanted::Job(job.job)),
        other => other.clone(),
    };
    diff::run(&DiffArgs::of_rerun(old, new, args.json), target)
}

/// Why a session cannot be run again.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum CannotRepeat {
    #[error("its prompt is longer than 64 KiB, of which the session keeps the beginning alone")]
    TextIsCut,
    #[error("it failed, so there is nothing to compare with: {0}")]
    Failed(String),
}

/// The options as they were used: what was left to the machine then is asked for now.
fn again(job: &Job, before: &RunResult) -> Result<Workload, CannotRepeat> {
    if before.status == RunStatus::Failed {
        let reason = before.error.clone().unwrap_or_else(|| "no reason is known".to_owned());
        return Err(CannotRepeat::Failed(reason));
    }
    if job.workload.is_cut() {
        return Err(CannotRepeat::TextIsCut);
    }
    Ok(Workload {
        threads: before.engine.threads,
        kv: before.workload.kv.or(job.workload.kv),
        repetitions: job.workload.repetitions,
        // One turn of a loop is what the result is of.
        looped: false,
        pause: 0,
        ..job.workload.clone()
    })
}

/// Adds how to name the model, where it was the session that named it.
fn named(failure: Failure, by_session: bool) -> Failure {
    let message = failure.message.map(|message| {
        if by_session { format!("{message}; name the model: slmscope rerun SESSION MODEL") } else { message }
    });
    Failure { message, ..failure }
}

/// Refuses to compare runs of two models.
fn check_model(before: &RunResult, after: &RunResult) -> Result<(), Failure> {
    let (Some(old), Some(new)) = (&before.model.hash, &after.model.hash) else { return Ok(()) };
    if old == new {
        return Ok(());
    }
    let message =
        "the model is not the one of the session: its content is another; the new run is recorded".to_owned();
    Err(Failure { message: Some(message), code: ExitCode::from(3) })
}

/// Says that the two ran on different machines; `None` if it was the same one.
fn machines(before: Option<&Host>, after: Option<&Host>) -> Option<String> {
    let name = |host: &Host| {
        let cpu = host.cpu_model.as_deref().unwrap_or("a CPU without a name");
        let name = host.name.as_deref().unwrap_or("a machine without a name");
        format!("{name} ({cpu}, {} CPUs)", host.logical_cpus)
    };
    let (before, after) = (name(before?), name(after?));
    (before != after).then(|| format!("A ran on {before}, B on {after}"))
}

#[cfg(test)]
mod tests {
    use slmscope_profiles::format::KvFormat;
    use slmscope_profiles::job::JobState;

    use super::*;
    use crate::cli::run::tests::job;
    use crate::pinned;

    #[test]
    fn what_was_left_to_the_machine_is_asked_for_again_as_it_was_used() {
        let job = Job {
            workload: Workload { prompt: 256, looped: true, pause: 3, ..Workload::default() },
            ..job(JobState::Done)
        };
        let again = again(&job, &pinned::run()).unwrap();
        assert_eq!((again.threads, again.kv), (Some(2), Some(KvFormat::F16)));
        assert_eq!((again.prompt, again.repetitions, again.looped, again.pause), (256, None, false, 0));
    }

    #[test]
    fn what_cannot_be_repeated_is_refused_with_the_reason() {
        let text = Some("é".repeat(1 << 20));
        let long = Workload { prompt_text: text, ..Workload::default() }.shown();
        let cut = Job { workload: long, ..job(JobState::Done) };
        assert_eq!(again(&cut, &pinned::run()), Err(CannotRepeat::TextIsCut));
        let mut failed = pinned::run();
        (failed.status, failed.error) = (RunStatus::Failed, Some("no memory".to_owned()));
        assert_eq!(again(&job(JobState::Done), &failed), Err(CannotRepeat::Failed("no memory".to_owned())));
        let mut other = pinned::run();
        other.model.hash = Some("00".to_owned());
        assert!(check_model(&pinned::run(), &other).is_err() && check_model(&other, &other).is_ok());
    }

    #[test]
    fn another_machine_is_named() {
        let here = pinned::run().host;
        let there = here.clone().map(|host| Host { name: Some("pi".to_owned()), ..host });
        assert_eq!(machines(here.as_ref(), here.as_ref()), None);
        let told = machines(here.as_ref(), there.as_ref()).unwrap();
        assert!(told.starts_with("A ran on bench-1 (Example CPU 2-Core, 2 CPUs), B on pi ("), "{told}");
    }
}
