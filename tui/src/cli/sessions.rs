//! `slmscope sessions`: which sessions are kept, what they hold, and whether they are whole.

mod kept;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use kept::{ListArgs, NoteArgs, RemoveArgs};
use serde::Serialize;
use slmscope_exports::recording::{Event, Reader};
use slmscope_exports::session::{Run, Session};
use slmscope_profiles::display::{self, ABSENT, or_absent};

use super::breakdown::{self, By};
use crate::connect::Target;
use crate::failure::{Failure, print, print_json};
use crate::recording_file::RecordingFile;
use crate::session_source::{SessionSource, is_written};
use crate::style::Style;
use crate::table::{Align, Table};

/// Options of `sessions`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  slmscope run smollm2-135m                          the daemon records it
  slmscope sessions                                  what is kept
  slmscope sessions info latest
  slmscope sessions info 7 --by layer                where the time of its run went
  slmscope sessions note 7 --name base --pin \"before the change\"
  slmscope diff 7 8                                  two sessions side by side
  slmscope sessions rm --older-than 30d
  slmscope sessions verify *.mcap && echo all whole

A session is what the daemon recorded of one job, and has the job's number.
Those of the running daemon are listed; without one those in the state folder
of this user ($XDG_STATE_HOME/slmscope/sessions), which --socket none names too.
They take at most 1 GiB and 5 % of the free space; the oldest go first, but for
those that are pinned. Where a SESSION is expected, `latest`, a run's id and the
file of a recording will do; a file that is called 7 is written ./7.

Exit codes: 0 success, 1 error, 2 wrong flags, 4 verify found damage.")]
pub struct SessionsArgs {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List the sessions that are kept: model, speed, energy, fitness of the machine, age and size
    List(ListArgs),
    /// Show what a recording holds: machine, jobs, rates, how many events and readings
    Info(InfoArgs),
    /// Read recordings to their ends and say what of them is damaged or missing
    Verify(VerifyArgs),
    /// Write what can be read of a recording into a new file that is whole
    Repair(RepairArgs),
    /// Remove sessions that are kept
    #[command(name = "rm")]
    Remove(RemoveArgs),
    /// Give a session a name, tags and a note, or keep it from being removed
    Note(NoteArgs),
}

#[derive(Debug, Args)]
struct InfoArgs {
    /// Its number, `latest`, or a file
    #[arg(value_name = "SESSION")]
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
    /// Numbers of sessions, or files
    #[arg(value_name = "SESSION", required = true)]
    files: Vec<SessionSource>,
}

#[derive(Debug, Args)]
struct RepairArgs {
    /// Its number, `latest`, or a file
    #[arg(value_name = "SESSION")]
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
        None => kept::list(&ListArgs::default(), target),
        Some(What::List(args)) => kept::list(args, target),
        Some(What::Info(args)) => info(args, target),
        Some(What::Verify(args)) => verify(args, target),
        Some(What::Repair(args)) => repair(args, target),
        Some(What::Remove(args)) => kept::remove(args, target),
        Some(What::Note(args)) => kept::note_session(args, target),
    }
}

/// What is damaged or missing, a line each; none if the file is whole, or whole as far as it `is_written` by now.
fn problems(session: &Session, is_written: bool) -> Vec<String> {
    let mut lines: Vec<String> = session.damage.iter().map(ToString::to_string).collect();
    let more = session.end.damaged.saturating_sub(lines.len() as u64);
    if more > 0 {
        lines.push(format!("{more} more damaged parts"));
    }
    if !session.end.is_complete && !is_written {
        let at = session.end.offset;
        lines.push(format!("ends at byte {at} without its index: the writer was killed, or the file is cut"));
    }
    lines
}

