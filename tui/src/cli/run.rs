//! `slmscope run` and `slmscope submit`.

mod files;
mod follow;
mod options;
mod progress;
mod prompt_file;
pub mod recorded;
mod stream;
mod waiting;

use std::io::IsTerminal;
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::process::{ExitCode, Stdio};

use clap::Args;
use serde::Serialize;
use slmscope_profiles::admission::ModelFacts;
use slmscope_profiles::catalogue;
use slmscope_profiles::display::{self, printable};
use slmscope_profiles::job::{JobId, ModelRef};
use slmscope_profiles::result::{self, RunStatus};
use slmscope_profiles::wire::{Method, Submit};
use slmscope_profiles::workload::Workload;

use self::files::FileOptions;
use self::options::JobOptions;
use crate::connect::{self, Target};
use crate::embedded;
use crate::failure::{Failure, print, print_json};
use crate::model_source::{self, ChosenModel};
use crate::report::{self, Form};
use crate::session::{WatchedJob, in_a_loop};
use crate::style::Style;

/// Options of `run`.
#[derive(Debug, Clone, Default, Args)]
#[command(after_help = "Examples:
  slmscope run                                       the default model and sizes
  slmscope run smollm2-135m --prompt 512 --generate 128
  slmscope run model.gguf --prompt-text 'The capital of France is' -n 24
  slmscope run hf:org/name:model.gguf --chat 'Why is the sky blue?'
  slmscope run qwen2-0.5b -p 0 -n 64 -t 4            decode only
  slmscope run --json | jq .summary
  slmscope run --record a.mcap                       for `slmscope sessions` and `slmscope diff`
  slmscope run --trace a.pftrace                     a time line for ui.perfetto.dev
  slmscope run --html a.html                         the report as a page, to send on

-m -p -n -d -t -r mean the same as in llama-bench.
Exit codes: 0 success, 1 error, 2 wrong flags, 130 interrupted.")]
pub struct RunArgs {
    #[command(flatten)]
    job: JobOptions,
    /// Start a private daemon even if one is running
    #[arg(long)]
    private: bool,
    /// Queue the job on the running daemon, print its number and return
    #[arg(long, conflicts_with = "private")]
    detach: bool,
    #[command(flatten)]
    shown: Shown,
    #[command(flatten)]
    files: FileOptions,
    /// Keep no session of it: without this the daemon records every run, see `slmscope sessions`
    #[arg(long)]
    no_record: bool,
}

/// How the result is printed.
#[derive(Debug, Clone, Copy, Default, Args)]
struct Shown {
    /// Print every table, not only what matters
    #[arg(long, conflicts_with_all = ["detach", "json"])]
    full: bool,
    /// Print the result as one JSON object; with --detach, the job's number
    #[arg(long)]
    json: bool,
}

/// Options of `submit`.
#[derive(Debug, Clone, Default, Args)]
pub struct SubmitArgs {
    #[command(flatten)]
    job: JobOptions,
    /// Keep no session of it: without this the daemon records every job, see `slmscope sessions`
    #[arg(long)]
    no_record: bool,
    /// Print the job's number as one JSON object
    #[arg(long)]
    json: bool,
}

/// What the flags ask for, whatever the model is.
#[derive(Debug)]
struct Asked {
    workload: Workload,
    /// On a daemon of its own.
    private: bool,
    /// The job's number is all that is shown.
    detach: bool,
    record: Record,
    json: bool,
    /// Of the report.
    form: Form,
}

/// What the daemon keeps of a run beside its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Record {
    Session,
    Nothing,
}

impl Record {
    fn unless(no_record: bool) -> Self {
        if no_record { Self::Nothing } else { Self::Session }
    }
}

/// The model that `options` name, on which each of their flags has an effect.
fn choose(options: &JobOptions, workload: &Workload, target: &Target) -> Result<ChosenModel, Failure> {
    let name = options.model();
    // Before it is downloaded.
    if let Some(source) = name.and_then(model_source::source_by_name) {
        options.check_source(workload, source)?;
    }
    let chosen = model_source::choose_on(target, name)?;
    if matches!(chosen.model, ModelRef::Path(_)) {
        // What is there only the host knows.
        return Ok(chosen);
    }
    options.check_source(workload, chosen.model.source())?;
    check_model(&chosen, workload, |field| options.flag(field))?;
    Ok(chosen)
}

