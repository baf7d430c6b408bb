//! `slmscope compare`: runs of different boards, models, formats or threads side by side, and which of them to take.

#[cfg(test)]
mod tests;
mod text;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use slmscope_profiles::campaign::{Candidate, Choice, Limit, Measure, UnlikeWork, choose, unlike_work};
use slmscope_profiles::result::RunResult;

use super::comparison_page::PageFile;
use crate::connect::Target;
use crate::failure::{Failure, print, print_json};
use crate::session_source::SessionSource;
use crate::style::Style;

/// Options of `compare`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  slmscope compare 7 8 9
  slmscope compare orangepi.mcap rpi5.mcap laptop.mcap --best tokens_per_joule
  slmscope compare 7 8 9 --best decode --limit memory=4GiB --limit ttft=2s
  slmscope compare 7 8 9 --html c.html    one page to send on

Measures: decode, prefill (tokens/s), ttft (time to the first token), token_p99
(99 of 100 decode steps are faster), load, memory (the most that was resident),
joules_per_token, tokens_per_joule (of decode). A limit is the least of what is
better large and the most of what is better small. A run of which a measure is
not known keeps no limit and is not the best.

What binds a run is judged by the roofs of the machine that it ran on. `diff`
finds small differences between runs of the same thing.

Exit codes: 0 done, 1 error, 2 wrong flags, 3 --best of runs whose work is not
the same, 4 no run keeps within the limits.")]
pub struct CompareArgs {
    /// Sessions by number, `latest` or file
    #[arg(value_name = "SESSION", required = true, num_args = 1..)]
    sessions: Vec<SessionSource>,
    /// Name the best one by this measure
    #[arg(long, value_name = "MEASURE")]
    best: Option<Measure>,
    /// The best one must keep within this, such as memory=4GiB or ttft=2s; may be given several times
    #[arg(long = "limit", value_name = "MEASURE=AMOUNT", requires = "best")]
    limits: Vec<Limit>,
    /// Name the best one although prompt, generated tokens or depth are not the same
    #[arg(long, requires = "best")]
    force: bool,
    /// Print one JSON object
    #[arg(long, conflicts_with = "markdown")]
    json: bool,
    /// Print Markdown
    #[arg(long)]
    markdown: bool,
    /// Write a page for browsers into this new file, and print the tables
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// Runs beside each other: what `compare --json` prints.
#[derive(Debug, Serialize)]
struct Compared {
    schema: &'static str,
    runs: Vec<NamedRun>,
    /// What of the work is not the same in all runs; empty if figures are of equal tasks.
    unlike_work: Vec<UnlikeWork>,
    /// The best one; null if none was asked for.
    choice: Option<Choice>,
}

/// A run, as it was named.
#[derive(Debug, Serialize)]
struct NamedRun {
    /// A, B, C.
    label: String,
    /// Where it was read from.
    session: String,
    #[serde(flatten)]
    run: Candidate,
}

impl Compared {
    fn of(runs: Vec<(String, RunResult)>, best: Option<(Measure, &[Limit])>) -> Self {
        let candidates: Vec<Candidate> = runs.iter().map(|(_, result)| Candidate::of(result)).collect();
        let unlike_work = unlike_work(&candidates);
        let choice = best.map(|(measure, limits)| choose(&candidates, measure, limits));
        let runs = runs.into_iter().zip(candidates).enumerate().map(|(at, ((session, _), run))| NamedRun {
            label: label(at),
            session,
            run,
        });
        Self { schema: "slmscope.compare/1", runs: runs.collect(), unlike_work, choice }
    }
}

/// A, B, …, Z, AA, AB.
fn label(at: usize) -> String {
    let letter = char::from(b'A' + (at % 26) as u8);
    if at < 26 { letter.to_string() } else { format!("{}{letter}", label(at / 26 - 1)) }
}

/// Compares the runs.
///
/// # Errors
/// If one cannot be read: all of these are named; with exit code 3 if their work is not the same and the best is asked
/// for, 4 if none keeps within the limits.
pub fn run(args: &CompareArgs, target: &Target) -> Result<ExitCode, Failure> {
    let compared = match &args.html {
        None => compared(args, target)?.0,
        Some(path) => {
            let page = PageFile::create(path)?;
            let made = compared(args, target);
            let words = |(compared, commands): &(Compared, String)| text::words(compared, commands);
            let ((compared, _), line) = page.fill(named(&args.sessions), target, made, words)?;
            note_line!("{line}");
            compared
        }
    };
    if args.json {
        print_json(&compared)?;
    } else if args.markdown {
        print(&text::markdown(&compared))?;
    } else {
        print(&text::render(&compared, Style::of_stdout().or_columns(80)))?;
    }
    match &compared.choice {
        Some(Choice { best: None, .. }) => Err(Failure::silent(4)),
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// Sessions with what they are called: `A: session 7`.
fn named(sources: &[SessionSource]) -> Vec<(String, &SessionSource)> {
    let with_label = sources.iter().enumerate();
    with_label.map(|(at, source)| (format!("{}: {source}", label(at)), source)).collect()
}

/// The comparison, and the commands that repeat its runs.
fn compared(args: &CompareArgs, target: &Target) -> Result<(Compared, String), Failure> {
    let runs = read_all(&args.sessions, target)?;
    let commands = runs.iter().filter_map(|(_, result)| result.command.clone());
    let commands = commands.collect::<Vec<_>>().join("\n");
    let compared = Compared::of(runs, args.best.map(|best| (best, args.limits.as_slice())));
    if args.best.is_some() && !args.force && !compared.unlike_work.is_empty() {
        let message = format!(
            "not comparable: {}; --force names the best one all the same",
            text::unlike(&compared.unlike_work)
        );
        return Err(Failure { message: Some(message), code: ExitCode::from(3) });
    }
    Ok((compared, commands))
}

/// The results of all sessions, each with its name; or all that cannot be read, a line each.
fn read_all(sources: &[SessionSource], target: &Target) -> Result<Vec<(String, RunResult)>, Failure> {
    let (mut runs, mut problems) = (Vec::new(), Vec::new());
    for source in sources {
        match result_of(source, target) {
            Ok(result) => runs.push((source.to_string(), result)),
            Err(failure) => problems.extend(failure.message),
        }
    }
    if problems.is_empty() { Ok(runs) } else { Err(Failure::error(problems.join("\n"))) }
}

/// The result of a session's last run.
fn result_of(source: &SessionSource, target: &Target) -> Result<RunResult, Failure> {
    let mut session = source.read(target)?;
    let (_, run) = session.take_last_run().ok_or_else(|| source.failed(&"no job is in it"))?;
    let problem = "it ends before the job's result, which says what ran; record it again";
    run.result.map(|result| *result).ok_or_else(|| source.failed(&problem))
}
