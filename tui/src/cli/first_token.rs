//! `slmscope first-token`: why the first token of a session came when it did.

use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use slmscope_exports::recording::{Entry, Event};
use slmscope_profiles::display::{self, or_absent};
use slmscope_profiles::first_token::{Beginning, FirstToken, Stage};
use slmscope_profiles::job::{Job, JobId, JobState, Span};
use slmscope_profiles::record::Record;
use slmscope_profiles::result::RunResult;

use crate::connect::Target;
use crate::failure::{Failure, print, print_json};
use crate::session_source::SessionSource;
use crate::style::Style;
use crate::table::{Align, Table};

/// Options of `first-token`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  slmscope run model.gguf --cold -n 8 -r 1           recorded as session 7
  slmscope run model.gguf -n 8 -r 1                  recorded as session 8
  slmscope first-token 7
  slmscope first-token 8                             from the page cache

From the submission of the job to the end of its first measured token. Waiting,
idle power and roofs are slmscope's own; the rest any engine would have to do.
--cold drops the model's file from the page cache before it is opened.")]
pub struct FirstTokenArgs {
    /// The session, by number, `latest` or file
    #[arg(value_name = "SESSION", default_value = "latest")]
    session: SessionSource,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What `first-token --json` prints.
#[derive(Debug, Serialize)]
struct Document {
    schema: &'static str,
    run_id: Option<String>,
    model: String,
    /// The file was dropped from the page cache before.
    cold: bool,
    /// How often the worker waited for a page from storage before the first measured repetition; null where the kernel does
    /// not report it.
    major_faults: Option<u64>,
    #[serde(flatten)]
    found: FirstToken,
}

/// Takes the beginning of a session's last run apart.
///
/// # Errors
/// If the session cannot be read, or no token was measured.
pub fn run(args: &FirstTokenArgs, target: &Target) -> Result<ExitCode, Failure> {
    let document = read(&args.session, target)?;
    if args.json {
        print_json(&document)?;
    } else {
        print(&render(&document, Style::of_stdout().or_columns(80)))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn read(source: &SessionSource, target: &Target) -> Result<Document, Failure> {
    let mut recorded = Recorded::default();
    for event in source.reader(target)? {
        if let Event::Entry(entry) = event.map_err(|error| source.failed(&error))? {
            recorded.take(entry);
        }
    }
    let problem = "it ends before the job's result, which says how long loading took; record it again";
    let (number, result) = recorded.result.ok_or_else(|| source.failed(&problem))?;
    let states: Vec<(JobState, u64)> = recorded
        .states
        .iter()
        .filter(|(job, ..)| *job == number)
        .map(|(_, state, at)| (*state, *at))
        .collect();
    let spans: Vec<Span> = recorded.spans.into_iter().filter(|span| span.job == number).collect();
    let submitted_ns = recorded.jobs.iter().find(|job| job.job == number).and_then(|job| job.submitted_ns);
    let load = result.summary.load;
    let found = FirstToken::of(Beginning { submitted_ns, states: &states, spans: &spans, load });
    Ok(Document {
        schema: "slmscope.first-token/1",
        run_id: result.run_id.clone(),
        model: result.model.id.clone(),
        cold: result.workload.cold,
        major_faults: result.memory.startup_major_faults,
        found: found.map_err(|problem| source.failed(&problem))?,
    })
}

/// What a recording says of the beginnings of its jobs.
#[derive(Default)]
struct Recorded {
    states: Vec<(JobId, JobState, u64)>,
    spans: Vec<Span>,
    jobs: Vec<Job>,
    result: Option<(JobId, Box<RunResult>)>,
}

impl Recorded {
    fn take(&mut self, entry: Entry) {
        match entry {
            Entry::Record(record) => match &*record {
                Record::Mark(mark) => {
                    let word = mark.text.clone().unwrap_or_default();
                    let state = serde_json::from_value::<JobState>(word.into());
                    self.states.extend(state.ok().map(|state| (mark.job, state, mark.t_ns)));
                }
                Record::Span(span) => self.spans.push(span.clone()),
                _ => {}
            },
            Entry::Job(job) => self.jobs.push(*job),
            Entry::Result { job, result } => self.result = Some((job, result)),
        }
    }
}

/// A stage in words.
fn words(stage: Stage) -> &'static str {
    match stage {
        Stage::Queue => "waiting for other jobs",
        Stage::IdlePower => "measuring idle power",
        Stage::Process => "starting the process, filling --depth",
        Stage::Open => "opening the model",
        Stage::Weights => "weights: mapping, reading, making",
        Stage::Tokenizer => "waiting for the tokenizer",
        Stage::Roofs => "measuring the roofs",
        Stage::Warmup => "warm-up",
        Stage::Prefill => "prompt",
        Stage::Sample => "choosing the token",
        Stage::Unattributed => "unattributed",
    }
}

fn render(document: &Document, style: Style) -> String {
    let found = &document.found;
    let page_cache = if document.cold { " (file dropped from the page cache before)" } else { "" };
    let mut head = format!(
        "{}{page_cache}: first token {} after the job was submitted; {} of it any engine would have to do",
        display::printable(&document.model),
        display::duration(found.total_ns),
        display::duration(found.model_ns),
    );
    if let Some(longest) = found.longest() {
        head.push_str(&format!(", most of that in {}", words(longest.stage)));
    }
    let mut table = Table::new(&[
        ("stage", Align::Left),
        ("time", Align::Right),
        ("share", Align::Right),
        ("whose", Align::Left),
    ]);
    for time in &found.stages {
        let whose = match time.stage {
            Stage::Unattributed => "",
            Stage::Queue => "others",
            stage if stage.is_of_the_model() => "model",
            _ => "slmscope",
        };
        let share = (found.total_ns > 0).then(|| time.ns as f64 / found.total_ns as f64);
        table.row([
            words(time.stage).to_owned(),
            display::duration(time.ns),
            or_absent(share, display::share),
            whose.to_owned(),
        ]);
    }
    let faults = document.major_faults.map_or_else(
        || "how often pages came from storage is not reported by this kernel".to_owned(),
        |faults| format!("pages that came from storage before it (major faults): {faults}"),
    );
    format!("{}\n{}  {}\n", style.wrap_words(&head, 0), table.render(style), style.wrap_words(&faults, 2))
}

#[cfg(test)]
mod tests {
    use slmscope_profiles::first_token::StageTime;

    use super::*;
    use crate::pinned;

    #[test]
    fn outputs_of_first_token_are_pinned_at_80_columns() {
        const MS: u64 = 1_000_000;
        let stages = [
            (Stage::Queue, 0),
            (Stage::IdlePower, 2000),
            (Stage::Process, 30),
            (Stage::Open, 10),
            (Stage::Weights, 260),
            (Stage::Tokenizer, 40),
            (Stage::Roofs, 500),
            (Stage::Warmup, 100),
            (Stage::Prefill, 77),
            (Stage::Sample, 3),
            (Stage::Unattributed, 2),
        ];
        let stages: Vec<StageTime> =
            stages.into_iter().map(|(stage, ms)| StageTime { stage, ns: ms * MS }).collect();
        let total_ns = stages.iter().map(|time| time.ns).sum();
        let document = Document {
            schema: "slmscope.first-token/1",
            run_id: None,
            model: "a.gguf".to_owned(),
            cold: true,
            major_faults: Some(1234),
            found: FirstToken { total_ns, model_ns: 520 * MS, stages },
        };
        pinned::check("first-token.txt", &render(&document, pinned::terminal()));
    }
}