/// Checks that the model can run the workload, so that a job which cannot run is never queued. `flag` names the flag of a
/// field.
fn check_model(
    chosen: &ChosenModel,
    workload: &Workload,
    flag: impl Fn(&str) -> String,
) -> Result<(), Failure> {
    let facts = match &chosen.model {
        ModelRef::Catalogue(id) => catalogue::find(id).ok().map(ModelFacts::of_catalogue),
        _ => embedded::facts(chosen, workload.format),
    };
    let Some(facts) = facts else { return Ok(()) };
    let refused = facts.check(workload);
    refused.map_err(|refused| Failure::usage(format!("{}: {}", flag(refused.field), refused.problem)))
}

/// Runs one workload and prints its report.
///
/// # Errors
/// If the job cannot run or does not complete.
pub fn run(args: &RunArgs, target: &Target) -> Result<ExitCode, Failure> {
    let asked = args.asked(target)?;
    let chosen = choose(&args.job, &asked.workload, target)?;
    if asked.detach {
        return queue(asked, chosen, target);
    }
    let files = args.files.create()?;
    let attached = connect::attach(target, asked.private, Stdio::inherit)?;
    let progress = progress::Progress::new(asked.json);
    let submit =
        Submit { record: asked.record == Record::Session, ..Submit::new(chosen.model, asked.workload) };
    // A terminal shows text while it is generated; a file and a pipe get it with the report.
    let is_shown = !asked.json && std::io::stdout().is_terminal();
    let stream = is_shown.then(|| stream::TextStream::new(std::io::stdout()));
    follow::follow(attached, submit, chosen.files, progress, stream, files, |result, is_streamed| {
        if asked.json {
            return print_json(result);
        }
        // A run that measured nothing has only its error to report.
        let is_void = result.status != RunStatus::Complete && result.ops.is_empty();
        if is_void {
            return Ok(());
        }
        let render = if is_streamed { report::render } else { report::with_text };
        print(&render(result, asked.form, Style::of_stdout()))?;
        note_recorded(&result.recorded);
        Ok(())
    })
}

/// Says where the daemon recorded the run, and why not to its end.
fn note_recorded(recorded: &result::Recorded) {
    if let Some(session) = recorded.session {
        note_line!("slmscope: recorded as session {session}: see `slmscope sessions info {session}`");
    }
    if let Some(reason) = &recorded.error {
        note_line!("slmscope: the run is not recorded to its end: {}", printable(reason));
    }
}

impl RunArgs {
    fn asked(&self, target: &Target) -> Result<Asked, Failure> {
        if let Some(flag) = target.names_a_daemon().filter(|_| self.private) {
            let problem = format!("starts a daemon of its own, so it cannot be that of {flag}");
            return Err(Failure::usage(format!("--private: {problem}; leave one of them out")));
        }
        if self.detach && target.is_none() {
            let problem = "needs a running daemon, and --socket none ignores it; leave one of them out";
            return Err(Failure::usage(format!("--detach: {problem}")));
        }
        let workload = self.job.workload()?;
        let form = if self.shown.full { Form::Full } else { Form::Short };
        let (record, json) = (Record::unless(self.no_record), self.shown.json);
        Ok(Asked { workload, private: self.private, detach: self.detach, record, json, form })
    }
}

/// The job that the dashboard is opened on.
///
/// # Errors
/// If the model cannot be opened, or a flag has no effect there.
pub fn watched(args: &RunArgs, target: &Target) -> Result<WatchedJob, Failure> {
    let flags = [(args.shown.json, "--json"), (args.shown.full, "--full"), (args.detach, "--detach")];
    let given = flags.iter().find(|(is_given, _)| *is_given).map(|(_, flag)| *flag).or(args.files.given());
    if let Some(flag) = given {
        return Err(Failure::usage(format!(
            "{flag}: has no effect on the dashboard; `slmscope run` takes it"
        )));
    }
    let asked = args.asked(target)?;
    let chosen = choose(&args.job, &asked.workload, target)?;
    let name = args.job.model().unwrap_or(catalogue::DEFAULT_MODEL).to_owned();
    let record = asked.record == Record::Session;
    Ok(WatchedJob { name, chosen, workload: in_a_loop(asked.workload), record, private: asked.private })
}

impl SubmitArgs {
    fn asked(&self) -> Result<Asked, Failure> {
        let workload = self.job.workload()?;
        let (record, json) = (Record::unless(self.no_record), self.json);
        Ok(Asked { workload, private: false, detach: true, record, json, form: Form::Short })
    }
}

/// What is said of a run with more threads than CPUs, which is allowed but seldom wanted.
fn crowd(threads: Option<u32>) -> Option<String> {
    let cpus = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let threads = threads.filter(|&threads| threads as usize > cpus)?;
    let cpus = display::plural(cpus as u64, "CPU");
    Some(format!("{threads} engine threads share {cpus} and will wait for each other"))
}

