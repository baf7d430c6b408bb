//! `slmscope sessions`: what recordings hold, and whether they are whole.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Serialize;
use slmscope_exports::recording::Event;
use slmscope_exports::session::{Run, Session};
use slmscope_profiles::display::{self, ABSENT, or_absent};

use super::breakdown::{self, By};
use crate::connect::Target;
use crate::failure::{Failure, print, print_json};
use crate::recording_file::RecordingFile;
use crate::session_source::SessionSource;
use crate::style::Style;
use crate::table::{Align, Table};

/// Options of `sessions`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  slmscope run smollm2-135m --record a.mcap
  slmscope sessions info a.mcap
  slmscope sessions info a.mcap --by layer           where the time of its run went
  slmscope sessions verify *.mcap && echo all whole

Exit codes: 0 success, 1 error, 2 wrong flags, 4 verify found damage.")]
pub struct SessionsArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Show what a recording holds: machine, jobs, rates, how many events and readings
    Info(InfoArgs),
    /// Read recordings to their ends and say what of them is damaged or missing
    Verify(VerifyArgs),
    /// Write what can be read of a recording into a new file that is whole
    Repair(RepairArgs),
}

#[derive(Debug, Args)]
struct InfoArgs {
    /// The recording
    #[arg(value_name = "FILE")]
    file: SessionSource,
    /// Show where the time of its last run went, by this
    #[arg(long, value_name = "WHAT", value_enum)]
    by: Option<By>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct VerifyArgs {
    /// The recordings
    #[arg(value_name = "FILE", required = true)]
    files: Vec<SessionSource>,
}

#[derive(Debug, Args)]
struct RepairArgs {
    /// The recording
    #[arg(value_name = "FILE")]
    file: SessionSource,
    /// The file to write
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// Replace the output if it exists
    #[arg(long)]
    force: bool,
}

/// Does what the subcommand says.
///
/// # Errors
/// If a file cannot be read or written; with exit code 4 if `verify` finds damage.
pub fn run(args: &SessionsArgs, target: &Target) -> Result<ExitCode, Failure> {
    match &args.what {
        What::Info(args) => info(args, target),
        What::Verify(args) => verify(args, target),
        What::Repair(args) => repair(args, target),
    }
}

/// What is damaged or missing, a line each; none if the file is whole.
fn problems(session: &Session) -> Vec<String> {
    let mut lines: Vec<String> = session.damage.iter().map(ToString::to_string).collect();
    let more = session.end.damaged.saturating_sub(lines.len() as u64);
    if more > 0 {
        lines.push(format!("{more} more damaged parts"));
    }
    if !session.end.is_complete {
        let at = session.end.offset;
        lines.push(format!(
            "ends at byte {at} without its index: the writer was killed, is still writing, or the file is cut"
        ));
    }
    lines
}

fn verify(args: &VerifyArgs, target: &Target) -> Result<ExitCode, Failure> {
    let mut damaged = 0;
    for file in &args.files {
        let session = file.read(target)?;
        let problems = problems(&session);
        let messages: u64 = session.counts.values().sum();
        let verdict = if problems.is_empty() { "whole" } else { "damaged" };
        print(&format!("{file}: {verdict}, {messages} messages\n"))?;
        for problem in &problems {
            print(&format!("  {problem}\n"))?;
        }
        damaged += u32::from(!problems.is_empty());
    }
    if damaged == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    Err(Failure::check("`slmscope sessions repair FILE --output NEW` keeps what can be read"))
}

fn repair(args: &RepairArgs, target: &Target) -> Result<ExitCode, Failure> {
    if args.output.display().to_string() == args.file.to_string() {
        return Err(Failure::usage("--output: name another file than the recording itself"));
    }
    let mut reader = args.file.reader(target)?;
    let mut output = RecordingFile::create(&args.output, args.force)?;
    for event in reader.by_ref() {
        match event.map_err(|error| args.file.failed(&error))? {
            Event::Entry(entry) => output.add(&entry)?,
            Event::Damage(damage) => note_line!("slmscope: left out {damage}"),
        }
    }
    let end = reader.end();
    if end.unknown > 0 {
        note_line!("slmscope: left out {} messages of a newer version", end.unknown);
    }
    print(&format!("{}\n", output.finish()?))?;
    Ok(ExitCode::SUCCESS)
}

/// What `info --json` prints.
#[derive(Debug, Serialize)]
struct Info<'a> {
    schema: &'static str,
    /// Version of the daemon that wrote it; null if that part cannot be read.
    version: Option<&'a str>,
    /// CLOCK_REALTIME at the daemon's start, ns since 1970; null as above.
    wall_ns: Option<u64>,
    /// From the first message to the last, ns; null without any.
    duration_ns: Option<u64>,
    channels: usize,
    messages: BTreeMap<&'static str, u64>,
    op_events: u64,
    lost_batches: u64,
    jobs: Vec<JobInfo<'a>>,
    problems: Vec<String>,
}