fn verify(args: &VerifyArgs, target: &Target) -> Result<ExitCode, Failure> {
    let mut damaged = 0;
    for file in &args.files {
        let (session, is_written) = file.read_written(target)?;
        let problems = problems(&session, is_written);
        let messages: u64 = session.counts.values().sum();
        let verdict = match (problems.is_empty(), is_written) {
            (false, _) => "damaged",
            (true, true) => "still written, whole so far",
            (true, false) => "whole",
        };
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
    let file = args.file.open(target)?;
    let is_written = is_written(&file);
    let mut reader = Reader::new(file).map_err(|error| args.file.failed(&error))?;
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
    if is_written && !end.is_complete {
        note_line!("slmscope: it is still written: what comes now is not in the new file");
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
    /// The earliest time of a message, CLOCK_MONOTONIC ns; null without any.
    first_ns: Option<u64>,
    /// The latest time of a message, CLOCK_MONOTONIC ns; null without any.
    last_ns: Option<u64>,
    /// From the one to the other, ns; null without any.
    duration_ns: Option<u64>,
    channels: usize,
    messages: BTreeMap<&'static str, u64>,
    op_events: u64,
    lost_batches: u64,
    /// Messages of kinds that this version does not know.
    unknown_messages: u64,
    /// Messages of more jobs, or more of them, than is kept in memory.
    left_out: u64,
    /// Its writer still holds it: more will come.
    is_written: bool,
    jobs: Vec<JobInfo<'a>>,
    problems: Vec<String>,
}

#[derive(Debug, Clone, Copy, Serialize)]
struct JobInfo<'a> {
    job: u64,
    model: Option<&'a str>,
    run_id: Option<&'a str>,
    status: Option<&'static str>,
    prefill_tokens_per_s: Option<f64>,
    decode_tokens_per_s: Option<f64>,
}

fn info(args: &InfoArgs, target: &Target) -> Result<ExitCode, Failure> {
    let (session, is_written) = args.file.read_written(target)?;
    if let Some(by) = args.by {
        let run = session.last_run().ok_or_else(|| args.file.failed(&"no job is in it"))?;
        breakdown::show(run, by, args.json)?;
        return Ok(ExitCode::SUCCESS);
    }
    let info = Info {
        schema: "slmscope.session/1",
        version: session.header.as_ref().map(|header| header.version.as_str()),
        wall_ns: session.header.as_ref().map(|header| header.wall_ns),
        first_ns: session.time_ns.map(|(first, _)| first),
        last_ns: session.time_ns.map(|(_, last)| last),
        duration_ns: session.time_ns.map(|(first, last)| last - first),
        channels: session.channels.len(),
        messages: session.counts.iter().map(|(topic, &count)| (topic.as_str(), count)).collect(),
        op_events: session.events,
        lost_batches: session.lost_batches,
        unknown_messages: session.end.unknown,
        left_out: session.left_out,
        is_written,
        jobs: session.runs.iter().map(|(&job, run)| job_info(job, run)).collect(),
        problems: problems(&session, is_written),
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
    if info.is_written {
        text.push_str("still written: this is what it holds so far\n");
    }
    if info.lost_batches > 0 {
        text.push_str(&format!("{} batches were lost before they were written\n", info.lost_batches));
    }
    for (count, what) in [
        (info.unknown_messages, "messages are of kinds that only a newer version knows, and are left out"),
        (
            info.left_out,
            "messages are of more jobs, or more of them, than is kept in memory, and are left out",
        ),
    ] {
        if count > 0 {
            text.push_str(&format!("{count} {what}\n"));
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pinned;

    #[test]
    fn what_info_prints_is_pinned_at_80_columns() {
        let job = JobInfo {
            job: 7,
            model: Some("smollm2-135m"),
            run_id: Some("19ad-1f-7"),
            status: Some("done"),
            prefill_tokens_per_s: Some(1330.4),
            decode_tokens_per_s: Some(183.42),
        };
        let cut =
            JobInfo { job: 8, run_id: None, status: Some("preparing"), prefill_tokens_per_s: None, ..job };
        let jobs = vec![job, cut];
        let info = Info {
            schema: "slmscope.session/1",
            version: Some("1.2.3"),
            wall_ns: Some(1_000_000_000),
            first_ns: Some(5),
            last_ns: Some(61_500_000_005),
            duration_ns: Some(61_500_000_000),
            channels: 64,
            messages: BTreeMap::from([("ops", 1_200), ("sample", 9_000)]),
            op_events: 421_000,
            lost_batches: 2,
            unknown_messages: 3,
            left_out: 0,
            is_written: true,
            jobs,
            problems: vec!["at byte 1234: a chunk does not have its checksum".to_owned()],
        };
        pinned::check("sessions-info.txt", &render(&info, pinned::terminal()));
    }
}