/// Queues a workload on the running daemon and prints the job's number.
///
/// # Errors
/// If there is no daemon, or it refuses.
pub fn submit(args: &SubmitArgs, target: &Target) -> Result<ExitCode, Failure> {
    let asked = args.asked()?;
    let chosen = choose(&args.job, &asked.workload, target)?;
    queue(asked, chosen, target)
}

fn queue(asked: Asked, chosen: ChosenModel, target: &Target) -> Result<ExitCode, Failure> {
    #[derive(Serialize)]
    struct Submitted {
        schema: &'static str,
        job: JobId,
    }
    let Some(mut connection) = connect::running(target)? else {
        return Err(Failure::error("no daemon is running to queue the job on; start one with `slmscoped`"));
    };
    let files: Vec<_> = chosen.files.iter().map(AsFd::as_fd).collect();
    let looped = asked.workload.looped;
    let submit = Submit {
        detach: true,
        record: asked.record == Record::Session,
        ..Submit::new(chosen.model, asked.workload)
    };
    let answer = connection.call(Method::Submit(submit), &files)??;
    let Some(job) = answer["job"].as_u64() else {
        return Err(Failure::error("the daemon's answer has no job number"));
    };
    if asked.json {
        print_json(&Submitted { schema: "slmscope.submitted/1", job })?;
    } else {
        let (number, then) = queued(job, looped);
        print(&number)?;
        note_line!("{then}");
    }
    Ok(ExitCode::SUCCESS)
}

/// What is said of a job that was queued: its number, for standard output, and what to do with it.
fn queued(job: JobId, looped: bool) -> (String, String) {
    let then = if looped {
        format!("`slmscope result {job}` prints its last turn, `slmscope cancel {job}` ends it")
    } else {
        format!("`slmscope result {job} --wait` prints its report once it has ended")
    };
    (format!("job {job}\n"), format!("slmscope: {then}"))
}

#[cfg(test)]
pub(super) mod tests {
    use slmscope_profiles::job::{Job, JobState, Span};
    use slmscope_profiles::model::ModelSource;
    use slmscope_profiles::op::Phase;

    use super::*;

    /// Job 7 of user 1000, which has four repetitions.
    pub fn job(state: JobState) -> Job {
        Job {
            job: 7,
            model: "m".to_owned(),
            source: ModelSource::Synthetic,
            format: None,
            files: Vec::new(),
            workload: Workload { repetitions: Some(4), ..Workload::default() },
            uid: 1000,
            state,
            ahead: 0,
            repetition: None,
            turns: 0,
            worker: None,
            error: None,
            submitted_ns: None,
            ended_ns: None,
            progress: None,
        }
    }

    /// A phase of that job with 100 tokens.
    pub fn span(phase: Phase, repetition: u32, wall_ns: u64) -> Span {
        Span {
            job: 7,
            repetition,
            phase,
            begin_ns: 0,
            end_ns: wall_ns,
            tokens: 100,
            sample_ns: 0,
            token_ends_ns: Vec::new(),
        }
    }

    #[test]
    fn more_threads_than_cpus_are_warned_of() {
        assert_eq!((crowd(None), crowd(Some(1))), (None, None));
        let said = crowd(Some(u32::MAX)).unwrap();
        assert!(said.starts_with("4294967295 engine threads share "), "{said}");
    }

    #[test]
    fn outputs_of_submit_are_pinned_at_80_columns() {
        let said = [false, true].map(|looped| {
            let (number, then) = queued(3, looped);
            format!("{number}{then}\n")
        });
        crate::pinned::check("submit.txt", &said.concat());
    }

    /// What the command line asks for of a model from `source`, or why it is refused.
    pub fn asked_by_run(args: &RunArgs, target: &Target, source: ModelSource) -> Result<String, Failure> {
        let asked = args.asked(target)?;
        args.job.check_source(&asked.workload, source)?;
        Ok(format!("{:?} {asked:?}", args.job.model()))
    }

    /// The workload that the flags describe.
    pub fn workload(args: &RunArgs) -> Workload {
        args.job.workload().unwrap()
    }

    /// The same of `submit`.
    pub fn asked_by_submit(args: &SubmitArgs, source: ModelSource) -> Result<String, Failure> {
        let asked = args.asked()?;
        args.job.check_source(&asked.workload, source)?;
        Ok(format!("{:?} {asked:?}", args.job.model()))
    }
}