#[derive(Debug, Serialize)]
struct JobInfo<'a> {
    job: u64,
    model: Option<&'a str>,
    run_id: Option<&'a str>,
    status: Option<&'static str>,
    prefill_tokens_per_s: Option<f64>,
    decode_tokens_per_s: Option<f64>,
}

fn info(args: &InfoArgs, target: &Target) -> Result<ExitCode, Failure> {
    let session = args.file.read(target)?;
    if let Some(by) = args.by {
        let run = session.last_run().ok_or_else(|| args.file.failed(&"no job is in it"))?;
        breakdown::show(run, by, args.json)?;
        return Ok(ExitCode::SUCCESS);
    }
    let info = Info {
        schema: "slmscope.session/1",
        version: session.header.as_ref().map(|header| header.version.as_str()),
        wall_ns: session.header.as_ref().map(|header| header.wall_ns),
        duration_ns: session.time_ns.map(|(first, last)| last - first),
        channels: session.channels.len(),
        messages: session.counts.iter().map(|(topic, &count)| (topic.as_str(), count)).collect(),
        op_events: session.events,
        lost_batches: session.lost_batches,
        jobs: session.runs.iter().map(|(&job, run)| job_info(job, run)).collect(),
        problems: problems(&session),
    };
    if args.json {
        print_json(&info)?;
    } else {
        print(&render(&info, Style::of_stdout()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn job_info(job: u64, run: &Run) -> JobInfo<'_> {
    let result = run.result.as_deref();
    let rate = |phase| slmscope_profiles::stats::median(&run.profile.rates(phase));
    JobInfo {
        job,
        model: run.job.as_ref().map(|job| job.model.as_str()),
        run_id: result.and_then(|result| result.run_id.as_deref()),
        status: run.job.as_ref().map(|job| job.state.as_str()),
        prefill_tokens_per_s: rate(slmscope_profiles::phase::Phase::Prefill),
        decode_tokens_per_s: rate(slmscope_profiles::phase::Phase::Decode),
    }
}

fn render(info: &Info<'_>, style: Style) -> String {
    let messages = |topic| info.messages.get(topic).copied().unwrap_or(0);
    let mut text = format!(
        "{}, {} op events in {} batches, {} readings of {} channels\n",
        or_absent(info.duration_ns, display::duration),
        info.op_events,
        messages("ops"),
        messages("sample"),
        info.channels,
    );
    if info.lost_batches > 0 {
        text.push_str(&format!("{} batches were lost before they were written\n", info.lost_batches));
    }
    let mut table = Table::new(&[
        ("job", Align::Right),
        ("state", Align::Left),
        ("prefill tok/s", Align::Right),
        ("decode tok/s", Align::Right),
        ("model", Align::Left),
    ]);
    for job in &info.jobs {
        table.row([
            job.job.to_string(),
            job.status.unwrap_or(ABSENT).to_owned(),
            or_absent(job.prefill_tokens_per_s, display::significant),
            or_absent(job.decode_tokens_per_s, display::significant),
            display::printable(job.model.unwrap_or(ABSENT)).into_owned(),
        ]);
    }
    text.push_str(&table.render(style));
    for problem in &info.problems {
        text.push_str(&format!("{}\n", style.warn(problem)));
    }
    text
}
