//! `slmscope status`: the running daemon.

use std::process::ExitCode;

use clap::Args;
use slmscope_profiles::display::{self, ABSENT};
use slmscope_profiles::sessions::RecordMode;
use slmscope_profiles::status::{RecordingStatus, Status};
use slmscope_profiles::wire::Method;

use super::jobs::{Now, table};
use crate::client::Connection;
use crate::connect::{self, Target};
use crate::failure::{Failure, print, print_json};
use crate::style::Style;
use crate::user;

/// Options of `status` and `jobs`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl StatusArgs {
    /// Whether JSON is asked for.
    pub fn json(&self) -> bool {
        self.json
    }
}

/// A connection to the running daemon.
///
/// # Errors
/// If none is running.
pub fn daemon(target: &Target) -> Result<Connection, Failure> {
    connect::running(target)?.ok_or_else(|| {
        Failure::error("no daemon is running; start one with `slmscoped`, or give its socket with --socket")
    })
}

fn ask(target: &Target) -> Result<Status, Failure> {
    let answer = daemon(target)?.call(Method::Status {}, &[])??;
    serde_json::from_value(answer)
        .map_err(|error| Failure::error(format!("the daemon's status cannot be read: {error}")))
}

/// A figure, or why there is none.
fn told(figure: Option<String>, why_none: &str) -> String {
    figure.unwrap_or_else(|| format!("{ABSENT} {why_none}"))
}

/// Prints the daemon's own figures and its jobs.
///
/// # Errors
/// If no daemon is running.
pub fn status(args: &StatusArgs, target: &Target) -> Result<ExitCode, Failure> {
    let status = ask(target)?;
    if args.json {
        print_json(&status)?;
        return Ok(ExitCode::SUCCESS);
    }
    print(&text(&status, Now::read(), Style::of_stdout().or_columns(80)))?;
    Ok(ExitCode::SUCCESS)
}

/// What the daemon records by itself, and what that takes.
fn recording(status: &RecordingStatus) -> String {
    let mode = match (status.mode, &status.problem) {
        (RecordMode::Off, _) => "off (`record` of the configuration, or --record)".to_owned(),
        (RecordMode::Jobs, None) => "jobs".to_owned(),
        (RecordMode::Jobs, Some(problem)) => format!("jobs, but the last one was not recorded: {problem}"),
    };
    if status.folder.is_none() {
        return mode;
    }
    let room =
        status.max_bytes.map_or_else(String::new, |bytes| format!(" of at most {}", display::bytes(bytes)));
    let kept =
        format!("{} in {}{room}", display::plural(status.sessions, "session"), display::bytes(status.bytes));
    let rate = status.written_bytes_per_hour.map(display::bytes);
    let rate = rate.map_or_else(String::new, |rate| format!(", {rate} an hour since its start"));
    format!("{mode}; {kept}; {} written{rate}", display::bytes(status.written_bytes))
}

/// The daemon's own figures, and its jobs.
fn text(status: &Status, now: Now, style: Style) -> String {
    let share = status.cpu_ns.filter(|_| status.uptime_ns > 0).map(|ns| ns as f64 / status.uptime_ns as f64);
    let of_one_core = |share| format!("{} of one core on average (measured)", display::share(share));
    let resident = |bytes| format!("{} resident (measured)", display::bytes(bytes));
    let rows = [
        ("version", format!("{} (process {}, user {})", status.slmscope, status.pid, user::name(status.uid))),
        ("socket", told(status.socket.clone(), "it was handed to the daemon without a path")),
        ("uptime", display::duration(status.uptime_ns)),
        ("CPU", told(share.map(of_one_core), "the daemon cannot read its own CPU time")),
        ("memory", told(status.rss.map(resident), "the daemon cannot read its own memory")),
        ("clients", status.clients.to_string()),
        ("channels", format!("{}, {} late readings", status.channels, status.late_ticks)),
        (
            "op batches",
            format!("{} lost, {} dropped for slow clients", status.lost_batches, status.dropped_batches),
        ),
    ];
    let mut text = String::new();
    let recording = status.recording.as_ref().map(recording);
    let recording = ("recording", told(recording, "this daemon's version records nothing by itself"));
    for (name, value) in rows.into_iter().chain([recording]) {
        let value = style.wrap(&value, 12);
        text.push_str(&format!("{} {value}\n", style.dim(&format!("{name:<11}"))));
    }
    text.push_str(&table(&status.jobs, &[], now, style));
    text
}

#[cfg(test)]
mod tests {
    use slmscope_profiles::job::JobState;
    use slmscope_profiles::sessions::RecordMode;
    use slmscope_profiles::status::RecordingStatus;

    use super::super::jobs::tests::{NOW, job};
    use super::*;
    use crate::pinned;

    fn recording() -> RecordingStatus {
        RecordingStatus {
            mode: RecordMode::Jobs,
            folder: Some("/home/a/.local/state/slmscope/sessions".to_owned()),
            problem: None,
            sessions: 12,
            bytes: 34 << 20,
            max_bytes: Some(1 << 30),
            written_bytes: 5 << 20,
            written_bytes_per_hour: Some(5 << 20),
        }
    }

    fn status() -> Status {
        Status {
            schema: String::new(),
            slmscope: "1.2.3".to_owned(),
            pid: 4321,
            // No user has this number.
            uid: 4_294_967_294,
            socket: Some("/run/user/1000/slmscope.sock".to_owned()),
            uptime_ns: 3_725_000_000_000,
            cpu_ns: Some(37_250_000_000),
            rss: Some(18 << 20),
            clients: 2,
            channels: 64,
            late_ticks: 3,
            lost_batches: 0,
            dropped_batches: 12,
            jobs: vec![job(3, JobState::Measuring), job(4, JobState::Queued)],
            recording: Some(recording()),
        }
    }

    #[test]
    fn outputs_are_pinned_at_80_columns() {
        pinned::check("status.txt", &text(&status(), NOW, pinned::terminal()));
        let problem = Some("cannot write into /s: No space left on device (os error 28)".to_owned());
        let recording = Some(RecordingStatus { problem, max_bytes: None, ..recording() });
        let none = Status { socket: None, cpu_ns: None, rss: None, jobs: Vec::new(), ..status() };
        let without = Status { recording, ..none };
        pinned::check("status-without.txt", &text(&without, NOW, pinned::terminal()));
    }
}
