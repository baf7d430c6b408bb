//! `slmscope record`: what the daemon observes, into a file.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use slmscope_profiles::display;
use slmscope_profiles::sessions::RecentSaved;
use slmscope_profiles::wire::{Method, Request};

use super::number;
use super::status::daemon;
use crate::client::Connection;
use crate::connect::Target;
use crate::failure::{Failure, print};
use crate::listen::{self, Event};
use crate::recording_file::{self, RecordingFile, UnnamedFile};

/// How long the daemon may take to send what it had before the recording was ended. It answers within milliseconds,
/// unless it is starved of processor time.
const LAST_FRAMES: Duration = Duration::from_secs(1);

/// The request whose answer ends the recording: the daemon sends it behind all that it had to send before. Any number
/// that no earlier request had.
const END: u64 = u64::MAX;

/// What is said when the file is there.
const BEGUN: &str = "slmscope: recording; Ctrl-C ends it";

/// Options of `record`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  slmscope record board.mcap --seconds 60
  slmscope record hiccup.mcap --last 60s             of the dashboard's loop, after the fact
  slmscope sessions info board.mcap

Records all op events and readings of the running daemon, whoever's jobs run, until Ctrl-C. The file is written every
200 ms, so a crash loses no more than that. `slmscope run --record FILE` records one run.")]
pub struct RecordArgs {
    /// The file to write, usually *.mcap
    #[arg(value_name = "FILE")]
    output: PathBuf,
    /// Stop after so many seconds
    #[arg(long, value_name = "N", value_parser = number::count, conflicts_with = "last")]
    seconds: Option<u32>,
    /// Save what the loop that runs did in the last time, such as 60s, and return; the daemon keeps 32 MiB of it
    #[arg(long, value_name = "TIME", value_parser = number::seconds)]
    last: Option<u64>,
    /// Replace the file if it exists
    #[arg(long)]
    force: bool,
}

/// Records until it is interrupted.
///
/// # Errors
/// If no daemon runs, or the file cannot be written.
pub fn run(args: &RecordArgs, target: &Target) -> Result<ExitCode, Failure> {
    let mut connection = daemon(target)?;
    if let Some(seconds) = args.last {
        return save_last(&mut connection, args, seconds);
    }
    let mut file = RecordingFile::create(&args.output, args.force)?;
    connection.call(Method::Subscribe(RecordingFile::subscription()), &[])??;
    let signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("cannot wait for signals")?;
    note_line!("{BEGUN}");
    let sender = connection.sender().context("cannot write to the daemon")?;
    let events = listen::listen(connection, signals)?;
    let mut until = args.seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds.into()));
    let mut asked = false;
    let ended = loop {
        let left = until.map_or(Duration::MAX, |until| until.saturating_duration_since(Instant::now()));
        match events.recv_timeout(left) {
            Ok(Event::Frame(frame)) => file.take(&frame)?,
            Ok(Event::Gone(reason)) => break Some(reason.unwrap_or_else(|| "the daemon is gone".to_owned())),
            Ok(Event::Signal) | Err(RecvTimeoutError::Timeout) if !asked => {
                asked = true;
                until = Some(Instant::now() + LAST_FRAMES);
                sender.send(&Request::new(Some(END), Method::Status {}), &[])?;
            }
            Ok(Event::Answer) if !asked => {}
            // Answered, or it takes too long, or the user insists.
            Ok(Event::Answer | Event::Signal)
            | Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break None,
        }
    };
    print(&format!("{}\n", file.finish()?))?;
    ended.map_or(Ok(ExitCode::SUCCESS), |reason| Err(Failure::error(reason)))
}

/// Lets the daemon write what it keeps in memory of the loop that runs into the file.
fn save_last(connection: &mut Connection, args: &RecordArgs, seconds: u64) -> Result<ExitCode, Failure> {
    let mut file = UnnamedFile::create(&args.output, args.force)?;
    let answer = connection.call_into_file(Method::SaveRecent { seconds }, file.file())??;
    let saved: RecentSaved = serde_json::from_value(answer)
        .map_err(|error| Failure::error(format!("the daemon's answer cannot be read: {error}")))?;
    let bytes = file.name_it()?;
    print(&saved_last(&args.output, &saved, bytes))?;
    Ok(ExitCode::SUCCESS)
}

/// What is said of a file that holds the last part of a loop.
fn saved_last(path: &Path, saved: &RecentSaved, bytes: u64) -> String {
    let holds = recording_file::written(path, saved.messages, bytes);
    format!("{holds}, the last {}\n", display::duration(saved.time_ns))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pinned;

    #[test]
    fn outputs_of_record_are_pinned_at_80_columns() {
        let path = Path::new("/home/anna/hic\u{1b}cup.mcap");
        let ended = recording_file::written(path, 48_211, 4_811_776);
        let saved = RecentSaved { messages: 1, time_ns: 59_300_000_000 };
        let last = saved_last(path, &saved, 58_112);
        pinned::check("record.txt", &format!("{BEGUN}\n{ended}\n{last}"));
    }
}
